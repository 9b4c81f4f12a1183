"""Landmarks of a segmentation network: where it up-samples, and where a map is activated."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from onnx_cte.graph.constants import Constants
from onnx_cte.graph.flow import Flow
from onnx_cte.graph.maps import Probe

CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
_UP = frozenset({"Resize", "Upsample", "ConvTranspose", "DepthToSpace", "MaxUnpool", "Col2Im"})
# What moves values around without computing: pixel shuffle and nearest up-sampling are often
# written with these.
MOVES = frozenset({"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Expand", "Tile", "Identity"})
_ACTIVATIONS = frozenset({
    "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "HardSwish", "HardSigmoid", "Mish",
    "Softplus", "Softsign", "Clip", "Tanh", "Sigmoid", "Swish", "ThresholdedRelu", "FastGelu",
    "QuickGelu", "BiasGelu", "Max", "Concat",
})  # fmt: skip
_TWO_SIDED = frozenset({"Add", "Sum", "Mul", "Where"})
_LINEAR = frozenset({
    "Conv", "BatchNormalization", "InstanceNormalization", "GroupNormalization", "Identity",
    "Dropout", "Cast", "Pad", "QuantizeLinear", "DequantizeLinear", "Add", "Mul", "Sub", "Div",
    "Transpose", "ConvInteger", "MatMul", "DynamicQuantizeLinear",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class UpSampling:
    """A node that makes a finer map of a coarser one.

    Attributes
    ----------
    node : int
    deep : str
        The coarser map.
    positions : int
        Of the coarser map.
    """

    node: int
    deep: str
    positions: int


def up_samplings(flow: Flow, between: Iterable[int], probe: Probe) -> list[UpSampling]:
    """All up-samplings among some nodes, in the graph's order.

    Maps pooled to a single position (squeeze and excitation, image pooling) are no scale of their
    own, and spreading them is no up-sampling. Attention between tokens of different scales is none
    either: only operators that enlarge a map count, and pixel shuffles written as reshapes.
    """
    found = []
    for index in between:
        node = flow.nodes[index]
        fine = probe.feature_map(node.output[0])
        if fine is None or not node.input:
            continue
        deep = ""
        if node.op_type in _UP:
            deep = node.input[0]
        elif node.op_type == "Reshape":
            deep = _moved_from(node.input[0], flow, probe)
        coarse = probe.feature_map(deep) if deep else None
        if coarse is not None and coarse.positions < fine.positions:
            found.append(UpSampling(index, deep, coarse.positions))
    return found


def _moved_from(name: str, flow: Flow, probe: Probe) -> str:
    """The nearest map whose values a value merely moves around, or nothing."""
    while probe.feature_map(name) is None:
        index = flow.producer.get(name)
        if index is None or flow.nodes[index].op_type not in MOVES:
            return ""
        name = flow.nodes[index].input[0]
    return name


def is_active(index: int, flow: Flow, probe: Probe, constants: Constants) -> bool:
    """Whether a node activates: an activation, a sum of branches, a product of two maps.

    Sums count because residual networks end their blocks with one; products because Swish and
    squeeze-and-excitation do. A scale that is found as the network runs is no map. A quantised
    ReLU hides in the zero point of what follows it.
    """
    node = flow.nodes[index]
    if node.op_type in _ACTIVATIONS:
        return True
    if node.op_type in _TWO_SIDED:
        seen = [probe.values.get(name) for name in node.input if name not in constants]
        return sum(value is not None and len(value.shape) > 2 for value in seen) > 1
    if node.op_type == "DequantizeLinear" and len(node.input) > 2:
        zero = constants.value(node.input[2])
        if zero is None or zero.size != 1 or zero.dtype.kind not in "iu":
            return False
        lowest: Any = (
            zero.dtype.type(0) if zero.dtype.kind == "u" else -(2 ** (8 * zero.itemsize - 1))
        )
        return int(zero.ravel()[0]) == int(lowest)
    return False


def activated(name: str, flow: Flow, probe: Probe, constants: Constants) -> str:
    """The last activated map at or before a map, at its scale; the map itself if there is none.

    Goes back over what is linear: a 1x1 convolution that narrows the bottleneck before it is
    up-sampled is the decoder's, and so is a normalisation.
    """
    start = probe.feature_map(name)
    step = name
    while start is not None:
        found = probe.feature_map(step)
        index = flow.producer.get(step)
        if index is None or (found is not None and found.positions != start.positions):
            return name
        if found is not None and is_active(index, flow, probe, constants):
            return step
        if (
            flow.nodes[index].op_type not in _LINEAR
            and flow.nodes[index].op_type not in CONTROL_FLOW
        ):
            return name
        # Control flow is gone through so that it is seen to stand in the way, not stepped over.
        data = [other for other in flow.reads(index) if other not in constants]
        if not data:
            return name
        # A condition comes before what it chooses from.
        step = next((other for other in data if probe.feature_map(other) is not None), data[0])
    return name
