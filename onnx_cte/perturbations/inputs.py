"""Disturb the normalised input of a network, and turn predictions back.

Strengths are in units of normalised intensity and are a number or a range ``(low, high)`` from
which one number is drawn for each image (methods of arXiv:2503.00450). Nothing is clipped
afterwards: the network sees what the formula says.

Tensors are planes, (1, C, H, W), or volumes, (1, C, D, H, W); maps are (C, H, W) or (C, D, H, W).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import OptionError
from onnx_cte.perturbations.strengths import (
    Strength,
    check_strength,
    draw_strength,
    is_range,
    strength_text,
)

Tensor = NDArray[np.float32]

_FROM_END = {"x": -1, "y": -2, "z": -3}


@dataclass(frozen=True)
class GaussianNoise:
    """Add independent Gaussian noise to every pixel (voxel), the same to each of its channels.

    Noise that differed between channels would average out in a colour network, and make it look
    steadier than a grey one on the same image.

    Parameters
    ----------
    sigma : float or (low, high), >= 0
        Standard deviation, in units of normalised intensity.

    Examples
    --------
    >>> noise, rng = GaussianNoise((0.1, 0.2)), np.random.default_rng(0)
    >>> noise.name, noise.apply(np.zeros((1, 1, 4, 4), np.float32), rng).std() > 0
    ('noise=0.1..0.2', np.True_)
    """

    sigma: Strength = 0.1

    def __post_init__(self) -> None:
        check_strength(self, self.sigma, minimum=0.0)

    @property
    def name(self) -> str:
        return f"noise={strength_text(self.sigma)}"

    @property
    def random(self) -> bool:
        return bool(np.max(self.sigma) > 0)

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        sigma = np.float32(draw_strength(self.sigma, rng))
        field = rng.standard_normal(tensor.shape[2:], dtype=np.float32)
        field *= sigma
        return tensor + field

    def restore(self, maps: Tensor) -> Tensor:
        return maps


@dataclass(frozen=True)
class Brightness:
    """Add a constant.

    Parameters
    ----------
    shift : float or (low, high)
        In units of normalised intensity; negative darkens.

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.array([[0.0, 1.0], [0.25, 0.5]], np.float32)[None, None]
    >>> Brightness(0.25).apply(plane, np.random.default_rng(0))[0, 0].tolist()
    [[0.25, 1.25], [0.5, 0.75]]
    """

    shift: Strength = (0.05, 0.1)

    def __post_init__(self) -> None:
        check_strength(self, self.shift)

    @property
    def name(self) -> str:
        return f"brightness={strength_text(self.shift)}"

    @property
    def random(self) -> bool:
        return is_range(self.shift)

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        return tensor + np.float32(draw_strength(self.shift, rng))

    def restore(self, maps: Tensor) -> Tensor:
        return maps


@dataclass(frozen=True)
class Contrast:
    """Stretch intensities about the mean of the image or volume: ``m + c (x - m)``.

    Parameters
    ----------
    factor : float or (low, high), >= 0
        1 changes nothing.

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.array([[0.0, 1.0], [0.25, 0.5]], np.float32)[None, None]
    >>> Contrast(2).apply(plane, np.random.default_rng(0))[0, 0].tolist()
    [[-0.4375, 1.5625], [0.0625, 0.5625]]
    """

    factor: Strength = (1.1, 1.2)

    def __post_init__(self) -> None:
        check_strength(self, self.factor, minimum=0.0)

    @property
    def name(self) -> str:
        return f"contrast={strength_text(self.factor)}"

    @property
    def random(self) -> bool:
        return is_range(self.factor)

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        factor = np.float32(draw_strength(self.factor, rng))
        mean = np.float32(tensor.mean(dtype=np.float64))
        return mean + factor * (tensor - mean)

    def restore(self, maps: Tensor) -> Tensor:
        return maps


@dataclass(frozen=True)
class Gamma:
    """Raise intensities to a power that keeps their sign: ``sign(x) |x|^g``.

    Parameters
    ----------
    exponent : float or (low, high), > 0
        1 changes nothing.

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.array([[0.0, 1.0], [0.25, 0.5]], np.float32)[None, None]
    >>> Gamma(2).apply(plane, np.random.default_rng(0))[0, 0].tolist()
    [[0.0, 1.0], [0.0625, 0.25]]
    """

    exponent: Strength = (1.1, 1.2)

    def __post_init__(self) -> None:
        check_strength(self, self.exponent, minimum=1e-6)

    @property
    def name(self) -> str:
        return f"gamma={strength_text(self.exponent)}"

    @property
    def random(self) -> bool:
        return is_range(self.exponent)

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        power = np.abs(tensor)
        np.power(power, np.float32(draw_strength(self.exponent, rng)), out=power)
        return np.copysign(power, tensor, out=power)

    def restore(self, maps: Tensor) -> Tensor:
        return maps


@dataclass(frozen=True)
class Flip:
    """Mirror the image along an axis; the prediction is mirrored back.

    Parameters
    ----------
    axis : {"x", "y", "z"}
        z, the depth, is for volumes; a plane raises OptionError.

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.array([[0.0, 1.0], [0.25, 0.5]], np.float32)[None, None]
    >>> Flip('x').apply(plane, np.random.default_rng(0))[0, 0].tolist()
    [[1.0, 0.0], [0.5, 0.25]]
    """

    axis: Literal["x", "y", "z"] = "x"

    def __post_init__(self) -> None:
        if self.axis not in _FROM_END:
            raise OptionError(f"flip: axis is 'x', 'y' or 'z', not {self.axis!r}")

    @property
    def name(self) -> str:
        return f"flip={self.axis}"

    @property
    def random(self) -> bool:
        return False

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        return np.ascontiguousarray(self._mirrored(tensor, tensor.shape[2:]))

    def restore(self, maps: Tensor) -> Tensor:
        return self._mirrored(maps, maps.shape[1:])

    def _mirrored(self, array: Tensor, spatial: tuple[int, ...]) -> Tensor:
        if len(spatial) < -_FROM_END[self.axis]:
            raise OptionError(
                f"{self.name} mirrors volumes along their depth, and the image is a plane of "
                f"{' x '.join(map(str, spatial))} px: give z-stacks as "
                "volumes, Images(..., volumes=True) or --volumes, or take flip=x or flip=y"
            )
        return np.flip(array, _FROM_END[self.axis])


@dataclass(frozen=True)
class Rotation:
    """Turn the image by a quarter, half or three-quarter turn; the prediction is turned back.

    A volume is turned about its depth axis: its slices, in their planes.

    Parameters
    ----------
    degrees : {90, 180, 270}
        Counter-clockwise.

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.array([[0.0, 1.0], [0.25, 0.5]], np.float32)[None, None]
    >>> Rotation(90).apply(plane, np.random.default_rng(0))[0, 0].tolist()
    [[1.0, 0.5], [0.0, 0.25]]
    """

    degrees: int = 90

    def __post_init__(self) -> None:
        if self.degrees not in (90, 180, 270):
            raise OptionError(f"rotation: degrees are 90, 180 or 270, not {self.degrees!r}")

    @property
    def name(self) -> str:
        return f"rotation={self.degrees}"

    @property
    def random(self) -> bool:
        return False

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        return np.ascontiguousarray(np.rot90(tensor, self.degrees // 90, axes=(-2, -1)))

    def restore(self, maps: Tensor) -> Tensor:
        return np.rot90(maps, -self.degrees // 90, axes=(-2, -1))
