"""Spectral meta-learner: accuracies of models from how their predictions co-vary."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank
from onnx_cte.estimators.packed import PackedMasks, overlaps_of

FEWEST_MODELS = 3
_SWEEPS = 1000
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Spectral(PackedMasks):
    """Balanced accuracies, up to one factor, from the covariance of the models' decisions [1]_.

    If the models err independently of each other on foreground and on background, the covariance
    of two models' decisions (+1 foreground, -1 background) is the product of their skills, where
    skill is ``s (2 pi - 1)``, pi the balanced accuracy and ``s = sqrt(1 - b^2)`` one number for all
    models (b is the share of foreground less that of background, which nobody knows). So off its
    diagonal the matrix has rank one, and the skills are read from it: those ``v`` with the least
    ``sum_(i<j) (Q_ij - v_i v_j)^2``, the leading eigenvector of the matrix whose diagonal is
    completed accordingly, by coordinate descent from the leading eigenvector of the matrix as it
    is. Its sign, which the covariance leaves open, is such that most models are better than chance.

    The pixels of all images are pooled, so large images count more. Scores lie about in [-1, 1]:
    0 is chance, and the score of a model that decides alike at every pixel of every image. All are
    NaN if fewer than three models decide anything (two leave the skills open). Where evidence is
    missing, the covariance of a pair comes from the images that have both; models of which some
    pair has none are left out, those that lack most first, and are NaN.

    A bank of similar wrong models wins: errors made together look like skill.

    References
    ----------
    .. [1] Parisi, F., Strino, F., Nadler, B. and Kluger, Y. (2014), Ranking and combining multiple
       predictors without labeled data, PNAS 111(4), arXiv:1303.3257.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> models = [
    ...     oc.BlackBox(f"above {level}", lambda x, level=level: (x > level).astype(float))
    ...     for level in (0.0, 0.5, 0.9)
    ... ]
    >>> ranking = oc.rank(models, oc.Images.from_arrays(discs), oc.Spectral())
    >>> [(score.model, round(score.value, 2)) for score in ranking]
    [('above 0.5', 0.57), ('above 0.9', 0.11), ('above 0.0', 0.01)]
    """

    name: ClassVar[str] = "spectral"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "accuracy from the covariance of the models' decisions (three or more)"

    @property
    def title(self) -> str:
        return self.name

    def score(self, bank: Bank) -> Mapping[str, float]:
        names = list(bank)
        order = np.array(sorted(range(len(names)), key=names.__getitem__), np.intp)
        covariance, together = pooled_covariance(bank)
        chosen = order[_all_together(together[np.ix_(order, order)])]
        skills = np.full(len(names), np.nan)
        skills[chosen] = skill(covariance[np.ix_(chosen, chosen)])
        return {name: float(value) for name, value in zip(names, skills, strict=True)}


def pooled_covariance(bank: Bank) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Covariance of the models' decisions, +1 or -1, over the pixels of all images.

    Parameters
    ----------
    bank : Bank
        Whole, or a draw: an image drawn twice counts twice.

    Returns
    -------
    covariance : ndarray of float64, shape (M, M)
        In [-1, 1]; 0 where two models have no image together.
    together : ndarray of float64, shape (M, M)
        Pixels on which both decided.
    """
    found = overlaps_of(bank)
    weights = bank.counts
    # All sums are of whole numbers, hence exact, whatever the order of the images.
    models = len(bank)
    shared = (weights @ found.shared.reshape(len(weights), -1)).reshape(models, models)
    sizes = np.einsum("kii->ki", found.shared) * weights[:, None]
    own = sizes.T @ found.present  # (i, j): foreground of i on the images that have j too
    together = (found.present * (weights * found.pixels)[:, None]).T @ found.present
    pixels = np.maximum(together, 1)
    covariance: NDArray[np.float64] = 4 * (shared / pixels - (own / pixels) * (own.T / pixels))
    return covariance, together


def skill(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector whose products fit a covariance matrix best off its diagonal.

    Parameters
    ----------
    covariance : ndarray of float64, shape (M, M), symmetric

    Returns
    -------
    ndarray of float64, shape (M,)
        0 for models that do not vary; all NaN if fewer than three vary.

    Examples
    --------
    >>> v = np.array([0.8, 0.5, 0.2, 0.0])
    >>> skill(np.outer(v, v)).round(6).tolist()
    [0.8, 0.5, 0.2, 0.0]
    """
    varies = np.diag(covariance) > 0
    found = np.zeros(len(covariance))
    if np.count_nonzero(varies) < FEWEST_MODELS:
        return found + np.nan
    rows = np.flatnonzero(varies)
    matrix = covariance[np.ix_(rows, rows)]
    values, vectors = np.linalg.eigh(matrix)
    fitted = vectors[:, -1] * np.sqrt(max(values[-1], 0.0))
    off = matrix - np.diag(np.diag(matrix))
    # Each step is the exact minimum over one entry, so the misfit never rises.
    for _ in range(_SWEEPS):
        before = fitted.copy()
        square = fitted @ fitted
        for i in range(len(fitted)):
            rest = square - fitted[i] ** 2
            new = (off[i] @ fitted) / rest if rest > _TOLERANCE * square else 0.0
            square, fitted[i] = rest + new**2, new
        if np.abs(fitted - before).max() <= _TOLERANCE * np.abs(fitted).max():
            break
    found[rows] = fitted * _sign(fitted)
    return found


def _sign(fitted: NDArray[np.float64]) -> float:
    """Such that most are positive; with as many of either, such that their sum is."""
    more = np.count_nonzero(fitted > 0) - np.count_nonzero(fitted < 0)
    return -1.0 if more < 0 or (more == 0 and fitted.sum() < 0) else 1.0


def _all_together(together: NDArray[np.float64]) -> NDArray[np.intp]:
    """Models of which any two have pixels together, in order; those lacking most go first."""
    kept = np.arange(len(together))
    while True:
        lacking = np.count_nonzero(together[np.ix_(kept, kept)] == 0, axis=1)
        if not lacking.any():
            return kept
        kept = np.delete(kept, int(np.argmax(lacking)))
