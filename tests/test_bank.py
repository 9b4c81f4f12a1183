import numpy as np
import pytest

from onnx_cte.bank import Bank


def test_rows_must_be_aligned():
    with pytest.raises(ValueError, match="not aligned by image; lengths are a: 1, b: 2"):
        Bank({"a": [None], "b": [None, None]})


def test_an_empty_bank():
    bank = Bank({})
    assert len(bank) == 0
    assert bank.images == 0
    assert bank.column("value").shape == (0, 0)


def test_draws_serve_columns_and_rows_alike():
    bank = Bank({"a": [{"value": float(i)} for i in range(4)], "b": [None] * 4})
    drawn = bank.draw([3, 0, 3])
    assert drawn.images == 3
    assert [row["value"] for row in drawn["a"]] == [3, 0, 3]
    assert np.array_equal(drawn.column("value"), [[3, 0, 3], [np.nan] * 3], equal_nan=True)


def test_a_draw_from_a_draw_is_one_from_the_whole():
    rows = {"a": [{"value": float(i)} for i in range(4)], "b": [{"value": 9.0}, None, None, None]}
    bank = Bank(rows, {"a": [{"value": 7.0}]})
    drawn = bank.draw([3, 0, 3]).draw([1, 2, 2, 1])
    assert drawn.whole is bank
    assert drawn.images == 4
    assert drawn.indices.tolist() == [0, 3, 3, 0]
    assert drawn.counts.tolist() == [2, 0, 0, 2]
    assert [row["value"] for row in drawn["a"]] == [0, 3, 3, 0]
    nan = np.nan
    assert np.array_equal(drawn.column("value"), [[0, 3, 3, 0], [9, nan, nan, 9]], equal_nan=True)
    assert drawn.source == bank.source
    # What is derived is of the whole bank, and made once.
    made = [one.derived("images", lambda whole: whole.images) for one in (drawn, bank)]
    assert made == [4, 4]
    with pytest.raises(IndexError):
        bank.draw([3, 0, 3]).draw([3])
