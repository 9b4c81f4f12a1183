"""What is found out of a model, whether or not it can be ranked."""

import json
import re
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
from families.building import built, find
from graph_models import network, node, unet
from networks import FLOAT, blur, classifier, coarse, save
from onnx import TensorProto, helper
from packages import FORMAT_05, package, sha256, zipped

from onnx_cte.bundled import bundled_models
from onnx_cte.errors import DescriptorError, GraphError, NothingToRank, OptionError
from onnx_cte.segmenters.inspection import FileFacts, inspect_model


def saved(model, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def volumes(sides=("D", "H", "W"), channels=1):
    """The U-Net of `graph_models`, on volumes and with fewer channels: bottleneck 4, stride 2."""
    rng = np.random.default_rng(0)
    weights = {
        "wa": rng.normal(0, 0.3, (2, channels, 3, 3, 3)).astype(np.float32),
        "wb": rng.normal(0, 0.3, (4, 2, 3, 3, 3)).astype(np.float32),
        "wu": rng.normal(0, 0.3, (4, 2, 2, 2, 2)).astype(np.float32),
        "wm": rng.normal(0, 0.3, (1, 4, 1, 1, 1)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["image", "wa"], ["ca"], pads=[1] * 6),
        node("Relu", ["ca"], ["a"]),
        node("Conv", ["a", "wb"], ["cb"], pads=[1] * 6, strides=[2] * 3),
        node("Relu", ["cb"], ["b"]),
        node("ConvTranspose", ["b", "wu"], ["up"], strides=[2] * 3),
        node("Concat", ["up", "a"], ["j"], axis=1),
        node("Conv", ["j", "wm"], ["map"]),
    ]
    return network(
        nodes, {"image": ["N", channels, *sides]}, {"map": ["N", 1, *[None] * 3]}, weights
    )


def test_a_bare_file(tmp_path):
    path = saved(unet(), tmp_path / "net.onnx")
    found = inspect_model(path)
    assert found.name == "net"
    assert found.files == (FileFacts("net.onnx", path.stat().st_size, sha256(path)),)
    assert (found.refused, found.unseen, found.test) == ("", "", "none")
    assert found.understood[0] == "net (bare)"
    facts = found.summary
    assert (facts.ir_version, facts.opsets, facts.nodes) == (9, (("ai.onnx", 17),), 9)
    assert facts.parameters == 36 + 4 + 288 + 128 + 288 + 4 + 4
    assert [(p.name, p.shape, p.dtype, p.default) for p in facts.inputs] == [
        ("image", ("N", 1, "H", "W"), "float32", False)
    ]
    assert [(p.name, p.shape) for p in facts.outputs] == [("map", ("N", 1, "H", "W"))]
    inside = found.inside
    assert (inside.axes, inside.output) == ("bcyx", "map")
    b, height, width = inside.bottleneck, *inside.probe[2:]
    assert (b.tensor, b.channels, b.stride) == ("b", 8, (2, 2))
    assert b.shape == (1, 8, height // 2, width // 2)
    assert [(s.name, s.tensor, s.kind) for s in inside.skips] == [("skip/1", "a", "concat")]
    assert [(t.name, t.tensor) for t in inside.taps] == [
        ("encoder/1", "a"),
        ("bottleneck", "b"),
        ("decoder/1", "d"),
    ]
    area = height * width
    # Kernel and input channels for each value: 4 of 9, 8 of 9 * 4 at a quarter of the places ...
    assert inside.encoder_macs == area * 4 * 9 + area // 4 * 8 * 36
    # ... each of the quarter's 8 values spread over 4 * 2 * 2, then 4 of 9 * 8, then 1 of 4.
    assert inside.decoder_macs == area // 4 * 8 * 16 + area * 4 * 72 + area * 4
    assert inside.engine.mode == "shared"
    assert 0 <= inside.engine.difference <= 1e-5
    assert (inside.reason, inside.undisturbable, inside.candidates) == ("", "", ())


def test_a_bundled_package():
    found = inspect_model(bundled_models() / "fibro")
    assert (found.test, found.refused) == ("passed", "")
    assert found.understood[0].startswith("Fibroblast nuclei")
    assert found.files[0].name == "weights.onnx"
    assert (found.inside.bottleneck.channels, found.inside.bottleneck.stride) == (96, (8, 8))
    assert [skip.channels for skip in found.inside.skips] == [16, 32, 64]
    assert found.inside.engine.mode == "shared"


@pytest.mark.parametrize("as_zip", [False, True])
def test_a_package_that_fails_its_own_test_is_still_looked_into(tmp_path, as_zip):
    path = package(tmp_path / "net")
    if as_zip:
        path = zipped(path, tmp_path / "net.zip")
    found = inspect_model(path)
    assert found.test == "failed"
    assert re.search("does not reproduce its own test tensors", found.refused)
    assert found.understood[0] == "Tiny network (zoo 0.5.4)"
    # Both sides are of those its description allows, 32 + n * 8 and 32 + n * 16.
    assert found.inside.probe == (1, 1, 96, 160)
    assert "single scale" in found.inside.reason


def test_a_package_on_volumes_keeps_its_axes(tmp_path):
    def change(content):
        for tensor in (*content["inputs"], *content["outputs"]):
            tensor.pop("test_tensor", None)
            at = {"tensor_id": "raw", "axis_id": "z"}
            size = at if tensor["id"] != "raw" else {"min": 10, "step": 12}
            tensor["axes"].insert(2, {"type": "space", "id": "z", "size": size})
        for channel in content["outputs"][0]["axes"][1:2]:
            channel["channel_names"] = ["nuclei"]
        for tensor in content["inputs"]:
            tensor["test_tensor"] = {"source": "test_input.npy"}
        for tensor in content["outputs"]:
            tensor["test_tensor"] = {"source": "test_output.npy"}
        content["weights"]["onnx"].pop("sha256")
        content["inputs"][0]["preprocessing"][0]["kwargs"]["axes"] = ["channel", "z", "y", "x"]

    path = package(tmp_path / "net", FORMAT_05, change)
    onnx.save(volumes(), path / "weights.onnx")
    image = np.random.default_rng(0).random((1, 1, 34, 48, 64), np.float32)
    session = onnxruntime.InferenceSession(path / "weights.onnx")
    spread = (image - image.mean()) / (image.std() + 1e-5)
    (raw,) = session.run(None, {session.get_inputs()[0].name: spread})
    np.save(path / "test_input.npy", image)
    np.save(path / "test_output.npy", 1 / (1 + np.exp(-raw)))
    found = inspect_model(path)
    assert found.refused == ""
    assert (found.test, found.inside.axes) == ("passed", "bczyx")
    # z: 10 + 2 * 12, no less than 32; y: 32 + 2 * 8; x: 32 + 2 * 16
    assert found.inside.probe == (1, 1, 34, 48, 64)
    assert found.inside.bottleneck.tensor == "b"


def test_a_network_on_volumes(tmp_path):
    found = inspect_model(saved(volumes(), tmp_path / "net.onnx"))
    assert (found.refused, found.unseen) == ("", "")
    assert "  roles   foreground, threshold 0.5" in found.understood
    inside = found.inside
    assert (inside.axes, inside.probe) == ("bczyx", (1, 1, 32, 42, 52))
    assert (inside.bottleneck.tensor, inside.bottleneck.stride) == ("b", (2, 2, 2))
    assert inside.bottleneck.shape == (1, 4, 16, 21, 26)
    assert inside.engine.mode == "shared"
    assert inside.encoder_macs > 0


def test_fixed_sides_and_channels_of_volumes_are_taken(tmp_path):
    model = volumes(sides=(16, "H", 20), channels=2)
    found = inspect_model(saved(model, tmp_path / "net.onnx"))
    assert found.inside.probe[:3] == (1, 2, 16)
    assert found.inside.probe[4] == 20


def test_a_free_number_of_channels_is_tried(tmp_path):
    model = volumes(channels=3)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "C"
    found = inspect_model(saved(model, tmp_path / "net.onnx"))
    assert found.inside.probe[1] == 3


def test_channels_last_on_volumes(tmp_path):
    model = volumes()
    perm = [node("Transpose", ["pixels"], ["image"], perm=[0, 4, 1, 2, 3])]
    nodes = [*perm, *model.graph.node]
    model = network(
        nodes,
        {"pixels": ["N", "D", "H", "W", 1]},
        {"map": ["N", 1, None, None, None]},
        {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer},
    )
    found = inspect_model(saved(model, tmp_path / "net.onnx"))
    assert (found.inside.axes, found.inside.probe) == ("bzyxc", (1, 32, 42, 52, 1))
    assert found.inside.bottleneck.tensor == "b"


@pytest.mark.parametrize("make", [classifier, partial(coarse, factor=16)])
def test_what_gives_no_map_of_the_image(tmp_path, make):
    found = inspect_model(make(tmp_path / "net.onnx"))
    assert "no output is a map of the image" in found.refused
    assert found.understood == ()
    assert "single scale" in found.inside.reason
    assert (found.inside.bottleneck, found.inside.engine) == (None, None)
    assert found.inside.probe[2:] == (96, 160)


def test_the_output_that_is_a_map_is_judged(tmp_path):
    """Decided classes cannot be ranked; of the others that of the image's size is looked at."""
    model = volumes()
    model.graph.node.extend(
        [
            node("ArgMax", ["map"], ["classes"], axis=1),
            node("ReduceMean", ["b"], ["mean"], axes=[2, 3, 4], keepdims=0),
        ]
    )
    model.graph.output.insert(0, helper.make_tensor_value_info("mean", FLOAT, [None, None]))
    integers = helper.make_tensor_value_info("classes", TensorProto.INT64, [None] * 5)
    model.graph.output.insert(0, integers)
    found = inspect_model(saved(model, tmp_path / "net.onnx"))
    assert [port.name for port in found.summary.outputs] == ["classes", "mean", "map"]
    assert [port.dtype for port in found.summary.outputs] == ["int64", "float32", "float32"]
    assert found.inside.output == "map"


def test_several_inputs_are_listed_but_not_run(tmp_path):
    shape = ["N", 1, "H", "W"]
    path = save(
        tmp_path / "net.onnx",
        [helper.make_node("Add", ["a", "b"], ["map"])],
        [("a", FLOAT, shape), ("b", FLOAT, shape)],
        [("map", FLOAT, shape)],
    )
    found = inspect_model(path)
    assert found.refused.startswith("net.onnx: wants 2 inputs (a, b); expected one, the image")
    assert found.unseen == found.refused
    assert found.inside is None
    assert [port.name for port in found.summary.inputs] == ["a", "b"]


@pytest.mark.parametrize(
    ("shape", "kind", "complaint"),
    [
        (["N", 9], FLOAT, r"input 'image' has shape \(\?, 9\), no single plane or volume"),
        ([4, 1, 8, 8], FLOAT, r"input 'image' has shape \(4, 1, 8, 8\), no single plane"),
        (["N", 1, "H", "W"], TensorProto.UINT8, "input 'image' takes uint8, expected floats"),
    ],
)
def test_what_is_no_image_is_not_run(tmp_path, shape, kind, complaint):
    path = save(
        tmp_path / "net.onnx",
        [helper.make_node("Identity", ["image"], ["map"])],
        [("image", kind, shape)],
        [("map", kind, shape)],
    )
    found = inspect_model(path)
    assert found.refused
    assert re.search(complaint, found.unseen)
    assert found.inside is None


def test_what_runs_at_no_size_tried(tmp_path):
    path = save(
        tmp_path / "net.onnx",
        [helper.make_node("Reshape", ["image", "shape"], ["map"])],
        [("image", FLOAT, ["N", 1, "H", "W"])],
        [("map", FLOAT, ["N", 1, "H", "W"])],
        [("shape", np.array([1, 1, 7, 11]))],
    )
    found = inspect_model(path)
    assert re.search(r"cannot be run at any size tried\. .*image \(1, 1, 96, 160\)", found.unseen)


def test_no_bottleneck_names_candidates_that_can_be_taken(tmp_path):
    path = blur(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.node.insert(1, node("Relu", ["f"], ["active"]))
    model.graph.node[2].input[0] = "active"
    onnx.save(model, path)
    found = inspect_model(path)
    assert found.refused == ""
    assert "single scale" in found.inside.reason
    assert "active" in [c.tensor for c in found.inside.candidates]
    assert found.inside.decoder_macs == 0
    named = inspect_model(path, at="active")
    assert named.inside.bottleneck.tensor == "active"
    assert named.inside.engine is not None


@pytest.mark.parametrize("name", ["hrnet", "single-scale"])
def test_families_without_a_bottleneck(name):
    family = find(name)
    found = inspect_model(built(family))
    assert found.inside.bottleneck is None
    assert family.refused in found.inside.reason


@pytest.mark.parametrize("name", ["unet-3d", "unet-nearest"])
def test_families_with_one(name):
    family = find(name)
    inside = inspect_model(built(family)).inside
    assert inside.bottleneck.channels == family.channels
    assert set(inside.bottleneck.stride) == {family.stride}
    assert tuple(skip.kind for skip in inside.skips) == family.skips


def test_external_data_is_among_the_files():
    path = built(find("hand-external"))
    found = inspect_model(path)
    assert [(f.name, f.sha256) for f in found.files] == [
        (name, sha256(path.parent / name)) for name in ("model.onnx", "weights.bin")
    ]
    assert found.inside.bottleneck.channels == 64


def test_control_flow_across_the_cut():
    found = inspect_model(built(find("hand-if-across")))
    assert "control flow across the cut: If" in found.inside.reason


def test_a_bottleneck_that_cannot_be_disturbed():
    inside = inspect_model(built(find("hand-silenced"))).inside
    assert inside.bottleneck is not None
    assert inside.engine is None
    assert re.search("output 'map' does not change when '.*' is disturbed", inside.undisturbable)


def test_a_slower_engine_says_why():
    inside = inspect_model(built(find("unet-quantised-dynamic"))).inside
    assert inside.engine.mode == "masked"
    assert inside.engine.fell_back == (
        "shared or expanded: DynamicQuantizeLinear takes its range over all rows of a batch",
    )


def test_weights_as_inputs_before_version_4_are_no_inputs(tmp_path):
    model = unet()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, FLOAT, tensor.dims))
    path = saved(model, tmp_path / "net.onnx")
    inputs = inspect_model(path).summary.inputs
    assert [port.default for port in inputs] == [False] + [True] * 7
    model.ir_version = 3
    saved(model, path)
    assert [port.name for port in inspect_model(path).summary.inputs] == ["image"]


@pytest.mark.parametrize(
    ("at", "complaint"),
    [
        ("bb", r"net\.onnx: .*no node that makes 'bb'; did you mean 'b'"),
        ("size", r"net\.onnx: tensor 'size' is no feature map of the image"),
        ("aside", r"net\.onnx: output 'map' does not depend on tensor 'aside'"),
    ],
)
def test_a_tensor_that_cannot_be_the_bottleneck(tmp_path, at, complaint):
    model = unet()
    model.graph.node.extend([node("Shape", ["b"], ["size"]), node("Relu", ["b"], ["aside"])])
    with pytest.raises(GraphError, match=complaint):
        inspect_model(saved(model, tmp_path / "net.onnx"), at=at)


def test_a_tensor_of_what_cannot_be_run(tmp_path):
    path = save(
        tmp_path / "net.onnx",
        [helper.make_node("Relu", ["x"], ["y"])],
        [("x", FLOAT, ["N", 3])],
        [("y", FLOAT, ["N", 3])],
    )
    with pytest.raises(GraphError, match=r"'y' cannot be taken for the bottleneck: net\.onnx: inp"):
        inspect_model(path, at="y")


def test_what_cannot_be_read_at_all(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"no network")
    with pytest.raises(GraphError, match=r"net\.onnx: is no ONNX model"):
        inspect_model(tmp_path / "net.onnx")
    with pytest.raises(NothingToRank, match="does not exist"):
        inspect_model(tmp_path / "nowhere")
    with pytest.raises(OptionError, match=r"holds 6 models; name one of them: '.*brightf"):
        inspect_model(bundled_models())
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "bioimageio.yaml").write_text("type: dataset")
    with pytest.raises(DescriptorError, match="describes no model"):
        inspect_model(tmp_path / "net")


def test_json_is_what_the_fields_say(tmp_path):
    found = inspect_model(saved(unet(), tmp_path / "net.onnx"))
    document = found.to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["format"] == 1
    assert document["summary"]["opsets"] == {"ai.onnx": 17}
    assert document["inside"]["bottleneck"]["stride"] == [2, 2]
    assert document["inside"]["engine"]["difference"] == found.inside.engine.difference
    assert {*document} == {"format", *found.__dataclass_fields__}
