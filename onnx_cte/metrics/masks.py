"""Metrics on foreground masks, class maps and probability maps: arrays in, a float out.

Every function returns NaN where it is undefined, and says when that is. Background is 0 (False).
"""

import math
from typing import Any, Literal

import numpy as np
import scipy  # its parts are imported when first used: slow, and masks alone need none
from numpy.typing import NDArray

Region = Literal["union", "all"]
# Separate pieces of one number, from which on it is taken for a mask.
_PIECES = 5


def normalized_hamming(reference: NDArray[Any], perturbed: NDArray[Any]) -> float:
    """Share of the union of two foregrounds that does not flip (NHD, Eq. 5 of [1]_).

    A similarity, for all its name: of two masks it is their intersection over union. Background
    that both agree on does not count, so a near-empty image is not consistent for free.

    Parameters
    ----------
    reference, perturbed : ndarray of bool or int, any equal shape
        Foreground masks, or class maps with 0 for background, without and with perturbation. In
        class maps a pixel is in the union if either is not background, and flips if they differ.

    Returns
    -------
    float
        In [0, 1]; 1 is identical, 0 disjoint. Symmetric. NaN if both are background everywhere.

    Raises
    ------
    ValueError
        If the shapes differ, or the arrays are neither bool nor integer.

    References
    ----------
    .. [1] Talks, J. and Kreshuk, A. (2025), arXiv:2503.00450.

    Examples
    --------
    >>> a, b = np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)
    >>> round(normalized_hamming(a, b), 3)
    0.333
    """
    _same_shape(reference, perturbed)
    _hard(reference, perturbed)
    union = int(np.count_nonzero((reference != 0) | (perturbed != 0)))
    if not union:
        return math.nan
    return int(np.count_nonzero((reference == perturbed) & (reference != 0))) / union


def effective_invariance(
    reference: NDArray[np.floating],
    perturbed: NDArray[np.floating],
    *,
    threshold: float = 0.5,
    exclusive: bool = False,
    region: Region = "union",
) -> float:
    """Agreement of two predictions, weighted by their confidence (EI of [1]_, Eq. 4 of [2]_).

    A pixel counts ``sqrt(c * c')`` if both predictions decide alike, else 0; ``c`` is the
    probability of the class decided for. Averaged over the union of both foregrounds, as the text
    and the code of [2]_ have it, it never exceeds `normalized_hamming` of the same predictions.

    Parameters
    ----------
    reference, perturbed : ndarray of float, equal shapes, in [0, 1]
        Foreground probabilities of any shape; if `exclusive`, (C, ...) class probabilities with
        the background first.
    threshold : float
        Foreground is strictly greater. Not used if `exclusive`, where the largest class wins.
    exclusive : bool
        Whether the first axis holds the probabilities of classes.
    region : {"union", "all"}
        Average over the union of foregrounds, or over all pixels (Eq. 4 as printed).

    Returns
    -------
    float
        In [0, 1]; 1 is decided alike with certainty. Symmetric. NaN if the region is empty.

    Raises
    ------
    ValueError
        If the shapes differ or the region is unknown.

    References
    ----------
    .. [1] Deng, W., Gould, S. and Zheng, L. (2022), arXiv:2207.11842.
    .. [2] Talks, J. and Kreshuk, A. (2025), arXiv:2503.00450.

    Examples
    --------
    >>> p, q = np.array([0.9, 0.8, 0.3, 0.6]), np.array([0.4, 0.5001, 0.2, 0.9])
    >>> round(effective_invariance(p, q), 6)
    0.455789
    """
    _same_shape(reference, perturbed)
    if region not in ("union", "all"):
        raise ValueError(f"region must be 'union' or 'all', not {region!r}")
    first, second = (
        _decide(reference, threshold, exclusive),
        _decide(perturbed, threshold, exclusive),
    )
    if region == "all":
        counted = first.size
        alike = first == second
    else:
        counted = int(np.count_nonzero((first != 0) | (second != 0)))
        alike = (first == second) & (first != 0)
    if not counted:
        return math.nan
    one = _confidence(reference, first, exclusive)[alike].astype(np.float64)
    other = _confidence(perturbed, second, exclusive)[alike].astype(np.float64)
    return float(np.sqrt(one * other).sum() / counted)


def mean_confidence(
    probabilities: NDArray[np.floating],
    *,
    threshold: float = 0.5,
    exclusive: bool = False,
    region: Literal["foreground", "all"] = "foreground",
) -> float:
    """Mean probability of the decided class: the plainest guess at how good a prediction is.

    Parameters
    ----------
    probabilities : ndarray of float in [0, 1]
        Foreground probabilities of any shape; if `exclusive`, (C, ...) with the background first.
    threshold, exclusive
        As in `effective_invariance`.
    region : {"foreground", "all"}
        Average over the predicted foreground, or over all pixels.

    Returns
    -------
    float
        In [0, 1]. NaN if the region is empty.

    References
    ----------
    .. [1] Hendrycks, D. and Gimpel, K. (2017), arXiv:1610.02136.

    Examples
    --------
    >>> round(mean_confidence(np.array([0.9, 0.2, 0.6, 0.4]), region="all"), 3)
    0.725
    """
    decided = _decide(probabilities, threshold, exclusive)
    chosen = _confidence(probabilities, decided, exclusive)[_where(decided, region)]
    return float(chosen.mean(dtype=np.float64)) if chosen.size else math.nan


def mean_entropy(
    probabilities: NDArray[np.floating],
    *,
    threshold: float = 0.5,
    exclusive: bool = False,
    region: Literal["foreground", "all"] = "foreground",
) -> float:
    """Mean Shannon entropy of the predicted distribution, in nats.

    Parameters
    ----------
    probabilities, threshold, exclusive, region
        As in `mean_confidence`.

    Returns
    -------
    float
        In [0, log C], C = 2 for foreground probabilities. NaN if the region is empty.

    Examples
    --------
    >>> round(mean_entropy(np.array([0.9, 0.2, 0.6, 0.4]), region="all"), 6)
    0.542877
    """
    where = _where(_decide(probabilities, threshold, exclusive), region)
    chosen = probabilities[..., where].astype(np.float64)
    if not chosen.size:
        return math.nan
    if not exclusive:
        chosen = np.stack([chosen, 1 - chosen])
    # p log p tends to 0 with p: certain pixels add nothing.
    terms = chosen * np.log(np.where(chosen > 0, chosen, 1))
    return float(-terms.sum() / np.count_nonzero(where))


def f1(prediction: NDArray[Any], truth: NDArray[Any]) -> float:
    """F1 (Dice) of the foreground against labels.

    Parameters
    ----------
    prediction : ndarray of bool or int
        Foreground mask, or class map or label image: foreground is what is not 0.
    truth : ndarray of bool or int, same shape
        Labels by people, likewise.

    Returns
    -------
    float
        In [0, 1]. 0 if only one of them is empty; NaN if both are (the authors' code says 0).

    Raises
    ------
    ValueError
        If the shapes differ, or the arrays are neither bool nor integer.

    Examples
    --------
    >>> round(f1(np.array([1, 1, 0, 1], bool), np.array([1, 1, 1, 0], bool)), 3)
    0.667
    """
    _same_shape(prediction, truth)
    _hard(prediction, truth)
    found, wanted = prediction != 0, truth != 0
    total = int(np.count_nonzero(found) + np.count_nonzero(wanted))
    return 2 * int(np.count_nonzero(found & wanted)) / total if total else math.nan


def f1_classes(prediction: NDArray[Any], truth: NDArray[Any]) -> float:
    """Mean over the classes, but for background, of the F1 of each.

    Parameters
    ----------
    prediction, truth : ndarray of int, equal shapes
        Class maps, 0 is background. (For instance labels use `f1`: ids are no classes.)

    Returns
    -------
    float
        In [0, 1]; over the classes that either holds. NaN if there are none.

    Raises
    ------
    ValueError
        If the shapes differ, or the arrays are neither bool nor integer.

    Examples
    --------
    >>> f1_classes(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1]))
    0.6666666666666666
    """
    _same_shape(prediction, truth)
    _hard(prediction, truth)
    classes = [c for c in np.union1d(prediction, truth) if c != 0]
    if not classes:
        return math.nan
    return float(np.mean([f1(prediction == c, truth == c) for c in classes]))


def is_mask(labels: NDArray[np.integer]) -> bool:
    """Whether a label image looks like a mask, or class indices, rather than objects.

    Parameters
    ----------
    labels : ndarray of int
        0 is background.

    Returns
    -------
    bool
        If at most two numbers stand for at least five separate pieces each.

    Examples
    --------
    >>> dots = np.zeros((20, 20), int)
    >>> dots[::4, ::4] = 1
    >>> is_mask(dots), is_mask(dots * np.arange(1, 21))
    (True, False)
    """
    present = labels[labels != 0]
    if not present.size:
        return False
    low, high = present.min(), present.max()
    if not ((present == low) | (present == high)).all():
        return False
    pieces = scipy.ndimage.label(labels != 0)[1]
    return bool(pieces >= _PIECES * (1 + (low != high)))


def _decide(probabilities: NDArray[np.floating], threshold: float, exclusive: bool) -> NDArray[Any]:
    decided: NDArray[Any]
    if exclusive:
        decided = np.argmax(probabilities, axis=0)
        return decided
    # The threshold in the array's own precision: float32 0.3 must not exceed a float64 0.3.
    decided = np.greater(probabilities, probabilities.dtype.type(threshold))
    return decided


def _confidence(
    probabilities: NDArray[np.floating], decided: NDArray[Any], exclusive: bool
) -> NDArray[np.floating]:
    confidence: NDArray[np.floating] = (
        np.max(probabilities, axis=0)
        if exclusive
        else np.where(decided, probabilities, 1 - probabilities)
    )
    return confidence


def _where(decided: NDArray[Any], region: str) -> NDArray[np.bool_]:
    if region not in ("foreground", "all"):
        raise ValueError(f"region must be 'foreground' or 'all', not {region!r}")
    return np.ones(decided.shape, bool) if region == "all" else decided != 0


def _same_shape(one: NDArray[Any], other: NDArray[Any]) -> None:
    if one.shape != other.shape:
        raise ValueError(f"shapes differ: {one.shape} and {other.shape}")


def _hard(*arrays: NDArray[Any]) -> None:
    for array in arrays:
        if array.dtype.kind not in "biu":
            raise ValueError(
                f"expected a bool mask or integer classes, got {array.dtype}: "
                "threshold probabilities first"
            )
