"""Channels of an image, matched to those that a network takes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import ImageError
from onnx_cte.types import Image

# Rec. 709 luminance, the weights of the sRGB primaries (ITU-R BT.709-6, item 3.2).
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


def matched(data: NDArray[Any], image: Image, wanted: int) -> NDArray[Any]:
    """Give (C, H, W) with as many channels as wanted: grey and RGB turn into each other.

    Raises
    ------
    ImageError
        If that is no way to match them.
    """
    planes = data if "c" in image.axes else data[None]
    if len(planes) == wanted:
        return planes
    if len(planes) == 1 and wanted == 3:
        return np.broadcast_to(planes, (3, *planes.shape[1:]))
    if turns_grey(image, wanted):
        return _luminance(planes)[None]
    raise ImageError(
        f"the image has {len(planes)} channel{'s' * (len(planes) > 1)}, the network takes {wanted}"
        + _way_out(len(planes), wanted)
    )


def turns_grey(image: Image, wanted: int) -> bool:
    """Whether a network of so many channels is given the luminance of an image's colours."""
    return "c" in image.axes and len(image.data) == 3 and wanted == 1 and image.colours


def _way_out(found: int, wanted: int) -> str:
    """What helps where channels cannot be matched."""
    if wanted == 1:
        return "; choose one with --channel"
    if wanted == 3 and found > 1:
        return "; choose one with --channel, and it is repeated"
    return f"; give it images of {wanted} channels"


def grey(image: Image) -> NDArray[Any]:
    """One plane to look at: RGB as luminance, of other channels the first."""
    if "c" not in image.axes:
        return image.data
    plane: NDArray[Any] = _luminance(image.data) if len(image.data) == 3 else image.data[0]
    return plane


def _luminance(planes: NDArray[Any]) -> NDArray[np.float32]:
    return np.tensordot(_LUMINANCE, planes.astype(np.float32, copy=False), axes=1)
