"""From a reference to its pixels: read, cut, checked, with labels and a fingerprint."""

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import ImageError
from onnx_cte.images.chunked import Deferred
from onnx_cte.images.labels import as_labels
from onnx_cte.images.readers import OneFile, unreadable
from onnx_cte.images.stored import Layout, Pixels, Stored, changed, lay_out, native
from onnx_cte.images.windows import Box, surroundings, thinned
from onnx_cte.types import Image

Truth = Mapping[str, tuple[tuple[str, Path], ...]]
"""By the name of an image file: name and path of each label image that fits it."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image that can be loaded; holds no pixels.

    Attributes
    ----------
    name : str
        "a/b.tif", "b.tif[t=0,z=3]" for a slice, "b.tif[t=0]" for one of several volumes,
        "b.tif[y=0:2048,x=2048:4096]" for a window.
    path : Path
    group : str
        The file's name: slices and windows of one file share it.
    part : int
        Which of the arrays of the file; 0 but for TIFF files of several series.
    index : tuple of int
        Which slice (or volume) of it; empty if it is one.
    window : (top, bottom, left, right) or None
        Which part of a large plane, in pixels; bottom and right are the first outside.
    """

    name: str
    path: Path
    group: str
    part: int
    index: tuple[int, ...]
    window: Box | None
    loader: "Loader" = field(repr=False, compare=False)

    def load(self) -> Image:
        """Read the pixels.

        Returns
        -------
        Image

        Raises
        ------
        ImageError
            If the file cannot be read, its axes are in doubt, its pixels are no finite real
            numbers or all the same, it is a plane where volumes are wanted, or its labels are
            missing or do not fit.
        """
        return self.loader.load(self)


class Loader:
    """Reads images one at a time, from threads as well; keeps the file it read last.

    Parameters
    ----------
    axes, channel, volumes
        As in `Images`, `axes` checked and in small letters.
    truth : mapping or None
        None: images have no labels.
    """

    def __init__(
        self,
        axes: str | None,
        channel: int | str | None,
        truth: Truth | None,
        volumes: bool = False,
    ) -> None:
        self.axes = axes
        self.channel = channel
        self.truth = truth
        self.volumes = volumes
        self._lock = threading.Lock()
        self._image = OneFile(colours=True)
        self._label = OneFile(colours=False)
        self._whole: tuple[object, NDArray[Any]] | None = None
        self._hashes: dict[str, tuple[int, int, str]] = {}

    def __reduce__(self) -> tuple[type["Loader"], tuple[object, ...]]:
        return Loader, (self.axes, self.channel, self.truth, self.volumes)

    def load(self, ref: ImageRef) -> Image:
        """See `ImageRef.load`."""
        try:
            with self._lock:
                image = self._read(ref)
                if self.volumes:  # Nothing else is cut from what was decoded, and it is large.
                    self._image.drop()
                    self._label.drop()
            check_pixels(image)
        except (ImageError, OSError) as error:
            raise ImageError(f"{ref.name}: {unreadable(error)}") from error
        return image

    def _read(self, ref: ImageRef) -> Image:
        arrays = self._image.open(ref.path)
        if ref.part >= len(arrays):
            raise changed()
        stored = arrays[ref.part]
        layout = lay_out(stored, self.axes, self.channel, self.volumes)
        plane = plane_of(layout, stored, ref.index)
        window = whole = None
        region = (slice(None), slice(None))
        if ref.window is not None:
            if ref.window[1] > layout.size[0] or ref.window[3] > layout.size[1]:
                raise changed()
            region, window = surroundings(ref.window)
            whole = self._thinned(ref, plane)
        label = self._label_of(ref)
        cut = [str(region), str(window), None if whole is None else whole.shape]
        cut += [] if layout.colours else ["no colours"]
        data = copied(plane[(..., *region)])
        truth = None if label is None else self._labels(ref, label, layout, len(arrays))
        hashes = [self._content(ref.path, data, whole)]
        hashes += [] if label is None else [self._content(label[1], truth)]
        return Image(
            name=ref.name,
            data=data,
            axes=layout.axes,
            truth=truth,
            group=ref.group,
            fingerprint=self._fingerprint(ref, hashes, cut),
            window=window,
            whole=whole,
            colours=layout.colours,
        )

    def _thinned(self, ref: ImageRef, plane: Pixels) -> NDArray[Any]:
        """The whole plane, thinned once for all its windows."""
        # Chunks may have been written anew, which their file, or folder, as a whole does not show.
        state = plane.state() if isinstance(plane, Deferred) else None
        key = (self._image.key, ref.part, ref.index, state)
        if self._whole is None or self._whole[0] != key:
            self._whole = None
            self._whole = (key, copied(thinned(plane)))
        return self._whole[1]

    def _label_of(self, ref: ImageRef) -> tuple[str, Path] | None:
        """The one label image of an image file; None if nobody asked for labels."""
        if self.truth is None:
            return None
        fitting = self.truth[ref.group]
        if not fitting:
            raise ImageError(
                f"no label image found for '{ref.group}'; it should have the same path but for "
                "the suffix, or _label, _mask, _seg or _gt added, or be named in a table"
            )
        if len(fitting) > 1:
            names = ", ".join(name for name, _ in fitting)
            raise ImageError(
                f"{len(fitting)} label images fit '{ref.group}', expected one: {names}"
            )
        return fitting[0]

    def _labels(
        self, ref: ImageRef, label: tuple[str, Path], image: Layout, parts: int
    ) -> NDArray[np.integer]:
        """The labels of the same slice and window, without context, or of the same volume."""
        name, path = label
        try:
            arrays = self._label.open(path)
            if len(arrays) != parts:
                raise ImageError(f"holds {len(arrays)} series, but its image {parts}")
            axes = self._label_axes(arrays[ref.part], image)
            # Labels without depth are no labels of a volume; which shape they have is told below.
            deep = self.volumes and "z" in (axes or arrays[ref.part].axes.lower())
            layout = lay_out(arrays[ref.part], axes, volumes=deep, labels=True)
            if "c" in layout.axes:
                raise ImageError(
                    f"has {layout.shape[layout.order[0]]} channels (shape {layout.shape}); "
                    "expected whole numbers, one a pixel, 0 for background"
                )
            shape, expected = (*layout.slices, *layout.size), (*image.slices, *image.size)
            if shape != expected:
                raise ImageError(f"has shape {shape}, but its image {expected}")
            plane = plane_of(layout, arrays[ref.part], ref.index)
            if ref.window is not None:
                top, bottom, left, right = ref.window
                plane = plane[top:bottom, left:right]
            return as_labels(copied(plane))
        except ImageError as error:
            raise ImageError(f"label image '{name}': {error}") from error

    def _label_axes(self, stored: Stored, image: Layout) -> str | None:
        """What the user said of the images, without channels, where the dimensions agree.

        Labels of a volume whose file does not say which dimension is depth have the dimensions of
        their image.
        """
        axes = (self.axes or "").replace("c", "")
        long = sum(length > 1 for length in stored.shape)
        if axes and len(axes) in (len(stored.shape), long):
            return axes
        if self.volumes and "z" not in stored.axes.lower() and len(image.letters) == long:
            return image.letters if {"y", "x"} <= set(image.letters) else None
        return None

    def _fingerprint(self, ref: ImageRef, hashes: list[str], cut: object) -> str:
        """Of all that determines the image: it and its labels, slice, how it is cut, options."""
        image, *label = hashes
        parts = [
            image,
            [ref.part, ref.index, cut],
            [self.axes, self.channel],
            label[0] if label else None,
            *(["volume"] if self.volumes else []),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _content(self, path: Path, *pixels: NDArray[Any] | None) -> str:
        """Hash of a file; of a folder (OME-Zarr), of the pixels that were read from it.

        A folder may hold far more than one image depends on, and shows by no date that something
        in it was written anew.
        """
        return _hash_of(pixels) if path.is_dir() else self._hash(path)

    def _hash(self, path: Path) -> str:
        """sha256 of a file, read once as long as it does not change."""
        state = path.stat()
        *known, digest = self._hashes.get(str(path), (0, 0, ""))
        if known != [state.st_size, state.st_mtime_ns]:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._hashes[str(path)] = (state.st_size, state.st_mtime_ns, digest)
        return digest


def _hash_of(arrays: Iterable[NDArray[Any] | None]) -> str:
    """sha256 of arrays, with what they are."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype.str} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update(b";")
    return digest.hexdigest()


def plane_of(layout: Layout, stored: Stored, index: tuple[int, ...]) -> Pixels:
    """A slice or volume, whatever the library raises on a broken file turned to ImageError."""
    try:
        return layout.plane(stored, index)
    except Exception as error:
        raise unreadable(error) from error


def copied(array: Pixels) -> NDArray[Any]:
    """A copy that neither keeps the decoded file alive nor can change it."""
    try:
        return native(array)
    except MemoryError as error:
        raise unreadable(error) from error


def check_pixels(image: Image) -> None:
    """Stop on pixels from which nothing can be learnt."""
    if image.data.dtype.kind not in "buif":
        raise ImageError(f"its pixels are {image.data.dtype}; expected real numbers")
    for array, what in ((image.data, ""), (image.whole, " of the whole image, thinned,")):
        if array is not None and array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = array.size - int(np.isfinite(array).sum())
            raise ImageError(
                f"{bad} of {array.size} pixels{what} are NaN or infinite; expected finite numbers"
            )
    judged = image.data if image.window is None else image.data[(..., *image.window)]
    first = judged[..., :1, :1, :1] if "z" in image.axes else judged[..., :1, :1]
    # Most images differ within the first row, so that the others need not be looked at.
    if (judged[..., :1, :] == first).all() and (judged == first).all():
        values = first.ravel().tolist()
        value = values[0] if len(set(values)) == 1 else tuple(values)
        raise ImageError(f"every pixel is {value}; there is nothing to segment")
