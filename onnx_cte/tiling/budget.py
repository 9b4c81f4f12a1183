"""Tiles of a volume that fit a budget."""

import numpy as np
from numpy.typing import NDArray

from onnx_cte.tiling.axes import Axis, Size, axes_of


def tile_limit(
    shape: tuple[int, ...],
    sizes: tuple[Size, ...],
    halo: tuple[int, ...] = (),
    border: tuple[int, ...] = (),
    scale: tuple[int, ...] = (),
    *,
    voxels: int = 2**21,
) -> tuple[int, ...]:
    """A `limit` for `run_tiled` that keeps tiles small enough in all.

    The longest side says little of a volume: a flat stack can be cut into wider tiles than a deep
    one. Of all tiles within the budget those are taken with which the network runs over the fewest
    px in all; what overlaps counts as often as it is run over.

    Parameters
    ----------
    shape : tuple of int
        Of the image, (D, H, W) or (H, W), without channels.
    sizes, halo, border, scale
        As in `run_tiled`.
    voxels : int
        At most so many px a tile. Where even the smallest tiles have more, these are taken.

    Returns
    -------
    tuple of int
        For each axis. It depends on the arguments alone.

    Raises
    ------
    DescriptorError
        As `run_tiled` does.

    Examples
    --------
    >>> tile_limit((64, 96, 96), ((8, 8), (16, 16), (16, 16)))
    (64, 96, 96)
    >>> tile_limit((32, 512, 512), ((8, 8),) * 3, (8, 16, 16))
    (32, 272, 192)
    """
    counted = [_counted(axis) for axis in axes_of(shape, sizes, halo, border, scale)]
    sides = [side.ravel() for side in np.meshgrid(*(side for side, _ in counted), indexing="ij")]
    numbers = np.meshgrid(*(number for _, number in counted), indexing="ij")
    tiles = np.prod(numbers, axis=0).ravel()
    volume = np.prod(sides, axis=0, dtype=np.float64)
    work = np.where(volume <= voxels, volume * tiles, np.inf)
    if not np.isfinite(work).any():
        work = volume
    # Of equals the fewest, then the most compact: their seams are shortest.
    best = int(np.lexsort((np.max(sides, axis=0), tiles, work))[0])
    return tuple(int(side[best]) for side in sides)


def _counted(axis: Axis) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Sides that tiles may have along an axis, and how many tiles these make, longest side first.

    Of the sides that make the same number of tiles, the shortest.
    """
    if not isinstance(axis.size, tuple):
        return np.array([axis.size]), np.array([len(axis.starts(axis.size))])
    sides = np.arange(min(axis.needed, axis.shortest), axis.needed + 1, axis.step)[::-1]
    numbers = np.array([len(axis.starts(int(side))) for side in sides])
    last = np.append(numbers[1:] != numbers[:-1], True)
    return sides[last], numbers[last]
