"""Cut an image into tiles with halo, run a network on each, stitch the predictions back.

Images are planes (height, width) or volumes (depth, height, width). Along an axis, neighbouring
tiles overlap by at least twice the halo, and the seam lies in the middle of the overlap: every
pixel comes from the one tile in which it lies deepest. At the borders of the image there is no
neighbour and nothing is cropped.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import DescriptorError, ImageError, InferenceError, OptionError
from onnx_cte.tiling.axes import NAMES, Axis, Cut, Size, axes_of, by
from onnx_cte.tiling.budget import tile_limit

__all__ = ["Place", "Run", "Size", "run_tiled", "tile_limit", "tiles"]

Run = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""A network: (1, C, h, w) to (1, C', h', w'), or (1, C, d, h, w) to (1, C', d', h', w')."""

_EXPECTED = {2: "1 x C x H x W", 3: "1 x C x D x H x W"}


def run_tiled(
    tensor: NDArray[np.float32],
    run: Run,
    *,
    sizes: tuple[Size, ...],
    halo: tuple[int, ...] = (),
    border: tuple[int, ...] = (),
    limit: int | tuple[int, ...] = 1024,
    scale: tuple[int, ...] = (),
) -> NDArray[np.float32]:
    """Run a network on a whole image, in one piece if it can be, else tile by tile.

    All tiles of a call have the same shape and are run in the order of the array, the last axis
    fastest. An image with a side below the size needed is extended at its end (back, bottom,
    right) by reflection, repeated where needed, and the result is cropped. An image with a longer
    side is cut into tiles: for a fixed side the last ones are shifted inwards so that they stay
    inside; for free ones tiles start at multiples of the step, and the last may be extended like
    a small image.

    A network may give a coarser map than its input, by a whole factor an axis (the grid of
    StarDist). Each of its values is then repeated: that at k fills the pixels from k * scale to
    (k + 1) * scale - 1. Tiles start, and seams lie, at multiples of the scale, so that tiles and
    the whole image have the same coarse pixels.

    Parameters
    ----------
    tensor : ndarray of float32, shape (1, C, H, W) or (1, C, D, H, W)
        Normalised image.
    run : callable
        Takes a (1, C, d, h, w) tile, which it must leave as it is; returns (1, C', ...) of any
        float type, with the same C' for every tile and sides of (side - 2 border) / scale.
    sizes : tuple, for (depth,) height and width
        The tile sides that the network takes: a fixed side, or (minimum, step). There are as many
        as the image has axes, here and below. Of free sides, only those are taken of which the
        output is a whole number of its pixels.
    halo : tuple of int
        Px of the image, next to a neighbouring tile, of which the output is not to be trusted, per
        side of a tile. Empty: none.
    border : tuple of int
        Px per side by which the output is smaller than the input (convolutions without padding).
        The image is then extended by as much, by reflection, so that all of it is predicted.
        Empty: none.
    limit : int or tuple of int
        Longest tile side in px for free sizes, rounded down to what the size allows, but never
        below its minimum; an int holds for every axis. Fixed sizes do not heed it. See
        `tile_limit` for volumes.
    scale : tuple of int
        By which factor the output is coarser than the input. Empty: 1, as fine as the input.

    Returns
    -------
    ndarray of float32, shape (C', H, W) or (C', D, H, W)

    Raises
    ------
    ImageError
        If the tensor has not the axes that `sizes` are for, is empty, or has a side of less than
        half of the smallest side the network takes: reflection would invent most of what it sees.
    DescriptorError
        If sizes, halo, border or scale make no sense or are not of as many axes, if nothing of a
        fixed size is left between two halos, or if no side gives whole pixels at the scale.
    OptionError
        If `limit` is below 1, or leaves nothing between two halos.
    InferenceError
        If `run` returns another shape than it should.

    Examples
    --------
    >>> image = np.arange(30, dtype=np.float32).reshape(1, 1, 5, 6)
    >>> twice = run_tiled(image, lambda tile: 2 * tile, sizes=(4, (4, 2)), halo=(1, 0))
    >>> bool((twice == 2 * image[0]).all())
    True
    """
    plan = _plan(tensor, sizes, halo, border, limit, scale)
    axes, sides, places = plan.axes, plan.sides, plan.cuts
    due = tuple(
        (side - 2 * axis.border) // axis.scale for axis, side in zip(axes, sides, strict=True)
    )
    shape = tuple(-(-axis.length // axis.scale) for axis in axes)
    stitched = np.empty((0, *shape), np.float32)
    for index, cuts in enumerate(places):
        tile = _read(tensor, cuts)
        given = tile.shape
        out = run(tile)
        channels = len(stitched) if index else max(1, *out.shape[1:2])
        if out.shape != (1, channels, *due):
            raise InferenceError(
                f"the network made {by(out.shape)} of a tile of {by(given)}, expected "
                f"1 x {channels if index else 'any'} x {by(due)}: correct the sizes, the scale "
                "or the border (offset, halo) in the model's description"
            )
        kept = out[0][(slice(None), *(cut.kept for cut in cuts))]
        if len(places) == 1:
            return _at_image_size(np.asarray(kept, np.float32), axes)
        if not index:
            stitched = np.empty((channels, *shape), np.float32)
        stitched[(slice(None), *(cut.target for cut in cuts))] = kept
    return _at_image_size(stitched, axes)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile lies in the image, by axis.

    Attributes
    ----------
    start : tuple of int
        The pixel at which it begins; negative where the image was extended before its begin.
    extent : tuple of int
        Its sides, in px; it may reach beyond the image.
    pixels : tuple of slice
        The pixels of the image that are taken from it: those of all tiles partition the image.
    """

    start: tuple[int, ...]
    extent: tuple[int, ...]
    pixels: tuple[slice, ...]


def tiles(
    tensor: NDArray[np.float32],
    *,
    sizes: tuple[Size, ...],
    halo: tuple[int, ...] = (),
    border: tuple[int, ...] = (),
    limit: int | tuple[int, ...] = 1024,
    scale: tuple[int, ...] = (),
) -> Iterator[tuple[Place, NDArray[np.float32]]]:
    """Each tile that `run_tiled` would run, in its order, with its place in the image.

    Parameters and errors are those of `run_tiled`.

    Examples
    --------
    >>> image = np.zeros((1, 1, 4, 6), np.float32)
    >>> for place, tile in tiles(image, sizes=(4, 4)):
    ...     print(place.start, tile.shape, place.pixels[1])
    (0, 0) (1, 1, 4, 4) slice(0, 3, None)
    (0, 2) (1, 1, 4, 4) slice(3, 6, None)
    """
    plan = _plan(tensor, sizes, halo, border, limit, scale)
    for cuts in plan.cuts:
        place = Place(
            tuple(cut.start for cut in cuts), plan.sides, tuple(cut.pixels for cut in cuts)
        )
        yield place, _read(tensor, cuts)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How an image is cut: its axes, the sides of all tiles, and each tile's cuts by axis."""

    axes: Sequence[Axis]
    sides: tuple[int, ...]
    cuts: Sequence[tuple[Cut, ...]]


def _plan(
    tensor: NDArray[np.float32],
    sizes: tuple[Size, ...],
    halo: tuple[int, ...],
    border: tuple[int, ...],
    limit: int | tuple[int, ...],
    scale: tuple[int, ...],
) -> _Plan:
    rank = len(sizes)
    if rank not in NAMES:
        raise DescriptorError(
            f"sizes are given for {rank} axes, expected 2 (height, width) or 3 (depth, height, "
            "width)"
        )
    if tensor.ndim != 2 + rank or tensor.shape[0] != 1 or not tensor.size:
        raise ImageError(
            f"image tensor has shape {by(tensor.shape)}, expected {_EXPECTED[rank]}, none of them 0"
        )
    limits = (limit,) * rank if isinstance(limit, int) else limit
    if len(limits) != rank or min(limits) < 1:
        raise OptionError(
            f"limit is {limit} px, expected a tile side of at least 1 px, or one for each of "
            f"{', '.join(NAMES[rank])}"
        )
    axes = axes_of(tensor.shape[2:], sizes, halo, border, scale)
    _check_not_tiny(axes)
    sides = tuple(axis.side(longest) for axis, longest in zip(axes, limits, strict=True))
    cuts = itertools.product(*(axis.cuts(side) for axis, side in zip(axes, sides, strict=True)))
    return _Plan(axes, sides, list(cuts))


def _check_not_tiny(axes: Sequence[Axis]) -> None:
    """Refuse an image of which reflection would have to invent more than half."""
    if any(2 * axis.length < axis.least for axis in axes):
        raise ImageError(
            f"image is {by(axis.length for axis in axes)}, the network takes at least "
            f"{by(axis.least for axis in axes)}: reflection would have to invent more than half "
            f"of it. Give images of at least {by(-(-axis.least // 2) for axis in axes)} px"
        )


def _read(tensor: NDArray[np.float32], cuts: Sequence[Cut]) -> NDArray[np.float32]:
    """One tile, contiguous."""
    # A slice costs nothing, so slices go first; indexing with several arrays at once is slow.
    reflected = [isinstance(cut.source, np.ndarray) for cut in cuts]
    sliced = (cut.source if isinstance(cut.source, slice) else slice(None) for cut in cuts)
    tile = tensor[(slice(None), slice(None), *sliced)]
    for axis, cut in enumerate(cuts, start=2):
        if reflected[axis - 2]:
            tile = tile[(*[slice(None)] * axis, cut.source)]
    return np.ascontiguousarray(tile)


def _at_image_size(maps: NDArray[np.float32], axes: Sequence[Axis]) -> NDArray[np.float32]:
    """Maps with each value repeated as often as the scale says, cropped to the image."""
    # The last axis first, while the maps are small: to repeat single values is slowest.
    for place, axis in reversed(list(enumerate(axes, start=1))):
        if axis.scale > 1:
            repeated = np.repeat(maps, axis.scale, axis=place)
            maps = repeated[(*[slice(None)] * place, slice(axis.length))]
    return maps
