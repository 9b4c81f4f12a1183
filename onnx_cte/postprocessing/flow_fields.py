"""Vector fields in objects: follow one, group what ends together, and the field that masks have."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import scipy  # its parts are imported when first used: slow, and only decoding needs them
from numpy.typing import NDArray

from onnx_cte.postprocessing.labelling import Labels

_POINTS = 1 << 15  # followed at once: their arrays stay in the cache
_CYCLE = 4  # steps; a point that is back where it was so many steps ago goes round for ever
_NEAR = 2  # px around a sink within which no other bin holds more
_SPREAD = 5  # px, how far a sink gathers bins
_FEWEST_AT_PEAK = 10  # points; a sink has more
_FEWEST_BESIDE = 2  # points; a bin that a sink gathers has more
_DIFFUSED = 1 << 15  # px of the windows that heat spreads in at once
_STRETCH = 1 << 14  # px that take a step at once: their arrays stay in the cache
_ROUNDED = 1  # binary digits after the first that are kept of a window's side
_SPARSE = 0.6  # a box that is filled less may hold more than one piece


def follow(
    flow: NDArray[np.float32], starts: NDArray[np.integer], steps: int
) -> NDArray[np.float32]:
    """Where points end that move with a field: Euler steps, linear interpolation.

    Parameters
    ----------
    flow : ndarray of float32, shape (d, *spatial), d spatial dimensions
        Step in px along each dimension.
    starts : ndarray of int, shape (n, d)
        Pixels the points start at.
    steps : int
        How many steps each takes.

    Returns
    -------
    ndarray of float32, shape (n, d)
        Positions in px; never outside of the image.

    Examples
    --------
    >>> right = np.stack([np.zeros((2, 5)), np.ones((2, 5))]).astype(np.float32)
    >>> follow(right, np.array([[1, 0], [0, 2]]), 3).tolist()
    [[1.0, 3.0], [0.0, 4.0]]
    """
    field = _Field(flow)
    ends = np.ascontiguousarray(starts.T, np.float32)
    for start in range(0, len(starts), _POINTS):
        part = ends[:, start : start + _POINTS]
        moving = np.arange(part.shape[1])
        points, before = part.copy(), None
        for step in range(steps):
            # Most points soon rest or go round; a whole number of rounds later is where they end.
            if (steps - step) % _CYCLE == 0:
                if before is not None:
                    on = (points != before).any(axis=0)
                    part[:, moving[~on]] = points[:, ~on]
                    points, moving = points[:, on], moving[on]
                before = points
            points = field.moved(points)
        part[:, moving] = points
    return ends.T


class _Field:
    """A field to be read between its pixels."""

    def __init__(self, flow: NDArray[np.float32]) -> None:
        self._steps = np.ascontiguousarray(flow, np.float32).reshape(len(flow), -1)
        self._last = [size - 1 for size in flow.shape[1:]]
        self._strides = [int(np.prod(flow.shape[axis + 1 :])) for axis in range(1, flow.ndim)]

    def moved(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Each of (d, n) points one step further."""
        low = points.astype(np.intp)
        shares = points - low.astype(np.float32)
        corners = [np.zeros(points.shape[1], np.intp)]
        for below, last, stride in zip(low, self._last, self._strides, strict=True):
            ahead = (below < last) * stride  # at the edge the next pixel is this one
            here = [corner + below * stride for corner in corners]
            corners = [at for corner in here for at in (corner, corner + ahead)]
        moved = np.empty_like(points)
        for axis, steps in enumerate(self._steps):
            values = [steps.take(corner) for corner in corners]
            for share in shares[::-1]:
                pairs = zip(values[::2], values[1::2], strict=True)
                values = [lower + (upper - lower) * share for lower, upper in pairs]
            np.clip(points[axis] + values[0], 0, self._last[axis], out=moved[axis])
        return moved


def grouped(ends: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Number of the sink that each point ends in, 0 for none.

    Points are counted by pixel. A sink is a pixel where more than ten end, and no pixel within 2 px
    along each dimension has more; it gathers the pixels where more than two end and that hang
    together with it, within 5 px. A pixel of several belongs to the one where most end; of equal
    ones, to the last in C order.

    Parameters
    ----------
    ends : ndarray of float32, shape (n, d)
        Positions within the image.
    shape : tuple of d int

    Returns
    -------
    ndarray of int32, shape (n,)
        Sinks have the numbers 1 to their count, from where fewest end to where most end.
    """
    padded = tuple(size + 2 * _SPREAD for size in shape)
    bins = np.ravel_multi_index(tuple((ends.astype(np.intp) + _SPREAD).T), padded)
    counts = np.bincount(bins, minlength=int(np.prod(padded))).reshape(padded)
    highest = scipy.ndimage.maximum_filter(counts, size=2 * _NEAR + 1, mode="constant")
    peaks = np.flatnonzero((counts == highest) & (counts > _FEWEST_AT_PEAK))
    peaks = peaks[np.argsort(counts.flat[peaks], kind="stable")]
    reach = np.arange(-_SPREAD, _SPREAD + 1)
    window = [step for step in product(reach, repeat=len(shape))]
    strides = np.cumprod([1, *padded[:0:-1]])[::-1]
    around = peaks[:, np.newaxis] + np.array(window, np.intp) @ strides
    box = (len(peaks), *[len(reach)] * len(shape))
    crowded = (counts.flat[around] > _FEWEST_BESIDE).reshape(box)
    gathered = np.zeros(box, np.bool_)
    gathered.reshape(around.shape)[:, around.shape[1] // 2] = True  # the peaks themselves
    beside = np.ones((1, *[3] * len(shape)), np.bool_)
    if len(peaks):
        gathered = scipy.ndimage.binary_dilation(gathered, beside, _SPREAD, mask=crowded)
    sink, place = np.nonzero(gathered.reshape(around.shape))
    owner = np.zeros(counts.size, np.int32)
    np.maximum.at(owner, around[sink, place], (sink + 1).astype(np.int32))
    found: NDArray[np.int32] = owner[bins]
    return found


def flows_of_masks(labels: Labels) -> NDArray[np.float64]:
    """The field that Cellpose's networks learn: from every pixel of a mask towards its middle.

    Heat comes in at the pixel of the mask that is nearest to its mean and spreads to the
    neighbours within the mask, for as many steps as Cellpose's; the field is the direction in
    which the heat rises. The work is that of the masks' boxes times their sides.

    Parameters
    ----------
    labels : ndarray of int32, shape (H, W) or (D, H, W)
        Masks are 1 to n, each with at least a pixel; 0 is outside.

    Returns
    -------
    ndarray of float64, shape (d, *spatial)
        Of length 1 within masks, 0 outside and where the heat is level.
    """
    flows = np.zeros((labels.ndim, labels.size))
    for window, masks in _portions(_masks(labels)):
        _heat_up(window, masks, labels.shape, flows)
    return flows.reshape(labels.ndim, *labels.shape)


@dataclass(frozen=True, slots=True)
class _Mask:
    first: tuple[int, ...]  # its first row, column in the image
    sides: tuple[int, ...]  # of the box around it
    pixels: NDArray[np.intp]  # those that heat can come to; flat in the image, in C order
    middle: int  # which of the pixels
    steps: int  # for how long heat spreads


def _masks(labels: Labels) -> Iterator[_Mask]:
    # Heat spreads to the corners too in planes, in volumes it does not; as Cellpose's.
    beside = scipy.ndimage.generate_binary_structure(labels.ndim, 2 if labels.ndim == 2 else 1)
    for label, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
        mask = labels[box] == label
        where = np.nonzero(mask)
        middle = np.argmin(sum((place - place.mean()) ** 2 for place in where))
        sides = mask.shape
        # As Cellpose: in planes two steps a px around the box, in volumes six.
        steps = 2 * (sum(sides) + 4) if labels.ndim == 2 else 6 * (sum(sides) + 3)
        first = [side.start for side in box]
        if len(where[0]) < _SPARSE * mask.size:
            pieces, _ = scipy.ndimage.label(mask, beside)
            warm = np.nonzero(pieces == pieces[tuple(place[middle] for place in where)])
            middle -= np.count_nonzero(pieces[where][:middle] != pieces[warm][0])
            where, lowest = warm, [int(place.min()) for place in warm]
            sides = tuple(int(np.ptp(place)) + 1 for place in warm)
            first = [start + low for start, low in zip(first, lowest, strict=True)]
            where = tuple(place - low for place, low in zip(where, lowest, strict=True))
        offsets = tuple(place + start for place, start in zip(where, first, strict=True))
        pixels = np.ravel_multi_index(offsets, labels.shape)
        yield _Mask(tuple(first), sides, pixels, int(middle), steps)


def _portions(masks: Iterator[_Mask]) -> Iterator[tuple[tuple[int, ...], list[_Mask]]]:
    """Masks whose windows are alike, the longest to heat first, and the window.

    A window is the box around the mask and an empty row and column after it.
    """
    alike: dict[tuple[int, ...], list[_Mask]] = {}
    for mask in masks:
        window = []
        for side in mask.sides:
            unit = 1 << max(side.bit_length() - 1 - _ROUNDED, 0)
            window.append(-(-side // unit) * unit + 1)
        alike.setdefault(tuple(window), []).append(mask)
    for shape, some in alike.items():
        some.sort(key=lambda mask: -mask.steps)
        share = max(_DIFFUSED // prod(shape), 1)
        for start in range(0, len(some), share):
            yield shape, some[start : start + share]


def _heat_up(
    window: tuple[int, ...],
    masks: list[_Mask],
    shape: tuple[int, ...],
    flows: NDArray[np.float64],
) -> None:
    """Write the flows of some masks, the longest to heat first, into (d, pixels).

    Their windows lie one after the other in a flat array, and an empty stretch on either side.
    """
    strides = [prod(window[axis + 1 :]) for axis in range(len(window))]
    size, margin = prod(window), 2 * strides[0]
    heat = _Heat(len(masks) * size, margin, strides)
    places = []
    for number, mask in enumerate(masks):
        at = margin + number * size - np.dot(mask.first, strides)
        for place, stride in zip(np.unravel_index(mask.pixels, shape), strides, strict=True):
            at = at + place * stride
        heat.let_in(at)
        places.append(at)
    middles = np.array([at[mask.middle] for mask, at in zip(masks, places, strict=True)])
    done, active = 0, len(masks)
    while active:
        # The last active one is through first, and its window lies after those of the others.
        for _ in range(done, masks[active - 1].steps):
            heat.spread(middles[:active], active * size)
        done = masks[active - 1].steps
        while active and masks[active - 1].steps == done:
            active -= 1
            rise = heat.rise(places[active])
            flows[:, masks[active].pixels] = rise / (1e-60 + np.sqrt(np.sum(rise**2, axis=0)))


class _Heat:
    """Heat at the places of a flat array that has an empty margin at either end.

    What mirrors each other stays equal to the last digit: opposite neighbours are added first.
    """

    def __init__(self, places: int, margin: int, strides: list[int]) -> None:
        self._margin, self._strides = margin, strides
        self._now = np.zeros(places + 2 * margin)
        self._next = np.zeros_like(self._now)
        self._share = np.zeros_like(self._now)  # of the sum over itself and the neighbours
        self._column = np.empty(_STRETCH + 2)

    def let_in(self, places: NDArray[np.intp]) -> None:
        """Heat spreads to these; all others stay cold."""
        self._share[places] = 1 / (9 if len(self._strides) == 2 else 7)

    def spread(self, middles: NDArray[np.intp], count: int) -> None:
        """One step of the first so many places, with new heat in the middles."""
        self._now[middles] += 1
        end = self._margin + count
        for start in range(self._margin, end, _STRETCH):
            stop = min(start + _STRETCH, end)
            if len(self._strides) == 2:
                self._plane(start, stop)
            else:
                self._volume(start, stop)
        self._now, self._next = self._next, self._now

    def _plane(self, start: int, stop: int) -> None:
        """The mean with all eight neighbours."""
        now, out, row = self._now, self._next[start:stop], self._strides[0]
        column = self._column[: stop - start + 2]
        np.add(now[start - 1 - row : stop + 1 - row], now[start - 1 + row : stop + 1 + row], column)
        column += now[start - 1 : stop + 1]
        np.add(column[:-2], column[2:], out)
        out += column[1:-1]
        out *= self._share[start:stop]

    def _volume(self, start: int, stop: int) -> None:
        """The mean with the six neighbours that share a face."""
        now, out, pair = self._now, self._next[start:stop], self._column[: stop - start]
        out[:] = now[start:stop]
        for stride in self._strides:
            np.add(now[start - stride : stop - stride], now[start + stride : stop + stride], pair)
            out += pair
        out *= self._share[start:stop]

    def rise(self, places: NDArray[np.intp]) -> NDArray[np.float64]:
        """(d, n) along each dimension, from the place before to the one after."""
        pairs = [self._now[places + step] - self._now[places - step] for step in self._strides]
        return np.stack(pairs)
