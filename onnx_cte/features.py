"""Feature maps of an image, read at pixels: whatever their stride, and however it was tiled.

A map is never enlarged to the image, which would take gigabytes; it is interpolated where somebody
looks.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Piece:
    """The map of one tile, and where in the image it lies.

    Attributes
    ----------
    values : ndarray of float32, shape (C, h, w) or (C, d, h, w)
    start : tuple of float
        The pixel, along each axis of the image, at which the map begins: negative where the image
        was extended before its begin.
    extent : tuple of float
        What the map covers along each axis, in px; its positions divide it evenly.
    pixels : tuple of slice
        The pixels for which this tile is asked: those of all pieces partition the image.
    """

    values: NDArray[np.float32]
    start: tuple[float, ...]
    extent: tuple[float, ...]
    pixels: tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """A feature map of an image, as one piece a tile.

    Attributes
    ----------
    shape : tuple of int
        Sides of the image, in px: (H, W) or (D, H, W).
    pieces : tuple of Piece
        One at least, all with the same channels.
    origin : tuple of int
        Of the image, in the coordinates of the pieces: not 0 for a window of a larger image.
        Empty: 0.

    Examples
    --------
    >>> coarse = np.array([[[0.0, 4.0]]], np.float32)  # one channel, 1 x 2 positions
    >>> features = FeatureMap.of(coarse, (2, 4))
    >>> features.at([[0, 0], [0, 1], [1, 2], [1, 3]])[:, 0].tolist()
    [0.0, 1.0, 3.0, 4.0]
    >>> features.mean().tolist()
    [2.0]
    """

    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]
    origin: tuple[int, ...] = ()

    @classmethod
    def of(cls, values: NDArray[np.float32], shape: Sequence[int]) -> "FeatureMap":
        """The map (C, h, w) of a whole image with the sides `shape`, in one piece."""
        sides = tuple(shape)
        whole = tuple(slice(0, side) for side in sides)
        return cls(sides, (Piece(values, (0,) * len(sides), sides, whole),))

    @property
    def channels(self) -> int:
        return len(self.pieces[0].values)

    def at(self, positions: "NDArray[np.integer] | Sequence[Sequence[int]]") -> NDArray[np.float32]:
        """Features at pixels, by linear interpolation (`align_corners=False`, edges repeated).

        Parameters
        ----------
        positions : array of int, shape (N, 2) or (N, 3)
            Pixels of the image: rows of (y, x), or (z, y, x).

        Returns
        -------
        ndarray of float32, shape (N, C)

        Raises
        ------
        IndexError
            If a position lies outside the image.
        """
        wanted = np.asarray(positions, dtype=np.intp).reshape(-1, len(self.shape))
        if ((wanted < 0) | (wanted >= self.shape)).any():
            raise IndexError(f"a position lies outside the image of {self.shape} px")
        if self.origin:
            wanted = wanted + np.array(self.origin, dtype=np.intp)
        found = np.empty((len(wanted), self.channels), np.float32)
        for piece in self.pieces:
            if len(self.pieces) == 1:
                return _interpolated(piece, wanted)
            low = [part.start for part in piece.pixels]
            high = [part.stop for part in piece.pixels]
            here = ((wanted >= low) & (wanted < high)).all(axis=1)
            if here.any():
                found[here] = _interpolated(piece, wanted[here])
        return found

    def mean(self) -> NDArray[np.float64]:
        """Mean of each channel over the positions whose centres lie in the image, shape (C,).

        An image too small to hold the centre of any position has the features of its middle.
        """
        total, count = np.zeros(self.channels), 0
        origin = self.origin or (0,) * len(self.shape)
        image = [slice(low, low + side) for low, side in zip(origin, self.shape, strict=True)]
        for piece in self.pieces:
            held = tuple(
                _held(piece, axis, (asked, whole))
                for axis, (asked, whole) in enumerate(zip(piece.pixels, image, strict=True))
            )
            part = piece.values[(slice(None), *held)]
            positions = math.prod(part.shape[1:])
            if positions:
                total += part.reshape(len(part), -1).sum(axis=1, dtype=np.float64)
                count += positions
        if not count:
            middle = self.at([[side // 2 for side in self.shape]])[0]
            return np.asarray(middle, np.float64)
        means: NDArray[np.float64] = total / count
        return means

    def window(self, inner: Sequence[slice]) -> "FeatureMap":
        """The part of the image within slices, one an axis, with positions counted from there."""
        bounds = [part.indices(side)[:2] for part, side in zip(inner, self.shape, strict=True)]
        sides = tuple(high - low for low, high in bounds)
        return FeatureMap(sides, self.pieces, tuple(low for low, _ in bounds))


def _coordinates(piece: Piece, axis: int, pixels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Where pixels lie between the positions of a map along an axis; 0 is the first's centre."""
    scale = piece.values.shape[axis + 1] / piece.extent[axis]
    where: NDArray[np.float64] = (pixels - piece.start[axis] + 0.5) * scale - 0.5
    return where


def _held(piece: Piece, axis: int, ranges: Sequence[slice]) -> slice:
    """Positions along an axis whose centres lie within all ranges of pixels."""
    side = piece.values.shape[axis + 1]
    step = piece.extent[axis] / side
    # The centre of position k lies at start + (k + 1/2) step, pixel p from p to p + 1.
    first = max(math.ceil((r.start - piece.start[axis]) / step - 0.5) for r in ranges)
    last = min(math.ceil((r.stop - piece.start[axis]) / step - 0.5) for r in ranges)
    return slice(max(first, 0), min(max(last, 0), side))


def _interpolated(piece: Piece, positions: NDArray[np.intp]) -> NDArray[np.float32]:
    """Features of a piece at pixels (N, axes), shape (N, C)."""
    corners: list[tuple[tuple[NDArray[np.intp], NDArray[np.float32]], ...]] = []
    for axis in range(positions.shape[1]):
        last = piece.values.shape[axis + 1] - 1
        where = np.clip(_coordinates(piece, axis, positions[:, axis]), 0, last)
        low = np.minimum(where.astype(np.intp), max(last - 1, 0))
        share = (where - low).astype(np.float32)
        corners.append(((low, 1 - share), (np.minimum(low + 1, last), share)))
    found = np.zeros((len(positions), len(piece.values)), np.float32)
    for corner in itertools.product(*corners):
        weight = np.prod([share for _, share in corner], axis=0)
        if weight.any():
            places: tuple[Any, ...] = (slice(None), *(at for at, _ in corner))
            # A network may give what is not finite: it is for the reader to refuse it.
            with np.errstate(invalid="ignore", over="ignore"):
                found += weight[:, None] * piece.values[places].T
    return found
