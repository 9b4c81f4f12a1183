"""Does the outline of a segmentation lie on edges of the image? Grey levels and regions in."""

import math
from typing import Any

import numpy as np
import scipy  # its parts are imported when first used, as in masks
from numpy.typing import NDArray


def is_flat(pixels: NDArray[Any]) -> bool:
    """Whether an image shows nothing that a segmentation could follow.

    Parameters
    ----------
    pixels : ndarray of any real dtype, any shape

    Returns
    -------
    bool
        If it is constant or empty, or a value in it is not finite.

    Examples
    --------
    >>> is_flat(np.array([[3, 3, 3]])), is_flat(np.array([[3, 4, 3]]))
    (True, False)
    """
    if not pixels.size:
        return True
    low, high = halved_range(pixels)
    return not (math.isfinite(low) and math.isfinite(high) and high > low)


def outline_rank(pixels: NDArray[Any], mask: NDArray[Any], *, sigma: float = 1.0) -> float:
    """Mean rank of the gradient along the outline of a mask, among the gradients of all pixels.

    The gradient is the magnitude of that of the image smoothed by a Gaussian; the outline are the
    pixels, on both sides, that share a face with a pixel of the other side. Ranks make it blind to
    contrast, gamma and a few bright spots.

    Parameters
    ----------
    pixels : ndarray of any real dtype, shape (H, W) or (D, H, W)
    mask : ndarray of bool or int, same shape
        Foreground is what is not 0.
    sigma : float, > 0
        Of the Gaussian, in px.

    Returns
    -------
    float
        In [0, 1], greater is better; 0.5 is chance. Equal gradients share their middle rank. NaN
        for a mask without foreground or without background, and for an image that is flat.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> image = np.repeat([[0, 0, 0, 0, 9, 9, 9, 9]], 4, axis=0)
    >>> outline_rank(image, image > 0), outline_rank(image, np.arange(8) + 0 * image > 5)
    (0.875, 0.5)
    """
    inside = mask != 0
    if inside.any() and inside.all():
        return math.nan
    return _mean_rank(pixels, inside, figures=False, sigma=sigma)


def boundary_rank(pixels: NDArray[Any], regions: NDArray[Any], *, sigma: float = 1.0) -> float:
    """Boundary evidence: as `outline_rank`, of all regions; holes count against, and the frame too.

    A mask and its inverse have the same edges within the image, so edges alone do not tell figure
    from ground. Two things do. Figures have outlines, grounds have holes: where the background is
    taken for foreground, what is meant lies in it as holes. And what fills the image runs along its
    frame, where there is nothing to follow. So the outline is every pixel that shares a face with
    a pixel of another region, and every pixel of the foreground at the frame; and pixels that are
    outline of a hole alone have rank 0.

    Parameters
    ----------
    pixels : ndarray of any real dtype, shape (H, W) or (D, H, W)
    regions : ndarray of bool or int, same shape
        A mask, classes or objects; 0 is background. Where two objects touch is outline too. A hole
        is background that is not connected to the frame by faces of pixels.
    sigma : float, > 0
        Of the Gaussian, in px.

    Returns
    -------
    float
        In [0, 1], greater is better; without holes 0.5 is chance. NaN where there is no foreground,
        and for an image that is flat.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> image = np.zeros((5, 5))
    >>> image[2, 2] = 9
    >>> round(boundary_rank(image, image > 0), 2), round(boundary_rank(image, image == 0), 2)
    (0.74, 0.27)
    """
    return _mean_rank(pixels, regions, figures=True, sigma=sigma)


def halved_range(pixels: NDArray[Any]) -> tuple[float, float]:
    """Half of the least and the greatest grey level: so the range of no dtype overflows."""
    return float(pixels.min()) / 2, float(pixels.max()) / 2


def outline_of(
    regions: NDArray[Any], *, frame: bool = False, without: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Pixels that share a face with one of another region.

    Parameters
    ----------
    regions : ndarray of bool or int, any shape
        0 is background.
    frame : bool
        Whether pixels of the foreground at the border of the image are part of it.
    without : ndarray of bool, same shape, optional
        Pixels that do not count as neighbours, nor themselves.

    Returns
    -------
    ndarray of bool, same shape

    Examples
    --------
    >>> outline_of(np.array([0, 0, 1, 1, 1])).astype(int)
    array([0, 1, 1, 0, 0])
    >>> outline_of(np.array([0, 0, 1, 1, 1]), frame=True).astype(int)
    array([0, 1, 1, 0, 1])
    """
    outline = np.zeros(regions.shape, bool)
    for axis in range(regions.ndim):
        ahead, behind = [slice(None)] * regions.ndim, [slice(None)] * regions.ndim
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        apart = regions[*ahead] != regions[*behind]
        if without is not None:
            apart &= ~(without[*ahead] | without[*behind])
        outline[*ahead] |= apart
        outline[*behind] |= apart
        for end in (slice(None, 1), slice(-1, None)) if frame else ():
            ahead[axis] = end
            outline[*ahead] |= regions[*ahead] != 0
    return outline


def _mean_rank(
    pixels: NDArray[Any], regions: NDArray[Any], *, figures: bool, sigma: float
) -> float:
    """Mean rank along the outline; with frame and holes, if it is to be that of figures."""
    if pixels.shape != regions.shape:
        raise ValueError(f"shapes differ: {pixels.shape} and {regions.shape}")
    if is_flat(pixels) or not regions.any():
        return math.nan
    low, high = halved_range(pixels)
    grey = (pixels.astype(np.float64) / 2 - low) / (high - low)
    steep = scipy.ndimage.gaussian_gradient_magnitude(grey, sigma)
    # What ought to be equal differs by rounding, which must not rank it.
    steep = np.round(steep, 12).astype(np.float32)
    ordered = np.sort(steep, axis=None)
    outline = outline_of(regions, frame=figures)
    length = np.count_nonzero(outline)
    if figures:
        inside = regions != 0
        holes = scipy.ndimage.binary_fill_holes(inside) & ~inside
        if holes.any():
            outline = outline_of(regions, frame=True, without=holes)
    # Sorted, so that the search stays in the cache.
    along = np.sort(steep[outline])
    below = np.searchsorted(ordered, along, "left")
    upto = np.searchsorted(ordered, along, "right")
    return float((below + upto).sum() / (2 * ordered.size * length))
