"""Metrics: arrays in, a float out; they know nothing of models.

`METRICS` is the registry. What each metric is for, what it compares and which way is better stand
beside the function, and the property tests read them from here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.metrics import masks, matching, rand


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and what one must know to use it.

    Attributes
    ----------
    function : callable
    purpose : {"consistency", "performance"}
        Compares two predictions, or a prediction with labels.
    compares : {"classes", "probabilities", "labels"}
        Hard decisions, or probability maps (then it takes ``threshold=`` and ``exclusive=``), or
        label images, in which every object has a number and 0 is background.
    summary : str
        One line for ``onnx-cte list``.
    symmetric : bool
        Whether the two arguments may be swapped.

    Every metric is in [0, 1], greater is better, and NaN is "undefined here".
    """

    function: Callable[..., float]
    purpose: Literal["consistency", "performance"]
    compares: Literal["classes", "probabilities", "labels"]
    summary: str
    symmetric: bool = True


METRICS: dict[str, Metric] = {
    "ei": Metric(
        masks.effective_invariance,
        "consistency",
        "probabilities",
        "effective invariance: agreement weighted by confidence, over the union of foregrounds",
    ),
    "f1": Metric(masks.f1, "performance", "classes", "F1 (Dice) of the foreground against labels"),
    "f1_50": Metric(
        matching.f1_50,
        "performance",
        "labels",
        "F1 of the objects: those count that exceed an intersection over union of 0.5",
    ),
    "f1_classes": Metric(
        masks.f1_classes,
        "performance",
        "classes",
        "mean F1 of the classes against a label image that holds class indices",
    ),
    "map": Metric(
        matching.average_precision,
        "performance",
        "labels",
        "mean of TP / (TP + FP + FN) of the objects over the IoU thresholds 0.5, 0.55, ... 0.95",
    ),
    "nhd": Metric(
        masks.normalized_hamming,
        "consistency",
        "classes",
        "normalised Hamming similarity: share of the union of foregrounds that does not flip",
    ),
    "rand_fscore": Metric(
        rand.rand_fscore,
        "consistency",
        "labels",
        "V^Rand: pairs of pixels in one object in both predictions, away from object borders",
        symmetric=False,  # the borders are those of the reference
    ),
}


def metric_named(name: str, purpose: Literal["consistency", "performance"]) -> Metric:
    """The metric of that name; OptionError with a suggestion if there is none for the purpose.

    Examples
    --------
    >>> metric_named("nhd", "consistency").compares
    'classes'
    """
    fitting = {key: metric for key, metric in METRICS.items() if metric.purpose == purpose}
    if name in METRICS and name not in fitting:
        other = METRICS[name].purpose
        raise OptionError(
            f"'{name}' measures {other}, expected a metric of {purpose}; there are: "
            f"{', '.join(sorted(fitting))}. (`onnx-cte rank --metric` and `evaluate --metric` take "
            "consistency, `evaluate --performance` takes performance)"
        )
    if name not in fitting:
        raise unknown_name(f"{purpose} metric", name, fitting)
    return fitting[name]
