"""Score against performance, a point a model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx_cte.agreement import Agreement
from onnx_cte.page.scales import Scale, scale_of
from onnx_cte.ranking import Ranking
from onnx_cte.tables import number

WIDTH, HEIGHT = 300.0, 220.0
"""Of the field of points, in the units of the drawing."""

_BESIDE, _LINE = 8.0, 11.0  # of a label from its point, and from the next label


@dataclass(frozen=True, slots=True)
class Point:
    """A model: `x` from the left, `y` from the top; `mark` stands beside it, at its label."""

    model: str
    mark: str
    x: float
    y: float
    says: str
    label_x: float
    label_y: float


@dataclass(frozen=True, slots=True)
class Scatter:
    """One estimator's scores (across) against performance (upwards)."""

    title: str
    across: Scale
    upwards: Scale
    points: tuple[Point, ...]
    tau: str
    left_out: int


def scatter_of(
    ranking: Ranking, performance: Ranking, agreement: Agreement, marks: Mapping[str, str]
) -> Scatter:
    """Lay out one estimator's scores against performance.

    Parameters
    ----------
    ranking : Ranking
    performance : Ranking
    agreement : Agreement
        Of the two.
    marks : mapping of str to str
        A short text for each model that is to be shown, the same in every picture.

    Returns
    -------
    Scatter
        Models without a mark or one of the numbers are counted in `left_out`.
    """
    truth = performance.values
    both = [
        (model, value, truth[model])
        for model, value in ranking.values.items()
        if model in marks and math.isfinite(value) and math.isfinite(truth.get(model, math.nan))
    ]
    across, upwards = scale_of([x for _, x, _ in both], 4), scale_of([y for _, _, y in both], 4)
    places = [(across.at(x, WIDTH), round(HEIGHT - upwards.at(y, HEIGHT), 2)) for _, x, y in both]
    points = tuple(
        Point(
            model,
            marks[model],
            *place,
            f"{model}: score {number(x)}, {performance.title} {number(y)}",
            *label,
        )
        for (model, x, y), place, label in zip(both, places, _labels(places), strict=True)
    )
    everyone = {*ranking.values, *truth}
    return Scatter(
        title=ranking.title,
        across=across,
        upwards=upwards,
        points=points,
        tau=number(agreement.kendall, 2),
        left_out=len(everyone) - len(points),
    )


def _labels(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where labels stand: beside their points, below each other where they would overlap.

    Examples
    --------
    >>> _labels([(10, 50), (12, 52), (290, 50), (10, 120)])
    [(18.0, 50.0), (20.0, 61.0), (282.0, 50.0), (18.0, 120.0)]
    """
    found: dict[int, tuple[float, float]] = {}
    for place in sorted(range(len(places)), key=lambda n: places[n][1]):
        x, y = places[place]
        x += _BESIDE if x < WIDTH - 3 * _BESIDE else -_BESIDE
        # From above to below, so that each only has to pass those that stand.
        near = sorted(other for beside, other in found.values() if abs(beside - x) < 2 * _BESIDE)
        for other in near:
            if abs(other - y) < _LINE:
                y = other + _LINE
        found[place] = (round(float(x), 2), round(float(y), 2))
    return [found[place] for place in range(len(places))]


def told_of_truth(performance: Ranking, found: Agreement) -> str:
    """How the choice without labels did against them, in a sentence; empty if nobody can say.

    Parameters
    ----------
    performance : Ranking
    found : Agreement
        Of the ranking that chose.
    """
    if not found.chosen or not math.isfinite(found.regret):
        return ""
    values, title = performance.values, performance.title
    right = ""
    if found.pairs_counted:
        right = (
            f"; {100 * found.pairs_right:.0f} % of the {found.pairs_counted} pairs that differ by "
            f"{found.margin:g} or more are in the right order"
        )
    chosen = f"{found.chosen} ({title} {number(values[found.chosen])})"
    if found.chosen == found.best:
        return f"Against labels, the choice is the best there is: {chosen}{right}."
    best = f"{found.best} ({title} {number(values[found.best])})"
    return (
        f"Against labels, {best} is best; the choice without labels is {chosen}, "
        f"{number(found.regret)} less{right}."
    )


def agreement_rows(compared: Sequence[tuple[Ranking, Agreement]]) -> list[dict[str, str]]:
    """A row an estimator: how well it agrees with performance, as text by column."""
    return [
        {
            "estimator": ranking.title,
            "needs": ", ".join(ranking.needs) or "nothing",
            "tau": number(found.kendall),
            "rho": number(found.spearman),
            "pairs right": number(found.pairs_right),
            "of": str(found.pairs_counted),
            "regret": number(found.regret, 4),
            "chosen": found.chosen or "-",
        }
        for ranking, found in compared
    ]
