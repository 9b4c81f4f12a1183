"""Arrays in chunks give what NumPy gives, and decode each chunk as seldom as they can."""

import itertools

import numpy as np
import pytest

from onnx_cte.errors import ImageError
from onnx_cte.images import chunked
from onnx_cte.images.chunked import Chunks, Deferred, regular
from onnx_cte.images.windows import thinned

SHAPE, SIZES = (3, 7, 11), (2, 3, 4)


class Spied:
    """An array in chunks that says which were decoded."""

    def __init__(self, shape=SHAPE, sizes=SIZES, **how):
        self.array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
        self.read = []
        self.edges = regular(shape, sizes)
        self.chunks = Chunks(self.array.dtype, self.edges, self.decode, **how)

    def decode(self, place):
        self.read.append(place)
        return self.array[
            tuple(slice(e[n], e[n + 1]) for e, n in zip(self.edges, place, strict=True))
        ]


def test_one_plane_by_hand():
    spied = Spied()
    plane = Deferred(spied.chunks, {0: 1})
    assert (plane.shape, plane.dtype) == ((7, 11), np.uint16)
    assert spied.read == []
    # Rows 2 and 3 lie in the chunks 0 (0 to 2) and 1 (3 to 5), columns 8 and 9 in the last.
    assert plane[2:4, 8:10].tolist() == [[107, 108], [118, 119]]
    assert spied.read == [(0, 0, 2), (0, 1, 2)]


SLICES = [slice(None), slice(1, 6), slice(0, 100), slice(2, 3), slice(None, None, 2)]
SLICES += [slice(1, None, 5), slice(4, 4), slice(-2, None)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_it_is_what_numpy_says(order):
    spied = Spied()
    ours, theirs = Deferred(spied.chunks, {}).transpose(order), spied.array.transpose(order)
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(np.asarray(ours), theirs)
    for key in itertools.product(SLICES, repeat=3):
        np.testing.assert_array_equal(ours[key], theirs[key])
    np.testing.assert_array_equal(ours[..., 1:3], theirs[..., 1:3])
    np.testing.assert_array_equal(ours[1:3, ...], theirs[1:3, ...])


def test_fixed_dimensions_are_gone():
    spied = Spied()
    plane = Deferred(spied.chunks, {1: 6, 0: 2})
    np.testing.assert_array_equal(plane[...], spied.array[2, 6])
    assert np.array(plane, dtype=np.float32, copy=True).dtype == np.float32


def test_no_index_that_is_no_slice():
    with pytest.raises(IndexError, match="expected slices"):
        Deferred(Spied().chunks, {0: 0})[3, :]


def test_planes_of_a_deep_chunk_are_decoded_once():
    spied = Spied((4, 6, 8), (4, 3, 8))
    for z in range(4):
        np.testing.assert_array_equal(Deferred(spied.chunks, {0: z})[...], spied.array[z])
    assert spied.read == [(0, 0, 0), (0, 1, 0)]


def test_only_so_many_bytes_are_kept_and_one_chunk_always(monkeypatch):
    monkeypatch.setattr(chunked, "KEPT", 2 * 3 * 8 * 2)  # two chunks
    spied = Spied((1, 9, 8), (1, 3, 8))
    plane = Deferred(spied.chunks, {0: 0})
    plane[...]
    assert [place[1] for place in spied.read] == [0, 1, 2]
    plane[3:9]
    assert len(spied.read) == 3
    plane[0:1]
    assert [place[1] for place in spied.read] == [0, 1, 2, 0]
    monkeypatch.setattr(chunked, "KEPT", 1)
    plane[3:4]
    plane[4:5]
    assert [place[1] for place in spied.read] == [0, 1, 2, 0, 1]


def test_a_chunk_that_was_written_anew_is_decoded_anew():
    written = {}
    spied = Spied(state=lambda place: written.get(place))
    plane = Deferred(spied.chunks, {0: 0})
    plane[...]
    before, decoded = plane.state(), len(spied.read)
    assert plane.state() == before
    written[0, 0, 0] = "later"
    assert plane.state() != before
    plane[...]
    assert spied.read[decoded:] == [(0, 0, 0)]


def test_a_thinned_plane_reads_each_chunk_once(monkeypatch):
    monkeypatch.setattr("onnx_cte.images.windows.THIN", 12)
    spied = Spied()
    np.testing.assert_array_equal(thinned(Deferred(spied.chunks, {0: 0})), spied.array[0, ::3, ::3])
    assert len(spied.read) == len(set(spied.read)) == 9


def test_a_chunk_that_cannot_be_decoded_is_named():
    def broken(place):
        raise KeyError("no such codec")

    plane = Deferred(Chunks(np.dtype("u1"), regular((4, 4), (2, 4)), broken), {})
    with pytest.raises(ImageError, match=r"chunk 1/0 of its pixels cannot be read: KeyError"):
        plane[3:4]


def test_a_chunk_of_another_shape_is_told():
    chunks = Chunks(np.dtype("u1"), regular((4, 4), (2, 4)), lambda place: np.zeros((2, 3)))
    with pytest.raises(ImageError, match=r"chunk 0/0 .*has shape \(2, 3\), expected \(2, 4\)"):
        Deferred(chunks, {})[0:1]
