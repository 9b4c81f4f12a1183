"""How well an estimator judges the models of a bank on one target: the numbers of the tables.

Everything is computed from two `Ranking` s, one by performance and one by the estimator, and from
their scores under the same bootstrap draws of the images.
"""

import math
from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_cte.agreement import agreement
from onnx_cte.ranking import Ranking
from onnx_cte.sample_size import interval_percentiles

MARGIN = 0.05
"""Pairs of models whose performance differs by less need not be in order."""

DRAWS = 200
"""Bootstrap draws to take of those there are; some estimators have no more."""

_TOLERANCE = 1e-12
"""Differences of performances that are but rounding."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Performances:
    """What a bank's models really achieve on a target; models without a performance left out.

    Attributes
    ----------
    models : tuple of str
        By name.
    values : ndarray of float64, shape (models,)
        Finite; greater is better.
    drawn : ndarray of float64, shape (draws, models)
        Under each draw of the images; no rows where there are too few images to draw from.
    sampled : int
        Images that are drawn from; 0 if there are too few.
    told_apart : ndarray of bool, shape (pairs,)
        Which pairs differ by `MARGIN` or more and are told apart by the images
        (`Ranking.undecided`). No pair where nothing was drawn. In the order of
        ``numpy.triu_indices``.
    """

    models: tuple[str, ...]
    values: Array
    drawn: Array
    sampled: int
    told_apart: NDArray[np.bool_]


@dataclass(frozen=True)
class Numbers:
    """How an estimator's scores agree with performance, on one target.

    Of a ranking whose draws are alternatives to each other (`Ranking.by_draw`), the mean over them.

    Attributes
    ----------
    tau, rho, r : float
        Kendall's tau-b, Spearman's and Pearson's correlation, of the models that have a score.
    pairs : float
        Share of the pairs told apart (`Performances`) that are in the right order: see
        `pairs_right`.
    regret : float
        See `top_regret`.
    left_out : int
        Models with a performance to which the estimator gave no finite score.
    tau_drawn, pairs_drawn : ndarray of float64, shape (draws,)
        Both under each draw of the images; empty if there are no draws.
    """

    tau: float
    rho: float
    r: float
    pairs: float
    regret: float
    left_out: int
    tau_drawn: Array
    pairs_drawn: Array


def performances(truth: Ranking, without: Set[str] = frozenset()) -> Performances:
    """Read a ranking by performance, all but some models."""
    sign = 1.0 if truth.greater_is_better else -1.0
    finite = {m: sign * v for m, v in truth.values.items() if math.isfinite(v)}
    models = tuple(sorted(finite.keys() - without))
    values = np.array([finite[model] for model in models])
    drawn = _drawn(truth, models)
    first, second = np.triu_indices(len(models), k=1)
    told_apart = np.abs(values[first] - values[second]) >= MARGIN - _TOLERANCE
    open_pairs = {frozenset(pair) for pair in truth.undecided}
    for number, (a, b) in enumerate(zip(first, second, strict=True)):
        if not len(drawn) or frozenset((models[a], models[b])) in open_pairs:
            told_apart[number] = False
    return Performances(models, values, drawn, truth.sampled, told_apart)


def numbers(ranking: Ranking, truth: Ranking, without: Set[str] = frozenset()) -> Numbers:
    """Compare a ranking with one by performance of the same run, all but some models.

    Parameters
    ----------
    ranking, truth : Ranking
        Their `drawn` share the draws of the images, row by row.
    without : set of str
        Models to leave out of everything.

    Returns
    -------
    Numbers
        All NaN, and no draws, if the estimator has a finite score for none of the models: it says
        nothing, and is not judged here.
    """
    real = performances(truth, without)
    scores = _alternatives(ranking, real.models)
    defined = np.isfinite(scores)
    judged = defined.any(axis=0)
    left_out = int((~judged).sum())
    if not judged.any():
        none = np.empty(0)
        return Numbers(*[math.nan] * 5, left_out, none, none)
    # A single permutation: p-values are not looked at.
    found = agreement(_without(ranking, without), _without(truth, without), permutations=1)
    saying = scores[defined.any(axis=1)]
    drawn = _drawn(ranking, real.models)
    count = min(len(drawn), len(real.drawn))
    drawn, drawn_truth = drawn[:count], real.drawn[:count]
    return Numbers(
        tau=found.kendall,
        rho=found.spearman,
        r=found.pearson,
        pairs=mean_defined(pairs_right(saying, real.values, real.told_apart)),
        regret=mean_defined(top_regret(saying, real.values)),
        left_out=left_out,
        tau_drawn=taus(drawn, drawn_truth),
        pairs_drawn=pairs_right(drawn, drawn_truth, real.told_apart),
    )


def pairs_right(scores: Array, real: Array, counted: NDArray[np.bool_]) -> Array:
    """Share of the counted pairs of models that scores put in the right order.

    Equal scores count half. A model without a score (NaN) counts as the last; two such are equal.

    Parameters
    ----------
    scores : ndarray of float64, shape (..., models)
        Greater is better.
    real : ndarray of float64, shape (models,) or (..., models)
        Performance. A pair of which it is equal, or of which one is undefined, is left out.
    counted : ndarray of bool, shape (pairs,)
        In the order of ``numpy.triu_indices``.

    Returns
    -------
    ndarray of float64, shape (...)
        In [0, 1]; NaN if there is no such pair.

    Examples
    --------
    >>> scores, real = np.array([3.0, 2.0, np.nan]), np.array([0.9, 0.5, 0.7])
    >>> round(float(pairs_right(scores, real, np.ones(3, bool))), 3)
    0.667
    """
    said, true = _order(_last(scores)), _order(real)
    asked = counted & (true != 0) & _both(np.isfinite(real))
    asked, true, said = np.broadcast_arrays(asked, true, said)
    right = np.where(asked, (1 + said * true) / 2, 0).sum(axis=-1)
    count = asked.sum(axis=-1)
    return np.where(count > 0, right / np.maximum(count, 1), math.nan)


def top_regret(scores: Array, real: Array) -> Array:
    """Performance lost by taking the model with the highest score instead of the best there is.

    Parameters
    ----------
    scores : ndarray of float64, shape (..., models)
        Greater is better; NaN counts as the last. Of several highest, the mean.
    real : ndarray of float64, shape (models,)
        Performance, finite, of at least one model.

    Returns
    -------
    ndarray of float64, shape (...)
        0 or more.

    Examples
    --------
    >>> float(top_regret(np.array([1.0, 1.0, np.nan]), np.array([0.5, 0.75, 1.0])))
    0.375
    """
    filled = _last(scores)
    top = filled == filled.max(axis=-1, keepdims=True)
    return real.max() - (top * real).sum(axis=-1) / top.sum(axis=-1)


def taus(scores: Array, real: Array) -> Array:
    """Kendall's tau-b of each row of scores with the same row of performances.

    Parameters
    ----------
    scores, real : ndarray of float64, shape (draws, models)
        In each row, models without a finite value on both sides are left out.

    Returns
    -------
    ndarray of float64, shape (draws,)
        In [-1, 1]; NaN where fewer than three models are left, or a side is constant.
    """
    both = np.isfinite(scores) & np.isfinite(real)
    compared = _both(both)
    x, y = _order(scores) * compared, _order(real) * compared
    square = np.abs(x).sum(axis=-1) * np.abs(y).sum(axis=-1)
    enough = (square > 0) & (both.sum(axis=-1) >= 3)
    length = np.sqrt(np.maximum(square, 1).astype(np.float64))
    return np.where(enough, (x * y).sum(axis=-1) / length, math.nan)


def interval(drawn: Array, images: int) -> tuple[float, float]:
    """95 % interval from the defined values, widened as so few images ask for; NaN if none is.

    Parameters
    ----------
    drawn : ndarray of float64, shape (draws,)
    images : int
        That were drawn from; 2 or more if any value is defined.
    """
    defined = drawn[np.isfinite(drawn)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.percentile(defined, interval_percentiles(images))
    return float(low), float(high)


def mean_defined(values: Array) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def _drawn(ranking: Ranking, models: tuple[str, ...]) -> Array:
    """The first `DRAWS` draws, greater is better, of these models; NaN for one not ranked."""
    if ranking.drawn is None:
        return np.empty((0, len(models)))
    sign = 1.0 if ranking.greater_is_better else -1.0
    column = {score.model: number for number, score in enumerate(ranking)}
    drawn = np.full((min(DRAWS, len(ranking.drawn)), len(models)), math.nan)
    for number, model in enumerate(models):
        if model in column:
            drawn[:, number] = sign * ranking.drawn[: len(drawn), column[model]]
    return drawn


def _alternatives(ranking: Ranking, models: tuple[str, ...]) -> Array:
    """Scores, greater is better, shape (alternatives, models): one row, unless there are draws."""
    sign = 1.0 if ranking.greater_is_better else -1.0
    rows = ranking.by_draw or (ranking.values,)
    return np.array([[sign * row.get(model, math.nan) for model in models] for row in rows])


def _without(ranking: Ranking, models: Set[str]) -> Ranking:
    """The ranking of the other models, failed ones too; without its draws of images."""
    return Ranking(
        scores=tuple(score for score in ranking if score.model not in models),
        estimator=ranking.estimator,
        greater_is_better=ranking.greater_is_better,
        failed=tuple(pair for pair in ranking.failed if pair[0] not in models),
        by_draw=ranking.by_draw,
    )


def _last(scores: Array) -> Array:
    """Undefined scores below all others."""
    return np.where(np.isnan(scores), -math.inf, scores)


def _order(values: Array) -> NDArray[np.int64]:
    """1, 0 or -1 for each pair, the first greater, equal or less, shape (..., pairs)."""
    first, second = np.triu_indices(values.shape[-1], k=1)
    a, b = values[..., first], values[..., second]
    return (a > b).astype(np.int64) - (a < b)


def _both(each: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether it holds for both of each pair, shape (..., pairs)."""
    first, second = np.triu_indices(each.shape[-1], k=1)
    return each[..., first] & each[..., second]
