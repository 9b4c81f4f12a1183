import copy

import numpy as np
import onnx
import pytest
from graph_models import FLOAT, distance, drawn, network, node, observed, rows_of, run, unet
from onnx import TensorProto, helper, numpy_helper

from onnx_cte.errors import GraphError
from onnx_cte.graph.anatomy import anatomy
from onnx_cte.graph.maps import Tap
from onnx_cte.graph.surgery import (
    MASK,
    add_mask_input,
    crossings,
    expose_all,
    split,
    tap,
    tap_outputs,
)

IMAGE = drawn((1, 1, 16, 24))
DEEP = Tap("bottleneck", "b", 8, 1, 4, (2, 2), "float32")
SKIP = Tap("skip/1", "a", 4, 1, 4, (1, 1), "float32", ("joined",), "concat")
HALF = rows_of(8, 4, 2, seed=1)[1:]


def shown(model, *names):
    """The model with these values as outputs."""
    changed = copy.deepcopy(model)
    changed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return changed


def sides_of(value):
    return [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]


# ---- masks


def test_by_hand():
    """map = 3 * relu(image) in channel 0 and 5 * relu(image) in channel 1, summed."""
    nodes = [
        node("Conv", ["image", "w"], ["c"]),
        node("Relu", ["c"], ["b"]),
        node("ReduceSum", ["b", "axis"], ["map"]),
    ]
    weights = {"w": np.array([3, 5], np.float32).reshape(2, 1, 1, 1), "axis": np.array([1])}
    model = network(nodes, {"image": [1, 1, 2, 2]}, {"map": [1, 1, 2, 2]}, weights)
    masked = add_mask_input(model, Tap("bottleneck", "b", 2, 1, 4, (1, 1), "float32"))
    onnx.checker.check_model(masked, full_check=True)
    image = np.array([1, -2, 3, 4], np.float32).reshape(1, 1, 2, 2)
    seen = np.array([1, 0, 3, 4])
    for mask, factor in (([1, 1], 8), ([0, 1], 5), ([1, 0], 3), ([0, 0], 0), ([2, 0.5], 8.5)):
        feeds = {"image": image, MASK: np.array(mask, np.float32).reshape(1, 2, 1, 1)}
        np.testing.assert_array_equal(run(masked, feeds)["map"].ravel(), factor * seen)
    np.testing.assert_array_equal(run(masked, {"image": image})["map"].ravel(), 8 * seen)


def test_ones_by_default():
    masked = add_mask_input(unet(), DEEP)
    onnx.checker.check_model(masked, full_check=True)
    assert [value.name for value in masked.graph.input] == ["image", "mask"]
    assert sides_of(masked.graph.input[1]) == ["masks", 8, 1, 1]
    assert masked.graph.input[1].type.tensor_type.elem_type == FLOAT
    (default,) = [t for t in masked.graph.initializer if t.name == "mask"]
    np.testing.assert_array_equal(numpy_helper.to_array(default), np.ones((1, 8, 1, 1)))
    whole = run(unet(), {"image": IMAGE}, optimised=False)["map"]
    found = run(masked, {"image": IMAGE}, optimised=False)["map"]
    np.testing.assert_array_equal(found, whole)


def test_without_a_default_it_must_be_fed():
    masked = add_mask_input(unet(), DEEP, "drop", default=False)
    onnx.checker.check_model(masked, full_check=True)
    with pytest.raises(ValueError, match="drop"):
        run(masked, {"image": IMAGE})
    assert run(masked, {"image": IMAGE, "drop": HALF})["map"].shape == (1, 1, 16, 24)


def test_channels_are_multiplied():
    masked = shown(add_mask_input(unet(), DEEP), "b", "b_masked")
    found = run(masked, {"image": IMAGE, "mask": HALF})
    np.testing.assert_array_equal(found["b_masked"], found["b"] * HALF)
    assert found["b_masked"].any()


def test_one_image_and_many_masks():
    masks = rows_of(8, 4, 3, seed=2)
    masked = add_mask_input(unet(batch=1, join="Add"), DEEP)
    onnx.checker.check_model(masked, full_check=True)
    found = run(masked, {"image": IMAGE, "mask": masks})["map"]
    for row, mask in zip(found, masks, strict=True):
        one = run(masked, {"image": IMAGE, "mask": mask[None]})["map"][0]
        np.testing.assert_allclose(row, one, rtol=1e-5, atol=1e-5)
    assert sides_of(masked.graph.output[0])[0] == "rows"


def test_many_images_and_one_mask_or_as_many():
    images = drawn((2, 1, 16, 24), seed=3)
    masked = add_mask_input(unet(), DEEP)
    masks = rows_of(8, 4, 2, seed=2)
    for given in (masks[1:], masks):
        found = run(masked, {"image": images, "mask": given})["map"]
        for number, row in enumerate(found):
            feeds = {"image": images[[number]], "mask": given[[number % len(given)]]}
            np.testing.assert_allclose(row, run(masked, feeds)["map"][0], rtol=1e-5, atol=1e-5)


def test_a_skip_disturbs_the_decoder_s_edge_only():
    masked = shown(add_mask_input(unet(), SKIP), "b", "a", "joined")
    silent = np.zeros((1, 4, 1, 1), np.float32)
    found = run(masked, {"image": IMAGE, "mask": silent})
    whole = run(shown(unet(), "b", "a", "joined"), {"image": IMAGE})
    np.testing.assert_array_equal(found["b"], whole["b"])
    np.testing.assert_array_equal(found["a"], whole["a"])
    np.testing.assert_array_equal(found["joined"][:, :4], whole["joined"][:, :4])
    assert not found["joined"][:, 4:].any()
    assert whole["joined"][:, 4:].any()
    assert [made.input[0] for made in masked.graph.node if made.output[0] == "cb"] == ["a"]


def test_an_encoder_tap_disturbs_all_that_follows():
    shallow = Tap("encoder/1", "a", 4, 1, 4, (1, 1), "float32")
    masked = shown(add_mask_input(unet(), shallow), "b", "joined")
    silent = np.zeros((1, 4, 1, 1), np.float32)
    found = run(masked, {"image": IMAGE, "mask": silent})
    assert not found["b"].any()
    assert not found["joined"].any()


def test_the_image_can_be_disturbed():
    """As a skip: it is an input, and no node makes it."""
    image = Tap("skip/1", "image", 1, 1, 4, (1, 1), "float32")
    masked = add_mask_input(unet(), image)
    onnx.checker.check_model(masked, full_check=True)
    silent = run(masked, {"image": IMAGE, "mask": np.zeros((1, 1, 1, 1), np.float32)})["map"]
    expected = run(unet(), {"image": np.zeros_like(IMAGE)})["map"]
    np.testing.assert_allclose(silent, expected, rtol=1e-6, atol=1e-6)


def test_two_masks():
    both = add_mask_input(add_mask_input(unet(), SKIP, "skip"), DEEP, "deep")
    onnx.checker.check_model(both, full_check=True)
    zero = {"skip": np.zeros((1, 4, 1, 1), np.float32), "deep": np.zeros((1, 8, 1, 1), np.float32)}
    found = run(shown(both, "joined"), {"image": IMAGE, **zero})
    assert not found["joined"].any()
    assert [value.name for value in both.graph.input] == ["image", "skip", "deep"]


def test_an_output_that_is_a_map_itself_keeps_its_value():
    model = unet()
    model.graph.output.append(helper.make_tensor_value_info("b", FLOAT, ["N", 8, "h", "w"]))
    masked = add_mask_input(model, DEEP)
    onnx.checker.check_model(masked, full_check=True)
    found = run(masked, {"image": IMAGE, "mask": np.zeros((1, 8, 1, 1), np.float32)})
    whole = run(model, {"image": IMAGE})
    np.testing.assert_array_equal(found["b"], whole["b"])
    assert distance(found["map"], whole["map"]) > 1e-2
    assert sides_of(masked.graph.output[1])[0] == "N"


def test_channels_last():
    nodes = [
        node("Relu", ["image"], ["b"]),
        node("Transpose", ["b"], ["map"], perm=[0, 3, 1, 2]),
    ]
    model = network(nodes, {"image": [1, 4, 6, 3]}, {"map": [1, 3, 4, 6]})
    masked = add_mask_input(model, Tap("bottleneck", "b", 3, 3, 4, (1, 1), "float32"))
    onnx.checker.check_model(masked, full_check=True)
    assert sides_of(masked.graph.input[1]) == ["masks", 3, 1, 1]
    image = np.abs(drawn((1, 4, 6, 3)))
    masks = np.array([[1, 1, 1], [0, 1, 2]], np.float32).reshape(2, 3, 1, 1)
    found = run(masked, {"image": image, "mask": masks})["map"]
    np.testing.assert_array_equal(found, image.transpose(0, 3, 1, 2) * masks)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_precisions_take_masks_in_float32(kind):
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [node("Relu", ["image"], ["b"]), node("Neg", ["b"], ["map"])]
    sides = [1, 2, 4, 6]
    model = network(nodes, {"image": sides}, {"map": sides}, kind=number)
    masked = add_mask_input(model, Tap("bottleneck", "b", 2, 1, 4, (1, 1), kind))
    onnx.checker.check_model(masked, full_check=True)
    assert masked.graph.input[1].type.tensor_type.elem_type == FLOAT
    image = drawn(sides, kind=kind)
    mask = np.array([0.5, 1], np.float32).reshape(1, 2, 1, 1)
    found = run(masked, {"image": image, "mask": mask})["map"]
    assert found.dtype == kind
    np.testing.assert_array_equal(found, -np.maximum(image, 0) * mask.astype(kind))
    np.testing.assert_array_equal(run(masked, {"image": image})["map"], -np.maximum(image, 0))


def test_a_half_precision_network():
    model = unet(kind=np.float16)
    image = IMAGE.astype(np.float16)
    found = anatomy(model, observed(model, image), "map").bottleneck
    assert found.dtype == "float16"
    masked = add_mask_input(model, found)
    onnx.checker.check_model(masked, full_check=True)
    whole = run(model, {"image": image}, optimised=False)["map"]
    np.testing.assert_array_equal(run(masked, {"image": image}, optimised=False)["map"], whole)


def test_masks_that_differ_from_place_to_place():
    nodes = [node("Relu", ["image"], ["b"]), node("Neg", ["b"], ["map"])]
    model = network(nodes, {"image": [1, 2, 4, 6]}, {"map": [1, 2, 4, 6]})
    place = Tap("bottleneck", "b", 2, 1, 4, (1, 1), "float32")
    masked = add_mask_input(model, place, pointwise=True)
    onnx.checker.check_model(masked, full_check=True)
    assert sides_of(masked.graph.input[1]) == [
        "masks", "mask_channels", "mask_height", "mask_width",
    ]  # fmt: skip
    image, rng = np.abs(drawn((1, 2, 4, 6))), np.random.default_rng(0)
    for shape in ((1, 2, 4, 6), (3, 2, 4, 6), (1, 1, 4, 6), (1, 2, 1, 1)):
        mask = rng.random(shape).astype(np.float32)
        found = run(masked, {"image": image, "mask": mask})["map"]
        np.testing.assert_array_equal(found, -image * mask)
    np.testing.assert_array_equal(run(masked, {"image": image})["map"], -image)


def test_pointwise_masks_of_a_volume_have_a_depth():
    nodes = [node("Relu", ["image"], ["b"]), node("Neg", ["b"], ["map"])]
    sides = [1, 2, 3, 4, 6]
    model = network(nodes, {"image": sides}, {"map": sides})
    place = Tap("bottleneck", "b", 2, 1, 5, (1, 1, 1), "float32")
    for pointwise, expected in (
        (False, ["masks", 2, 1, 1, 1]),
        (True, ["masks", "mask_channels", "mask_depth", "mask_height", "mask_width"]),
    ):
        masked = add_mask_input(model, place, pointwise=pointwise)
        onnx.checker.check_model(masked, full_check=True)
        assert sides_of(masked.graph.input[1]) == expected


def test_a_name_that_is_taken():
    for name in ("image", "b", "wd", "map"):
        with pytest.raises(GraphError, match=f"'tiny' has a value named '{name}' already; give"):
            add_mask_input(unet(), DEEP, name)
    once = add_mask_input(unet(), DEEP)
    with pytest.raises(GraphError, match="a value named 'mask' already"):
        add_mask_input(once, SKIP)


def test_a_name_that_is_taken_inside_a_branch():
    result = helper.make_tensor_value_info("mask", FLOAT, None)
    then = helper.make_graph([node("Relu", ["b"], ["mask"])], "then", [], [result])
    nodes = [
        node("Neg", ["image"], ["b"]),
        node("If", ["flag"], ["map"], then_branch=then, else_branch=then),
    ]
    model = network(nodes, {"image": [1, 2, 4, 6]}, {"map": [1, 2, 4, 6]})
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    with pytest.raises(GraphError, match="a value named 'mask' already"):
        add_mask_input(model, Tap("bottleneck", "b", 2, 1, 4, (1, 1), "float32"))


def test_branches_read_the_masked_map():
    def branch(op, made):
        result = helper.make_tensor_value_info(made, FLOAT, None)
        return helper.make_graph([node(op, ["b"], [made])], made, [], [result])

    nodes = [
        node("Relu", ["image"], ["b"]),
        node(
            "If",
            ["flag"],
            ["map"],
            then_branch=branch("Neg", "t"),
            else_branch=branch("Abs", "e"),
        ),
    ]
    model = network(nodes, {"image": [1, 2, 4, 6]}, {"map": [1, 2, 4, 6]})
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    masked = add_mask_input(model, Tap("bottleneck", "b", 2, 1, 4, (1, 1), "float32"))
    onnx.checker.check_model(masked, full_check=True)
    image = drawn((1, 2, 4, 6))
    mask = np.array([0, 1], np.float32).reshape(1, 2, 1, 1)
    found = run(masked, {"image": image, "mask": mask})["map"]
    np.testing.assert_array_equal(found, -np.maximum(image, 0) * mask)


def test_names_of_its_own_give_way():
    model = unet()
    model.graph.node[5].output[0] = "b_masked"
    model.graph.node[6].input[0] = "b_masked"
    masked = add_mask_input(model, DEEP)
    onnx.checker.check_model(masked, full_check=True)
    whole = run(model, {"image": IMAGE}, optimised=False)["map"]
    np.testing.assert_array_equal(run(masked, {"image": IMAGE}, optimised=False)["map"], whole)


def test_a_map_that_is_not_there():
    wrong = Tap("bottleneck", "bb", 8, 1, 4, (2, 2), "float32")
    with pytest.raises(GraphError, match=r"no node that makes 'bb'; did you mean 'b'"):
        add_mask_input(unet(), wrong)


# ---- what comes along


def weights_as_inputs(model):
    for tensor in model.graph.initializer:
        port = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(port)
    return model


def test_weights_listed_as_inputs_stay_inputs():
    model = weights_as_inputs(unet())
    masked = add_mask_input(model, DEEP)
    onnx.checker.check_model(masked, full_check=True)
    assert len(masked.graph.input) == len(model.graph.input) + 1
    assert masked.graph.input[-1].name == "mask"
    whole = run(model, {"image": IMAGE}, optimised=False)["map"]
    np.testing.assert_array_equal(run(masked, {"image": IMAGE}, optimised=False)["map"], whole)


@pytest.mark.parametrize("default", [True, False])
def test_ir_version_3(default):
    """There every initialiser is an input; from version 4 on that makes it a default."""
    model = weights_as_inputs(unet())
    model.ir_version = 3
    model.opset_import[0].version = 9
    onnx.checker.check_model(model, full_check=True)
    masked = add_mask_input(model, DEEP, default=default)
    onnx.checker.check_model(masked, full_check=True)
    assert masked.ir_version == 4
    assert [value.name for value in masked.graph.input] == ["image", "mask"]
    whole = run(model, {"image": IMAGE}, optimised=False)["map"]
    feeds = {"image": IMAGE, "mask": np.ones((1, 8, 1, 1), np.float32)}
    np.testing.assert_array_equal(run(masked, feeds, optimised=False)["map"], whole)


def decorated():
    """A model with everything that is to be kept."""
    model = unet()
    model.producer_name, model.producer_version, model.doc_string = "drawer", "1.2", "by hand"
    model.domain, model.model_version = "org.example", 7
    helper.set_model_props(model, {"author": "nobody", "classes": "2"})
    model.opset_import.append(helper.make_opsetid("local", 1))
    body = [node("Relu", ["x"], ["y"])]
    opset = helper.make_opsetid("", 17)
    model.functions.append(helper.make_function("local", "Act", ["x"], ["y"], body, [opset]))
    place = next(i for i, made in enumerate(model.graph.node) if made.output[0] == "d")
    model.graph.node[place].CopyFrom(node("Act", ["cd"], ["d"], domain="local"))
    model.graph.value_info.extend(
        [
            helper.make_tensor_value_info("a", FLOAT, ["N", 4, "H", "W"]),
            helper.make_tensor_value_info("b", FLOAT, ["N", 8, "h", "w"]),
            helper.make_tensor_value_info("d", FLOAT, [1, 4, "H", "W"]),
        ]
    )
    return model


def all_of_them(model):
    """Every kind of result of this module."""
    types = observed(model, IMAGE).values
    encoder, decoder = split(model, "b", crossings(model, "b"), types)
    return {
        "mask": add_mask_input(model, DEEP),
        "skip": add_mask_input(model, SKIP, default=False),
        "tap": tap(model, ["a", "b"], types),
        "encoder": encoder,
        "decoder": decoder,
    }


def test_the_model_stays_as_it_was():
    model = decorated()
    before = model.SerializeToString(deterministic=True)
    all_of_them(model)
    assert model.SerializeToString(deterministic=True) == before


def test_what_a_model_says_of_itself_is_kept():
    model = decorated()
    for made in all_of_them(model).values():
        onnx.checker.check_model(made)
        for field in ("producer_name", "producer_version", "doc_string", "domain", "model_version"):
            assert getattr(made, field) == getattr(model, field)
        for field in ("metadata_props", "opset_import", "functions"):
            assert list(getattr(made, field)) == list(getattr(model, field))
        assert made.ir_version == model.ir_version
        assert made.graph.name == "tiny"


def test_shapes_are_kept_where_they_still_hold():
    masked = add_mask_input(decorated(), DEEP)
    assert [value.name for value in masked.graph.value_info] == ["a", "b"]
    encoder, decoder = split(decorated(), "b", ["a"])
    assert [value.name for value in encoder.graph.value_info] == ["a", "b"]
    assert [value.name for value in decoder.graph.value_info] == ["d"]


def test_external_data_stay_where_they_are(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(unet(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    whole = run(model, {"image": IMAGE}, tmp_path)["map"]
    types = observed(model, IMAGE, folder=tmp_path).values
    encoder, decoder = split(model, "b", crossings(model, "b"), types)
    for made in (add_mask_input(model, DEEP), tap(model, ["a"], types), encoder, decoder):
        outside = {t.name for t in made.graph.initializer if t.external_data}
        assert outside == {t.name for t in made.graph.initializer} - {"mask"}
        onnx.save(made, tmp_path / "made.onnx")
        onnx.checker.check_model(str(tmp_path / "made.onnx"))
    found = run(add_mask_input(model, DEEP), {"image": IMAGE}, tmp_path)["map"]
    np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-5)
    between = run(encoder, {"image": IMAGE}, tmp_path)
    np.testing.assert_allclose(run(decoder, between, tmp_path)["map"], whole, rtol=1e-5, atol=1e-5)


# ---- taps


def test_values_are_exposed():
    model = unet()
    for types in (None, observed(model, IMAGE).values):
        made = tap(model, ["b", "a", "b", "map"], types)
        onnx.checker.check_model(made, full_check=True)
        assert [value.name for value in made.graph.output] == ["map", "b", "a"]
        found = run(made, {"image": IMAGE})
        expected = run(shown(model, "a", "b"), {"image": IMAGE})
        for name in ("a", "b", "map"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-6)


def test_exposed_values_are_of_any_size():
    model = unet()
    made = tap(model, ["a"], observed(model, IMAGE).values)
    assert run(made, {"image": drawn((2, 1, 8, 8))})["a"].shape == (2, 4, 8, 8)


def test_the_image_can_be_exposed():
    made = tap(unet(), ["image"])
    np.testing.assert_array_equal(run(made, {"image": IMAGE})["image"], IMAGE)


def test_a_value_to_expose_that_is_not_there():
    with pytest.raises(GraphError, match=r"no node that makes 'joyned'; did you mean 'joined'\?"):
        tap(unet(), ["a", "joyned"])


def test_a_value_of_unknown_type():
    model = unet()
    model.graph.node.append(node("Odd", ["b"], ["strange"], domain="somewhere"))
    model.opset_import.append(helper.make_opsetid("somewhere", 1))
    with pytest.raises(GraphError, match=r"the type of 'strange' is not known, and a value with"):
        tap(model, ["strange"])


def test_only_some_values_and_what_they_are_made_from():
    model = decorated()
    made = tap_outputs(model, ["b", "a"], observed(model, IMAGE).values)
    onnx.checker.check_model(made)
    assert {value.name for value in made.graph.output} == {"a", "b"}
    assert [one.output[0] for one in made.graph.node] == ["ca", "a", "cb", "b"]
    assert {tensor.name for tensor in made.graph.initializer} == {"wa", "ba", "wb"}
    assert [value.name for value in made.graph.value_info] == ["a", "b"]
    expected = run(shown(model, "a", "b"), {"image": IMAGE})
    for name, value in run(made, {"image": IMAGE}).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-6)


def test_every_value_can_be_exposed():
    model = unet()
    before = model.SerializeToString()
    found = run(expose_all(model), {"image": IMAGE}, optimised=False)
    assert list(found) == ["map", "ca", "a", "cb", "b", "up", "joined", "cd", "d"]
    assert found["joined"].shape == (1, 8, 16, 24)
    assert model.SerializeToString() == before


# ---- splits


def test_encoder_then_decoder_is_the_whole():
    model = unet()
    assert crossings(model, "b") == ("a",)
    for types in (None, observed(model, IMAGE).values):
        encoder, decoder = split(model, "b", ["a"], types)
        for part in (encoder, decoder):
            onnx.checker.check_model(part, full_check=True)
        assert [value.name for value in encoder.graph.input] == ["image"]
        assert [value.name for value in encoder.graph.output] == ["b", "a"]
        assert [value.name for value in decoder.graph.input] == ["b", "a"]
        assert [value.name for value in decoder.graph.output] == ["map"]
        assert {t.name for t in encoder.graph.initializer} == {"wa", "ba", "wb"}
        assert {t.name for t in decoder.graph.initializer} == {"wu", "wd", "bd", "wm"}
        between = run(encoder, {"image": IMAGE}, optimised=False)
        whole = run(model, {"image": IMAGE}, optimised=False)["map"]
        np.testing.assert_array_equal(run(decoder, between, optimised=False)["map"], whole)


def test_halves_of_a_masked_model_keep_the_mask_in_the_decoder():
    masked = add_mask_input(unet(), DEEP)
    encoder, decoder = split(masked, "b", crossings(masked, "b"), observed(unet(), IMAGE).values)
    assert [value.name for value in encoder.graph.input] == ["image"]
    assert [value.name for value in decoder.graph.input] == ["b", "a", "mask"]
    between = run(encoder, {"image": IMAGE})
    expected = run(masked, {"image": IMAGE, "mask": HALF})["map"]
    found = run(decoder, {**between, "mask": HALF})["map"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_decoder_that_lacks_something():
    with pytest.raises(GraphError, match=r"the decoder needs 'a', which does not cross the cut; "):
        split(unet(), "b", [])


def test_a_cut_without_influence():
    model = unet()
    model.graph.node.append(node("Neg", ["b"], ["aside"]))
    for cut in ("aside", "map"):
        with pytest.raises(GraphError, match=f"no output of graph 'tiny' depends on '{cut}': th"):
            split(model, cut, [])


def test_a_cut_that_is_not_there():
    with pytest.raises(GraphError, match="no node that makes 'nowhere'"):
        split(unet(), "nowhere", [])


def test_the_image_may_cross_and_so_may_sizes():
    """The decoder enlarges b to the size of the image, and adds that."""
    nodes = [
        node("MaxPool", ["image"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Shape", ["image"], ["size"]),
        node("Resize", ["b", "", "", "size"], ["up"], mode="nearest"),
        node("Mul", ["up", "image"], ["product"]),
        node("Mul", ["product", "two"], ["map"]),
    ]
    sides = ["N", 1, "H", "W"]
    model = network(nodes, {"image": sides}, {"map": sides}, {"two": np.float32(2)})
    assert crossings(model, "b") == ("image", "size")
    encoder, decoder = split(model, "b", crossings(model, "b"), observed(model, IMAGE).values)
    for part in (encoder, decoder):
        onnx.checker.check_model(part, full_check=True)
    (size,) = [value for value in decoder.graph.input if value.name == "size"]
    assert size.type.tensor_type.elem_type == TensorProto.INT64
    assert sides_of(size) == [4]
    for image in (IMAGE, drawn((1, 1, 10, 14))):
        between = run(encoder, {"image": image})
        whole = run(model, {"image": image})["map"]
        np.testing.assert_array_equal(run(decoder, between)["map"], whole)


def test_constants_are_on_both_sides():
    nodes = [
        node("Constant", [], ["two"], value_float=2.0),
        node("Identity", ["two"], ["factor"]),
        node("Mul", ["image", "factor"], ["b"]),
        node("Mul", ["b", "factor"], ["map"]),
    ]
    sides = [1, 1, 4, 6]
    model = network(nodes, {"image": sides}, {"map": sides})
    assert crossings(model, "b") == ()
    encoder, decoder = split(model, "b", [], observed(model, drawn(sides)).values)
    for part in (encoder, decoder):
        onnx.checker.check_model(part, full_check=True)
        assert [made.op_type for made in part.graph.node] == ["Constant", "Identity", "Mul"]


def test_outputs_that_do_not_depend_on_the_cut_are_the_encoder_s():
    model = unet()
    model.graph.node.append(node("Neg", ["a"], ["early"]))
    model.graph.output.insert(0, helper.make_tensor_value_info("early", FLOAT, [None] * 4))
    model.graph.output.append(helper.make_tensor_value_info("b", FLOAT, [None] * 4))
    model.graph.output.append(helper.make_tensor_value_info("a", FLOAT, [None] * 4))
    encoder, decoder = split(model, "b", ["a"])
    assert [value.name for value in encoder.graph.output] == ["b", "a", "early"]
    assert [value.name for value in decoder.graph.output] == ["map"]
    for part in (encoder, decoder):
        onnx.checker.check_model(part, full_check=True)


def test_nodes_that_nobody_needs_are_dropped():
    model = unet()
    model.graph.node.append(node("Mul", ["b", "useless"], ["aside"]))
    useless = numpy_helper.from_array(np.float32(2), "useless")
    model.graph.initializer.append(useless)
    for part in split(model, "b", ["a"]):
        assert "aside" not in {name for made in part.graph.node for name in made.output}
        assert "useless" not in {tensor.name for tensor in part.graph.initializer}


def test_a_cut_across_control_flow_carries_what_the_branches_read():
    result = helper.make_tensor_value_info("t", FLOAT, None)
    then = helper.make_graph([node("Add", ["b", "a"], ["t"])], "then", [], [result])
    nodes = [
        node("Relu", ["image"], ["a"]),
        node("Neg", ["a"], ["b"]),
        node("If", ["flag"], ["map"], then_branch=then, else_branch=then),
    ]
    sides = [1, 1, 4, 6]
    model = network(nodes, {"image": sides}, {"map": sides}, {"flag": np.array(True)})
    assert crossings(model, "b") == ("a",)
    encoder, decoder = split(model, "b", ["a"], observed(model, drawn(sides)).values)
    assert not run(decoder, run(encoder, {"image": drawn(sides)}))["map"].any()
