"""Which label image belongs to which image, and what counts as labels."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import ImageError

SUFFIXES = ("_cp_masks", "_label", "_labels", "_mask", "_masks", "_seg", "_gt")
"""Endings, in any case, that a label image's name may have beside its image's name; with - or . in
place of _ too. The first is Cellpose's."""
IMAGE_SUFFIXES = ("_image", "_img", "_raw")
"""Endings, likewise, that an image's name may have beside its label image's name."""

INT32 = np.iinfo(np.int32)
INT64 = np.iinfo(np.int64)


def pair(images: Iterable[str], labels: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Find each image's label image by name.

    The first of these that finds any: the same path without suffix; the same but for one of
    `SUFFIXES`; the same but for that and one of `IMAGE_SUFFIXES`; the same three of the file name
    in another folder. From the third on, where one image and one label image alone fit. In which
    order files lie in their folders says nothing.

    Parameters
    ----------
    images, labels : iterable of str
        Paths relative to their folders, with slashes.

    Returns
    -------
    dict of str to tuple of str
        By image: none, the one, or, if several fit equally well, all of them.

    Examples
    --------
    >>> pair(["a.tif", "b.tif"], ["a.png", "b_mask.png"])
    {'a.tif': ('a.png',), 'b.tif': ('b_mask.png',)}
    """
    images, labels = list(images), list(labels)
    found: dict[str, tuple[str, ...]] = dict.fromkeys(images, ())
    rules = (  # what must be equal of image and label image, and whether one each may have it
        (_stem, _stem, False),
        (_stem, _bare_stem, False),
        (_bare_image, _bare_stem, True),
        (_file_stem, _file_stem, True),
        (_file_stem, _bare_file_stem, True),
        (_bare_file_image, _bare_file_stem, True),
    )
    for of_image, of_label, alone in rules:
        fits = _grouped(labels, of_label)
        for wanted, names in _grouped(images, of_image).items():
            fitting = tuple(fits.get(wanted, ()))
            if alone and (len(names) > 1 or len(fitting) > 1):
                continue
            found |= {name: fitting for name in names if not found[name]}
    return found


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return groups


def _stem(name: str) -> str:
    """The path without its suffix, of which ".ome.tif" is one; of labels in an OME-Zarr image, its.

    Those lie below the image, as in "a.zarr/labels/nuclei".
    """
    path = PurePosixPath(name)
    if path.parent.name == "labels" and any(p.suffix.lower() == ".zarr" for p in path.parents):
        path = path.parents[1]
    stem = str(path.with_suffix(""))
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def _file_stem(name: str) -> str:
    return PurePosixPath(_stem(name)).name


def _bare_stem(name: str) -> str:
    return _bare(_stem(name), SUFFIXES)


def _bare_file_stem(name: str) -> str:
    return _bare(_file_stem(name), SUFFIXES)


def _bare_image(name: str) -> str:
    return _bare(_stem(name), IMAGE_SUFFIXES)


def _bare_file_image(name: str) -> str:
    return _bare(_file_stem(name), IMAGE_SUFFIXES)


def _bare(stem: str, endings: tuple[str, ...]) -> str:
    """A stem without its ending."""
    end = stem.lower().replace("-", "_").replace(".", "_")
    fitting = (s for s in endings if end.endswith(s))
    return next((stem[: -len(s)] for s in fitting), stem)


def as_labels(array: NDArray[Any]) -> NDArray[np.integer]:
    """Labels as int32, or as int64 where they are larger.

    Parameters
    ----------
    array : ndarray, shape (H, W)
        Bool, integer, or float with whole values.

    Returns
    -------
    ndarray of int32 or int64, shape (H, W)
        0 is background.

    Raises
    ------
    ImageError
        If there are other values, or negative ones.
    """
    expected = "expected whole numbers, 0 for background"
    if array.dtype.kind not in "buif":
        raise ImageError(f"its pixels are {array.dtype}: {expected}")
    if array.dtype.kind == "f":
        odd = array != np.rint(array)  # NaN is odd; infinity is found below.
        if odd.any():
            raise ImageError(f"it holds {array[odd][0]:g}: {expected}")
    low, high = array.min(), array.max()
    if low < 0 or high > INT64.max:
        raise ImageError(f"it holds {low if low < 0 else high:g}: {expected}")
    return array.astype(np.int32 if high <= INT32.max else np.int64)
