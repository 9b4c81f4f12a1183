"""How well the scores of a ranking separate: a perturbation that says nothing must be noticed.

Some networks hardly answer to a perturbation: one trained without dropout may ignore that of its
bottleneck. All models then score about the same, whatever they are worth, and their order is
decided by chance. So the spread of the scores is set against what the images, and the random draws
of the perturbation, leave open.
"""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, stdev

from onnx_cte.correlation import kendall_tau

FEWEST_MODELS = 3
"""Below, a doubt about the perturbation would be one about a single pair of models."""

SATURATED = 0.975
"""A consistency of this or more (0.98 as one writes it) is hardly any answer to a perturbation."""

NARROW = 0.01
"""Spread of saturated scores below which they are all the same for practical purposes."""

STABLE = 0.5
"""Kendall's tau below which two draws disagree on more than a quarter of the pairs."""


@dataclass(frozen=True, slots=True)
class Separation:
    """How far apart the scores of a ranking are, for what is uncertain about them.

    Attributes
    ----------
    spread : float
        Standard deviation of the finite scores over the models, with n - 1; NaN if fewer than two.
    width : float
        Half the width of the 95 % bootstrap interval of a score, median over the models that have
        one; NaN if none has, as with fewer images than a bootstrap takes.
    pairs : int
        Pairs of models with finite scores.
    decided : int
        Those of them that the images can tell apart.
    stability : float
        Kendall's tau-b between the rankings that each draw of the random perturbations alone would
        give, mean over all pairs of draws, in [-1, 1]; NaN if that is defined for no pair.
    draws : int
        Of each random perturbation; 1 if nothing is drawn more than once, 0 if the estimator
        perturbs nothing.
    contrast : float
        By how many standard errors the scores of a pair of models differ (see
        `onnx_cte.bootstrap`), median over the pairs of models that see anything: a single bad
        model, far from all others, does not raise it. NaN if there is no such pair.

    Examples
    --------
    >>> found = Separation(0.1, 0.05, pairs=3, decided=2, stability=0.33, draws=2)
    >>> found.ratio, found.decided
    (2.0, 2)
    """

    spread: float
    width: float
    pairs: int
    decided: int
    stability: float
    draws: int
    contrast: float = math.nan

    @property
    def ratio(self) -> float:
        """`spread` over `width`; infinite if the width is 0, NaN if both are or one is NaN."""
        if self.width == 0:
            return math.inf if self.spread > 0 else math.nan
        return self.spread / self.width

    def __str__(self) -> str:
        if math.isnan(self.spread):
            return "fewer than two models have a score"
        typical = ""
        if math.isfinite(self.contrast):
            typical = f", a typical one by {self.contrast:.1f} standard errors"
        beside = ", of too few images for an interval"
        if not math.isnan(self.width):
            times = f"{self.ratio:.1f} times " if math.isfinite(self.ratio) else "against "
            beside = f", {times}the half-width of their intervals ({self.width:.3f})"
        parts = [
            f"{self.decided} of {self.pairs} pairs of models told apart{typical}",
            f"scores spread {self.spread:.3f}{beside}",
        ]
        if not math.isnan(self.stability):
            parts.append(
                f"agreement of the orders by each of {self.draws} random draws: "
                f"tau {self.stability:.2f} (1: the same order)"
            )
        return "; ".join(parts)


def separation(
    values: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    undecided: Collection[tuple[str, str]],
    by_draw: Sequence[Mapping[str, float]] | None = None,
    contrasts: Collection[float] = (),
) -> Separation:
    """Measure how well scores separate.

    Parameters
    ----------
    values : mapping of str to float
        Score by model.
    intervals : mapping of str to (float, float)
        95 % bootstrap interval by model; NaN if there is none.
    undecided : collection of (model, model)
        Pairs that the images cannot tell apart, in either order.
    by_draw : sequence of mappings or None
        Scores by model from each draw of the random perturbations alone; empty if nothing was drawn
        twice, None if the estimator perturbs nothing.
    contrasts : collection of float
        Standard errors between the scores of each pair that counts.

    Returns
    -------
    Separation

    Examples
    --------
    >>> scores = {"a": 0.9, "b": 0.8, "c": 0.7}
    >>> intervals = {model: (value - 0.05, value + 0.05) for model, value in scores.items()}
    >>> draws = [scores, {"a": 0.91, "b": 0.7, "c": 0.8}]
    >>> print(separation(scores, intervals, [("b", "c")], draws))
    2 of 3 pairs of models told apart; scores spread 0.100, 2.0 times the half-width of their \
intervals (0.050); agreement of the orders by each of 2 random draws: tau 0.33 (1: the same order)
    """
    scores = {model: value for model, value in values.items() if math.isfinite(value)}
    halves = [(high - low) / 2 for low, high in map(intervals.__getitem__, scores)]
    halves = [half for half in halves if math.isfinite(half)]
    apart = {frozenset(pair) for pair in itertools.combinations(scores, 2)}
    pairs = len(apart)
    apart -= {frozenset(pair) for pair in undecided}
    return Separation(
        spread=stdev(scores.values()) if len(scores) > 1 else math.nan,
        width=median(halves) if halves else math.nan,
        pairs=pairs,
        decided=len(apart),
        stability=_stability(by_draw or ()),
        draws=0 if by_draw is None else max(len(by_draw), 1),
        contrast=median(contrasts) if contrasts else math.nan,
    )


def doubt_about(
    found: Separation,
    values: Collection[float],
    *,
    greater_is_better: bool = True,
    swept: bool = False,
) -> str:
    """Why the perturbation of a ranking says little about its models, with the way out.

    It does so if any of these holds: the images can tell fewer than half of the pairs apart (asked
    of each pair on the same images, hence not of the ratio of spread to width, which may be small
    although every pair is told apart); two draws of the perturbation alone disagree on more than a
    quarter of the pairs; or all scores but those of 0 are next to 1 and next to each other, that
    is, no model that sees anything answers to the perturbation.

    Parameters
    ----------
    found : Separation
    values : collection of float
        The scores; those that are not finite do not count.
    greater_is_better : bool
        If not, scores next to 1 are no sign that no model answers.
    swept : bool
        Whether the perturbation was chosen by a sweep, which is then no way out.

    Returns
    -------
    str
        Empty if there is no such doubt, if nothing was perturbed, or with fewer than
        `FEWEST_MODELS` scores. With fewer images than a bootstrap takes, undecided pairs are the
        images' fault and no doubt about the perturbation.
    """
    scores = [value for value in values if math.isfinite(value)]
    if not found.draws or len(scores) < FEWEST_MODELS:
        return ""
    reasons, more = [], ""
    # Silence is scored 0, whatever the perturbation: one blind model must not hide that the others
    # do not answer.
    seeing = [score for score in scores if score != 0]
    still = greater_is_better and len(seeing) >= FEWEST_MODELS
    if still and SATURATED <= min(seeing) <= max(seeing) <= 1 and stdev(seeing) < NARROW:
        others = "all" if len(seeing) == len(scores) else "but for those of 0 all"
        reasons.append(
            f"{others} scores lie in {min(seeing):.3f} .. {max(seeing):.3f}, where 1 is no answer "
            f"to it at all, and spread {stdev(seeing):.3f}"
        )
    if not math.isnan(found.width) and 2 * found.decided < found.pairs:
        reasons.append(
            f"only {found.decided} of {found.pairs} pairs of models can be told apart (the scores "
            f"spread {found.spread:.3f}, the half-width of their intervals is {found.width:.3f})"
        )
        more = ", or more images"
    if found.stability < STABLE:
        reasons.append(
            f"its {found.draws} draws rank the models differently (Kendall's tau "
            f"{found.stability:.2f})"
        )
    if not reasons:
        return ""
    way_out = "try a stronger perturbation, or --perturb auto"
    if swept:
        way_out = "a sweep found none that says more; try one of the input, as --perturb noise=0.1"
    return f"the perturbation says little about these models: {'; '.join(reasons)}; {way_out}{more}"


def _stability(by_draw: Sequence[Mapping[str, float]]) -> float:
    """Mean tau-b over all pairs of draws in which it is defined."""
    found = []
    for one, other in itertools.combinations(by_draw, 2):
        models = [
            m for m in one if not math.isnan(one[m]) and not math.isnan(other.get(m, math.nan))
        ]
        found.append(kendall_tau([one[m] for m in models], [other[m] for m in models]))
    defined = [tau for tau in found if not math.isnan(tau)]
    return sum(defined) / len(defined) if defined else math.nan
