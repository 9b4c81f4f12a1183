"""Pixels to look at: drawn the same for every model, a bounded number an image.

Features are vectors at pixels, and classes are seldom balanced: background would swamp everything.
So as many pixels of each class are drawn, at places that depend on the labels, the image's name and
the run's seed alone (with pseudo-labels, on the model's own prediction). The checks of such options
are here, too.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Evidence
from onnx_cte.errors import ModelError, OptionError, unknown_name
from onnx_cte.features import FeatureMap
from onnx_cte.perturbations import generator
from onnx_cte.types import Observation, Prediction

MOST_BYTES = 1 << 20
"""Of evidence that an estimator may keep of one image under one model."""

TAP = "decoder#-1"
"""By default: the features that the last layer makes its decision of."""

_FEW = 1 << 16  # classes

Labels = Literal["truth", "classes", "pseudo"]
"""What a pixel's class is: ``truth``: foreground or background by the labels; ``classes``: the
number in the labels, which are class indices then; ``pseudo``: what the model itself decides."""


def check_labels(labels: str) -> None:
    """OptionError with the nearest choice unless it is one of `Labels`."""
    if labels not in get_args(Labels):
        raise unknown_name("kind of labels", str(labels), get_args(Labels))


def check_integer(option: str, given: Any, least: int = 1) -> None:
    """OptionError unless it is an integer of at least so much; `option` says whose, and what."""
    if not isinstance(given, int) or isinstance(given, bool) or given < least:
        raise OptionError(f"{option} is an integer of at least {least}, not {given!r}")


def check_flag(option: str, given: Any) -> None:
    """OptionError unless it is True or False; `option` says whose, and what."""
    if not isinstance(given, bool):
        raise OptionError(f"{option} is True or False, not {given!r}")


def check_vectors(estimator: str, vectors: Any) -> None:
    """OptionError unless a number of pixels of each class is an integer of at least 1."""
    check_integer(f"{estimator}: vectors, the pixels of each class drawn of an image,", vectors)


def check_tap(estimator: str, tap: Any) -> None:
    """OptionError unless it may be the name of a feature map."""
    if not isinstance(tap, str) or not tap:
        raise OptionError(
            f"{estimator}: tap is the name of a feature map, as '{TAP}' or 'bottleneck', not "
            f"{tap!r}; `onnx-cte inspect` lists them"
        )


def class_map(seen: Observation, labels: Labels) -> NDArray[np.intp]:
    """Class of every pixel, 0 is background.

    Parameters
    ----------
    seen : Observation
    labels : Labels

    Returns
    -------
    ndarray of int, shape (H, W) or (D, H, W)

    Raises
    ------
    ModelError
        If labels are needed and the observation has none, or class indices are below 0.
    """
    if labels == "pseudo":
        return np.array(seen.reference.classes, dtype=np.intp)
    truth = truth_of(seen)
    if labels == "truth":
        return np.array(truth != 0, dtype=np.intp)
    if truth.size and truth.min() < 0:
        raise ModelError(
            f"{seen.image}: labels hold {int(truth.min())}, expected class indices from 0 on"
        )
    return np.array(truth, dtype=np.intp)


def truth_of(seen: Observation) -> NDArray[np.integer]:
    """The label image; ModelError if the observation has none."""
    if seen.truth is None:
        raise ModelError(f"{seen.image}: labels are needed, and the observation has none")
    return seen.truth


def draw_positions(
    classes: NDArray[np.integer], count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Pixels of each class, without replacement, as many of each as there are, at most `count`.

    Parameters
    ----------
    classes : ndarray of int, shape (H, W) or (D, H, W)
    count : int
        Of each class.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (N, 2) or (N, 3)
        Class after class in rising order; those of a class in random order.

    Examples
    --------
    >>> classes = np.array([[0, 0, 0], [1, 0, 0]])
    >>> places = draw_positions(classes, 2, np.random.default_rng(0))
    >>> classes[tuple(places.T)].tolist()
    [0, 0, 1]
    """
    flat = classes.ravel()
    drawn = []
    for label in classes_in(flat):
        places = np.flatnonzero(flat == label)
        drawn.append(rng.choice(places, min(count, len(places)), replace=False))
    together = np.concatenate(drawn) if drawn else np.empty(0, np.intp)
    return np.stack(np.unravel_index(together, classes.shape), axis=-1).astype(np.intp)


def labelled_positions(
    seen: Observation, labels: Labels, vectors: int, pixel_bytes: int
) -> tuple[NDArray[np.intp], NDArray[np.integer]]:
    """Pixels of each class of an image, the same for every model, and their classes.

    Parameters
    ----------
    seen : Observation
    labels : Labels
    vectors : int, >= 1
        Of each class at most; a scarcer class gives all it has.
    pixel_bytes : int
        What is kept of a pixel beside its class. Fewer are drawn, as many of each class, where the
        evidence would exceed `MOST_BYTES`.

    Returns
    -------
    positions : ndarray of int, shape (N, 2) or (N, 3)
        Class after class. None of an image that has fewer than two classes: it tells nothing of
        what divides them.
    classes : ndarray of unsigned int, shape (N,)
        Of the smallest type that holds those of the image.

    Raises
    ------
    ModelError
        As `class_map`.
    """
    classes = class_map(seen, labels)
    kinds = classes_in(classes.ravel())
    dtype = np.min_scalar_type(int(kinds[-1]) if len(kinds) else 0)
    if len(kinds) < 2:
        return np.empty((0, classes.ndim), np.intp), np.empty(0, dtype)
    rng = generator(seen.seed, seen.image, "labelled pixels")
    # Room is left for the other entries and the headers of the arrays.
    most = (MOST_BYTES - 1024) // (pixel_bytes + dtype.itemsize)
    places = draw_positions(classes, min(vectors, max(1, most // len(kinds))), rng)
    if len(places) > most:
        places = places[np.sort(rng.choice(len(places), most, replace=False))]
    return places, classes[tuple(places.T)].astype(dtype)


def decided_positions(
    seen: Observation, vectors: int
) -> tuple[NDArray[np.intp], NDArray[np.integer]]:
    """Pixels of each class that the model decides for, and these classes.

    Parameters
    ----------
    seen : Observation
    vectors : int, >= 1
        Of each class at most.

    Returns
    -------
    positions : ndarray of int, shape (N, 2) or (N, 3)
        Class after class; also of a model that decides for one class alone.
    classes : ndarray of int, shape (N,)
    """
    classes = class_map(seen, "pseudo")
    rng = generator(seen.seed, seen.image, "pixels of each decision")
    places = draw_positions(classes, vectors, rng)
    return places, classes[tuple(places.T)]


def classes_in(flat: NDArray[np.integer]) -> NDArray[np.integer]:
    """The classes there are, in rising order: counted where they are few, which is far faster."""
    if flat.size and flat.min() >= 0 and flat.max() < _FEW:
        return np.flatnonzero(np.bincount(flat))
    return np.unique(flat)


def distribution(prediction: Prediction, positions: NDArray[np.intp]) -> NDArray[np.float32]:
    """Predicted probabilities of the classes at pixels, background first, shape (N, C).

    A network that gives a foreground alone has two classes.
    """
    maps = prediction.probabilities
    where = tuple(positions.T)
    if prediction.exclusive:
        found: NDArray[np.float32] = maps[(slice(None), *where)].T
        return np.ascontiguousarray(found)
    foreground = maps[where]
    return np.stack([1 - foreground, foreground], axis=-1)


def feature_map(seen: Observation, tap: str) -> FeatureMap:
    """The feature map at a tap; ModelError with those there are, if the observation has none."""
    if tap not in seen.features:
        there = ", ".join(seen.features) or "none"
        raise ModelError(
            f"{seen.image}: features at '{tap}' are needed, and the observation has {there}; "
            "choose another tap, `onnx-cte inspect` lists them"
        )
    return seen.features[tap]


def features_at(seen: Observation, tap: str, positions: NDArray[np.intp]) -> NDArray[np.float32]:
    """Features at pixels, shape (N, C); ModelError if there is no such map, or it is not finite."""
    found = feature_map(seen, tap).at(positions)
    check_finite(seen, tap, found)
    return found


def check_finite(seen: Observation, tap: str, *features: NDArray[np.floating]) -> None:
    """ModelError unless features at a tap are finite."""
    if not all(np.isfinite(some).all() for some in features):
        raise ModelError(
            f"{seen.image}: features at '{tap}' hold NaN or infinity; choose another tap"
        )


def by_name(row: Sequence[Evidence | None]) -> list[tuple[int, Evidence]]:
    """Where there is evidence, and it, by the names of the images: their order decides nothing."""
    there = [(place, seen) for place, seen in enumerate(row) if seen is not None]
    return sorted(there, key=lambda shown: str(shown[1]["image"]))
