"""Grow seeds into the pixels around them, lowest heights first: a seeded watershed without lines.

Flooding goes level by level, all pixels of a step at once, and only where there is something to
decide: an object that has one seed is what it is.
"""

import numpy as np
from numpy.typing import NDArray

from onnx_cte.postprocessing.labelling import Labels, Mask, components, steps
from onnx_cte.postprocessing.options import Connectivity

_LEVELS = 64
"""Heights are told apart in steps of 1/64: finer ones are noise, and plateaus are shared fairly."""


def grown(
    seeds: Labels, mask: Mask, heights: NDArray[np.float32], connectivity: Connectivity
) -> Labels:
    """Give every free pixel of a mask to the seed that reaches it over the lowest heights.

    A pixel's seed is one from which it is reached without climbing higher than needed, heights
    being rounded down to steps of 1/64. On a plateau seeds grow at the same pace.

    Parameters
    ----------
    seeds : ndarray of int32
        0 is free; seeds keep their pixels.
    mask : ndarray of bool, same shape
        Where seeds may grow.
    heights : ndarray of float32, same shape
        In [0, 1]; what is beyond counts as 0 or 1.
    connectivity : {"full", "face"}
        Seeds grow from face to face; with ``full`` also across corners, to pixels that cannot be
        reached otherwise.

    Returns
    -------
    ndarray of int32, same shape
        Pixels of the mask that no seed reaches stay 0.
    """
    found = seeds.copy()
    for way in ("face", "full") if connectivity == "full" else ("face",):
        free = mask & (found == 0)
        window = _window(free)
        if window is not None:
            _flood(found[window], free[window], heights[window], way)
    return found


def _flood(
    found: Labels, free: Mask, heights: NDArray[np.float32], connectivity: Connectivity
) -> None:
    """Fill free pixels in place, level by level."""
    labels = np.pad(found, 1)
    levels = np.full(labels.shape, _LEVELS, np.uint8)  # that of pixels which are not free
    levels[(slice(1, -1),) * found.ndim][free] = np.clip(heights[free] * _LEVELS, 0, _LEVELS - 1)
    ways = steps(labels.shape, connectivity)
    label, level = labels.ravel(), levels.ravel()
    waiting = np.flatnonzero(level < _LEVELS)
    waiting = waiting[np.argsort(level[waiting], kind="stable")]
    bounds = np.searchsorted(level[waiting], np.arange(_LEVELS + 1))
    slot = np.zeros(label.size, np.int32)
    for height in range(_LEVELS):
        # All that is free and lower was out of reach, so that water enters at this height first.
        around = waiting[bounds[height] : bounds[height + 1]]
        owner = np.zeros(around.size, np.int32)
        for step in ways:
            owner = np.where(owner, owner, label[around + step])
        new, owner = around[owner > 0], owner[owner > 0]
        while new.size:
            label[new] = owner
            level[new] = _LEVELS
            around = np.concatenate([new + step for step in ways])
            owner = np.tile(owner, len(ways))
            open_ = level[around] <= height
            around, owner = around[open_], owner[open_]
            # Of several that reach a pixel at once, one gets it.
            turns = np.arange(around.size, dtype=np.int32)
            slot[around] = turns
            last = slot[around] == turns
            new, owner = around[last], owner[last]
    found[...] = labels[(slice(1, -1),) * found.ndim]


def _window(mask: Mask) -> tuple[slice, ...] | None:
    """The part of an image that holds a mask and the pixels beside it; None for an empty mask."""
    spans = []
    for axis in range(mask.ndim):
        lines = mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis))
        places = np.flatnonzero(lines)
        if not places.size:
            return None
        spans.append(slice(max(int(places[0]) - 1, 0), int(places[-1]) + 2))
    return tuple(spans)


def grown_within(
    inner: Mask,
    region: Mask,
    heights: NDArray[np.float32],
    connectivity: Connectivity,
    seed_size: int,
) -> Labels:
    """Part a region by the components of its inner pixels.

    Parameters
    ----------
    inner : ndarray of bool
        Pixels of seeds: each connected component is one. All are in the region.
    region : ndarray of bool, same shape
        All pixels of objects.
    heights : ndarray of float32, same shape
        What seeds climb as they grow, in [0, 1]: high where objects end.
    connectivity : {"full", "face"}
        Of seeds, and of the region.
    seed_size : int
        Components of fewer inner pixels are no seed.

    Returns
    -------
    ndarray of int32, same shape
        A component of the region without a seed, or with one, is an object as it is.
    """
    parts = components(region, connectivity)
    seeds = components(inner, connectivity)
    counts = np.bincount(seeds.ravel(), minlength=1)
    home = np.zeros(counts.size, np.int32)
    home[seeds[inner]] = parts[inner]
    wanted = counts >= max(seed_size, 1)
    wanted[0] = False
    number = int(parts.max(initial=0)) + 1
    several = np.bincount(home[wanted], minlength=number) > 1
    # Parts keep their own number, seeds come after them.
    alone = np.arange(number, dtype=np.int32)
    alone[several] = 0
    rank = np.zeros(counts.size, np.int32)
    chosen = wanted & several[home]
    rank[chosen] = number + np.arange(int(chosen.sum()), dtype=np.int32)
    labels: Labels = alone[parts]
    if not several.any():
        return labels
    crowded = several[parts]
    labels += grown(rank[seeds], crowded, heights, connectivity)
    return labels
