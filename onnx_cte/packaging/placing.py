"""Puts a package in its place, whole or not at all, and never over what is not to go."""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx_cte.descriptor.package import description_among
from onnx_cte.errors import OutputError


def refuse_replacing(target: Path, read: Iterable[Path], force: bool) -> None:
    """Refuse to write over anything that nobody said could go.

    Parameters
    ----------
    target : Path
        What is to be written.
    read : iterable of Path
        Files that the package is made of; they may not lie in what is replaced.
    force : bool
        Whether a package, a zip, or an empty folder may go.

    Raises
    ------
    OutputError
    """
    if not target.exists():
        return
    if any(file.resolve().is_relative_to(target.resolve()) for file in read):
        raise OutputError(f"'{target}' holds the model that is read; write elsewhere with --out")
    if not force:
        raise OutputError(f"'{target}' is there already; --force replaces it, or choose another")
    names = [file.name for file in target.iterdir()] if target.is_dir() else []
    is_zip = target.is_file() and zipfile.is_zipfile(target)
    if not is_zip and names and description_among(names) is None:
        raise OutputError(
            f"'{target}' is no package (it has no bioimageio.yaml), and is not replaced; choose "
            "another place with --out"
        )
    if target.is_file() and not is_zip:
        raise OutputError(f"'{target}' is no zip, and is not replaced; choose another with --out")
    if target.is_dir() and target.suffix.lower() == ".zip":
        raise OutputError(f"'{target}' is a folder; choose another place with --out")


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A folder beside the target that is gone at the end, whatever happens."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".onnx-cte-", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        yield place
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def zipped(folder: Path, archive: Path) -> Path:
    """Put the files of a folder into a zip."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        for file in sorted(folder.iterdir()):
            members.write(file, file.name)
    return archive


def move(made: Path, target: Path) -> None:
    """Put what was made in its place; what was there goes only then."""
    if target.is_dir():
        aside = made.parent / "before"
        os.replace(target, aside)
        try:
            os.replace(made, target)
        except OSError:
            os.replace(aside, target)
            raise
    else:
        os.replace(made, target)


def _unwritable(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"'{target}' cannot be written: {error.strerror or error}; choose another with --out"
    )
