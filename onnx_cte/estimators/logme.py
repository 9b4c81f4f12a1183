"""LogME: how well a linear model of the features explains the labels, by its evidence."""

import math
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

PERFECT = 1e-9
"""Least residual of a linear fit, as a share of the squared labels: without noise, the evidence
has no bound."""
STEPS = 8  # of a bracket on either side of its best point, each time it is narrowed
NARROWED = 6  # times: from half a natural unit to 2e-6


@dataclass(frozen=True)
class LogME(LabelledPixels):
    """Logarithm of the maximum evidence of labels given features [1]_.

    For each class, ``y`` is 1 at its pixels and 0 elsewhere, and is modelled as ``F w`` and noise,
    with Gaussian priors of precision alpha on ``w`` and beta on the noise. The score is the mean
    over the classes of ``max log p(y | F, alpha, beta) / N``, over the N pixels of all images
    together. A class absent from them is left out; NaN where there are fewer than two.

    Features are taken as they are, neither centred nor scaled, as in the definition. Features that
    say nothing (all 0, say) have the evidence of noise alone; a perfect fit, whose evidence has no
    bound, is given a residual of 1e-9 of the squared labels, which is some 10 above that.

    Parameters
    ----------
    labels, tap, vectors
        As in `LabelledPixels`; by keyword.

    Notes
    -----
    The reference starts at alpha = beta = 1, alternates between the two and stops when their ratio
    changes by 1 %. Here the maximum itself is found: beta has a closed form given the ratio, and
    the ratio is searched over all magnitudes. The reference's second version leaves the null
    directions out of the determinant, but not out of the power of alpha; here both agree.

    References
    ----------
    .. [1] You, K. et al. (2021), LogME: practical assessment of pre-trained models for transfer
       learning, arXiv:2102.11005.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.LogME())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    name: ClassVar[str] = "logme"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "LogME: evidence of the labels under a linear model of the features"
    resamples: ClassVar[int] = 200  # each fits anew

    @property
    def title(self) -> str:
        return self.told("logme")

    def score(self, bank: Bank) -> Mapping[str, float]:
        return self.judged(bank, _score)


def log_maximum_evidence(features: NDArray[Any], labels: NDArray[np.integer]) -> float:
    """Mean over classes of the maximum log evidence a pixel; see `LogME`.

    Parameters
    ----------
    features : ndarray, shape (N, d), any real dtype
    labels : ndarray of int, shape (N,)

    Returns
    -------
    float
        NaN if there are fewer than two classes.

    Raises
    ------
    ValueError
        If the shapes do not go together, there is no pixel, or features are not finite.

    Examples
    --------
    >>> features = np.array([[1, 0], [2, 1], [0, 1], [-1, 2], [-2, 1]])
    >>> round(log_maximum_evidence(features, np.array([0, 0, 1, 1, 1])), 9)
    -0.865041297
    """
    return _score(moments_of(features, labels))


def _score(moments: Moments | None) -> float:
    if moments is None or moments.classes < 2:
        return math.nan
    there = moments.counts > 0
    counts, total = moments.counts[there], moments.total
    # F^T F and F^T y of the features as they are; the moments are about a shift.
    shift, sum_ = moments.shift, moments.sums.sum(axis=0)
    gram = moments.squares.sum(axis=0) + np.outer(shift, sum_) + np.outer(sum_, shift)
    gram += total * np.outer(shift, shift)
    values, vectors = np.linalg.eigh(gram)
    kept = values > RANK * max(values[-1], 0)
    values = values[kept]
    targets = (moments.sums[there] + counts[:, None] * shift) @ vectors[:, kept]
    explained = np.square(targets) / values
    # Never 0: a perfect fit has no largest evidence.
    rest = np.maximum(counts - explained.sum(axis=1), PERFECT * counts)
    evidence = _largest(values, explained, rest, total)
    return float(evidence.mean() / total)


def _largest(
    values: NDArray[np.float64],
    explained: NDArray[np.float64],
    rest: NDArray[np.float64],
    total: float,
) -> NDArray[np.float64]:
    """Maximum over alpha and beta of the log evidence of each class.

    Parameters
    ----------
    values : ndarray, shape (k,)
        Eigenvalues of F^T F that are not 0, rising; there may be none.
    explained : ndarray, shape (K, k)
        Of y^T y of each class, the share along each left singular vector of F.
    rest : ndarray, shape (K,)
        Of y^T y, what no linear model of F explains.
    total : float
        Pixels N.

    Returns
    -------
    ndarray, shape (K,)
    """

    def evidence(logs: NDArray[np.float64]) -> NDArray[np.float64]:
        """At logarithms of alpha / beta of shape (K or 1, points), with the best beta."""
        ratios = np.exp(logs)[..., None]
        shrunk = ratios / (ratios + values)
        residual = rest[:, None] + (shrunk @ explained[:, :, None])[..., 0]
        found: NDArray[np.float64] = np.log(shrunk).sum(axis=-1) / 2 - total / 2 * (
            np.log(2 * math.pi * residual / total) + 1
        )
        return found

    # Noise alone: w is held at 0 by an infinite alpha.
    everything = rest + explained.sum(axis=1)
    best: NDArray[np.float64] = -total / 2 * (np.log(2 * math.pi * everything / total) + 1)
    if not values.size:
        return best
    # From where the data set w freely to where they hardly move it. All terms change over a
    # natural unit of the logarithm, so steps of a half miss no hill.
    low, high = math.log(values[0]) - 45, math.log(values[-1]) + 25
    step = 0.5
    middle = np.arange(low, high, step)[None, :]
    middle = middle[0, np.argmax(evidence(middle), axis=1)][:, None]
    around = np.arange(-STEPS, STEPS + 1) / STEPS
    for _ in range(NARROWED):
        points = middle + step * around
        found = evidence(points)
        place = np.argmax(found, axis=1)[:, None]
        middle = np.take_along_axis(points, place, axis=1)
        step /= STEPS
    np.maximum(best, np.take_along_axis(found, place, axis=1)[:, 0], out=best)
    return best
