import numpy as np
import pytest
from graph_models import distance, drawn, network, node, run

from onnx_cte.graph.rewriting import Bench
from onnx_cte.graph.upsampling import merge_up_sampling, row_kernels

NEAREST = {"mode": "nearest"}
DOUBLE = np.array([1, 1, 2, 2], np.float32)
TORCH = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def enlarging(
    *, scales=DOUBLE, sizes=None, op="Resize", opset=17, maps=32, attributes=None, conv=None,
    weights=None, bias=True, width=3,
):  # fmt: skip
    """masked = image * mask; up = enlarged; map = convolution of it."""
    given = {**NEAREST, **TORCH} if attributes is None else attributes
    weights = drawn((maps, 3, width, width), seed=1) if weights is None else weights
    roi = "roi" if opset < 13 else ""  # later it may be left out
    inputs = ["masked", "scales"] if op == "Upsample" else ["masked", roi, "scales"]
    if sizes is not None:
        inputs = ["masked", "", "", "sizes"]
    nodes = [
        node("Mul", ["image", "mask"], ["masked"]),
        node(op, inputs, ["up"], **given),
        node(
            "Conv",
            ["up", "w", "b"] if bias else ["up", "w"],
            ["map"],
            **({"pads": [1] * 4} if conv is None else conv),
        ),
    ]
    held = {"w": weights, "b": drawn((len(weights),), seed=2), "roi": np.zeros(0, np.float32)}
    held |= {"scales": scales} if sizes is None else {"sizes": np.array(sizes)}
    sides = [None] * 4
    ports = {"image": [1, 3, 5, 7], "mask": ["N", 3, 1, 1]}
    return network(nodes, ports, {"map": sides}, held, opset=opset)


def merged(model):
    """The model after merging, and the kinds of its nodes."""
    changed = type(model)()
    changed.CopyFrom(model)
    bench = Bench(changed, {}, ["mask"], None)
    merge_up_sampling(bench)
    return changed, [made.op_type for made in changed.graph.node]


def is_merged(kinds):
    """Whether even and odd rows are convolved apart and interleaved."""
    return kinds.count("Conv") == 2 and kinds.count("Reshape") == 3


def outputs(model):
    feeds = {"image": drawn((1, 3, 5, 7)), "mask": drawn((2, 3, 1, 1), seed=5)}
    return run(model, feeds, optimised=False)["map"]


def test_the_kernels_by_hand():
    """One channel: weights 1..9 in reading order. An even row sees [top, middle + bottom]."""
    even, odd = row_kernels(np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3))
    assert even.dtype == odd.dtype == np.float32
    np.testing.assert_array_equal(even, [[[[1, 2, 3], [11, 13, 15]]]])
    np.testing.assert_array_equal(odd, [[[[5, 7, 9], [7, 8, 9]]]])


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_doubling_and_convolving(seed):
    rng = np.random.default_rng(seed)
    maps, channels = (int(n) for n in rng.integers(1, 9, 2))
    sides = [int(n) for n in rng.integers(1, 9, 2)]
    nodes = [
        node("Mul", ["image", "mask"], ["masked"]),
        node("Resize", ["masked", "", "scales"], ["up"], **NEAREST, **TORCH),
        node("Conv", ["up", "w"], ["map"], pads=[1] * 4),
    ]
    held = {"w": drawn((maps, channels, 3, 3), seed), "scales": DOUBLE}
    ports = {"image": [1, channels, *sides], "mask": ["N", channels, 1, 1]}
    model = network(nodes, ports, {"map": [None] * 4}, held)
    feeds = {"image": drawn((1, channels, *sides), seed), "mask": drawn((3, channels, 1, 1), 9)}
    changed, kinds = merged(model)
    assert is_merged(kinds)
    assert distance(run(changed, feeds)["map"], run(model, feeds)["map"]) < 1e-6


# Ways to say that every pixel is repeated; the default of nearest_mode is round_prefer_floor.
DOUBLING = {
    "torch": TORCH,
    "by default": {},
    "half_pixel": {"coordinate_transformation_mode": "half_pixel"},
    "half_pixel up": {
        "coordinate_transformation_mode": "half_pixel",
        "nearest_mode": "round_prefer_ceil",
    },
    "pytorch_half_pixel": {"coordinate_transformation_mode": "pytorch_half_pixel"},
    "tf": {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"},
}


@pytest.mark.parametrize("way", DOUBLING)
@pytest.mark.parametrize("bias", [True, False])
def test_doubling_is_merged(way, bias):
    opset = 12 if way == "tf" else 17  # taken out in opset 13
    model = enlarging(attributes={**NEAREST, **DOUBLING[way]}, bias=bias, opset=opset)
    changed, kinds = merged(model)
    assert is_merged(kinds)
    assert distance(outputs(changed), outputs(model)) < 1e-6


REFUSED = {
    "linear": {"attributes": {"mode": "linear"}},
    "cubic": {"attributes": {"mode": "cubic"}},
    "align_corners": {
        "attributes": {**NEAREST, "coordinate_transformation_mode": "align_corners"}
    },
    "asymmetric, rounded up": {
        "attributes": {**NEAREST, **TORCH, "nearest_mode": "ceil"}
    },
    "half_pixel, rounded down": {"attributes": {**NEAREST, "nearest_mode": "floor"}},
    "three times": {"scales": np.array([1, 1, 3, 3], np.float32)},
    "twice in one direction": {"scales": np.array([1, 1, 2, 1], np.float32)},
    "half as many channels": {"scales": np.array([1, 2, 2, 2], np.float32), "channels": 6},
    "sizes given": {"sizes": [2, 3, 10, 14]},
    "axes given": {
        "scales": DOUBLE[2:], "attributes": {**NEAREST, **TORCH, "axes": [2, 3]}, "opset": 18,
    },
    "upsample of old opsets": {"op": "Upsample", "opset": 9, "attributes": NEAREST},
    "strided": {"conv": {"pads": [1] * 4, "strides": [2, 2]}},
    "dilated": {"conv": {"pads": [2] * 4, "dilations": [2, 2]}},
    "no padding": {"conv": {}},
    "uneven padding": {"conv": {"pads": [1, 1, 0, 0]}},
    "automatic padding": {"conv": {"auto_pad": "SAME_UPPER"}},
    "wider": {"width": 5, "conv": {"pads": [2] * 4}},
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_left_alone(name):
    options = dict(REFUSED[name])
    if options.pop("channels", None):
        options["weights"] = drawn((32, 6, 3, 3), seed=1)
    model = enlarging(**options)
    changed, kinds = merged(model)
    assert not is_merged(kinds)
    assert changed.graph == model.graph
    assert np.isfinite(outputs(changed)).all()


def test_groups_are_left_alone():
    model = enlarging(weights=drawn((33, 1, 3, 3)), conv={"pads": [1] * 4, "group": 3})
    assert merged(model)[1] == ["Mul", "Resize", "Conv"]


def test_weights_that_are_computed_are_left_alone():
    model = enlarging()
    model.graph.node.insert(0, node("Neg", ["w"], ["negative"]))
    model.graph.node[3].input[1] = "negative"
    assert merged(model)[1] == ["Neg", "Mul", "Resize", "Conv"]


def test_half_precision_is_left_alone():
    nodes = [
        node("Mul", ["image", "mask"], ["masked"]),
        node("Resize", ["masked", "", "scales"], ["up"], **NEAREST, **TORCH),
        node("Conv", ["up", "w"], ["map"], pads=[1] * 4),
    ]
    held = {"w": drawn((32, 3, 3, 3), kind=np.float16), "scales": DOUBLE}
    ports = {"image": [1, 3, 5, 7], "mask": ["N", 3, 1, 1]}
    model = network(nodes, ports, {"map": [None] * 4}, held, kind=10)
    assert merged(model)[1] == ["Mul", "Resize", "Conv"]


def test_an_enlarged_map_that_others_want_is_left_alone():
    model = enlarging()
    model.graph.node.append(node("Neg", ["up"], ["other"]))
    assert not is_merged(merged(model)[1])
    model = enlarging()
    model.graph.output.append(type(model.graph.output[0])(name="up"))
    assert not is_merged(merged(model)[1])


def test_what_no_mask_reaches_is_left_alone():
    model = enlarging()
    model.graph.node[1].input[0] = "image"
    assert not is_merged(merged(model)[1])
