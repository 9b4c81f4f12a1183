import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.estimators.nuclear_norm import NuclearNorm, nuclear_norm
from onnx_cte.types import Observation, Prediction

close = pytest.approx


def binary(rows):
    return Prediction(np.array([rows], np.float32), ("foreground",))


def seen(rows, name="a"):
    return Observation(name, np.zeros(np.shape(rows)), binary(rows))


def test_worked_example():
    p = np.array([0.9, 0.2, 0.6, 0.4])
    matrix = np.stack([1 - p, p], axis=1)
    assert nuclear_norm(matrix) * math.sqrt(2 * 4) == close(2.1468153359, abs=1e-9)
    assert nuclear_norm(matrix) == close(0.7590138410, abs=1e-9)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[1, 0], [0, 1]], 1.0),
        ([[1, 0], [0, 1]] * 5, 1.0),
        ([[1, 0]] * 8, math.sqrt(1 / 2)),  # sure of one class
        ([[0.5, 0.5]] * 8, 0.5),  # sure of nothing
        ([[0.2, 0.8]], math.sqrt(0.68)),
        (np.zeros((0, 2)), math.nan),
    ],
)
def test_by_hand(matrix, expected):
    assert nuclear_norm(np.array(matrix, float)) == close(expected, nan_ok=True)


def test_it_is_the_sum_of_roots_of_the_gram_matrix():
    rows = np.random.default_rng(0).dirichlet([1, 2, 3], 50)
    roots = np.sqrt(np.linalg.eigvalsh(rows.T @ rows))
    assert nuclear_norm(rows) == close(roots.sum() / math.sqrt(3 * 50))


def test_a_prediction_matrix_has_two_axes():
    with pytest.raises(ValueError, match=r"a prediction matrix is \(N, K\), not \(3,\)"):
        nuclear_norm(np.ones(3))


def test_all_pixels_of_a_small_image_are_looked_at():
    evidence = NuclearNorm().measure(seen([[0.9, 0.2], [0.6, 0.4]]))
    assert evidence["value"] == close(0.7590138410, abs=1e-6)
    assert evidence["foreground"] == 0.5


def test_classes_are_balanced():
    # 4 pixels of foreground among 10000, all certain: of each class at most 4 are looked at.
    rows = np.zeros((100, 100))
    rows[0, :4] = 1
    assert NuclearNorm(vectors=4).measure(seen(rows))["value"] == close(1.0)
    # Of all the background there is little left of the foreground.
    assert NuclearNorm(vectors=9996).measure(seen(rows))["value"] < 0.75


def test_classes():
    maps = np.array([[[0.8, 0.1]], [[0.1, 0.1]], [[0.1, 0.8]]], np.float32)
    prediction = Prediction(maps, ("one", "two", "background"))
    evidence = NuclearNorm().measure(Observation("a", np.zeros((1, 2)), prediction))
    matrix = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    assert evidence["value"] == close(nuclear_norm(matrix), rel=1e-6)
    assert evidence["foreground"] == 0.5


def test_one_class_everywhere():
    assert NuclearNorm().measure(seen(np.ones((4, 4))))["value"] == close(math.sqrt(1 / 2))
    assert math.isnan(NuclearNorm().measure(seen(np.zeros((4, 4))))["value"])


def test_silence_never_wins():
    sees, blind, unsure = ([[0.99, 0.01]], [[0.0, 0.0]], [[0.51, 0.49]])
    estimator = NuclearNorm()
    rows = {
        "sees": [estimator.measure(seen(sees, n)) for n in "abc"],
        "unsure": [estimator.measure(seen(unsure, n)) for n in "abc"],
        "blind": [
            estimator.measure(seen(r, n)) for r, n in zip((sees, blind, blind), "abc", strict=True)
        ],
    }
    scores = estimator.score(Bank(rows))
    assert scores["sees"] > scores["unsure"] > scores["blind"] == 0.0


def test_the_median_over_images_of_a_draw():
    estimator = NuclearNorm()
    rows = [estimator.measure(seen([[p, 0.1]], n)) for p, n in ((0.9, "a"), (0.6, "b"), (0.8, "c"))]
    bank = Bank({"m": [*rows, None], "absent": [None] * 4})
    scores = estimator.score(bank)
    assert scores["m"] == rows[2]["value"]
    assert math.isnan(scores["absent"])
    assert estimator.score(bank.draw([1, 1, 3]))["m"] == rows[1]["value"]


@pytest.mark.parametrize("vectors", [0, 2.5, True])
def test_bad_options(vectors):
    with pytest.raises(OptionError, match=f"NuclearNorm: vectors.* at least 1, not {vectors}"):
        NuclearNorm(vectors=vectors)
