import math
import time

import numpy as np
import pytest
from scipy import stats

from onnx_cte.correlation import correlations, kendall_tau
from onnx_cte.errors import OptionError

NAN = math.nan


def absolute(correlation, y):
    """Statistic for scipy's permutation test, which calls two-sided something else."""
    return lambda x: abs(correlation(x, y).statistic)


@pytest.mark.parametrize(
    ("x", "y", "tau", "rho", "r"),
    [
        ([0.9, 0.8, 0.7], [0.95, 0.6, 0.5], 1, 1, 0.9522165814),
        ([0.9, 0.7, 0.8], [0.95, 0.6, 0.5], 1 / 3, 0.5, 0.7406128967),
        ([0.9, 0.8, 0.8, 0.5], [0.9, 0.7, 0.6, 0.5], 0.9128709292, 0.9486832981, 0.8451542547),
    ],
    ids=["C1", "C2", "C3"],
)
def test_worked_examples(x, y, tau, rho, r):
    found = correlations(x, y)
    assert found.kendall == pytest.approx(tau, abs=1e-9)
    assert found.spearman == pytest.approx(rho, abs=1e-9)
    assert found.pearson == pytest.approx(r, abs=1e-9)
    assert kendall_tau(x, y) == pytest.approx(tau, abs=1e-9)


@pytest.mark.parametrize("count", [3, 5, 12, 40])
def test_parity_with_scipy(count):
    rng = np.random.default_rng(count)
    for levels in (2, 4, 10_000):
        x = rng.integers(0, levels, count).astype(float)
        y = x + rng.integers(0, levels, count)
        x[:2], y[:2] = (0, 1), (1, 0)
        found = correlations(x, y, permutations=10)
        assert found.kendall == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
        assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert found.pearson == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
        assert kendall_tau(x, y) == pytest.approx(found.kendall, abs=1e-12)


@pytest.mark.parametrize(
    ("x", "y"),
    [([1, 2, 3, 4, 5.5], [2, 1, 3, 5, 4]), ([1, 1, 2, 7, 3], [0.2, 0.5, 0.5, 0.5, 0.9])],
    ids=["distinct", "ties"],
)
def test_exact_p_values_equal_scipy(x, y):
    found = correlations(x, y, permutations=120)
    for name, correlation in (
        ("kendall", stats.kendalltau),
        ("spearman", stats.spearmanr),
        ("pearson", stats.pearsonr),
    ):
        expected = stats.permutation_test(
            (x,),
            absolute(correlation, y),
            permutation_type="pairings",
            alternative="greater",
            n_resamples=np.inf,
        )
        assert len(expected.null_distribution) == 120
        assert getattr(found, f"{name}_p") == pytest.approx(expected.pvalue, abs=1e-12)


def test_exact_p_values_by_hand():
    # Of the 6 orders of three, two reach |tau| = 1, all reach 1/3.
    perfect = correlations([1, 2, 3], [1, 2, 3])
    assert (perfect.kendall_p, perfect.spearman_p, perfect.pearson_p) == (1 / 3, 1 / 3, 1 / 3)
    assert correlations([1, 2, 3], [1, 3, 2]).kendall_p == 1
    # Of the 24 orders of four, two.
    assert correlations([1, 2, 3, 4], [4, 3, 2, 1]).kendall_p == 2 / 24


def test_p_values_follow_their_definition_when_drawn():
    x, y = [1, 2, 3, 4, 5, 6], [2, 1, 3, 6, 4, 5]
    exact = correlations(x, y, permutations=720)
    drawn = correlations(x, y, permutations=719)
    for name in ("kendall_p", "spearman_p", "pearson_p"):
        p = getattr(drawn, name)
        # (b + 1) / (m + 1) for a whole number b.
        assert p * 720 == pytest.approx(round(p * 720), abs=1e-9)
        assert p == pytest.approx(getattr(exact, name), abs=0.05)
    assert drawn != exact


def test_drawn_p_values_are_never_zero_and_repeat_with_the_seed():
    x = np.arange(12.0)
    assert correlations(x, x, permutations=99).kendall_p == 1 / 100
    y = np.random.default_rng(0).permutation(12)
    once = correlations(x, y, permutations=500, seed=1)
    assert once == correlations(x, y, permutations=500, seed=1)
    assert once != correlations(x, y, permutations=500, seed=2)


def test_drawn_p_values_are_uniform_without_association():
    rng = np.random.default_rng(3)
    p = [correlations(*rng.random((2, 9)), permutations=99, seed=i).pearson_p for i in range(200)]
    assert 0.4 < np.mean(p) < 0.6
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.06)


def test_forty_models_take_no_time():
    x, y = np.random.default_rng(0).random((2, 40))
    start = time.perf_counter()
    correlations(x, y)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("x", "y"),
    [([], []), ([1], [1]), ([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0.1, 0.1, 0.1])],
)
def test_undefined_correlations_are_nan(x, y):
    found = correlations(x, y)
    assert all(math.isnan(getattr(found, name)) for name in found.__slots__)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_any_scale(scale):
    x, y = np.array([1.0, 2, 4, 3]), np.array([1.0, 3, 2, 4])
    assert correlations(x * scale, y).pearson == pytest.approx(correlations(x, y).pearson)


def test_options_are_checked():
    with pytest.raises(OptionError, match=r"shapes \(3,\) and \(2,\) cannot be correlated"):
        correlations([1, 2, 3], [1, 2])
    with pytest.raises(OptionError, match="without NaN and infinity"):
        correlations([1, 2, NAN], [1, 2, 3])
    with pytest.raises(OptionError, match="permutations is 0, expected at least 1"):
        correlations([1, 2, 3], [1, 2, 3], permutations=0)
    with pytest.raises(OptionError, match="seed is -1, expected at least 0"):
        correlations([1, 2, 3], [1, 2, 3], seed=-1)


def test_tau_of_pairs_by_hand():
    # Of six pairs five are in order, one is not; with a tie on one side, two of sqrt(2 x 3).
    assert kendall_tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert kendall_tau([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(6))
    assert kendall_tau([1, 2], [5, 3]) == -1
    assert kendall_tau([-math.inf, 0, math.inf], [1, 2, 3]) == pytest.approx(1)


@pytest.mark.parametrize(("x", "y"), [([], []), ([1], [2]), ([1, 1, 1], [1, 2, 3])])
def test_tau_of_nothing_to_order_is_undefined(x, y):
    assert math.isnan(kendall_tau(x, y))
    assert math.isnan(kendall_tau(y, x))
