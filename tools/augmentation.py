"""Random crops of normalised images, turned and disturbed, for training."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Plane:
    """One training image.

    Attributes
    ----------
    variants : tuple of ndarray of float32, each of shape (C, H, W)
        The normalised image; for colour, its grey version too.
    targets : ndarray of bool, shape (K, H, W)
        What the network shall say of each pixel; the first target is the foreground.
    exclusive : bool
        Whether the targets are classes of which one holds at each pixel; the first is then the
        background.
    """

    variants: tuple[NDArray[np.float32], ...]
    targets: NDArray[np.bool_]
    exclusive: bool = False

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """The foreground, (H, W)."""
        return ~self.targets[0] if self.exclusive else self.targets[0]


def draw_batch(
    planes: list[Plane],
    rng: np.random.Generator,
    *,
    count: int,
    size: int,
    foreground_chance: float,
    grey_chance: float,
    intensities: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Crops of images drawn with replacement, flipped, rotated and with disturbed intensities.

    Parameters
    ----------
    planes : list of Plane
        None smaller than `size`.
    rng : Generator
        The only source of randomness.
    count : int
        Crops in the batch.
    size : int
        Side of the square crops, in pixels.
    foreground_chance : float
        Chance that a crop is centred on a foreground pixel (as far as the border allows) and not
        on any pixel: keeps sparse images from giving empty crops only.
    grey_chance : float
        Chance that a colour image is shown grey; of no effect on planes with one variant.
    intensities : bool
        Whether intensities are disturbed; if not, crops are but flipped and rotated.

    Returns
    -------
    images : ndarray of float32, shape (count, C, size, size)
    targets : ndarray of float32, shape (count, K, size, size)
        0 or 1; foreground first.
    """
    images, targets = [], []
    for _ in range(count):
        plane = planes[rng.integers(len(planes))]
        grey = len(plane.variants) > 1 and rng.random() < grey_chance
        window = _window(plane.foreground, rng, size, foreground_chance)
        crop, target = _turn(plane.variants[grey][:, *window], plane.targets[:, *window], rng)
        images.append(disturb(crop, rng) if intensities else np.ascontiguousarray(crop))
        targets.append(target.astype(np.float32))
    return np.stack(images), np.stack(targets)


def disturb(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Gamma, contrast, brightness and Gaussian noise, each at random, of a normalised image.

    Parameters
    ----------
    image : ndarray of float32, shape (C, H, W)
        Mostly in [0, 1]; what lies outside keeps its sign.
    rng : Generator

    Returns
    -------
    ndarray of float32, shape (C, H, W)
        A new array; not clipped.
    """
    gamma = np.exp(rng.uniform(-0.4, 0.4))
    contrast = np.exp(rng.uniform(-0.3, 0.3))
    brightness = rng.uniform(-0.1, 0.1)
    noise = rng.uniform(0.0, 0.06)
    result = np.sign(image) * np.abs(image) ** gamma
    centre = result.mean()
    result = (result - centre) * contrast + centre + brightness
    result += noise * rng.standard_normal(image.shape, dtype=np.float32)
    return result.astype(np.float32)


def _window(
    foreground: NDArray[np.bool_], rng: np.random.Generator, size: int, foreground_chance: float
) -> tuple[slice, slice]:
    """A square window within the image."""
    limits = np.array(foreground.shape) - size
    inside = np.flatnonzero(foreground) if rng.random() < foreground_chance else ()
    if len(inside):
        centre = np.array(np.unravel_index(inside[rng.integers(len(inside))], foreground.shape))
        # Off-centre by up to a quarter: the network must not learn that the middle is foreground.
        start = centre - size // 2 + rng.integers(-size // 4, size // 4 + 1, 2)
    else:
        start = rng.integers(0, limits + 1)
    top, left = np.clip(start, 0, limits)
    return slice(top, top + size), slice(left, left + size)


def _turn(
    image: NDArray[np.float32], target: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One of the eight flips and quarter turns of the square, the same for both."""
    turns, flip = rng.integers(4), rng.random() < 0.5
    image, target = np.rot90(image, turns, (-2, -1)), np.rot90(target, turns, (-2, -1))
    return (image[..., ::-1], target[..., ::-1]) if flip else (image, target)
