"""Rewrite graphs: add mask inputs, expose taps, split into encoder and decoder.

Functional: every function returns a new model and leaves the given one as it is. Metadata, opset
imports, functions and external data (which stays where it is, by reference) come along.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from onnx_cte.errors import GraphError
from onnx_cte.graph.editing import (
    copied,
    fed_inputs,
    forget_values,
    fresh,
    is_input,
    names_in,
    onnx_type,
    ports_for,
    prune,
    raise_ir_version,
    rename_uses,
)
from onnx_cte.graph.flow import Flow, read_by, require_value
from onnx_cte.graph.maps import Tap, Value

MASK = "mask"
"""Default name of a mask input."""


def add_mask_input(
    model: Any, tap: Tap, name: str = MASK, *, default: bool = True, pointwise: bool = False
) -> Any:
    """Multiply a feature map by a new graph input.

    Parameters
    ----------
    model : onnx.ModelProto
        With or without its external data.
    tap : Tap
        The map, as `onnx_cte.graph.anatomy.anatomy` found it.
    name : str
        Of the new input: float32, shape (N, C, 1, 1) or (N, C, 1, 1, 1), whatever the layout and
        the precision of the map. N is 1 or the network's batch; with an image batch of 1 it may be
        anything, and all that follows the map then has a batch of N.
    default : bool
        Give the input a default of ones, so that the model behaves as before where nobody feeds
        it. Without, it must be fed.
    pointwise : bool
        Leave the last axes free, for masks that differ from position to position.

    Returns
    -------
    onnx.ModelProto
        Inputs, outputs and their order as before, the mask last among the inputs.

    Raises
    ------
    GraphError
        If the map does not exist, or the name is taken.
    """
    flow = Flow(model)
    if not is_input(model, tap.tensor):
        require_value(flow, model, tap.tensor)
    if name in names_in(model):
        raise GraphError(
            f"graph '{model.graph.name}' has a value named '{name}' already; "
            "give the mask input another name"
        )
    changed = copied(model)
    graph = changed.graph
    raise_ir_version(changed)
    free = [f"{name}_{axis}" for axis in ("depth", "height", "width")[-(tap.rank - 2) :]]
    sides: list[Any] = free if pointwise else [1] * (tap.rank - 2)
    graph.input.append(
        helper.make_tensor_value_info(
            name,
            TensorProto.FLOAT,
            [f"{name}s", f"{name}_channels" if pointwise else tap.channels, *sides],
        )
    )
    if default:
        ones = np.ones((1, tap.channels, *[1] * (tap.rank - 2)), np.float32)
        graph.initializer.append(numpy_helper.from_array(ones, name))
    taken = names_in(changed)
    factor, nodes = name, []
    if tap.axis != 1:
        perm = [0, *range(2, tap.rank), 1]
        arranged = fresh(f"{name}_arranged", taken)
        nodes.append(helper.make_node("Transpose", [factor], [arranged], perm=perm))
        factor = arranged
    if tap.dtype != "float32":
        cast = fresh(f"{name}_cast", taken)
        nodes.append(helper.make_node("Cast", [factor], [cast], to=onnx_type(tap.dtype)))
        factor = cast
    masked = fresh(f"{tap.tensor}_masked", taken)
    nodes.append(helper.make_node("Mul", [tap.tensor, factor], [masked]))
    for index, node in enumerate(graph.node):
        if index in flow.users.get(tap.tensor, ()) and (
            not tap.into or not set(tap.into).isdisjoint(node.output)
        ):
            rename_uses(node, {tap.tensor: masked})
    place = flow.producer.get(tap.tensor, -1) + 1
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*kept[:place], *nodes, *kept[place:]])
    _free_batch(changed, masked)
    return changed


def tap(model: Any, tensors: Sequence[str], types: Mapping[str, Value] | None = None) -> Any:
    """Expose intermediate values as outputs.

    Parameters
    ----------
    model : onnx.ModelProto
    tensors : sequence of str
        Those that are outputs already are left as they are.
    types : mapping of str to Value or None
        What they are, if known; otherwise shape inference is asked.

    Returns
    -------
    onnx.ModelProto
        With the tensors after the outputs it had, in the order given.

    Raises
    ------
    GraphError
        If a tensor does not exist (with suggestions), or nothing tells its type.
    """
    flow = Flow(model)
    for name in tensors:
        if not is_input(model, name):
            require_value(flow, model, name)
    changed = copied(model)
    have = {value.name for value in changed.graph.output}
    wanted = [name for name in dict.fromkeys(tensors) if name not in have]
    changed.graph.output.extend(ports_for(model, wanted, types))
    return changed


def tap_outputs(model: Any, tensors: Sequence[str], types: Mapping[str, Value]) -> Any:
    """The part of a model that computes some values, with these as its only outputs."""
    changed = tap(model, tensors, types)
    kept = [value for value in changed.graph.output if value.name in set(tensors)]
    del changed.graph.output[:]
    changed.graph.output.extend(kept)
    prune(changed)
    return changed


def expose_all(model: Any) -> Any:
    """Expose every value, so that a run tells their shapes; types are left for the run to tell."""
    changed = copied(model)
    have = {value.name for value in changed.graph.output}
    names = [name for node in model.graph.node for name in node.output if name and name not in have]
    changed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return changed


def split(
    model: Any, cut: str, crossing: Sequence[str], types: Mapping[str, Value] | None = None
) -> tuple[Any, Any]:
    """Cut a network into what a map is computed from and what is computed from it.

    Parameters
    ----------
    model : onnx.ModelProto
    cut : str
        The bottleneck.
    crossing : sequence of str
        All other values that the decoder takes from the encoder, as `crossings` lists them.
    types : mapping of str to Value or None
        As in `tap`.

    Returns
    -------
    encoder : onnx.ModelProto
        Inputs of the model; outputs: `cut`, `crossing`, and those outputs of the model that do not
        depend on the cut.
    decoder : onnx.ModelProto
        Inputs: `cut` and `crossing`; outputs: the model's outputs that depend on the cut.

    Raises
    ------
    GraphError
        If the cut does not exist, no output depends on it, or the decoder would need more than
        what crosses.
    """
    flow = Flow(model)
    require_value(flow, model, cut)
    dependent = flow.downstream([cut])
    made = flow.outputs_of(dependent)
    late = [value for value in model.graph.output if value.name in made]
    early = [value for value in model.graph.output if value.name not in made]
    if not late:
        raise GraphError(
            f"no output of graph '{model.graph.name}' depends on '{cut}': there is nothing to cut"
        )
    ports = ports_for(model, [cut, *crossing], types)
    encoder = _part(model, flow, flow.upstream([cut, *crossing, *(v.name for v in early)]))
    exposed = {port.name for port in ports}
    encoder.graph.output.extend([*ports, *(v for v in early if v.name not in exposed)])
    constants = (
        flow.upstream([v.name for v in late]) - flow.downstream(fed_inputs(model)) - dependent
    )
    needed = flow.upstream([v.name for v in late]) & dependent
    decoder = _part(model, flow, needed | constants, inputs=ports)
    decoder.graph.output.extend(late)
    _refuse_missing(decoder)
    prune(encoder)
    prune(decoder)
    return encoder, decoder


def crossings(model: Any, cut: str) -> tuple[str, ...]:
    """All values besides `cut` that what depends on it takes from what does not.

    Parameters
    ----------
    model : onnx.ModelProto
    cut : str

    Returns
    -------
    tuple of str
        In the order of their makers: skip connections, and sizes computed from the image. What is
        constant does not cross: both sides have it.
    """
    flow = Flow(model)
    outputs = [value.name for value in model.graph.output]
    dependent = flow.downstream([cut])
    needed = dependent & flow.upstream(outputs)
    inside = flow.outputs_of(dependent) | {cut}
    fed = flow.outputs_of(flow.downstream(fed_inputs(model))) | set(fed_inputs(model))
    found = {n for i in needed for n in flow.reads(i) if n in fed and n not in inside}
    return tuple(sorted(found, key=lambda name: (flow.producer.get(name, -1), name)))


def _part(model: Any, flow: Flow, nodes: set[int], inputs: Sequence[Any] | None = None) -> Any:
    """A model of some of the nodes, without outputs yet."""
    part = copied(model)
    del part.graph.node[:]
    part.graph.node.extend(flow.nodes[index] for index in sorted(nodes))
    del part.graph.output[:]
    if inputs is not None:
        defaults = {tensor.name for tensor in model.graph.initializer}
        optional = [value for value in model.graph.input if value.name in defaults]
        del part.graph.input[:]
        part.graph.input.extend([*inputs, *optional])
    forget_values(part, set(flow.producer) - flow.outputs_of(nodes))
    return part


def _refuse_missing(model: Any) -> None:
    """Check that a part can be computed from its own inputs."""
    known = {value.name for value in (*model.graph.input, *model.graph.initializer)}
    known |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    for node in model.graph.node:
        for name in read_by(node):
            if name not in known:
                raise GraphError(
                    f"the decoder needs '{name}', which does not cross the cut; pass all that "
                    "`crossings` lists"
                )
        known.update(node.output)


def _free_batch(model: Any, masked: str) -> None:
    """Forget the batch of what depends on a mask: it is no longer the image's alone."""
    flow = Flow(model)
    dependent = flow.outputs_of(flow.downstream([masked])) | {masked}
    forget_values(model, dependent)
    for value in model.graph.output:
        kind = value.type.tensor_type
        batched = kind.HasField("shape") and kind.shape.dim and kind.shape.dim[0].dim_value <= 1
        if value.name in dependent and batched:
            kind.shape.dim[0].dim_param = "rows"
