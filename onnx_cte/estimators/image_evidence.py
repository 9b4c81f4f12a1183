"""Whether a prediction follows the image itself: edges, contrast, and classical criteria."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.estimators.sampling import check_integer
from onnx_cte.estimators.silence import median_of_images, seen_by, with_silence
from onnx_cte.metrics.image_evidence import (
    between_share,
    liu_yang_f,
    region_entropy,
    ring_share,
    zeboudj_contrast,
)
from onnx_cte.metrics.outlines import is_flat, outline_rank
from onnx_cte.needs import Needs
from onnx_cte.perturbations.strengths import is_number
from onnx_cte.types import Observation

Kind = Literal["outline", "between", "ring", "zeboudj", "f", "e"]


@dataclass(frozen=True)
class ImageEvidence:
    """How well the predicted foreground agrees with the grey levels of the image.

    Looks at the image and the hard foreground alone (of classes, all but the background), so it
    judges black boxes and needs no second run; it cannot tell the objects that are wanted from
    others as bright. Every kind gives a number in [0, 1] of an image, greater is better, and does
    not change with brightness and contrast; of a model, the median over the images.

    An image that is constant, or holds values that are not finite, is left out. On the others, a
    model that calls everything foreground follows nothing of the image and gets 0; one that calls
    nothing so has no value, and gets 0 if at least half of the other models see something
    (`onnx_cte.estimators.silence`).

    Parameters
    ----------
    kind : {"outline", "between", "ring", "zeboudj", "f", "e"}
        ``outline``: the mean rank of the gradient along the predicted outline among all pixels,
        0.5 is chance. ``between``: the share of the variance of the image that lies between
        foreground and background, Otsu's eta. ``ring``: the same of the foreground and a ring
        around it. The others are criteria surveyed by [1]_, of the pieces of the foreground and the
        background: ``zeboudj``, his contrast; ``f``, that of Liu and Yang, as ``1 / (1 + F)`` with
        F relative to the image as one region, so that 0.5 is no gain; ``e``, the entropy E of
        Zhang, as ``1 - E / log(pixels)``. Of F and E less is better, hence these two forms. E is
        never less than without any segmentation, and F seldom is where noise remains: both
        favour models that see little.
    sigma : float, > 0, optional
        Of the Gaussian derivative, in px, of ``outline`` alone; 1 unless given.
    width : int, >= 1, optional
        Of the ring, in px, of ``ring`` alone; 5 unless given.

    References
    ----------
    .. [1] Zhang, H., Fritts, J. E. and Goldman, S. A. (2008), Image segmentation evaluation: a
       survey of unsupervised methods, Computer Vision and Image Understanding 110.

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
    >>> ranking = oc.rank(models, oc.Images.from_arrays(discs), oc.ImageEvidence())
    >>> [(score.model, round(score.value, 2)) for score in ranking]
    [('above 0.5', 0.95), ('above 0.9', 0.8), ('above 0.0', 0.01)]
    """

    kind: Kind = "outline"
    sigma: float | None = None
    width: int | None = None

    name: ClassVar[str] = "outline"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "whether predicted outlines lie on edges of the image"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise unknown_name("kind of image evidence", str(self.kind), get_args(Kind))
        for option, kind in (("sigma", "outline"), ("width", "ring")):
            given = getattr(self, option)
            if given is not None and self.kind != kind:
                raise OptionError(
                    f"image evidence: {option}={given!r} is for kind '{kind}', and the kind is "
                    f"'{self.kind}'; leave it out"
                )
        sigma = self.sigma
        if sigma is not None and not (is_number(sigma) and 0 < sigma < math.inf):
            raise OptionError(
                f"image evidence: sigma is a finite number of px above 0, not {self.sigma!r}"
            )
        if self.width is not None:
            check_integer("image evidence: width, in px,", self.width)

    @property
    def title(self) -> str:
        stated = self.sigma if self.width is None else self.width
        return self.kind + ("" if stated is None else f" {stated} px")

    @property
    def needs(self) -> Needs:
        return Needs()

    def measure(self, seen: Observation) -> Evidence:
        return {
            "value": self._value(seen),
            "flat": float(is_flat(seen.pixels)),
            **seen_by(seen.reference),
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        # On an image without any evidence a model is neither right nor silent.
        values = np.where(bank.column("flat") > 0, np.nan, with_silence(bank))
        return median_of_images(bank, values)

    def _value(self, seen: Observation) -> float:
        pixels, mask = seen.pixels, seen.reference.classes != 0
        if mask.all():
            return 0.0 if mask.size else math.nan
        if self.kind == "outline":
            return outline_rank(pixels, mask, sigma=1.0 if self.sigma is None else self.sigma)
        if self.kind == "between":
            return between_share(pixels, mask)
        if self.kind == "ring":
            return ring_share(pixels, mask, width=5 if self.width is None else self.width)
        if self.kind == "zeboudj":
            return zeboudj_contrast(pixels, mask)
        if self.kind == "f":
            return 1 / (1 + liu_yang_f(pixels, mask))
        # An image of one pixel is never segmented: its entropy is undefined, and its log is 0.
        return 1 - region_entropy(pixels, mask) / math.log(max(2, pixels.size))
