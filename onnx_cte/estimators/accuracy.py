"""Performance against labels, as an estimator that needs truth: what the others try to foretell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnx_cte.bank import Bank, Evidence
from onnx_cte.estimators.sampling import truth_of
from onnx_cte.estimators.silence import median_of_images, objects_of, seen_by
from onnx_cte.metrics import metric_named
from onnx_cte.metrics.masks import is_mask
from onnx_cte.needs import Needs
from onnx_cte.types import Observation


@dataclass(frozen=True)
class Accuracy:
    """How well the undisturbed prediction agrees with labels.

    Of an image: the metric; of a model: the median over the images, as in the evaluation of
    arXiv:2503.00450. Images on which both labels and prediction are empty are left out.

    Parameters
    ----------
    metric : str
        A performance metric: ``f1``, or ``f1_classes`` where labels are class indices; ``map`` or
        ``f1_50`` of objects.

    Examples
    --------
    >>> Accuracy("map").needs.instances, Accuracy().needs.supplied
    (True, ('labels',))
    """

    metric: str = "f1"

    name: ClassVar[str] = "accuracy"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "performance against labels (needs them): the truth to compare with"

    def __post_init__(self) -> None:
        metric_named(self.metric, "performance")

    @property
    def title(self) -> str:
        return self.metric

    @property
    def needs(self) -> Needs:
        compares = metric_named(self.metric, "performance").compares
        return Needs(truth=True, instances=compares == "labels")

    def measure(self, seen: Observation) -> Evidence:
        truth = truth_of(seen)
        metric = metric_named(self.metric, "performance")
        reference = seen.reference
        instances = metric.compares == "labels"
        found = objects_of(reference, seen.image) if instances else reference.classes
        value = metric.function(found, truth)
        evidence = {"value": value, **seen_by(reference, instances=instances)}
        return {**evidence, "mask": float(is_mask(truth))} if instances else evidence

    def remarks(self, bank: Bank) -> tuple[str, ...]:
        """Whether the labels are right anywhere, and look like objects where these are compared."""
        return (*self._nothing_right(bank), *self._masks(bank))

    def _nothing_right(self, bank: Bank) -> tuple[str, ...]:
        """Whether no model is right on any image."""
        values = bank.column("value")
        if (values > 0).any() or not (values == 0).any():
            return ()
        return (
            f"{self.metric} is 0 for every model on every image: do the labels hold anything, and "
            "do they belong to these images?",
        )

    def _masks(self, bank: Bank) -> tuple[str, ...]:
        """Whether the labels look like masks, where objects are compared with them."""
        if not self.needs.instances:
            return ()
        masks = np.nanmax(bank.column("mask"), axis=0, initial=0)
        count = int(masks.sum())
        if 2 * count < len(masks):
            return ()
        return (
            f"{count} of {len(masks)} label images hold a number or two for many separate pieces, "
            f"as masks do: {self.metric} compares objects, give labels with a number for each "
            "object, or compare foregrounds with --performance f1",
        )

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_of_images(bank, bank.column("value"))
