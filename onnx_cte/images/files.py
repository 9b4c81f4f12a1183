"""Which files a folder, a glob, a file, a text file of paths or a list of those stands for."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_cte.errors import CTEError
from onnx_cte.images.ngff import images_in, is_zarr, outside
from onnx_cte.images.readers import READERS

Place = str | os.PathLike[str]
Source = Place | Iterable[Place]
"""A folder, a glob, a file, a text file of those (one a line), or several of those."""

LISTS = (".txt",)
"""Suffixes of text files of paths."""


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
        given by name is taken whatever its suffix. A text file (`LISTS`) names one of these a
        line, relative to its own folder; empty lines and those that begin with # are passed over.
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
        `nothing`, if one of the folders or globs holds no such file, no file is there at all, or a
        text file cannot be read or names nothing.
    """
    given = [source] if isinstance(source, str | os.PathLike) else list(source)
    if not given:
        raise nothing(f"no {kind} given: the list is empty")
    places = [place for one in given for place in _listed(os.fspath(one), kind, nothing)]
    roots: list[str] = []
    paths: list[str] = []
    absent: list[str] = []
    for text in places:
        if is_zarr(text):
            roots.append(outside(text))
            paths += images_in(text)
        elif os.path.isdir(text):
            roots.append(text)
            paths += _readable(_walk(text), f"folder '{text}'", kind, nothing)
        elif os.path.exists(text):
            roots.append(os.path.dirname(text))
            paths.append(text)
        elif glob.has_magic(text):
            roots.append(outside(_before_wildcards(text)))
            paths += _readable(_matches(text), f"'{text}'", kind, nothing)
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


def _listed(place: str, kind: str, nothing: type[CTEError]) -> list[str]:
    """The place itself, or what a text file of places names."""
    path = Path(place)
    if path.suffix.lower() not in LISTS or not path.is_file():
        return [place]
    lines = (line.strip() for line in lines_of(path, f"list of {kind}s", nothing))
    named = [line for line in lines if line and not line.startswith("#")]
    if not named:
        raise nothing(f"{place}: the list of {kind}s is empty; expected a path a line")
    # A list travels with what it lists, whatever folder the command is run in.
    places = [os.path.join(path.parent, line) for line in named]
    if not any(os.path.exists(place) or glob.has_magic(place) for place in places):
        raise nothing(
            f"{place}: none of the {len(places)} paths in this list is there, such as "
            f"'{named[0]}'; they are relative to the folder of the list, or absolute"
        )
    return places


def lines_of(path: Path, what: str, error: type[CTEError]) -> list[str]:
    """The lines of a text file in UTF-8; `error` is raised if it is none."""
    try:
        # A byte order mark, as editors on Windows write it, is no part of the first line.
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"{path}: the {what} cannot be read as text in UTF-8: {cause}") from cause


def _name(path: str, root: str) -> str:
    return Path(os.path.relpath(os.path.abspath(path), root)).as_posix()


def _walk(folder: str) -> list[str]:
    """Every file and OME-Zarr image below a folder, sorted; links are followed, not in circles."""
    files: list[str] = []
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [f for f in folders if not f.startswith(".")]
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        zarrs = [name for name in folders if is_zarr(os.path.join(here, name))]
        folders[:] = [name for name in folders if name not in zarrs]
        files += [image for name in zarrs for image in images_in(os.path.join(here, name))]
        visible = (os.path.join(here, name) for name in names if not name.startswith("."))
        # A pipe or a device would never end; a broken link is kept, to be listed as skipped.
        files += [path for path in visible if os.path.isfile(path) or os.path.islink(path)]
    return sorted(files, key=lambda path: Path(path).parts)


def _matches(pattern: str) -> list[str]:
    """Files and OME-Zarr images that fit a glob, sorted; none of the files in an image."""
    found = sorted(map(Path, glob.glob(pattern, recursive=True)), key=lambda path: path.parts)
    zarrs = {path for path in found if is_zarr(path)}
    outer = (path for path in found if not zarrs.intersection(path.parents))
    listed = (images_in(p) if p in zarrs else [str(p)] * p.is_file() for p in outer)
    return [image for images in listed for image in images]


def _before_wildcards(pattern: str) -> str:
    """The folder of a glob: its part before the first wildcard."""
    parts = Path(pattern).parent.parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return os.path.join(*parts[:fixed]) if fixed else "."


def _readable(paths: Sequence[str], where: str, kind: str, nothing: type[CTEError]) -> list[str]:
    """Those with a suffix that has a reader; `nothing` is raised if there are none."""
    # What was found and is no file is an OME-Zarr image, or a well that a plate should have.
    readable = [
        path
        for path in paths
        if Path(path).suffix.lower() in READERS or os.path.isdir(path) or not os.path.lexists(path)
    ]
    if not readable:
        looked = f"no {kind} in {where}: looked for {' '.join(READERS)} and found"
        if not paths:
            raise nothing(f"{looked} nothing at all")
        plural = "" if len(paths) == 1 else "s"
        shown = ", ".join(
            [os.path.basename(path) for path in paths[:3]] + ["..."] * (len(paths) > 3)
        )
        raise nothing(f"{looked} {len(paths)} other file{plural}{f' ({shown})' if shown else ''}")
    return readable
