import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators import sampling
from onnx_cte.estimators.leep import (
    LEEP,
    Cooccurrence,
    class_weights,
    leep,
)
from onnx_cte.evidence import EvidenceStore
from onnx_cte.types import Observation, Prediction

MODELS = {"good": 0.1, "fair": 0.3, "bad": 0.7}
ROLES = ("cell", "background", "wall")


def by_loops(probabilities, labels, weights=None):
    """Eqs. 1 and 2 of the paper, sample by sample."""
    number, classes = probabilities.shape
    weights = [1 / number] * number if weights is None else weights / sum(weights)
    joint = {}
    for theta, y, weight in zip(probabilities, labels, weights, strict=True):
        for z in range(classes):
            joint[y, z] = joint.get((y, z), 0.0) + weight * theta[z]
    total = 0.0
    for theta, y, weight in zip(probabilities, labels, weights, strict=True):
        expected = 0.0
        for z in range(classes):
            of_class = sum(share for (_, other), share in joint.items() if other == z)
            if of_class:
                expected += joint[y, z] / of_class * theta[z]
        total += weight * math.log(expected)
    return total


def observation(name, probabilities, truth, seed=0):
    maps = np.asarray(probabilities, np.float32)
    return Observation(
        name, maps * 1.0, Prediction(maps[None], ("foreground",)), truth=truth, seed=seed
    )


def discs(name, noise, *, side=40, radius=8):
    """A disc that a model sees the worse, the more noise."""
    rng = np.random.default_rng(sum(map(ord, name)))
    y, x = np.mgrid[:side, :side]
    truth = ((y - side // 2) ** 2 + (x - side // 2) ** 2 < radius**2).astype(np.int32)
    seen = np.clip(0.1 + 0.8 * truth + noise * rng.normal(size=truth.shape), 0, 1)
    return observation(name, seen, truth)


def bank_of(estimator, names="abcde"):
    return Bank(
        {
            model: [estimator.measure(discs(name, noise)) for name in names]
            for model, noise in MODELS.items()
        }
    )


def test_worked_example():
    foreground = np.array([0.9, 0.2, 0.6, 0.4])
    probabilities = np.stack([1 - foreground, foreground], axis=1)
    assert leep(probabilities, np.array([0, 1, 1, 0])) == pytest.approx(-0.6381110415, abs=1e-9)


def test_by_hand():
    """P(0|0) = 2/3, P(1|0) = 1/3, P(1|1) = 1: both samples have 2/3."""
    value = leep(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0, 1]))
    assert value == pytest.approx(math.log(2 / 3), abs=1e-12)


@pytest.mark.parametrize(("classes", "labels"), [(2, 2), (3, 2), (2, 4), (5, 3)])
def test_as_the_equations_say(classes, labels):
    rng = np.random.default_rng(classes)
    probabilities = rng.dirichlet(np.full(classes, 0.3), 60)
    chosen = 7 * rng.integers(0, labels, 60)  # class indices may have gaps
    assert leep(probabilities, chosen) == pytest.approx(by_loops(probabilities, chosen), abs=1e-12)


def test_a_sure_and_right_prediction_has_0_and_a_constant_one_the_entropy_of_the_labels():
    labels = np.array([0, 0, 0, 1])
    assert leep(np.eye(2)[labels], labels) == 0
    # Calling everything by the other name is as good: what follows from it is what counts.
    assert leep(np.eye(2)[1 - labels], labels) == 0
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert leep(np.tile([0.3, 0.7], (4, 1)), labels) == pytest.approx(-entropy, abs=1e-12)
    assert leep(np.tile([0.0, 1.0], (4, 1)), labels) == pytest.approx(-entropy, abs=1e-12)


def test_weights_are_repetitions():
    rng = np.random.default_rng(2)
    probabilities, labels = rng.dirichlet([1, 1, 1], 20), rng.integers(0, 2, 20)
    times = rng.integers(0, 4, 20)
    expected = leep(np.repeat(probabilities, times, axis=0), np.repeat(labels, times))
    assert leep(probabilities, labels, times) == pytest.approx(expected, abs=1e-12)
    assert leep(probabilities, labels, times / 7) == pytest.approx(expected, abs=1e-12)


def test_classes_weigh_alike():
    assert class_weights(np.array([3, 0, 0, 9, 0])) == pytest.approx(
        [3 / 9, 1 / 9, 1 / 9, 3 / 9, 1 / 9]
    )
    assert class_weights(np.empty(0, int)).shape == (0,)


def test_undefined_and_refused():
    assert math.isnan(leep(np.empty((0, 2)), np.empty(0, int)))
    assert math.isnan(leep(np.zeros((3, 2)), np.array([0, 1, 1])))
    with pytest.raises(ValueError, match=r"shape \(2, 2\), labels of shape \(3,\)"):
        leep(np.eye(2), np.array([0, 1, 1]))
    with pytest.raises(ValueError, match=r"shape \(2,\), labels of shape \(2,\)"):
        leep(np.array([0.1, 0.9]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"weights of shape \(3,\); expected \(N, C\) and"):
        leep(np.eye(2), np.array([0, 1]), np.ones(3))


def test_weighing_images_is_repeating_them():
    rng = np.random.default_rng(1)
    images = [
        (rng.dirichlet([0.5, 0.5], n), rng.integers(0, 2, n), rng.random(n)) for n in (7, 12, 0, 5)
    ]
    repeated = [images[i] for i in (0, 0, 3, 2)]
    expected = leep(*(np.concatenate(column) for column in zip(*repeated, strict=True)))
    assert Cooccurrence(images).score(np.array([2, 0, 1, 1.0])) == pytest.approx(
        expected, abs=1e-12
    )
    assert math.isnan(Cooccurrence(images).score(np.array([0, 0, 3.0, 0])))


def test_what_is_not_drawn_may_be_impossible_by_what_is():
    sure = np.eye(2), np.array([0, 1]), np.ones(2)
    wrong = np.eye(2), np.array([2, 0]), np.ones(2)
    assert Cooccurrence([sure, wrong]).score(np.array([1.0, 0.0])) == 0


def test_evidence_holds_as_many_of_each_class():
    seen = discs("a", 0.2)
    evidence = LEEP(vectors=50).measure(seen)
    assert np.bincount(evidence["labels"]).tolist() == [50, 50]
    assert evidence["labels"].dtype == np.uint8
    assert evidence["probabilities"].shape == (100, 2)
    assert evidence["probabilities"].dtype == np.float32
    assert np.allclose(evidence["probabilities"].sum(axis=1), 1)
    decided = evidence["probabilities"][:, 1] > 0.5
    assert np.array_equal(evidence["decided"], decided)
    assert evidence["foreground"] == float((seen.reference["foreground"] > 0.5).mean())


def test_a_scarce_class_gives_all_it_has():
    truth = np.zeros((9, 9), np.int32)
    truth[4, 4:7] = 5  # an object's number is no class
    evidence = LEEP(vectors=10).measure(observation("a", np.full((9, 9), 0.2), truth))
    assert np.bincount(evidence["labels"]).tolist() == [10, 3]


def test_every_model_is_asked_at_the_same_pixels():
    truth = discs("a", 0).truth
    where = np.arange(truth.size).reshape(truth.shape) / truth.size
    one = LEEP().measure(observation("a", where, truth))
    other = LEEP().measure(observation("a", 1 - where, truth))
    assert np.allclose(one["probabilities"][:, 0], other["probabilities"][:, 1], atol=1e-6)
    elsewhere = LEEP().measure(observation("b", where, truth))
    assert not np.array_equal(one["probabilities"], elsewhere["probabilities"])
    reseeded = LEEP().measure(observation("a", where, truth, seed=1))
    assert not np.array_equal(one["probabilities"], reseeded["probabilities"])


def test_classes_and_their_indices():
    maps = np.zeros((3, 1, 4), np.float32)
    maps[0], maps[1], maps[2] = 0.2, 0.7, 0.1
    seen = Observation(
        "a", np.ones((1, 4)), Prediction(maps, ROLES), truth=np.array([[0, 2, 2, 9]])
    )
    evidence = LEEP("classes").measure(seen)
    assert evidence["labels"].tolist() == [0, 2, 2, 9]
    assert np.allclose(evidence["probabilities"], [0.7, 0.2, 0.1])  # the background first
    assert evidence["decided"].tolist() == [0, 0, 0, 0]


def test_images_of_one_class_are_left_out():
    filled = np.ones((6, 6), np.int32)
    evidence = LEEP().measure(observation("a", np.full((6, 6), 0.7), filled))
    assert evidence["labels"].shape == (0,)
    assert evidence["probabilities"].shape == (0, 2)
    assert evidence["foreground"] == 1
    whole = [LEEP().measure(discs(name, 0.3)) for name in "ab"]
    scores = LEEP().score(Bank({"m": [*whole, evidence], "one class": [evidence] * 3}))
    assert scores["m"] == LEEP().score(Bank({"m": whole}))["m"]
    assert math.isnan(scores["one class"])


def test_pseudo_labels_need_no_truth():
    estimator = LEEP("pseudo")
    assert not estimator.needs.truth
    assert LEEP().needs.truth
    seen = observation("a", [[0.9, 0.8, 0.3, 0.1]], None)
    evidence = estimator.measure(seen)
    assert sorted(evidence["labels"].tolist()) == [0, 0, 1, 1]
    assert np.array_equal(evidence["labels"], evidence["decided"])
    blank = estimator.measure(observation("a", [[0.1, 0.2]], None))
    assert blank["labels"].shape == (0,)


def test_missing_labels():
    with pytest.raises(ModelError, match="a: labels are needed, and the observation has none"):
        LEEP().measure(observation("a", [[0.9]], None))


def uneven(name, noise):
    """A disc of few pixels: fewer than are asked for."""
    return discs(name, noise, radius=3 + len(name))


def test_the_score_is_that_of_all_pixels_together_classes_and_images_weighed_alike():
    rows = [LEEP().measure(uneven(name, 0.3)) for name in ("a", "bb", "cccc")]
    probabilities = np.concatenate([seen["probabilities"] for seen in rows]).astype(float)
    labels = np.concatenate([seen["labels"] for seen in rows]).tolist()
    weights = []
    for seen in rows:
        found = seen["labels"].tolist()
        assert found.count(1) < found.count(0) == 256
        weights += [0.5 / found.count(label) for label in found]
    expected = by_loops(probabilities, labels, np.array(weights))
    assert LEEP().score(Bank({"m": rows}))["m"] == pytest.approx(expected, abs=1e-9)
    assert by_loops(probabilities, labels) != pytest.approx(expected, abs=1e-3)


def test_silence_does_not_pay_where_objects_are_scarce():
    rows = {m: [LEEP().measure(uneven(n, noise)) for n in "abcde"] for m, noise in MODELS.items()}
    blank = [observation(n, np.full((40, 40), 0.01), uneven(n, 0).truth) for n in "bcde"]
    rows["silent"] = [rows["good"][0], *map(LEEP().measure, blank)]
    scores = LEEP().score(Bank(rows))
    assert scores["silent"] < scores["bad"]


def test_better_models_score_higher_in_any_order_and_draw():
    bank = bank_of(LEEP())
    scores = LEEP().score(bank)
    assert scores["good"] > scores["fair"] > scores["bad"]
    assert LEEP().score(bank_of(LEEP(), "daecb")) == pytest.approx(scores, abs=1e-12)
    spelled = Bank({model: [row[0], row[0], row[3]] for model, row in bank.items()})
    drawn = LEEP().score(bank.draw([0, 0, 3]))
    assert drawn == pytest.approx(LEEP().score(spelled), abs=1e-12)
    gaps = Bank({**{model: [None, *row] for model, row in bank.items()}, "absent": [None] * 6})
    with_gaps = LEEP().score(gaps)
    assert math.isnan(with_gaps.pop("absent"))
    assert with_gaps == pytest.approx(scores, abs=1e-12)
    assert math.isnan(LEEP().score(gaps.draw([0, 0]))["good"])


def test_evidence_is_kept_whole():
    evidence = LEEP().measure(discs("a", 0.3))
    with EvidenceStore(None) as store:
        store.put({"key": evidence})
        again = store.get("key")
    assert LEEP().score(Bank({"m": [again]})) == LEEP().score(Bank({"m": [evidence]}))


def test_evidence_is_bounded(monkeypatch):
    monkeypatch.setattr(sampling, "MOST_BYTES", 2024)
    evidence = LEEP().measure(discs("a", 0.3))
    assert len(evidence["labels"]) == 100  # of 10 bytes each, and a kB is left for headers
    assert np.bincount(evidence["labels"]).tolist() == [50, 50]
    assert sum(v.nbytes for v in evidence.values() if isinstance(v, np.ndarray)) == 1000


def test_volumes():
    truth = np.zeros((3, 4, 5), np.int32)
    truth[1, 1:3, 1:4] = 1
    evidence = LEEP().measure(observation("a", 0.2 + 0.6 * truth, truth))
    assert np.bincount(evidence["labels"]).tolist() == [54, 6]
    assert np.array_equal(evidence["decided"], evidence["labels"])


def test_positions_of_nothing():
    empty = observation("a", np.zeros((0, 4)), np.zeros((0, 4), np.int32))
    positions, classes = sampling.labelled_positions(empty, "truth", 5, 8)
    assert positions.shape == (0, 2)
    assert classes.shape == (0,)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"labels": "thruth"}, "unknown kind of labels 'thruth': did you mean 'truth'"),
        ({"vectors": 0}, "LEEP: vectors, .* is an integer of at least 1, not 0"),
        ({"vectors": 2.5}, "at least 1, not 2.5"),
        ({"vectors": True}, "at least 1, not True"),
    ],
)
def test_options(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        LEEP(**options)


def test_titles():
    assert LEEP().title == "leep"
    assert LEEP("pseudo").title == "leep pseudo"
    assert LEEP(vectors=8).measures != LEEP().measures
