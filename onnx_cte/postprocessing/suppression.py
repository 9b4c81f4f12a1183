"""Non-maximum suppression: which of many star-convex polygons are objects of their own."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onnx_cte.postprocessing.polygons import Corners, area, corners, shared_areas

_DIRECTIONS = 16  # in which polygons are bounded; a multiple of 4
_BLOCK = 1 << 12  # candidates whose corners are in memory at once
_EXACT = 1 << 12  # pairs whose corners are in memory at once
_JUDGED = 1 << 13  # pairs that are bounded at once
_FOUND = 1 << 18  # pairs that are looked up at once
_FEWEST, _MOST = 1 << 6, 1 << 12  # candidates that are decided together
_NARROW = 8  # kept in a round; with fewer it is cheaper to decide one by one
_SLACK = 1e-3  # of the smaller area; bounds nearer to the threshold than this do not decide

Indices = NDArray[np.intp]


def survivors(
    centres: NDArray[np.integer], distances: NDArray[np.float32], threshold: float
) -> Indices:
    """Greedy non-maximum suppression: indices of the polygons that are kept, ascending.

    The first polygon is kept. Each later one is kept unless it shares more than `threshold` of the
    smaller of the two areas with one that was kept before. Polygons without an area share nothing.

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
    if not len(centres):
        return np.zeros(0, np.intp)
    polygons = _Polygons(centres, distances, threshold)
    kept = polygons.area == 0
    live = ~kept
    places: _Places | None = None
    size = _FEWEST
    while len(waiting := np.flatnonzero(live)):
        if places is None or 4 * len(waiting) < 3 * places.count:
            places = polygons.places(waiting)
        batch = waiting[:size]
        chosen, links = _kept_of(batch, polygons)
        # Few links waste little when many are decided together.
        size = max(size // 2, _FEWEST) if links > 8 * size else min(2 * size, _MOST)
        kept[chosen] = True
        live[batch] = False
        for source, target in places.near(chosen):
            polygons.strike(source, target, live)
    return np.flatnonzero(kept)


def _kept_of(batch: Indices, polygons: "_Polygons") -> tuple[Indices, int]:
    """Those of some polygons that are kept, and how many pairs of them may suppress one another.

    The polygons are ascending, and none that was kept before suppresses one of them. Those without
    an undecided better one nearby are kept together and strike out others, round by round. What is
    left when the rounds bring little, as in a row of equals, is gone through one by one.
    """
    links = []
    for one, other in polygons.places(batch).near(batch):
        later = other > one
        one, other = one[later], other[later]
        sure, unsure = polygons.judge(one, other)
        linked = sure | unsure
        links.append((one[linked], other[linked], sure[linked]))
    ones, others, sures = zip(*links, strict=True)
    source = np.searchsorted(batch, np.concatenate(ones))
    target = np.searchsorted(batch, np.concatenate(others))
    sure = np.concatenate(sures)
    count = len(source)
    kept = np.zeros(len(batch), np.bool_)
    live = np.ones(len(batch), np.bool_)
    while live.any():
        waits = np.zeros(len(batch), np.bool_)
        waits[target] = True
        top = live & ~waits
        few = np.count_nonzero(~sure) <= 4 * np.count_nonzero(live)
        if len(source) and few and np.count_nonzero(top) < _NARROW:
            struck = sure.copy()
            struck[~sure] = polygons.overlap(batch[source[~sure]], batch[target[~sure]])
            kept |= _one_by_one(live, source[struck], target[struck])
            break
        kept |= top
        live &= ~top
        ours = top[source]
        live[target[ours & sure]] = False
        ours &= ~sure & live[target]
        out = polygons.overlapped(batch[source[ours]], batch[target[ours]])
        live[np.searchsorted(batch, out)] = False
        on = live[source] & live[target]
        source, target, sure = source[on], target[on], sure[on]
    return batch[kept], count


def _one_by_one(live: NDArray[np.bool_], source: Indices, target: Indices) -> NDArray[np.bool_]:
    """Which of the live are kept, in their order, if each that is kept strikes out its targets."""
    order = np.argsort(source, kind="stable")
    target = target[order]
    starts = np.searchsorted(source[order], np.arange(len(live) + 1)).tolist()
    left = live.copy()
    for index in np.flatnonzero(live).tolist():
        if left[index]:
            left[target[starts[index] : starts[index + 1]]] = False
    return left


class _Polygons:
    """Candidates, and what tells of most pairs how much they share, without clipping them.

    A polygon lies between the lines that touch it in sixteen directions. Of two, the lines bound
    what they have together: no more than the smallest rectangle common to both; and the
    polygon of the outer lines bounds their union, so that areas less it are shared at least.
    """

    def __init__(
        self, centres: NDArray[np.integer], distances: NDArray[np.float32], threshold: float
    ) -> None:
        angles = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
        self._directions = np.stack([np.sin(angles), np.cos(angles)])
        self._centres, self._distances, self._threshold = centres, distances, threshold
        count = len(centres)
        self.area = np.empty(count)
        self.radius = np.empty(count)
        self._reach = np.empty((count, _DIRECTIONS), np.float32)  # from the centre, to the lines
        for start in range(0, count, _BLOCK):
            part = slice(start, start + _BLOCK)
            cut = self._cut(part)
            self.area[part] = area(cut)
            spokes = np.subtract(cut, centres[part, np.newaxis], dtype=np.float32)
            y, x = np.ascontiguousarray(spokes.transpose(2, 1, 0))
            self.radius[part] = np.sqrt(np.max(y * y + x * x, axis=0))
            for k, (sine, cosine) in enumerate(self._directions.T.astype(np.float32)):
                self._reach[part, k] = np.max(sine * y + cosine * x, axis=0)

    def _cut(self, which: slice | Indices) -> Corners:
        cut: Corners = np.trunc(corners(self._centres[which], self._distances[which]))
        return cut

    def places(self, which: Indices) -> "_Places":
        return _Places(self._centres, self.radius, which)

    def strike(self, source: Indices, target: Indices, live: NDArray[np.bool_]) -> None:
        """Mark as not live the targets that a source suppresses."""
        on = live[target]
        source, target = source[on], target[on]
        sure, unsure = self.judge(source, target)
        live[target[sure]] = False
        unsure &= live[target]
        live[self.overlapped(source[unsure], target[unsure])] = False

    def overlapped(self, source: Indices, target: Indices) -> Indices:
        """Targets that share too much with a source; no further ones are tried for them then."""
        found = [target[:0]]
        while len(target):
            first = np.unique(target, return_index=True)[1]
            out = self.overlap(source[first], target[first])
            found.append(target[first[out]])
            on = ~np.isin(target, found[-1])
            on[first] = False
            source, target = source[on], target[on]
        return np.concatenate(found)

    def judge(
        self, source: Indices, target: Indices
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which pairs (m,) surely share too much, and which only exact areas can decide."""
        sure, unsure = np.empty((2, len(source)), np.bool_)
        for start in range(0, len(source), _JUDGED):
            part = slice(start, start + _JUDGED)
            one, other = source[part], target[part]
            allowed = self._allowed(one, other)
            slack = _SLACK * allowed
            least, most = self._bounds(one, other)
            sure[part] = least > allowed + slack
            unsure[part] = ~sure[part] & (most > allowed - slack)
        return sure, unsure

    def overlap(self, source: Indices, target: Indices) -> NDArray[np.bool_]:
        """Which pairs (m,) share too much, by their exact areas."""
        out = np.empty(len(source), np.bool_)
        for start in range(0, len(source), _EXACT):
            part = slice(start, start + _EXACT)
            one, other = source[part], target[part]
            shared = shared_areas(self._cut(one), self._cut(other))
            out[part] = shared > self._allowed(one, other)
        return out

    def _allowed(self, source: Indices, target: Indices) -> NDArray[np.float64]:
        smaller = np.minimum(self.area[source], self.area[target])
        return np.asarray(self._threshold * (smaller + 1e-10), np.float64)

    def _bounds(
        self, source: Indices, target: Indices
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and most area that the polygons of each pair may share."""
        ours = self._reach[source].astype(np.float64)
        offsets = (self._centres[target] - self._centres[source]).astype(np.float64)
        theirs = self._reach[target] + offsets @ self._directions
        inner = np.minimum(ours, theirs)
        half, quarter = _DIRECTIONS // 2, _DIRECTIONS // 4
        extent = np.maximum(inner[:, :half] + inner[:, half:], 0)
        most = np.min(extent[:, :quarter] * extent[:, quarter:], axis=1)
        outer = np.maximum(ours, theirs, out=theirs)
        # The sum over all lines of what each has to do with itself and with the next.
        step = 2 * np.pi / _DIRECTIONS
        with_next = np.einsum("ij,ij->i", outer[:, 1:], outer[:, :-1]) + outer[:, 0] * outer[:, -1]
        with_itself = np.einsum("ij,ij->i", outer, outer)
        union = (with_next - np.cos(step) * with_itself) / np.sin(step)
        return self.area[source] + self.area[target] - union, most


class _Places:
    """Where some candidates are: those of about one size, row by row."""

    def __init__(
        self, centres: NDArray[np.integer], radius: NDArray[np.float64], which: Indices
    ) -> None:
        self.count = len(which)
        self._centres, self._radius = centres, radius
        self._corner = centres[which].min(axis=0)
        self._height, self._width = (np.ptp(centres[which], axis=0) + 1).tolist()
        # By size, so that one huge polygon does not make every other search far.
        sizes = np.ceil(np.log2(np.maximum(radius[which], 1)))
        self._sizes = []
        for size in np.unique(sizes):
            members = which[sizes == size]
            rows, columns = (centres[members] - self._corner).T
            places = rows * self._width + columns
            order = np.argsort(places)
            members = members[order]
            self._sizes.append((members, places[order], float(radius[members].max())))

    def near(self, which: Indices) -> Iterator[tuple[Indices, Indices]]:
        """Pairs, some at a time, of one of several with one of the places that may overlap it."""
        for members, places, radius in self._sizes:
            reach = self._radius[which] + radius
            row, column = (self._centres[which] - self._corner).T
            top = np.clip(np.ceil(row - reach), 0, self._height).astype(np.intp)
            below = np.clip(np.floor(row + reach) + 1, top, self._height).astype(np.intp)
            for part in _pieces(below - top, _FOUND // 8):
                of, rows = _ranges(top[part], below[part])
                of += part.start
                half = np.sqrt(np.maximum(reach[of] ** 2 - (rows - row[of]) ** 2, 0))
                left = np.clip(np.ceil(column[of] - half), 0, self._width)
                right = np.clip(np.floor(column[of] + half) + 1, left, self._width)
                start = rows * self._width
                first = np.searchsorted(places, start + left.astype(np.intp))
                last = np.searchsorted(places, start + right.astype(np.intp))
                for piece in _pieces(last - first, _FOUND):
                    at, found = _ranges(first[piece], last[piece])
                    yield which[of[piece][at]], members[found]


def _ranges(first: Indices, last: Indices) -> tuple[Indices, Indices]:
    """All numbers from each first up to its last, and the index of the range each is of."""
    counts = last - first
    of = np.repeat(np.arange(len(counts)), counts)
    skipped = np.cumsum(counts) - counts
    return of, np.arange(len(of)) + (first - skipped)[of]


def _pieces(counts: Indices, limit: int) -> Iterator[slice]:
    """Slices whose counts come to the limit or, where one alone exceeds it, that one."""
    ends = np.cumsum(counts)
    start, before = 0, 0
    while start < len(counts):
        stop = max(start + 1, int(np.searchsorted(ends, before + limit, side="right")))
        yield slice(start, stop)
        start, before = stop, int(ends[stop - 1])
