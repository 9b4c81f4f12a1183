"""Let one run serve many masks: what does not depend on them is computed once, at batch 1.

With K + 1 rows in the mask, what follows the bottleneck has a batch of K + 1, what leads to it a
batch of 1. An added skip connection broadcasts. A convolution over a concatenation of skip and
up-sampled features is a sum of two convolutions, of which the skip's share does not depend on the
mask: it is computed at batch 1 and added. Where that is not possible the skip is expanded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from onnx_cte.graph.editing import copied, fed_inputs, prune
from onnx_cte.graph.flow import SHAPE_READERS
from onnx_cte.graph.maps import Value
from onnx_cte.graph.rewriting import Bench, attributes, like
from onnx_cte.graph.sinking import sink
from onnx_cte.graph.upsampling import merge_up_sampling

_INPUT_CHANNELS = {"Conv": 1, "ConvTranspose": 0}  # the axis of the weights they are along
_DEEPEST = 64  # rounds of sinking; a chain of so many operators between concat and conv is no U-Net


def share_skips(
    model: Any,
    output: str,
    masks: Sequence[str],
    values: Mapping[str, Value],
    folder: Path | None = None,
    *,
    merge: bool = True,
) -> Any:
    """Rewrite a masked model so that encoder and skips' shares are computed at batch 1.

    Parameters
    ----------
    model : onnx.ModelProto
        With mask inputs, as `onnx_cte.graph.surgery.add_mask_input` adds them.
    output : str
        The output to keep; the others are dropped.
    masks : sequence of str
        Names of the mask inputs; at the run they all have the same number of rows.
    values : mapping of str to Value
        Shapes at a probe, before masks were added.
    folder : Path or None
        Where external data lies.
    merge : bool
        Merge nearest-neighbour up-sampling with the convolution after it: fewer products for more
        nodes, which pays on the CPU.

    Returns
    -------
    onnx.ModelProto
        Equal to the masked model run once a row, up to rounding, where no node fixes the batch;
        this is to be proven by running it.
    """
    bench = _bench(model, output, masks, values, folder)
    _free_fixed_batches(bench)
    _fold_batch_norm(bench)
    for _ in range(_DEEPEST):
        changed = sink(bench)
        bench.restart()
        if not changed:
            break
    _split_convolutions(bench)
    # The concatenations that were taken apart still read what was up-sampled, and are dead.
    prune(bench.model)
    bench.restart()
    if merge:
        merge_up_sampling(bench)
    _expand_concatenated(bench)
    prune(bench.model)
    return bench.model


def expand_skips(
    model: Any,
    output: str,
    masks: Sequence[str],
    values: Mapping[str, Value],
    folder: Path | None = None,
) -> Any:
    """Rewrite a masked model so that skips are copied to every row, and the encoder runs once.

    Parameters and result as for `share_skips`: the simpler way, where sharing fails.
    """
    bench = _bench(model, output, masks, values, folder)
    _free_fixed_batches(bench)
    inputs = [name for name in fed_inputs(bench.model) if name not in masks]
    fed = bench.flow.outputs_of(bench.flow.downstream(inputs)) | set(inputs)
    users = {i for i in bench.dependent if bench.flow.nodes[i].op_type not in SHAPE_READERS}
    crossing = {
        name
        for index in users
        for name in bench.flow.nodes[index].input
        if name not in bench.rows and name in fed and _batched(bench, name)
    }
    _expand(bench, sorted(crossing), users)
    # Constants that are joined as they are, such as maps of coordinates.
    _expand_concatenated(bench)
    return bench.model


def _bench(
    model: Any,
    output: str,
    masks: Sequence[str],
    values: Mapping[str, Value],
    folder: Path | None,
) -> Bench:
    changed = copied(model)
    kept = [value for value in changed.graph.output if value.name == output]
    del changed.graph.output[:]
    changed.graph.output.extend(kept)
    # It speaks of the shapes that one row had.
    del changed.graph.value_info[:]
    prune(changed)
    shapes = {name: value.shape for name, value in values.items()}
    for node in changed.graph.node:
        # What masking added: a product has the shape of the map.
        if node.op_type == "Mul" and node.output[0] not in shapes and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return Bench(changed, shapes, masks, folder)


def _batched(bench: Bench, name: str) -> bool:
    shape = bench.shapes.get(name, ())
    return len(shape) > 2 and shape[0] == 1


def _free_fixed_batches(bench: Bench) -> None:
    """Let ``Reshape`` and ``Resize`` nodes that fix a batch of 1 keep the batch they are given."""
    for index in sorted(bench.dependent):
        node = bench.flow.nodes[index]
        place = {"Reshape": 1, "Resize": 3}.get(node.op_type, len(node.input))
        target = bench.constants.value(node.input[place]) if place < len(node.input) else None
        before, after = (bench.shapes.get(name, ()) for name in (node.input[0], node.output[0]))
        if target is None or not target.size or not before or not after:
            continue
        # A Resize may name axes, and then the first need not be the batch.
        if not before[0] == after[0] == target[0] == 1 or attributes(node).get("axes"):
            continue
        # A length of 1 that is inferred is the batch itself, behind a new axis.
        if -1 in target and after[list(target).index(-1)] == 1:
            continue
        out, inputs = node.output[0], list(node.input)
        nodes: list[Any] = []
        if node.op_type == "Reshape" and not attributes(node).get("allowzero", 0):
            # 0 says: as it is.
            inputs[1] = bench.constant(f"{out}_shape", np.array([0, *target[1:]], np.int64))
        else:
            nodes, rows = _count_rows(bench, node.input[0])
            rest = bench.constant(f"{out}_sides", np.asarray(target[1:], np.int64))
            inputs[place] = bench.value(f"{out}_shape", ())
            nodes.append(helper.make_node("Concat", [rows, rest], [inputs[place]], axis=0))
        bench.replace(index, [*nodes, like(node, inputs, out)])
    bench.restart()


def _count_rows(bench: Bench, name: str) -> tuple[list[Any], str]:
    """Nodes that find out how many rows a value has, and the name of the answer."""
    whole, rows = bench.value(f"{name}_shape", ()), bench.value(f"{name}_count", (1,))
    first = bench.constant("first", np.array([0]))
    shape = helper.make_node("Shape", [name], [whole])
    return [shape, helper.make_node("Gather", [whole, first], [rows])], rows


def _fold_batch_norm(bench: Bench) -> None:
    """Fold batch normalisation into the convolution before it, as the runtime would later.

    After the convolution is split it could not any more.
    """
    for index in sorted(bench.dependent):
        norm = bench.flow.nodes[index]
        if norm.op_type != "BatchNormalization" or attributes(norm).get("training_mode", 0):
            continue
        made = bench.maker(norm.input[0], "Conv")
        if made is None or bench.only_user(norm.input[0]) is None:
            continue
        conv = bench.flow.nodes[made]
        weights = bench.constants.value(conv.input[1])
        bias = bench.constants.value(conv.input[2]) if len(conv.input) > 2 else None
        given = [bench.constants.value(name) for name in norm.input[1:5]]
        if weights is None or (len(conv.input) > 2 and bias is None):
            continue
        if any(array is None for array in given):
            continue
        scale, shift, mean, variance = (np.asarray(array, np.float64) for array in given)
        gain = scale / np.sqrt(variance + attributes(norm).get("epsilon", 1e-5))
        start = 0.0 if bias is None else bias.astype(np.float64)
        folded = weights * gain.reshape(-1, *[1] * (weights.ndim - 1))
        new = [
            bench.constant(f"{conv.output[0]}_weights", folded.astype(weights.dtype)),
            bench.constant(
                f"{conv.output[0]}_bias", ((start - mean) * gain + shift).astype(weights.dtype)
            ),
        ]
        bench.replace(made, [])
        bench.replace(index, [like(conv, [conv.input[0], *new], norm.output[0])])
    bench.restart()


def _split_convolutions(bench: Bench) -> None:
    """Turn convolutions over mixed concatenations into sums of two."""
    for index in sorted(bench.dependent):
        node = bench.flow.nodes[index]
        axis = _INPUT_CHANNELS.get(node.op_type)
        made = bench.maker(node.input[0], "Concat") if axis is not None else None
        if axis is None or made is None or attributes(node).get("group", 1) != 1:
            continue
        concat = bench.flow.nodes[made]
        weights = bench.constants.value(node.input[1])
        bias = bench.constants.value(node.input[2]) if len(node.input) > 2 else None
        sizes = [bench.shapes.get(name, ()) for name in concat.input]
        if (
            weights is None
            or not all(sizes)
            or attributes(concat)["axis"] not in (1, 1 - len(sizes[0]))
        ):
            continue
        if len(node.input) > 2 and bias is None:
            continue
        ends = np.cumsum([size[1] for size in sizes])
        if ends[-1] != weights.shape[axis]:
            continue
        out, parts, nodes = node.output[0], [], []
        for shared in (True, False):
            own = [i for i, name in enumerate(concat.input) if (name not in bench.rows) == shared]
            if not own:
                break
            channels = np.concatenate([np.arange(ends[i] - sizes[i][1], ends[i]) for i in own])
            names = [concat.input[i] for i in own]
            source = names[0]
            if len(names) > 1:
                source = bench.value(f"{out}_source", (1, len(channels), *sizes[0][2:]))
                nodes.append(like(concat, names, source))
            inputs = [source, bench.constant(f"{out}_weights", weights.take(channels, axis))]
            if shared and bias is not None:
                inputs.append(node.input[2])
            parts.append(bench.value(f"{out}_part", bench.shapes.get(out, ())))
            nodes.append(like(node, inputs, parts[-1]))
        if len(parts) == 2:
            bench.replace(index, [*nodes, helper.make_node("Add", [parts[1], parts[0]], [out])])
    bench.restart()


def _expand_concatenated(bench: Bench) -> None:
    """Expand what a concatenation takes at batch 1 beside what has many rows."""
    # Dead ones would be expanded too: the convolutions that were split no longer use them.
    prune(bench.model)
    bench.restart()
    wanted = {
        name
        for index in bench.dependent
        if _is_concat(bench, index)
        for name in bench.flow.nodes[index].input
        if name not in bench.rows and _batched(bench, name)
    }
    _expand(bench, sorted(wanted), {i for i in bench.dependent if _is_concat(bench, i)})


def _is_concat(bench: Bench, index: int) -> bool:
    return bool(bench.flow.nodes[index].op_type == "Concat")


def _expand(bench: Bench, names: Sequence[str], users: set[int]) -> None:
    """Give some nodes copies of values for every row."""
    if not names:
        return
    nodes, rows = _count_rows(bench, bench.masks[0])
    copies = {}
    for name in names:
        ones = bench.constant("ones", np.ones(len(bench.shapes[name]) - 1, np.int64))
        target = bench.value(f"{name}_rows_shape", ())
        copies[name] = bench.value(f"{name}_rows", bench.shapes[name])
        nodes.append(helper.make_node("Concat", [rows, ones], [target], axis=0))
        nodes.append(helper.make_node("Expand", [name, target], [copies[name]]))
    for index in users:
        node = bench.flow.nodes[index]
        for position, name in enumerate(node.input):
            node.input[position] = copies.get(name, name)
    _insert(bench.model, nodes)
    bench.restart()


def _insert(model: Any, nodes: Sequence[Any]) -> None:
    """Insert nodes, each right after what it reads is there."""
    known = {value.name for value in model.graph.input}
    known |= {tensor.name for tensor in model.graph.initializer}
    waiting, ordered = list(nodes), []
    for node in [None, *model.graph.node]:
        if node is not None:
            ordered.append(node)
            known.update(node.output)
        for new in list(waiting):
            if known.issuperset(new.input):
                ordered.append(new)
                known.update(new.output)
                waiting.remove(new)
    del model.graph.node[:]
    model.graph.node.extend(ordered)
