"""Star-convex polygons: their corners, and which of many overlap too much to be two objects."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

_DIRECTIONS = 16  # in which polygons are bounded; a multiple of 4
_BLOCK = 1 << 12  # candidates whose corners are in memory at once
_PAIRS = 64  # pairs of polygons whose areas are found at once: their tables stay in the cache
_SLACK = 1e-3  # of the smaller area; bounds nearer to the threshold than this do not decide

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
    if not len(many):
        return np.zeros(0)
    origin = one.mean(axis=0, dtype=np.float64)  # small numbers keep their digits
    bottom = min(one[:, 0].min(), many[..., 0].min()) - origin[0]
    edges = _edges(one[np.newaxis] - origin, bottom)
    shared = [
        _shared(edges, _edges(many[start : start + _PAIRS] - origin, bottom))
        for start in range(0, len(many), _PAIRS)
    ]
    return np.concatenate(shared)


def _edges(polygons: NDArray[np.float64], bottom: float) -> NDArray[np.float64]:
    """Edges of m polygons as lines over the bottom: left end, right end, slope, height at 0, sign.

    The shape is (5, m, n). The sign is that of the trapezoid under the edge in the polygon's area.
    """
    y, x = polygons[..., 0] - bottom, polygons[..., 1]
    next_y, next_x = np.roll(y, -1, axis=-1), np.roll(x, -1, axis=-1)
    upright = next_x == x  # nothing lies under it
    slope = (next_y - y) / np.where(upright, 1, next_x - x)
    turn = np.sign(np.sum(x * next_y - y * next_x, axis=-1, keepdims=True))
    left, right = np.minimum(x, next_x), np.maximum(x, next_x)
    return np.stack([left, right, slope, y - slope * x, turn * np.sign(next_x - x)])


def _shared(one: NDArray[np.float64], many: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area that the polygon of the edges (5, 1, n) shares with each of those of (5, m, k)."""
    left, right, slope, height, sign = one[..., :, np.newaxis]
    other_left, other_right, other_slope, other_height, other_sign = many[..., np.newaxis, :]
    left, right = np.maximum(left, other_left), np.minimum(right, other_right)
    width = np.maximum(right - left, 0)
    # The lower of two lines is one of them less what it is above the other.
    above_left = (height - other_height) + (slope - other_slope) * left
    above_right = (height - other_height) + (slope - other_slope) * right
    positive = np.maximum(above_left, 0) + np.maximum(above_right, 0)
    spread = np.abs(above_left) + np.abs(above_right)
    excess = positive**2 / np.where(spread > 0, 2 * spread, 1)
    lower = height + slope * (left + right) / 2 - excess
    areas: NDArray[np.float64] = np.abs(np.sum(sign * other_sign * width * lower, axis=(1, 2)))
    return areas


def survivors(
    centres: NDArray[np.integer], distances: NDArray[np.float32], threshold: float
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the polygons that are kept, ascending.

    The first polygon is kept. Each later one is kept unless it shares more than `threshold` of the
    smaller of the two areas with one that was kept before.

    Here, as in the stardist package, corners are cut towards zero to whole px before areas are
    taken, which decides for objects of a few px.

    Parameters
    ----------
    centres : ndarray of int, shape (m, 2)
        Best first.
    distances : ndarray of float32, shape (m, n)
    threshold : float
        In [0, 1].

    Returns
    -------
    ndarray of int, shape (kept,)
        Empty if there is none to begin with.
    """
    count = len(centres)
    if not count:
        return np.zeros(0, np.intp)
    bounds = _Bounds(centres, distances)
    kept = []
    live = np.ones(count, np.bool_)
    for index in range(count):
        if not live[index]:
            continue
        kept.append(index)
        near = bounds.near(index)
        near = near[(near > index) & live[near]]
        shared = threshold * (np.minimum(bounds.area[index], bounds.area[near]) + 1e-10)
        least, most = bounds.shared(index, near)
        slack = _SLACK * shared
        out = least > shared + slack
        unsure = ~out & (most > shared - slack)
        if unsure.any():
            ours = _cut(centres[[index]], distances[[index]])[0]
            theirs = _cut(centres[near[unsure]], distances[near[unsure]])
            out[unsure] = overlap_area(ours, theirs) > shared[unsure]
        live[near[out]] = False
    return np.array(kept, np.intp)


def _cut(centres: NDArray[np.integer], distances: NDArray[np.float32]) -> Corners:
    cut: Corners = np.trunc(corners(centres, distances))
    return cut


class _Bounds:
    """What tells of most pairs of polygons how much they share, without clipping them.

    A polygon lies between the lines that touch it in sixteen directions. Of two, the lines bound
    what they have together: no more than the smallest rectangle common to both; and the
    polygon of the outer lines bounds their union, so that areas less it are shared at least.
    """

    def __init__(self, centres: NDArray[np.integer], distances: NDArray[np.float32]) -> None:
        angles = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
        self._directions = np.stack([np.sin(angles), np.cos(angles)])
        self._centres = centres.astype(np.float64)
        count = len(centres)
        self.area = np.empty(count)
        self._reach = np.empty((count, _DIRECTIONS), np.float32)  # from the centre, to the lines
        radius = np.empty(count)
        for part in _blocks(count):
            cut = _cut(centres[part], distances[part])
            self.area[part] = area(cut)
            spokes = np.subtract(cut, centres[part, np.newaxis], dtype=np.float32)
            y, x = np.ascontiguousarray(spokes.transpose(2, 1, 0))
            radius[part] = np.sqrt(np.max(y * y + x * x, axis=0))
            for k, (sine, cosine) in enumerate(self._directions.T.astype(np.float32)):
                self._reach[part, k] = np.max(sine * y + cosine * x, axis=0)
        self._radius = radius
        # By size, so that one huge polygon does not make every other search far.
        sizes = np.ceil(np.log2(np.maximum(radius, 1))).astype(int)
        self._sizes = []
        for size in np.unique(sizes):
            members = np.flatnonzero(sizes == size)
            tree = KDTree(self._centres[members])
            self._sizes.append((members, tree, float(radius[members].max())))

    def near(self, index: int) -> NDArray[np.intp]:
        """Indices of those that may overlap one, itself among them; in no order."""
        found = [
            members[tree.query_ball_point(self._centres[index], self._radius[index] + radius)]
            for members, tree, radius in self._sizes
        ]
        return np.concatenate(found)

    def shared(
        self, index: int, near: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and most area that one may share with each of several."""
        ours = self._reach[index].astype(np.float64)
        theirs = self._reach[near] + (self._centres[near] - self._centres[index]) @ self._directions
        inner = np.minimum(ours, theirs)
        half, quarter = _DIRECTIONS // 2, _DIRECTIONS // 4
        extent = np.maximum(inner[:, :half] + inner[:, half:], 0)
        most = np.min(extent[:, :quarter] * extent[:, quarter:], axis=1)
        outer = np.maximum(ours, theirs)
        step = 2 * np.pi / _DIRECTIONS
        around = np.roll(outer, 1, axis=1) + np.roll(outer, -1, axis=1)
        sides = (around - 2 * np.cos(step) * outer) / np.sin(step)
        union = np.sum(outer * sides, axis=1) / 2
        return self.area[index] + self.area[near] - union, most


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, _BLOCK):
        yield slice(start, start + _BLOCK)
