"""The proof that an exported file gives what its network gives, on files made by hand."""

import importlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

EXPORT = Path(__file__).resolve().parent.parent / "tools" / "export"
OPSETS = [helper.make_opsetid("", 18)]


@pytest.fixture
def parity(monkeypatch):
    monkeypatch.syspath_prepend(EXPORT)
    return importlib.import_module("parity")


def doubling(path, sizes=("N", 1, "H", "W"), factor=2.0):
    """A file that gives twice its input."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
        for name in ("image", "prediction")
    ]
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [factor])
    node = helper.make_node("Mul", ["image", "two"], ["prediction"])
    graph = helper.make_graph([node], "doubling", ports[:1], ports[1:], [two])
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=OPSETS), path)
    return path


SHAPES = [(1, 1, 8, 8), (1, 1, 16, 24), (2, 1, 8, 8)]


def test_two_sizes_and_a_batch_of_two(parity):
    assert parity.shapes(1, [8, 8]) == SHAPES
    assert parity.shapes(3, [2, 4, 8]) == [(1, 3, 2, 4, 8), (1, 3, 4, 8, 24), (2, 3, 2, 4, 8)]


def test_what_is_equal_does_not_differ(parity, tmp_path):
    path = doubling(tmp_path / "a.onnx")
    found = parity.require(lambda image: image * np.float32(2), path, SHAPES)
    assert [difference.absolute for difference in found.values()] == [0.0] * 3
    line = parity.told(found).splitlines()[1]
    assert line == "  1 x 1 x 16 x 24: largest difference 0.0e+00, of outputs up to 2.0e+00"


@pytest.mark.parametrize("factor", [200.0, 2e-6])
def test_a_difference_is_of_the_largest_output(parity, tmp_path, factor):
    path = doubling(tmp_path / "a.onnx", factor=factor)
    (shape, *_) = SHAPES
    # 200 x is given where 201 x is expected: 1 of 201 of what is largest, however small that is.
    expected = np.float32(factor * 201 / 200)
    found = parity.differences(lambda image: image * expected, path, [shape])[shape]
    assert found.relative == pytest.approx(1 / 201, rel=1e-4)
    assert found.absolute == pytest.approx(found.largest / 201, rel=1e-4)
    with pytest.raises(parity.Differs, match="the file differs from the network"):
        parity.require(lambda image: image * expected, path, [shape])


def test_a_network_that_gives_nothing_proves_nothing(parity, tmp_path):
    path = doubling(tmp_path / "a.onnx", factor=0.0)
    with pytest.raises(
        parity.Differs, match=r"nothing but 0 for noise of shape .* without its last"
    ):
        parity.require(lambda image: image * np.float32(0), path, SHAPES)


@pytest.mark.parametrize("wrong", [1e-3, np.nan])
def test_a_planted_difference_in_one_pixel_is_refused_and_no_file_is_left(parity, tmp_path, wrong):
    partial = doubling(tmp_path / "a.partial")

    def run(image):
        found = image * np.float32(2)
        if image.shape == SHAPES[1]:
            found[0, 0, 3, 4] += wrong
        return found

    with pytest.raises(parity.Differs, match=r"the file differs .* at shape \(1, 1, 16, 24\)"):
        parity.keep(run, partial, tmp_path / "a.onnx", SHAPES)
    assert list(tmp_path.iterdir()) == []


def test_what_is_proven_gets_its_name(parity, tmp_path):
    partial = doubling(tmp_path / "a.partial")
    parity.keep(lambda image: image * np.float32(2), partial, tmp_path / "a.onnx", SHAPES)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_a_size_that_is_refused_or_lost(parity, tmp_path):
    path = doubling(tmp_path / "a.onnx", ("N", 1, 8, 8))
    with pytest.raises(parity.Differs, match="refuses an input of shape"):
        parity.require(lambda image: image * 2, path, SHAPES)
    found = parity.require(lambda image: image * np.float32(2), path, [SHAPES[0], SHAPES[2]])
    assert len(found) == 2
    with pytest.raises(
        parity.Differs, match=r"gives shape \(1, 1, 8, 8\) .* the network \(1, 8, 8"
    ):
        parity.require(lambda image: image[0] * 2, path, SHAPES[:1])


def test_a_fixed_size_is_proven_at_this_size_alone(parity, tmp_path):
    partial = doubling(tmp_path / "a.partial", ("N", 1, 8, 8))
    found = parity.keep(
        lambda image: image * np.float32(2),
        partial,
        tmp_path / "a.onnx",
        parity.shapes(1, [8, 8], fixed=True),
    )
    assert list(found) == [SHAPES[0], SHAPES[2]]


def test_what_is_no_valid_file(parity, tmp_path):
    partial = doubling(tmp_path / "a.partial")
    model = onnx.load(partial)
    model.graph.node[0].op_type = "Nothing"
    onnx.save(model, partial)
    with pytest.raises(parity.Differs, match="is no valid ONNX file"):
        parity.keep(lambda image: image, partial, tmp_path / "a.onnx", SHAPES)
    assert list(tmp_path.iterdir()) == []
