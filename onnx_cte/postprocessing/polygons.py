"""Star-convex polygons: their corners, their areas and what two of them share."""

import numpy as np
from numpy.typing import NDArray

_PAIRS = 1 << 7  # pairs of polygons whose areas are found at once: their tables stay in the cache

Corners = NDArray[np.float32]  # (..., n, 2): row and column


def corners(centres: NDArray[np.integer], distances: NDArray[np.float32]) -> Corners:
    """Corners of polygons given by rays from their centres.

    Ray k of n leaves the centre at the angle ``2 pi k / n`` from the direction of the columns
    towards the rows: ray 0 points right, ray n / 4 points down.

    Parameters
    ----------
    centres : ndarray of int, shape (m, 2)
        Row and column in px.
    distances : ndarray of float32, shape (m, n)
        Length of each ray in px.

    Returns
    -------
    ndarray of float32, shape (m, n, 2)
        Row and column of each corner; no polygons give no corners.

    Examples
    --------
    >>> square = corners(np.array([[5, 5]]), np.array([[2, 3, 2, 2]], np.float32))
    >>> np.round(square).tolist()
    [[[5.0, 7.0], [8.0, 5.0], [5.0, 3.0], [3.0, 5.0]]]
    """
    angles = np.linspace(0, 2 * np.pi, distances.shape[1], endpoint=False)
    turns = np.stack([np.sin(angles), np.cos(angles)], axis=-1).astype(np.float32)
    found: Corners = distances[..., np.newaxis] * turns + centres[:, np.newaxis].astype(np.float32)
    return found


def area(polygons: NDArray[np.floating]) -> NDArray[np.float64]:
    """Area in px^2 of simple polygons, shape (..., n, 2) -> (...).

    Examples
    --------
    >>> area(np.array([[0.0, 0.0], [0.0, 4.0], [3.0, 0.0]])).item()
    6.0
    """
    y, x = np.moveaxis(polygons.astype(np.float64), -1, 0)
    doubled = np.sum(x * np.roll(y, -1, axis=-1) - y * np.roll(x, -1, axis=-1), axis=-1)
    return np.asarray(np.abs(doubled) / 2, np.float64)


def overlap_area(one: NDArray[np.floating], many: NDArray[np.floating]) -> NDArray[np.float64]:
    """Exact area in px^2 that a simple polygon shares with each of several others.

    A polygon is the signed sum of the trapezoids between its edges and a line below all of it, so
    the shared area is the signed sum of what two trapezoids share, over all pairs of edges. No
    corner is found, so touching and coinciding edges need no care.

    Parameters
    ----------
    one : ndarray of float, shape (n, 2)
        Corners in order, either way round.
    many : ndarray of float, shape (m, k, 2)
        Corners of the others.

    Returns
    -------
    ndarray of float64, shape (m,)

    Examples
    --------
    >>> square = np.array([[0.0, 0.0], [0.0, 2.0], [2.0, 2.0], [2.0, 0.0]])
    >>> overlap_area(square, np.stack([square, square + 1, square + [0, 5]])).tolist()
    [4.0, 1.0, 0.0]
    """
    return shared_areas(np.broadcast_to(one, (len(many), *one.shape)), many)


def shared_areas(ones: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """(m,) area that each of the polygons (m, n, 2) shares with the one of (m, k, 2).

    As `overlap_area`, pair by pair; no pairs share nothing.
    """
    parts = [slice(start, start + _PAIRS) for start in range(0, len(ones), _PAIRS)]
    return np.concatenate([np.zeros(0), *(_shared(ones[part], others[part]) for part in parts)])


def _shared(ones: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    # Small numbers keep their digits; a whole origin keeps whole corners whole.
    origin = np.floor(ones.mean(axis=1, keepdims=True, dtype=np.float64))
    low = np.minimum(ones[..., 0].min(axis=1), others[..., 0].min(axis=1))
    bottom = low[:, np.newaxis] - origin[..., 0]
    our_ends, ours = _edges(ones.astype(np.float64) - origin, bottom)
    their_ends, theirs = _edges(others.astype(np.float64) - origin, bottom)
    # Of most pairs of edges neither lies above the other: only the rest is gone through.
    (left, right), (other_left, other_right) = our_ends[..., np.newaxis], their_ends[:, :, None]
    pairs = np.flatnonzero((left < other_right) & (other_left < right))
    which, theirs_at = np.divmod(pairs, others.shape[1])
    polygon = which // ones.shape[1]
    left, right, slope, height, sign = ours[:, which]
    other = theirs[:, polygon * others.shape[1] + theirs_at]
    left, right = np.maximum(left, other[0]), np.minimum(right, other[1])
    # The lower of two lines is one of them less what it is above the other.
    slopes, heights = slope - other[2], height - other[3]
    above_left, above_right = heights + slopes * left, heights + slopes * right
    positive = np.maximum(above_left, 0) + np.maximum(above_right, 0)
    spread = np.abs(above_left) + np.abs(above_right)
    excess = positive**2 / np.where(spread > 0, 2 * spread, 1)
    lower = height + slope * (left + right) / 2 - excess
    parts = sign * other[4] * (right - left) * lower
    return np.abs(np.bincount(polygon, weights=parts, minlength=len(ones)))


def _edges(
    polygons: NDArray[np.float64], bottom: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Edges of m polygons as lines over the bottom (m, 1).

    First (2, m, n) the left and right ends, an upright edge's so that nothing lies between them.
    Then (5, m * n) left end, right end, slope, height at 0, sign: that of the trapezoid under the
    edge in the polygon's area.
    """
    y, x = polygons[..., 0] - bottom, polygons[..., 1]
    next_y, next_x = np.roll(y, -1, axis=-1), np.roll(x, -1, axis=-1)
    upright = next_x == x  # nothing lies under it
    slope = (next_y - y) / np.where(upright, 1, next_x - x)
    turn = np.sign(np.sum(x * next_y - y * next_x, axis=-1, keepdims=True))
    left, right = np.minimum(x, next_x), np.maximum(x, next_x)
    ends = np.stack([np.where(upright, np.inf, left), right]).astype(np.float32)
    lines = np.stack([left, right, slope, y - slope * x, turn * np.sign(next_x - x)])
    return ends, lines.reshape(5, -1)
