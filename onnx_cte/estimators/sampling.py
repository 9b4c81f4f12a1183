"""Pixels to look at: drawn the same for every model, a bounded number an image.

Features are vectors at pixels, and classes are seldom balanced: background would swamp everything.
So as many pixels of each class are drawn, at places that depend on the labels, the image's name and
the run's seed alone (with pseudo-labels, on the model's own prediction).
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import ModelError, unknown_name
from onnx_cte.types import Observation, Prediction

MOST_BYTES = 1 << 20
"""Of evidence that an estimator may keep of one image under one model."""

_FEW = 1 << 16  # classes

Labels = Literal["truth", "classes", "pseudo"]
"""What a pixel's class is: ``truth``: foreground or background by the labels; ``classes``: the
number in the labels, which are class indices then; ``pseudo``: what the model itself decides."""


def check_labels(labels: str) -> None:
    """OptionError with the nearest choice unless it is one of `Labels`."""
    if labels not in get_args(Labels):
        raise unknown_name("kind of labels", str(labels), get_args(Labels))


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
    if seen.truth is None:
        raise ModelError(f"{seen.image}: labels are needed, and the observation has none")
    if labels == "truth":
        return np.array(seen.truth != 0, dtype=np.intp)
    if seen.truth.size and seen.truth.min() < 0:
        raise ModelError(
            f"{seen.image}: labels hold {int(seen.truth.min())}, expected class indices from 0 on"
        )
    return np.array(seen.truth, dtype=np.intp)


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
