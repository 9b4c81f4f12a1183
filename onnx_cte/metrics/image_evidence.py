"""Does a segmentation follow the image? Grey levels and a foreground mask in, a float out.

Every function takes planes or volumes of any real dtype, sees grey levels only up to their scale
and offset, and returns NaN where there is nothing to compare: a mask without foreground or without
background, an image that is constant or holds a value that is not finite. Shapes that differ are a
ValueError. Regions, where they are spoken of, are the pieces of the mask (pixels that touch at a
corner hang together) and, as one more region, the whole background.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy  # its parts are imported when first used, as in masks
from numpy.typing import NDArray

from onnx_cte.metrics.outlines import halved_range, is_flat


def between_share(pixels: NDArray[Any], mask: NDArray[Any]) -> float:
    """Share of an image's variance that lies between foreground and background (eta of [1]_).

    Parameters
    ----------
    pixels : ndarray of any real dtype, any shape
    mask : ndarray of bool or int, same shape
        Foreground is what is not 0.

    Returns
    -------
    float
        In [0, 1], greater is better: 1 where each side has one grey level, 0 where their means are
        the same. NaN as the module says.

    References
    ----------
    .. [1] Otsu, N. (1979), A threshold selection method from gray-level histograms, IEEE
       Transactions on Systems, Man, and Cybernetics 9.

    Examples
    --------
    >>> between_share(np.array([0, 0, 2, 2, 4, 4]), np.array([0, 0, 0, 0, 1, 1]))
    0.75
    """
    seen = _compared(pixels, mask)
    return math.nan if seen is None else _between(*seen)


def ring_share(pixels: NDArray[Any], mask: NDArray[Any], *, width: int = 5) -> float:
    """`between_share` of the mask and a ring around it: contrast with the neighbourhood alone.

    What lies far from every object, and how much of it there is, does not matter.

    Parameters
    ----------
    pixels : ndarray of any real dtype, any shape
    mask : ndarray of bool or int, same shape
        Foreground is what is not 0.
    width : int, >= 1
        Of the ring, in px: background no farther than this along every axis.

    Returns
    -------
    float
        In [0, 1], greater is better. 0 if the image is constant there, though not elsewhere. NaN
        as the module says.

    Examples
    --------
    >>> image, mask = np.array([0, 0, 2, 4, 4, 2, 9]), np.array([0, 0, 0, 1, 1, 0, 0])
    >>> ring_share(image, mask, width=1)
    1.0
    """
    seen = _compared(pixels, mask)
    if seen is None:
        return math.nan
    grey, inside = seen
    near = scipy.ndimage.maximum_filter(inside, size=2 * width + 1, mode="constant", cval=0)
    return _between(grey[near], inside[near])


def zeboudj_contrast(pixels: NDArray[Any], mask: NDArray[Any]) -> float:
    """Zeboudj's contrast: steps across the borders of regions against steps within them [1]_.

    The step at a pixel is the greatest difference of grey levels to one of its 8 (26) neighbours,
    over the range of the image. With the mean I of the steps within a region, and the mean E of
    those across its border, over the pixels along it, the region has 1 - I / E if 0 < I < E, E if
    I = 0, and else 0; regions are weighted by their areas.

    Parameters
    ----------
    pixels : ndarray of any real dtype, shape (H, W) or (D, H, W)
    mask : ndarray of bool or int, same shape
        Foreground is what is not 0.

    Returns
    -------
    float
        In [0, 1], greater is better. NaN as the module says.

    References
    ----------
    .. [1] Zeboudj (1988), as given by Cocquerez, J. P. and Philipp, S. (1995), Analyse d'images,
       and, with the two others below, by Zhang, H., Fritts, J. E. and Goldman, S. A. (2008), Image
       segmentation evaluation: a survey of unsupervised methods, Computer Vision and Image
       Understanding 110.

    Examples
    --------
    >>> round(zeboudj_contrast(np.array([[0, 1, 4, 4]]), np.array([[0, 0, 1, 1]])), 6)
    0.708333
    """
    seen = _compared(pixels, mask)
    if seen is None:
        return math.nan
    grey, (regions, count) = seen[0].astype(np.float32), _regions(seen[1])
    within, across = np.zeros_like(grey), np.zeros_like(grey)
    border = np.zeros(grey.shape, bool)
    for one, other in _neighbours(grey.ndim):
        step = np.abs(grey[one] - grey[other])
        apart = regions[one] != regions[other]
        inner, outer = np.where(apart, 0, step), np.where(apart, step, 0)
        for side in (one, other):
            np.maximum(within[side], inner, out=within[side])
            np.maximum(across[side], outer, out=across[side])
            border[side] |= apart
    area = np.bincount(regions.ravel(), minlength=count)
    inner = np.bincount(regions.ravel(), within.ravel(), count) / area
    along = regions[border]
    # Two regions at least, of an image in one piece: each has a border.
    outer = np.bincount(along, across[border], count) / np.bincount(along, minlength=count)
    contrast = np.where(inner < outer, 1 - inner / np.where(outer > 0, outer, 1), 0)
    contrast = np.where(inner == 0, outer, contrast)
    return float(area @ contrast / grey.size)


def liu_yang_f(pixels: NDArray[Any], mask: NDArray[Any]) -> float:
    """Liu and Yang's F, sqrt(N) sum_j e_j^2 / sqrt(A_j), over that of the image as one region [1]_.

    Of N regions, A_j is the area and e_j^2 the sum of squared deviations from the mean grey level.
    The published scale, by image size and 1000, still changes with brightness and size; this ratio
    does not, and 1 means that nothing is gained by segmenting.

    Parameters
    ----------
    pixels : ndarray of any real dtype, shape (H, W) or (D, H, W)
    mask : ndarray of bool or int, same shape
        Foreground is what is not 0.

    Returns
    -------
    float
        At least 0, smaller is better: 0 if every region has one grey level. NaN as the module says.

    References
    ----------
    .. [1] Liu, J. and Yang, Y.-H. (1994), Multiresolution color image segmentation, IEEE
       Transactions on Pattern Analysis and Machine Intelligence 16; see `zeboudj_contrast`.

    Examples
    --------
    >>> round(liu_yang_f(np.array([[0, 0, 2, 2, 4, 4]]), np.array([[0, 0, 0, 0, 1, 1]])), 6)
    0.433013
    """
    seen = _compared(pixels, mask)
    if seen is None:
        return math.nan
    grey, inside = seen
    regions, count = _regions(inside)
    where, levels = regions.ravel(), grey.ravel()
    area = np.bincount(where, minlength=count)
    mean = np.bincount(where, levels, count) / area
    errors = np.bincount(where, (levels - mean[where]) ** 2, count)
    whole = ((levels - levels.mean()) ** 2).sum() / math.sqrt(grey.size)
    return float(math.sqrt(count) * (errors / np.sqrt(area)).sum() / whole)


def region_entropy(pixels: NDArray[Any], mask: NDArray[Any], *, levels: int = 256) -> float:
    """Entropy of the layout of regions plus the expected entropy within them (E of [1]_).

    Their sum is the joint entropy of region and grey level. It never falls below the entropy of
    the grey levels, which no segmentation at all attains: E favours few and large regions.

    Parameters
    ----------
    pixels : ndarray of any real dtype, shape (H, W) or (D, H, W)
    mask : ndarray of bool or int, same shape
        Foreground is what is not 0.
    levels : int, >= 2
        Equal bins between the least and the greatest grey level.

    Returns
    -------
    float
        In nats, in [0, log of the number of pixels], smaller is better. NaN as the module says.

    References
    ----------
    .. [1] Zhang, H., Fritts, J. E. and Goldman, S. A. (2004), An entropy-based objective evaluation
       method for image segmentation, SPIE 5307; see `zeboudj_contrast`.

    Examples
    --------
    >>> round(region_entropy(np.array([[0, 0, 9, 9]]), np.array([[0, 0, 0, 1]])), 6)
    1.039721
    """
    seen = _compared(pixels, mask)
    if seen is None:
        return math.nan
    grey, inside = seen
    regions, count = _regions(inside)
    binned = np.minimum((grey * levels).astype(np.int64), levels - 1)
    joint = (regions * np.int64(levels) + binned).ravel()
    # Counting needs memory for every region and level, sorting needs time: count if there are few.
    few = count * levels <= 4 * joint.size
    counts = np.bincount(joint) if few else np.unique(joint, return_counts=True)[1]
    shares = counts[counts > 0] / joint.size
    entropy = float(-(shares * np.log(shares)).sum())
    return min(math.log(joint.size), max(0.0, entropy))


def _compared(
    pixels: NDArray[Any], mask: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Grey levels in [0, 1] and the mask; None where there is nothing to compare."""
    if pixels.shape != mask.shape:
        raise ValueError(f"shapes differ: {pixels.shape} and {mask.shape}")
    inside = mask != 0
    if not inside.any() or inside.all() or is_flat(pixels):
        return None
    low, high = halved_range(pixels)
    grey: NDArray[np.float64] = (pixels.astype(np.float64) / 2 - low) / (high - low)
    return grey, inside


def _between(grey: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    """Between-class over total variance; 0 of a constant image. Both classes are there."""
    share = np.count_nonzero(inside) / inside.size
    total = grey.var()
    if not total:
        return 0.0
    step = grey[inside].mean() - grey[~inside].mean()
    return min(1.0, float(share * (1 - share) * step**2 / total))


def _regions(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Number of each pixel's region, 0 is the background, and how many there are."""
    touching = np.ones((3,) * inside.ndim, bool)
    labels = np.empty(inside.shape, np.int32)
    pieces: int = scipy.ndimage.label(inside, touching, output=labels)
    return labels, pieces + 1


def _neighbours(axes: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Views of an array and of itself shifted, for each pair of touching pixels once."""
    for offset in itertools.product((-1, 0, 1), repeat=axes):
        if offset > (0,) * axes:
            yield _shifted(offset)


def _shifted(offset: "tuple[int, ...] | list[int]") -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where there are pixels with a neighbour at an offset, and where these neighbours are."""
    one = tuple(slice(max(0, -by), min(0, -by) or None) for by in offset)
    other = tuple(slice(max(0, by), min(0, by) or None) for by in offset)
    return one, other
