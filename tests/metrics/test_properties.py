"""One property, every registered metric: a newcomer is tested by existing."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.metrics import METRICS, metric_named

ALL = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
OF_LABELS = {name: metric for name, metric in METRICS.items() if metric.compares == "labels"}
LABELS = pytest.mark.parametrize("metric", OF_LABELS.values(), ids=OF_LABELS)


def arrays(metric, rng, shape=(12, 12)):
    if metric.compares == "probabilities":
        return rng.random(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)
    if metric.compares == "labels":
        return objects(rng), objects(rng)
    return rng.integers(0, 3, shape), rng.integers(0, 3, shape)


def objects(rng, side=24):
    """Rectangles, of a width to have an inside, that cover one another as they come."""
    labels = np.zeros((side, side), np.int32)
    for label in rng.permutation(9) + 1:
        y, x = rng.integers(0, side - 4, 2)
        height, width = rng.integers(4, 12, 2)
        labels[y : y + height, x : x + width] = label
    return labels


@ALL
def test_range_and_type(metric):
    rng = np.random.default_rng(0)
    for _ in range(30):
        value = metric.function(*arrays(metric, rng))
        assert type(value) is float
        assert 0 <= value <= 1


@ALL
def test_identity_is_best(metric):
    rng = np.random.default_rng(1)
    a, b = arrays(metric, rng)
    if metric.compares == "probabilities":
        a = (a > 0.5).astype(np.float32)
    assert metric.function(a, a) == pytest.approx(1.0)
    assert metric.function(a, b) < 1


@ALL
def test_symmetric_as_declared(metric):
    rng = np.random.default_rng(2)
    a, b = arrays(metric, rng)
    assert (metric.function(a, b) == pytest.approx(metric.function(b, a))) is metric.symmetric


@ALL
def test_no_foreground_is_undefined(metric):
    dtype = {"probabilities": np.float32, "classes": bool, "labels": np.int32}[metric.compares]
    nothing = np.zeros((4, 4), dtype)
    assert math.isnan(metric.function(nothing, nothing))


@ALL
def test_no_pixel_is_undefined(metric):
    dtype = np.float32 if metric.compares == "probabilities" else np.int32
    for shape in ((0,), (0, 4), (3, 0, 2)):
        assert math.isnan(metric.function(np.zeros(shape, dtype), np.zeros(shape, dtype)))


@ALL
def test_pixels_may_be_permuted_and_reshaped(metric):
    rng = np.random.default_rng(3)
    a, b = arrays(metric, rng)
    if metric.function is METRICS["rand_fscore"].function:
        metric = replace(metric, function=partial(metric.function, border=0))
    order = rng.permutation(a.size)
    shuffled = metric.function(a.ravel()[order], b.ravel()[order])
    assert shuffled == pytest.approx(metric.function(a, b), abs=1e-12)


@ALL
def test_views_and_orders_of_memory_do_not_matter(metric):
    a, b = arrays(metric, np.random.default_rng(6))
    expected = pytest.approx(metric.function(a, b), abs=1e-6)
    wide = np.repeat(a, 2, axis=1)[:, ::2]
    assert not wide.flags.c_contiguous
    frozen = a.copy(), b.copy()
    for array in frozen:
        array.flags.writeable = False
    fortran = np.asfortranarray(a), np.asfortranarray(b)
    flipped = np.flip(np.flip(b).copy())
    for one, other in (fortran, (fortran[0], b), (a, fortran[1]), (wide, flipped), frozen):
        assert metric.function(one, other) == expected


@ALL
def test_the_scene_may_be_flipped_and_turned(metric):
    a, b = arrays(metric, np.random.default_rng(7))
    value = pytest.approx(metric.function(a, b), abs=1e-6)
    assert metric.function(a[::-1], b[::-1]) == value
    assert metric.function(a[:, ::-1], b[:, ::-1]) == value
    assert metric.function(a.T, b.T) == value
    assert metric.function(a[:, None], b[:, None]) == value


@LABELS
def test_labels_may_be_any_numbers(metric):
    rng = np.random.default_rng(8)
    for _ in range(10):
        a, b = arrays(metric, rng)
        value = metric.function(a, b)
        for ids in (rng.permutation(9) + 1, rng.choice(2**40, 9, False) + 2**31):
            names = np.concatenate([[0], ids])
            assert metric.function(names[a], b) == value
            assert metric.function(a, names[b]) == value
            assert metric.function(names[a], names[b]) == value


@LABELS
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_label_image_is_refused(metric, place):
    good = np.ones((3, 3), int)

    def given(wrong):
        return metric.function(*((wrong, good) if place == 0 else (good, wrong)))

    with pytest.raises(ValueError, match="of integers, got float32: threshold and label"):
        given(good.astype(np.float32))
    with pytest.raises(ValueError, match=r"got a bool mask, .* label its connected components"):
        given(good.astype(bool))
    with pytest.raises(ValueError, match="holds -2: expected 0 for background and positive"):
        given(good - 3)
    with pytest.raises(ValueError, match=r"shapes .*expected equal ones"):
        given(good[:2])
    with pytest.raises(ValueError, match=r"shapes .*expected equal ones"):
        given(good[None])
    with pytest.raises(ValueError, match="one or more axes, got a single number"):
        metric.function(np.int64(3), np.int64(3))
    with pytest.raises(ValueError, match=r"expected labels up to 2\*\*63 - 1; number the objects"):
        given(good.astype(np.uint64) << np.uint64(63))


@LABELS
def test_an_object_of_one_pixel(metric):
    a = np.zeros((3, 4), np.int32)
    a[1, 2] = 5
    # It has no pair of pixels, and is nothing but border.
    assert metric.function(a, a) == (
        1 if metric.purpose == "performance" else pytest.approx(math.nan, nan_ok=True)
    )


@ALL
def test_dtype_does_not_matter(metric):
    rng = np.random.default_rng(4)
    a, b = arrays(metric, rng)
    others = [np.float64] if metric.compares == "probabilities" else [np.uint8, np.int64, np.uint16]
    for other in others:
        value = metric.function(a.astype(other), b.astype(other))
        assert value == pytest.approx(metric.function(a, b), abs=1e-6)


@ALL
def test_arguments_are_left_as_they_are(metric):
    a, b = arrays(metric, np.random.default_rng(5))
    before = a.copy(), b.copy()
    metric.function(a, b)
    assert (a == before[0]).all()
    assert (b == before[1]).all()


def test_unknown_metrics_are_named_with_a_suggestion():
    with pytest.raises(OptionError, match="unknown consistency metric 'nhdd': did you mean 'nhd'"):
        metric_named("nhdd", "consistency")
    with pytest.raises(
        OptionError, match="'nhd' measures consistency, expected a metric of performance"
    ):
        metric_named("nhd", "performance")
