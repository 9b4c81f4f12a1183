import numpy as np
import pytest
from graph_models import distance, drawn, network, node, observed, run
from onnx import numpy_helper

from onnx_cte.graph import sinking
from onnx_cte.graph.rewriting import Bench

SKIP, DEEP = 3, 5
WHOLE = SKIP + DEEP
SIDES = (6, 7)


def joined(after, weights=None, *, axis=1, opset=17, shape=(WHOLE, *SIDES)):
    """Concat of an image's halves, the second times a mask, and then `after`, which ends in map."""
    nodes = [
        node("Split", ["image", "halves"], ["skip", "deep"], axis=axis),
        node("Mul", ["deep", "mask"], ["masked"]),
        node("Concat", ["skip", "masked"], ["joined"], axis=axis),
        *after,
    ]
    held = {"halves": np.array([SKIP, DEEP]), **(weights or {})}
    one = [1] * (len(shape) + 1)
    one[axis] = DEEP
    ports = {"image": [1, *shape], "mask": ["N", *one[1:]]}
    model = network(nodes, ports, {"map": [None] * 4}, held, opset=opset)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def sunk(model, image, mask):
    """The model after one round, and the kinds of its last nodes."""
    seen = {
        name: value.shape for name, value in observed(with_mask(model, mask), image).values.items()
    }
    changed = type(model)()
    changed.CopyFrom(model)
    bench = Bench(changed, seen, ["mask"], None)
    moved = sinking.sink(bench)
    bench.restart()
    return changed, moved


def with_mask(model, mask):
    """The model with a constant for its mask, so that an image is all it needs."""
    changed = type(model)()
    changed.CopyFrom(model)
    del changed.graph.input[1]
    changed.graph.initializer.append(numpy_helper.from_array(mask, "mask"))
    return changed


def compared(model, *, image=None, moved=True):
    """Check that a round changes nothing in the result, and return the changed model."""
    image = (
        drawn([d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim])
        if image is None
        else image
    )
    shape = [d.dim_value or 1 for d in model.graph.input[1].type.tensor_type.shape.dim]
    mask = drawn(shape, seed=3)
    changed, was_moved = sunk(model, image, mask)
    assert was_moved == moved
    feeds = {"image": image, "mask": mask}
    expected = run(model, feeds, optimised=False)["map"]
    found = run(changed, feeds, optimised=False)["map"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected).max() > 0
    if moved:
        kinds = [made.op_type for made in changed.graph.node]
        last = max(i for i, kind in enumerate(kinds) if kind == "Concat")
        assert changed.graph.node[last].output[0] == "map"
    return changed


POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}
# How each operator of the module's tables is called: other inputs, attributes, opset.
UNARY = {
    "Relu": {}, "LeakyRelu": {"alpha": 0.3}, "Elu": {"alpha": 0.7}, "Selu": {}, "Celu": {},
    "Gelu": {}, "HardSwish": {}, "HardSigmoid": {}, "Mish": {}, "Softplus": {}, "Softsign": {},
    "Clip": {}, "Tanh": {}, "Sigmoid": {}, "ThresholdedRelu": {}, "Identity": {}, "Cast": {"to": 1},
    "Erf": {}, "Neg": {}, "Abs": {}, "Exp": {}, "Sqrt": {}, "MaxPool": POOL, "AveragePool": POOL,
    "Dropout": {}, "Transpose": {"perm": [0, 2, 3, 1]}, "Pad": {},
}  # fmt: skip
INPUTS = {"Clip": ["low", "high"], "Pad": ["pads", "fill"], "Dropout": ["ratio"]}
WEIGHTS = {
    "low": np.float32(-0.5),
    "high": np.float32(0.5),
    "pads": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
    "fill": np.float32(0.25),
    "ratio": np.float32(0.5),
}


def vectors(count):
    """Parameters per channel; the last, a variance, is positive."""
    made = {f"p{number}": drawn((WHOLE,), seed=number + 10) for number in range(count)}
    if count:
        made[f"p{count - 1}"] = np.abs(made[f"p{count - 1}"]) + 0.5
    return made


@pytest.mark.parametrize("op", sorted(sinking._UNARY))
def test_operators_without_parameters(op):
    more = INPUTS.get(op, [])
    opset = {"Gelu": 20, "Mish": 18}.get(op, 17)
    weights = {name: WEIGHTS[name] for name in more}
    model = joined([node(op, ["joined", *more], ["map"], **UNARY[op])], weights, opset=opset)
    image = np.abs(drawn((1, WHOLE, *SIDES))) if op == "Sqrt" else None
    if op == "Sqrt":
        model.graph.node[1].op_type = "Max"  # the square root of something positive
    compared(model, image=image)


@pytest.mark.parametrize("op", sorted(sinking._PER_CHANNEL))
def test_operators_with_parameters_per_channel(op):
    weights = vectors(sinking._PER_CHANNEL[op])
    compared(joined([node(op, ["joined", *weights], ["map"])], weights))


@pytest.mark.parametrize("op", sorted(sinking._WITH_CONSTANT))
@pytest.mark.parametrize(
    "shape",
    [(), (1,), (1, WHOLE, 1, 1), (WHOLE, 1, 1), (1, 1, 1, 1), (1, WHOLE, *SIDES), (SIDES[1],)],
    ids=str,
)
def test_operators_with_a_constant(op, shape):
    constant = np.abs(drawn(shape, seed=4)).astype(np.float32) + np.float32(0.5)
    compared(joined([node(op, ["joined", "p"], ["map"])], {"p": constant}))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_the_constant_may_come_first(op):
    constant = drawn((1, WHOLE, 1, 1), seed=4)
    image = np.abs(drawn((1, WHOLE, *SIDES))) + 1
    compared(joined([node(op, ["p", "joined"], ["map"])], {"p": constant}), image=image)


def test_the_slope_of_prelu_broadcasts_from_the_right():
    """A vector as long as a row of the image, which happens to be as long as the channels."""
    shape = (WHOLE, 6, WHOLE)
    slopes = {"p": np.abs(drawn((WHOLE,), seed=4))}
    compared(joined([node("PRelu", ["joined", "p"], ["map"])], slopes, shape=shape))


def test_every_listed_operator_is_tried():
    assert set(UNARY) == sinking._UNARY


def test_transposition_to_channels_last_and_by_default():
    last = joined([node("Transpose", ["joined"], ["map"], perm=[0, 2, 3, 1])])
    changed = compared(last)
    assert changed.graph.node[-1].attribute[0].i == 3
    # Without a permutation the axes are reversed.
    changed = compared(joined([node("Transpose", ["joined"], ["map"])]))
    assert changed.graph.node[-1].attribute[0].i == 2


def test_channels_last_graphs():
    shape = (*SIDES, WHOLE)
    first = node("Transpose", ["joined"], ["map"], perm=[0, 3, 1, 2])
    changed = compared(joined([first], axis=3, shape=shape))
    assert changed.graph.node[-1].attribute[0].i == 1
    bias = {"p": drawn((WHOLE,), seed=4)}
    compared(joined([node("Add", ["joined", "p"], ["map"])], bias, axis=3, shape=shape))
    compared(joined([node("Add", ["joined", "p"], ["map"])], bias, axis=-1, shape=shape))


LEFT = {
    "pads channels": (
        node("Pad", ["joined", "p"], ["map"]), {"p": np.array([0, 1, 0, 0, 0, 0, 0, 0])}, 1,
    ),
    "pads channels at the end": (
        node("Pad", ["joined", "p"], ["map"]), {"p": np.array([0, 0, 0, 0, 0, 1, 0, 0])}, 1,
    ),
    "pads by axes": (
        node("Pad", ["joined", "p", "", "axes"], ["map"]),
        {"p": np.array([1, 1]), "axes": np.array([2])},
        1,
    ),
    "pools along the joined axis": (node("MaxPool", ["joined"], ["map"], **POOL), {}, 3),
    "mixes channels": (node("Softmax", ["joined"], ["map"], axis=1), {}, 1),
    "reduces": (node("ReduceMean", ["joined"], ["map"], axes=[1]), {}, 1),
    "adds a map that is no constant": (node("Add", ["joined", "image"], ["map"]), {}, 1),
    "adds itself": (node("Add", ["joined", "joined"], ["map"]), {}, 1),
    "raises the rank": (
        node("Add", ["joined", "p"], ["map"]), {"p": drawn((2, 1, 1, 1, 1))}, 1,
    ),
    "two outputs": (node("MaxPool", ["joined"], ["map", "places"], **POOL), {}, 1),
    "norms along another axis": (
        node("InstanceNormalization", ["joined", "p", "q"], ["map"]),
        {"p": drawn((6,), seed=1), "q": drawn((6,), seed=2)},
        3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_what_cannot_be_taken_apart_is_left_alone(name):
    made, weights, axis = LEFT[name]
    shape = (WHOLE, *SIDES) if axis == 1 else (*SIDES, WHOLE)
    model = joined([made], weights, axis=axis, shape=shape, opset=18 if "axes" in weights else 17)
    changed = compared(model, moved=False)
    assert changed.graph.node == model.graph.node


def test_a_concatenation_of_masked_values_only_is_left_alone():
    model = joined([node("Relu", ["joined"], ["map"])])
    model.graph.node[2].input[0] = "masked"
    compared(model, moved=False)


def test_a_mask_with_a_default_is_no_constant():
    model = joined([node("Mul", ["joined", "other"], ["map"])])
    port = type(model.graph.input[1])()
    port.CopyFrom(model.graph.input[1])
    port.name = "other"
    model.graph.input.append(port)
    ones = np.ones((1, WHOLE, 1, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(ones, "other"))
    changed = type(model)()
    changed.CopyFrom(model)
    shapes = {n: (1, s, *SIDES) for n, s in (("skip", SKIP), ("masked", DEEP), ("joined", WHOLE))}
    shapes["map"] = shapes["joined"]
    bench = Bench(changed, shapes, ["mask", "other"], None)
    assert not sinking.sink(bench)


def test_several_users_each_go_their_way():
    after = [
        node("Relu", ["joined"], ["a"]),
        node("Neg", ["joined"], ["b"]),
        node("Softmax", ["joined"], ["c"], axis=1),
        node("Sum", ["a", "b", "c"], ["map"]),
    ]
    model = joined(after)
    image, mask = drawn((1, WHOLE, *SIDES)), drawn((1, DEEP, 1, 1), seed=3)
    changed, moved = sunk(model, image, mask)
    assert moved
    kinds = [made.op_type for made in changed.graph.node]
    assert (kinds.count("Relu"), kinds.count("Neg"), kinds.count("Concat")) == (2, 2, 3)
    feeds = {"image": image, "mask": mask}
    assert distance(run(changed, feeds)["map"], run(model, feeds)["map"]) < 1e-6
