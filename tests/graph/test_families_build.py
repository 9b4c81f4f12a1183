"""The families can be built, run, and are what their table says; the analysis is not asked."""

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from families import FAMILIES, Family
from families.building import build, built, cases, find
from onnx import ModelProto, helper, numpy_helper

CASES = cases()


def run(model: Path | bytes, family: Family) -> dict[str, np.ndarray]:
    """Every output at the probe size, on seeded noise."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if isinstance(model, bytes):  # optimisation would fuse away the values to be looked at
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    kind = {"tensor(float)": np.float32, "tensor(float16)": np.float16}[port.type]
    image = np.random.default_rng(0).standard_normal(family.probe).astype(kind)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {port.name: image}), strict=True))


def judged(outputs: dict[str, np.ndarray], family: Family) -> np.ndarray:
    name = family.output if family.output else next(iter(outputs))
    return outputs[name].astype(np.float32)


def candidates(model: ModelProto, family: Family) -> list[tuple[str, int]]:
    """Values with the size and channels of the expected bottleneck, and their channel axis."""
    shown = copy.deepcopy(model)
    known = {output.name for output in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    values = run(shown.SerializeToString(), family)
    sides = [size for size, axis in zip(family.probe, family.axes, strict=True) if axis in "zyx"]
    small = [size // family.stride for size in sides]
    first, last = (1, family.channels, *small), (1, *small, family.channels)
    return [
        (name, 1 if values[name].shape == first else values[name].ndim - 1)
        for name in names
        if values[name].shape in (first, last) and values[name].dtype in (np.float32, np.float16)
    ]


def masked(model: ModelProto, name: str, axis: int, family: Family) -> bytes:
    """The model with about half of the channels of that value set to zero."""
    model = copy.deepcopy(model)
    port = model.graph.input[0].type.tensor_type.elem_type
    shape = [1] * len(family.probe)
    shape[axis] = family.channels
    mask = np.random.default_rng(1).random(shape) < 0.5
    mask = mask.astype(helper.tensor_dtype_to_np_dtype(port))
    nodes = model.graph.node
    place = next(index for index, node in enumerate(nodes) if name in node.output)
    nodes[place].output[list(nodes[place].output).index(name)] = f"{name}_whole"
    nodes.insert(place + 1, helper.make_node("Mul", [f"{name}_whole", "test_mask"], [name]))
    model.graph.initializer.append(numpy_helper.from_array(mask, "test_mask"))
    return model.SerializeToString()


def can_be_masked(family: Family) -> bool:
    """Whether it has a bottleneck, and fits a message of less than 2 GiB."""
    return family.stride is not None and not family.slow


def test_names_are_unique():
    names = [family.name for family in FAMILIES]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_table_is_coherent(family):
    assert len(family.axes) == len(family.probe)
    sides = [size for size, axis in zip(family.probe, family.axes, strict=True) if axis in "zyx"]
    assert len(set(sides)) == len(sides)
    assert set(family.skips or ()) <= {"concat", "add"}
    if family.stride is None:
        assert (family.channels, family.skips) == (None, None)
        assert family.refused
    else:
        assert all(size % family.stride == 0 for size in sides)


@pytest.mark.parametrize("family", CASES)
def test_it_builds_and_runs(family):
    path = built(family)
    onnx.checker.check_model(str(path))
    outputs = run(path, family)
    for value in outputs.values():
        assert np.isfinite(value).all()
    map_ = judged(outputs, family)
    assert map_.ndim == len(family.probe)
    assert map_.std() > 1e-3


@pytest.mark.parametrize("family", [case for case in CASES if can_be_masked(case.values[0])])
def test_a_mask_at_the_expected_bottleneck_bites(family):
    model = onnx.load(built(family))
    name, axis = candidates(model, family)[-1]
    whole = judged(run(model.SerializeToString(), family), family)
    half = judged(run(masked(model, name, axis, family), family), family)
    change = np.abs(half - whole).max() / np.abs(whole).max()
    assert change > 1e-2 if family.effect else change == 0


@pytest.mark.parametrize("name", ["unet-batch-kept", "unet-quantised-static", "hand-function"])
def test_the_same_family_twice_is_the_same_file(tmp_path, name):
    family = find(name)
    one, two = (build(family, tmp_path / part) for part in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
