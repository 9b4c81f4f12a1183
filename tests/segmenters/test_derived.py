"""Models with a mask input, and models in two: proven before they are written."""

import os
import re

import numpy as np
import onnx
import onnxruntime
import pytest
from families.building import built, find
from graph_models import distance, drawn, node, run, unet
from networks import blur
from packages import package, sha256, zipped

from onnx_cte.bundled import bundled_models
from onnx_cte.errors import GraphError, OptionError, OutputError
from onnx_cte.graph.signature import load_graph
from onnx_cte.segmenters import derived
from onnx_cte.segmenters.derived import write_masked, write_split

IMAGE = drawn((1, 1, 16, 24))


def saved(model, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def ran(path, feeds):
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


@pytest.fixture
def net(tmp_path):
    return saved(unet(), tmp_path / "from" / "net.onnx")


def test_a_mask_drops_channels_of_the_bottleneck(net, tmp_path):
    made = write_masked(net, tmp_path / "to" / "masked.onnx")
    assert os.listdir(tmp_path / "to") == ["masked.onnx"]
    assert (made.tap.tensor, made.mask, made.shape) == ("b", "mask", (1, 8, 1, 1))
    assert (made.source, made.output) == ("image", "map")
    assert made.unchanged == 0
    assert made.changed > 0.01
    expected = run(unet(), {"image": IMAGE})["map"]
    np.testing.assert_array_equal(ran(made.path, {"image": IMAGE})["map"], expected)
    mask = np.ones(made.shape, np.float32)
    mask[0, [1, 4]] = 0
    dropped = unet()  # the same by hand: what those channels weigh is nothing
    wu = next(t for t in dropped.graph.initializer if t.name == "wu")
    weights = onnx.numpy_helper.to_array(wu).copy()
    weights[[1, 4]] = 0
    wu.CopyFrom(onnx.numpy_helper.from_array(weights, "wu"))
    by_hand = run(dropped, {"image": IMAGE})["map"]
    assert distance(ran(made.path, {"image": IMAGE, "mask": mask})["map"], by_hand) < 1e-6
    assert distance(by_hand, expected) > 0.01


def test_another_tap_and_another_name(net, tmp_path):
    made = write_masked(net, tmp_path / "out.onnx", tap="skip/1", name="keep")
    assert (made.tap.tensor, made.mask, made.shape) == ("a", "keep", (1, 4, 1, 1))
    named = write_masked(net, tmp_path / "out.onnx", at="d")
    assert (named.tap.name, named.tap.tensor, named.shape) == ("bottleneck", "d", (1, 4, 1, 1))


def test_one_mask_for_each_image_of_a_batch(net, tmp_path):
    made = write_masked(net, tmp_path / "out.onnx")
    images = drawn((3, 1, 16, 24), seed=1)
    masks = (np.random.default_rng(0).random((3, *made.shape[1:])) < 0.5).astype(np.float32)
    together = ran(made.path, {"image": images, "mask": masks})["map"]
    for i in range(3):
        alone = ran(made.path, {"image": images[i : i + 1], "mask": masks[i : i + 1]})["map"]
        assert distance(together[i : i + 1], alone) < 1e-6


def test_two_parts_are_the_whole(net, tmp_path):
    made = write_split(net, tmp_path / "parts")
    assert sorted(os.listdir(tmp_path / "parts")) == ["decoder.onnx", "encoder.onnx"]
    assert made.difference == 0
    assert made.outputs == ("map",)
    height, width = made.probe[2:]
    assert [(c.tensor, c.shape, c.dtype) for c in made.crossing] == [
        ("b", (1, 8, height // 2, width // 2), "float32"),
        ("a", (1, 4, height, width), "float32"),
    ]
    between = ran(made.encoder, {"image": IMAGE})
    assert list(between) == ["b", "a"]
    np.testing.assert_array_equal(
        ran(made.decoder, between)["map"], run(unet(), {"image": IMAGE})["map"]
    )


def test_both_parts_elsewhere_than_at_the_bottleneck(net, tmp_path):
    made = write_split(net, tmp_path / "parts", at="d")
    assert [c.tensor for c in made.crossing] == ["d"]


def test_outputs_of_the_encoder_stay_with_it(tmp_path):
    path = built(find("unet-bottleneck-output"))
    made = write_split(path, tmp_path)
    assert len(load_graph(path).graph.output) == 2
    assert len(made.outputs) == 1


@pytest.mark.parametrize(
    "name", ["unet-3d", "unet-half", "unet-match-dynamic", "hand-channels-last-outer", "hand-twice"]
)
def test_families(name, tmp_path):
    family = find(name)
    masked = write_masked(built(family), tmp_path / "masked.onnx")
    assert masked.unchanged <= 1e-3
    assert masked.changed > 1e-2
    assert masked.shape == (1, family.channels, *[1] * (len(family.probe) - 2))
    made = write_split(built(family), tmp_path)
    assert made.difference <= (1e-2 if name == "unet-half" else 1e-5)
    for path in (masked.path, made.encoder, made.decoder):
        onnx.checker.check_model(str(path))


def test_external_data(tmp_path):
    path = built(find("hand-external"))
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    masked = write_masked(path, tmp_path / "masked.onnx")
    write_split(path, tmp_path)
    assert sorted(os.listdir(tmp_path)) == [
        *("decoder.onnx", "decoder.onnx.data", "encoder.onnx", "encoder.onnx.data"),
        *("masked.onnx", "masked.onnx.data"),
    ]
    image = drawn((1, 1, 96, 160))
    expected = ran(path, {"image": image})["map"]
    np.testing.assert_array_equal(ran(masked.path, {"image": image})["map"], expected)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_of_a_package_the_weights_are_taken(tmp_path):
    package_ = bundled_models() / "fibro"
    archive = zipped(package_, tmp_path / "fibro.zip")
    image = drawn((1, 1, 72, 80))
    expected = ran(package_ / "weights.onnx", {"image": image})["foreground"]
    for source in (package_, archive):
        made = write_masked(source, tmp_path / "masked.onnx")
        assert made.shape == (1, 96, 1, 1)
        np.testing.assert_array_equal(ran(made.path, {"image": image})["foreground"], expected)
    assert sorted(os.listdir(tmp_path)) == ["fibro.zip", "masked.onnx"]


def test_the_proofs_can_fail(net, tmp_path, monkeypatch):
    """Other weights than those of the model are noticed, in what is written of each kind."""

    def wrongly(model, path, folder):
        tensor = next(t for t in model.graph.initializer if t.name.startswith("w"))
        array = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array * np.float32(1.001), tensor.name))
        onnx.save(model, path)

    monkeypatch.setattr(derived, "write_model", wrongly)
    older = {"masked.onnx": b"an older one", "encoder.onnx": b"and another"}
    (tmp_path / "out").mkdir()
    for name, content in older.items():
        (tmp_path / "out" / name).write_bytes(content)
    with pytest.raises(GraphError, match=r"net\.onnx: with a mask of ones on 'b' its outputs diff"):
        write_masked(net, tmp_path / "out" / "masked.onnx")
    with pytest.raises(GraphError, match=r"net\.onnx: cut in two it differs by .*; nothing was wr"):
        write_split(net, tmp_path / "out")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == older


def test_a_mask_that_changes_nothing(tmp_path):
    with pytest.raises(GraphError, match=r"output 'map' does not change when channels of '.*' are"):
        write_masked(built(find("hand-silenced")), tmp_path / "out.onnx")
    assert os.listdir(tmp_path) == []


def test_a_second_output_is_compared_too(tmp_path, monkeypatch):
    model = unet()
    model.graph.node.append(node("Identity", ["up"], ["second"]))
    model.graph.output.append(onnx.ValueInfoProto(name="second"))
    model.graph.output[1].type.CopyFrom(model.graph.output[0].type)
    model.graph.output[1].type.tensor_type.shape.dim[1].dim_value = 4
    path = saved(model, tmp_path / "net.onnx")
    write_masked(path, tmp_path / "masked.onnx")

    def wrongly(model, path, folder):
        made = next(n for n in model.graph.node if n.output[0] == "second")
        made.op_type = "Neg"
        onnx.save(model, path)

    monkeypatch.setattr(derived, "write_model", wrongly)
    with pytest.raises(GraphError, match="its outputs differ by 2"):
        write_masked(path, tmp_path / "masked.onnx")


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"tap": "skip/2"}, OptionError, r"net\.onnx: unknown tap 'skip/2': did you mean 'skip/1'"),
        ({"at": "bb"}, GraphError, r"net\.onnx: .*makes 'bb'; did you mean 'b'"),
        ({"name": "a"}, GraphError, r"net\.onnx: .*value named 'a' already; give the mask input"),
        ({"name": ""}, OptionError, "the mask input needs a name"),
    ],
)
def test_bad_options(net, tmp_path, options, error, complaint):
    with pytest.raises(error, match=complaint):
        write_masked(net, tmp_path / "out.onnx", **options)
    assert os.listdir(tmp_path) == ["from"]


def test_a_name_for_several_taps(tmp_path):
    path = built(find("hand-constants"))
    with pytest.raises(OptionError, match="'skips' stands for 3 taps; name one of skip/1, skip/2"):
        write_masked(path, tmp_path / "out.onnx", tap="skips")


def test_without_a_bottleneck_nothing_is_written(tmp_path):
    path = blur(tmp_path / "flat.onnx")
    complaint = r"flat\.onnx: no bottleneck: it works at a single scale"
    with pytest.raises(GraphError, match=complaint):
        write_masked(path, tmp_path / "out.onnx")
    with pytest.raises(GraphError, match=complaint):
        write_split(path, tmp_path / "out")
    assert os.listdir(tmp_path) == ["flat.onnx"]


def test_control_flow_across_the_cut(tmp_path):
    with pytest.raises(GraphError, match=r"no bottleneck: control flow across the cut: If '/if_"):
        write_split(built(find("hand-if-across")), tmp_path)


def test_what_is_read_is_not_written_over(net, tmp_path):
    before = sha256(net)
    with pytest.raises(OutputError, match=r"net\.onnx' is what the model is read from"):
        write_masked(net, net)
    renamed = net.rename(net.with_name("encoder.onnx"))
    with pytest.raises(OutputError, match=r"encoder\.onnx' is what the model is read from"):
        write_split(renamed, renamed.parent)
    assert sha256(renamed) == before
    assert os.listdir(renamed.parent) == ["encoder.onnx"]
    weights = package(tmp_path / "package") / "weights.onnx"
    with pytest.raises(OutputError, match=r"weights\.onnx' is what the model is read from"):
        write_masked(tmp_path / "package", weights)


@pytest.mark.parametrize("name", ["out", "folder.onnx"])
def test_where_no_onnx_file_can_be(net, tmp_path, name):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(OptionError, match=rf"{name}' is .*; name a file that ends in \.onnx"):
        write_masked(net, tmp_path / name)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file' is a file; name a folder for the two parts"):
        write_split(net, tmp_path / "file")


def test_what_cannot_be_run_cannot_be_cut(tmp_path):
    model = unet()
    model.graph.input.append(onnx.ValueInfoProto(name="second"))
    model.graph.input[1].type.CopyFrom(model.graph.input[0].type)
    path = saved(model, tmp_path / "net.onnx")
    with pytest.raises(GraphError, match=re.escape("net.onnx: wants 2 inputs (image, second)")):
        write_split(path, tmp_path / "out")
