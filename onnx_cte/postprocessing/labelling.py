"""Connected components, sizes and the numbers of objects in a label image."""

import math
from itertools import product
from typing import Any

import numpy as np
import scipy  # its parts are imported when first used: slow, and only decoding needs them
from numpy.typing import NDArray

from onnx_cte.postprocessing.options import Connectivity
from onnx_cte.types import BACKGROUND, BOUNDARY, Prediction

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]


def reach(dimensions: int, connectivity: Connectivity) -> int:
    """How many coordinates may change by one from a pixel to its neighbour."""
    return dimensions if connectivity == "full" else 1


def steps(shape: tuple[int, ...], connectivity: Connectivity) -> list[int]:
    """From a pixel to each of its neighbours, along an image flattened in C order; faces first."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    offsets = [
        offset
        for offset in product((-1, 0, 1), repeat=len(shape))
        if 0 < sum(map(abs, offset)) <= reach(len(shape), connectivity)
    ]
    offsets.sort(key=lambda offset: sum(map(abs, offset)))
    return [sum(o * s for o, s in zip(offset, strides, strict=True)) for offset in offsets]


def components(mask: Mask, connectivity: Connectivity) -> Labels:
    """Label image, int32, of the connected components of a mask; 0 is background."""
    neighbours = scipy.ndimage.generate_binary_structure(mask.ndim, reach(mask.ndim, connectivity))
    labels = np.empty(mask.shape, np.int32)
    scipy.ndimage.label(mask, neighbours, output=labels)
    return labels


def sizes(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Pixels of each label, from 0 (background) to the greatest."""
    found: NDArray[np.int64] = np.bincount(labels.ravel(), minlength=1)
    return found


def firsts(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where, in C order, each label from 0 to the greatest has its first pixel.

    A label that no pixel has gets the number of pixels.
    """
    flat = labels.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    starts = starts[: flat.size]
    found = np.full(int(flat.max(initial=0)) + 1, flat.size, np.int64)
    # Of several values for one place the last is kept: from the end, that is the first pixel.
    found[flat[starts[::-1]]] = starts[::-1]
    return found


def numbered(labels: NDArray[np.integer], min_size: int = 0) -> Labels:
    """Objects numbered 1 to n by their first pixel in C order, without those that are too small.

    Parameters
    ----------
    labels : ndarray of int, any shape
        0 is background, no label is negative. Numbers may be missing.
    min_size : int
        Objects of fewer pixels become background.

    Returns
    -------
    ndarray of int32, same shape

    Examples
    --------
    >>> numbered(np.array([[7, 7, 0, 3], [7, 0, 0, 0]]), min_size=2)
    array([[1, 1, 0, 0],
           [1, 0, 0, 0]], dtype=int32)
    """
    counts = sizes(labels)
    kept = counts >= max(min_size, 1)
    kept[0] = False
    new = np.zeros(counts.size, np.int32)
    old = np.flatnonzero(kept)
    old = old[np.argsort(firsts(labels)[old])]
    new[old] = np.arange(1, old.size + 1, dtype=np.int32)
    renumbered: Labels = new[labels]
    return renumbered


def foreground_mask(prediction: Prediction) -> Mask:
    """(*spatial) mask of what is no background, as `Prediction.classes` judges it, C order."""
    hard: NDArray[Any] = prediction.classes
    return np.ascontiguousarray(hard != 0)


def object_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    """Roles of channels that stand for objects: neither background nor boundary."""
    return tuple(role for role in roles if role not in (BACKGROUND, BOUNDARY))
