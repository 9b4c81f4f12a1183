"""How alike the predictions of any two models of a bank are, image by image.

The evidence of an image is small: the hard decision packed to bits, or the label image compressed.
Crossing the models gives one matrix an image, made once; a bootstrap draw only weighs these.
"""

import itertools
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import ModelError
from onnx_cte.estimators.boundary import regions_of
from onnx_cte.estimators.packed import Crossing, as_words, grid_step
from onnx_cte.estimators.sampling import MOST_BYTES
from onnx_cte.metrics.contingency import contingency
from onnx_cte.metrics.matching import f1_50_of
from onnx_cte.types import Observation

_LEVEL = 1  # of zlib: more takes much longer and saves little
_THREADS = 4
# What does not compress at all takes a little more than before.
_MOST_BYTES = MOST_BYTES * 255 // 256
_LABEL = np.dtype(np.int32)


def packed_regions(seen: Observation, *, objects: bool) -> dict[str, Any]:
    """What a model decides on an image, as small evidence.

    Parameters
    ----------
    seen : Observation
    objects : bool
        Whether objects are kept, or classes.

    Returns
    -------
    dict
        ``image``, its name; ``regions``, uint8, compressed by zlib: int32 labels of objects, or
        the bits of each class but the background, class by class; ``sides``, int64: of the
        prediction; ``thinned``, int64: of what was packed. Predictions that would take more than
        1 MB are thinned to a regular grid, the same for all models.
    """
    regions = regions_of(seen, objects=objects)
    classes = 1
    if not objects and seen.reference.exclusive:
        classes = max(1, len(seen.reference.roles) - 1)
    most = _MOST_BYTES // _LABEL.itemsize if objects else 8 * _MOST_BYTES // classes
    step = grid_step(regions.shape, most)
    thinned = regions[(slice(None, None, step),) * regions.ndim]
    if objects:
        packed = np.ascontiguousarray(thinned, _LABEL).tobytes()
    else:
        numbers = np.arange(1, classes + 1).reshape(-1, *(1,) * thinned.ndim)
        packed = np.packbits(thinned[None] == numbers).tobytes()
    return {
        "image": seen.image,
        "regions": np.frombuffer(zlib.compress(packed, _LEVEL), np.uint8),
        "sides": np.array(regions.shape, np.int64),
        "thinned": np.array(thinned.shape, np.int64),
    }


def likeness(bank: Bank, *, objects: bool) -> NDArray[np.float64]:
    """How alike any two models are on each image of the whole bank, made once.

    Parameters
    ----------
    bank : Bank
        Of evidence as `packed_regions` gives it.
    objects : bool
        As it was packed.

    Returns
    -------
    ndarray of float64, shape (images, models, models)
        Symmetric, in [0, 1]: of classes, the Dice coefficient over all classes but the background
        together (pixels to which both give the same class, twice, over the pixels to which either
        gives one, counted for each); of objects, F1 of those that match at an intersection over
        union above 0.5. NaN on the diagonal, where one gave no evidence, and where neither sees
        anything.

    Raises
    ------
    ModelError
        If the predictions of two models on an image differ in size.
    """
    return bank.derived(f"likeness: {objects}", _objects if objects else _classes)


def _classes(bank: Bank) -> NDArray[np.float64]:
    def one(image: str, held: Sequence[Evidence]) -> NDArray[np.float64]:
        words = [as_words(_unpacked(found, np.uint8)) for found in held]
        longest = max(map(len, words))
        # A model of fewer classes sees nothing of the others.
        together = np.stack([np.pad(own, (0, longest - len(own))) for own in words])
        shared = Crossing(image, np.arange(len(held)), 64 * longest, together).overlaps()
        sizes = np.diag(shared)
        total = sizes[:, None] + sizes
        return np.where(total > 0, 2 * shared / np.maximum(total, 1), np.nan)

    return _crossed(bank, one)


def _objects(bank: Bank) -> NDArray[np.float64]:
    def one(image: str, held: Sequence[Evidence]) -> NDArray[np.float64]:
        labels = [_unpacked(found, _LABEL).reshape(found["thinned"]) for found in held]
        found = np.full((len(held), len(held)), np.nan)
        for i, j in itertools.combinations(range(len(held)), 2):
            found[i, j] = found[j, i] = f1_50_of(contingency(labels[i], labels[j]))
        return found

    return _crossed(bank, one)


def _crossed(bank: Bank, one: Any) -> NDArray[np.float64]:
    """A matrix an image, of what `one` makes of the evidence of the models that gave some."""
    names = list(bank)
    # By name, so that rounding and errors do not depend on the order of the bank.
    order = sorted(range(len(names)), key=names.__getitem__)
    evidence = [bank[name] for name in names]
    found = np.full((bank.images, len(names), len(names)), np.nan)

    def cross(image: int) -> None:
        rows = [row for row in order if evidence[row][image] is not None]
        if len(rows) < 2:
            return
        held: list[Evidence] = [given for row in rows if (given := evidence[row][image])]
        name = str(held[0]["image"])
        _check_sides(name, [names[row] for row in rows], held)
        found[image][np.ix_(rows, rows)] = one(name, held)

    # zlib and NumPy let go of the interpreter; what is held at once grows with the threads.
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        list(pool.map(cross, range(bank.images)))
    places = np.arange(len(names))
    found[:, places, places] = np.nan
    return found


def _unpacked(found: Evidence, dtype: Any) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(found["regions"].tobytes()), dtype)


def _check_sides(image: str, names: Sequence[str], held: Sequence[Evidence]) -> None:
    for name, found in zip(names[1:], held[1:], strict=True):
        if not np.array_equal(found["sides"], held[0]["sides"]):
            first, other = (" x ".join(map(str, one["sides"].tolist())) for one in (held[0], found))
            raise ModelError(
                f"{image}: predictions cannot be compared: {names[0]} gave {first} px and {name} "
                f"{other} px; every model has to answer in the size of the image: leave one out"
            )
