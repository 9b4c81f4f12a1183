"""Small pictures: an image, outlines over it, and how often pixels flip."""

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.overlay import BOTH, FOUND, TRUTH, grey, outline

if TYPE_CHECKING:
    from PIL.Image import Image as Png

SIDE = 256
"""Longest side of a picture, in pixels; larger images are reduced to it, smaller ones stay."""

LEVELS = 14
"""Shades from hardly ever flipped to always flipped."""

_HALO = 4  # around lines, so that they are seen on bright images too
_LINES = ((0, 0, 0, 0), (*FOUND, 255), (*TRUTH, 255), (*BOTH, 255), (0, 0, 0, 130))
# Brighter is more often, so that no colour has to be told from another.
_HELD = ((0, 0, 0), (90, 90, 90))
_RARE, _ALWAYS = np.array([180, 84, 140]), np.array([255, 243, 109])


def reduced_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the picture of an (H, W) plane, both at least 1.

    Examples
    --------
    >>> reduced_size((1000, 500)), reduced_size((40, 60))
    ((256, 128), (40, 60))
    """
    factor = max(max(shape) / SIDE, 1.0)
    height, width = (max(round(side / factor), 1) for side in shape)
    return height, width


def telling_slice(pixels: NDArray[Any]) -> int | None:
    """The slice of a (D, H, W) volume in which there is most to see; None of a plane.

    By the image alone, so that the same slice is shown for every model.
    """
    if pixels.ndim == 2:
        return None
    return int(np.argmax(pixels.astype(np.float64).std(axis=(1, 2))))


def ground(pixels: NDArray[Any]) -> str:
    """An (H, W) image in grey, as a data URI; each pixel is the mean of those it stands for."""
    rows, columns = _starts(pixels.shape)
    shades = grey(pixels).astype(np.float64)
    total = np.add.reduceat(np.add.reduceat(shades, rows, axis=0), columns, axis=1)
    heights = np.diff([*rows, pixels.shape[0]])
    widths = np.diff([*columns, pixels.shape[1]])
    mean = np.rint(total / np.outer(heights, widths)).astype(np.uint8)
    return _data_uri(_png(mean))


def contour(labels: NDArray[Any], truth: NDArray[np.integer] | None = None) -> str:
    """Outlines of classes or objects on a transparent ground, as a data URI.

    Parameters
    ----------
    labels : ndarray of int or bool, shape (H, W)
        0 is background.
    truth : ndarray of int or None, shape (H, W)
        Labels by people, in another colour.
    """
    rows, columns = _middles(labels.shape)
    pick = np.ix_(rows, columns)
    found = outline(labels[pick].astype(np.int64))
    marks = np.where(found, 1, 0).astype(np.uint8)
    if truth is not None:
        said = outline(truth[pick])
        marks[said] = np.where(found[said], 3, 2)
    lines = np.pad(marks > 0, 1)
    near = lines[:-2, 1:-1] | lines[2:, 1:-1] | lines[1:-1, :-2] | lines[1:-1, 2:]
    marks[near & (marks == 0)] = _HALO
    picture = _png(marks, mode="P")
    picture.putpalette([shade for colour in _LINES for shade in colour[:3]])
    return _data_uri(picture, transparency=bytes(colour[3] for colour in _LINES))


def flips(foreground: NDArray[np.bool_], share: NDArray[np.floating[Any]]) -> str:
    """How often pixels flip, as a data URI: the brighter, the more often.

    Parameters
    ----------
    foreground : ndarray of bool, shape (H, W)
        Of the undisturbed prediction: shown where nothing flips, in dark grey.
    share : ndarray of float, shape (H, W)
        Of the disturbed predictions in which a pixel's class is another, in [0, 1]. Each pixel of
        the picture shows the largest of those it stands for: flips run along borders, one pixel
        wide, and a mean would hide them.
    """
    rows, columns = _starts(share.shape)
    most = np.maximum.reduceat(np.maximum.reduceat(share, rows, axis=0), columns, axis=1)
    held = foreground[np.ix_(*_middles(share.shape))]
    levels = 1 + np.ceil(most * LEVELS).clip(1, LEVELS).astype(np.int64)
    marks = np.where(most > 0, levels, held).astype(np.uint8)
    picture = _png(marks, mode="P")
    steps = [_RARE + (_ALWAYS - _RARE) * n / (LEVELS - 1) for n in range(LEVELS)]
    palette = [*_HELD, *(tuple(np.rint(step).astype(int).tolist()) for step in steps)]
    picture.putpalette([shade for colour in palette for shade in colour])
    return _data_uri(picture)


def flipped_share(
    reference: NDArray[Any], disturbed: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.float32], float]:
    """How often each pixel's class flips, and how much of the foreground does.

    Parameters
    ----------
    reference : ndarray of int or bool
        Classes, 0 is background.
    disturbed : sequence of ndarray, same shape

    Returns
    -------
    share : ndarray of float32, same shape
        Of the disturbed ones in which the class is another; zeros if there are none.
    flipped : float
        Share of the union of both foregrounds that flips, mean over the disturbed ones; NaN where
        that union is always empty.

    Examples
    --------
    >>> one, other = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]])
    >>> flipped_share(one, [one, other])
    (array([[0. , 0.5, 0. , 0. ]], dtype=float32), 0.25)
    """
    total = np.zeros(reference.shape, np.float32)
    shares = []
    for classes in disturbed:
        differs = classes != reference
        total += differs
        union = np.count_nonzero((classes != 0) | (reference != 0))
        if union:
            shares.append(np.count_nonzero(differs) / union)
    total /= max(len(disturbed), 1)
    return total, float(sum(shares) / len(shares)) if shares else math.nan


def _starts(shape: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First row, and first column, of those that each pixel of the picture stands for."""
    rows, columns = (
        np.arange(small) * side // small
        for side, small in zip(shape, reduced_size(shape), strict=True)
    )
    return rows, columns


def _middles(shape: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The row, and the column, in the middle of them."""
    rows, columns = _starts(shape)
    middles = []
    for starts, side in zip((rows, columns), shape, strict=True):
        middles.append((starts + np.append(starts[1:], side) - 1) // 2)
    return middles[0], middles[1]


def _png(pixels: NDArray[np.uint8], mode: str | None = None) -> "Png":
    from PIL import Image  # not before there is a picture to draw

    return Image.fromarray(pixels, mode=mode)


def _data_uri(picture: "Png", **options: Any) -> str:
    """A picture as a PNG within a text."""
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True, **options)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
