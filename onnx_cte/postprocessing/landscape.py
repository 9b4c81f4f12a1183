"""Part a mask at its necks: seeds from the distance transform, and the basins that drain to them.

A watershed of the steepest ascent: every pixel follows its highest neighbour up to a peak, and the
pixels that arrive at one peak are one basin. Basins are then united across their passes unless the
pass is a neck. That needs a handful of passes over the image whatever is on it, where flooding a
whole image from seeds takes several times as long.
"""

from typing import Any

import numpy as np
import scipy  # its parts are imported when first used: slow, and only decoding needs them
from numpy.typing import NDArray

from onnx_cte.postprocessing.labelling import Labels, Mask, steps
from onnx_cte.postprocessing.options import Connectivity

_FAR = 180
"""Distances in px up to which the sum of two squares fits into 16 bits."""

_BLOCK = 2**15  # pixels that are worked on at once: they stay in the processor's cache


def distances(mask: Mask) -> NDArray[np.float32]:
    """Euclidean distance in px of each pixel of a mask to the nearest pixel outside it.

    The edge of the image is no outside. Exact: the square root of a whole number. Where the mask is
    the whole image, every distance is 1.

    Parameters
    ----------
    mask : ndarray of bool, any shape

    Returns
    -------
    ndarray of float32, same shape
        0 outside of the mask.
    """
    if mask.all():
        return np.ones(mask.shape, np.float32)
    squares = _squares(mask)
    if squares.max(initial=0) >= _FAR**2:
        return np.asarray(scipy.ndimage.distance_transform_edt(mask), dtype=np.float32)
    return np.sqrt(squares, dtype=np.float32)


def _squares(mask: Mask) -> NDArray[np.uint16]:
    """Squared distances, axis by axis; `_FAR` squared stands for all that are not below it."""
    squares = np.empty(mask.shape, np.uint16)
    for order in (range(len(mask)), range(len(mask) - 1, -1, -1)):
        run = np.full(mask.shape[1:], _FAR, np.uint16)
        first = order.step > 0
        for place in order:
            run = np.minimum(run + np.uint16(1), np.uint16(_FAR)) * mask[place]
            squares[place] = run if first else np.minimum(squares[place], run)
    squares *= squares
    rows = max(1, _BLOCK * len(squares) // max(squares.size, 1))
    for start in range(0, len(squares), rows):
        for axis in range(1, mask.ndim):
            _lower(squares[start : start + rows], axis)
    return squares


def _lower(squares: NDArray[np.uint16], axis: int) -> None:
    """Replace each value by the least of value + distance squared along an axis, in place."""
    before = np.moveaxis(squares.copy(), axis, -1)
    after = np.moveaxis(squares, axis, -1)
    side = after.shape[-1]
    # What is farther than the greatest value that is left cannot lower any.
    for step in range(1, min(side, _FAR)):
        if step * step >= after.max(initial=0):
            break
        raised = before + np.uint16(step * step)
        np.minimum(after[..., step:], raised[..., :-step], out=after[..., step:])
        np.minimum(after[..., :-step], raised[..., step:], out=after[..., :-step])


def smoothed(heights: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian filter, mirrored at the edges; the heights themselves for a sigma of 0."""
    if sigma == 0:
        return heights
    return np.asarray(scipy.ndimage.gaussian_filter(heights, sigma), dtype=np.float32)


def parted(
    mask: Mask,
    heights: NDArray[np.float32],
    connectivity: Connectivity,
    seed_distance: float,
    neck: float,
) -> Labels:
    """Part a mask into basins of a landscape that hang together only by necks.

    Two neighbouring basins are one object if their peaks are nearer than `seed_distance`, or if
    the highest pass between them is at least `neck` times the lower of their peaks; passes are
    judged from the highest down, and the peak of what is united is its highest.

    Parameters
    ----------
    mask : ndarray of bool
    heights : ndarray of float32, same shape
        Not negative; only heights within the mask count.
    connectivity : {"full", "face"}
    seed_distance : float
        In px, from peak to peak.
    neck : float
        In [0, 1]: 0 parts nothing, 1 parts at every pass that is lower than both peaks.

    Returns
    -------
    ndarray of int32, same shape
        0 outside of the mask; each part is one component. Numbers are in no order that matters,
        but the same for the same mask and heights.
    """
    upward = _highest_neighbour(mask, heights, connectivity)
    peaks = np.flatnonzero((upward == np.arange(upward.size, dtype=upward.dtype)) & mask.ravel())
    while True:
        further = upward[upward]
        if np.array_equal(further, upward):
            break
        upward = further
    numbers = np.zeros(upward.size, np.int32)
    numbers[peaks] = np.arange(1, peaks.size + 1, dtype=np.int32)
    basins = numbers[upward].reshape(mask.shape)
    basins *= mask
    first, second, passes = _passes(basins, heights, connectivity)
    places = np.stack(np.unravel_index(peaks, mask.shape), axis=1)
    united = _united(first, second, passes, heights.ravel()[peaks], places, seed_distance, neck)
    return united[basins]


def _highest_neighbour(
    mask: Mask, heights: NDArray[np.float32], connectivity: Connectivity
) -> NDArray[np.uint32]:
    """Flat index of the highest pixel around each pixel of a mask, itself included.

    Of equally high ones it is the first in C order, so that no path goes in a circle. Outside of
    the mask the index means nothing.
    """
    size = np.uint64(mask.size - 1)
    # Bits of floats that are not negative are in the order of the floats.
    keys = np.ascontiguousarray(heights, np.float32).view(np.uint32).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= np.arange(mask.size - 1, -1, -1, dtype=np.uint64).reshape(mask.shape)
    keys *= mask
    best = _highest_around(keys, connectivity)
    best &= np.uint64(0xFFFFFFFF)
    return (size - best).astype(np.uint32).ravel()


def _highest_around(values: NDArray[Any], connectivity: Connectivity) -> NDArray[Any]:
    """The highest value among each pixel and its neighbours."""
    best = values.copy()
    for axis in range(values.ndim):
        # Axis after axis leads to the neighbours across corners too.
        source = np.moveaxis(best.copy() if connectivity == "full" else values, axis, 0)
        target = np.moveaxis(best, axis, 0)
        np.maximum(target[1:], source[:-1], out=target[1:])
        np.maximum(target[:-1], source[1:], out=target[:-1])
    return best


def _passes(
    basins: Labels, heights: NDArray[np.float32], connectivity: Connectivity
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Pairs of neighbouring basins, the lower number first, and the highest pass of each."""
    # Of two neighbours in different basins, the one of the lower number sees the higher one.
    beside = np.flatnonzero((basins > 0) & (_highest_around(basins, connectivity) > basins))
    places = np.ravel_multi_index(
        np.unravel_index(beside, basins.shape) + np.ones((basins.ndim, 1), np.intp),
        tuple(side + 2 for side in basins.shape),
    )
    around, levels = np.pad(basins, 1), np.pad(heights, 1)
    label, level = around.ravel(), levels.ravel()
    count = int(label.max(initial=0)) + 1
    own, height = label[places].astype(np.int64), level[places]
    codes, passes = [], []
    for step in steps(around.shape, connectivity):
        other = label[places + step]
        at = np.flatnonzero(other > own)
        codes.append(own[at] * count + other[at])
        passes.append(np.minimum(height[at], level[places[at] + step]))
    code, level = np.concatenate(codes), np.concatenate(passes)
    order = np.argsort(code)
    code, level = code[order], level[order]
    starts = np.flatnonzero(np.diff(code, prepend=-1))
    if starts.size:
        level = np.maximum.reduceat(level, starts)
    code = code[starts]
    return code // count, code % count, level


def _united(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    passes: NDArray[np.float32],
    peaks: NDArray[np.float32],
    places: NDArray[np.int64],
    seed_distance: float,
    neck: float,
) -> Labels:
    """Number of the object of each basin, from 0 (background): the basin of its highest peak."""
    root = list(range(len(peaks) + 1))
    tops = [0.0, *peaks.tolist()]
    spots = [(), *map(tuple, places.tolist())]
    near = seed_distance**2
    order = np.lexsort((second, first, -passes))
    for a, b, level in zip(
        first[order].tolist(), second[order].tolist(), passes[order].tolist(), strict=True
    ):
        a, b = _root(root, a), _root(root, b)
        if a == b:
            continue
        if (tops[b], -b) > (tops[a], -a):
            a, b = b, a
        apart = sum((p - q) ** 2 for p, q in zip(spots[a], spots[b], strict=True))
        if level >= neck * tops[b] or apart < near:
            root[b] = a
    return np.array([_root(root, place) for place in range(len(root))], np.int32)


def _root(root: list[int], place: int) -> int:
    """Where a chain of unions ends; the chain is shortened on the way."""
    while root[place] != place:
        root[place] = root[root[place]]
        place = root[place]
    return place
