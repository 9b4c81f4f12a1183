"""Which suffix is read by which reader, and the one file that is open at a time."""

from collections.abc import Callable
from pathlib import Path

from onnx_cte.errors import ImageError
from onnx_cte.images.czi import open_czi
from onnx_cte.images.omezarr import open_zarr, state_of
from onnx_cte.images.stored import Stored
from onnx_cte.images.vendor import PLUGINS, open_vendor

Reader = Callable[[Path, bool], tuple[Stored, ...]]
"""From a file, and whether palettes are turned to colours, to the arrays in it: headers only."""


def _picture(path: Path, colours: bool) -> tuple[Stored, ...]:
    from onnx_cte.images.pictures import open_picture  # Pillow: not before there is one to read

    return open_picture(path, colours)


def _tiff(path: Path, colours: bool) -> tuple[Stored, ...]:
    from onnx_cte.images.tiff import open_tiff  # tifffile, likewise

    return open_tiff(path, colours)


READERS: dict[str, Reader] = {
    ".png": _picture,
    ".jpg": _picture,
    ".jpeg": _picture,
    ".tif": _tiff,
    ".tiff": _tiff,
    ".zarr": open_zarr,
    ".czi": open_czi,
    **dict.fromkeys(PLUGINS, open_vendor),
}
"""By suffix in small letters. Folders of OME-Zarr images need none."""


def open_file(path: Path, colours: bool) -> tuple[Stored, ...]:
    """The arrays of a file, by its suffix in any case; a folder is OME-Zarr, whatever its name.

    Parameters
    ----------
    path : Path
    colours : bool
        Whether palettes are turned to colours (images) or kept as indices (labels).

    Returns
    -------
    tuple of Stored

    Raises
    ------
    ImageError
        If there is no reader for the suffix, or the header cannot be read.
    """
    reader = open_zarr if path.is_dir() else READERS.get(path.suffix.lower())
    if reader is None and not path.exists():
        raise ImageError("there is no such file or folder")
    if reader is None:
        raise ImageError(
            f"the suffix '{path.suffix}' is not read; expected one of {', '.join(READERS)}"
        )
    try:
        return reader(path, colours)
    except Exception as error:
        raise unreadable(error) from error


def unreadable(error: Exception) -> ImageError:
    """What a library said about a broken file, in one line.

    Parameters
    ----------
    error : Exception
        Of any kind, because libraries raise any kind on broken files. An ImageError stays.

    Returns
    -------
    ImageError
    """
    if isinstance(error, ImageError):
        return error
    text = " ".join(str(error).split())
    if not (text and isinstance(error, OSError | ValueError)):  # Others alone say too little.
        text = f"{type(error).__name__} {text}".strip()
    return ImageError(f"cannot be read: {text}")


class OneFile:
    """The file opened last; its slices and windows are read from one parsing and decoding.

    Not safe between threads: its owner holds a lock.

    Parameters
    ----------
    colours : bool
        Whether palettes are turned to colours.

    Attributes
    ----------
    key : (path, size, modification time in ns) or None
        Of the file that is open; of the metadata of a folder.
    """

    def __init__(self, colours: bool) -> None:
        self._colours = colours
        self.key: tuple[Path, int, int] | None = None
        self._arrays: tuple[Stored, ...] = ()

    def open(self, path: Path) -> tuple[Stored, ...]:
        """The arrays of a file; what the file before it had decoded is dropped."""
        try:
            state = path.stat()
            known = state_of(path) if path.is_dir() else (state.st_size, state.st_mtime_ns)
        except OSError as error:
            raise unreadable(error) from error
        key = (path, *known)
        if key != self.key:
            self.drop()
            self._arrays = open_file(path, self._colours)
            self.key = key
        return self._arrays

    def drop(self) -> None:
        """Forget the file, with what it had decoded."""
        self.key, self._arrays = None, ()
