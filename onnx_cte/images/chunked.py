"""Arrays that lie in a file chunk by chunk, of which only what is asked for is decoded."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import ImageError

KEPT = 2**28
"""Bytes of decoded chunks that are kept of an array, and at least one chunk."""

Place = tuple[int, ...]
"""Which chunk: a number a dimension, counted from 0."""


class Chunks:
    """An array in chunks; those decoded last are kept.

    A chunk may be deeper than the plane that is asked for, wider than a window, or both: walking
    the planes, or the windows, then decodes it once, as long as the chunks of a plane fit into
    `KEPT` bytes.

    Parameters
    ----------
    dtype : numpy.dtype
    edges : sequence of sequences of int
        For each dimension where its chunks begin, and last where the array ends.
    decode : callable
        From the place of a chunk to its values; whatever it raises is told as an ImageError.
    state : callable
        From the place of a chunk to what changes when it is written anew; a chunk that was kept
        is taken only as long as this is equal.
    """

    def __init__(
        self,
        dtype: np.dtype[Any],
        edges: Sequence[Sequence[int]],
        decode: Callable[[Place], NDArray[Any]],
        state: Callable[[Place], object] = lambda place: None,
    ) -> None:
        self.dtype = dtype
        self.edges = tuple(tuple(one) for one in edges)
        self.shape = tuple(one[-1] for one in self.edges)
        self.state = state
        self._decode = decode
        self._kept: OrderedDict[Place, tuple[object, NDArray[Any]]] = OrderedDict()
        self._bytes = 0

    def places(self, wanted: Sequence[range]) -> list[list[int]]:
        """For each dimension the chunks in which some of the wanted indices lie."""
        found = []
        for edges, indices in zip(self.edges, wanted, strict=True):
            # Most of the chunks, of many planes, are out of the question.
            first = bisect_right(edges, indices[0]) - 1 if indices else 0
            last = bisect_right(edges, indices[-1]) if indices else 0
            near = enumerate(pairwise(edges[first : last + 1]), start=first)
            found.append([n for n, (start, stop) in near if _within(indices, start, stop)])
        return found

    def cut(self, wanted: Sequence[range]) -> NDArray[Any]:
        """The values at these indices, as many dimensions as the array has."""
        out = np.empty([len(indices) for indices in wanted], self.dtype)
        for place in product(*self.places(wanted)):
            into, taken = [], []
            for edges, number, indices in zip(self.edges, place, wanted, strict=True):
                here = _within(indices, edges[number], edges[number + 1])
                first = (here.start - indices.start) // indices.step
                into.append(slice(first, first + len(here)))
                offset = edges[number]
                taken.append(slice(here.start - offset, here.stop - offset, here.step))
            out[tuple(into)] = self._chunk(place)[tuple(taken)]
        return out

    def _chunk(self, place: Place) -> NDArray[Any]:
        state = self.state(place)
        kept = self._kept.get(place)
        if kept is not None and kept[0] == state:
            self._kept.move_to_end(place)
            return kept[1]
        self._drop(place)
        size = [edges[n + 1] - edges[n] for edges, n in zip(self.edges, place, strict=True)]
        # Room is made before the next is decoded: it may be large.
        self._shrink(KEPT - int(np.prod(size)) * self.dtype.itemsize)
        try:
            chunk = np.asarray(self._decode(place))
        except Exception as error:
            raise ImageError(
                f"the chunk {'/'.join(map(str, place))} of its pixels cannot be read: "
                f"{type(error).__name__} {' '.join(str(error).split())}".rstrip()
            ) from error
        if list(chunk.shape) != size:
            raise ImageError(
                f"the chunk {'/'.join(map(str, place))} of its pixels has shape {chunk.shape}, "
                f"expected {tuple(size)}"
            )
        self._kept[place] = state, chunk
        self._bytes += chunk.nbytes
        return chunk

    def _drop(self, place: Place) -> None:
        gone = self._kept.pop(place, None)
        self._bytes -= 0 if gone is None else gone[1].nbytes

    def _shrink(self, most: int) -> None:
        while self._kept and self._bytes > most:
            self._drop(next(iter(self._kept)))


class Deferred:
    """A plane, volume or more of an array in chunks, read when it is cut or turned to an array.

    Behaves as a NumPy array does in what planes are used for: `shape`, `dtype`, `transpose`, and
    indexing with slices of positive steps and at most one ``...``, which reads.

    Parameters
    ----------
    chunks : Chunks
    fixed : mapping of int to int
        Dimension of the array to the one index that is taken of it.
    order : tuple of int or None
        The other dimensions, in the order of this plane; None: as they are stored.
    """

    def __init__(
        self, chunks: Chunks, fixed: Mapping[int, int], order: tuple[int, ...] | None = None
    ) -> None:
        self._chunks, self._fixed = chunks, dict(fixed)
        left = tuple(d for d in range(len(chunks.shape)) if d not in self._fixed)
        self._order = left if order is None else order

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is not fixed, in the order asked for."""
        return tuple(self._chunks.shape[dimension] for dimension in self._order)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored values."""
        return self._chunks.dtype

    def transpose(self, order: Sequence[int]) -> "Deferred":
        """The same with its dimensions in another order; nothing is read."""
        return Deferred(self._chunks, self._fixed, tuple(self._order[d] for d in order))

    def state(self) -> int:
        """What is another number, all but surely, when a chunk of it was written anew."""
        places = self._chunks.places(self._wanted([slice(None)] * len(self._order)))
        return hash(tuple(self._chunks.state(place) for place in product(*places)))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        given = list(key) if isinstance(key, tuple) else [key]
        missing = len(self._order) - sum(one is not Ellipsis for one in given)
        at = next((n for n, one in enumerate(given) if one is Ellipsis), len(given))
        slices = [*given[:at], *[slice(None)] * missing, *given[at + 1 :]]
        if len(slices) != len(self._order) or not all(isinstance(one, slice) for one in slices):
            raise IndexError(f"{key} for a plane of {len(self._order)} dimensions: expected slices")
        array = self._chunks.cut(self._wanted(slices))
        array = array.reshape([n for d, n in enumerate(array.shape) if d not in self._fixed])
        left = sorted(self._order)
        return array.transpose([left.index(dimension) for dimension in self._order])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)

    def _wanted(self, slices: Sequence[slice]) -> list[range]:
        wanted = [
            range(self._fixed.get(d, 0), self._fixed.get(d, 0) + 1)
            for d in range(len(self._chunks.shape))
        ]
        for dimension, one in zip(self._order, slices, strict=True):
            wanted[dimension] = range(*one.indices(self._chunks.shape[dimension]))
        return wanted


def regular(shape: Sequence[int], chunks: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Edges of chunks that all have one size, but for the last.

    Examples
    --------
    >>> regular((5, 4), (2, 4))
    ((0, 2, 4, 5), (0, 4))
    """
    return tuple(
        (*range(0, length, size), length) for length, size in zip(shape, chunks, strict=True)
    )


def _within(indices: range, start: int, stop: int) -> range:
    """Those of the indices, which rise, that lie from `start` on and before `stop`."""
    first = bisect_right(indices, start - 1)
    last = bisect_right(indices, stop - 1)
    return indices[first:last]
