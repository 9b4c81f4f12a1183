import numpy as np
import onnx
import pytest
from graph_models import drawn, network, node, observed, unet

from onnx_cte.errors import GraphError
from onnx_cte.graph.anatomy import anatomy

IMAGE = drawn((1, 1, 16, 24))


def taken_apart(model, image=IMAGE, output="map", at=None, axes="bcyx"):
    return anatomy(model, observed(model, image, axes), output, at)


def change(model, output, op, inputs, outputs=None, **attributes):
    """Put another node in place of the one that makes a value."""
    place = next(i for i, made in enumerate(model.graph.node) if output in made.output)
    model.graph.node[place].CopyFrom(node(op, inputs, outputs or [output], **attributes))
    return model


def test_a_u_net():
    found = taken_apart(unet())
    deep = found.bottleneck
    assert (deep.name, deep.tensor, deep.channels, deep.axis) == ("bottleneck", "b", 8, 1)
    assert (deep.rank, deep.stride, deep.dtype) == (4, (2, 2), "float32")
    assert (deep.into, deep.kind) == ((), "")
    assert [(t.name, t.tensor) for t in found.taps] == [
        ("encoder/1", "a"), ("bottleneck", "b"), ("decoder/1", "d"),
    ]  # fmt: skip
    assert [(t.name, t.tensor, t.into, t.kind) for t in found.skips] == [
        ("skip/1", "a", ("joined",), "concat")
    ]
    assert (found.output, found.reason, found.candidates) == ("map", "", ())
    assert found.probe == (1, 1, 16, 24)


def test_its_work():
    found = taken_apart(unet())
    full, half = 16 * 24, 8 * 12
    assert found.encoder_macs == full * 4 * 9 + half * 8 * 36
    # Transposed: 8 channels to 4, 2 x 2 places each; then 8 to 4 by 3 x 3, then 4 to 1.
    assert found.decoder_macs == half * 8 * 16 + full * 4 * 72 + full * 4
    assert found.macs == found.encoder_macs + found.decoder_macs


def test_an_added_skip():
    (skip,) = taken_apart(unet(join="Add")).skips
    assert (skip.tensor, skip.kind, skip.channels) == ("a", "add", 4)


def test_a_gated_skip():
    model = change(unet(join="Add"), "joined", "Mul", ["up", "a"])
    assert [skip.kind for skip in taken_apart(model).skips] == ["gate"]


def test_the_image_may_be_a_skip_and_scales_may_have_several():
    model = unet()
    change(model, "joined", "Concat", ["up", "image", "a", "ca"], axis=1)
    for tensor in model.graph.initializer:
        if tensor.name == "wd":
            wide = np.zeros((4, 13, 3, 3), np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide, "wd"))
    found = taken_apart(model)
    assert {(s.name, s.tensor) for s in found.skips} == {
        ("skip/1", "image"), ("skip/1-2", "a"), ("skip/1-3", "ca"),
    }  # fmt: skip


def test_who_asks_for_the_size_of_a_map_takes_no_skip():
    model = unet()
    change(model, "up", "Resize", ["b", "", "", "size"], mode="nearest")
    for place, made in enumerate(
        [
            node("Shape", ["a"], ["whole"]),
            node("Slice", ["whole", "two", "four"], ["sides"]),
            node("Concat", ["eight", "sides"], ["size"], axis=0),
        ]
    ):
        model.graph.node.insert(4 + place, made)
    change(model, "joined", "Relu", ["up"])
    for name, value in (("two", [2]), ("four", [4]), ("eight", [1, 8])):
        tensor = onnx.numpy_helper.from_array(np.array(value, np.int64), name)
        model.graph.initializer.append(tensor)
    found = taken_apart(model)
    assert found.bottleneck.tensor == "b"
    assert found.skips == ()


def test_a_narrowing_before_the_up_sampling_is_the_decoder_s():
    """The code is b, activated, and not the 1x1 convolution of it that is enlarged."""
    model = unet()
    rest = [copy for copy in model.graph.node]
    del model.graph.node[4:]
    narrow = onnx.numpy_helper.from_array(np.ones((8, 8, 1, 1), np.float32), "narrow")
    model.graph.initializer.append(narrow)
    model.graph.node.append(node("Conv", ["b", "narrow"], ["code"]))
    model.graph.node.extend(rest[4:])
    change(model, "up", "ConvTranspose", ["code", "wu"], strides=[2, 2])
    assert taken_apart(model).bottleneck.tensor == "b"


def test_without_any_activation_the_map_itself():
    model = unet()
    for name in ("a", "b"):
        change(model, name, "Identity", [f"c{name}"])
    assert taken_apart(model).bottleneck.tensor == "b"


def test_a_single_scale():
    nodes = [
        node("Conv", ["image", "wa"], ["ca"], pads=[1] * 4),
        node("Relu", ["ca"], ["a"]),
        node("Conv", ["a", "wm"], ["map"]),
    ]
    weights = {"wa": drawn((4, 1, 3, 3)), "wm": drawn((1, 4, 1, 1))}
    model = network(nodes, {"image": [1, 1, "H", "W"]}, {"map": [1, 1, "H", "W"]}, weights)
    found = taken_apart(model)
    assert found.bottleneck is None
    assert "it works at a single scale" in found.reason
    assert (found.taps, found.skips) == ((), ())
    assert [(tap.name, tap.tensor) for tap in found.candidates] == [("stride 1", "a")]
    assert (found.encoder_macs, found.decoder_macs) == (16 * 24 * 40, 0)
    named = taken_apart(model, at="a")
    assert named.bottleneck.tensor == "a"
    assert (named.encoder_macs, named.decoder_macs) == (16 * 24 * 36, 16 * 24 * 4)


def test_a_gate_of_pooled_values_is_no_scale():
    """Squeeze and excitation: a 1x1 map is spread over b by a product, or by a Resize."""
    model = unet()
    model.graph.node[3].output[0] = "b0"
    for place, made in enumerate(
        [
            node("GlobalAveragePool", ["b0"], ["pooled"]),
            node("Resize", ["pooled", "", "spread"], ["gate"], mode="nearest"),
            node("Mul", ["b0", "gate"], ["b"]),
        ]
    ):
        model.graph.node.insert(4 + place, made)
    spread = onnx.numpy_helper.from_array(np.array([1, 1, 8, 12], np.float32), "spread")
    model.graph.initializer.append(spread)
    assert taken_apart(model).bottleneck.tensor == "b"


def test_channels_last():
    nodes = [
        node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
        node("Conv", ["first", "wb"], ["cb"], strides=[2, 2], pads=[1] * 4),
        node("Transpose", ["cb"], ["last"], perm=[0, 2, 3, 1]),
        node("Relu", ["last"], ["b"]),
        node("Transpose", ["b"], ["again"], perm=[0, 3, 1, 2]),
        node("ConvTranspose", ["again", "wu"], ["up"], strides=[2, 2]),
        node("Transpose", ["up"], ["map"], perm=[0, 2, 3, 1]),
    ]
    weights = {"wb": drawn((8, 1, 3, 3)), "wu": drawn((8, 1, 2, 2))}
    sides = ["N", "H", "W", 1]
    model = network(nodes, {"image": sides}, {"map": sides}, weights)
    deep = taken_apart(model, drawn((1, 16, 24, 1)), axes="byxc").bottleneck
    assert (deep.tensor, deep.channels, deep.axis, deep.stride) == ("b", 8, 3, (2, 2))


def branch(name, op, made):
    value = onnx.helper.make_tensor_value_info(made, 1, None)
    return onnx.helper.make_graph([node(op, ["b"], [made])], name, [], [value])


def with_if():
    """The decoder chooses, by the sum of the image, what it makes of b, which it reads within."""
    model = unet()
    made = [
        node("ReduceSum", ["image"], ["total"], keepdims=0),
        node("Greater", ["total", "zero"], ["flag"]),
        node(
            "If",
            ["flag"],
            ["chosen"],
            name="choice",
            then_branch=branch("then", "Identity", "t"),
            else_branch=branch("else", "Neg", "e"),
        ),
    ]
    for place, one in enumerate(made):
        model.graph.node.insert(4 + place, one)
    change(model, "up", "ConvTranspose", ["chosen", "wu"], strides=[2, 2])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0), "zero"))
    return model


def test_control_flow_across_the_cut():
    found = taken_apart(with_if())
    assert found.bottleneck is None
    assert "control flow across the cut: If 'choice' depends on the bottleneck 'b'" in found.reason
    assert found.encoder_macs == found.macs > 0
    with pytest.raises(GraphError, match=r"'b' cannot be disturbed: control flow .* If 'choice'"):
        taken_apart(with_if(), at="b")
    assert taken_apart(with_if(), at="up").bottleneck.tensor == "up"


def test_a_tensor_that_is_named():
    found = taken_apart(unet(), at="a")
    assert found.bottleneck.tensor == "a"
    assert found.bottleneck.name == "bottleneck"
    assert found.skips == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("joind", r"graph 'tiny' has no node that makes 'joind'; did you mean 'joined'\?"),
        ("image", r"graph 'tiny' has no node that makes 'image'"),
        ("pooled", r"'pooled' is no feature map of the image: it is float32 \(1, 8, 1, 1\) for an"),
        ("size", r"'size' is no feature map of the image: it is int64 \(4,\) for an image of \(1,"),
        ("aside", r"output 'map' does not depend on tensor 'aside': disturbing it would change"),
        ("rest", r"output 'map' does not depend on tensor 'rest'"),
        ("map", r"output 'map' does not depend on tensor 'map'"),
        ("fixed", r"output 'map' does not depend on tensor 'fixed'"),
    ],
)
def test_a_tensor_that_cannot_be_named(name, text):
    model = unet()
    change(model, "a", "Split", ["ca", "halves"], ["a", "rest"], axis=1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 2]), "halves"))
    for tensor in model.graph.initializer:
        if tensor.name in ("wb", "wd"):
            narrow = onnx.numpy_helper.to_array(tensor)
            narrow = narrow[:, : {"wb": 2, "wd": 6}[tensor.name]]
            tensor.CopyFrom(onnx.numpy_helper.from_array(narrow, tensor.name))
    fixed = onnx.numpy_helper.from_array(np.ones((1, 1, 16, 24), np.float32))
    model.graph.node.extend(
        [
            node("GlobalAveragePool", ["b"], ["pooled"]),
            node("Shape", ["b"], ["size"]),
            node("Neg", ["b"], ["aside"]),
            node("Constant", [], ["fixed"], value=fixed),
        ]
    )
    with pytest.raises(GraphError, match=text):
        taken_apart(model, at=name)


def test_a_value_of_no_tensor_cannot_be_named():
    model = unet()
    model.graph.node.append(node("SequenceConstruct", ["b"], ["many"]))
    with pytest.raises(GraphError, match="'many' is no feature map of the image: it is no tensor"):
        taken_apart(model, at="many")


def test_the_deepest_map_of_the_judged_output_counts():
    """Another output may hang on deeper maps."""
    model = unet()
    model.graph.node.extend(
        [
            node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
            node("ConvTranspose", ["c", "wu"], ["other"], strides=[2, 2]),
        ]
    )
    sides = ["N", 4, "h", "w"]
    model.graph.output.append(onnx.helper.make_tensor_value_info("other", 1, sides))
    assert taken_apart(model).bottleneck.tensor == "b"
    assert taken_apart(model, output="other").bottleneck.tensor == "c"


def pyramid(width):
    """Two heads on maps of one scale: the second is made of the first by a convolution."""
    nodes = [
        node("Conv", ["image", "wa"], ["ca"], pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["ca"], ["one"]),
        node("Conv", ["one", "wb"], ["cb"], pads=[width // 2] * 4),
        node("Relu", ["cb"], ["two"]),
        node("Resize", ["one", "", "double"], ["up1"], mode="nearest"),
        node("Resize", ["two", "", "double"], ["up2"], mode="nearest"),
        node("Concat", ["up1", "up2"], ["both"], axis=1),
        node("ReduceMean", ["both"], ["map"], axes=[1]),
    ]
    weights = {
        "wa": drawn((8, 1, 3, 3)),
        "wb": drawn((1, 8, width, width)),
        "double": np.array([1, 1, 2, 2], np.float32),
    }
    sides = ["N", 1, "H", "W"]
    return network(nodes, {"image": sides}, {"map": sides}, weights)


@pytest.mark.parametrize(("width", "deep"), [(1, "two"), (9, "two")])
def test_of_two_enlarged_maps_of_a_scale_the_later_if_it_took_work(width, deep):
    assert taken_apart(pyramid(width)).bottleneck.tensor == deep


def test_of_two_enlarged_maps_of_a_scale_the_earlier_if_only_a_head_lies_between():
    model = pyramid(1)
    for tensor in model.graph.initializer:
        if tensor.name == "wa":
            wide = drawn((8, 1, 15, 15))
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide, "wa"))
    change(model, "ca", "Conv", ["image", "wa"], pads=[7] * 4, strides=[2, 2])
    # 8 products a place against 8 * 225: half a percent.
    assert taken_apart(model).bottleneck.tensor == "one"


def test_tokens_that_are_arranged_to_maps_twice():
    """As in UNETR: the maps do not lead to each other, but the tokens they show do."""
    nodes = [
        node("Conv", ["image", "wa"], ["a"], strides=[2, 2]),
        node("Reshape", ["a", "flat"], ["f"]),
        node("Transpose", ["f"], ["tokens"], perm=[0, 2, 1]),
        node("MatMul", ["tokens", "wt"], ["later"]),
        *(made for name, tokens in (("one", "tokens"), ("two", "later")) for made in (
            node("Transpose", [tokens], [f"{name}_first"], perm=[0, 2, 1]),
            node("Reshape", [f"{name}_first", "sides"], [name]),
            node("Resize", [name, "", "double"], [f"{name}_up"], mode="nearest"),
        )),
        node("Concat", ["one_up", "two_up"], ["both"], axis=1),
        node("ReduceMean", ["both"], ["map"], axes=[1]),
    ]  # fmt: skip
    weights = {
        "wa": drawn((8, 1, 2, 2)),
        "wt": drawn((8, 8)),
        "flat": np.array([1, 8, -1]),
        "sides": np.array([1, 8, 8, 12]),
        "double": np.array([1, 1, 2, 2], np.float32),
    }
    sides = ["N", 1, "H", "W"]
    found = taken_apart(network(nodes, {"image": sides}, {"map": sides}, weights))
    assert found.bottleneck.tensor == "two"
    assert [skip.tensor for skip in found.skips] == ["one_up"]


def test_scales_side_by_side():
    nodes = [
        node("MaxPool", ["image"], ["low"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["low", "", "double"], ["up"], mode="nearest"),
        node("Add", ["image", "up"], ["fine"]),
        node("MaxPool", ["fine"], ["again"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Add", ["low", "again"], ["coarse"]),
        node("Resize", ["coarse", "", "double"], ["raised"], mode="nearest"),
        node("Add", ["fine", "raised"], ["map"]),
    ]
    sides = ["N", 1, "H", "W"]
    double = {"double": np.array([1, 1, 2, 2], np.float32)}
    found = taken_apart(network(nodes, {"image": sides}, {"map": sides}, double))
    assert found.bottleneck is None
    assert "scales run side by side" in found.reason
    assert "('up')" in found.reason


def test_the_model_stays_as_it_was():
    model = unet()
    before = model.SerializeToString()
    taken_apart(model)
    assert model.SerializeToString() == before
