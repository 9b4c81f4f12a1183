import math
import sqlite3

import numpy as np
import pytest

from onnx_cte.errors import OutputError
from onnx_cte.evidence import EvidenceStore, evidence_key


def test_what_is_put_comes_back_bit_for_bit(tmp_path):
    array = np.random.default_rng(0).random((3, 4), dtype=np.float32)
    with EvidenceStore(tmp_path / "e.sqlite") as store:
        store.put({"k": {"value": 0.1 + 0.2, "nothing": math.nan, "n": 3, "array": array}})
    with EvidenceStore(tmp_path / "e.sqlite") as store:
        found = store.get("k")
    assert found["value"] == 0.1 + 0.2
    assert math.isnan(found["nothing"])
    assert found["n"] == 3
    assert found["array"].dtype == np.float32
    assert (found["array"] == array).all()


def test_numpy_numbers_are_kept_as_numbers():
    with EvidenceStore(None) as store:
        store.put({"k": {"value": np.float32(0.5)}})
        assert store.get("k") == {"value": 0.5}


def test_unknown_keys_are_none():
    with EvidenceStore(None) as store:
        assert store.get("k") is None


def test_the_last_one_counts():
    with EvidenceStore(None) as store:
        store.put({"k": {"value": 1.0}})
        store.put({"k": {"value": 2.0}})
        assert store.get("k") == {"value": 2.0}


def test_all_of_an_image_or_nothing(tmp_path):
    with EvidenceStore(tmp_path / "e.sqlite") as store:
        with pytest.raises(TypeError):
            store.put({"a": {"value": 1.0}, "b": {"value": object()}})
        assert store.get("a") is None
        store.put({"a": {"value": 1.0}})
        assert store.get("a") == {"value": 1.0}


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a", "bc"), ("ab", "c")), (("a", 1), ("a", 2)), (("a", 1), ("a", "1")), (("a",), ("a", ""))],
)
def test_keys_tell_their_parts_apart(one, other):
    assert evidence_key(*one) != evidence_key(*other)
    assert evidence_key(*one) == evidence_key(*one)


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "e.sqlite"
    path.write_text("not a database, whatever its name says" * 100)
    with pytest.raises(OutputError, match=r"e\.sqlite cannot be used: .*move it away"):
        EvidenceStore(path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="cannot be opened"):
        EvidenceStore(tmp_path / "nowhere" / "e.sqlite")


def test_a_write_that_fails_says_so(tmp_path):
    path = tmp_path / "e.sqlite"
    with EvidenceStore(path) as store:
        other = sqlite3.connect(path)
        other.execute("DROP TABLE evidence")
        other.commit()
        other.close()
        with pytest.raises(OutputError, match=r"e\.sqlite cannot be written: no such table"):
            store.put({"k": {"value": 1.0}})


@pytest.mark.parametrize("damage", ["{", "[1]", '{"a": {"npy": "?"}}'])
def test_a_damaged_row_says_so(tmp_path, damage):
    path = tmp_path / "e.sqlite"
    with EvidenceStore(path) as store:
        store.put({"k": {"value": 1.0}})
        store._connection.execute("UPDATE evidence SET value = ?", (damage,))
        with pytest.raises(OutputError, match=r"e\.sqlite is damaged: .*; move it away"):
            store.get("k")


def test_a_table_of_somebody_else(tmp_path):
    path = tmp_path / "e.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE evidence (something TEXT)")
    other.close()
    with EvidenceStore(path) as store, pytest.raises(OutputError, match="is damaged: no such col"):
        store.get("k")


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.float16, np.float64, "<U3"])
def test_arrays_of_any_kind_and_names_come_back(tmp_path, dtype):
    arrays = {shape: np.zeros(shape, dtype) for shape in [(), (0,), (2, 0, 3), (3, 2)]}
    evidence = {"image": "ä[z=0].tif", "which": True, **{str(s): a for s, a in arrays.items()}}
    with EvidenceStore(tmp_path / "e.sqlite") as store:
        store.put({"k": evidence})
    with EvidenceStore(tmp_path / "e.sqlite") as store:
        found = store.get("k")
    assert list(found) == list(evidence)
    assert (found["image"], found["which"]) == ("ä[z=0].tif", True)
    for shape, array in arrays.items():
        assert found[str(shape)].shape == shape
        assert found[str(shape)].dtype == array.dtype
