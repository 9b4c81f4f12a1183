from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_models import distance, drawn, network, node, observed, rows_of, run, unet
from onnx import helper, numpy_helper

from onnx_cte.graph.anatomy import anatomy
from onnx_cte.graph.maps import Tap
from onnx_cte.graph.sharing import expand_skips, share_skips
from onnx_cte.graph.surgery import add_mask_input

SIDES = (8, 12)
IMAGE = drawn((1, 1, *SIDES))
WAYS = {"share": share_skips, "expand": expand_skips}
EACH_WAY = pytest.mark.parametrize("way", WAYS)


def kinds(model):
    return [made.op_type for made in model.graph.node]


def decoder(after, weights=None, *, opset=17, channels=(3, 5), extra=()):
    """skip and deep, two maps of the image; deep is masked; then `after`, which ends in map."""
    skip, deep = channels
    nodes = [
        node("Conv", ["image", "ws"], ["skip"], pads=[1] * 4),
        node("Conv", ["image", "wd"], ["deep"], pads=[1] * 4),
        *extra,
        *after,
    ]
    held = {"ws": drawn((skip, 1, 3, 3), 1), "wd": drawn((deep, 1, 3, 3), 2), **(weights or {})}
    model = network(nodes, {"image": [1, 1, *SIDES]}, {"map": [None] * 4}, held, opset=opset)
    onnx.checker.check_model(model, full_check=True)
    return model, add_mask_input(model, deep_tap(deep), default=False)


def deep_tap(channels=5):
    return Tap("bottleneck", "deep", channels, 1, 4, (1, 1), "float32")


def shared(models, way="share", *, image=IMAGE, masks=None, count=3):
    """The rewritten model, checked against the masked model run once a row."""
    model, masked = models
    values = observed(model, image).values
    if masks is None:
        masks = {
            "mask": rows_of(
                masked.graph.input[-1].type.tensor_type.shape.dim[1].dim_value, 4, count, seed=1
            )
        }
    before = masked.SerializeToString(deterministic=True)
    made = WAYS[way](masked, "map", list(masks), values)
    assert masked.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(made, full_check=True)
    expected = np.concatenate(
        [
            run(masked, {"image": image, **{n: m[[row]] for n, m in masks.items()}})["map"]
            for row in range(count)
        ]
    )
    found = run(made, {"image": image, **masks})["map"]
    assert distance(found, expected) < 1e-5
    assert distance(expected[1:2], expected[:1]) > 1e-3
    return made


def convolved(inputs, weights, *, bias=True, **attributes):
    """Concat of `inputs` and a convolution of it."""
    held = {"w": weights, "b": drawn((weights.shape[0] * attributes.get("group", 1),), 9)}
    return [
        node("Concat", inputs, ["joined"], axis=1),
        node("Conv", ["joined", "w", "b"] if bias else ["joined", "w"], ["map"], **attributes),
    ], held


def test_by_hand():
    """map = 2 skip + 3 deep + 1; two rows, of which one silences deep."""
    after, held = convolved(["skip", "deep"], np.array([2, 3], np.float32).reshape(1, 2, 1, 1))
    held["b"] = np.array([1], np.float32)
    model, masked = decoder(after, held, channels=(1, 1))
    made = share_skips(masked, "map", ["mask"], observed(model, IMAGE).values)
    assert sorted(kinds(made)) == ["Add", "Conv", "Conv", "Conv", "Conv", "Mul"]
    masks = np.array([1, 0], np.float32).reshape(2, 1, 1, 1)
    found = run(made, {"image": IMAGE, "mask": masks})["map"]
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("skip", "deep"))
    seen = run(shown, {"image": IMAGE})
    np.testing.assert_allclose(found[:1], 2 * seen["skip"] + 3 * seen["deep"] + 1, atol=1e-5)
    np.testing.assert_allclose(found[1:], 2 * seen["skip"] + 1, atol=1e-5)


def test_the_skip_s_share_has_a_batch_of_one():
    after, held = convolved(["skip", "deep"], drawn((4, 8, 3, 3), 3), pads=[1] * 4)
    made = shared(decoder(after, held))
    (add,) = [one for one in made.graph.node if one.op_type == "Add"]
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in add.input)
    found = run(made, {"image": IMAGE, "mask": np.ones((3, 5, 1, 1), np.float32)})
    assert sorted(len(found[name]) for name in add.input) == [1, 3]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1] * 4},
        {"pads": [1] * 4, "strides": [2, 2]},
        {"pads": [2] * 4, "dilations": [2, 2]},
        {"pads": [0, 1, 2, 1]},
        {"auto_pad": "SAME_UPPER"},
    ],
    ids=str,
)
@pytest.mark.parametrize("order", [["skip", "deep"], ["deep", "skip"]], ids=" ".join)
def test_convolutions_are_split(bias, attributes, order):
    after, held = convolved(order, drawn((4, 8, 3, 3), 3), bias=bias, **attributes)
    made = shared(decoder(after, held))
    assert kinds(made).count("Conv") == 4
    assert "Concat" not in kinds(made)
    assert "Expand" not in kinds(made)


@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions_are_split(bias):
    held = {"w": drawn((8, 4, 2, 2), 3), "b": drawn((4,), 9)}
    after = [
        node("Concat", ["skip", "deep"], ["joined"], axis=1),
        node("ConvTranspose", ["joined", *list(held)[: 1 + bias]], ["map"], strides=[2, 2]),
    ]
    made = shared(decoder(after, held))
    assert kinds(made).count("ConvTranspose") == 2
    assert "Concat" not in kinds(made)


def test_transposed_convolutions_in_groups_are_left_whole():
    held = {"w": drawn((8, 2, 2, 2), 3)}
    after = [
        node("Concat", ["skip", "deep"], ["joined"], axis=1),
        node("ConvTranspose", ["joined", "w"], ["map"], strides=[2, 2], group=2),
    ]
    made = shared(decoder(after, held))
    assert kinds(made).count("ConvTranspose") == 1
    assert kinds(made).count("Expand") == 1


@pytest.mark.parametrize("axis", [1, -3])
@pytest.mark.parametrize(
    ("inputs", "concats"),
    [
        (["skip", "deep", "other"], 1),  # two are shared
        (["deep", "skip", "far"], 1),  # two have many rows
        (["deep", "skip", "far", "other"], 2),
    ],
    ids=str,
)
def test_three_and_more_inputs(axis, inputs, concats):
    extra = [node("Neg", ["skip"], ["other"]), node("Exp", ["deep"], ["far"])]
    sizes = {"skip": 3, "other": 3, "deep": 5, "far": 5}
    weights = drawn((4, sum(sizes[name] for name in inputs), 3, 3), 3)
    after, held = convolved(inputs, weights, pads=[1] * 4)
    after[0].attribute[0].i = axis
    made = shared(decoder(after, held, extra=extra))
    assert kinds(made).count("Concat") == concats
    assert kinds(made).count("Conv") == 4
    assert "Expand" not in kinds(made)


# The simpler way copies the map that is masked as well.
EXPANDED = {"share": 1, "expand": 2}


@EACH_WAY
def test_groups_are_left_whole_and_the_skip_is_expanded(way):
    after, held = convolved(["skip", "deep"], drawn((2, 4, 3, 3), 3), pads=[1] * 4, group=2)
    held["b"] = drawn((2,), 9)
    made = shared(decoder(after, held), way)
    assert kinds(made).count("Conv") == 3
    assert kinds(made).count("Expand") == EXPANDED[way]


@EACH_WAY
def test_a_concatenation_that_something_else_uses_is_expanded(way):
    after = [
        node("Concat", ["skip", "deep"], ["joined"], axis=1),
        node("Softmax", ["joined"], ["map"], axis=1),
    ]
    made = shared(decoder(after), way)
    assert kinds(made).count("Expand") == EXPANDED[way]


def test_of_a_concatenation_with_two_users_only_the_other_is_expanded():
    after = [
        node("Concat", ["skip", "deep"], ["joined"], axis=1),
        node("Conv", ["joined", "w"], ["one"], pads=[1] * 4),
        node("ReduceMax", ["joined"], ["two"], axes=[1]),
        node("Add", ["one", "two"], ["map"]),
    ]
    made = shared(decoder(after, {"w": drawn((4, 8, 3, 3), 3)}))
    assert kinds(made).count("Expand") == 1
    assert kinds(made).count("Conv") == 4


def test_weights_that_are_computed_are_not_split():
    after, held = convolved(["skip", "deep"], drawn((4, 8, 3, 3), 3), pads=[1] * 4)
    after[1].input[1] = "negative"
    made = shared(decoder([node("Neg", ["w"], ["negative"]), *after], held))
    assert kinds(made).count("Expand") == 1


@EACH_WAY
@pytest.mark.parametrize("held_as", ["initialiser", "node"])
@pytest.mark.parametrize("then", ["Conv", "Softmax"])
def test_a_constant_map_that_is_joined(way, held_as, then):
    """As of coordinates."""
    grid = drawn((1, 3, *SIDES), 4)
    held, extra = {"grid": grid}, []
    if held_as == "node":
        held = {}
        extra = [node("Constant", [], ["grid"], value=numpy_helper.from_array(grid))]
    after = [node("Concat", ["grid", "deep"], ["joined"], axis=1)]
    if then == "Conv":
        held["w"] = drawn((4, 8, 3, 3), 3)
        after.append(node("Conv", ["joined", "w"], ["map"], pads=[1] * 4))
    else:
        after.append(node("Softmax", ["joined"], ["map"], axis=1))
    made = shared(decoder(after, held, extra=extra), way)
    assert ("Expand" in kinds(made)) == (way == "expand" or then == "Softmax")


@EACH_WAY
def test_the_image_that_is_joined(way):
    after, held = convolved(["image", "deep"], drawn((4, 6, 3, 3), 3), pads=[1] * 4)
    made = shared(decoder(after, held), way)
    assert ("Expand" in kinds(made)) == (way == "expand")
    after = [
        node("Concat", ["image", "deep"], ["joined"], axis=1),
        node("Softmax", ["joined"], ["map"], axis=1),
    ]
    shared(decoder(after), way)


@EACH_WAY
def test_an_added_skip(way):
    after = [node("Add", ["skip", "deep"], ["sum"]), node("Relu", ["sum"], ["map"])]
    made = shared(decoder(after, channels=(5, 5)), way)
    assert ("Expand" in kinds(made)) == (way == "expand")


def norm(name, count=8):
    held = {part: drawn((count,), seed) for seed, part in enumerate(("scale", "shift", "mean"), 20)}
    held["variance"] = np.abs(drawn((count,), 30)) + 0.5
    return node("BatchNormalization", [name, *held], [f"{name}_norm"]), held


def test_activated_after_joining():
    """Pre-activation: the concatenation is normalised and activated before it is convolved."""
    made, held = norm("joined")
    after = [
        node("Concat", ["skip", "deep"], ["joined"], axis=1),
        made,
        node("Relu", ["joined_norm"], ["active"]),
        node("Conv", ["active", "w"], ["map"], pads=[1] * 4),
    ]
    found = shared(decoder(after, {**held, "w": drawn((4, 8, 3, 3), 3)}))
    assert "Concat" not in kinds(found)
    assert "Expand" not in kinds(found)
    assert kinds(found).count("BatchNormalization") == 2


def test_a_normalisation_is_folded_into_the_convolution_before():
    made, held = norm("mixed", 4)
    after = [
        node("Concat", ["skip", "deep"], ["joined"], axis=1),
        node("Conv", ["joined", "w"], ["mixed"], pads=[1] * 4),
        made,
        node("Relu", ["mixed_norm"], ["map"]),
    ]
    held["w"] = drawn((4, 8, 3, 3), 3)
    found = shared(decoder(after, held))
    assert "BatchNormalization" not in kinds(found)
    assert kinds(found).count("Conv") == 4
    after[1] = node("Conv", ["joined", "w", "b"], ["mixed"], pads=[1] * 4)
    found = shared(decoder(after, {**held, "b": drawn((4,), 7)}))
    assert "BatchNormalization" not in kinds(found)


def test_a_normalisation_is_not_folded_if_something_else_wants_the_convolution():
    made, held = norm("mixed", 4)
    after = [
        node("Concat", ["skip", "deep"], ["joined"], axis=1),
        node("Conv", ["joined", "w"], ["mixed"], pads=[1] * 4),
        made,
        node("Add", ["mixed", "mixed_norm"], ["map"]),
    ]
    found = shared(decoder(after, {**held, "w": drawn((4, 8, 3, 3), 3)}))
    assert "BatchNormalization" in kinds(found)


def test_doubling_is_merged_with_the_convolution_after_it():
    after = [
        node("Concat", ["skip", "deep"], ["joined"], axis=1),
        node("Conv", ["joined", "w"], ["mixed"], pads=[1] * 4),
        node(
            "Resize",
            ["mixed", "", "double"],
            ["up"],
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
            mode="nearest",
        ),
        node("Conv", ["up", "v"], ["map"], pads=[1] * 4),
    ]
    held = {
        "w": drawn((4, 8, 3, 3), 3),
        "v": drawn((32, 4, 3, 3), 4),
        "double": np.array([1, 1, 2, 2], np.float32),
    }
    assert kinds(shared(decoder(after, held))).count("Reshape") == 3


@EACH_WAY
@pytest.mark.parametrize(
    ("shape", "allowzero"),
    [
        ([1, 5, -1, 4], 0), ([1, 5, 24, 4], 0), ([1, 0, -1, 4], 0), ([1, 0, 24, 0], 0),
        ([1, 5, -1, 4], 1), ([-1, 5, 24, 4], 0), ([0, 5, -1, 4], 0),
    ],
    ids=str,
)  # fmt: skip
def test_a_reshape_that_fixes_the_batch_is_freed(way, shape, allowzero):
    channels = (5, 5)
    if 0 in shape[2:]:
        shape = [1, 0, 8, 0]
    last = node("Reshape", ["deep", "shape"], ["map"], allowzero=allowzero)
    shared(decoder([last], {"shape": np.array(shape)}, channels=channels), way)


@EACH_WAY
def test_a_reshape_that_puts_an_axis_before_the_batch_is_left_alone(way):
    """As tf2onnx writes a transposition of one channel to the end."""
    after = [
        node("Conv", ["deep", "w"], ["score"]),
        node("Reshape", ["score", "shape"], ["raised"]),
        node("Squeeze", ["raised", "first"], ["map"]),
    ]
    for shape in ([1, -1, 0, 0, 1], [1, -1, *SIDES, 1]):
        held = {"w": drawn((1, 5, 1, 1)), "shape": np.array(shape), "first": np.array([0])}
        shared(decoder(after, held), way)


def test_what_must_have_as_many_rows_as_it_looks_up_is_expanded():
    """The image is sampled where a masked map says."""
    after = [
        node("Conv", ["deep", "w"], ["flow"]),
        node("Tanh", ["flow"], ["bounded"]),
        node("Transpose", ["bounded"], ["places"], perm=[0, 2, 3, 1]),
        node("GridSample", ["image", "places"], ["map"]),
    ]
    shared(decoder(after, {"w": drawn((2, 5, 1, 1))}), "expand")


@EACH_WAY
def test_a_resize_that_fixes_the_batch_is_freed(way):
    """As simplified networks of a fixed size have them."""
    resize = node("Resize", ["deep", "", "", "sizes"], ["up"], mode="nearest")
    after = [resize, node("Neg", ["up"], ["map"])]
    shared(decoder(after, {"sizes": np.array([1, 5, 16, 24])}), way)
    resize = node("Resize", ["deep", "", "", "sizes"], ["up"], mode="linear", axes=[2, 3])
    shared(decoder([resize, after[1]], {"sizes": np.array([11, 13])}, opset=18), way)


@EACH_WAY
def test_dead_nodes_and_other_outputs_are_dropped(way):
    after, held = convolved(["skip", "deep"], drawn((4, 8, 3, 3), 3), pads=[1] * 4)
    aside = [node("Mul", ["deep", "useless"], ["aside"]), node("Neg", ["skip"], ["second"])]
    model, masked = decoder([*after, *aside], {**held, "useless": np.float32(2)})
    for one in (model, masked):
        one.graph.output.append(helper.make_tensor_value_info("second", 1, [None] * 4))
    made = shared((model, masked), way)
    assert [value.name for value in made.graph.output] == ["map"]
    assert not {"aside", "second"} & {n for one in made.graph.node for n in one.output}
    weights = {tensor.name for tensor in made.graph.initializer}
    assert "useless" not in weights
    assert ("w" in weights) == (way == "expand")


@EACH_WAY
@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("join", ["Concat", "Add"])
def test_a_u_net_with_everything_masked(way, default, join):
    model = unet(join=join, batch=1)
    image = drawn((1, 1, 16, 24))
    found = anatomy(model, observed(model, image), "map")
    masked, masks = model, {}
    for number, tap in enumerate([*found.skips, *found.taps]):
        masked = add_mask_input(masked, tap, f"mask{number}", default=default)
        masks[f"mask{number}"] = rows_of(tap.channels, 4, 3, seed=number)
    assert len(masks) == 4
    shared((model, masked), way, image=image, masks=masks)


@EACH_WAY
@pytest.mark.parametrize("default", [True, False])
def test_a_mask_of_what_was_joined_is_no_constant(way, default):
    """A mask with a default is an initialiser too, but it is fed."""
    after, held = convolved(["skip", "deep"], drawn((4, 8, 3, 3), 3), pads=[1] * 4)
    model, masked = decoder(after, held)
    joint = Tap("decoder/1", "joined", 8, 1, 4, (1, 1), "float32")
    masked = add_mask_input(masked, joint, "other", default=default)
    masks = {"mask": rows_of(5, 4, 3, seed=1), "other": rows_of(8, 4, 3, seed=2)}
    shared((model, masked), way, masks=masks)


@EACH_WAY
def test_as_many_rows_as_one_likes(way):
    after, held = convolved(["skip", "deep"], drawn((4, 8, 3, 3), 3), pads=[1] * 4)
    model, masked = decoder(after, held)
    made = WAYS[way](masked, "map", ["mask"], observed(model, IMAGE).values)
    for count in (1, 2, 7):
        masks = np.ones((count, 5, 1, 1), np.float32)
        assert len(run(made, {"image": IMAGE, "mask": masks})["map"]) == count


@EACH_WAY
def test_weights_outside_the_model(way, tmp_path: Path):
    after, held = convolved(["skip", "deep"], drawn((4, 8, 3, 3), 3), pads=[1] * 4)
    model, _ = decoder(after, held)
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    light = onnx.load(path, load_external_data=False)
    masked = add_mask_input(light, deep_tap(), default=False)
    values = observed(light, IMAGE, folder=tmp_path).values
    made = WAYS[way](masked, "map", ["mask"], values, tmp_path)
    # What was not rewritten stays outside.
    assert {t.name for t in made.graph.initializer if t.external_data} >= {"ws", "wd"}
    masks = rows_of(5, 4, 3, seed=1)
    found = run(made, {"image": IMAGE, "mask": masks}, tmp_path)["map"]
    expected = run(masked, {"image": IMAGE, "mask": masks[1:2]}, tmp_path)["map"]
    assert distance(found[1:2], expected) < 1e-5
