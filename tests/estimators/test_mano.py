import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.estimators.mano import MaNo, logits_of, mano, uniform_cross_entropy
from onnx_cte.types import Observation, Prediction

close = pytest.approx
LOGITS = np.array([[2.0, 0.0], [0.0, 1.0]])


def seen(rows, name="a"):
    prediction = Prediction(np.array([rows], np.float32), ("foreground",))
    return Observation(name, np.zeros(np.shape(rows)), prediction)


def softmax(logits):
    grown = np.exp(np.asarray(logits, float))
    return grown / grown.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("normalisation", "expected"), [("softmax", 0.6873695612), ("taylor", 0.6580363016)]
)
def test_worked_examples(normalisation, expected):
    assert mano(LOGITS, normalisation=normalisation) == close(expected, abs=1e-9)


def test_logits_are_normalised_by_taylor_unless_they_are_large():
    assert mano(LOGITS) == mano(LOGITS, normalisation="taylor")
    # log(1 + exp(-z)) + z / 2 exceeds 5 from z of about 10.
    for z, kind in ((9.9, "taylor"), (10.1, "softmax")):
        large = np.array([[z, 0.0], [0.0, z]])
        assert mano(large) == mano(large, normalisation=kind)
    assert mano(large, normalisation="taylor") != mano(large, normalisation="softmax")


def test_uniform_cross_entropy():
    assert uniform_cross_entropy(np.zeros((3, 4))) == close(math.log(4))
    p = softmax(LOGITS)
    assert uniform_cross_entropy(LOGITS) == close(-np.log(p).mean())
    assert uniform_cross_entropy(np.array([[0.0, 2000.0]])) == close(1000)


def test_the_least_and_the_most():
    assert mano(np.zeros((5, 3))) == close(1 / 3)
    assert mano(np.array([[999.0, 0.0]])) == close((1 / 2) ** 0.25)
    for kind in ("auto", "softmax", "taylor"):
        assert math.isnan(mano(np.empty((0, 2)), normalisation=kind))


def test_logits_come_back_from_probabilities():
    logits = np.random.default_rng(0).normal(0, 3, (50, 3))
    found = logits_of(softmax(logits))
    assert found == close(logits - logits.min(axis=1, keepdims=True))
    assert softmax(found) == close(softmax(logits))


def test_a_foreground_and_its_background_are_as_sure():
    found = logits_of(np.array([[0.1, 0.9], [0.9, 0.1]]))
    assert found == close(np.array([[0, math.log(9)], [math.log(9), 0]]))


def test_surer_is_greater_up_to_certainty():
    p = np.array([0.5, 0.6, 0.9, 0.99, 0.9999, 1 - 2**-24, 1.0])
    for kind in ("softmax", "taylor"):
        values = [mano(logits_of(np.array([[1 - q, q]])), normalisation=kind) for q in p]
        assert values == sorted(values)
        assert values[0] == close(0.5)
        assert values[-1] == close(values[-2], rel=1e-3)
        # Sure of the background is as sure.
        assert values == close(
            [mano(logits_of(np.array([[q, 1 - q]])), normalisation=kind) for q in p]
        )


def test_unknown_normalisation():
    for make in (lambda: mano(LOGITS, normalisation="softrun"), lambda: MaNo("softrun")):
        with pytest.raises(OptionError, match="unknown normalisation of logits 'softrun'"):
            make()


def test_evidence_is_that_of_all_pixels_of_a_small_image():
    rows = [[0.9, 0.2], [0.6, 0.4]]
    evidence = MaNo().measure(seen(rows))
    p = np.float32(rows).ravel()
    logits = logits_of(np.stack([1 - p, p], axis=1))
    for kind in ("softmax", "taylor"):
        assert evidence[kind] == close(mano(logits, normalisation=kind))
        assert MaNo(kind).measure(seen(rows))["value"] == evidence[kind]
    assert evidence["value"] == evidence["taylor"]
    assert evidence["criterion"] == close(uniform_cross_entropy(logits))
    assert evidence["foreground"] == 0.5


def test_classes():
    maps = np.array([[[0.8, 0.1]], [[0.1, 0.1]], [[0.1, 0.8]]], np.float32)
    prediction = Prediction(maps, ("one", "two", "background"))
    evidence = MaNo().measure(Observation("a", np.zeros((1, 2)), prediction))
    assert evidence["softmax"] == close(((0.8**4 + 2 * 0.1**4) / 3) ** 0.25)


def test_classes_are_balanced():
    rows = np.zeros((100, 100))
    rows[0, :4] = 0.6
    one = MaNo("softmax", vectors=4).measure(seen(rows))["softmax"]
    assert one == close(((4 * (0.6**4 + 0.4**4) + 4) / 16) ** 0.25, rel=1e-5)


def test_a_model_has_one_normalisation():
    # Two images of moderate logits, one of large ones: the mean decides.
    moderate, large = [[0.7, 0.3]], [[1.0, 0.0]]
    estimator = MaNo()
    rows = [
        estimator.measure(seen(r, n)) for r, n in ((moderate, "a"), (moderate, "b"), (large, "c"))
    ]
    assert rows[0]["criterion"] < 5 < rows[2]["criterion"]
    bank = Bank({"m": rows, "absent": [None] * 3})
    scores = estimator.score(bank)
    assert scores["m"] == rows[0]["taylor"]
    assert math.isnan(scores["absent"])
    assert estimator.score(bank.draw([0, 2, 2]))["m"] == rows[2]["softmax"]
    assert MaNo("softmax").score(bank)["m"] == rows[0]["softmax"]
    assert MaNo("taylor").score(bank.draw([2]))["m"] == rows[2]["taylor"]


def test_silence_never_wins():
    estimator = MaNo()
    sees, blind, unsure = ([[0.99, 0.01]], [[0.0, 0.0]], [[0.51, 0.49]])
    rows = {
        "sees": [estimator.measure(seen(sees, n)) for n in "abc"],
        "unsure": [estimator.measure(seen(unsure, n)) for n in "abc"],
        "blind": [
            estimator.measure(seen(r, n)) for r, n in zip((sees, blind, blind), "abc", strict=True)
        ],
    }
    scores = estimator.score(Bank(rows))
    assert scores["sees"] > scores["unsure"] > scores["blind"] == 0.0
    nobody = estimator.score(Bank({"blind": [estimator.measure(seen(blind))]}))
    assert math.isnan(nobody["blind"])


def test_one_class_everywhere_is_as_good_as_sure():
    assert MaNo("softmax").measure(seen(np.ones((4, 4))))["softmax"] == close((1 / 2) ** 0.25)


def test_bad_vectors():
    with pytest.raises(OptionError, match=r"MaNo: vectors.* at least 1, not 0"):
        MaNo(vectors=0)
