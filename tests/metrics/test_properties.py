"""One property, every registered metric: a newcomer is tested by existing."""

import math

import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.metrics import METRICS, metric_named

ALL = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def arrays(metric, rng, shape=(12, 12)):
    if metric.compares == "probabilities":
        return rng.random(shape, dtype=np.float32), rng.random(shape, dtype=np.float32)
    return rng.integers(0, 3, shape), rng.integers(0, 3, shape)


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
    dtype = np.float32 if metric.compares == "probabilities" else bool
    nothing = np.zeros((4, 4), dtype)
    assert math.isnan(metric.function(nothing, nothing))


@ALL
def test_pixels_may_be_permuted_and_reshaped(metric):
    rng = np.random.default_rng(3)
    a, b = arrays(metric, rng)
    order = rng.permutation(a.size)
    shuffled = metric.function(a.ravel()[order], b.ravel()[order])
    assert shuffled == pytest.approx(metric.function(a, b), abs=1e-12)


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
    with pytest.raises(OptionError, match="unknown performance metric 'nhd'"):
        metric_named("nhd", "performance")
