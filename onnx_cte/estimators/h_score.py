"""H-score: how much of the features' variance is variance between classes, whitened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank
from onnx_cte.estimators.labelled_pixels import (
    RANK,
    LabelledPixels,
    Moments,
    moments_of,
)
from onnx_cte.estimators.sampling import check_flag


@dataclass(frozen=True)
class HScore(LabelledPixels):
    """Between-class variance of features, relative to their variance in all [1]_.

    ``tr(pinv(cov f) cov(E[f | y]))`` over pixels of all images together, as many of each class and
    image: from 0, class means coincide, to the number of classes less 1. Unchanged by any
    invertible linear map of the features. Features that do not vary at all have 0; NaN where the
    images hold fewer than two classes.

    Parameters
    ----------
    regularised : bool
        With the covariance shrunk towards a multiple of the identity by the share ``a`` of Ledoit
        and Wolf, times ``1 - a`` [2]_: for few pixels in many dimensions.
    labels, tap, vectors
        As in `LabelledPixels`; by keyword.

    Notes
    -----
    Both covariances are divided by the number of pixels N. Published code divides that of the
    class means by N - 1 in the regularised score, which makes it greater by the factor N / (N - 1).

    References
    ----------
    .. [1] Bao, Y. et al. (2019), An information-theoretic approach to transferability in task
       transfer learning, ICIP.
    .. [2] Ibrahim, S., Ponomareva, N. and Mazumder, R. (2022), arXiv:2110.06893.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.HScore())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    regularised: bool = False

    name: ClassVar[str] = "h_score"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "H-score: between-class share of the features' variance, whitened"
    resamples: ClassVar[int] = 200  # each fits anew

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("HScore: regularised", self.regularised)

    @property
    def title(self) -> str:
        return self.told("h_score", regularised="regularised")

    def score(self, bank: Bank) -> Mapping[str, float]:
        return self.judged(bank, lambda moments: _score(moments, self.regularised))


def h_score(
    features: NDArray[Any], labels: NDArray[np.integer], *, regularised: bool = False
) -> float:
    """H-score of features with labels; see `HScore`.

    Parameters
    ----------
    features : ndarray, shape (N, d), any real dtype
    labels : ndarray of int, shape (N,)
    regularised : bool

    Returns
    -------
    float
        From 0 to the number of classes less 1; NaN if there are fewer than two.

    Raises
    ------
    ValueError
        If the shapes do not go together, there is no pixel, or features are not finite.

    Examples
    --------
    >>> features = np.array([[0, 0], [2, 0], [4, 1], [6, 3]])
    >>> round(h_score(features, np.array([0, 0, 1, 1])), 9)
    0.8
    """
    return _score(moments_of(features, labels), regularised)


def ledoit_wolf(moments: Moments) -> float:
    """Share by which to shrink the covariance towards its mean variance times the identity.

    Parameters
    ----------
    moments : Moments

    Returns
    -------
    float
        In [0, 1]; 0 in one dimension, where nothing would change, and if nothing varies.

    References
    ----------
    .. [1] Ledoit, O. and Wolf, M. (2004), A well-conditioned estimator for large-dimensional
       covariance matrices, Journal of Multivariate Analysis 88.
    """
    covariance, mean = moments.covariance, moments.mean
    width = len(covariance)
    level = np.trace(covariance) / width
    # Distance of the covariance from what it is shrunk to.
    distance = np.square(covariance - level * np.eye(width)).sum()
    if width == 1 or not distance > 0:
        return 0.0
    # Sum of |x - m|^4, multiplied out.
    squares, total = moments.squares.sum(axis=0), moments.total
    length = mean @ mean
    fourths = (
        moments.fourths
        - 4 * moments.cubes @ mean
        + 4 * mean @ squares @ mean
        + 2 * length * np.trace(squares)
        - 3 * total * length**2
    )
    spread = (fourths / total - np.square(covariance).sum()) / total
    return float(min(max(spread, 0.0), distance) / distance)


def _score(moments: Moments | None, regularised: bool) -> float:
    if moments is None or moments.classes < 2:
        return float("nan")
    covariance, offsets = moments.covariance, moments.offsets
    if regularised:
        share = ledoit_wolf(moments)
        floor = share * np.trace(covariance) / len(covariance)
    else:
        # The score is the same in any units: in these, a weak channel is no lack of rank.
        variance = np.diagonal(covariance)
        unit = np.divide(1, np.sqrt(variance), out=np.zeros_like(variance), where=variance > 0)
        covariance, offsets = covariance * np.outer(unit, unit), offsets * unit
        share, floor = 0.0, 0.0
    values, vectors = np.linalg.eigh(covariance)
    shrunk = (1 - share) * values + floor
    kept = shrunk > RANK * max(shrunk[-1], 0)
    between = moments.priors @ np.square(offsets @ vectors[:, kept])
    return float((1 - share) * (between / shrunk[kept]).sum())
