"""Consistency-based transferability estimation (CTE): the most consistent model ranks first."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError
from onnx_cte.estimators.silence import median_of_images, with_silence
from onnx_cte.metrics import metric_named
from onnx_cte.perturbations import GaussianNoise
from onnx_cte.types import InputPerturbation, Needs, Observation, Prediction


@dataclass(frozen=True)
class CTE:
    """How still a model's prediction holds when its input is disturbed a little [1]_.

    Of an image: the consistency of the perturbed prediction with the undisturbed one, averaged
    over the perturbations (Eq. 3). Of a model: the median over the images; a model that sees
    nothing where most others see something gets 0 there (`onnx_cte.estimators.silence`).

    Parameters
    ----------
    metric : str
        A consistency metric: ``nhd`` (hard decisions) or ``ei`` (weighted by confidence).
    perturbations : tuple of InputPerturbation
        At least one; all random draws are the same for every model.

    References
    ----------
    .. [1] Talks, J. and Kreshuk, A. (2025), arXiv:2503.00450.
    """

    metric: str = "nhd"
    perturbations: tuple[InputPerturbation, ...] = (GaussianNoise(0.1),)

    name: ClassVar[str] = "cte"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = (
        "consistency under perturbation (CTE): median over images, no labels needed"
    )

    def __post_init__(self) -> None:
        metric_named(self.metric, "consistency")
        # A list, or a single one, is what most people write; a tuple can be hashed and shown.
        given: Any = self.perturbations
        given = (given,) if hasattr(given, "apply") else tuple(given)
        object.__setattr__(self, "perturbations", given)
        names = [p.name for p in self.perturbations]
        if not names:
            raise OptionError("CTE without a perturbation; give at least one, as noise=0.1")
        if len(set(names)) < len(names):
            raise OptionError(f"CTE got the same perturbation twice: {', '.join(names)}")

    @property
    def title(self) -> str:
        return f"cte {self.metric} {'+'.join(p.name for p in self.perturbations)}"

    @property
    def needs(self) -> Needs:
        return Needs(perturbations=self.perturbations)

    def measure(self, seen: Observation) -> Evidence:
        values = [
            self._consistency(seen.reference, seen.perturbed[p.name]) for p in self.perturbations
        ]
        defined = [value for value in values if not math.isnan(value)]
        reference = seen.reference.classes
        return {
            "value": sum(defined) / len(defined) if defined else math.nan,
            "foreground": float((reference != 0).mean()),
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_of_images(bank, with_silence(bank))

    def _consistency(self, reference: Prediction, perturbed: Prediction) -> float:
        metric = metric_named(self.metric, "consistency")
        if metric.compares == "classes":
            return metric.function(reference.classes, perturbed.classes)
        return metric.function(
            reference.probabilities,
            perturbed.probabilities,
            threshold=reference.threshold,
            exclusive=reference.exclusive,
        )
