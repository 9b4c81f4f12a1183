"""What the metadata of OME-Zarr say: which folders are images, and what their axes are."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_cte.errors import ImageError

SUFFIX = ".zarr"
MARKS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
"""Files by which a folder is known as a Zarr group or array, of version 3 or 2."""

_PICTURES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_LETTERS = {"time": "T", "channel": "C"}
_IMPLICIT = "TCZYX"  # Axes of versions 0.1 and 0.2, which name none.
_VERSIONS_WITHOUT_AXES = ("0.1", "0.2")


def is_zarr(folder: str | Path) -> bool:
    """Whether a path is a folder with one of Zarr's files in it, or with its suffix.

    One that has the suffix alone may have lost those files, which is told when it is read; but a
    folder of pictures of other formats, named after what they were made of, is none.
    """
    path = os.fspath(folder)
    if not os.path.isdir(path):
        return False
    if any(os.path.isfile(os.path.join(path, mark)) for mark in MARKS):
        return True
    if not path.rstrip("/\\").lower().endswith(SUFFIX):
        return False
    below = (name for _, _, names in os.walk(path) for name in names)
    return not any(name.lower().endswith(_PICTURES) for name in below)


def images_in(folder: str | Path) -> list[str]:
    """The folders of the images in a Zarr folder; pixels are not looked at.

    Parameters
    ----------
    folder : str or Path
        An image, with one or several resolutions or series; a plate or a well, of which every
        field is an image; or a group without metadata of OME, which is looked through.

    Returns
    -------
    list of str
        Fields in the order of the metadata. The folder itself where it holds nothing that can be
        found, or its metadata are broken, so that reading it says why.
    """
    folder = Path(folder)
    try:
        found = [] if is_array(folder) else [str(path) for path in _images(folder)]
    except ImageError:
        found = []
    return found or [str(folder)]


def _images(folder: Path) -> Iterator[Path]:
    found = attributes(folder)
    if "plate" in found:
        for well in _listed(found, "plate", "wells"):
            inside = folder / well
            fields = list(_fields(inside)) if inside.is_dir() else []
            yield from fields or [inside]
    elif "well" in found:
        yield from _fields(folder)
    elif "multiscales" in found or "bioformats2raw.layout" in found:
        yield folder
    else:  # Arrays in it may be the resolutions of an image of which the metadata are lost.
        for path in sorted(folder.iterdir()):
            if not path.is_symlink() and is_zarr(path):
                yield from _images(path)


def _fields(well: Path) -> Iterator[Path]:
    for field in _listed(attributes(well), "well", "images"):
        yield well / field


def _listed(found: Mapping[str, Any], kind: str, key: str) -> list[str]:
    """Paths of the wells of a plate, or of the images of a well."""
    try:
        return [str(one["path"]) for one in found[kind][key]]
    except (KeyError, TypeError) as error:
        raise ImageError(f"its metadata of a {kind} list no {key} with their paths") from error


def outside(path: str) -> str:
    """The folder that holds a Zarr hierarchy, as an absolute path; or the path, if it is in none.

    Examples
    --------
    >>> outside("/data/plate.zarr/B/03/0"), outside("/data")
    ('/data', '/data')
    """
    here = Path(os.path.abspath(path))
    named = [one for one in (here, *here.parents) if one.name.lower().endswith(SUFFIX)]
    if named:
        return str(named[-1].parent)
    while is_zarr(here) and here != here.parent:
        here = here.parent
    return str(here)


def attributes(folder: Path) -> Mapping[str, Any]:
    """Metadata of OME in a Zarr group.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    mapping
        Of version 0.5 what lies under "ome" in zarr.json, of 0.4 what .zattrs holds; empty if
        there is neither file.

    Raises
    ------
    ImageError
        If a file is no JSON object.
    """
    if (folder / "zarr.json").is_file():
        found = _json(folder / "zarr.json").get("attributes") or {}
        inner = found.get("ome", found) if isinstance(found, dict) else None
        if not isinstance(inner, dict):
            raise ImageError("its metadata file zarr.json is broken: its attributes are no object")
        return inner
    return _json(folder / ".zattrs") if (folder / ".zattrs").is_file() else {}


def series_in(folder: Path) -> list[tuple[Path, Mapping[str, Any], tuple[str, ...]]]:
    """The pictures in the folder of an image, each of which has one or several resolutions.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of (folder, multiscales, names of the channels)
        Several where the metadata list several, or where Bio-Formats wrote one folder a series.

    Raises
    ------
    ImageError
        If there is none, or the metadata are broken.
    """
    found = attributes(folder)
    if "multiscales" not in found and "bioformats2raw.layout" in found:
        return [one for part in _series_folders(folder) for one in series_in(part)]
    listed = found.get("multiscales")
    if not listed:
        raise ImageError(
            "its metadata (.zattrs or zarr.json) describe no OME-Zarr image: there are no "
            "'multiscales' in them; give the folder of an image or plate, and see whether hidden "
            "files (.zattrs) were copied with it"
        )
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ImageError("its OME-Zarr metadata are broken: 'multiscales' is no list of objects")
    names = _channel_names(found) if len(listed) == 1 else ()
    return [(folder, one, names) for one in listed]


def _series_folders(folder: Path) -> list[Path]:
    """Where Bio-Formats put the series: as OME/ lists them, or numbered."""
    named = attributes(folder / "OME").get("series")
    if isinstance(named, list):
        return [folder / str(name) for name in named]
    numbered = [path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
    if not numbered:
        raise ImageError("a Bio-Formats hierarchy without series: no folders 0, 1, ... are in it")
    return sorted(numbered, key=lambda path: int(path.name))


def dataset(multiscales: Mapping[str, Any]) -> str:
    """Path of the array of the highest resolution, which the metadata name first."""
    try:
        return str(multiscales["datasets"][0]["path"])
    except (KeyError, IndexError, TypeError) as error:
        raise ImageError(
            "its OME-Zarr metadata are broken: 'multiscales' name no dataset with a path"
        ) from error


def axes_of(multiscales: Mapping[str, Any], shape: Sequence[int]) -> tuple[str, str]:
    """A letter a dimension, as `Stored` has them, and why they cannot be trusted.

    Parameters
    ----------
    multiscales : mapping
    shape : sequence of int
        Of the array.

    Returns
    -------
    axes : str
        T, C, Z, Y, X, by type, and by name where that is of space or not said; Q for others.
    doubt : str
        Empty if there is none. A dimension of length 1 leaves none.
    """
    listed = multiscales.get("axes")
    if listed is None and multiscales.get("version") in _VERSIONS_WITHOUT_AXES:
        listed = list(_IMPLICIT.lower())
    if not isinstance(listed, list):
        return unnamed(len(shape)), "its OME-Zarr metadata do not say what its dimensions are"
    said = [axis if isinstance(axis, dict) else {"name": axis} for axis in listed]
    names = [str(axis.get("name", "?")) for axis in said]
    if len(said) != len(shape):
        return unnamed(len(shape)), (
            f"its OME-Zarr metadata name {len(said)} axes ({', '.join(names)}), but the array has "
            f"{len(shape)} dimensions"
        )
    letters = "".join(_letter(axis, name) for axis, name in zip(said, names, strict=True))
    for letter, name, length in zip(letters, names, shape, strict=True):
        if length > 1 and (letter == "Q" or letters.count(letter) > 1):
            what = "is none of time, channel, z, y, x" if letter == "Q" else "is there twice"
            return letters, f"the axis '{name}' in its OME-Zarr metadata {what}"
    return letters, ""


def _letter(axis: Mapping[str, Any], name: str) -> str:
    kind = axis.get("type")
    if kind in _LETTERS:
        return _LETTERS[kind]
    known = "ZYX" if kind == "space" else "TCZYX" if kind is None else ""
    return name.upper() if len(name) == 1 and name.upper() in known else "Q"


def unnamed(count: int) -> str:
    """Letters of dimensions of which nothing is known, the last two of them rows and columns."""
    return "Q" * (count - 2) + "YX"[2 - min(count, 2) :]


def _channel_names(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the channels, where the metadata give one to each."""
    try:
        names = tuple(str(one.get("label") or "") for one in found["omero"]["channels"])
    except (KeyError, TypeError, AttributeError):
        return ()
    return names if all(names) and len(set(names)) == len(names) else ()


def is_array(folder: Path) -> bool:
    """Whether a folder is a Zarr array by itself, without a group around it."""
    if (folder / "zarr.json").is_file():
        return bool(_json(folder / "zarr.json").get("node_type") == "array")
    return (folder / ".zarray").is_file()


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ImageError(f"its metadata file {path.name} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ImageError(f"its metadata file {path.name} is broken: no JSON object")
    return found
