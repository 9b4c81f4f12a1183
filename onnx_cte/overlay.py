"""A picture of objects over their image, to look at."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FOUND = (230, 159, 0)
"""Outline of what a model found: orange."""
TRUTH = (86, 180, 233)
"""Outline of labels: sky blue. Both colours are told apart by colour-blind eyes (Okabe, Ito)."""
BOTH = (255, 255, 255)
"""Where the two outlines fall together."""
SIDE = 512
"""Smaller pictures are enlarged to about this side, so that outlines stay thin beside objects."""
LOW, HIGH = 1.0, 99.8
"""Percentiles of the image that become black and white."""


def overlay(
    pixels: NDArray[Any],
    labels: NDArray[np.integer],
    truth: NDArray[np.integer] | None = None,
) -> NDArray[np.uint8]:
    """Outlines of objects over a grey image; touching objects have a line between them.

    Parameters
    ----------
    pixels : ndarray, shape (H, W) or (D, H, W), any real dtype
        Of a volume the slice is shown that holds the most of objects.
    labels : ndarray of int, same shape
        Objects found, 0 is background.
    truth : ndarray of int or None, same shape
        Labels by people.

    Returns
    -------
    ndarray of uint8, shape (k H, k W, 3)
        Enlarged by a whole k where the image is smaller than `SIDE`.

    Raises
    ------
    ValueError
        If the shapes differ, or are neither of a plane nor of a volume.

    Examples
    --------
    >>> labels = np.zeros((300, 300), int)
    >>> labels[10:20, 10:20] = 1
    >>> picture = overlay(np.zeros((300, 300)), labels)
    >>> picture.shape, tuple(map(int, picture[20, 20])), tuple(map(int, picture[30, 30]))
    ((600, 600, 3), (230, 159, 0), (0, 0, 0))
    """
    layers = [labels] if truth is None else [labels, truth]
    if pixels.ndim not in (2, 3) or any(layer.shape != pixels.shape for layer in layers):
        shapes = ", ".join(str(layer.shape) for layer in layers)
        raise ValueError(
            f"image {pixels.shape} with labels {shapes}: expected equal shapes, (H, W) or (D, H, W)"
        )
    if pixels.ndim == 3:
        covered = sum(np.count_nonzero(layer, axis=(1, 2)) for layer in layers)
        shown = int(np.argmax(covered))
        pixels, layers = pixels[shown], [layer[shown] for layer in layers]
    if not pixels.size:
        return np.zeros((*pixels.shape, 3), np.uint8)
    factor = max(1, round(SIDE / max(pixels.shape)))
    picture = np.repeat(_enlarged(grey(pixels), factor)[..., None], 3, axis=2)
    lines = [outline(_enlarged(layer, factor)) for layer in layers]
    for line, colour in zip(lines, (FOUND, TRUTH), strict=False):
        picture[line] = colour
    if truth is not None:
        picture[lines[0] & lines[1]] = BOTH
    return picture


def grey(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels, at least one, from black (0) at `LOW` to white (255) at `HIGH`, as uint8."""
    values = pixels.astype(np.float64)
    low, high = np.percentile(values, (LOW, HIGH))
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    shades: NDArray[np.uint8] = np.rint(255 * scaled).astype(np.uint8)
    return shades


def _enlarged(plane: NDArray[Any], factor: int) -> NDArray[Any]:
    return plane.repeat(factor, axis=0).repeat(factor, axis=1)


def outline(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels of an object that touch another label, or the edge of nothing: one px wide, inside."""
    padded = np.pad(labels, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    differs = np.zeros(centre.shape, bool)
    for other in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        differs |= centre != other
    line: NDArray[np.bool_] = differs & (centre != 0)
    return line
