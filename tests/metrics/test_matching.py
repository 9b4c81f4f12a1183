"""Matching at IoU thresholds: worked examples, then beside a plain count."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.metrics.contingency import contingency
from onnx_cte.metrics.matching import (
    THRESHOLDS,
    average_precision,
    average_precision_of,
    f1_50,
    f1_50_of,
    matching,
    matching_of,
)


def strip(width, *objects):
    """Three rows; each object is (first column, end column), numbered from 1."""
    image = np.zeros((3, width), np.int32)
    for label, (begin, end) in enumerate(objects, 1):
        image[:, begin:end] = label
    return image


def quarters():
    """M8: two halves, no background; the prediction cuts the left one."""
    truth = np.repeat([[1] * 5 + [2] * 5], 4, axis=0)
    prediction = np.full((4, 10), 2)
    prediction[:2, :5], prediction[2:, :5] = 3, 4
    return truth, prediction


M2 = strip(12, (0, 4), (6, 10))


@pytest.mark.parametrize(
    ("truth", "prediction", "strict", "reached"),
    [
        pytest.param(strip(10, (0, 5), (5, 10)), strip(10, (0, 5), (5, 10)), 1, 1, id="M1"),
        pytest.param(M2, strip(12, (0, 3), (6, 11)), 8 / 15, 19 / 30, id="M2"),
        pytest.param(M2, strip(12, (0, 4)), 0.5, 0.5, id="M3-missed"),
        pytest.param(M2, strip(12, (0, 10)), 0, 0, id="M4-merged"),
        pytest.param(strip(12, (0, 6)), strip(12, (0, 3)), 0, 0.1, id="M5-a-half"),
        pytest.param(strip(5, (0, 3)), strip(5, (0, 5)), 0.2, 0.3, id="M6-three-fifths"),
        pytest.param(strip(5), strip(5), math.nan, math.nan, id="M7-both-empty"),
        pytest.param(strip(5), strip(5, (0, 2)), 0, 0, id="M7-no-truth"),
        pytest.param(strip(5, (0, 2)), strip(5), 0, 0, id="M7-no-prediction"),
    ],
)
def test_worked_examples(truth, prediction, strict, reached):
    near = {"abs": 1e-12, "nan_ok": True}
    assert average_precision(prediction, truth) == pytest.approx(strict, **near)
    assert average_precision(prediction, truth, strict=False) == pytest.approx(reached, **near)
    assert average_precision(truth, prediction) == pytest.approx(strict, **near)


def test_thresholds_one_by_one_m2():
    found = matching(strip(12, (0, 3), (6, 11)), M2, THRESHOLDS)
    assert [one.accuracy for one in found] == [1] * 5 + [1 / 3] + [0] * 4
    assert [one.threshold for one in found] == [k / 20 for k in range(10, 20)]


def test_a_half_m5():
    truth, prediction = strip(12, (0, 6)), strip(12, (0, 3))
    assert matching(prediction, truth).accuracy == 0
    assert matching(prediction, truth, strict=False).accuracy == 1
    assert (f1_50(prediction, truth), f1_50(prediction, truth, strict=False)) == (0, 1)


def test_an_image_without_background_keeps_its_objects_m8():
    truth, prediction = quarters()
    assert matching(prediction, truth, strict=True).accuracy == 0.25
    ringed = np.pad(prediction, 1), np.pad(truth, 1)
    assert matching(*ringed) == matching(prediction, truth)
    assert f1_50(prediction, truth) == 0.4


def test_counts_and_shares():
    truth, prediction = strip(20, (0, 4), (5, 9), (10, 14)), strip(20, (0, 4), (15, 20))
    found = matching(prediction, truth)
    assert (found.true_positives, found.false_positives, found.false_negatives) == (1, 1, 2)
    assert (found.precision, found.recall, found.f1, found.accuracy) == (1 / 2, 1 / 3, 0.4, 0.25)
    missed = matching(strip(20), truth)
    assert math.isnan(missed.precision)
    assert (missed.recall, missed.f1, missed.accuracy) == (0, 0, 0)
    invented = matching(truth, strip(20))
    assert math.isnan(invented.recall)
    assert (invented.precision, invented.f1, invented.accuracy) == (0, 0, 0)


def test_one_object_is_matched_once():
    # Both halves reach a half, but only one of them can have it.
    truth, prediction = strip(8, (0, 8)), strip(8, (0, 4), (4, 8))
    assert matching(prediction, truth, strict=False).true_positives == 1
    assert matching(truth, prediction, strict=False).true_positives == 1
    # Taking the best pair first (4 of 7 columns) would leave the two others without a partner.
    truth, prediction = strip(12, (0, 6), (6, 9)), strip(12, (0, 2), (2, 7))
    assert matching(prediction, truth, 0.1).true_positives == 2


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("strict", [True, False])
def test_as_many_pairs_as_can_be(threshold, strict):
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, prediction = np.sort(rng.integers(0, 5, (2, 12)), axis=1)
        pairs = [
            (i, j)
            for i, j in itertools.product(range(1, 5), range(1, 5))
            if (iou := overlap(truth == i, prediction == j))
            and (iou > threshold or (iou == threshold and not strict))
        ]
        best = max(
            len(chosen)
            for size in range(5)
            for chosen in itertools.combinations(pairs, size)
            if len({i for i, _ in chosen}) == len({j for _, j in chosen}) == len(chosen)
        )
        found = matching(prediction, truth, threshold, strict=strict)
        assert found.true_positives == best


def overlap(one, other):
    union = int(np.count_nonzero(one | other))
    return Fraction(int(np.count_nonzero(one & other)), union) if union else Fraction(0)


@pytest.mark.parametrize("shape", [(16, 18), (6, 7, 8)])
@pytest.mark.parametrize("strict", [True, False])
def test_beside_a_plain_count(shape, strict):
    """Every object beside every other, in fractions."""
    rng = np.random.default_rng(1)
    for _ in range(4):
        truth = np.repeat(rng.integers(0, 4, shape), 2, 0) * np.repeat(
            rng.integers(0, 2, shape), 2, 0
        )
        truth = np.cumsum(np.ones_like(truth), axis=0) // 9 * 10 + truth
        change = rng.random(truth.shape) < 0.1
        prediction = np.where(change, 0, truth)
        pairs = [
            overlap(truth == i, prediction == j)
            for i in np.unique(truth[truth > 0])
            for j in np.unique(prediction[prediction > 0])
        ]
        wanted = len(np.unique(truth[truth > 0]))
        predicted = len(np.unique(prediction[prediction > 0]))
        shares = []
        for k in range(11, 20):
            hits = sum(
                iou > Fraction(k, 20) or (iou == Fraction(k, 20) and not strict) for iou in pairs
            )
            shares.append(Fraction(hits, wanted + predicted - hits))
        found = matching(prediction, truth, THRESHOLDS[1:], strict=strict)
        assert [one.accuracy for one in found] == [float(share) for share in shares]
        assert 0 < sum(shares) < 9


@pytest.mark.parametrize("k", range(10, 20))
def test_thresholds_are_exact_fractions(k):
    """Objects of every size whose IoU is the threshold itself, and its next neighbours."""
    for union in range(20, 2000, 20):
        for more in (-1, 0, 1):
            hit = k * union // 20 + more
            truth, prediction = np.ones((2, 1, union), int)
            prediction[:, hit:] = 0
            exceeded = matching(prediction, truth, THRESHOLDS)[k - 10].true_positives
            reached = matching(prediction, truth, THRESHOLDS, strict=False)[k - 10].true_positives
            assert (exceeded, reached) == (more > 0, more >= 0)


def test_a_table_serves_all():
    truth, prediction = quarters()
    table = contingency(truth, prediction)
    assert matching_of(table, THRESHOLDS) == matching(prediction, truth, THRESHOLDS)
    assert matching_of(table) == matching(prediction, truth)
    assert f1_50_of(table) == f1_50(prediction, truth)
    assert average_precision_of(table) == average_precision(prediction, truth)
    assert matching_of(table, np.array([0.5, 0.6])) == matching_of(table, (0.5, 0.6))
    assert matching_of(table, ()) == ()


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_thresholds_that_cannot_be(threshold):
    with pytest.raises(OptionError, match=r"IoU threshold is .*: expected a number from 0 to 1"):
        matching(M2, M2, threshold)
    with pytest.raises(OptionError, match="IoU threshold is"):
        matching(M2, M2, [0.5, threshold])
