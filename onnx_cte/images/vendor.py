"""ND2 and LIF, by the plug-ins of bioio."""

import re
import warnings
from collections.abc import Mapping
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from onnx_cte.errors import ImageError
from onnx_cte.images.chunked import Chunks, Deferred, Place
from onnx_cte.images.stored import Stored

PLUGINS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    ".nd2": ("bioio_nd2", {}),
    ".lif": ("bioio_lif", {"chunk_dims": ["Y", "X"]}),  # planes, not z-stacks, are decoded at once
}
"""By suffix: the module that reads it, and what its reader is told."""

_NAMELESS = re.compile(r"Channel:\d+(:\d+)*")  # What bioio calls channels that have no name.


def open_vendor(path: Path, colours: bool = True) -> tuple[Stored, ...]:
    """The arrays of a file: one, or one a scene.

    Parameters
    ----------
    path : Path
        Its suffix is one of `PLUGINS`.
    colours : bool
        Nothing is stored by palette.

    Returns
    -------
    tuple of Stored
        Values as stored, decoded plane by plane. The tiles of a LIF are walked one by one (m):
        how far they overlap is not known to a pixel.

    Raises
    ------
    ImageError
        If the plug-in is not installed.
    bioio_base.exceptions.UnsupportedFileFormatError, RuntimeError, ...
        If the file cannot be read.
    """
    suffix = path.suffix.lower()
    module, told = PLUGINS[suffix]
    # Importing them takes a second, and some of them warn of what is theirs alone.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            plugin = import_module(module)
        except ImportError as error:
            raise ImageError(
                f"a {suffix} file, which needs the package {module.replace('_', '-')}: "
                f'pip install "onnx-cte[bioio]" ({error})'
            ) from error
        reader = plugin.Reader(path, **told)
        return tuple(_stored(reader, scene, suffix) for scene in range(len(reader.scenes)))


def _stored(reader: Any, scene: int, suffix: str) -> Stored:
    reader.set_scene(scene)
    labelled = reader.xarray_dask_data
    array, dims = labelled.data, [str(dim) for dim in labelled.dims]
    strange = [d for d, n in zip(dims, array.shape, strict=True) if len(d) != 1 and n > 1]
    doubt = f"the axis '{strange[0]}' in its metadata is not known" if strange else ""
    edges = [tuple(accumulate(sizes, initial=0)) for sizes in array.chunks]

    def decode(place: Place) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(array.blocks[place].compute(scheduler="synchronous"))

    chunks = Chunks(np.dtype(array.dtype), edges, decode)
    return Stored(
        tuple(int(length) for length in array.shape),
        "".join(dim.upper() if len(dim) == 1 else "Q" for dim in dims),
        lambda fixed: Deferred(chunks, fixed),
        doubt,
        says=f"its {suffix[1:].upper()} metadata",
        channels=_channel_names(labelled),
    )


def _channel_names(labelled: Any) -> tuple[str, ...]:
    if "C" not in labelled.coords:
        return ()
    names = tuple(str(name) for name in np.atleast_1d(labelled.coords["C"].values))
    nameless = any(not name or _NAMELESS.fullmatch(name) for name in names)
    return () if nameless or len(set(names)) < len(names) else names
