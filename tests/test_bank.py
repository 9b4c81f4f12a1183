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
    with pytest.raises(ValueError, match="draw from the whole bank"):
        drawn.draw([0])
