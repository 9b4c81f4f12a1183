"""An image to test a network with: the user's own, or a simulated one."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onnx_cte.descriptor import ModelDescription, Size
from onnx_cte.errors import ImageError, OptionError
from onnx_cte.images import Images
from onnx_cte.segmenters.pipeline import Recipe, normalised
from onnx_cte.simulation import NucleiField, simulate_nuclei
from onnx_cte.types import Image

# Px, sides of a simulated image where they are free, and the most of one that is cut from a sample:
# of planes, of volumes, and of volumes in depth.
_WANTED, _MOST = {"plane": 128, "volume": 64, "depth": 16}, {"plane": 512, "volume": 128}
_LARGE = 64  # px, sides from which on nuclei have their usual size


def sample_image(
    described: ModelDescription, sample: str | Path | None, channel: int | str | None = None
) -> Image:
    """The image that a package is tested with, of a size that its network takes.

    Parameters
    ----------
    described : ModelDescription
    sample : str, Path or None
        A file of the user's, of which the middle is taken, or a folder, of which the first image
        is; None simulates nuclei.
    channel : int, str or None
        Of the sample, by its place or its name.

    Returns
    -------
    Image
        float32, "cyx" or "czyx", with as many channels as the network takes; grey and RGB turn
        into each other.

    Raises
    ------
    OptionError
        If there is a channel but no sample.
    ImageError
        If the sample cannot be read, is too small, or has channels that the network does not take.
    NothingToRank
        If there is no such file.
    """
    spec = described.input
    dimensions = len(spec.sizes)
    if sample is None:
        if channel is not None:
            raise OptionError(f"--channel {channel} is of a --sample, and there is none")
        return _simulated(described)
    images = Images(str(sample), channel=channel, volumes=dimensions == 3)
    image = next(iter(images)).load()
    recipe = Recipe(spec.channels or 1, (), (), (), sizes=((1, 1),) * dimensions)
    try:
        pixels = normalised(recipe, image)[0]
    except ImageError as error:
        raise ImageError(f"sample '{image.name}': {error}") from error
    places = [slice(None)]
    for letter, length in zip("zyx"[-dimensions:], pixels.shape[1:], strict=True):
        size = spec.size_along(letter)
        assert size is not None  # every side of an image has one
        most = _MOST["plane" if dimensions == 2 else "volume"]
        side = _allowed(size, min(length, max(most, size.minimum)))
        if side > length:
            raise ImageError(
                f"sample '{image.name}' has {length} px along {letter}, the network takes {size}; "
                "give a larger image, or none and one is simulated"
            )
        start = (length - side) // 2
        places.append(slice(start, start + side))
    return Image(image.name, np.ascontiguousarray(pixels[tuple(places)]), f"c{'zyx'[-dimensions:]}")


def _allowed(size: Size, length: int) -> int:
    """The largest side a network takes within a length, or its smallest."""
    if not size.step or length <= size.minimum:
        return size.minimum
    return size.minimum + (length - size.minimum) // size.step * size.step


def _simulated(described: ModelDescription) -> Image:
    """Nuclei, every channel in a light of its own, bright in the middle of a volume."""
    spec = described.input
    letters = [letter for letter in "zyx" if spec.size_along(letter)]
    shape = []
    for letter in letters:
        size = spec.size_along(letter)
        assert size is not None  # it has one: it was looked for
        kind = "plane" if len(letters) == 2 else "depth" if letter == "z" else "volume"
        border = 2 * described.output.border_along(letter)
        wanted = max(_WANTED[kind] + border, size.minimum)
        shape.append(_allowed(size, wanted + size.step - 1 if size.step else wanted))
    depth = shape[0] if len(letters) == 3 else 1
    channels = spec.channels or 1
    volume = np.empty((channels, depth, *shape[-2:]), np.float32)
    for place in np.ndindex(channels, depth):
        away = (place[1] - (depth - 1) / 2) / max(depth / 4, 1)
        light = 200 * math.exp(-(away**2) / 2) / (1 + 0.5 * place[0])
        volume[place] = _plane((shape[-2], shape[-1]), photons=light)
    if not spec.steps:  # nothing brings it to a range that a network is used to
        volume = (volume - volume.min()) / max(float(np.ptp(volume)), 1)
    return Image("simulated", volume[:, 0] if len(letters) == 2 else volume, f"c{''.join(letters)}")


def _plane(shape: tuple[int, int], photons: float) -> NDArray[np.float32]:
    """Nuclei at the same places whatever the light; cut from more where there is no room."""
    height, width = (max(side, 16) for side in shape)
    large = min(height, width) >= _LARGE
    field = NucleiField(
        shape=(height, width),
        nuclei=(1, max(1, height * width // 800)),
        radius=(8, 14) if large else (3, 5),
        photons=photons,
        debris=0,
    )
    image = simulate_nuclei(0, field)[0]
    return image[: shape[0], : shape[1]].astype(np.float32)
