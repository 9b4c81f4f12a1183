"""Results as files that are there whole, or not at all."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnx_cte.errors import OutputError


def prepare_folder(folder: str | Path) -> Path:
    """Make the folder for results, before anything is measured for it.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    path = Path(folder)
    probe = path / f".onnx-cte-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"output folder '{path}' cannot be written: {error.strerror or error}; "
            "choose another with --out"
        ) from error
    return path


def replace_file(file: Path, text: str) -> None:
    """Write beside and rename, so that a reader never sees half a file.

    Raises
    ------
    OutputError
        If it cannot be written; what was there before is there still.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        # Names of files need not be text: what cannot be encoded is written as \\udcff.
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"'{file}' cannot be written: {error.strerror or error}") from error


@contextmanager
def beside_ranking(folder: Path) -> Iterator[None]:
    """Say of what cannot be written that the ranking is there, if it is."""
    try:
        yield
    except OutputError as error:
        if not (folder / "ranking.json").exists():
            raise
        raise OutputError(
            f"{error}; the ranking itself is whole in ranking.json, of which "
            f"`onnx-cte report {folder}` makes the others"
        ) from error


def remove_files(folder: Path, *names: str) -> None:
    """Remove those of the files that are there; OutputError if that is not allowed."""
    try:
        for name in names:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"'{folder}' cannot be removed: {error.strerror or error}") from error


def read_document(file: Path, kind: str) -> dict[str, Any]:
    """The JSON object in a file; OutputError if there is none, which should be of this kind."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"'{file}' cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise OutputError(f"'{file}' is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise OutputError(f"'{file}' is no {kind}: a JSON object was expected")
    return document


def json_text(document: Mapping[str, Any]) -> str:
    """JSON to be read by people too."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
