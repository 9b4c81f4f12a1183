"""Small edits that every rewriting of a graph is made of.

Those that change a model in place say so; they are meant for a copy.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper

from onnx_cte.errors import GraphError
from onnx_cte.graph.flow import Flow, read_by, subgraphs
from onnx_cte.graph.maps import Value


def copied(model: Any) -> Any:
    """A model of its own, to be changed in place."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    return changed


def in_order(model: Any) -> Any:
    """The model with every node after those it reads from, as the format demands.

    The runtime takes others too, and converters to half precision write such. The model itself if
    nothing has to be moved.

    Raises
    ------
    GraphError
        If nodes wait for each other in a circle.
    """
    made = {name for node in model.graph.node for name in node.output}
    waiting = [
        (node, {name for name in read_by(node) if name in made}) for node in model.graph.node
    ]
    known: set[str] = set()
    ordered: list[Any] = []
    while waiting:
        late = []
        for node, needs in waiting:
            if needs <= known:
                ordered.append(node)
                known.update(node.output)
            else:
                late.append((node, needs))
        if len(late) == len(waiting):
            raise GraphError(
                f"graph '{model.graph.name}' is no network: '{late[0][0].output[0]}' is computed "
                "from itself; export it again"
            )
        waiting = late
    if all(a is b for a, b in zip(ordered, model.graph.node, strict=True)):
        return model
    changed = copied(model)
    del changed.graph.node[:]
    changed.graph.node.extend(ordered)
    return changed


def serialised(model: Any, file: str) -> bytes:
    """A model as bytes.

    Raises
    ------
    GraphError
        If it has more than 2 GiB of weights in itself, which no ONNX file can hold.
    """
    try:
        packed: bytes = model.SerializeToString()
    except Exception as error:  # EncodeError or ValueError, as protobuf's implementation will
        raise GraphError(
            f"{file}: the rewritten graph is too large ({error}): more than 2 GiB of weights; "
            "save the model with external data"
        ) from error
    return packed


def inlined(model: Any) -> Any:
    """The model with the bodies of its local functions in place of their calls."""
    return onnx.inliner.inline_local_functions(model)


def names_in(model: Any) -> set[str]:
    """All names in use, those within subgraphs included: they may not be used twice either."""
    return _names(model.graph)


def _names(graph: Any) -> set[str]:
    names = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    names |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        names.update(node.input)
        names.update(node.output)
        for inner in subgraphs(node):
            names |= _names(inner)
    return names


def fresh(stem: str, taken: set[str]) -> str:
    """A name that is not taken yet, and is from now on."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name


def fed_inputs(model: Any) -> list[str]:
    """Inputs that must be fed: those that are no default."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in defaults]


def is_input(model: Any, name: str) -> bool:
    """Whether a name is an input of the graph."""
    return any(value.name == name for value in model.graph.input)


def onnx_type(dtype: str) -> int:
    """ONNX's number of a NumPy type."""
    if dtype == "bfloat16":
        return int(TensorProto.BFLOAT16)
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def raise_ir_version(model: Any) -> None:
    """Make defaults of inputs possible, in place.

    Before IR version 4 every initialiser had to be an input. Such inputs are dropped, for they
    would turn all weights into defaults.
    """
    if model.ir_version >= 4:
        return
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = 4


def prune(model: Any) -> None:
    """Drop, in place, nodes and weights that no output needs: the runtime executes dead nodes."""
    flow = Flow(model)
    needed = flow.upstream([value.name for value in model.graph.output])
    kept = [node for index, node in enumerate(flow.nodes) if index in needed]
    used = {name for index in needed for name in flow.reads(index)}
    used |= {value.name for value in model.graph.output}
    del model.graph.node[:]
    model.graph.node.extend(kept)
    defaults = {tensor.name for tensor in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name in used or v.name not in defaults]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for field in (model.graph.initializer, model.graph.sparse_initializer):
        weights = [t for t in field if (t.name if hasattr(t, "name") else t.values.name) in used]
        del field[:]
        field.extend(weights)
    forget_values(model, set(flow.producer) - flow.outputs_of(needed))


def rename_uses(node: Any, names: Mapping[str, str]) -> None:
    """Let a node, and the subgraphs in it, read other values."""
    for position, name in enumerate(node.input):
        if name in names:
            node.input[position] = names[name]
    for graph in subgraphs(node):
        own = {value.name for value in graph.input} | {t.name for t in graph.initializer}
        own |= {name for inner in graph.node for name in inner.output}
        seen = {old: new for old, new in names.items() if old not in own}
        for inner in graph.node:
            rename_uses(inner, seen)
        for value in graph.output:
            if value.name in seen:
                value.name = seen[value.name]


def forget_values(model: Any, names: Iterable[str]) -> None:
    """Drop, in place, what the graph says of the shapes of some values."""
    gone = set(names)
    known = [value for value in model.graph.value_info if value.name not in gone]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)


def ports_for(model: Any, names: Sequence[str], types: Mapping[str, Value] | None) -> list[Any]:
    """Ports for values: from what was seen, from the graph, or by shape inference."""
    known = {v.name: v for v in (*model.graph.input, *model.graph.output, *model.graph.value_info)}
    if any(name not in known and (types is None or name not in types) for name in names):
        inferred = onnx.shape_inference.infer_shapes(model)
        known |= {value.name: value for value in inferred.graph.value_info}
    ports = []
    for name in names:
        seen = types.get(name) if types else None
        if seen is not None:
            # The sizes of a map are those of one probe: only the rank holds at others. What has
            # one axis and is no float is a shape, whose length does not change.
            free = [f"{name}_{axis}" for axis in range(len(seen.shape))]
            shape = not seen.floating and len(seen.shape) < 2
            sides: list[Any] = list(seen.shape) if shape else free
            ports.append(helper.make_tensor_value_info(name, onnx_type(seen.dtype), sides))
        elif name in known and known[name].type.tensor_type.elem_type:
            ports.append(known[name])
        else:
            raise GraphError(
                f"graph '{model.graph.name}': the type of '{name}' is not known, and a value "
                "without a type cannot cross a cut; export the network with shape inference"
            )
    return ports
