"""Cut an image into tiles with halo, run a network on each, stitch the predictions back.

Along an axis, neighbouring tiles overlap by at least twice the halo, and the seam lies in the
middle of the overlap: every pixel comes from the one tile in which it lies deepest. At the borders
of the image there is no neighbour and nothing is cropped.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import DescriptorError, ImageError, InferenceError, OptionError

Size = int | tuple[int, int]
"""Sides a network takes along an axis, in px: one fixed side, or (minimum, step) for free ones."""

Run = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""A network: (1, C, h, w) to (1, C', h', w')."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where one tile reads and writes along one axis."""

    source: slice | NDArray[np.intp]  # of the image; positions where some are reflected
    kept: slice  # part of the tile's output that is kept
    target: slice  # where it goes in the stitched map


def run_tiled(
    tensor: NDArray[np.float32],
    run: Run,
    *,
    sizes: tuple[Size, Size],
    halo: tuple[int, int] = (0, 0),
    border: tuple[int, int] = (0, 0),
    limit: int = 1024,
) -> NDArray[np.float32]:
    """Run a network on a whole image, in one piece if it can be, else tile by tile.

    All tiles of a call have the same shape and are run row by row, left to right. An image with a
    side below the size needed is extended at its end (bottom, right) by reflection, repeated where
    needed, and the result is cropped. An image with a longer side is cut into tiles: for a fixed
    side the last row and column are shifted inwards so that they stay inside; for free ones tiles
    start at multiples of the step, and the last may be extended like a small image.

    Parameters
    ----------
    tensor : ndarray of float32, shape (1, C, H, W)
        Normalised image.
    run : callable
        Takes a (1, C, h, w) tile, which it must leave as it is; returns (1, C', h - 2 border,
        w - 2 border) of any float type, with the same C' for every tile.
    sizes : pair, for height and width
        The tile sides that the network takes: a fixed side, or (minimum, step).
    halo : pair of int
        Output px next to a neighbouring tile that are not to be trusted, per side of a tile.
    border : pair of int
        Px per side by which the output is smaller than the input (convolutions without padding).
        The image is then extended by as much, by reflection, so that all of it is predicted.
    limit : int
        Longest tile side in px for free sizes, rounded down to what the size allows, but never
        below its minimum. Fixed sizes do not heed it.

    Returns
    -------
    ndarray of float32, shape (C', H, W)

    Raises
    ------
    ImageError
        If the tensor is not (1, C, H, W), is empty, or has a side of less than half of the
        smallest side the network takes: reflection would invent most of what it sees.
    DescriptorError
        If sizes, halo or border make no sense, or if nothing of a fixed size is left between two
        halos.
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
    if tensor.ndim != 4 or tensor.shape[0] != 1 or not tensor.size:
        raise ImageError(
            f"image tensor has shape {_by(tensor.shape)}, expected 1 x C x H x W, none of them 0"
        )
    if limit < 1:
        raise OptionError(f"limit is {limit} px, expected a tile side of at least 1 px")
    for size, around, lost in zip(sizes, halo, border, strict=True):
        _check_axis(size, around, lost)
    shape = (tensor.shape[2], tensor.shape[3])
    _check_not_tiny(shape, sizes)
    sides = tuple(
        _side(length, size, around, lost, limit)
        for length, size, around, lost in zip(shape, sizes, halo, border, strict=True)
    )
    rows, columns = (
        _cuts(length, side, around, lost, size[1] if isinstance(size, tuple) else 1)
        for length, side, around, lost, size in zip(shape, sides, halo, border, sizes, strict=True)
    )
    due = tuple(side - 2 * lost for side, lost in zip(sides, border, strict=True))
    stitched = np.empty((0, *shape), np.float32)
    for index, (row, column) in enumerate(itertools.product(rows, columns)):
        # Axis by axis: indexing with two arrays at once is slow, and a slice costs nothing.
        tile = np.ascontiguousarray(tensor[:, :, row.source][..., column.source])
        given = tile.shape
        out = run(tile)
        channels = len(stitched) if index else max(1, *out.shape[1:2])
        if out.shape != (1, channels, *due):
            raise InferenceError(
                f"the network made {_by(out.shape)} of a tile of {_by(given)}, expected "
                f"1 x {channels if index else 'any'} x {_by(due)}: correct the sizes or the "
                "border (offset, halo) in the model's description"
            )
        if len(rows) == len(columns) == 1:
            return np.asarray(out[0, :, row.kept, column.kept], np.float32)
        if not index:
            stitched = np.empty((channels, *shape), np.float32)
        stitched[:, row.target, column.target] = out[0, :, row.kept, column.kept]
    return stitched


def _check_axis(size: Size, halo: int, border: int) -> None:
    """Refuse what a description cannot mean."""
    least, step = size if isinstance(size, tuple) else (size, 1)
    if least < 1 or step < 1 or halo < 0 or border < 0:
        raise DescriptorError(
            f"size {size}, halo {halo} and border {border} px make no sense: expected a side of at "
            "least 1, a step of at least 1, and no negative halo or border"
        )
    if not isinstance(size, tuple) and size <= 2 * (halo + border):
        lost = f"a halo of {halo} px" + (f" and a border of {border} px" if border else "")
        raise DescriptorError(
            f"a fixed size of {size} px is used up by {lost} on either side: expected more than "
            f"{2 * (halo + border)} px. Correct the halo in the model's description"
        )


def _check_not_tiny(shape: tuple[int, int], sizes: tuple[Size, Size]) -> None:
    """Refuse an image of which reflection would have to invent more than half."""
    least = [size[0] if isinstance(size, tuple) else size for size in sizes]
    if any(2 * length < needed for length, needed in zip(shape, least, strict=True)):
        raise ImageError(
            f"image is {_by(shape)}, the network takes at least {_by(least)}: reflection would "
            "have to invent more than half of it. Give images of at least "
            f"{_by([-(-needed // 2) for needed in least])} px"
        )


def _side(length: int, size: Size, halo: int, border: int, limit: int) -> int:
    """Side of the tiles along an axis of this length."""
    if not isinstance(size, tuple):
        return size
    least, step = size
    needed = least + step * max(0, -(-(length + 2 * border - least) // step))
    longest = least + step * max(0, (limit - least) // step)
    if needed > longest and longest < 2 * (halo + border) + step:
        raise OptionError(
            f"a tile of {longest} px (limit {limit} px) is used up by a halo of {halo} px and a "
            f"border of {border} px on either side: give a limit of at least "
            f"{least + step * max(0, -(-(2 * (halo + border) + step - least) // step))} px"
        )
    return min(needed, longest)


def _cuts(length: int, side: int, halo: int, border: int, step: int) -> list[_Cut]:
    """All tiles along an axis, in order; their targets partition it.

    Tiles start at multiples of the step: a network that pools would see another grid otherwise,
    and give something else than on the whole image, however deep the halo.
    """
    out = side - 2 * border
    last = -(-(length - out) // step) * step
    stride = (out - 2 * halo) // step * step
    starts = [*range(0, last, stride), last] if last > 0 else [0]
    # The seam: the middle of what two neighbours share, at least a halo away from either's end.
    seams = [(after + before + out) // 2 for before, after in itertools.pairwise(starts)]
    return [
        _Cut(
            _source(start - border, start - border + side, length),
            slice(low - start, high - start),
            slice(low, high),
        )
        for start, low, high in zip(starts, [0, *seams], [*seams, length], strict=True)
    ]


def _source(start: int, stop: int, length: int) -> slice | NDArray[np.intp]:
    """Where a tile reads: a slice, or, beyond the image, positions that are reflected into it."""
    if start >= 0 and stop <= length:
        return slice(start, stop)
    return _reflected(np.arange(start, stop), length)


def _reflected(positions: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Positions in an endless image that is mirrored at its end pixels, back in the image."""
    period = max(1, 2 * (length - 1))
    folded = positions % period
    return np.minimum(folded, period - folded)


def _by(sides: Iterable[int]) -> str:
    """Sides for an error: ``20 x 30``."""
    return " x ".join(map(str, sides))
