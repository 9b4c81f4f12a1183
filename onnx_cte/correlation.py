"""Correlations of paired values, with ties and with p-values that hold for few pairs."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnx_cte.errors import OptionError

_TOLERANCE = 1e-12
"""Differences of correlations that are but rounding."""

_CHUNK = 200_000
"""Most pairs of models, over several permutations, to look at at once: fits a cache."""


@dataclass(frozen=True, slots=True)
class Correlations:
    """Three correlations of paired values, each with its two-sided permutation p-value.

    All are NaN for fewer than three pairs, or if all values of a side are equal.

    Attributes
    ----------
    kendall, kendall_p : float
        Kendall's tau-b, which allows for ties.
    spearman, spearman_p : float
        Pearson's correlation of the ranks, ties sharing their mean rank.
    pearson, pearson_p : float
        Pearson's correlation of the values.
    """

    kendall: float
    kendall_p: float
    spearman: float
    spearman_p: float
    pearson: float
    pearson_p: float


def correlations(
    x: ArrayLike, y: ArrayLike, *, permutations: int = 10_000, seed: int = 0
) -> Correlations:
    """Kendall's tau-b, Spearman's and Pearson's correlation, with permutation p-values.

    A p-value is two-sided: the share of permutations of `y` against `x` whose correlation is, in
    absolute value, at least the observed one less 1e-12. If there are no more than `permutations`
    orders (n!), all are counted and p is exact. Otherwise as many are drawn at random and
    p = (b + 1) / (m + 1) for b of m that reach it [1]_, so that it is never 0. The three share
    their permutations.

    Parameters
    ----------
    x, y : array_like of float, shape (n,)
        Paired values, all finite.
    permutations : int
        Most permutations to compute.
    seed : int
        For drawing them.

    Returns
    -------
    Correlations
        In [-1, 1] and (0, 1]; all NaN if n < 3 or if a side is constant.

    Raises
    ------
    OptionError
        If the values are not two finite vectors of the same length, `permutations` is below 1 or
        the seed is negative.

    References
    ----------
    .. [1] Phipson and Smyth (2010), Permutation p-values should never be zero, Statistical
       Applications in Genetics and Molecular Biology 9(1), 39.

    Examples
    --------
    >>> found = correlations([0.9, 0.8, 0.8, 0.5], [0.9, 0.7, 0.6, 0.5])
    >>> round(found.kendall, 4), round(found.spearman, 4), round(found.pearson, 4)
    (0.9129, 0.9487, 0.8452)
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.ndim != 1 or a.shape != b.shape or not np.isfinite([a, b]).all():
        raise OptionError(
            f"values of shapes {a.shape} and {b.shape} cannot be correlated, expected two vectors "
            "of the same length without NaN and infinity"
        )
    if permutations < 1:
        raise OptionError(f"permutations is {permutations}, expected at least 1")
    if seed < 0:
        raise OptionError(f"seed is {seed}, expected at least 0")
    count = len(a)
    if count < 3 or (a == a[0]).all() or (b == b[0]).all():
        return Correlations(*[math.nan] * 6)
    rank_a, rank_b = _ranks(a), _ranks(b)
    # Permuting y does not change the length of its signs.
    kendall = _unit(_signs(rank_a)) / np.linalg.norm(_signs(rank_b))
    spearman, pearson = _unit(_centred(rank_a)), _unit(_centred(a))
    ranks, values = _unit(_centred(rank_b)), _unit(_centred(b))

    def correlate(orders: NDArray[np.intp]) -> NDArray[np.float64]:
        """The three correlations of x with y in each of the given orders (m, n), shape (3, m)."""
        return np.stack(
            [_signs(rank_b[orders]) @ kendall, ranks[orders] @ spearman, values[orders] @ pearson]
        )

    observed = correlate(np.arange(count)[None])
    exact = math.factorial(count) <= permutations
    reached, drawn = np.zeros(3, int), 0
    for orders in _orders(count, None if exact else permutations, seed):
        found = correlate(orders)
        reached += (np.abs(found) >= np.abs(observed) - _TOLERANCE).sum(axis=1)
        drawn += len(orders)
    p = (reached if exact else reached + 1) / (drawn if exact else drawn + 1)
    tau, rho, r = np.clip(observed[:, 0], -1, 1).tolist()
    return Correlations(tau, float(p[0]), rho, float(p[1]), r, float(p[2]))


def kendall_tau(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau-b of paired values: +1 the same order, -1 the opposite; allows for ties.

    Parameters
    ----------
    x, y : array_like of float, shape (n,)
        Paired values without NaN.

    Returns
    -------
    float
        In [-1, 1]; NaN if n < 2 or if a side is constant.

    Examples
    --------
    >>> round(kendall_tau([0.9, 0.8, 0.8, 0.5], [0.9, 0.7, 0.6, 0.5]), 4)
    0.9129
    """
    a, b = _signs(_ranks(np.asarray(x, np.float64))), _signs(_ranks(np.asarray(y, np.float64)))
    if not (a.any() and b.any()):
        return math.nan
    return float(np.clip(_unit(a) @ _unit(b), -1, 1))


def _signs(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which of each pair is greater, (..., pairs): tau-b is the cosine of two such vectors."""
    first, second = np.triu_indices(ranks.shape[-1], k=1)
    return np.sign(ranks[..., first] - ranks[..., second])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from the smallest, ties share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return means[inverse]


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled, so that squares neither overflow nor vanish, and less their mean."""
    scaled = values / float(np.abs(values).max())
    return scaled - float(scaled.mean())


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scaled to length 1."""
    return vector / float(np.linalg.norm(vector))


def _orders(count: int, drawn: int | None, seed: int) -> Iterator[NDArray[np.intp]]:
    """Permutations of so many things, (m, count) at a time: all, or so many drawn at random."""
    rows = max(1, _CHUNK // (count * (count - 1) // 2))
    if drawn is None:
        every = itertools.permutations(range(count))
        while some := list(itertools.islice(every, rows)):
            yield np.array(some)
        return
    rng = np.random.default_rng(seed)
    for start in range(0, drawn, rows):
        straight = np.tile(np.arange(count), (min(rows, drawn - start), 1))
        yield rng.permuted(straight, axis=1)
