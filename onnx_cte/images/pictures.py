"""PNG and JPEG, by Pillow."""

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
from numpy.typing import NDArray

from onnx_cte.errors import ImageError
from onnx_cte.images.stored import Stored

_LIMIT = threading.Lock()
_FORMATS = ("PNG", "JPEG")
_WIDE = ("LA;16B", "RGB;16B", "RGBA;16B")
_STRETCHED = {"L;2": 85, "L;4": 17}  # Pillow stretches 2 and 4 bit to 0 .. 255, by this factor.
_GREY = {"1", "L", "LA", "I;16"}
_COLOUR = {"RGB", "RGBA", "CMYK"}


@contextmanager
def opened(path: Path, formats: tuple[str, ...]) -> Iterator[PIL.ImageFile.ImageFile]:
    """An image of which only the header was read, however large it is.

    Parameters
    ----------
    path : Path
    formats : tuple of str
        Pillow's names of the formats that may be found; others are not tried.

    Yields
    ------
    PIL.ImageFile.ImageFile
        Open within the context.
    """
    # Pillow refuses large images by a global limit and warns of odd metadata; slides are large.
    with _LIMIT, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit = PIL.Image.MAX_IMAGE_PIXELS
        PIL.Image.MAX_IMAGE_PIXELS = None
        try:
            image = PIL.Image.open(path, formats=formats)
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def open_picture(path: Path, colours: bool = True) -> tuple[Stored, ...]:
    """The one array of a PNG or JPEG file.

    Parameters
    ----------
    path : Path
    colours : bool
        Whether a palette image is delivered in its colours (RGB) or, as labels are stored, as the
        indices of its palette.

    Returns
    -------
    tuple of one Stored
        Grey "YX" or colour "YXS": bool of 1 bit, uint8 (2 and 4 bit too, values as stored) or
        uint16 of 16 bit. Alpha is left out; CMYK is turned to RGB.

    Raises
    ------
    ImageError
        If the kind of pixels is not known.
    OSError
        If the file cannot be read, or is no PNG or JPEG.
    """
    with opened(path, _FORMATS) as image:
        (columns, rows), kind = image.size, image.format
        sixteen_bit_alpha = _raw_mode(image) == "LA;16B"
        colour = image.mode in _COLOUR or (image.mode == "P" and colours)
        if image.mode not in _GREY | _COLOUR | {"P"}:
            raise ImageError(f"pixels of Pillow's mode '{image.mode}' are not read")
    shape: tuple[int, ...] = (rows, columns)
    axes = "YX"
    if colour and not sixteen_bit_alpha:
        shape, axes = (*shape, 3), "YXS"
    decoded: list[NDArray[Any]] = []

    def read(fixed: Mapping[int, int]) -> NDArray[Any]:
        if not decoded:
            decoded.append(_decode(path, colours))
        return decoded[0][tuple(fixed.get(d, slice(None)) for d in range(len(shape)))]

    return (Stored(shape, axes, read, says=f"its {kind} header"),)


def _raw_mode(image: PIL.ImageFile.ImageFile) -> str:
    """How Pillow finds the pixels in the file; known until they are read."""
    args = image.tile[0].args if image.tile else ""
    return args if isinstance(args, str) else ""


def _decode(path: Path, colours: bool) -> NDArray[Any]:
    """The pixels, without alpha."""
    with opened(path, _FORMATS) as image:
        raw, mode = _raw_mode(image), image.mode
        if raw in _WIDE:
            return _sixteen_bit(path, raw)
        pixels: NDArray[Any] = np.asarray(image.convert("RGB") if mode == "CMYK" else image)
        if mode == "P" and colours:
            palette = np.zeros((256, 3), np.uint8)
            entries = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            palette[: len(entries)] = entries
            pixels = palette[pixels]
    if raw in _STRETCHED:
        pixels = pixels // np.uint8(_STRETCHED[raw])
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if mode == "LA" else pixels[..., :3]
    return pixels


def _sixteen_bit(path: Path, raw: str) -> NDArray[np.uint16]:
    """Several channels of 16 bit, of which Pillow keeps only the high byte by itself."""
    if raw == "LA;16B":  # A pixel's four bytes: two of grey, two of alpha.
        high, low = np.moveaxis(_bytes(path, "RGBA")[..., :2], -1, 0)
    else:  # Read as if the low byte came first, Pillow keeps that one.
        high, low = _bytes(path, raw)[..., :3], _bytes(path, raw[:-1] + "L")[..., :3]
    wide: NDArray[np.uint16] = (high.astype(np.uint16) << 8) | low
    return wide


def _bytes(path: Path, raw: str) -> NDArray[np.uint8]:
    """A PNG's pixels, its bytes taken as another raw mode of the same width."""
    with opened(path, _FORMATS) as image:
        image.tile = [image.tile[0]._replace(args=raw)]
        return np.asarray(image)
