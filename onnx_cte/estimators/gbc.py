"""GBC: how little the classes overlap as Gaussians in feature space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank
from onnx_cte.errors import unknown_name
from onnx_cte.estimators.labelled_pixels import (
    LabelledPixels,
    Moments,
    moments_of,
)
from onnx_cte.estimators.sampling import check_integer

Covariance = Literal["diagonal", "spherical", "full"]
FLOOR = 1e-4
"""Least variance, in squared units of the features, as in the reference."""
DIMENSIONS = 64


@dataclass(frozen=True)
class GBC(LabelledPixels):
    """Gaussian Bhattacharyya coefficient: minus the overlap of all pairs of classes [1]_.

    The pixels of a class, of all images together, are taken for a Gaussian. The score is minus the
    sum of ``exp(-D)`` over ordered pairs of different classes, so that each pair counts twice; D is
    the Bhattacharyya distance. From minus K (K - 1), for K classes that coincide (also where the
    features do not vary at all), to 0. NaN where the images hold fewer than two classes.

    Parameters
    ----------
    covariance : {"diagonal", "spherical", "full"}
        Variances of the channels (or principal components) alone, their mean, or all.
    dimensions : int, >= 1
        Of wider features, this many principal components are looked at. Features of no more
        channels are taken as they are.
    labels, tap, vectors
        As in `LabelledPixels`; by keyword.

    Notes
    -----
    Variances are at least 1e-4, as in the reference, so the score depends on the scale of the
    features; the eigenvalues are, for ``full``. With ``spherical`` the logarithms of the variances
    count in each dimension, as the definition says; the reference counts them once.

    References
    ----------
    .. [1] Pandy, M. et al. (2022), Transferability estimation using Bhattacharyya class
       separability, arXiv:2111.12780.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.GBC())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    covariance: Covariance = "diagonal"
    dimensions: int = DIMENSIONS

    name: ClassVar[str] = "gbc"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "GBC: how little the classes overlap as Gaussians of features"
    resamples: ClassVar[int] = 200  # each fits anew

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_covariance(self.covariance)
        check_integer("GBC: dimensions, the number of principal components,", self.dimensions)

    @property
    def title(self) -> str:
        return self.told("gbc", covariance="{}", dimensions="{}d")

    def score(self, bank: Bank) -> Mapping[str, float]:
        return self.judged(
            bank, lambda moments: _score(moments, self.covariance, self.dimensions), by_class=True
        )


def bhattacharyya_score(
    features: NDArray[Any],
    labels: NDArray[np.integer],
    *,
    covariance: Covariance = "diagonal",
    dimensions: int = DIMENSIONS,
) -> float:
    """Gaussian Bhattacharyya coefficient of features with labels; see `GBC`.

    Parameters
    ----------
    features : ndarray, shape (N, d), any real dtype
    labels : ndarray of int, shape (N,)
    covariance : {"diagonal", "spherical", "full"}
    dimensions : int, >= 1

    Returns
    -------
    float
        From minus K (K - 1), for K classes, to 0; NaN if there are fewer than two.

    Raises
    ------
    OptionError
        If `covariance` is none of these.
    ValueError
        If the shapes do not go together, there is no pixel, or features are not finite.

    Examples
    --------
    >>> features = np.array([[0, 0], [2, 0], [4, 1], [6, 3]])
    >>> round(bhattacharyya_score(features, np.array([0, 0, 1, 1])), 10)
    -0.0140826135
    """
    _check_covariance(covariance)
    return _score(moments_of(features, labels, by_class=True), covariance, dimensions)


def _check_covariance(covariance: str) -> None:
    if covariance not in get_args(Covariance):
        raise unknown_name("kind of covariance", str(covariance), get_args(Covariance))


def _score(moments: Moments | None, covariance: Covariance, dimensions: int) -> float:
    if moments is None or moments.classes < 2:
        return float("nan")
    there = np.flatnonzero(moments.counts)
    means = moments.sums[there] / moments.counts[there, None]
    seconds = moments.squares[there] / moments.counts[there, None, None]
    if means.shape[1] > dimensions:
        basis = np.linalg.eigh(moments.covariance)[1][:, -dimensions:]
        means, seconds = means @ basis, basis.T @ seconds @ basis
    within = seconds - means[:, :, None] * means[:, None, :]
    if covariance == "full":
        distances = _full(means, within)
    else:
        variances = np.maximum(np.diagonal(within, axis1=1, axis2=2), FLOOR)
        if covariance == "spherical":
            mean = variances.mean(axis=1, keepdims=True)
            variances = np.broadcast_to(mean, variances.shape)
        distances = _diagonal(means, variances)
    return 0.0 - 2 * float(np.exp(-distances).sum())  # 0, not -0, for classes far apart


def _diagonal(means: NDArray[np.float64], variances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bhattacharyya distance of each unordered pair of Gaussians with diagonal covariances."""
    a, b = np.triu_indices(len(means), 1)
    middle = (variances[a] + variances[b]) / 2
    apart = (np.square(means[a] - means[b]) / middle).sum(axis=1)
    logs = np.log(variances).sum(axis=1)
    distances: NDArray[np.float64] = (
        apart / 8 + (np.log(middle).sum(axis=1) - (logs[a] + logs[b]) / 2) / 2
    )
    return distances


def _full(means: NDArray[np.float64], within: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bhattacharyya distance of each unordered pair of Gaussians, eigenvalues floored."""
    values, vectors = np.linalg.eigh(within)
    values = np.maximum(values, FLOOR)
    floored = (vectors * values[:, None, :]) @ vectors.swapaxes(1, 2)
    logs = np.log(values).sum(axis=1)
    distances = []
    for a, b in zip(*np.triu_indices(len(means), 1), strict=True):
        middle, apart = (floored[a] + floored[b]) / 2, means[a] - means[b]
        log = np.linalg.slogdet(middle).logabsdet
        distances.append(
            apart @ np.linalg.solve(middle, apart) / 8 + (log - (logs[a] + logs[b]) / 2) / 2
        )
    return np.array(distances)
