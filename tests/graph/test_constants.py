import numpy as np
import onnx
import pytest
from graph_models import network, node
from onnx import helper, numpy_helper

from onnx_cte.graph.constants import Constants

ANY = [1, 1, "H", "W"]
KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


def constant(name, **value):
    return node("Constant", [], [name], **value)


def model(*nodes, weights=None):
    last = node("Relu", ["image"], ["map"])
    return network([*nodes, last], {"image": ANY}, {"map": ANY}, weights)


def test_initialisers():
    constants = Constants(model(weights={"kernel": KERNEL}))
    assert "kernel" in constants
    assert constants.shape("kernel") == (2, 3)
    np.testing.assert_array_equal(constants.value("kernel"), KERNEL)


def test_what_is_computed_or_unknown_is_none():
    constants = Constants(model())
    for name in ("image", "map", "nowhere", ""):
        assert name not in constants
        assert constants.shape(name) is None
        assert constants.value(name) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"value": numpy_helper.from_array(KERNEL)}, KERNEL),
        ({"value_float": 1.5}, np.float32(1.5)),
        ({"value_floats": [1.5, 2.5]}, np.array([1.5, 2.5], np.float32)),
        ({"value_int": 3}, np.int64(3)),
        ({"value_ints": [3, 4]}, np.array([3, 4], np.int64)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_constant_nodes(value, expected):
    constants = Constants(model(constant("c", **value)))
    found = constants.value("c")
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    assert constants.shape("c") == expected.shape
    assert "c" in constants


def test_text_is_no_constant_of_use():
    constants = Constants(model(constant("c", value_string="nearest")))
    assert constants.value("c") is None
    assert "c" not in constants


def test_through_identities():
    chain = [node("Identity", ["kernel"], ["one"]), node("Identity", ["one"], ["two"])]
    other = [constant("c", value_int=3), node("Identity", ["c"], ["three"])]
    passed = node("Identity", ["image"], ["four"])
    constants = Constants(model(*chain, *other, passed, weights={"kernel": KERNEL}))
    assert constants.shape("two") == (2, 3)
    np.testing.assert_array_equal(constants.value("two"), KERNEL)
    assert constants.value("three") == 3
    assert "four" not in constants


def test_weights_listed_as_inputs_are_constants_unless_they_are_fed():
    made = model(weights={"kernel": KERNEL})
    made.graph.input.append(helper.make_tensor_value_info("kernel", 1, [2, 3]))
    assert "kernel" in Constants(made)
    assert "kernel" not in Constants(made, fed=["kernel"])


def test_external_data_are_read_when_asked_for_and_leave_the_model_alone(tmp_path):
    path = tmp_path / "net.onnx"
    made = model(weights={"kernel": KERNEL})
    onnx.save(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    loaded = onnx.load(path, load_external_data=False)
    before = loaded.SerializeToString()
    constants = Constants(loaded, tmp_path)
    (tmp_path / "w.bin").rename(tmp_path / "away.bin")
    assert constants.shape("kernel") == (2, 3)
    (tmp_path / "away.bin").rename(tmp_path / "w.bin")
    np.testing.assert_array_equal(constants.value("kernel"), KERNEL)
    assert loaded.SerializeToString() == before
