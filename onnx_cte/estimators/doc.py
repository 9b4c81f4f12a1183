"""DoC: accuracy foretold by how much confidence falls from source images to target images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.estimators.atc import balance, by_image, scored_pixels
from onnx_cte.needs import Needs
from onnx_cte.types import Observation


def accuracy_by_confidence(accuracy: float, source: float, target: float) -> float:
    """Source accuracy less the difference of confidences (DoC): acc_S - (AC_S - AC_T) [1]_.

    Parameters
    ----------
    accuracy : float, in [0, 1]
        On the source.
    source, target : float, in [0, 1]
        Mean confidence there.

    Returns
    -------
    float
        Accuracy foretold on the target: at least 0, and above 1 where a model that was more often
        right than it was sure grows surer. NaN if any is.

    References
    ----------
    .. [1] Guillory, D. et al. (2021), ICCV, arXiv:2107.03315.

    Examples
    --------
    >>> accuracy_by_confidence(0.75, 1.0, 0.5)
    0.25
    """
    foretold = accuracy - (source - target)
    return 0.0 if foretold < 0 else foretold


@dataclass(frozen=True)
class DoC:
    """Difference of confidences [1]_, of pixels: accuracy foretold from source images.

    The accuracy on a model's own source images, less what its mean confidence falls from these to a
    target image. In all these means the predicted foreground weighs as much as the predicted
    background. Of a model: the median over the target images, which need no labels; a model that
    sees nothing where most others see something gets 0 there (`onnx_cte.estimators.silence`). A
    model without source images, or which sees nothing on them, is undefined.

    References
    ----------
    .. [1] Guillory, D. et al. (2021), ICCV, arXiv:2107.03315.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> source = {"fibro": target, "brightfield": target}
    >>> ranking = oc.rank(models, target, oc.DoC(), source=source)
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    name: ClassVar[str] = "doc"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "accuracy foretold by the difference of confidences"

    @property
    def title(self) -> str:
        return "doc"

    @property
    def needs(self) -> Needs:
        return Needs(source=True)

    @property
    def measures(self) -> str:
        # As `ATC` does of confidence, with which it shares its evidence.
        return "scored pixels(confidence)"

    def measure(self, seen: Observation) -> Evidence:
        return scored_pixels(seen, "confidence")

    def score(self, bank: Bank) -> Mapping[str, float]:
        return by_image(bank, "doc", _foretold)


def _foretold(source: Mapping[str, NDArray[Any]], seen: Evidence) -> float:
    weights = balance(source["pixels"])
    return accuracy_by_confidence(
        1 - float(weights @ source["wrong"]),
        float(weights @ source["scores"]),
        float(balance(seen["pixels"]) @ seen["scores"]),
    )
