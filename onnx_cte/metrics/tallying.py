"""Counting the runs of two label images, by label and by pair of labels, in linear time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 18
"""Pixels looked at together: what is made of them stays in the processor's cache."""

SMALL = 1 << 16
"""Labels below it are counted in tables by label, in any image."""

Ids = NDArray[np.int64] | None
Strays = tuple[NDArray[np.int64], NDArray[np.float64]]


class Tally:
    """Sums of runs by label and by pair of labels.

    Most objects have one partner, with which they share most of their runs. These are counted in
    a table by label, in linear time; only runs shared with others are sorted.
    """

    def __init__(self) -> None:
        self.partner = np.full(1, -1, np.int64)
        self.reference = np.zeros((1, 2))  # by label: pixels not with the partner, and with it
        self.other = np.zeros(1)
        nothing: Strays = np.zeros(0, np.int64), np.zeros(0)
        self.strays = nothing  # pairs that are no partners: sorted keys of both labels, pixels
        self.waiting: list[Strays] = []
        self.size = 0

    def add(self, t: NDArray[np.int64], s: NDArray[np.int64], n: NDArray[np.float64]) -> None:
        """Count runs of n pixels that have label t in the one and s in the other image."""
        self.other = _sum(self.other, np.bincount(s, weights=n))
        more = int(t.max()) + 1 - len(self.partner)
        if more > 0:
            self.partner = np.concatenate([self.partner, np.full(more, -1, np.int64)])
        with_partner = self.partner[t] == s
        shared = (t != 0) & (s != 0)
        stray = np.flatnonzero(shared > with_partner)
        new = stray[self.partner[t[stray]] < 0]
        if new.size:
            self.partner[t[new]] = s[new]
            with_partner = self.partner[t] == s
            stray = np.flatnonzero(shared > with_partner)
        both = np.bincount(2 * t + with_partner, weights=n, minlength=2 * int(t.max()) + 2)
        self.reference = _sum(self.reference, both.reshape(-1, 2))
        if stray.size:
            self.waiting.append(_grouped((t[stray] << 32) | s[stray], n[stray]))
            self.size += stray.size
            # As much again as is held: each is moved a few times only, and few are in store.
            if self.size > max(len(self.strays[0]), BLOCK):
                self._settle()

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Labels of all pairs of objects, ascending, and the pixels they share."""
        self._settle()
        mated = np.flatnonzero(self.reference[:, 1])
        keys = np.concatenate([(mated << 32) | self.partner[mated], self.strays[0]])
        shared = np.concatenate([self.reference[mated, 1], self.strays[1]])
        order = np.argsort(keys)
        keys = keys[order]
        return keys >> 32, keys & ((1 << 32) - 1), shared[order].astype(np.int64)

    def _settle(self) -> None:
        parts = [self.strays, *self.waiting]
        keys, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        self.strays, self.waiting, self.size = _grouped(keys, counts), [], 0


def tally_of(
    reference: NDArray[np.integer],
    other: NDArray[np.integer],
    where: NDArray[np.bool_] | None = None,
) -> tuple[Tally, Ids, Ids]:
    """Tally the runs of two label images.

    Parameters
    ----------
    reference, other : ndarray of int, equal shapes, C-contiguous
        Label images.
    where : ndarray of bool, same shape, C-contiguous, optional
        Pixels to count; all without it.

    Returns
    -------
    tally : Tally
    reference_ids, other_ids : ndarray of int64, or None
        What label the tally's stand for, if they are not the images' own, in ascending order.

    Raises
    ------
    ValueError
        If a label is negative or beyond 2**63 - 1.
    """
    found = _tallied(reference, other, where)
    return _tallied_anew(reference, other, where) if found is None else (found, None, None)


def _runs(
    reference: NDArray[np.integer],
    other: NDArray[np.integer],
    where: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Labels and lengths of runs that are counted, block by block; checks every label."""
    one, two = reference.reshape(-1), other.reshape(-1)
    mask = None if where is None else where.reshape(-1)
    # Four blocks at least, but of small images, so that what is made of one is small beside them.
    size = min(BLOCK, max(BLOCK // 16, -(-one.size // 4)))
    for begin in range(0, one.size, size):
        block = slice(begin, begin + size)
        t, s = one[block], two[block]
        begins = np.empty(t.size, bool)
        begins[0] = True
        changes = begins[1:]
        np.not_equal(t[1:], t[:-1], out=changes)
        changes |= s[1:] != s[:-1]
        if mask is not None:
            # Runs outside are not counted, so their labels have to be looked at here.
            _check_labels(t)
            _check_labels(s)
            inside = mask[block]
            changes &= inside[1:]
            changes |= inside[1:] != inside[:-1]
        starts = _places(begins)
        # In float64, which holds them exactly and is what bincount would make of them.
        lengths = np.empty(len(starts))
        np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
        lengths[-1] = t.size - starts[-1]
        if mask is not None:
            counted = np.flatnonzero(inside[starts])
            starts, lengths = starts[counted], lengths[counted]
        t, s = t[starts], s[starts]
        if mask is None:
            _check_labels(t)
            _check_labels(s)
        # Mixed with int64, uint64 would become float64, in which large labels are rounded.
        yield t.astype(np.int64), s.astype(np.int64), lengths


def _places(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Where flags are set: flatnonzero, which is slow where one in a hundred to one in ten is."""
    if 8 * np.count_nonzero(flags) > flags.size:
        return np.flatnonzero(flags)
    # Eight flags at once: only words in which any is set are looked into.
    whole = flags.size // 8 * 8
    words = flags[:whole].view(np.uint64)
    found = np.flatnonzero(words != 0)
    within = np.flatnonzero(words[found].view(bool))
    places = 8 * found[within >> 3] + (within & 7)
    return np.concatenate([places, np.flatnonzero(flags[whole:]) + whole])


def _check_labels(labels: NDArray[np.integer]) -> None:
    """Raise ValueError for what is no label, in a block with at least one pixel."""
    # As unsigned numbers, negative ones are the largest: one look finds both kinds of wrong.
    size = labels.dtype.itemsize
    if int(labels.view(f"{labels.dtype.byteorder}u{size}").max()) < 1 << (8 * size - 1):
        return
    if labels.dtype.kind == "i":
        raise ValueError(
            f"label image holds {int(labels.min())}: expected 0 for background and positive "
            "labels; set what is to be ignored to 0"
        )
    if size == 8:
        raise ValueError(
            f"label image holds {int(labels.max())}: expected labels up to 2**63 - 1; number the "
            "objects anew (skimage.segmentation.relabel_sequential)"
        )


def _tallied(
    reference: NDArray[np.integer],
    other: NDArray[np.integer],
    where: NDArray[np.bool_] | None,
) -> Tally | None:
    """Tally of all runs, under their own labels, if these are small enough for tables."""
    tally, most = Tally(), max(SMALL, reference.size // 16)
    for t, s, n in _runs(reference, other, where):
        if t.size:
            if max(int(t.max()), int(s.max())) >= most:
                return None
            tally.add(t, s, n)
    return tally


def _tallied_anew(
    reference: NDArray[np.integer],
    other: NDArray[np.integer],
    where: NDArray[np.bool_] | None,
) -> tuple[Tally, Ids, Ids]:
    """Tally of all runs under places in the lists of labels that are returned with it."""
    # 0 is in both, so that background stays 0.
    known = [np.zeros(1, np.int64), np.zeros(1, np.int64)]
    waiting: list[list[NDArray[np.int64]]] = [[], []]
    for *both, _ in _runs(reference, other, where):
        for side, labels in enumerate(both):
            waiting[side].append(np.unique(labels))
            if sum(map(len, waiting[side])) > max(len(known[side]), BLOCK):
                known[side], waiting[side] = np.unique(_joined(known[side], waiting[side])), []
    names = [np.unique(_joined(ids, more)) for ids, more in zip(known, waiting, strict=True)]
    tally = Tally()
    for t, s, n in _runs(reference, other, where):
        if t.size:
            places = np.searchsorted(names[0], t), np.searchsorted(names[1], s)
            tally.add(*places, n)
    return tally, names[0], names[1]


def _joined(one: NDArray[np.int64], more: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([one, *more])


def _grouped(keys: NDArray[np.int64], counts: NDArray[np.float64]) -> Strays:
    """Keys that differ, ascending, and the sum of the counts of each."""
    if not keys.size:
        return keys, counts
    order = np.argsort(keys)
    keys = keys[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(counts[order], first)


def _sum(one: NDArray[np.float64], two: NDArray[Any]) -> NDArray[np.float64]:
    """Sum of two tables, of which the shorter goes on with zeros; the longer one is reused."""
    if len(one) < len(two):
        one, two = two, one
    one[: len(two)] += two
    return one
