"""Move a concatenation past operators that treat channels one by one.

So that it meets the convolution behind them: pre-activation networks normalise and activate what
they have just concatenated, and channels-last graphs transpose it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnx_cte.graph.rewriting import Bench, attributes, like

# Element by element, whatever the channel.
_UNARY = frozenset({
    "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "HardSwish", "HardSigmoid", "Mish",
    "Softplus", "Softsign", "Clip", "Tanh", "Sigmoid", "ThresholdedRelu", "Identity", "Cast", "Erf",
    "Neg", "Abs", "Exp", "Sqrt", "MaxPool", "AveragePool", "Dropout", "Transpose", "Pad",
})  # fmt: skip
# A parameter or two for each channel.
_PER_CHANNEL = {"BatchNormalization": 4, "InstanceNormalization": 2}
_WITH_CONSTANT = frozenset({"Add", "Sub", "Mul", "Div", "PRelu"})


def sink(bench: Bench) -> bool:
    """Move mixed concatenations one operator on, in place, where they can be.

    Returns
    -------
    bool
        Whether anything was moved; call it again until not, after ``bench.restart()``.
    """
    moved = False
    for index in sorted(bench.dependent):
        concat = bench.flow.nodes[index]
        if concat.op_type != "Concat" or not _mixed(bench, concat):
            continue
        for user in bench.flow.users.get(concat.output[0], []):
            if not bench.replaced(user) and (
                nodes := _moved(bench, concat, bench.flow.nodes[user])
            ):
                bench.replace(user, nodes)
                moved = True
    return moved


def _mixed(bench: Bench, concat: Any) -> bool:
    shared = [name not in bench.rows for name in concat.input]
    # Of maps: sizes are joined as well, to reshape by, and there is nothing to gain.
    known = all(len(bench.shapes.get(name, ())) > 2 for name in concat.input)
    return any(shared) and not all(shared) and known


def _moved(bench: Bench, concat: Any, node: Any) -> list[Any]:
    """Nodes that do the same with the concatenation last; none if that cannot be."""
    rank = len(bench.shapes[concat.input[0]])
    axis = attributes(concat)["axis"] % rank
    sizes = [bench.shapes[name][axis] for name in concat.input]
    if len(node.output) != 1 or list(node.input).count(concat.output[0]) != 1:
        return []
    shape = bench.shapes.get(node.output[0])
    others = _others(bench, node, concat.output[0], axis, rank, sizes)
    if shape is None or others is None or len(shape) != rank:
        return []
    after = axis
    if node.op_type == "Transpose":
        after = list(attributes(node).get("perm", range(rank)[::-1])).index(axis)
    parts, nodes = [], []
    for name, size, own in zip(concat.input, sizes, others, strict=True):
        part = bench.value(
            f"{node.output[0]}_part", tuple(size if i == after else s for i, s in enumerate(shape))
        )
        inputs = [
            name if given == concat.output[0] else own[i] for i, given in enumerate(node.input)
        ]
        nodes.append(like(node, inputs, part))
        parts.append(part)
    joined = like(concat, parts, node.output[0])
    del joined.attribute[:]
    joined.attribute.append(_axis(concat, after))
    return [*nodes, joined]


def _axis(concat: Any, axis: int) -> Any:
    attribute = type(concat.attribute[0])()
    attribute.CopyFrom(concat.attribute[0])
    attribute.i = axis
    return attribute


def _others(
    bench: Bench, node: Any, whole: str, axis: int, rank: int, sizes: Sequence[int]
) -> list[dict[int, str]] | None:
    """For each part, a node's other inputs by position; None if it cannot be taken apart."""
    rest = {i: name for i, name in enumerate(node.input) if name != whole}
    spatial = axis == 1 or node.op_type not in ("MaxPool", "AveragePool")
    if node.op_type in _UNARY and spatial:
        if node.op_type == "Pad" and not _pads_elsewhere(bench, node, axis, rank):
            return None
        return [rest for _ in sizes]
    if node.op_type in _PER_CHANNEL and axis == 1:
        if len(rest) != _PER_CHANNEL[node.op_type]:
            return None
        return _sliced(bench, rest, sizes, 0)
    if node.op_type in _WITH_CONSTANT:
        # They broadcast from the right.
        return _sliced(bench, rest, sizes, axis - rank)
    return None


def _sliced(
    bench: Bench, rest: dict[int, str], sizes: Sequence[int], axis: int
) -> list[dict[int, str]] | None:
    """Constants cut along the channels; None if one of them is no constant."""
    parts: list[dict[int, str]] = [{} for _ in sizes]
    ends = np.cumsum(sizes)
    for position, name in rest.items():
        array = bench.constants.value(name)
        if array is None:
            return None
        whole = array.ndim < -axis or array.shape[axis] == 1
        if not whole and array.shape[axis] != ends[-1]:
            return None
        for part, end, size in zip(parts, ends, sizes, strict=True):
            cut = array if whole else array.take(np.arange(end - size, end), axis)
            part[position] = name if whole else bench.constant(f"{name}_part", cut)
    return parts


def _pads_elsewhere(bench: Bench, node: Any, axis: int, rank: int) -> bool:
    """Whether a ``Pad`` leaves the concatenated axis alone."""
    if len(node.input) < 2 or len(node.input) > 3:
        return False
    pads = bench.constants.value(node.input[1])
    return pads is not None and len(pads) == 2 * rank and not pads[axis] and not pads[axis + rank]
