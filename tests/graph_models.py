"""Tiny graphs to take apart, and the means to run what was made of them."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnx_cte.graph.maps import Probe, Value

FLOAT = TensorProto.FLOAT
node = helper.make_node


def network(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Sequence[int | str | None]],
    outputs: Mapping[str, Sequence[int | str | None]],
    weights: Mapping[str, NDArray] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 9,
    kind: int = FLOAT,
) -> ModelProto:
    """A model of these nodes, all of whose inputs and outputs are of one type."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(w), name) for name, w in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def unet(
    *, join: str = "Concat", batch: int | str = "N", seed: int = 0, kind: type = np.float32
) -> ModelProto:
    """Two levels: image, a (4 channels), b (8, stride 2: the bottleneck), up, d (4), map (1)."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> NDArray:
        return rng.normal(0, 0.5, shape).astype(kind)

    into = 8 if join == "Concat" else 4
    nodes = [
        node("Conv", ["image", "wa", "ba"], ["ca"], pads=[1] * 4),
        node("Relu", ["ca"], ["a"]),
        node("Conv", ["a", "wb"], ["cb"], pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["cb"], ["b"]),
        node("ConvTranspose", ["b", "wu"], ["up"], strides=[2, 2]),
        node(join, ["up", "a"], ["joined"], **({"axis": 1} if join == "Concat" else {})),
        node("Conv", ["joined", "wd", "bd"], ["cd"], pads=[1] * 4),
        node("Relu", ["cd"], ["d"]),
        node("Conv", ["d", "wm"], ["map"]),
    ]
    weights = {
        "wa": draw(4, 1, 3, 3),
        "ba": draw(4),
        "wb": draw(8, 4, 3, 3),
        "wu": draw(8, 4, 2, 2),
        "wd": draw(4, into, 3, 3),
        "bd": draw(4),
        "wm": draw(1, 4, 1, 1),
    }
    sides = [batch, 1, "H", "W"]
    number = int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
    return network(nodes, {"image": sides}, {"map": [batch, 1, "H", "W"]}, weights, kind=number)


def session(
    model: ModelProto, folder: Path | None = None, *, optimised: bool = True
) -> onnxruntime.InferenceSession:
    """A session on one thread; weights that lie outside the model are read from `folder`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if folder is not None:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, str(folder))
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(
    model: ModelProto | onnxruntime.InferenceSession,
    feeds: Mapping[str, NDArray],
    folder: Path | None = None,
    *,
    optimised: bool = True,
) -> dict[str, NDArray]:
    """All outputs of a model."""
    if isinstance(model, ModelProto):
        model = session(model, folder, optimised=optimised)
    names = [output.name for output in model.get_outputs()]
    return dict(zip(names, model.run(names, dict(feeds)), strict=True))


def observed(
    model: ModelProto,
    image: NDArray,
    axes: str = "bcyx",
    folder: Path | None = None,
    source: str = "image",
) -> Probe:
    """What every value of a model is for one image: the model runs with all of them exposed."""
    exposed = copy.deepcopy(model)
    have = {output.name for output in model.graph.output}
    names = [name for made in model.graph.node for name in made.output if name]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in have)
    values = run(exposed, {source: image}, folder, optimised=False)
    seen = {n: Value(v.shape, str(v.dtype)) for n, v in values.items() if isinstance(v, np.ndarray)}
    seen[source] = Value(image.shape, str(image.dtype))
    return Probe(source, axes, image.shape, seen)


def drawn(shape: Sequence[int], seed: int = 0, kind: type = np.float32) -> NDArray:
    """Seeded noise."""
    return np.random.default_rng(seed).standard_normal(shape).astype(kind)


def rows_of(channels: int, rank: int, count: int, seed: int) -> NDArray:
    """Masks of 0 and 1, the first of ones, in the others about 30 % zeros, never none."""
    rng = np.random.default_rng(seed)
    rows = np.ones((count, channels, *[1] * (rank - 2)), np.float32)
    for row in rows[1:]:
        row[rng.permutation(channels)[: max(1, round(0.3 * channels))]] = 0
    return rows


def distance(found: NDArray, expected: NDArray) -> float:
    """The largest difference, relative to the largest value expected."""
    assert found.shape == expected.shape
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    return float(np.abs(found - expected).max() / np.abs(expected).max())
