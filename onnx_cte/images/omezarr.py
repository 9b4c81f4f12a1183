"""OME-Zarr, versions 0.4 and 0.5, by zarr; of the pixels only the chunks asked for are read."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnx_cte.errors import ImageError
from onnx_cte.images.chunked import Chunks, Deferred, Place, regular
from onnx_cte.images.ngff import MARKS, axes_of, dataset, is_array, series_in, unnamed
from onnx_cte.images.stored import Stored


def open_zarr(path: Path, colours: bool = True) -> tuple[Stored, ...]:
    """The arrays in the folder of an OME-Zarr image: one, or one a series.

    Parameters
    ----------
    path : Path
        Of the folder of an image; a plate or well is none.
    colours : bool
        Nothing is stored by palette.

    Returns
    -------
    tuple of Stored
        The highest resolution, values as stored, channels by name where the metadata name them.
        Chunks that are not there hold the fill value, as Zarr has it. A bare array, without
        metadata of OME, is taken if it has two dimensions, or names them.

    Raises
    ------
    ImageError
        If zarr is not installed, or there is no image that can be opened.
    """
    try:
        import zarr
    except ImportError as error:
        raise ImageError(
            'an OME-Zarr image, which needs the package zarr: pip install "onnx-cte[zarr]"'
        ) from error
    if not path.is_dir():
        raise ImageError("is no folder; OME-Zarr images are folders")
    # zarr warns of codecs and types that other libraries may not read; this one does.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if is_array(path):
            return (_bare(_array(zarr, path, "")),)
        return tuple(
            _stored(_array(zarr, folder, dataset(multiscales)), multiscales, names)
            for folder, multiscales, names in series_in(path)
        )


def state_of(folder: Path) -> tuple[int, int]:
    """Size and time of modification (ns) of the metadata in a folder, to know it by.

    Chunks are looked at when they are read.
    """
    states = [(folder / mark).stat() for mark in MARKS if (folder / mark).is_file()]
    return (
        sum(state.st_size for state in states),
        max((state.st_mtime_ns for state in states), default=0),
    )


def _array(zarr: Any, folder: Path, name: str) -> Any:
    place = folder / name
    if not place.is_dir():
        raise ImageError(
            f"the array '{name}' that its OME-Zarr metadata name is not there; was all of it "
            "copied?"
        )
    try:
        return zarr.open_array(store=place, mode="r")
    except Exception as error:
        said = " ".join(str(error).split())
        raise ImageError(
            f"its array '{name}' cannot be opened: {type(error).__name__} {said}"
        ) from error


def _stored(array: Any, multiscales: Mapping[str, Any], names: tuple[str, ...]) -> Stored:
    shape = tuple(array.shape)
    axes, doubt = axes_of(multiscales, shape)
    channels = shape[axes.index("C")] if "C" in axes else 0
    return Stored(
        shape,
        axes,
        _reader(array),
        doubt,
        says="its OME-Zarr metadata",
        channels=names if len(names) == channels else (),
    )


def _bare(array: Any) -> Stored:
    """An array without metadata of OME."""
    shape = tuple(array.shape)
    named = getattr(array.metadata, "dimension_names", None) or ()
    letters = "".join(str(name).upper() if len(str(name)) == 1 else "?" for name in named)
    if letters and set(letters) <= set("TCZYX") and len(set(letters)) == len(letters):
        return Stored(shape, letters, _reader(array), says="its Zarr dimension names")
    doubt = "" if len(shape) == 2 else "a Zarr array without OME metadata does not say what"
    doubt += " its dimensions are" if doubt else ""
    return Stored(shape, unnamed(len(shape)), _reader(array), doubt, says="its Zarr shape alone")


def _reader(array: Any) -> Any:
    """From fixed indices to the rest of the array, not read yet."""
    edges = regular(array.shape, array.chunks)
    root = Path(str(array.store.root)) / array.path
    shards = array.shards or array.chunks
    folded = [shard // chunk for shard, chunk in zip(shards, array.chunks, strict=True)]

    def decode(place: Place) -> Any:
        cuts = (slice(edge[n], edge[n + 1]) for edge, n in zip(edges, place, strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(array[tuple(cuts)])

    def state(place: Place) -> object:
        at = tuple(n // fold for n, fold in zip(place, folded, strict=True))
        try:
            found = (root / array.metadata.encode_chunk_key(at)).stat()
        except FileNotFoundError:
            return None
        return found.st_size, found.st_mtime_ns

    chunks = Chunks(np.dtype(array.dtype), edges, decode, state)
    return lambda fixed: Deferred(chunks, fixed)
