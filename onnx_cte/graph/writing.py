"""Write models whose weights may lie beside them: streamed, and whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from onnx import TensorProto
from onnx.external_data_helper import ExternalDataInfo, set_external_data, uses_external_data

from onnx_cte.errors import GraphError, OutputError
from onnx_cte.graph.editing import copied
from onnx_cte.graph.flow import subgraphs

LARGEST = 2**31 - 1
"""Bytes that a protobuf message, and so a file without external data, may have."""
ALIGNMENT = 64
"""Bytes to whose multiples each tensor in a side file is moved."""
_CHUNK = 1 << 24  # bytes in memory at once

_BITS = {
    **dict.fromkeys(("BOOL", "UINT8", "INT8"), 8),
    **dict.fromkeys(("UINT16", "INT16", "FLOAT16", "BFLOAT16"), 16),
    **dict.fromkeys(("UINT32", "INT32", "FLOAT"), 32),
    **dict.fromkeys(("UINT64", "INT64", "DOUBLE", "COMPLEX64"), 64),
    **dict.fromkeys(("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"), 8),
    **dict.fromkeys(("UINT4", "INT4", "FLOAT4E2M1"), 4),
    "COMPLEX128": 128,
}


_SMALL = 1024  # bytes; constants that are looked at stay within the model


def write_model(model: Any, path: Path, folder: Path) -> None:
    """Write a model, its external data into one file beside it.

    Tensors that are within the model stay within it. Those outside are copied one after another
    into ``<name of the file>.data``, a few MB in memory at a time; what the model no longer refers
    to is left behind.

    Parameters
    ----------
    model : onnx.ModelProto
        Loaded without its external data; left as it is.
    path : Path
        File to write; replaced, whole or not at all, if it exists, and its folder made if not.
    folder : Path
        Where the model's external data lies.

    Raises
    ------
    GraphError
        If external data is missing or shorter than the model says.
    OutputError
        If the file cannot be written, exceeds 2 GB without external data, or is what is read.
    """
    external = [tensor for tensor in tensors_in(model) if uses_external_data(tensor)]
    sources = {folder / ExternalDataInfo(tensor).location for tensor in external}
    refuse_overwriting([path, _side_file(path)], sources)
    with staged(path.parent) as place:
        staging = place / path.name
        try:
            if external:
                model = copied(model)
                with _side_file(staging).open("wb") as target:
                    _gather(model, folder, target)
            if model.ByteSize() > LARGEST:
                raise OutputError(
                    f"'{path}' cannot be written: {model.ByteSize()} bytes are more than the 2 GB "
                    "an ONNX file may have; export the network with external data"
                )
            staging.write_bytes(model.SerializeToString())
        except OSError as error:
            raise _unwritable(path, error) from error


def is_external(tensor: Any) -> bool:
    """Whether a tensor's values lie outside of the model."""
    return bool(uses_external_data(tensor))


def set_aside(model: Any, folder: Path) -> None:
    """Move, in place, a model's large weights into a file, so that copies of it are small.

    Parameters
    ----------
    model : onnx.ModelProto
        Without external data of its own.
    folder : Path
        Where the file is made, and where the model's external data lies from now on.
    """
    with (folder / "weights").open("wb") as file:
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) >= _SMALL:
                set_external_data(tensor, "weights", file.tell(), len(tensor.raw_data))
                file.write(tensor.raw_data)
                tensor.ClearField("raw_data")


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Make a place for files that appear in a folder together, or, after an error, not at all.

    Parameters
    ----------
    folder : Path
        Made, with its parents, if it is not there.

    Yields
    ------
    Path
        An empty folder on the same disk. What lies in it at the end is moved into `folder`, in
        place of files of the same names; models last, for they refer to the others.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".onnx-cte-", dir=folder))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield place
        for file in sorted(place.iterdir(), key=lambda file: (file.suffix == ".onnx", file.name)):
            try:
                os.replace(file, folder / file.name)
            except OSError as error:
                raise _unwritable(folder / file.name, error) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def refuse_overwriting(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse to write over a file that is being read, under whatever name.

    Raises
    ------
    OutputError
    """
    read = [source for source in sources if source.exists()]
    for target in targets:
        if target.exists() and any(target.samefile(source) for source in read):
            raise OutputError(
                f"'{target}' is what the model is read from; write to another place with -o"
            )


def written_files(path: Path) -> tuple[Path, ...]:
    """The files that `write_model` may write for a path: the model, and its side file."""
    return path, _side_file(path)


def tensors_in(model: Any) -> Iterator[Any]:
    """All tensors a model holds or refers to: weights, constants, also in subgraphs, functions."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for both in (*sparse, *attribute.sparse_tensors):
            yield from (both.values, both.indices)
    for graph in subgraphs(node):
        yield from _of_graph(graph)


def _side_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.data")


def _gather(model: Any, folder: Path, target: BinaryIO) -> None:
    """Copy all external data into one file, and let the model, in place, refer to it."""
    places: dict[tuple[str, int, int], int] = {}
    for tensor in tensors_in(model):
        if not uses_external_data(tensor):
            continue
        info = ExternalDataInfo(tensor)
        start = int(info.offset or 0)
        # Without a length it is what the type and the shape take, not the rest of the file.
        length = _size(tensor) if info.length is None else int(info.length)
        part = str(info.location), start, length
        if part not in places:
            target.write(bytes(-target.tell() % ALIGNMENT))
            places[part] = target.tell()
            _stream(folder / info.location, tensor.name, start, length, target)
        del tensor.external_data[:]  # a checksum, too, would be that of another file
        for key, value in (
            ("location", Path(target.name).name),
            ("offset", str(places[part])),
            ("length", str(length)),
        ):
            tensor.external_data.add(key=key, value=value)


def _stream(source: Path, name: str, start: int, length: int, target: BinaryIO) -> None:
    """Copy a part of a file."""
    found = 0
    try:
        with source.open("rb") as file:
            file.seek(start)
            while found < length and (read := file.read(min(_CHUNK, length - found))):
                target.write(read)
                found += len(read)
    except FileNotFoundError as error:
        raise GraphError(
            f"weights of tensor '{name}' are in '{source.name}', which is not beside the model"
        ) from error
    if found < length:
        raise GraphError(
            f"'{source.name}' ends within tensor '{name}': {length} bytes expected from byte "
            f"{start} on, found {found}; copy the file anew"
        )


def _size(tensor: Any) -> int:
    """Bytes of a tensor's values, from its type and shape."""
    kind = TensorProto.DataType.Name(tensor.data_type)
    if kind not in _BITS:
        raise GraphError(
            f"tensor '{tensor.name}' of type {kind} lies in another file, and the model does not "
            "say how long it is; export it again"
        )
    bits: int = prod(tensor.dims) * _BITS[kind]
    return -(-bits // 8)


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"'{path}' cannot be written: {error.strerror or error}; choose another place with -o"
    )
