"""Which objects overlap: counted by hand, then beside scikit-image and pixel by pixel."""

import time
from collections import Counter

import numpy as np
import pytest
from skimage.metrics import contingency_table

from onnx_cte.metrics import tallying
from onnx_cte.metrics.contingency import contingency
from onnx_cte.metrics.tallying import Tally


def plain(reference, other, where=None):
    """Every pixel put into a dictionary: the independent count."""
    kept = np.ones(reference.shape, bool) if where is None else where
    return Counter(zip(reference[kept].tolist(), other[kept].tolist(), strict=True))


def check(reference, other, where=None):
    table = contingency(reference, other, where=where)
    counts = plain(reference, other, where)
    for side, ids, areas, alone in (
        (0, table.reference_ids, table.reference_areas, table.reference_alone),
        (1, table.other_ids, table.other_areas, table.other_alone),
    ):
        wanted, lonely = Counter(), Counter()
        for pair, n in counts.items():
            wanted[pair[side]] += n
            lonely[pair[side]] += n * (pair[1 - side] == 0)
        wanted.pop(0, None)
        assert ids.tolist() == sorted(wanted)
        assert areas.tolist() == [wanted[label] for label in ids.tolist()]
        assert alone.tolist() == [lonely[label] for label in ids.tolist()]
    found = zip(
        table.reference_ids[table.rows].tolist(),
        table.other_ids[table.columns].tolist(),
        table.overlaps.tolist(),
        strict=True,
    )
    expected = sorted((t, s, n) for (t, s), n in counts.items() if t and s)
    assert list(found) == expected
    assert table.pixels == sum(counts.values())
    assert table.neither == counts[0, 0]
    arrays = [getattr(table, name) for name in table.__dataclass_fields__ if name != "pixels"]
    assert {array.dtype for array in arrays} == {np.dtype(np.int64)}
    return table


def test_by_hand():
    reference = np.array([[3, 3, 0, 0], [3, 9, 9, 0]])
    other = np.array([[1, 0, 0, 2], [1, 1, 2, 0]])
    table = contingency(reference, other)
    assert table.reference_ids.tolist() == [3, 9]
    assert table.reference_areas.tolist() == [3, 2]
    assert table.other_ids.tolist() == [1, 2]
    assert table.other_areas.tolist() == [3, 2]
    assert table.rows.tolist() == [0, 1, 1]
    assert table.columns.tolist() == [0, 0, 1]
    assert table.overlaps.tolist() == [2, 1, 1]
    assert table.reference_alone.tolist() == [1, 0]
    assert table.other_alone.tolist() == [0, 1]
    assert (table.pixels, table.neither) == (8, 2)


@pytest.mark.parametrize("shape", [(40,), (9, 11), (4, 5, 6), (1, 30), (30, 1), (2, 3, 2, 3)])
@pytest.mark.parametrize("most", [1, 2, 5, 200])
def test_every_count(shape, most):
    rng = np.random.default_rng(0)
    for _ in range(5):
        reference, other = rng.integers(0, most + 1, (2, *shape))
        check(reference, other)
        check(np.repeat(reference, 3, -1), np.repeat(other, 3, -1))
        check(reference, other, rng.random(shape) < 0.6)
        check(reference, other, np.zeros(shape, bool))


@pytest.mark.parametrize("block", [1, 2, 7, 64])
def test_blocks_change_nothing(block, monkeypatch):
    rng = np.random.default_rng(1)
    arrays = np.repeat(rng.integers(0, 6, (2, 12, 5)), 4, -1)
    monkeypatch.setattr(tallying, "BLOCK", block)
    check(*arrays)
    check(*arrays, rng.random((12, 20)) < 0.7)
    check(*arrays + (np.int64(2**33) * (arrays > 0)))


@pytest.mark.parametrize("offset", [2**16, 2**31 - 2, 2**31, 2**40, 2**63 - 8])
def test_large_labels(offset):
    rng = np.random.default_rng(2)
    small, other = rng.integers(0, 8, (2, 20, 20))
    large = small + offset * (small > 0)
    check(large, other)
    check(other, large)
    check(large, large[::-1])
    if offset < 2**32 - 8:
        check(large.astype(np.uint32), other)
    check(large.astype(np.uint64), other, rng.random(small.shape) < 0.5)


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">i4", ">u2", ">i8"]
)
def test_every_width_and_byte_order(dtype):
    rng = np.random.default_rng(3)
    top = min(int(np.iinfo(dtype).max), 2**63 - 1)
    reference = rng.choice(np.array([0, 1, top // 2, top], dtype), (15, 15))
    check(reference.astype(dtype), rng.integers(0, 4, (15, 15)))


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", ">i4"])
def test_negative_labels_of_every_width(dtype):
    reference = np.array([[0, 1, np.iinfo(dtype).min]], dtype)
    with pytest.raises(ValueError, match=f"holds {np.iinfo(dtype).min}: expected 0 for"):
        contingency(reference, np.ones((1, 3), int))


def test_negative_labels_are_found_wherever_they_are():
    good = np.ones((6, 6), int)
    for place in np.ndindex(good.shape):
        wrong = good.copy()
        wrong[place] = -5
        for where in (None, np.zeros(good.shape, bool)):
            with pytest.raises(ValueError, match="holds -5"):
                contingency(wrong, good, where=where)
            with pytest.raises(ValueError, match="holds -5"):
                contingency(good, wrong, where=where)


def test_a_mask_that_is_none_is_refused():
    good = np.ones((6, 6), int)
    for wrong in (good, np.ones((6, 5), bool)):
        with pytest.raises(ValueError, match=r"where is of .* expected a bool mask of the label"):
            contingency(good, good, where=wrong)


def test_nothing_in_it():
    for shape in ((0,), (4, 0), (5, 5)):
        table = check(np.zeros(shape, int), np.zeros(shape, np.uint8))
        assert not len(table.reference_ids)
        assert not len(table.overlaps)
        assert table.pixels == np.prod(shape)


@pytest.mark.parametrize("shape", [(50, 60), (9, 14, 20)])
def test_beside_scikit_image(shape):
    rng = np.random.default_rng(4)
    reference, other = np.repeat(rng.integers(0, 12, (2, *shape)), 3, 1)
    table = contingency(reference, other)
    theirs = contingency_table(reference, other, sparse_type="array").toarray()
    ours = np.zeros_like(theirs)
    ours[table.reference_ids[table.rows], table.other_ids[table.columns]] = table.overlaps
    ours[table.reference_ids, 0] = table.reference_alone
    ours[0, table.other_ids] = table.other_alone
    ours[0, 0] = table.neither
    np.testing.assert_array_equal(ours, theirs)


def test_strays_are_merged_as_they_come(monkeypatch):
    # Nothing but runs shared with others than the partner, of more pairs than are kept waiting.
    monkeypatch.setattr(tallying, "BLOCK", 64)
    rng = np.random.default_rng(5)
    reference, other = rng.integers(1, 40, (2, 60, 60))
    settled = []
    plain_settle = Tally._settle
    monkeypatch.setattr(
        Tally, "_settle", lambda self: (settled.append(self.size), plain_settle(self))
    )
    check(reference, other)
    assert len(settled) > 3
    assert max(settled) < 2 * 39 * 39


def test_a_hundred_thousand_objects():
    side, cell = 2048, 6
    y, x = np.indices((side, side), np.int32) // cell
    reference = y * (side // cell + 1) + x + 1
    reference[(np.indices((side, side)) % cell == 0).any(axis=0)] = 0
    other = np.roll(reference, 2, axis=1)
    for offset in (0, 2**31):
        big = np.where(reference, reference.astype(np.int64) + offset, 0)
        begun = time.process_time()
        table = contingency(big, other)
        spent = time.process_time() - begun
        assert len(table.reference_ids) == len(table.other_ids) > 100_000
        assert int(table.overlaps.sum()) == np.count_nonzero((reference > 0) & (other > 0))
        assert spent < 5  # a fraction of a second; the bound is for a machine at work elsewhere
