"""CZI, by pylibCZIrw, the binding that Zeiss maintain."""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from onnx_cte.errors import ImageError
from onnx_cte.images.chunked import Chunks, Deferred, Place, regular
from onnx_cte.images.stored import Stored

PIECE = 2048
"""Side in pixels of the pieces in which planes are decoded."""

_PIXELS = {  # dtype, and how many samples a pixel, blue first
    "Gray8": ("u1", 1),
    "Gray16": ("u2", 1),
    "Gray32Float": ("f4", 1),
    "Bgr24": ("u1", 3),
    "Bgr48": ("u2", 3),
    "Bgr96Float": ("f4", 3),
}
_LAST = "TCZ"  # These are walked in this order, after what is rarer (views, phases, ...).


def open_czi(path: Path, colours: bool = True) -> tuple[Stored, ...]:
    """The arrays of a CZI file: one, or one a scene.

    Parameters
    ----------
    path : Path
    colours : bool
        Nothing is stored by palette.

    Returns
    -------
    tuple of Stored
        The highest resolution, values as stored, colours as RGB, channels by name where the
        metadata name them. Tiles are put where the stage was; what lies between them is 0, and so
        are planes that were not recorded. Decoded in pieces of `PIECE` x `PIECE` pixels.

    Raises
    ------
    ImageError
        If pylibCZIrw is not installed, or the pixels are of a kind that it does not read.
    RuntimeError
        If the file cannot be read.
    """
    try:
        from pylibCZIrw import czi
    except ImportError as error:
        raise ImageError(
            f'a CZI file, which needs the package pylibCZIrw: pip install "onnx-cte[bioio]" '
            f"({error})"
        ) from error
    with czi.open_czi(str(path)) as file:
        box = dict(file.total_bounding_box_no_pyramid)
        _check_size(box, path.stat().st_size)
        kinds = {file.get_channel_pixel_type(channel) for channel in range(*box["C"])}
        scenes = file.scenes_bounding_rectangle_no_pyramid
        names = _channel_names(file.raw_metadata)
    unread = sorted(kinds - set(_PIXELS))
    samples = {_PIXELS[kind][1] for kind in kinds if kind in _PIXELS}
    if unread or len(samples) != 1:
        raise ImageError(
            f"its pixels are {', '.join(sorted(kinds))}; expected one of {', '.join(_PIXELS)}, "
            "and not grey beside colour; export it as OME-TIFF"
        )
    dtype = np.result_type(*(np.dtype(_PIXELS[kind][0]) for kind in kinds))
    walked = {d: range(*box[d]) for d in sorted(box, key=_order) if d not in "XYS"}
    (x, right), (y, bottom) = box["X"], box["Y"]
    places: dict[int | None, Any] = dict(sorted(scenes.items())) or {
        None: (x, y, right - x, bottom - y)
    }
    names = names if len(names) == len(walked["C"]) else ()
    return tuple(
        _stored(path, scene, tuple(place), walked, samples == {3}, dtype, names)
        for scene, place in places.items()
    )


def _check_size(box: Mapping[str, tuple[int, int]], size: int) -> None:
    """Stop on a header that promises far more than a file of so many bytes can hold.

    Planes may be missing, tiles far apart and well compressed; but no plane takes less than 32
    bytes, and no 2**12 pixels less than one.
    """
    planes = prod(stop - start for d, (start, stop) in box.items() if d not in "XYS")
    rows, columns = (box[d][1] - box[d][0] for d in "YX")
    if planes > 1000 + size // 32 or rows * columns > 2**30 + 2**12 * size:
        raise ImageError(
            f"its header is broken: it promises {planes} planes of {rows} x {columns} pixels, but "
            f"the file has {size} bytes"
        )


def _order(dimension: str) -> tuple[int, str]:
    return _LAST.find(dimension), dimension


def _stored(
    path: Path,
    scene: int | None,
    place: tuple[int, ...],
    walked: Mapping[str, range],
    colour: bool,
    dtype: np.dtype[Any],
    names: tuple[str, ...],
) -> Stored:
    left, top, wide, high = place
    shape = (*(len(one) for one in walked.values()), high, wide, *([3] if colour else []))
    sizes = (*[1] * len(walked), PIECE, PIECE, *([3] if colour else []))
    edges = regular(shape, sizes)
    rows, columns = edges[len(walked)], edges[len(walked) + 1]

    def decode(piece: Place) -> Any:
        from pylibCZIrw import czi

        plane = {d: one[n] for (d, one), n in zip(walked.items(), piece, strict=False)}
        row, column = piece[len(walked)], piece[len(walked) + 1]
        y, x = rows[row], columns[column]
        roi = (left + x, top + y, columns[column + 1] - x, rows[row + 1] - y)
        with czi.open_czi(str(path)) as file:
            pixels = file.read(roi=roi, plane=plane, scene=scene)
        pixels = pixels[..., ::-1] if colour else pixels[..., 0]
        return pixels[(np.newaxis,) * len(walked)]

    chunks = Chunks(dtype, edges, decode)
    return Stored(
        shape,
        "".join(walked) + ("YXS" if colour else "YX"),
        lambda fixed: Deferred(chunks, fixed),
        says="its CZI metadata",
        channels=names,
    )


def _channel_names(metadata: str) -> tuple[str, ...]:
    """Names of the channels, where the metadata give one to each."""
    try:
        root = ElementTree.fromstring(metadata)
    except ElementTree.ParseError:
        return ()
    for where in (
        "Information/Image/Dimensions/Channels/Channel",
        "DisplaySetting/Channels/Channel",
    ):
        names = tuple(one.get("Name", "") for one in root.findall(f"Metadata/{where}"))
        if names and all(names) and len(set(names)) == len(names):
            return names
    return ()
