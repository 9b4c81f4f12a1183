import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators import nleep
from onnx_cte.estimators.leep import leep
from onnx_cte.estimators.mixture import FLOOR, fitted, started
from onnx_cte.estimators.nleep import NLEEP, reduced
from onnx_cte.evidence import EvidenceStore
from onnx_cte.features import FeatureMap
from onnx_cte.perturbations import generator
from onnx_cte.types import Observation, Prediction

TAP = "decoder#-1"


def observation(name, features, truth, tap=TAP):
    shape = np.shape(truth)
    maps = np.asarray(truth, np.float32)[None] * 0.8
    mapped = FeatureMap.of(np.asarray(features, np.float32), shape)
    return Observation(
        name, maps[0], Prediction(maps, ("foreground",)), truth=truth, features={tap: mapped}
    )


def discs(name, contrast, *, channels=6, side=24):
    """A disc whose features stand apart by so many standard deviations of the noise."""
    rng = np.random.default_rng(sum(map(ord, name)))
    y, x = np.mgrid[:side, :side]
    truth = ((y - side // 2) ** 2 + (x - side // 2) ** 2 < side**2 / 12).astype(np.int32)
    direction = np.linspace(-1, 1, channels)[:, None, None]
    noise = rng.normal(size=(channels, side, side)) * [[[1.0]]]
    return observation(name, 50 * (noise + contrast * direction * truth), truth)


def bank_of(estimator, names="abcde"):
    return Bank(
        {
            model: [estimator.measure(discs(name, contrast)) for name in names]
            for model, contrast in {"good": 6, "fair": 2, "bad": 0.1}.items()
        }
    )


SMALL = NLEEP(vectors=40)


def principal(data, share=0.8):
    """By singular values; scaled as documented."""
    centred = data - data.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    variances = sizes**2 / len(data)
    kept = 1
    while sum(variances[:kept]) <= share * sum(variances):
        kept += 1
    return centred @ axes[:kept].T / math.sqrt(variances[0])


def test_reduction_by_hand():
    """Variances 4 and 1 along the axes: the first is 80 %, which does not exceed 80 %."""
    data = np.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
    both = reduced(data)
    assert abs(both) == pytest.approx(np.array([[1, 0.5]] * 4))
    first = reduced(data * [1.01, 1])
    assert abs(first) == pytest.approx(np.ones((4, 1)))
    assert reduced(np.full((5, 3), 0.1, np.float32).astype(float)).tolist() == [[0]] * 5


def test_reduction_sees_small_changes_beside_a_large_constant():
    data = np.stack([np.full(6, 1e9), np.arange(6.0)], axis=1)
    assert abs(reduced(data)[:, 0]) == pytest.approx(abs(principal(data)[:, 0]))
    assert reduced(data)[:, 0].std() == pytest.approx(1)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_the_score_is_leep_of_the_posteriors(covariance):
    estimator = NLEEP(vectors=200, covariance=covariance, components=3)
    bank = bank_of(estimator, "cab")
    for model, row in bank.items():
        by_name = [row[1], row[2], row[0]]
        data = principal(np.concatenate([seen["features"] for seen in by_name]).astype(float))
        weights = []
        for seen in by_name:
            found = seen["labels"].tolist()
            assert found.count(1) < found.count(0) == 200
            weights += [0.5 / found.count(label) for label in found]
        labels = np.concatenate([seen["labels"] for seen in by_name])
        posteriors = fitted(data, 6, generator(0, "nleep"), covariance).posteriors(data)
        assert posteriors.shape == (len(labels), 6)
        expected = leep(posteriors, labels, np.array(weights))
        assert estimator.score(bank)[model] == pytest.approx(expected, abs=1e-6)


@pytest.mark.official
def test_parity_with_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    mixture = pytest.importorskip("sklearn.mixture")
    bank = bank_of(SMALL)
    for model, row in bank.items():
        data = np.concatenate([seen["features"] for seen in row]).astype(float)
        labels = np.concatenate([seen["labels"] for seen in row])
        kept = decomposition.PCA(0.8, svd_solver="full").fit_transform(data)
        kept /= kept[:, 0].std()
        begin = started(kept, 10, generator(0, "nleep"), "full")
        reference = mixture.GaussianMixture(
            10,
            reg_covar=FLOOR,
            weights_init=begin.weights,
            means_init=begin.means,
            precisions_init=np.linalg.inv(begin.covariances),
        ).fit(kept)
        expected = leep(reference.predict_proba(kept), labels)
        assert SMALL.score(bank)[model] == pytest.approx(expected, abs=1e-6)


def test_features_that_tell_the_classes_apart_score_higher():
    scores = SMALL.score(bank_of(SMALL))
    assert 0 >= scores["good"] > scores["fair"] > scores["bad"]
    assert scores["good"] > -0.05
    assert scores["bad"] == pytest.approx(-math.log(2), abs=0.1)


def test_the_order_of_images_does_not_matter():
    scores = SMALL.score(bank_of(SMALL))
    assert SMALL.score(bank_of(SMALL, "dbeac")) == pytest.approx(scores, abs=1e-12)


def test_a_draw_weighs_the_posteriors_of_all_images():
    bank = bank_of(SMALL, "abcd")
    drawn = SMALL.score(bank.draw([0, 0, 3]))
    row = bank["fair"]
    data = principal(np.concatenate([seen["features"] for seen in row]).astype(float))
    posteriors = np.split(fitted(data, 10, generator(0, "nleep")).posteriors(data), 4)
    labels = [seen["labels"] for seen in row]
    expected = leep(
        np.concatenate([posteriors[i] for i in (0, 0, 3)]),
        np.concatenate([labels[i] for i in (0, 0, 3)]),
    )
    assert drawn["fair"] == pytest.approx(expected, abs=1e-6)
    every = SMALL.score(bank.draw([3, 1, 0, 2]))
    assert every == pytest.approx(SMALL.score(bank), abs=1e-12)


def test_gaps_and_images_of_one_class_are_left_out():
    bank = bank_of(SMALL)
    scores = SMALL.score(bank)
    shape = (8, 8)
    empty = SMALL.measure(observation("z", np.ones((6, *shape)), np.zeros(shape, np.int32)))
    assert empty["features"].shape == (0, 6)
    gaps = Bank(
        {**{model: [None, *row, empty] for model, row in bank.items()}, "absent": [None] * 7}
    )
    found = SMALL.score(gaps)
    assert math.isnan(found.pop("absent"))
    assert found == pytest.approx(scores, abs=1e-12)
    assert math.isnan(SMALL.score(gaps.draw([0, 6]))["good"])


def test_constant_features_have_the_entropy_of_the_labels():
    truth = discs("a", 1).truth
    evidence = SMALL.measure(observation("a", np.full((4, 24, 24), 0.3), truth))
    scores = SMALL.score(Bank({"m": [evidence]}))
    assert scores["m"] == pytest.approx(-math.log(2), abs=1e-12)


def test_fewer_vectors_than_components():
    truth = np.array([[0, 1]])
    evidence = SMALL.measure(observation("a", [[[0.0, 1.0]]], truth))
    assert SMALL.score(Bank({"m": [evidence]}))["m"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("spoilt", [math.nan, math.inf])
def test_features_that_are_not_finite_are_refused(spoilt):
    seen = discs("a", 2)
    values = seen.features[TAP].pieces[0].values.copy()
    values[0, :, :12] = spoilt
    with pytest.raises(ModelError, match=r"a: features at 'decoder#-1' hold NaN or infinity"):
        SMALL.measure(observation("a", values, seen.truth))


def test_a_missing_tap():
    with pytest.raises(ModelError, match=r"a: features at 'bottleneck' .* has decoder#-1; choose"):
        NLEEP(tap="bottleneck").measure(discs("a", 2))


def test_many_vectors_are_thinned_for_the_fit_alone(monkeypatch):
    bank = bank_of(SMALL)
    whole = SMALL.score(bank)
    monkeypatch.setattr(nleep, "MOST_FITTED", 200)
    thinned = SMALL.score(bank_of(SMALL))
    assert thinned != whole
    assert thinned == pytest.approx(whole, abs=0.1)
    assert SMALL.score(bank_of(SMALL, "edcba")) == pytest.approx(thinned, abs=1e-12)


def test_evidence():
    seen = discs("a", 2)
    evidence = NLEEP(vectors=30).measure(seen)
    assert evidence["image"] == "a"
    assert evidence["features"].shape == (60, 6)
    assert evidence["features"].dtype == np.float32
    assert np.bincount(evidence["labels"]).tolist() == [30, 30]
    # Each of the vectors is there at a pixel of its class.
    values = seen.features[TAP].pieces[0].values
    for vector, label in zip(evidence["features"], evidence["labels"], strict=True):
        assert (vector == values[:, seen.truth == label].T).all(axis=1).any()
    with EvidenceStore(None) as store:
        store.put({"key": evidence})
        again = store.get("key")
    assert SMALL.score(Bank({"m": [again]})) == SMALL.score(Bank({"m": [evidence]}))


def test_evidence_is_bounded():
    truth = discs("a", 1, side=64).truth
    wide = np.random.default_rng(0).normal(size=(2048, 4, 4))
    evidence = NLEEP().measure(observation("a", wide, truth))
    assert evidence["features"].nbytes + evidence["labels"].nbytes <= 1 << 20
    assert 120 < len(evidence["features"]) < 128


def test_other_labels_and_taps():
    estimator = NLEEP(tap="encoder/0", labels="pseudo")
    assert not estimator.needs.truth
    assert estimator.needs.taps == ("encoder/0",)
    assert NLEEP().needs.truth
    truth = discs("a", 1).truth
    seen = observation("a", np.zeros((3, 24, 24)), truth, "encoder/0")
    assert set(estimator.measure(seen)["labels"]) == {0, 1}
    classes = observation("a", np.zeros((3, 24, 24)), truth * 7)
    assert set(NLEEP(labels="classes").measure(classes)["labels"]) == {0, 7}
    unlabelled = Observation(
        "a", truth * 1.0, seen.reference, features={TAP: seen.features["encoder/0"]}
    )
    with pytest.raises(ModelError, match="a: labels are needed"):
        NLEEP().measure(unlabelled)
    assert estimator.title == "nleep pseudo @encoder/0"
    assert NLEEP().title == "nleep"


def test_what_is_measured_does_not_depend_on_the_mixture():
    assert NLEEP(components=3).measures == NLEEP(covariance="diagonal").measures
    assert NLEEP(vectors=3).measures != NLEEP().measures
    # The mixtures themselves are kept apart, though the evidence is shared.
    bank = bank_of(SMALL)
    few = NLEEP(vectors=40, components=1)
    assert few.score(bank) != SMALL.score(bank)
    assert few.score(bank) == few.score(bank_of(few))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"tap": ""}, "tap is the name of a feature map, as .*, not ''"),
        ({"labels": "pseudos"}, "did you mean 'pseudo'"),
        ({"vectors": 0}, "NLEEP: vectors, .* at least 1, not 0"),
        ({"components": 0}, "NLEEP: components, .* at least 1, not 0"),
        ({"covariance": "ful"}, "unknown covariance 'ful': did you mean 'full'"),
    ],
)
def test_options(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        NLEEP(**options)
