import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators.label_tables import conditional_entropy
from onnx_cte.estimators.leep import LEEP
from onnx_cte.estimators.nce import NCE
from onnx_cte.types import Observation, Prediction


def by_loops(labels, decisions):
    """Mean log of the share of each sample's label among all samples decided alike."""
    total = 0.0
    for y, z in zip(labels, decisions, strict=True):
        alike = [other for other, decided in zip(labels, decisions, strict=True) if decided == z]
        total += math.log(alike.count(y) / len(alike))
    return total / len(labels)


def observation(name, probabilities, truth, threshold=0.5):
    maps = np.asarray(probabilities, np.float32)
    reference = Prediction(maps[None], ("foreground",), threshold)
    return Observation(name, maps * 1.0, reference, truth=truth)


def halves(name, wrong):
    """The lower half is foreground, and a share of all pixels is decided wrongly."""
    rng = np.random.default_rng(sum(map(ord, name)))
    truth = np.repeat([0, 1], 10)[:, None] * np.ones((20, 20), np.int32)
    flipped = rng.random(truth.shape) < wrong
    return observation(name, 0.1 + 0.8 * (truth ^ flipped), truth)


def bank_of(names="abcde"):
    return Bank(
        {
            model: [NCE().measure(halves(name, wrong)) for name in names]
            for model, wrong in {"good": 0.02, "fair": 0.1, "bad": 0.4}.items()
        }
    )


def test_by_hand():
    # Of decision 0, 3 of 4 have label 0; of decision 1, both have label 1.
    table = np.array([[3, 0], [1, 2]])
    expected = (3 * math.log(3 / 4) + math.log(1 / 4)) / 6
    assert -conditional_entropy(table.T) == pytest.approx(expected, abs=1e-12)


def test_limits():
    sure = conditional_entropy(np.array([[0, 5], [3, 0]]))
    assert sure == 0
    assert math.copysign(1, sure) == 1
    one = -conditional_entropy(np.array([[6, 2], [0, 0]]))
    assert one == pytest.approx(0.75 * math.log(0.75) + 0.25 * math.log(0.25), abs=1e-12)
    assert math.isnan(conditional_entropy(np.zeros((2, 2))))
    assert math.isnan(conditional_entropy(np.zeros((0, 0))))


def test_as_the_definition_says():
    rng = np.random.default_rng(3)
    labels, decisions = rng.integers(0, 3, 80), rng.integers(0, 4, 80)
    table = np.zeros((3, 4))
    for y, z in zip(labels, decisions, strict=True):
        table[y, z] += 1
    expected = by_loops(labels.tolist(), decisions.tolist())
    assert -conditional_entropy(table.T) == pytest.approx(expected, abs=1e-12)


def test_the_score_is_that_of_all_pixels_together():
    bank = bank_of()
    scores = NCE().score(bank)
    for model, row in bank.items():
        labels = np.concatenate([seen["labels"] for seen in row]).tolist()
        decided = np.concatenate([seen["decided"] for seen in row]).tolist()
        assert scores[model] == pytest.approx(by_loops(labels, decided), abs=1e-9)
    assert scores["good"] > scores["fair"] > scores["bad"]


def test_classes_and_images_weigh_alike():
    """Of 1 pixel to 5, and of 3 to 3; repeated until all weigh the same."""
    maps = [[0.9, 0.9, 0, 0, 0, 0]]
    scarce = NCE().measure(observation("a", maps, np.array([[1, 0, 0, 0, 0, 0]])))
    even = NCE().measure(observation("b", maps, np.array([[1, 1, 1, 0, 0, 0]])))
    labels, decisions = [1] * 15 + [0] * 15, [1] * 15 + [1] * 3 + [0] * 12
    labels, decisions = labels + [1] * 15 + [0] * 15, decisions + [1] * 10 + [0] * 20
    found = NCE().score(Bank({"m": [scarce, even]}))["m"]
    assert found == pytest.approx(by_loops(labels, decisions), abs=1e-12)


def test_the_model_s_own_threshold_decides():
    truth = np.array([[0, 0, 1, 1]])
    maps = [[0.1, 0.2, 0.4, 0.4]]
    right = NCE().measure(observation("a", maps, truth, threshold=0.3))
    blind = NCE().measure(observation("a", maps, truth))
    scores = NCE().score(Bank({"right": [right], "blind": [blind]}))
    assert scores["right"] == 0
    assert scores["blind"] == pytest.approx(-math.log(2), abs=1e-12)


def test_it_shares_its_evidence_with_leep():
    seen = halves("a", 0.2)
    assert NCE("classes", 9).measures == LEEP("classes", 9).measures
    assert NCE().measures != NCE("classes").measures
    for one, other in zip(NCE().measure(seen).values(), LEEP().measure(seen).values(), strict=True):
        assert np.array_equal(one, other)


def test_order_draws_and_gaps():
    bank = bank_of()
    scores = NCE().score(bank)
    assert NCE().score(bank_of("ceadb")) == pytest.approx(scores, abs=1e-12)
    spelled = Bank({model: [row[0], row[0], row[3]] for model, row in bank.items()})
    drawn = NCE().score(bank.draw([0, 0, 3]))
    assert drawn == pytest.approx(NCE().score(spelled), abs=1e-12)
    gaps = Bank({**{model: [None, *row] for model, row in bank.items()}, "absent": [None] * 6})
    with_gaps = NCE().score(gaps)
    assert math.isnan(with_gaps.pop("absent"))
    assert with_gaps == pytest.approx(scores, abs=1e-12)
    assert math.isnan(NCE().score(gaps.draw([0]))["good"])


def test_images_of_one_class_are_left_out():
    empty = NCE().measure(observation("a", np.full((4, 4), 0.9), np.zeros((4, 4), int)))
    assert math.isnan(NCE().score(Bank({"m": [empty]}))["m"])
    both = NCE().measure(halves("a", 0.2))
    assert NCE().score(Bank({"m": [both, empty]})) == NCE().score(Bank({"m": [both]}))


def test_refusals():
    with pytest.raises(OptionError, match="NCE: labels='pseudo' are the model's own decisions"):
        NCE("pseudo")
    with pytest.raises(OptionError, match="did you mean 'classes'"):
        NCE("clases")
    with pytest.raises(OptionError, match=r"NCE: vectors, .* at least 1, not -1"):
        NCE(vectors=-1)
    with pytest.raises(ModelError, match="a: labels are needed"):
        NCE().measure(observation("a", [[0.9]], None))
    assert NCE().needs.truth
    assert (NCE().title, NCE("classes").title) == ("nce", "nce classes")
