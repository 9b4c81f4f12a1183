"""Vector fields in objects: follow one, group what ends together, and the field that masks have."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

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
_DIFFUSED = 1 << 15  # px of the masks that heat spreads in at once


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
    neighbours within the mask; the field is the direction in which the heat rises.

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
    for masks in _portions(_masks(labels)):
        _heat_up(masks, labels, flows)
    return flows.reshape(labels.ndim, *labels.shape)


@dataclass(frozen=True, slots=True)
class _Mask:
    label: int
    pixels: NDArray[np.intp]  # flat, in C order
    middle: int  # which of the pixels
    steps: int  # for how long heat spreads


def _masks(labels: Labels) -> list[_Mask]:
    """Every mask, the longest to heat first."""
    found = []
    for label, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
        where = np.nonzero(labels[box] == label)
        offsets = [place + side.start for place, side in zip(where, box, strict=True)]
        distance = sum((place - place.mean()) ** 2 for place in where)
        sides = [side.stop - side.start for side in box]
        # As Cellpose: in planes two steps a px around the box, in volumes six.
        steps = 2 * (sum(sides) + 4) if labels.ndim == 2 else 6 * (sum(sides) + 3)
        pixels = np.ravel_multi_index(offsets, labels.shape)
        found.append(_Mask(label, pixels, int(np.argmin(distance)), steps))
    return sorted(found, key=lambda mask: -mask.steps)


def _portions(masks: list[_Mask]) -> Iterator[list[_Mask]]:
    portion: list[_Mask] = []
    size = 0
    for mask in masks:
        portion.append(mask)
        size += len(mask.pixels)
        if size >= _DIFFUSED:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _heat_up(masks: list[_Mask], labels: Labels, flows: NDArray[np.float64]) -> None:
    """Write the flows of some masks, the longest to heat first, into (d, pixels)."""
    pixels = np.concatenate([mask.pixels for mask in masks])
    count = len(pixels)
    ends = np.cumsum([len(mask.pixels) for mask in masks])
    middles = np.array([mask.middle for mask in masks]) + np.concatenate([[0], ends[:-1]])
    around = _neighbours(pixels, labels)
    inside = around < count
    rows = np.concatenate([[0], np.cumsum(inside.sum(axis=1))])
    columns = around[inside]
    heat = np.zeros(count + 1)  # the last one is outside of every mask: it stays cold
    done = 0
    active = len(masks)
    while active:
        # The last active one is through first; the matrix of the others is its upper part.
        steps = masks[active - 1].steps
        size, last = ends[active - 1], rows[ends[active - 1]]
        spread = scipy.sparse.csr_array(
            (np.ones(last), columns[:last], rows[: size + 1]), shape=(size, size)
        )
        for _ in range(steps - done):
            heat[middles[:active]] += 1
            heat[:size] = (spread @ heat[:size]) / around.shape[1]
        done = steps
        while active and masks[active - 1].steps == steps:
            active -= 1
    rise = np.stack(
        [
            heat[around[:, 2 + 2 * axis]] - heat[around[:, 1 + 2 * axis]]
            for axis in range(labels.ndim)
        ]
    )
    flows[:, pixels] = rise / (1e-60 + np.sqrt(np.sum(rise**2, axis=0)))


def _neighbours(pixels: NDArray[np.intp], labels: Labels) -> NDArray[np.intp]:
    """(n, k) for each pixel which pixels of the same mask heat comes from, n where there is none.

    Itself comes first, then the one before and the one after along each dimension; in planes the
    corners too.
    """
    steps = [np.zeros(labels.ndim, np.intp)]
    for axis in range(labels.ndim):
        steps += [sign * np.eye(labels.ndim, dtype=np.intp)[axis] for sign in (-1, 1)]
    if labels.ndim == 2:
        steps += [np.array(corner, np.intp) for corner in product((-1, 1), repeat=2)]
    number = np.full(labels.size, len(pixels), np.intp)
    number[pixels] = np.arange(len(pixels))
    places = np.stack(np.unravel_index(pixels, labels.shape), axis=-1)
    flat = labels.ravel()
    around = np.empty((len(pixels), len(steps)), np.intp)
    for k, step in enumerate(steps):
        there = places + step
        within = ((there >= 0) & (there < labels.shape)).all(axis=1)
        other = np.ravel_multi_index(tuple(there.T), labels.shape, mode="clip")
        same = within & (flat[other] == flat[pixels])
        around[:, k] = np.where(same, number[other], len(pixels))
    return around
