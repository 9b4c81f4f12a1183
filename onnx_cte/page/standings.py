"""The ranking as rows of a picture: where score, interval, rank and groups lie."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onnx_cte.page.groups import groups_of
from onnx_cte.page.scales import Scale, scale_of
from onnx_cte.ranking import Ranking, Score
from onnx_cte.tables import number, score_text, span

GROUPS = 6
"""Groups of models that are shown by letters; of more, each model's likes are told by rank."""


@dataclass(frozen=True, slots=True)
class Part:
    """One of the numbers a score is made of; `width` is its bar in percent, NaN has none."""

    name: str
    value: float
    text: str
    width: float


@dataclass(frozen=True, slots=True)
class Row:
    """One model; positions are percent of the axis, None where there is nothing to draw."""

    rank: int
    model: str
    score: Score
    text: str
    interval: str
    at: float | None
    low: float | None
    high: float | None
    rank_low: float
    rank_high: float
    rank_at: float
    letters: tuple[str, ...]
    alike: str
    parts: tuple[Part, ...]
    foreground: str
    objects: str
    skipped: int


@dataclass(frozen=True, slots=True)
class Standings:
    """A ranking as a picture.

    Attributes
    ----------
    rows : tuple of Row
        Best first.
    scale : Scale
        Of scores and their intervals.
    letters : tuple of (letter, models)
        The groups that cannot be told apart; none if there are more than `GROUPS`, or no pair.
    undecided : bool
        Whether there is such a pair.
    parts : tuple of str
    counted : bool
        Whether objects were counted.
    resampled : bool
        Whether there is any interval.
    left_out : int
        Models beyond the first that were asked for.
    """

    rows: tuple[Row, ...]
    scale: Scale
    letters: tuple[tuple[str, tuple[str, ...]], ...]
    undecided: bool
    parts: tuple[str, ...]
    counted: bool
    resampled: bool
    left_out: int

    @property
    def ranks(self) -> int:
        """How many ranks there are."""
        return len(self.rows) + self.left_out


def standings_of(ranking: Ranking, most: int) -> Standings:
    """Lay a ranking out.

    Parameters
    ----------
    ranking : Ranking
        Of any number of models, also of none.
    most : int
        How many models are shown.

    Returns
    -------
    Standings
    """
    shown = ranking[:most]
    names = [score.model for score in shown]
    groups = groups_of(names, ranking.undecided, GROUPS) or ()
    letters = tuple((chr(ord("A") + n), group) for n, group in enumerate(groups))
    scale = scale_of([x for score in shown for x in (score.value, *score.interval)])
    # The parts of all scores are in [0, 1]; others would be put on a scale that holds them.
    widths = scale_of([0, 1, *(value for score in shown for value in score.parts.values())])
    ranks = {score.model: rank for rank, score in enumerate(ranking, 1)}
    rows = tuple(
        _row(ranking, ranks, place, score, scale, widths, letters)
        for place, score in enumerate(shown, 1)
    )
    return Standings(
        rows=rows,
        scale=scale,
        letters=letters,
        undecided=any(row.alike for row in rows),
        parts=ranking.parts,
        counted=not all(math.isnan(score.objects) for score in shown),
        resampled=any(math.isfinite(bound) for score in shown for bound in score.interval),
        left_out=len(ranking) - len(shown),
    )


def _row(
    ranking: Ranking,
    ranks: Mapping[str, int],
    place: int,
    score: Score,
    scale: Scale,
    widths: Scale,
    letters: Sequence[tuple[str, Sequence[str]]],
) -> Row:
    low, high = score.interval
    return Row(
        rank=place,
        model=score.model,
        score=score,
        text=score_text(score.value, 4),
        interval=span(score.interval),
        at=_at(scale, score.value),
        low=_at(scale, low),
        high=_at(scale, high),
        rank_low=_rank_at(score.rank_interval[0], len(ranking)),
        rank_high=_rank_at(score.rank_interval[1], len(ranking)),
        rank_at=_rank_at(place, len(ranking)),
        letters=tuple(letter for letter, group in letters if score.model in group),
        alike=_runs(ranks[name] for name in ranking.undecided_with(score.model)),
        parts=tuple(
            Part(name, value, number(value), widths.at(value) if math.isfinite(value) else 0.0)
            for name in ranking.parts
            for value in (score.parts.get(name, math.nan),)
        ),
        foreground="-" if math.isnan(score.foreground) else f"{score.foreground:.1%}",
        objects="-" if math.isnan(score.objects) else f"{score.objects:g}",
        skipped=len(score.skipped) + len(ranking.skipped),
    )


def _runs(ranks: Iterable[int]) -> str:
    """Ranks as text, those that follow each other as a run.

    Examples
    --------
    >>> _runs([7, 2, 3, 4, 9]), _runs([])
    ('2..4, 7, 9', '')
    """
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    return ", ".join(str(low) if low == high else f"{low}..{high}" for low, high in runs)


def _at(scale: Scale, value: float) -> float | None:
    return scale.at(value) if math.isfinite(value) else None


def _rank_at(rank: int, ranks: int) -> float:
    """Middle of a rank's share of the axis, in percent."""
    return round(100 * (rank - 0.5) / max(ranks, 1), 2)
