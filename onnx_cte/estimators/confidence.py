"""Confidence of the prediction itself: the floor that any estimator must beat."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import unknown_name
from onnx_cte.estimators.silence import median_of_images, seen_by, with_silence
from onnx_cte.metrics.masks import mean_confidence, mean_entropy
from onnx_cte.needs import Needs
from onnx_cte.types import Observation

KINDS = ("confidence", "entropy")


@dataclass(frozen=True)
class Confidence:
    """How sure a model is of the foreground it predicts [1]_.

    Of an image: the mean over the predicted foreground; of a model: the median over the images. A
    model that sees nothing where most others see something gets 0 there.

    Parameters
    ----------
    kind : {"confidence", "entropy"}
        The probability of the class decided for, or ``1 - H / log C`` with the entropy H of the
        predicted distribution over C classes; both are in [0, 1], 1 is certain.

    References
    ----------
    .. [1] Hendrycks, D. and Gimpel, K. (2017), arXiv:1610.02136.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.Confidence())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    kind: Literal["confidence", "entropy"] = "confidence"

    name: ClassVar[str] = "confidence"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "mean confidence (or entropy) of the predicted foreground: a baseline"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of confidence", self.kind, KINDS)

    @property
    def title(self) -> str:
        return self.kind

    @property
    def needs(self) -> Needs:
        return Needs()

    def measure(self, seen: Observation) -> Evidence:
        prediction = seen.reference
        function = mean_confidence if self.kind == "confidence" else mean_entropy
        value = function(
            prediction.probabilities,
            threshold=prediction.threshold,
            exclusive=prediction.exclusive,
        )
        if self.kind == "entropy":
            classes = len(prediction.roles) if prediction.exclusive else 2
            value = 1 - value / math.log(classes)
        return {"value": value, **seen_by(prediction)}

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_of_images(bank, with_silence(bank))
