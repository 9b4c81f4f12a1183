"""Matching of objects with objects of the truth by intersection over union (IoU)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnx_cte.errors import OptionError
from onnx_cte.metrics.contingency import Contingency, contingency

# Written out: linspace gives 0.8999999999999999. The IoU is a quotient of whole numbers, rounded
# once, so it equals one of these exactly where the two are the same fraction.
THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Thresholds that `average_precision` averages over."""


@dataclass(frozen=True, slots=True)
class Matching:
    """How many objects of a prediction are objects of the truth, at one threshold.

    Attributes
    ----------
    threshold : float
        IoU that a pair has to exceed (or to reach, without ``strict``).
    true_positives, false_positives, false_negatives : int
        Pairs; objects of the prediction alone; objects of the truth alone.
    """

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        """Share of the prediction's objects that are right; NaN if it has none."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the truth's objects that were found; NaN if it has none."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """``2 TP / (2 TP + FP + FN)``; NaN if neither has objects."""
        wrong = self.false_positives + self.false_negatives
        return _share(2 * self.true_positives, 2 * self.true_positives + wrong)

    @property
    def accuracy(self) -> float:
        """``TP / (TP + FP + FN)``, which StarDist and Kaggle call average precision; or NaN."""
        wrong = self.false_positives + self.false_negatives
        return _share(self.true_positives, self.true_positives + wrong)


@overload
def matching(
    prediction: ArrayLike, truth: ArrayLike, thresholds: float = 0.5, *, strict: bool = True
) -> Matching: ...
@overload
def matching(
    prediction: ArrayLike, truth: ArrayLike, thresholds: Sequence[float], *, strict: bool = True
) -> tuple[Matching, ...]: ...
def matching(
    prediction: ArrayLike,
    truth: ArrayLike,
    thresholds: float | Sequence[float] = 0.5,
    *,
    strict: bool = True,
) -> Matching | tuple[Matching, ...]:
    """Match the objects of a prediction with those of the truth, one to one.

    Parameters
    ----------
    prediction, truth : ndarray of int, equal shapes of one or more axes
        Label images, 0 is background. Labels need not correspond, nor be consecutive.
    thresholds : float or sequence of float, in [0, 1]
        A pair matches if its IoU is greater; pairs that share no pixel never do.
    strict : bool
        Without it, an IoU equal to the threshold matches too.

    Returns
    -------
    Matching, or tuple of Matching
        One for each threshold. As many pairs as can be matched at once: with a strict threshold
        of 0.5 or more there is nothing to choose, as an object has one such partner at most.

    Raises
    ------
    ValueError
        As `contingency`; or if a threshold (`OptionError`) is out of range.

    Examples
    --------
    >>> truth = np.array([[1, 1, 1, 1, 0, 2, 2, 2]])
    >>> prediction = np.array([[4, 4, 4, 0, 0, 0, 0, 3]])
    >>> matching(prediction, truth)
    Matching(threshold=0.5, true_positives=1, false_positives=1, false_negatives=1)
    """
    return matching_of(contingency(truth, prediction), thresholds, strict=strict)


@overload
def matching_of(
    table: Contingency, thresholds: float = 0.5, *, strict: bool = True
) -> Matching: ...
@overload
def matching_of(
    table: Contingency, thresholds: Sequence[float], *, strict: bool = True
) -> tuple[Matching, ...]: ...
def matching_of(
    table: Contingency, thresholds: float | Sequence[float] = 0.5, *, strict: bool = True
) -> Matching | tuple[Matching, ...]:
    """As `matching`, of a contingency table with the truth as its reference."""
    areas = table.reference_areas[table.rows] + table.other_areas[table.columns]
    iou = table.overlaps / (areas - table.overlaps)
    if isinstance(thresholds, Sequence | np.ndarray):
        return tuple(_matched(table, iou, float(each), strict) for each in thresholds)
    return _matched(table, iou, float(thresholds), strict)


def f1_50(prediction: ArrayLike, truth: ArrayLike, *, strict: bool = True) -> float:
    """F1 of the objects at an IoU threshold of 0.5.

    Parameters
    ----------
    prediction, truth, strict
        As in `matching`.

    Returns
    -------
    float
        In [0, 1]. 0 if only one of them has objects; NaN if neither has. Symmetric.

    Raises
    ------
    ValueError
        As `contingency`.

    Examples
    --------
    >>> f1_50(np.array([[4, 4, 4, 0, 0, 0, 0, 3]]), np.array([[1, 1, 1, 1, 0, 2, 2, 2]]))
    0.5
    """
    return f1_50_of(contingency(truth, prediction), strict=strict)


def f1_50_of(table: Contingency, *, strict: bool = True) -> float:
    """As `f1_50`, of a contingency table with the truth as its reference."""
    return matching_of(table, 0.5, strict=strict).f1


def average_precision(prediction: ArrayLike, truth: ArrayLike, *, strict: bool = True) -> float:
    """Mean of TP / (TP + FP + FN) over the IoU thresholds 0.5, 0.55, ... 0.95 (mAP of [1]_).

    What cell segmentation calls mean average precision ([2]_): objects have no confidence, so it
    is not the area under a curve that COCO means by it.

    Parameters
    ----------
    prediction, truth : ndarray of int, equal shapes
        Label images, as in `matching`. An image without background keeps all its objects; the
        code of [1]_ takes the first of them for background.
    strict : bool
        A match exceeds the threshold ([1]_); without it, reaching it is enough ([2]_).

    Returns
    -------
    float
        In [0, 1]. 0 if only one of them has objects; NaN if neither has (the code of [1]_ says
        0). Symmetric.

    Raises
    ------
    ValueError
        As `contingency`.

    References
    ----------
    .. [1] Talks, J. and Kreshuk, A. (2025), arXiv:2503.00450.
    .. [2] Schmidt, U. et al. (2018), arXiv:1806.03535.

    Examples
    --------
    >>> average_precision(np.array([4, 4, 4, 0, 0, 0, 3]), np.array([1, 1, 1, 1, 0, 2, 2]))
    0.16666666666666666
    """
    return average_precision_of(contingency(truth, prediction), strict=strict)


def average_precision_of(table: Contingency, *, strict: bool = True) -> float:
    """As `average_precision`, of a contingency table with the truth as its reference."""
    found = matching_of(table, THRESHOLDS, strict=strict)
    return math.fsum(one.accuracy for one in found) / len(found)


def _matched(
    table: Contingency, iou: NDArray[np.float64], threshold: float, strict: bool
) -> Matching:
    if not 0 <= threshold <= 1:
        raise OptionError(f"IoU threshold is {threshold}: expected a number from 0 to 1")
    pairs = np.flatnonzero(iou > threshold if strict else iou >= threshold)
    # Above a half, two objects that overlap a third by so much would overlap one another.
    unique = threshold > 0.5 or (strict and threshold == 0.5)
    found = len(pairs) if unique else _most(table, pairs)
    predicted, wanted = len(table.other_ids), len(table.reference_ids)
    return Matching(threshold, found, predicted - found, wanted - found)


def _most(table: Contingency, pairs: NDArray[np.intp]) -> int:
    """How many of these pairs can be matched with no object in two of them."""
    if not pairs.size:
        return 0
    # Imported here: it takes a tenth of a second, and the strict rule does without.
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    where = (table.rows[pairs], table.columns[pairs])
    shape = (len(table.reference_ids), len(table.other_ids))
    graph = csr_array((np.ones(len(pairs), np.int8), where), shape=shape)
    return int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
