"""Boundary evidence: whether the outline of the prediction follows the image, up to its frame."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError
from onnx_cte.estimators.sampling import check_flag
from onnx_cte.estimators.silence import median_of_images, objects_of, seen_by, with_silence
from onnx_cte.estimators.titles import titled
from onnx_cte.metrics.outlines import boundary_rank, is_flat
from onnx_cte.needs import Needs
from onnx_cte.perturbations.strengths import is_number
from onnx_cte.types import Observation


@dataclass(frozen=True)
class Boundary:
    """Mean rank of the image's gradient along the predicted outline, and along the frame.

    Of an image, see `onnx_cte.metrics.outlines.boundary_rank`: in [0, 1], 0.5 is chance. Of
    several classes, where they meet is outline too; of objects, where they touch. Of a model: the
    median over the images; an image that is flat is left out, and silence counts as for `CTE`.

    It sees what consistency cannot: a model that takes the background for foreground, everywhere
    and with conviction. It is blind where others see: texture is full of edges, so that slivers
    anywhere lie on some; and of two structures with equally clear outlines it cannot tell which is
    wanted.

    Parameters
    ----------
    sigma : float, > 0
        Of the Gaussian derivative, in px.
    objects : bool
        Whether the outlines are those of objects, and not of classes.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> models = [
    ...     oc.BlackBox(f"above {level}", lambda x, level=level: (x > level).astype(float))
    ...     for level in (0.0, 0.5, 0.9)
    ... ]
    >>> ranking = oc.rank(models, oc.Images.from_arrays(discs), oc.Boundary())
    >>> [(score.model, round(score.value, 2)) for score in ranking]
    [('above 0.5', 0.95), ('above 0.9', 0.8), ('above 0.0', 0.15)]
    """

    sigma: float = 1.0
    objects: bool = False

    name: ClassVar[str] = "boundary"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "whether outlines, the frame of the image among them, lie on edges"

    def __post_init__(self) -> None:
        if not (is_number(self.sigma) and 0 < self.sigma < math.inf):
            raise OptionError(f"boundary: sigma is a number of px above 0, not {self.sigma!r}")
        check_flag("boundary: objects", self.objects)

    @property
    def title(self) -> str:
        return titled(self, self.name, objects="of objects", sigma="{} px")

    @property
    def needs(self) -> Needs:
        return Needs(instances=self.objects)

    def measure(self, seen: Observation) -> Evidence:
        regions = regions_of(seen, objects=self.objects)
        return {
            "value": boundary_rank(seen.pixels, regions, sigma=self.sigma),
            "flat": float(is_flat(seen.pixels)),
            **seen_by(seen.reference, instances=self.objects),
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_of_images(bank, without_flat(bank, with_silence(bank)))


def regions_of(seen: Observation, *, objects: bool) -> NDArray[np.integer]:
    """Objects, or else classes, of the undisturbed prediction: 0 is background."""
    if objects:
        return objects_of(seen.reference, seen.image)
    regions: NDArray[np.integer] = seen.reference.classes
    return regions


def without_flat(bank: Bank, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (models, images), undefined on images of which the evidence says ``flat``.

    On an image that shows nothing a model is neither right nor silent.
    """
    return np.where(bank.column("flat") > 0, np.nan, values)
