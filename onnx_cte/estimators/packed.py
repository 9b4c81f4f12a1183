"""Hard predictions as packed bits: the evidence of estimators that cross the models of a bank.

A mask of 512 x 512 pixels is a few kB, and all that is asked of the masks of an image (how far any
two overlap, how many models see a pixel) is counted on the bits themselves, an image at a time.
"""

import math
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import ModelError
from onnx_cte.estimators.sampling import MOST_BYTES
from onnx_cte.estimators.silence import median_of_images, seen_by, with_silence
from onnx_cte.needs import Needs
from onnx_cte.types import Observation

MEASURES = "packed masks"
"""What estimators on this evidence measure (`Estimator.measures`): once for all of them."""

# The usual 6 takes six times as long and saves a quarter of a few kB.
_LEVEL = 1
# Bits without any pattern take a little more when compressed.
MOST_BITS = 8 * MOST_BYTES * 255 // 256
_THREADS = 4

T = TypeVar("T")


def packed_mask(seen: Observation) -> Evidence:
    """Evidence of the foreground that a model decides for.

    Parameters
    ----------
    seen : Observation

    Returns
    -------
    dict
        ``image``, its name; ``mask``, uint8: the bits in C order, eight a byte, compressed by
        zlib; ``shape``, int64: sides of the prediction; ``foreground`` as in `seen_by`. Predictions
        of more than 8.3 million pixels, whose bits may take 1 MB, are thinned to a regular grid.
    """
    mask = seen.reference.classes != 0
    step = grid_step(mask.shape, MOST_BITS)
    bits = np.packbits(mask[(slice(None, None, step),) * mask.ndim])
    return {
        "image": seen.image,
        "mask": np.frombuffer(zlib.compress(bits.tobytes(), _LEVEL), np.uint8),
        "shape": np.array(mask.shape, np.int64),
        **seen_by(seen.reference),
    }


class PackedMasks:
    """What estimators on this evidence have in common: they look at the foreground alone."""

    measures: ClassVar[str] = MEASURES

    @property
    def needs(self) -> Needs:
        return Needs()

    def measure(self, seen: Observation) -> Evidence:
        """As `packed_mask`."""
        return packed_mask(seen)

    def remarks(self, bank: Bank) -> tuple[str, ...]:
        """Whether there are enough models for them to say anything of each other."""
        return few_models(bank)


def few_models(bank: Bank) -> tuple[str, ...]:
    """What to say of a bank in which models are judged by the others, and there are too few."""
    if len(bank) > 2:
        return ()
    return (
        f"models are judged by the others of the bank, and there "
        f"{'are two, each the only judge of the other' if len(bank) == 2 else 'is one'}; three "
        "or more are needed for an order",
    )


@dataclass(frozen=True, slots=True)
class Crossing:
    """The masks that two or more models predict on one image.

    Attributes
    ----------
    image : str
    rows : ndarray of int, shape (m,)
        Which models of the bank these are, ordered by name.
    pixels : int
        Of a mask.
    words : ndarray of uint64, shape (m, W)
        The bits of each mask; those behind the last pixel are 0.
    """

    image: str
    rows: NDArray[np.intp]
    pixels: int
    words: NDArray[np.uint64]

    def overlaps(self) -> NDArray[np.int64]:
        """Pixels that both of two models call foreground, (m, m); the diagonal has the sizes."""
        count = len(self.words)
        found = np.empty((count, count), np.int64)
        for i in range(count):
            found[i, i:] = found[i:, i] = _ones(self.words[i] & self.words[i:])
        return found

    def mask(self, model: int) -> NDArray[np.uint8]:
        """Mask of the model at that place in `rows`, 0 or 1, shape (pixels,)."""
        return np.unpackbits(self.words[model].view(np.uint8), count=self.pixels)

    def votes(self) -> NDArray[Any]:
        """How many of the models call each pixel foreground, shape (pixels,)."""
        count = len(self.words)
        found: NDArray[Any] = np.zeros(self.pixels, np.uint8 if count < 256 else np.uint16)
        for model in range(count):
            found += self.mask(model)
        return found

    def among(self, where: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Foreground pixels of each model among those of a mask (pixels,), shape (m,)."""
        return _ones(self.words & as_words(np.packbits(where)))

    def patterns(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The distinct ways in which the models vote on a pixel, and how often each occurs.

        Returns
        -------
        votes : ndarray of uint8, shape (P, m)
            0 or 1; each row once, in an order that depends on the masks alone.
        counts : ndarray of int64, shape (P,)
            Pixels that have them; their sum is `pixels`.
        """
        count = len(self.words)
        together = np.zeros((self.pixels, 8 * math.ceil(count / 64)), np.uint8)
        for first in range(0, count, 8):
            byte = np.zeros(self.pixels, np.uint8)
            for place in range(min(8, count - first)):
                byte |= self.mask(first + place) << np.uint8(place)
            together[:, first // 8] = byte
        words = together.view("<u8")
        if words.shape[1] == 1:
            distinct, counts = np.unique(words[:, 0], return_counts=True)
            distinct = distinct[:, None]
        else:
            distinct, counts = _distinct_rows(words)
        octets = np.ascontiguousarray(distinct).view(np.uint8)
        return np.unpackbits(octets, axis=1, bitorder="little")[:, :count], counts


def cross(bank: Bank, judge: Callable[[Crossing], T]) -> list[T | None]:
    """What is made of the masks of each image, a few images at a time.

    Parameters
    ----------
    bank : Bank
        Whole, of evidence as `packed_mask` gives it.
    judge : callable
        Takes a `Crossing`; called from several threads.

    Returns
    -------
    list of (T or None)
        One an image; None where fewer than two models gave evidence.

    Raises
    ------
    ModelError
        If the predictions of two models on an image differ in shape.
    """
    names = list(bank)
    order = sorted(range(len(names)), key=names.__getitem__)
    evidence = [bank[name] for name in names]

    def one(image: int) -> T | None:
        rows = [row for row in order if evidence[row][image] is not None]
        if len(rows) < 2:
            return None
        held: list[Evidence] = [found for row in rows if (found := evidence[row][image])]
        _check_shapes([names[row] for row in rows], held)
        sides = [int(side) for side in held[0]["shape"]]
        step = grid_step(sides, MOST_BITS)
        pixels = math.prod(-(-side // step) for side in sides)
        words = np.stack([as_words(_bits(found["mask"])) for found in held])
        return judge(Crossing(str(held[0]["image"]), np.array(rows, np.intp), pixels, words))

    # zlib and NumPy let go of the interpreter; what is held at once grows with the threads.
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        return list(pool.map(one, range(bank.images)))


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Of a whole bank of M models and all its I images, rows in the order of the bank.

    Attributes
    ----------
    shared : ndarray of float64, shape (I, M, M)
        Pixels that both of two models call foreground; 0 where one gave no evidence.
    present : ndarray of float64, shape (I, M)
        1 where a model gave evidence, and another too.
    pixels : ndarray of float64, shape (I,)
        Of a mask; 0 where fewer than two models gave evidence.
    """

    shared: NDArray[np.float64]
    present: NDArray[np.float64]
    pixels: NDArray[np.float64]


def overlaps_of(bank: Bank) -> Overlaps:
    """Overlaps of all pairs of models on all images, of the whole bank, counted once."""
    return bank.derived(f"{MEASURES}: overlaps", _overlaps)


def _overlaps(bank: Bank) -> Overlaps:
    shape = (bank.images, len(bank))
    shared = np.zeros((*shape, len(bank)))
    present, pixels = np.zeros(shape), np.zeros(bank.images)
    found = cross(bank, lambda crossing: (crossing.rows, crossing.pixels, crossing.overlaps()))
    for image, one in enumerate(found):
        if one is not None:
            rows, pixels[image], counts = one
            shared[image][np.ix_(rows, rows)] = counts
            present[image, rows] = 1
    return Overlaps(shared, present, pixels)


def median_score(
    bank: Bank, key: str, values: Callable[[Bank], NDArray[np.float64]]
) -> dict[str, float]:
    """Median over the images of values that are made of the whole bank once.

    Parameters
    ----------
    bank : Bank
        Whole, or a draw.
    key : str
        Names the values, with all options they depend on.
    values : callable
        Takes the whole bank and gives an array (models, images): in [0, 1], NaN where a model
        sees nothing. Silence is then counted as in `onnx_cte.estimators.silence`.

    Returns
    -------
    dict of str to float
        NaN where nothing is defined.
    """

    def make(whole: Bank) -> NDArray[np.float64]:
        found, foreground = values(whole), whole.column("foreground")
        rows: dict[str, list[Evidence]] = {
            name: [
                {"value": value, "foreground": share}
                for value, share in zip(found[row], foreground[row], strict=True)
            ]
            for row, name in enumerate(whole)
        }
        return with_silence(Bank(rows))

    return median_of_images(bank, bank.derived(f"{MEASURES}: {key}", make)[:, bank.indices])


def placed(
    bank: Bank, found: Sequence[tuple[NDArray[np.intp], NDArray[np.float64]] | None]
) -> NDArray[np.float64]:
    """Values of each image's models (their rows, their values) as one array (models, images)."""
    values = np.full((len(bank), bank.images), np.nan)
    for image, one in enumerate(found):
        if one is not None:
            values[one[0], image] = one[1]
    return values


def grid_step(sides: Sequence[int], most: int) -> int:
    """Every how many pixels one is kept along each axis: by the shape alone, as for all models.

    Parameters
    ----------
    sides : sequence of int
    most : int
        Pixels to keep.
    """
    step = 1
    while math.prod(-(-side // step) for side in sides) > most:
        step += 1
    return step


def _bits(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.decompress(mask.tobytes()), np.uint8)


def as_words(octets: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Packed bits as words of 64, those behind the last byte 0."""
    padded = np.zeros(8 * math.ceil(len(octets) / 8), np.uint8)
    padded[: len(octets)] = octets
    return padded.view(np.uint64)


def _ones(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits that are 1 in each row."""
    counts: NDArray[np.int64] = np.bitwise_count(words).sum(axis=-1, dtype=np.int64)
    return counts


def _distinct_rows(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Distinct rows and their counts; word after word, as sorting rows as such is slow."""
    code = np.zeros(len(words), np.int64)
    for column in words.T:
        values, place = np.unique(column, return_inverse=True)
        code = np.unique(code * len(values) + place, return_inverse=True)[1]
    first = np.unique(code, return_index=True)[1]
    return words[first], np.bincount(code)


def _check_shapes(names: Sequence[str], held: Sequence[Evidence]) -> None:
    for name, found in zip(names[1:], held[1:], strict=True):
        if not np.array_equal(found["shape"], held[0]["shape"]):
            raise ModelError(
                f"{held[0]['image']}: masks cannot be compared: {names[0]} predicted "
                f"{_sides(held[0]['shape'])} px and {name} {_sides(found['shape'])} px; every "
                "model has to answer in the size of the image: leave one of them out"
            )


def _sides(shape: Any) -> str:
    return " x ".join(str(int(side)) for side in shape)
