"""The rule by which a sweep chooses a perturbation without labels.

A perturbation can say nothing, because no model answers to it, or ruin the predictions of all
alike. The one to take is "tolerable, but differentiating" [1]_. What that means was set beforehand
and fitted to no labelled data:

* A candidate is tolerable if the median of the models' NHD scores lies in `WINDOW`. Below, the
  typical prediction no longer resembles the undisturbed one, and is ruined; above, hardly anything
  moves. Always NHD, for an untouched prediction has an NHD of 1, but an EI of its own confidence.
* Of the tolerable ones that with the largest contrast is taken: the number of standard errors
  between the scores of two models, as bootstrap draws of the images give them, median over the
  pairs. A median, so that one bad model cannot make a perturbation look sharp.
* If none is tolerable, or none of those parts a typical pair by `APART` standard errors, that with
  the largest contrast is taken of all that do not ruin predictions, and that is told: models can be
  told apart by movements that are small, as long as they are not chance.
* Of those within `TIE` of the largest contrast the gentlest is taken, with the highest median.
* If all ruin the predictions, the gentlest is taken, and that is told.

Models that see nothing count in none of this: they answer to no perturbation.

References
----------
.. [1] Talks, J. and Kreshuk, A. (2025), arXiv:2503.00450.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, stdev

from onnx_cte.errors import OptionError
from onnx_cte.ranking import Ranking

WINDOW = (0.5, 0.95)
"""Where the median NHD of a tolerable perturbation lies, bounds included."""

TIE = 0.05
"""Relative difference of contrasts that counts as none."""

APART = 1.96
"""Standard errors from which two scores differ at 95 %."""

INSTEAD = "give a perturbation yourself, such as --perturb dropout=0.1 or --perturb noise=0.1"


@dataclass(frozen=True, slots=True)
class SweepRow:
    """What one candidate does to the models; those that see nothing count in the stability only.

    Attributes
    ----------
    perturbation : str
        Its name.
    median : float
        Of the models' scores; NaN if no model sees anything.
    spread : float
        Standard deviation of the scores, with n - 1; NaN if fewer than two.
    contrast : float
        By how many standard errors a typical pair of models differs, as in
        `onnx_cte.separation.Separation`.
    decided, pairs : int
        Pairs of models that the images tell apart, and all pairs.
    stability : float
        Kendall's tau-b between the rankings by single draws, as in `Separation`.
    held : float
        Median of the models' NHD scores, whatever the metric; NaN if no model sees anything.
    """

    perturbation: str
    median: float
    spread: float
    contrast: float
    decided: int
    pairs: int
    stability: float
    held: float

    @property
    def tolerable(self) -> bool:
        """Whether predictions move, and are not ruined."""
        return WINDOW[0] <= self.held <= WINDOW[1]


def row_of(perturbation: str, ranking: Ranking, by_nhd: Ranking) -> SweepRow:
    """What a ranking by one candidate, and that by NHD, say of it."""
    seeing = {score.model: score.value for score in ranking if not score.blind}
    pairs = math.comb(len(seeing), 2)
    held = [score.value for score in by_nhd if not score.blind]
    measured = ranking.separation
    return SweepRow(
        perturbation=perturbation,
        median=median(seeing.values()) if seeing else math.nan,
        spread=stdev(seeing.values()) if pairs else math.nan,
        contrast=measured.contrast if measured else math.nan,
        decided=pairs - sum(seeing.keys() >= set(pair) for pair in ranking.undecided),
        pairs=pairs,
        stability=measured.stability if measured else math.nan,
        held=median(held) if held else math.nan,
    )


def choose(rows: Sequence[SweepRow]) -> tuple[SweepRow, str]:
    """Apply the rule.

    Parameters
    ----------
    rows : sequence of SweepRow

    Returns
    -------
    row : SweepRow
        The one chosen; the first of those that are equal in all that counts.
    reason : str
        The choice and why, in one sentence.

    Raises
    ------
    OptionError
        If no row has a contrast, for fewer than two models see anything.
    """
    compared = [row for row in rows if not math.isnan(row.contrast)]
    if not compared:
        raise OptionError(
            "fewer than two models have a score on the sampled images, so that no perturbation "
            f"can tell them apart: the others see nothing there; {INSTEAD}"
        )
    tolerable = [row for row in compared if row.tolerable]
    sound = [row for row in compared if row.held >= WINDOW[0]]
    window = "median NHD in {:g} .. {:g}".format(*WINDOW)
    if any(row.contrast >= APART for row in tolerable):
        row, how = _sharpest(tolerable)
        return row, f"among the {len(tolerable)} tolerable ({window}) {how}"
    if not sound:
        row = max(compared, key=lambda row: (row.held, row.contrast))
        return row, (
            f"all {len(compared)} perturbations ruin the predictions (a median NHD below "
            f"{WINDOW[0]:g}); {row.perturbation}, with {row.held:.3f}, is the gentlest"
        )
    row, how = _sharpest(sound)
    little = "" if row.contrast >= APART else "; too little to tell such a pair apart"
    return row, (
        f"no tolerable perturbation ({window}) parts a typical pair of models by {APART} standard "
        f"errors; among the {len(sound)} that leave the predictions sound {how}{little}"
    )


def _sharpest(rows: Sequence[SweepRow]) -> tuple[SweepRow, str]:
    """The row of the largest contrast, or the gentlest of its equals, and why."""
    sharpest = max(rows, key=lambda row: row.contrast)
    equal = [row for row in rows if row.contrast >= (1 - TIE) * sharpest.contrast]
    row = max(equal, key=lambda row: row.held)
    parts = (
        f"{row.perturbation} parts a typical pair of models by {row.contrast:.1f} standard errors"
    )
    if row is sharpest:
        return row, f"{parts}, more than any other" if len(rows) > 1 else parts
    return row, (
        f"{parts}, within {100 * TIE:g} % of the most ({sharpest.perturbation}: "
        f"{sharpest.contrast:.1f}), and is the gentlest of those"
    )
