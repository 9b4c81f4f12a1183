"""What an ONNX file says of itself: its inputs, its outputs and the files it consists of."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from onnx_cte.errors import GraphError


@dataclass(frozen=True, slots=True)
class Port:
    """A graph input or output.

    Attributes
    ----------
    name : str
    shape : tuple of (int or None) or None
        None where a size is free; None in all where the graph does not even tell the rank.
    """

    name: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """What an ONNX file says of itself.

    Attributes
    ----------
    inputs : tuple of Port
        Those that must be fed: inputs with a default (an initialiser of the same name) are left
        out.
    outputs : tuple of Port
    final_ops : tuple of str
        For each output, the operator that computes it: ``Sigmoid`` and ``Softmax`` tell that the
        values are probabilities. An empty text where no node computes it.
    opset : int
        Of the default operator set.
    files : tuple of Path
        The file itself and its external data.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    final_ops: tuple[str, ...]
    opset: int
    files: tuple[Path, ...]


def read_signature(path: Path) -> Signature:
    """Read an ONNX file without its weights.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Signature

    Raises
    ------
    GraphError
        If the file cannot be read, is no ONNX model, is truncated, or misses external data.
    """
    model = load_graph(path)
    graph = model.graph
    defaults = {tensor.name for tensor in graph.initializer}
    defaults |= {tensor.values.name for tensor in graph.sparse_initializer}
    makers = {name: node.op_type for node in graph.node for name in node.output}
    inputs = tuple(_port(value) for value in graph.input if value.name not in defaults)
    if not inputs or not graph.output:
        raise GraphError(
            f"{path.name}: an ONNX model without "
            f"{'inputs' if not inputs else 'outputs'}; expected a network that takes an image"
        )
    return Signature(
        inputs=inputs,
        outputs=tuple(_port(value) for value in graph.output),
        final_ops=tuple(makers.get(value.name, "") for value in graph.output),
        opset=next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0),
        files=(path, *_external_files(path, model)),
    )


def load_graph(path: Path) -> Any:
    """Parse an ONNX file without its external data, or say in what way it is none.

    Raises
    ------
    GraphError
    """
    try:
        size = path.stat().st_size
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise GraphError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    except DecodeError as error:
        raise GraphError(
            f"{path.name}: is no ONNX model, or is truncated ({size} bytes); "
            "export it again or copy it anew"
        ) from error
    # Protobuf reads some nonsense, and every empty file, as a message without content.
    if not model.graph.node:
        raise GraphError(
            f"{path.name}: holds no ONNX graph ({size} bytes); export it again or copy it anew"
        )
    return model


def _external_files(path: Path, model: Any) -> tuple[Path, ...]:
    """Name the files beside the model that hold its weights, in order of name."""
    needed: dict[Path, int] = {}  # bytes of each file
    for tensor in _tensors(model.graph):
        if not uses_external_data(tensor):
            continue
        info = ExternalDataInfo(tensor)
        place = PurePosixPath(str(info.location).replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts or ":" in place.as_posix():
            raise GraphError(
                f"{path.name}: its weights are said to be in '{place}', outside its own folder, "
                "and are not read from there; export it again, with the file of weights beside it"
            )
        file = path.parent / place
        needed[file] = max(needed.get(file, 0), int(info.offset or 0) + int(info.length or 0))
    for file, least in sorted(needed.items()):
        if not file.is_file():
            raise GraphError(
                f"{path.name}: its weights are in '{file.name}', which is not beside it; "
                "copy both files together"
            )
        if (size := file.stat().st_size) < least:
            raise GraphError(
                f"{path.name}: its weights in '{file.name}' are cut short: {least} bytes expected, "
                f"found {size}; copy the file anew"
            )
    return tuple(sorted(needed))


def _tensors(graph: Any) -> list[Any]:
    """Collect initialisers and constants, those of subgraphs included."""
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                found.append(attribute.t)
            if attribute.HasField("g"):
                found.extend(_tensors(attribute.g))
    return found


def _port(value: Any) -> Port:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return Port(value.name, None)
    sizes = tuple(d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim)
    return Port(value.name, sizes)
