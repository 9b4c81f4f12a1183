"""Performance on a few labelled images: what labelling them would buy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators.silence import objects_of, seen_by
from onnx_cte.metrics import metric_named
from onnx_cte.needs import Needs
from onnx_cte.perturbations import generator
from onnx_cte.types import Observation


@dataclass(frozen=True)
class Labelled:
    """Performance on `k` labelled images: the honest reference for whatever needs labels.

    Each draw picks `k` different images, the same for every model, and a model's score of the draw
    is its median performance on them, as `Accuracy` has it on all: images on which both labels and
    prediction are empty are left out of the median, which is undefined if nothing is left. With
    fewer than `k` images to pick from, all is undefined. `score_by_draw` is what one who labels
    `k` images gets; `score` is the mean over the draws, undefined ones left out.

    Every image has a random key a draw, from its name and the seed of the run, and those with the
    lowest keys are picked: the picks depend on no order, and those of a smaller `k` are among those
    of a greater one.

    Parameters
    ----------
    k : int, >= 1
        Images labelled.
    metric : str
        A performance metric: ``f1``, or ``f1_classes`` where labels are class indices; ``map`` or
        ``f1_50`` of objects.
    draws : int, >= 1
        Random choices of images.
    """

    k: int = 5
    metric: str = "f1"
    draws: int = 100

    name: ClassVar[str] = "labelled"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "performance on a few labelled images, mean over random choices"
    judged_by_draw: ClassVar[bool] = True
    resamples: ClassVar[int] = 0

    def __post_init__(self) -> None:
        metric_named(self.metric, "performance")
        counts: dict[str, Any] = {"k, the number of labelled images,": self.k, "draws": self.draws}
        for what, given in counts.items():
            if not isinstance(given, int) or isinstance(given, bool) or given < 1:
                raise OptionError(f"labelled: {what} is an integer of at least 1, not {given!r}")

    @property
    def title(self) -> str:
        images = "1 labelled image" if self.k == 1 else f"{self.k} labelled images"
        return images if self.metric == "f1" else f"{images} {self.metric}"

    @property
    def needs(self) -> Needs:
        return Needs(truth=True, instances=self._instances)

    @property
    def measures(self) -> str:
        # Whatever `k`: several of them are compared.
        return f"labelled(metric={self.metric!r}, draws={self.draws})"

    def measure(self, seen: Observation) -> Evidence:
        if seen.truth is None:
            raise ModelError(f"{seen.image}: labels are needed, and the observation has none")
        metric = metric_named(self.metric, "performance")
        reference = seen.reference
        found = objects_of(reference, seen.image) if self._instances else reference.classes
        return {
            "value": metric.function(found, seen.truth),
            "keys": generator(seen.seed, seen.image, "labelled").random(self.draws),
            **seen_by(reference, instances=self._instances),
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        medians = self._medians(bank)
        defined = ~np.isnan(medians)
        count = defined.sum(axis=1)
        total = np.where(defined, medians, 0).sum(axis=1)
        means = np.divide(total, count, out=np.full(len(medians), np.nan), where=count > 0)
        return {model: float(mean) for model, mean in zip(bank, means, strict=True)}

    def score_by_draw(self, bank: Bank) -> tuple[Mapping[str, float], ...]:
        """Median performance on the images of each draw.

        Parameters
        ----------
        bank : Bank
            Evidence as `measure` gives it.

        Returns
        -------
        tuple of mapping of str to float
            `draws` of them; NaN for a model without a defined value among the images, or for all
            if there are fewer than `k` images.
        """
        medians = self._medians(bank)
        return tuple(
            {model: float(median) for model, median in zip(bank, column, strict=True)}
            for column in medians.T
        )

    @property
    def _instances(self) -> bool:
        return metric_named(self.metric, "performance").compares == "labels"

    def _medians(self, bank: Bank) -> NDArray[np.float64]:
        """Of each model in each draw, shape (models, draws)."""
        keys: dict[int, NDArray[np.float64]] = {}
        for row in bank.values():
            for image, seen in enumerate(row):
                if seen is not None:
                    keys.setdefault(image, seen["keys"])
        if len(keys) < self.k:
            return np.full((len(bank), self.draws), np.nan)
        images = np.array(list(keys))
        order = np.argsort(np.stack(list(keys.values())), axis=0, kind="stable")
        picked = bank.column("value")[:, images[order[: self.k]]]  # (models, k, draws)
        # Sorting puts NaN last; without any defined value both indices fall on a NaN.
        ordered = np.sort(picked, axis=1)
        defined = np.count_nonzero(~np.isnan(ordered), axis=1)
        low, high = np.maximum(defined - 1, 0) // 2, defined // 2
        middle = [np.take_along_axis(ordered, at[:, None], axis=1)[:, 0] for at in (low, high)]
        medians: NDArray[np.float64] = (middle[0] + middle[1]) / 2
        return medians
