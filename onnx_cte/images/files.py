"""Which files a folder, a glob, a file or a list of those stands for."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_cte.errors import CTEError
from onnx_cte.images.readers import READERS

Place = str | os.PathLike[str]
Source = Place | Iterable[Place]
"""A folder, a glob, a file, or several of those."""


@dataclass(frozen=True, slots=True)
class Found:
    """Files that were found, in order.

    Attributes
    ----------
    files : mapping of str to Path
        By name: the path relative to the folder, or to the parent common to all that was given,
        with slashes. A glob's folder is its part before the first wildcard.
    missing : tuple of (name, reason)
        Files given by name that are not there.
    """

    files: dict[str, Path]
    missing: tuple[tuple[str, str], ...]


def find(source: Source, kind: str, nothing: type[CTEError]) -> Found:
    """Look for image files; hidden files and folders are passed over.

    Parameters
    ----------
    source : str, path, or iterable of those
        Folders are walked with all below them, in sorted order; globs may hold ``**``; a file
        given by name is taken whatever its suffix.
    kind : str
        What the files should be, for errors: "image".
    nothing : type of CTEError
        Raised where there is nothing.

    Returns
    -------
    Found
        Each file once.

    Raises
    ------
    CTEError
        `nothing`, if one of the folders or globs holds no such file, or no file is there at all.
    """
    places = [source] if isinstance(source, str | os.PathLike) else list(source)
    if not places:
        raise nothing(f"no {kind} given: the list is empty")
    roots: list[str] = []
    paths: list[str] = []
    absent: list[str] = []
    for place in places:
        text = os.fspath(place)
        if os.path.isdir(text):
            roots.append(text)
            paths += _readable(_walk(text), f"folder '{text}'", kind, nothing)
        elif os.path.exists(text):
            roots.append(os.path.dirname(text))
            paths.append(text)
        elif glob.has_magic(text):
            roots.append(_before_wildcards(text))
            matches = sorted(p for p in glob.glob(text, recursive=True) if os.path.isfile(p))
            paths += _readable(matches, f"'{text}'", kind, nothing)
        else:
            roots.append(os.path.dirname(text))
            absent.append(text)
    if not paths:
        raise nothing(f"no {kind} found: there is no file or folder '{absent[0]}'")
    root = os.path.commonpath([os.path.abspath(r) for r in roots])
    return Found(
        {_name(path, root): Path(path) for path in paths},
        tuple((_name(path, root), "there is no such file") for path in absent),
    )


def _name(path: str, root: str) -> str:
    return Path(os.path.relpath(os.path.abspath(path), root)).as_posix()


def _walk(folder: str) -> list[str]:
    """Every file below a folder, sorted; links are followed, but not in circles."""
    files: list[str] = []
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [f for f in folders if not f.startswith(".")]
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        visible = (os.path.join(here, name) for name in names if not name.startswith("."))
        # A pipe or a device would never end; a broken link is kept, to be listed as skipped.
        files += [path for path in visible if os.path.isfile(path) or os.path.islink(path)]
    return sorted(files, key=lambda path: Path(path).parts)


def _before_wildcards(pattern: str) -> str:
    """The folder of a glob: its part before the first wildcard."""
    parts = Path(pattern).parent.parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return os.path.join(*parts[:fixed]) if fixed else "."


def _readable(paths: Sequence[str], where: str, kind: str, nothing: type[CTEError]) -> list[str]:
    """Those with a suffix that has a reader; `nothing` is raised if there are none."""
    readable = [path for path in paths if Path(path).suffix.lower() in READERS]
    if not readable:
        plural = "" if len(paths) == 1 else "s"
        shown = ", ".join(
            [os.path.basename(path) for path in paths[:3]] + ["..."] * (len(paths) > 3)
        )
        raise nothing(
            f"no {kind} in {where}: looked for {' '.join(READERS)} and found {len(paths)} other "
            f"file{plural}{f' ({shown})' if shown else ''}"
        )
    return readable
