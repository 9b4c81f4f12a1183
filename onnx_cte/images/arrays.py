"""Arrays in memory as images: the same slices, windows and checks as of files."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import ImageError, LabelsError, OptionError
from onnx_cte.images.labels import as_labels
from onnx_cte.images.loading import check_pixels, copied, plane_of
from onnx_cte.images.stored import Layout, Pixels, Stored, lay_out, stated
from onnx_cte.images.windows import Box, box_name, boxes, surroundings, thinned
from onnx_cte.types import Image

Held = tuple[Stored, Layout]
"""An array, and what its dimensions are."""


@dataclass(frozen=True, slots=True, eq=False)
class ArrayRef:
    """An image in an array; nothing is copied or hashed before it is loaded.

    Attributes
    ----------
    name, group, index, window
        As of `onnx_cte.images.loading.ImageRef`; the group is the array's name.
    image : Held
    labels : Held or None
    """

    name: str
    group: str
    index: tuple[int, ...]
    window: Box | None
    image: Held
    labels: Held | None

    def load(self) -> Image:
        """Copy the pixels, and hash them.

        Returns
        -------
        Image
            Its fingerprint is of what it holds, so that an array that was changed meanwhile is
            another image.

        Raises
        ------
        ImageError
            If the pixels are no finite real numbers or all the same, if the labels are no whole
            numbers, or if the array cannot be read.
        """
        try:
            plane = _taken(self.image, self.index)
            region, window, whole = (slice(None), slice(None)), None, None
            if self.window is not None:
                region, window = surroundings(self.window)
                whole = copied(thinned(plane))
            image = Image(
                name=self.name,
                data=copied(plane[(..., *region)]),
                axes=self.image[1].axes,
                truth=self._truth(),
                group=self.group,
                window=window,
                whole=whole,
            )
            check_pixels(image)
        except ImageError as error:
            raise ImageError(f"{self.name}: {error}") from error
        return replace(image, fingerprint=_fingerprint(image))

    def _truth(self) -> NDArray[np.integer] | None:
        if self.labels is None:
            return None
        plane = _taken(self.labels, self.index)
        if self.window is not None:
            top, bottom, left, right = self.window
            plane = plane[top:bottom, left:right]
        try:
            return as_labels(copied(plane))
        except ImageError as error:
            raise ImageError(f"its labels: {error}") from error


def list_arrays(
    arrays: Iterable[Any],
    names: Iterable[str] | None,
    truth: Iterable[Any] | None,
    axes: str | None,
    channel: int | None,
    volumes: bool,
) -> Iterator[ArrayRef]:
    """Every slice and window of every array; see `Images.from_arrays`."""
    images = _listed(arrays, "arrays")
    labels = None if truth is None else _listed(truth, "truth")
    width = len(str(len(images) - 1))
    named = [f"image_{n:0{width}d}" for n in range(len(images))] if names is None else list(names)
    if len(named) != len(images):
        raise OptionError(f"{len(images)} arrays have {len(named)} names: expected one each")
    if labels is not None and len(labels) != len(images):
        raise LabelsError(
            f"{len(images)} arrays have {len(labels)} label images: expected one each, in the same "
            "order"
        )
    letters = None if axes is None else stated(axes)
    for place, (name, array) in enumerate(zip(named, images, strict=True)):
        if not isinstance(name, str) or not name:
            raise OptionError(f"array {place} has the name {name!r}: expected a text")
        image = _image(name, array, letters, channel, volumes)
        label = None if labels is None else _label(name, labels[place], letters, image)
        yield from _refs(name, image, label)


def _refs(name: str, image: Held, label: Held | None) -> Iterator[ArrayRef]:
    layout = image[1]
    for index in layout.indices():
        for box in (() if layout.volumes else boxes(*layout.size)) or (None,):
            where = layout.label(index) + ([] if box is None else [box_name(box)])
            full = f"{name}[{','.join(where)}]" if where else name
            yield ArrayRef(full, name, index, box, image, label)


def _image(name: str, array: Any, axes: str | None, channel: int | None, volumes: bool) -> Held:
    if axes is None and len(array.shape) != 2:
        example = "axes='zyx'" if volumes else "axes='yxc' or axes='zyx'"
        raise OptionError(
            f"array '{name}' has shape {tuple(array.shape)}: without axes, an array is one plane, "
            f"(rows, columns); say what its dimensions are, as in {example}"
        )
    stored = _stored(array, axes or "yx")
    try:
        return stored, lay_out(stored, axes or "yx", channel, volumes)
    except ImageError as error:
        raise OptionError(f"array '{name}': {error}") from error


def _label(name: str, array: Any, axes: str | None, image: Held) -> Held:
    """The labels of an array: dimensions as of the array, but for channels."""
    letters, layout = (axes or "yx").replace("c", ""), image[1]
    stored = _stored(array, letters)
    try:
        found = lay_out(stored, letters, volumes=layout.volumes)
    except ImageError as error:
        raise LabelsError(f"the labels of array '{name}': {error}") from error
    shape, expected = (*found.slices, *found.size), (*layout.slices, *layout.size)
    if shape != expected:
        raise LabelsError(
            f"the labels of array '{name}' have shape {shape}, but the array has {expected}, "
            "channels apart: they belong together pixel by pixel, in the same order"
        )
    return stored, found


def _listed(arrays: Iterable[Any], what: str) -> list[Any]:
    if isinstance(arrays, str) or not isinstance(arrays, Iterable):
        raise OptionError(f"{what} is {arrays!r}: expected a list of arrays")
    # What is an array already, of whatever library, is left as it is, so that it may be lazy.
    listed = [one if hasattr(one, "shape") else np.asarray(one) for one in arrays]
    if any(len(one.shape) < 2 for one in listed):
        raise OptionError(
            f"{what} holds an array that is no image, of shape "
            f"{next(tuple(one.shape) for one in listed if len(one.shape) < 2)}: expected a list of "
            "arrays; of one array, write [array]"
        )
    return listed


def _stored(array: Any, axes: str) -> Stored:
    def read(chosen: Any) -> NDArray[Any]:
        places = (chosen.get(dimension, slice(None)) for dimension in range(len(array.shape)))
        return np.asarray(array[tuple(places)])

    return Stored(tuple(array.shape), axes.upper(), read)


def _taken(held: Held, index: tuple[int, ...]) -> Pixels:
    stored, layout = held
    return plane_of(layout, stored, index)


def _fingerprint(image: Image) -> str:
    """Hash of all that an image holds."""
    digest = hashlib.sha256(repr((image.axes, image.window)).encode())
    for array in (image.data, image.truth, image.whole):
        if array is None:
            digest.update(b"none")
        else:
            digest.update(f"{array.dtype.str} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
