"""Credibility: models are believed that hold still, follow the image, and are agreed with.

Each kind of evidence is blind where another sees. A model that takes the background for foreground
holds perfectly still; one that marks only the brightest objects follows the image perfectly; a bank
of similar wrong models agrees with itself. So agreement is asked of those models alone that are
credible by the other two, and in turn by what credible models say of them.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError
from onnx_cte.estimators.boundary import regions_of, without_flat
from onnx_cte.estimators.contradictions import CHANCE, contradictions, two_camps
from onnx_cte.estimators.cte import CTE, DRAWS
from onnx_cte.estimators.likeness import likeness, packed_regions
from onnx_cte.estimators.packed import few_models
from onnx_cte.estimators.silence import medians, seen_by, silenced, with_silence
from onnx_cte.estimators.titles import titled
from onnx_cte.metrics import metric_named
from onnx_cte.metrics.outlines import boundary_rank, is_flat
from onnx_cte.needs import Needs, Perturbation
from onnx_cte.perturbations import Gamma, GaussianNoise
from onnx_cte.perturbations.strengths import is_number
from onnx_cte.types import Observation

GROUND = 0.2
"""Boundary evidence of what is nothing but holes and frame: ground, taken for figure."""

LEAST = 0.05
"""What is left to believe of a model that takes ground for figure."""

TIE = 0.02
"""Exponent of a model's own evidence in its score: next to nothing, but between equals."""

DIGITS = 9
"""Decimals of a score."""

ROUNDS = 20
"""At the most: who is believed settles within a few."""

GENTLE = 2.0
"""Sharpness with which numbers count for more, to see whether others would be believed then."""

FEWEST_CAMPS = 4
"""Models without which there are no two camps of two."""


@dataclass(frozen=True)
class Credibility:
    """How far a model is believed by its bank: three kinds of evidence, none of which sees labels.

    Of a model, medians over the images, each in [0, 1]:

    * ``c``, consistency: how still its prediction holds, as `CTE` has it;
    * ``b``, boundary: whether its outlines follow the image, as `Boundary` has it, and from it
      ``g = (b - 0.2) / 0.3``, cut to [0.05, 1]: below 0.5, which is chance, there are holes, that
      is, ground taken for figure, and the more, the less is there to believe;
    * ``v``, consensus: how like its prediction is to those of the other models (Dice of all classes
      but the background; of objects, F1 at an IoU of 0.5), their mean weighted by how credible each
      of them is, ``w = (c sqrt(b g) v) ^ sharpness``.

    ``v`` and ``w`` depend on each other, and are computed in turn until they settle, from
    ``v = 1``. The score is ``v g ^ 0.25``, times ``(c sqrt(b)) ^ 0.02``: two models that are each
    other's only witness have the same ``v``, and then their own evidence decides. What is silent
    counts as for `CTE`. A model without another to agree with has ``c`` in place of ``v``.

    Where it breaks: a bank without a good model, in which those that err alike believe each other
    (their ``b`` tells, and the remarks name them); many near-duplicates of one model; two models,
    each the only witness of the other; images of texture, on which all outlines look clear.

    Parameters
    ----------
    perturbations : tuple of Perturbation
        As of `CTE`. Not run where `consistency` is 0.
    metric : str
        Of consistency, as of `CTE`. If it compares objects (``rand_fscore``), objects are what is
        judged, outlines and likeness too; else classes.
    draws : int, >= 1
        As of `CTE`.
    sharpness : float, >= 0
        0 lets every model vote alike; the larger, the more the most credible ones decide.
    consistency, boundary : float, >= 0
        Exponents of ``c``, and of ``b g``, in ``w``; half the latter is that of ``g`` in the score.
        0 leaves the evidence out. The defaults were chosen on training images, a target left out at
        a time (`tools/choose_weights.py`).

    Examples
    --------
    >>> [perturbation.name for perturbation in Credibility().perturbations]
    ['noise=0.1', 'gamma=1.1..1.2']
    """

    perturbations: tuple[Perturbation, ...] = (GaussianNoise(0.1), Gamma((1.1, 1.2)))
    metric: str = "nhd"
    draws: int = DRAWS
    sharpness: float = 6.0
    consistency: float = 1.0
    boundary: float = 0.5

    name: ClassVar[str] = "credibility"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "holds still, follows the image, and credible models agree with it"

    def __post_init__(self) -> None:
        for option in ("sharpness", "consistency", "boundary"):
            given = getattr(self, option)
            if not (is_number(given) and 0 <= given < math.inf):
                raise OptionError(
                    f"credibility: {option} is a finite number of at least 0, not {given!r}"
                )
        try:
            perturbations = self._cte.perturbations
        except OptionError as error:
            raise OptionError(f"credibility, which measures as CTE does: {error}") from None
        object.__setattr__(self, "perturbations", perturbations)

    @property
    def title(self) -> str:
        name = self.name
        if self.perturbations != Credibility().perturbations:
            name += " " + "+".join(p.name for p in self.perturbations)
        weights = {option: f"{option}={{}}" for option in ("sharpness", "consistency", "boundary")}
        return titled(self, name, metric="{}", draws="draws={}", **weights)

    @property
    def objects(self) -> bool:
        """Whether objects are judged, and not classes."""
        return metric_named(self.metric, "consistency").compares == "labels"

    @property
    def measures(self) -> str:
        """How evidence is weighed is no matter of what is measured."""
        return f"credibility: {self._cte!r}, still={self.consistency == 0}"

    @property
    def needs(self) -> Needs:
        needs = self._cte.needs
        return needs if self.consistency else replace(needs, perturbations=(), decoded=None)

    def measure(self, seen: Observation) -> Evidence:
        regions = regions_of(seen, objects=self.objects)
        still = seen_by(seen.reference, instances=self.objects)
        return {
            **(self._cte.measure(seen) if self.consistency else still),
            "boundary": boundary_rank(seen.pixels, regions),
            "flat": float(is_flat(seen.pixels)),
            **packed_regions(seen, objects=self.objects),
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        return self._scored(bank, "value")

    def score_by_draw(self, bank: Bank) -> tuple[Mapping[str, float], ...]:
        """As of `CTE`: scores had only one draw been made of each perturbation, for each draw."""
        columns = self._cte.columns if self.consistency else []
        return tuple(self._scored(bank, column) for column in columns)

    def parts(self, bank: Bank) -> Mapping[str, Mapping[str, float]]:
        """What the score of each model is made of.

        Parameters
        ----------
        bank : Bank
            Evidence as `measure` gives it.

        Returns
        -------
        mapping of str to mapping of str to float
            By model: ``consistency``, ``boundary`` and ``consensus``, in [0, 1]; NaN if undefined.
        """
        found = self._judged(bank, "value")
        return {
            model: {"consistency": c, "boundary": b, "consensus": v}
            for model, c, b, v in zip(bank, *(part.tolist() for part in found), strict=True)
        }

    def agreed_by_image(self, bank: Bank) -> Mapping[str, Sequence[float]]:
        """How far each model is agreed with on each image, of which `parts` has the consensus.

        Parameters
        ----------
        bank : Bank
            Evidence as `measure` gives it.

        Returns
        -------
        mapping of str to sequence of float
            By model, in the order of the images, in [0, 1]: likeness to the others, each weighted
            by how credible it turned out to be. NaN where there is nothing to be alike.
        """
        consensus = self._judged(bank, "value")[2]
        alike, held = self._witnesses(bank, "value")
        values = agreed_with(bank, alike, held * np.nan_to_num(consensus), self.sharpness)
        return dict(zip(bank, values[:, bank.indices].tolist(), strict=True))

    def remarks(self, bank: Bank) -> tuple[str, ...]:
        """Where the kinds of evidence contradict each other, or say that no model may be right."""
        if not self.consistency:
            return few_models(bank)
        return (*few_models(bank), *contradictions(self.parts(bank)), *self._camps(bank))

    def _camps(self, bank: Bank) -> tuple[str, ...]:
        """Whether others would be believed if their number counted for more at first.

        Who is believed can depend on where one starts: of two camps that agree within themselves,
        the smaller may have more evidence of its own. Then nobody can tell by consensus.
        """
        names, scores = list(bank), self.score(bank)
        gentle = consensus_of(bank, *self._witnesses(bank, "value"), (GENTLE, self.sharpness))
        ranked = [name for name in names if not math.isnan(scores[name])]
        if len(ranked) < FEWEST_CAMPS or self.sharpness <= GENTLE or np.isnan(gentle).all():
            return ()
        first = max(ranked, key=lambda name: scores[name])
        _, boundary = self._own(bank, "value")
        other = names[int(np.nanargmax(gentle * believable(boundary) ** (self.boundary / 2)))]
        alike = likeness(bank, objects=self.objects)[bank.indices]
        between = alike[:, names.index(first), names.index(other)]
        between = between[~np.isnan(between)]
        if first == other or not between.size:
            return ()
        return two_camps(first, other, float(np.median(between)))

    def _scored(self, bank: Bank, column: str) -> dict[str, float]:
        consistency, boundary, consensus = self._judged(bank, column)
        agreed = consistency if len(bank) < 2 else consensus
        own = consistency**self.consistency * boundary**self.boundary
        scores = believable(boundary) ** (self.boundary / 2) * agreed * own**TIE
        # What the votes of those leave that nobody believes is rounding.
        return dict(zip(bank, scores.round(DIGITS).tolist(), strict=True))

    def _judged(
        self, bank: Bank, column: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Consistency, boundary evidence and consensus of each model, each of shape (models,)."""
        consistency, boundary = self._own(bank, column)
        witnesses = self._witnesses(bank, column)
        return consistency, boundary, consensus_of(bank, *witnesses, (self.sharpness,))

    def _witnesses(
        self, bank: Bank, column: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Likeness, and how credible each model is before anyone is asked."""
        consistency, boundary = self._own(bank, column)
        held = np.nan_to_num(consistency) ** self.consistency
        held = held * np.nan_to_num(believable(boundary) * boundary) ** self.boundary
        return likeness(bank, objects=self.objects), held

    def _own(self, bank: Bank, column: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Consistency and boundary evidence of each model, each of shape (models,)."""
        consistency = np.ones(len(bank))
        if self.consistency:
            consistency = medians(with_silence(bank, column))
        return consistency, medians(without_flat(bank, with_silence(bank, "boundary")))

    @property
    def _cte(self) -> CTE:
        return CTE(self.metric, self.perturbations, self.draws)


def believable(boundary: NDArray[np.float64]) -> NDArray[np.float64]:
    """What boundary evidence leaves to believe: from `LEAST` at `GROUND` to 1 at chance.

    Examples
    --------
    >>> believable(np.array([0.1, 0.35, 0.5, 0.9])).round(2)
    array([0.05, 0.5 , 1.  , 1.  ])
    """
    return np.clip((boundary - GROUND) / (CHANCE - GROUND), LEAST, 1.0)


def consensus_of(
    bank: Bank,
    alike: NDArray[np.float64],
    held: NDArray[np.float64],
    sharpness: Sequence[float],
) -> NDArray[np.float64]:
    """How far each model is agreed with by the others, each weighted by how credible it is.

    Parameters
    ----------
    bank : Bank
        Evidence with ``foreground``; whole, or a draw.
    alike : ndarray of float64, shape (images of the whole bank, models, models)
        As `likeness` gives it.
    held : ndarray of float64, shape (models,)
        Credibility before anyone is asked, in [0, 1].
    sharpness : sequence of float
        With each in turn votes settle anew, from where they settled before.

    Returns
    -------
    ndarray of float64, shape (models,)
        In [0, 1]; NaN where a model has nobody to agree with.
    """
    agreed = np.ones(len(held))
    found, settled = np.full(len(held), np.nan), False
    for power, number in itertools.product(sharpness, range(ROUNDS)):
        if number and settled:
            continue
        found = medians(agreed_with(bank, alike, held * agreed, power)[:, bank.indices])
        before, agreed = agreed, np.nan_to_num(found)
        settled = np.abs(before - agreed).max(initial=0) < 10.0**-DIGITS
    return found


def agreed_with(
    bank: Bank, alike: NDArray[np.float64], credible: NDArray[np.float64], sharpness: float
) -> NDArray[np.float64]:
    """How far each model is agreed with on each image by the others, weighted.

    Parameters
    ----------
    bank, alike
        As of `consensus_of`.
    credible : ndarray of float64, shape (models,)
        In [0, 1]; to the power of `sharpness`, the weight of each model's say.
    sharpness : float

    Returns
    -------
    ndarray of float64, shape (models, images of the whole bank)
        In [0, 1]; 0 for a model that sees nothing where others do, NaN where nobody says anything.
    """
    # Split once: a draw then picks images of the results, and copies no matrices.
    known, shared = bank.derived("credibility: known, shared", lambda _: _known_and_shared(alike))
    foreground = bank.whole.column("foreground")
    # Not 0: where nobody is credible, all are equally so.
    weights = np.maximum(credible, 1e-6) ** sharpness
    total = known @ weights
    said = ((foreground > 0).T) & (total > 0)
    values = np.where(said, (shared @ weights) / np.where(total > 0, total, 1), np.nan)
    return silenced(values.T, foreground)


def _known_and_shared(
    alike: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where likeness is defined, 1 or 0, and likeness with 0 where it is not."""
    known = ~np.isnan(alike)
    return known.astype(np.float64), np.where(known, alike, 0.0)
