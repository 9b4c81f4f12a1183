"""What a network that finds objects is trained to say of each pixel: foreground, and boundary.

Needs NumPy and scikit-image alone.
"""

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import dilation as grey_dilation
from skimage.morphology import disk
from skimage.segmentation import find_boundaries

CHANNELS = ("foreground", "boundary")
"""Names of the targets, in order; they name the channels of the exported networks too."""


def object_targets(
    instances: NDArray[np.integer], boundary: NDArray[np.bool_] | None = None, *, outline: int = 2
) -> NDArray[np.bool_]:
    """Foreground and boundary of an instance label image.

    Parameters
    ----------
    instances : ndarray of integers, shape (H, W)
        0 is background.
    boundary : ndarray of bool, shape (H, W), optional
        The boundary where the data draw it; else it is the outline of the instances.
    outline : int
        Width of the outline on either side of the line between two instances or between an
        instance and the background, in pixels: 1 or more. The border of the image is no outline.

    Returns
    -------
    ndarray of bool, shape (2, H, W)
        In the order of `CHANNELS`. Foreground is every pixel of an instance, those of its outline
        included; without instances both are empty.

    Raises
    ------
    ValueError
        If `outline` is below 1, or the two arrays differ in shape.
    """
    if boundary is None:
        boundary = outlines(instances, outline)
    if boundary.shape != instances.shape:
        raise ValueError(
            f"boundary: found shape {boundary.shape}, expected that of the instances, "
            f"{instances.shape}"
        )
    return np.stack([instances > 0, boundary])


def outlines(instances: NDArray[np.integer], width: int) -> NDArray[np.bool_]:
    """Pixels near another label.

    Parameters
    ----------
    instances : ndarray of integers, shape (H, W)
    width : int
        1 marks the pixels that share an edge with a pixel of another label; more, what lies within
        `width` - 1 pixels of these as well.

    Returns
    -------
    ndarray of bool, shape (H, W)

    Raises
    ------
    ValueError
        If `width` is below 1.
    """
    if width < 1:
        raise ValueError(f"outline: found {width} pixels, expected 1 or more on either side")
    touching = find_boundaries(instances, connectivity=1, mode="thick")
    if width == 1:
        return touching
    return grey_dilation(touching.astype(np.uint8), disk(width - 1)) > 0
