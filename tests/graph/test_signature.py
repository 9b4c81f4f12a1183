import numpy as np
import onnx
import pytest
from networks import FLOAT, blur, save
from onnx import helper

from onnx_cte.errors import GraphError
from onnx_cte.graph.signature import Port, read_signature


def test_a_plain_network(tmp_path):
    path = blur(tmp_path / "net.onnx")
    found = read_signature(path)
    assert found.inputs == (Port("image", (None, 1, None, None)),)
    assert found.outputs == (Port("map", (None, 1, None, None)),)
    assert found.final_ops == ("Sigmoid",)
    assert found.opset == 17
    assert found.files == (path,)


def test_inputs_with_a_default_are_not_wanted(tmp_path):
    node = helper.make_node("Mul", ["image", "mask"], ["map"])
    shape = [1, 1, 8, 8]
    path = save(
        tmp_path / "net.onnx",
        [node],
        [("image", FLOAT, shape), ("mask", FLOAT, [1])],
        [("map", FLOAT, shape)],
        [("mask", np.ones(1, np.float32))],
    )
    assert [port.name for port in read_signature(path).inputs] == ["image"]


def test_external_data_belongs_to_the_files(tmp_path):
    path = blur(tmp_path / "net.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    assert read_signature(path).files == (path, tmp_path / "net.onnx.data")
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(GraphError, match=r"its weights are in 'net\.onnx\.data', which is not"):
        read_signature(path)


def test_a_text_file_with_the_name_of_a_model(tmp_path):
    path = tmp_path / "notes.onnx"
    path.write_text("These are notes, and no network at all.\n" * 20)
    with pytest.raises(GraphError, match=r"notes\.onnx: is no ONNX model, or is truncated"):
        read_signature(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_a_truncated_file(tmp_path, share):
    path = blur(tmp_path / "net.onnx")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(GraphError, match=r"net\.onnx: (is no ONNX model|holds no ONNX graph)"):
        read_signature(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(GraphError, match=r"gone\.onnx: cannot be read: No such file"):
        read_signature(tmp_path / "gone.onnx")
