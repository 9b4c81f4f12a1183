"""How well one ranking of models agrees with another, above all with how well they really do."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from onnx_cte.correlation import correlations
from onnx_cte.errors import OptionError
from onnx_cte.ranking import Ranking
from onnx_cte.tables import number, text_table

_TOLERANCE = 1e-12
"""Differences of performances that are but rounding."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well the scores of a ranking agree with the true performance of the same models.

    Of a ranking with draws that are alternatives to each other (`Ranking.by_draw`), the
    correlations, `pairs_right` and `regret` are the mean over the draws in which they are defined:
    what one such draw may be expected to give. It has no p-values, and `chosen` is the model that
    most draws choose.

    Attributes
    ----------
    models : int
        Compared: those with a score and a performance.
    left_out : tuple of (model, reason)
        The others of either ranking, by name.
    kendall, kendall_p, spearman, spearman_p, pearson, pearson_p : float
        See `onnx_cte.correlation`; 1 is full agreement, whichever direction either ranking has.
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
    draws : int
        Alternatives over which this is the mean; 0 if the ranking has none.
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
    draws: int = 0

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
        lines += [f"mean over {self.draws} draws"] if self.draws else []
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
    paired by name; those without a finite value on both sides are left out, and listed. If none
    is left, because all failed on one side, say, every correlation is NaN. Draws of `ranking` that
    are alternatives are compared one by one, and averaged (see `Agreement`).

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
        See `onnx_cte.correlation`.
    seed : int
        See `onnx_cte.correlation`. The order of the models does not matter.

    Returns
    -------
    Agreement

    Raises
    ------
    OptionError
        If no model is named in both, ranked or failed, a ranking names a model twice, or an option
        cannot be used.

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
    if not {*scores, *dict(ranking.failed)} & {*performances, *dict(truth.failed)}:
        raise _nothing_shared(ranking, truth)
    whole = _compared(names, scores, performances, margin, permutations, seed)
    found = replace(whole, left_out=tuple(left_out.items()))
    if not ranking.by_draw:
        return found
    sign = 1 if ranking.greater_is_better else -1
    alternatives = [
        {model: sign * value for model, value in draw.items() if math.isfinite(value)}
        for draw in ranking.by_draw
    ]
    # A single permutation: p-values of draws that share their models could not be averaged.
    each = [
        _compared([m for m in names if m in draw], draw, performances, margin, 1, seed)
        for draw in alternatives
    ]
    return _averaged(found, each, performances)


def _compared(
    names: Sequence[str],
    scores: Mapping[str, float],
    performances: Mapping[str, float],
    margin: float,
    permutations: int,
    seed: int,
) -> Agreement:
    """Compare the scores and performances of these models, all of them finite."""
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
        left_out=(),
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


def _averaged(
    whole: Agreement, each: Sequence[Agreement], performances: Mapping[str, float]
) -> Agreement:
    """The mean over draws, beside what the whole ranking says of models and pairs."""

    def mean(name: str) -> float:
        defined = [value for one in each if not math.isnan(value := getattr(one, name))]
        return fmean(defined) if defined else math.nan

    times = Counter(one.chosen for one in each if one.chosen)
    chosen = min(times, key=lambda model: (-times[model], model), default="")
    best = whole.best
    if chosen and best and performances[chosen] == performances[best]:
        best = chosen
    return replace(
        whole,
        kendall=mean("kendall"),
        kendall_p=math.nan,
        spearman=mean("spearman"),
        spearman_p=math.nan,
        pearson=mean("pearson"),
        pearson_p=math.nan,
        pairs_right=mean("pairs_right"),
        regret=mean("regret"),
        best=best,
        chosen=chosen,
        draws=len(each),
    )


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
    one, other = (
        ", ".join(sorted({*side.values, *dict(side.failed)})) or "no model"
        for side in (ranking, truth)
    )
    return OptionError(
        "no model is in both rankings, so that they cannot be compared: the ranking has "
        f"{one}; the truth has {other}. Rank the same models, under the same names, on both sides"
    )
