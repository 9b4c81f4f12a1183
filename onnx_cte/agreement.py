"""How well one ranking of models agrees with another, above all with how well they really do."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnx_cte.errors import OptionError
from onnx_cte.ranking import Ranking
from onnx_cte.tables import number, text_table

_TOLERANCE = 1e-12
"""Differences of correlations and of performances that are but rounding."""

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


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well the scores of a ranking agree with the true performance of the same models.

    Attributes
    ----------
    models : int
        Compared: those with a score and a performance.
    left_out : tuple of (model, reason)
        The others of either ranking, by name.
    kendall, kendall_p, spearman, spearman_p, pearson, pearson_p : float
        See `Correlations`; 1 is full agreement, whichever direction either ranking has.
    pairs_right : float
        Share of the pairs that are in the right order, of those whose performance differs by
        `margin` or more; a pair with equal scores counts half. NaN if there is no such pair.
    pairs_counted : int
        Pairs whose performance differs by `margin` or more.
    margin : float
        In units of performance.
    regret : float
        Performance lost by taking the top-ranked model instead of the best: 0 or more; NaN if
        no model has a value in both.
    best, chosen : str
        The model that performs best and the top-ranked one. Of equals, the first by name; but
        `best` is `chosen` where that performs as well as any.
    """

    models: int
    left_out: tuple[tuple[str, str], ...]
    kendall: float
    kendall_p: float
    spearman: float
    spearman_p: float
    pearson: float
    pearson_p: float
    pairs_right: float
    pairs_counted: int
    margin: float
    regret: float
    best: str
    chosen: str

    def __str__(self) -> str:
        rows = [
            ["Kendall tau-b", number(self.kendall), number(self.kendall_p, 4)],
            ["Spearman", number(self.spearman), number(self.spearman_p, 4)],
            ["Pearson", number(self.pearson), number(self.pearson_p, 4)],
        ]
        lines = [
            text_table([f"{self.models} models", "value", "p"], rows, left=[0]),
            f"pairs in the right order: {number(self.pairs_right)} of {self.pairs_counted} that "
            f"differ by {self.margin:g} or more",
            f"chosen: {self.chosen}; best: {self.best}; regret: {number(self.regret, 4)}",
        ]
        lines += [f"left out: {model} ({reason})" for model, reason in self.left_out]
        return "\n".join(lines)


def agreement(
    ranking: Ranking,
    truth: Ranking,
    *,
    margin: float = 0.05,
    permutations: int = 10_000,
    seed: int = 0,
) -> Agreement:
    """Compare a ranking with one by true performance.

    Both are turned so that greater is better, whatever their `greater_is_better`. Models are
    paired by name; those without a finite value on both sides are left out, and listed.

    Parameters
    ----------
    ranking : Ranking
        By an estimator that saw no labels.
    truth : Ranking
        By performance, as `Accuracy` measures it.
    margin : float
        Pairs of models whose performance differs by less are not asked to be in order; nor are
        those that perform alike, whatever the margin.
    permutations : int
        See `correlations`.
    seed : int
        See `correlations`. The order of the models does not matter.

    Returns
    -------
    Agreement

    Raises
    ------
    OptionError
        If no model is in both, a ranking names a model twice, or an option cannot be used.

    Examples
    --------
    >>> from onnx_cte.ranking import Score
    >>> def ranked(**values):
    ...     scores = [Score(m, v, (0, 1), (1, 3), 9, 0, 1.0) for m, v in values.items()]
    ...     return Ranking(tuple(scores), "by hand")
    >>> print(agreement(ranked(a=0.9, c=0.8, b=0.7), ranked(a=0.95, b=0.6, c=0.5)))
    3 models       value       p
    -------------  -----  ------
    Kendall tau-b  0.333  1.0000
    Spearman       0.500  1.0000
    Pearson        0.741  0.6667
    pairs in the right order: 0.667 of 3 that differ by 0.05 or more
    chosen: a; best: a; regret: 0.0000
    """
    if not (margin >= 0 and math.isfinite(margin)):
        raise OptionError(f"margin is {margin}, expected a finite number of at least 0")
    scores, performances = _oriented(ranking, "ranking"), _oriented(truth, "truth")
    left_out = {
        model: reason
        for model in sorted({*scores, *performances, *dict(ranking.failed), *dict(truth.failed)})
        if (reason := _why_left_out(model, ranking, truth))
    }
    names = sorted(scores.keys() - left_out.keys())
    if not scores.keys() & performances.keys():
        raise _nothing_shared(ranking, truth)
    x = np.array([scores[model] for model in names])
    y = np.array([performances[model] for model in names])
    found = correlations(x, y, permutations=permutations, seed=seed)
    first, second = np.triu_indices(len(names), k=1)
    difference = y[first] - y[second]
    counted = (np.abs(difference) >= margin - _TOLERANCE) & (difference != 0)
    right = np.sign(x[first] - x[second]) * np.sign(difference)
    regret, best, chosen = math.nan, "", ""
    if names:
        # Both take the first of equals, and names are sorted.
        top, most = int(x.argmax()), int(y.argmax())
        most = top if y[top] == y[most] else most
        regret, best, chosen = float(y[most] - y[top]), names[most], names[top]
    return Agreement(
        models=len(names),
        left_out=tuple(left_out.items()),
        kendall=found.kendall,
        kendall_p=found.kendall_p,
        spearman=found.spearman,
        spearman_p=found.spearman_p,
        pearson=found.pearson,
        pearson_p=found.pearson_p,
        pairs_right=float((1 + right[counted]).mean() / 2) if counted.any() else math.nan,
        pairs_counted=int(counted.sum()),
        margin=float(margin),
        regret=regret,
        best=best,
        chosen=chosen,
    )


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
    first, second = np.triu_indices(count, k=1)

    def signs(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Which of each pair is greater: tau-b is the cosine of two such vectors."""
        return np.sign(ranks[..., first] - ranks[..., second])

    # Permuting y does not change the length of its signs.
    kendall = _unit(signs(rank_a)) / np.linalg.norm(signs(rank_b))
    spearman, pearson = _unit(_centred(rank_a)), _unit(_centred(a))
    ranks, values = _unit(_centred(rank_b)), _unit(_centred(b))

    def correlate(orders: NDArray[np.intp]) -> NDArray[np.float64]:
        """The three correlations of x with y in each of the given orders (m, n), shape (3, m)."""
        return np.stack(
            [signs(rank_b[orders]) @ kendall, ranks[orders] @ spearman, values[orders] @ pearson]
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


def _oriented(ranking: Ranking, kind: str) -> dict[str, float]:
    """Value by model, turned so that greater is better."""
    if len(ranking.values) != len(ranking):
        names = [score.model for score in ranking]
        twice = sorted({model for model in names if names.count(model) > 1})
        raise OptionError(
            f"the {kind} names {', '.join(twice)} more than once: every model needs its own name"
        )
    sign = 1 if ranking.greater_is_better else -1
    return {model: sign * value for model, value in ranking.values.items()}


def _why_left_out(model: str, ranking: Ranking, truth: Ranking) -> str:
    """Why a model cannot be compared; empty if it can."""
    reasons = []
    for kind, side in (("ranking", ranking), ("truth", truth)):
        value = side.values.get(model)
        failed = dict(side.failed).get(model)
        if value is None:
            reasons.append(f"failed in the {kind}: {failed}" if failed else f"not in the {kind}")
        elif not math.isfinite(value):
            reasons.append(f"{value} in the {kind}")
    return "; ".join(reasons)


def _nothing_shared(ranking: Ranking, truth: Ranking) -> OptionError:
    """Error for rankings that have no model in common."""
    one, other = (", ".join(sorted(side.values)) or "no model" for side in (ranking, truth))
    return OptionError(
        "no model is in both rankings, so that they cannot be compared: the ranking has "
        f"{one}; the truth has {other}. Rank the same models, under the same names, on both sides"
    )
