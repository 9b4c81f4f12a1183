"""Large planes are walked window by window."""

from math import ceil
from typing import Any

from numpy.typing import NDArray

from onnx_cte.images.stored import Pixels

LARGE = 2**23
"""Planes of more pixels than this are walked in windows."""
WINDOW = 2048
"""Side of a window in pixels; the last row and column may be smaller."""
REST = 256
"""A last window narrower than this many pixels is made part of its neighbour."""
CONTEXT = 128
"""Pixels around a window that the network may look at."""
THIN = 2**22
"""At most so many pixels remain of a whole plane from which statistics are taken."""

Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""


def boxes(rows: int, columns: int) -> tuple[Box, ...]:
    """Windows that tile a large plane, each pixel once, row by row.

    Parameters
    ----------
    rows, columns : int
        Size of the plane in pixels.

    Returns
    -------
    tuple of Box
        Empty if the plane has at most `LARGE` pixels and is taken whole.

    Examples
    --------
    >>> boxes(2048, 2048)
    ()
    >>> boxes(4300, 2100)
    ((0, 2048, 0, 2100), (2048, 4300, 0, 2100))
    """
    if rows * columns <= LARGE:
        return ()
    return tuple((*y, *x) for y in _pieces(rows) for x in _pieces(columns))


def box_name(box: Box) -> str:
    """The window as shown in names.

    Examples
    --------
    >>> box_name((0, 2048, 2048, 4096))
    'y=0:2048,x=2048:4096'
    """
    return "y={}:{},x={}:{}".format(*box)


def _pieces(length: int) -> list[tuple[int, int]]:
    """Start and stop of the windows along one dimension."""
    starts = list(range(0, length, WINDOW))
    if len(starts) > 1 and length - starts[-1] < REST:
        del starts[-1]
    return list(zip(starts, [*starts[1:], length], strict=True))


def surroundings(box: Box) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a window with its context lies in the plane, and where the window lies in that.

    Parameters
    ----------
    box : Box

    Returns
    -------
    region : tuple of two slices
        Rows and columns; the stop may lie beyond the border of the plane, which ends the context.
    window : tuple of two slices
        Rows and columns, counted from the start of the region.
    """
    top, bottom, left, right = box
    high, wide = max(top - CONTEXT, 0), max(left - CONTEXT, 0)
    region = slice(high, bottom + CONTEXT), slice(wide, right + CONTEXT)
    return region, (slice(top - high, bottom - high), slice(left - wide, right - wide))


def thinned(plane: Pixels) -> NDArray[Any]:
    """Every n-th row and column, n the smallest that leaves at most `THIN` pixels a channel.

    Parameters
    ----------
    plane : ndarray or Deferred, shape (..., H, W)

    Returns
    -------
    ndarray
        A view of an ndarray; of what lies in chunks, each is read once.
    """
    rows, columns = plane.shape[-2:]
    step = max(ceil((rows * columns / THIN) ** 0.5), 1)
    while ceil(rows / step) * ceil(columns / step) > THIN:
        step += 1
    return plane[..., ::step, ::step]
