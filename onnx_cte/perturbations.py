"""Disturb the normalised input of a network, and turn predictions back.

A perturbation is a value: frozen, comparable, with a ``repr`` one can paste back. Strengths are in
units of normalised intensity and are a number or a range ``(low, high)`` from which one number is
drawn for each image (methods of arXiv:2503.00450). Nothing is clipped afterwards: the network sees
what the formula says.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.types import InputPerturbation

Strength = float | tuple[float, float]
Tensor = NDArray[np.float32]


def generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that depend on names, never on order.

    Parameters
    ----------
    seed : int
    *names : str
        Here the image's and the perturbation's name: whatever the order of images, the batch, the
        worker or the model, the same field is drawn.

    Returns
    -------
    numpy.random.Generator

    Examples
    --------
    >>> generator(0, "a.png", "noise").random() == generator(0, "a.png", "noise").random()
    True
    """
    # Each name's length goes in too, so that ("ab", "c") and ("a", "bc") differ.
    words = [
        word
        for name in names
        for word in (len(name), zlib.crc32(name.encode(errors="surrogatepass")))
    ]
    return np.random.default_rng([seed, *words])


@dataclass(frozen=True)
class GaussianNoise:
    """Add independent Gaussian noise to every pixel, the same to each of its channels.

    Noise that differed between channels would average out in a colour network, and make it look
    steadier than a grey one on the same image.

    Parameters
    ----------
    sigma : float or (low, high), >= 0
        Standard deviation, in units of normalised intensity.
    """

    sigma: Strength = 0.1

    def __post_init__(self) -> None:
        _check(self, self.sigma, minimum=0.0)

    @property
    def name(self) -> str:
        return f"noise={_text(self.sigma)}"

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        sigma = np.float32(_draw(self.sigma, rng))
        field = rng.standard_normal(tensor.shape[-2:], dtype=np.float32)
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
    """

    shift: Strength = (0.05, 0.1)

    def __post_init__(self) -> None:
        _check(self, self.shift)

    @property
    def name(self) -> str:
        return f"brightness={_text(self.shift)}"

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        return tensor + np.float32(_draw(self.shift, rng))

    def restore(self, maps: Tensor) -> Tensor:
        return maps


@dataclass(frozen=True)
class Contrast:
    """Stretch intensities about the mean of the image: ``m + c (x - m)``.

    Parameters
    ----------
    factor : float or (low, high), >= 0
        1 changes nothing.
    """

    factor: Strength = (1.1, 1.2)

    def __post_init__(self) -> None:
        _check(self, self.factor, minimum=0.0)

    @property
    def name(self) -> str:
        return f"contrast={_text(self.factor)}"

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        factor = np.float32(_draw(self.factor, rng))
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
    """

    exponent: Strength = (1.1, 1.2)

    def __post_init__(self) -> None:
        _check(self, self.exponent, minimum=1e-6)

    @property
    def name(self) -> str:
        return f"gamma={_text(self.exponent)}"

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        power = np.abs(tensor)
        np.power(power, np.float32(_draw(self.exponent, rng)), out=power)
        return np.copysign(power, tensor, out=power)

    def restore(self, maps: Tensor) -> Tensor:
        return maps


@dataclass(frozen=True)
class Flip:
    """Mirror the image along an axis; the prediction is mirrored back.

    Parameters
    ----------
    axis : {"x", "y"}
    """

    axis: Literal["x", "y"] = "x"

    def __post_init__(self) -> None:
        if self.axis not in ("x", "y"):
            raise OptionError(f"flip: axis is 'x' or 'y', not {self.axis!r}")

    @property
    def name(self) -> str:
        return f"flip={self.axis}"

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        return np.ascontiguousarray(np.flip(tensor, -1 if self.axis == "x" else -2))

    def restore(self, maps: Tensor) -> Tensor:
        return np.flip(maps, -1 if self.axis == "x" else -2)


@dataclass(frozen=True)
class Rotation:
    """Turn the image by a quarter, half or three-quarter turn; the prediction is turned back.

    Parameters
    ----------
    degrees : {90, 180, 270}
        Counter-clockwise.
    """

    degrees: int = 90

    def __post_init__(self) -> None:
        if self.degrees not in (90, 180, 270):
            raise OptionError(f"rotation: degrees are 90, 180 or 270, not {self.degrees!r}")

    @property
    def name(self) -> str:
        return f"rotation={self.degrees}"

    def apply(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        return np.ascontiguousarray(np.rot90(tensor, self.degrees // 90, axes=(-2, -1)))

    def restore(self, maps: Tensor) -> Tensor:
        return np.rot90(maps, -self.degrees // 90, axes=(-2, -1))


PERTURBATIONS: dict[str, Callable[..., InputPerturbation]] = {
    "brightness": Brightness,
    "contrast": Contrast,
    "flip": Flip,
    "gamma": Gamma,
    "noise": GaussianNoise,
    "rotation": Rotation,
}


def parse_perturbation(text: str) -> InputPerturbation:
    """A perturbation from ``NAME``, ``NAME=VALUE`` or ``NAME=LOW..HIGH``.

    Parameters
    ----------
    text : str
        ``noise=0.1``, ``gamma=1.1..1.2``, ``flip=x``, ``rotation=90``; the name alone takes the
        default strength.

    Returns
    -------
    InputPerturbation
        Its ``name`` is such a text again.

    Raises
    ------
    OptionError
        Unknown name (with a suggestion), or a value that the perturbation cannot take.

    Examples
    --------
    >>> parse_perturbation("gamma=1.1..1.2")
    Gamma(exponent=(1.1, 1.2))
    """
    name, equals, value = text.partition("=")
    if name not in PERTURBATIONS:
        raise unknown_name("perturbation", name, PERTURBATIONS)
    make = PERTURBATIONS[name]
    if not equals:
        return make()
    if name == "flip":
        return make(value)
    try:
        if name == "rotation":
            return make(int(value))
        low, dots, high = value.partition("..")
        return make((float(low), float(high)) if dots else float(low))
    except OptionError:
        raise
    except ValueError:
        raise OptionError(
            f"perturbation '{text}': cannot read '{value}' as a number; "
            "write for example noise=0.1 or gamma=1.1..1.2"
        ) from None


def _draw(strength: Strength, rng: np.random.Generator) -> float:
    """Draw one number from a range; a plain number draws nothing."""
    return rng.uniform(*strength) if isinstance(strength, tuple) else strength


def _text(strength: Strength) -> str:
    # repr, not a rounded number: strengths that differ must not share a name.
    bounds = strength if isinstance(strength, tuple) else (strength,)
    return "..".join(repr(float(bound)) for bound in bounds)


def _check(owner: InputPerturbation, strength: Strength, minimum: float = -np.inf) -> None:
    bounds = strength if isinstance(strength, tuple) else (strength, strength)
    numbers = len(bounds) == 2 and all(isinstance(b, int | float) for b in bounds)
    if not numbers or not all(np.isfinite(bounds)) or not minimum <= bounds[0] <= bounds[1]:
        least = f", at least {minimum:g}" if np.isfinite(minimum) else ""
        raise OptionError(
            f"{owner!r}: the strength is a finite number{least}, or a range (low, high) of such"
        )
