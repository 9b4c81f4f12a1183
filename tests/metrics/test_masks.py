"""Worked examples first: computed by hand, independently of this code and of the authors'."""

import math

import numpy as np
import pytest

from onnx_cte.metrics.masks import (
    effective_invariance,
    f1,
    f1_classes,
    mean_confidence,
    mean_entropy,
    normalized_hamming,
)

NAN = math.nan
close = pytest.approx


def mask(rows):
    return np.array(rows, bool)


def prob(rows):
    return np.array(rows, float)


@pytest.mark.parametrize(
    ("y", "z", "expected"),
    [
        pytest.param([[1, 1, 0], [0, 1, 0]], [[1, 0, 0], [0, 1, 1]], 0.5, id="N1"),
        pytest.param([[0, 0], [0, 0]], [[0, 0], [0, 0]], NAN, id="N3-both-empty"),
        pytest.param([[1, 1], [1, 1]], [[0, 0], [0, 0]], 0.0, id="N3-one-empty"),
        pytest.param([[1, 1, 1, 0]] * 2, [[1, 0, 1, 1]] * 2, 0.5, id="N4"),
    ],
)
def test_nhd_of_masks(y, z, expected):
    assert normalized_hamming(mask(y), mask(z)) == close(expected, abs=1e-12, nan_ok=True)


def test_nhd_thresholds_strictly_n2():
    p = prob([[0.9, 0.5, 0.51], [0.2, 0.7, 0.1]])
    q = prob([[0.4, 0.6, 0.8], [0.2, 0.9, 0.5]])
    assert normalized_hamming(p > 0.5, q > 0.5) == 0.5
    # The same cut, made inside EI: with 0/1 probabilities EI is NHD.
    assert effective_invariance((p > 0.5) * 1.0, (q > 0.5) * 1.0) == 0.5
    assert effective_invariance(p, q) == close((math.sqrt(0.51 * 0.8) + math.sqrt(0.63)) / 4)


def test_nhd_of_classes_n5():
    y = np.array([[0, 1, 1, 2], [2, 2, 0, 0]])
    z = np.array([[0, 1, 2, 2], [2, 0, 0, 1]])
    assert normalized_hamming(y, z) == 0.5


@pytest.mark.parametrize(
    ("p", "q", "union", "everywhere"),
    [
        pytest.param(
            [[0.9, 0.8], [0.3, 0.6]],
            [[0.4, 0.5001], [0.2, 0.9]],
            0.45578856575329035,
            0.5289242936536649,
            id="E1",
        ),
        pytest.param(
            [[1, 1, 0], [0, 1, 0]], [[1, 0, 0], [0, 1, 1]], 0.5, 0.6666666666666666, id="E2"
        ),
        pytest.param([[0.81] * 2] * 2, [[0.81] * 2] * 2, 0.81, 0.81, id="E3a"),
        pytest.param([[0.1] * 2] * 2, [[0.1] * 2] * 2, NAN, 0.9, id="E3b"),
    ],
)
def test_effective_invariance(p, q, union, everywhere):
    p, q = prob(p), prob(q)
    assert effective_invariance(p, q) == close(union, abs=1e-9, nan_ok=True)
    assert effective_invariance(p, q, region="all") == close(everywhere, abs=1e-9)


def test_effective_invariance_of_classes_e4():
    rows_p = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]
    rows_q = [[0.5, 0.4, 0.1], [0.3, 0.3, 0.4], [0.1, 0.2, 0.7], [0.2, 0.7, 0.1]]
    p, q = prob(rows_p).T, prob(rows_q).T  # classes first
    value = effective_invariance(p, q, exclusive=True)
    assert value == close(0.19720265943665385, abs=1e-9)
    assert effective_invariance(p, q, exclusive=True, region="all") == close(
        0.2958039891549808, abs=1e-9
    )


def test_ei_never_exceeds_nhd():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p, q = rng.random((2, 16, 16))
        assert effective_invariance(p, q) <= normalized_hamming(p > 0.5, q > 0.5) + 1e-12


def test_two_exclusive_classes_are_a_binary_map():
    rng = np.random.default_rng(1)
    p, q = rng.random((2, 16, 16))
    both = effective_invariance(np.stack([1 - p, p]), np.stack([1 - q, q]), exclusive=True)
    assert both == close(effective_invariance(p, q), abs=1e-12)


def test_threshold_is_taken_in_the_precision_of_the_map():
    p = np.full((2, 2), 0.3, np.float32)
    assert np.isnan(effective_invariance(p, p, threshold=0.3))


@pytest.mark.parametrize(
    ("p", "g", "expected"),
    [
        pytest.param([[0.9, 0.8, 0.2], [0.6, 0.4, 0.1]], [[1, 1, 1], [0, 1, 0]], 4 / 7, id="F1a"),
        pytest.param([[0, 0], [0, 0]], [[1, 1], [1, 1]], 0.0, id="F1b-missed"),
        pytest.param([[0, 0], [0, 0]], [[0, 0], [0, 0]], NAN, id="F1b-both-empty"),
        pytest.param([[1, 1], [1, 1]], [[0, 0], [0, 0]], 0.0, id="F1b-invented"),
        pytest.param([0.5, 0.5000001, 0.49, 0.7], [1, 1, 0, 0], 0.5, id="F1c"),
    ],
)
def test_f1(p, g, expected):
    assert f1(prob(p) > 0.5, mask(g)) == close(expected, abs=1e-12, nan_ok=True)


def test_f1_of_background_f1a():
    p, g = prob([[0.9, 0.8, 0.2], [0.6, 0.4, 0.1]]), mask([[1, 1, 1], [0, 1, 0]])
    assert f1(~(p > 0.5), ~g) == close(0.4)


def test_f1_takes_instance_labels_as_foreground():
    assert f1(mask([1, 1, 0]), np.array([7, 9, 0])) == 1.0


def test_f1_classes_tells_classes_apart():
    prediction, truth = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])
    assert f1(prediction, truth) == 1.0
    assert f1_classes(prediction, truth) == close((0 + 2 / 4) / 2)
    assert math.isnan(f1_classes(np.zeros(3, int), np.zeros(3, int)))


def test_confidence_and_entropy_of_the_worked_example():
    p = prob([0.9, 0.2, 0.6, 0.4])
    assert mean_confidence(p, region="all") == close(0.725)
    assert mean_entropy(p, region="all") == close(0.5428771827, abs=1e-9)
    assert mean_confidence(p) == close(0.75)  # over 0.9 and 0.6
    assert mean_entropy(np.stack([1 - p, p]), exclusive=True) == close(mean_entropy(p))


def test_certain_pixels_have_no_entropy():
    assert mean_entropy(prob([1.0, 1.0, 0.0])) == 0.0
    assert mean_entropy(prob([1.0, 1.0, 0.0]), region="all") == 0.0


@pytest.mark.parametrize("function", [normalized_hamming, f1, f1_classes, effective_invariance])
def test_shapes_must_agree(function):
    with pytest.raises(ValueError, match=r"shapes differ: \(2, 2\) and \(2, 3\)"):
        function(np.ones((2, 2), bool), np.ones((2, 3), bool))


@pytest.mark.parametrize("function", [normalized_hamming, f1, f1_classes])
def test_probabilities_are_refused_where_decisions_are_due(function):
    with pytest.raises(ValueError, match="got float64: threshold probabilities first"):
        function(np.ones((2, 2)), np.ones((2, 2)))


def test_unknown_regions_are_refused():
    with pytest.raises(ValueError, match="region must be 'union' or 'all', not 'some'"):
        effective_invariance(prob([1]), prob([1]), region="some")
    with pytest.raises(ValueError, match="region must be 'foreground' or 'all', not 'union'"):
        mean_confidence(prob([1]), region="union")
