"""What an ONNX file says of itself, for people: versions, ports with their types, its weights."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper

from onnx_cte.graph.signature import load_graph
from onnx_cte.graph.writing import tensors_in


@dataclass(frozen=True, slots=True)
class Declared:
    """A graph input or output as the file declares it.

    Attributes
    ----------
    name : str
    shape : tuple of (int, str or None) or None
        Free sizes by the name they are given, None without one; None in all if not even the rank
        is declared.
    dtype : str
        NumPy's name, or ONNX's where NumPy has none; "sequence" and the like for what is no
        tensor.
    default : bool
        Whether an input need not be fed.
    """

    name: str
    shape: tuple[int | str | None, ...] | None
    dtype: str
    default: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """What an ONNX file says of itself.

    Attributes
    ----------
    ir_version : int
    opsets : tuple of (str, int)
        Domain and version; the default domain is "ai.onnx".
    producer : str
        What wrote it, with its version; may be empty.
    nodes : int
        Of the main graph.
    parameters : int
        Numbers in its weights and constants.
    inputs, outputs : tuple of Declared
        Weights that are inputs with a default, as before IR version 4, are left out.
    """

    ir_version: int
    opsets: tuple[tuple[str, int], ...]
    producer: str
    nodes: int
    parameters: int
    inputs: tuple[Declared, ...]
    outputs: tuple[Declared, ...]


def summary(path: Path) -> Summary:
    """Summarise an ONNX file, without reading its external data.

    Raises
    ------
    GraphError
        If it is none.
    """
    model = load_graph(path)
    graph = model.graph
    defaults = {tensor.name for tensor in graph.initializer}
    # Before IR version 4 all weights had to be inputs: no defaults are meant by it.
    listed = [v for v in graph.input if model.ir_version >= 4 or v.name not in defaults]
    return Summary(
        ir_version=int(model.ir_version),
        opsets=tuple((o.domain or "ai.onnx", int(o.version)) for o in model.opset_import),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        nodes=len(graph.node),
        parameters=sum(prod(tensor.dims) for tensor in tensors_in(model)),
        inputs=tuple(_declared(value, value.name in defaults) for value in listed),
        outputs=tuple(_declared(value, False) for value in graph.output),
    )


def _declared(value: Any, default: bool) -> Declared:
    kind = value.type.WhichOneof("value") or "unknown"
    if kind != "tensor_type":
        return Declared(value.name, None, kind.removesuffix("_type"), default)
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return Declared(value.name, None, _dtype(tensor.elem_type), default)
    sizes = tuple(
        int(side.dim_value) if side.dim_value > 0 else side.dim_param or None
        for side in tensor.shape.dim
    )
    return Declared(value.name, sizes, _dtype(tensor.elem_type), default)


def _dtype(number: int) -> str:
    name = str(TensorProto.DataType.Name(number))
    try:
        return str(helper.tensor_dtype_to_np_dtype(number))
    except KeyError:
        return name.lower()
