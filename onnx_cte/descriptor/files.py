"""Finds the files that a description names, and checks that they are the files described."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_cte.descriptor.converting import without_onnx
from onnx_cte.errors import DescriptorError

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import InputTensorDescr, ModelDescr, OutputTensorDescr


def weights_of(
    described: "ModelDescr", written: Mapping[str, Any], root: Path, place: Path
) -> Path:
    """The ONNX file of a package, once it and its external data are known to be those described.

    Parameters
    ----------
    described : ModelDescr
        As the zoo's library reads it.
    written : mapping
        As it was written: reading format 0.4, the library drops the hash of the weights.
    root : Path
        The folder of the package.
    place : Path
        The package as it was given, for commands in errors.

    Returns
    -------
    Path

    Raises
    ------
    DescriptorError
        If there are no ONNX weights, or a file is missing or not the one described.
    """
    entry = described.weights.onnx
    if entry is None:
        kinds = [kind for kind, given in written["weights"].items() if given is not None]
        raise DescriptorError(without_onnx(kinds, written["format_version"], place))
    if entry.external_data is not None:
        data = entry.external_data
        _local(data.source, data.sha256, "external data of the weights", root)
    return _local(entry.source, written["weights"]["onnx"].get("sha256"), "ONNX weights", root)


def test_tensor_of(
    tensor: "InputTensorDescr | OutputTensorDescr", root: Path, notes: list[str]
) -> Path | None:
    """The example array of a tensor, once it is known to be the one described.

    Parameters
    ----------
    tensor : InputTensorDescr or OutputTensorDescr
    root : Path
        The folder of the package.
    notes : list of str
        Gets a line if the array is not in the package.

    Returns
    -------
    Path or None
        None if none is described, or if it is not in the package.

    Raises
    ------
    DescriptorError
        If the file is missing or not the one described.
    """
    given = tensor.test_tensor
    if given is None:
        return None
    if _is_remote(given.source):
        notes.append(f"the test tensor of '{tensor.id}' is not in the package")
        return None
    return _local(given.source, given.sha256, f"test tensor of '{tensor.id}'", root)


def _is_remote(source: object) -> bool:
    """Whether a file is described by a URL."""
    return "://" in str(source)


def _local(source: Any, expected: str | None, what: str, root: Path) -> Path:
    """The path of a file of the package, once it is known to be the file described."""
    if _is_remote(source):
        raise DescriptorError(
            f"{what}: {source} is not in the package; download the whole package as a zip file"
        )
    path = root / str(source)
    if not path.is_file():
        raise DescriptorError(f"{what}: there is no file {source} in the package")
    if expected is not None:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != expected.lower():
            raise DescriptorError(
                f"{what}: {source} is not the file described; expected SHA-256 {expected}, "
                f"got {found}"
            )
    return path
