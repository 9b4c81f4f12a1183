"""TIFF in its dialects (OME, ImageJ, plain), by tifffile."""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffFrame, TiffPage, TiffPageSeries

from onnx_cte.errors import ImageError
from onnx_cte.images.pictures import opened
from onnx_cte.images.stored import Stored

Page = TiffPage | TiffFrame

_ALPHA = {1, 2}  # ExtraSamples: associated and unassociated alpha
_NO_INTENSITY = {
    PHOTOMETRIC.SEPARATED,
    PHOTOMETRIC.CIELAB,
    PHOTOMETRIC.ICCLAB,
    PHOTOMETRIC.ITULAB,
    PHOTOMETRIC.LOGL,
    PHOTOMETRIC.LOGLUV,
}
_TURNED_TO_RGB = {COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.APERIO_JP2000_YCBC}
_PLAIN = {"generic", "uniform", "shaped"}
_SERIES = _PLAIN | {"ome"}
_SAYS = {
    "ome": "its OME metadata",
    "imagej": "its ImageJ metadata",
    "shaped": "the metadata that tifffile wrote",
    "generic": "its TIFF header alone",
    "uniform": "its TIFF header alone",
}
_PILLOW = {("u1", 1), ("u2", 1), ("f4", 1), ("u1", 3)}  # dtype and samples a pixel


class _File:
    """A parsed TIFF file, closed between reads, with the pages it decoded last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        with TiffFile(path, _multifile=False) as self.tiff:
            series = list(self.tiff.series)
            _check_chain(self.tiff, self.size)
        kept = [s for s in series if not s.keyframe.is_reduced] or series
        # Slide formats add thumbnails and photographs of the label as further series.
        self.series = kept if kept[0].kind in _SERIES else kept[:1]
        self._kept: tuple[object, NDArray[Any]] | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """The file handle, open for reading pages."""
        self.tiff.filehandle.open()
        try:
            yield
        finally:
            self.tiff.filehandle.close()

    def kept(self, key: object, decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """What was decoded last, or else now; one array is held."""
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # Before the next is decoded: it may be large.
            self._kept = (key, decode())
        return self._kept[1]

    def decoded(self, series: TiffPageSeries, numbers: Sequence[int]) -> NDArray[Any]:
        """These pages of a series, stacked."""

        def decode() -> NDArray[Any]:
            with self.open():
                first = _decode(self._page(series, numbers[0]), self.path)[np.newaxis]
                if len(numbers) == 1:
                    return first
                # Page by page into its place: a list of them, stacked, would hold all twice.
                stack = np.empty((len(numbers), *first.shape[1:]), first.dtype)
                stack[0] = first
                for place, number in enumerate(numbers[1:], start=1):
                    stack[place] = _decode(self._page(series, number), self.path)
            return stack

        return self.kept((id(series), tuple(numbers)), decode)

    def whole(self, series: TiffPageSeries) -> NDArray[Any]:
        """The series at once, where its pages are no slices."""

        def decode() -> NDArray[Any]:
            with self.open():
                array: NDArray[Any] = series.asarray()
            return array

        return self.kept(id(series), decode)

    def mapped(self, series: TiffPageSeries, offset: int) -> NDArray[Any]:
        """The series as it lies in the file, from this byte on."""
        dtype = series.dtype.newbyteorder(self.tiff.byteorder)
        self.ends(offset + prod(series.shape) * dtype.itemsize)
        return np.memmap(self.path, dtype, "r", offset, series.shape)

    def _page(self, series: TiffPageSeries, number: int) -> Page:
        page = series[number]
        if page is None:
            raise ImageError(
                f"page {number} of the {len(series)} that its OME metadata promise is missing"
            )
        segments = zip(page.dataoffsets, page.databytecounts, strict=False)
        self.ends(max((offset + count for offset, count in segments), default=0))
        return page

    def ends(self, needed: int) -> None:
        """Stop if the file ends before its pixels do."""
        if needed > self.size:
            raise ImageError(
                f"truncated: its pixels reach to byte {needed}, but it ends at {self.size}"
            )


def open_tiff(path: Path, colours: bool = True) -> tuple[Stored, ...]:
    """The arrays of a TIFF file: one, or one a series.

    Parameters
    ----------
    path : Path
    colours : bool
        Whether the palette of a plain TIFF is applied (RGB); ImageJ and OME files, whose palettes
        are for display, and labels keep the values stored.

    Returns
    -------
    tuple of Stored
        Values as stored (white-is-zero is not turned round), without alpha. Thumbnails and
        reduced copies are left out. Uncompressed series are mapped from the file, so that only
        what is used is read; of others the pages asked for are decoded, and the last ones kept.

    Raises
    ------
    ImageError
        If the file is cut off, or its pixels are no intensities.
    tifffile.TiffFileError, OSError, ...
        If the file cannot be read.
    """
    file = _File(path)
    with file.open():
        return tuple(_stored(file, series, colours) for series in file.series)


def _stored(file: _File, series: TiffPageSeries, colours: bool) -> Stored:
    """One series, its header read."""
    key = series.keyframe
    if key.dtype is None:
        raise ImageError(f"pixels of {key.bitspersample} bits, format {key.sampleformat}")
    if key.photometric in _NO_INTENSITY or (
        key.photometric == PHOTOMETRIC.YCBCR and key.compression not in _TURNED_TO_RGB
    ):
        raise ImageError(
            f"its colours are stored as {PHOTOMETRIC(key.photometric).name}; save it as grey or RGB"
        )
    axes, shape = series.axes, tuple(series.shape)
    kept = {}
    if "S" in axes and key.extrasamples and key.extrasamples[-1] in _ALPHA:
        samples = axes.index("S")
        kept[samples] = slice(0, shape[samples] - 1)
        shape = (*shape[:samples], shape[samples] - 1, *shape[samples + 1 :])
    palette = None
    if colours and key.colormap is not None and series.kind in _PLAIN and "S" not in axes:
        palette = (key.colormap.T >> 8).astype(np.uint8)
        axes, shape = f"{axes}S", (*shape, 3)

    offset = series.dataoffset

    def read(fixed: Mapping[int, int]) -> NDArray[Any]:
        chosen = tuple(fixed.get(d, kept.get(d, slice(None))) for d in range(len(series.shape)))

        def values() -> NDArray[Any]:
            if offset is not None:
                return file.mapped(series, offset)[chosen]
            return _from_pages(file, series, chosen)

        if palette is None:
            return values()
        colour = file.kept((id(series), str(chosen)), lambda: palette[values()])
        return colour[..., fixed.get(len(series.shape), slice(None))]

    doubt = ""
    if series.kind != "ome" and file.tiff.is_ome and len(series) > 1:
        doubt = (
            f"one file of an OME-TIFF set, in which order its {len(series)} pages are is unknown"
        )
    says = _SAYS.get(series.kind, f"metadata of the kind '{series.kind}'")
    return Stored(shape, axes, read, doubt, says, _channel_names(file, series))


def _channel_names(file: _File, series: TiffPageSeries) -> tuple[str, ...]:
    """Names of the channels, where OME metadata give one to each."""
    if series.kind != "ome" or file.tiff.ome_metadata is None:
        return ()
    try:
        pixels = ElementTree.fromstring(file.tiff.ome_metadata).findall("{*}Image/{*}Pixels")
    except ElementTree.ParseError:
        return ()
    if len(pixels) != len(file.tiff.series):  # Which of them this series is, is unknown.
        return ()
    place = next(i for i, one in enumerate(file.tiff.series) if one is series)
    found = pixels[place].findall("{*}Channel")
    names = tuple(channel.get("Name", "") for channel in found)
    return names if all(names) and len(set(names)) == len(names) else ()


def _from_pages(
    file: _File, series: TiffPageSeries, chosen: tuple[int | slice, ...]
) -> NDArray[Any]:
    """Part of a series, of which only the pages that hold it are decoded."""
    shape, outer = series.shape, _outer(series)
    if outer is None:
        return file.whole(series)[chosen]
    numbers = np.arange(len(series)).reshape(shape[:outer])[chosen[:outer]]
    pages = file.decoded(series, [int(number) for number in numbers.ravel()])
    array = pages.reshape(*numbers.shape, *shape[outer:])
    return array[(slice(None),) * numbers.ndim + chosen[outer:]]


def _outer(series: TiffPageSeries) -> int | None:
    """How many leading dimensions count pages; None if pages do not divide the array so."""
    shape, size = series.shape, prod(series.keyframe.shape)
    for outer in range(len(shape) + 1):
        if prod(shape[:outer]) == len(series) and prod(shape[outer:]) == size:
            return outer
    return None


def _decode(page: Page, path: Path) -> NDArray[Any]:
    """A page's pixels; what tifffile cannot decompress alone, Pillow may."""
    try:
        return page.asarray()
    except (ValueError, ImportError) as error:
        if isinstance(error, ValueError) and "imagecodecs" not in str(error):
            raise
        array = _by_pillow(page, path)
        if array is None:
            raise ImageError(
                f"compressed with {COMPRESSION(page.compression).name}, which needs the package "
                'imagecodecs: pip install "onnx-cte[formats]"'
            ) from error
        return array


def _by_pillow(page: Page, path: Path) -> NDArray[Any] | None:
    """A page by libtiff, where Pillow reads it faithfully: grey of 8 or 16 bit or float32, RGB."""
    key = page.keyframe
    if key is None or key.dtype is None or key.photometric == PHOTOMETRIC.MINISWHITE:
        return None
    if (key.dtype.str[1:], key.samplesperpixel) not in _PILLOW:
        return None
    try:
        with opened(path, ("TIFF",)) as image:
            image.seek(page.index)
            array = np.asarray(image)
    except OSError:  # So it cannot either.
        return None
    return array if array.shape == page.shape else None


def _check_chain(tiff: TiffFile, size: int) -> None:
    """Stop if a page points to a next one that is not in the file."""
    at = tiff.pages.next_page_offset
    if at is None or at + tiff.tiff.offsetsize > size:
        return
    tiff.filehandle.seek(at)
    (following,) = struct.unpack(tiff.tiff.offsetformat, tiff.filehandle.read(tiff.tiff.offsetsize))
    if following >= size:
        raise ImageError(
            f"truncated: page {len(tiff.pages)} should begin at byte {following}, "
            f"but the file ends at {size}"
        )
