"""Consistency-based transferability estimation (CTE): the most consistent model ranks first."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError
from onnx_cte.estimators.sampling import check_integer
from onnx_cte.estimators.silence import median_of_images, objects_of, seen_by, with_silence
from onnx_cte.metrics import metric_named
from onnx_cte.needs import Needs, Perturbation
from onnx_cte.perturbations import GaussianNoise, is_random, redraws
from onnx_cte.types import Observation, Prediction

DRAWS = 2


@dataclass(frozen=True)
class CTE:
    """How still a model's prediction holds when its input, or a feature map, is disturbed [1]_.

    Of an image: the consistency of the perturbed prediction with the undisturbed one, averaged
    over the draws of a perturbation, then over the perturbations (Eq. 3), undefined ones left out.
    Of a model: the median over the images; a model that sees nothing where most others see
    something gets 0 there (`onnx_cte.estimators.silence`).

    Parameters
    ----------
    metric : str
        A consistency metric: ``nhd`` (hard decisions) or ``ei`` (weighted by confidence) of the
        foreground, or ``rand_fscore`` of objects.
    perturbations : tuple of Perturbation
        At least one; all random draws are the same for every model, those of channels for every
        model of the same width.
    draws : int, >= 1
        How many times each perturbation is drawn for each image, if anything in it is random.

    References
    ----------
    .. [1] Talks, J. and Kreshuk, A. (2025), arXiv:2503.00450.

    Examples
    --------
    >>> from onnx_cte.perturbations import Dropout, Flip
    >>> CTE("ei", [Flip("x"), Dropout(0.2)]).title
    'cte ei flip=x+dropout=0.2'
    """

    metric: str = "nhd"
    perturbations: tuple[Perturbation, ...] = (GaussianNoise(0.1),)
    draws: int = DRAWS

    name: ClassVar[str] = "cte"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "consistency under perturbation (CTE): median over images"

    def __post_init__(self) -> None:
        metric_named(self.metric, "consistency")
        # A list, or a single one, is what most people write; a tuple can be hashed and shown.
        given: Any = self.perturbations
        several = isinstance(given, Iterable) and not isinstance(given, str)
        object.__setattr__(self, "perturbations", tuple(given) if several else (given,))
        for perturbation in self.perturbations:
            _check_perturbation(perturbation)
        if not self.perturbations:
            raise OptionError("CTE without a perturbation; give at least one, as noise=0.1")
        check_integer("CTE: draws", self.draws)
        # Also one given beside a draw of itself would be there twice.
        drawn = [p.name for p in self.needs.perturbations]
        if len(set(drawn)) < len(drawn):
            names = ", ".join(p.name for p in self.perturbations)
            raise OptionError(f"CTE got the same perturbation twice: {names}")

    @property
    def title(self) -> str:
        times = f" x{self.draws}" if self.draws != DRAWS else ""
        return f"cte {self.metric} {'+'.join(p.name for p in self.perturbations)}{times}"

    @property
    def needs(self) -> Needs:
        drawn = (redraws(perturbation, self.draws) for perturbation in self.perturbations)
        perturbations = tuple(itertools.chain.from_iterable(drawn))
        return Needs(perturbations, instances=self._compares == "labels")

    def measure(self, seen: Observation) -> Evidence:
        values = [
            [self._consistency(seen.image, seen.reference, seen.perturbed[p.name]) for p in drawn]
            for drawn in (redraws(perturbation, self.draws) for perturbation in self.perturbations)
        ]
        by_draw = {
            column: _mean([row[number] if len(row) > 1 else row[0] for row in values])
            for number, column in enumerate(self.columns)
        }
        return {
            "value": _mean([_mean(row) for row in values]),
            **seen_by(seen.reference, instances=self._compares == "labels"),
            **by_draw,
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_of_images(bank, with_silence(bank))

    def score_by_draw(self, bank: Bank) -> tuple[Mapping[str, float], ...]:
        """Scores had only one draw been made of each perturbation, for each draw.

        Parameters
        ----------
        bank : Bank
            Evidence as `measure` gives it.

        Returns
        -------
        tuple of mapping of str to float
            As `score`, with what is not random in every draw; empty if there is only one draw, or
            nothing is random.
        """
        return tuple(median_of_images(bank, with_silence(bank, name)) for name in self.columns)

    @property
    def columns(self) -> list[str]:
        """Names, in the evidence, of the value of each draw alone."""
        several = self.draws > 1 and any(map(is_random, self.perturbations))
        return [f"draw{number}" for number in range(self.draws)] if several else []

    @property
    def _compares(self) -> str:
        return metric_named(self.metric, "consistency").compares

    def _consistency(self, image: str, reference: Prediction, perturbed: Prediction) -> float:
        metric = metric_named(self.metric, "consistency")
        if metric.compares == "classes":
            return metric.function(reference.classes, perturbed.classes)
        if metric.compares == "labels":
            return metric.function(*(objects_of(p, image) for p in (reference, perturbed)))
        return metric.function(
            reference.probabilities,
            perturbed.probabilities,
            threshold=reference.threshold,
            exclusive=reference.exclusive,
        )


def _check_perturbation(given: Any) -> None:
    """Refuse what is no perturbation, with the way to one."""
    if isinstance(given, str):
        raise OptionError(
            f"'{given}' is the text of a perturbation: pass parse_perturbation('{given}')"
        )
    if isinstance(given, type):
        raise OptionError(f"pass a perturbation, {given.__name__}(), not its class")
    kinds = [kind for kind in ("apply", "factor") if callable(getattr(given, kind, None))]
    if len(kinds) != 1 or not isinstance(getattr(given, "name", None), str):
        raise OptionError(
            f"{given!r} is no perturbation: expected a name, and either apply and restore (of the "
            "input) or taps, reads_features and factor (of features)"
        )
    taps = getattr(given, "taps", None)
    if kinds == ["factor"] and not (isinstance(taps, tuple) and hasattr(given, "reads_features")):
        raise OptionError(
            f"perturbation {given.name} disturbs features and has no tuple of names `taps`, or no "
            "`reads_features`"
        )


def _mean(values: Sequence[float]) -> float:
    """Mean of those that are defined; NaN if none is."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
