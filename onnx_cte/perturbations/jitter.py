"""Brightness and contrast drawn once for all images: two views that differ for no image's sake."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnx_cte.errors import OptionError
from onnx_cte.perturbations.inputs import Tensor
from onnx_cte.perturbations.strengths import is_number


@dataclass(frozen=True)
class Jitter:
    """Shift intensities and stretch them about their mean, by the same amounts on all images [1]_.

    ``m + s + c (x - m)``, m the mean of the image or volume: a brightness s drawn uniformly from
    -`brightness` to `brightness`, in units of normalised intensity, and a contrast c from 1 -
    `contrast` to 1 + `contrast`. It is what `Brightness` and `Contrast` do, in either order.

    Departures from the colour jitter of [1]_: brightness is added, for a normalised image has no
    black to multiply from; nothing is clipped; hue and saturation, which grey images lack, stay as
    they are.

    Parameters
    ----------
    brightness : float, >= 0
    contrast : float, 0 to 1
    number : int, >= 0
        Of the view: each draws its own amounts.

    References
    ----------
    .. [1] Hidy, G., Bakos, B. and Lukács, A. (2024), arXiv:2410.18677.
    """

    brightness: float = 0.1
    contrast: float = 0.05
    number: int = 0

    shared: ClassVar[bool] = True

    def __post_init__(self) -> None:
        brightness, contrast = self.brightness, self.contrast
        if not is_number(brightness) or not 0 <= brightness < math.inf:
            raise OptionError(
                f"jitter: brightness is a finite number of at least 0, not {brightness!r}"
            )
        if not is_number(contrast) or not 0 <= contrast <= 1:
            raise OptionError(f"jitter: contrast is a number from 0 to 1, not {contrast!r}")
        if not isinstance(self.number, int) or isinstance(self.number, bool) or self.number < 0:
            raise OptionError(f"jitter: number is an integer of at least 0, not {self.number!r}")

    @property
    def name(self) -> str:
        # The number is there from 0 on: "#1" alone would be a redraw of number 0.
        return f"jitter={float(self.brightness)!r},{float(self.contrast)!r}#{self.number}"

    @property
    def random(self) -> bool:
        return max(self.brightness, self.contrast) > 0

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        shift = np.float32(rng.uniform(-self.brightness, self.brightness))
        stretch = np.float32(rng.uniform(1 - self.contrast, 1 + self.contrast))
        mean = np.float32(tensor.mean(dtype=np.float64))
        return mean + shift + stretch * (tensor - mean)

    def restore(self, maps: Tensor) -> Tensor:
        return maps
