"""Distances between clouds of feature vectors: 2-Wasserstein of Gaussians, hyperspherical energy.

A cloud enters by its mean and by a factor R of its sample covariance, R' R. With these the trace of
the square root of a product of covariances A = R' R and B = S' S is the nuclear norm of R S':

    tr (A^1/2 B A^1/2)^1/2 = sum of the singular values of R S'

(the squares of both are the eigenvalues of A B). No square root of a matrix is taken, a covariance
may have any rank, and R S' is no larger than the number of vectors.

Of large products the singular values come from the eigenvalues of R S' (R S')', clipped at 0: twice
as fast, and ten times where BLAS has more threads than there are idle cores. In double precision
their sum is good to 1e-8 of the traces, worst where ranks are deficient; evidence in single
precision is no better. Where that is not good enough, for covariances that are nearly the same, and
of small products, the singular values are computed themselves.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENERGY_EPSILON = 1e-3
"""Added to squared distances in the energy, as in the released code of CCFV."""

# Products of as many rows or fewer are cheap; and traces that nearly cancel ask for all digits.
_SMALL, _ALIKE = 32, 1e-2

Gaussian = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Mean, shape (d,), and factor R of the covariance R' R, shape (r, d)."""


def gaussian(vectors: NDArray[np.floating]) -> Gaussian:
    """Mean of some vectors and the smallest triangular factor of their covariance.

    Parameters
    ----------
    vectors : ndarray of float, shape (n, d)
        At least two.

    Returns
    -------
    mean : ndarray of float64, shape (d,)
    factor : ndarray of float64, shape (min(n - 1, d), d)
        Zero below its diagonal; ``factor.T @ factor`` is the sample covariance (over ``n - 1``).

    Raises
    ------
    ValueError
        Of fewer than two vectors.
    """
    if len(vectors) < 2:
        raise ValueError(f"{len(vectors)} vectors have no covariance; give at least 2")
    exact = vectors.astype(np.float64)
    mean: NDArray[np.float64] = exact.mean(axis=0)
    factor: Any = np.linalg.qr((exact - mean) / np.sqrt(len(exact) - 1), mode="r")
    # Of n centred vectors n - 1 are independent: the last row of a triangle that has n is zero.
    return mean, factor[: len(exact) - 1]


def packed(factor: NDArray[np.float64]) -> NDArray[np.float32]:
    """What is not zero of a factor, in one row."""
    return factor[np.triu_indices(len(factor), m=factor.shape[1])].astype(np.float32)


def unpacked(row: NDArray[np.float32], rows: int, width: int) -> NDArray[np.float64]:
    """The factor of shape (rows, width) again, in single precision's digits."""
    factor = np.zeros((rows, width))
    factor[np.triu_indices(rows, m=width)] = row
    return factor


def packed_size(rows: int, width: int) -> int:
    """How many numbers a factor of shape (rows, width), rows <= width, is packed into."""
    return rows * width - rows * (rows - 1) // 2


def wasserstein(one: Gaussian, other: Gaussian) -> float:
    """2-Wasserstein distance of two Gaussians, in units of the vectors.

    Parameters
    ----------
    one, other : Gaussian

    Returns
    -------
    float
        ``sqrt(|m - n|^2 + tr(A + B - 2 (A B)^1/2))``; what rounding alone can leave of the trace
        counts as 0, so that equal clouds are at 0.

    Examples
    --------
    >>> square = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> round(wasserstein(gaussian(square), gaussian(square + [3, 4])), 12)
    5.0
    """
    (mean, factor), (other_mean, other_factor) = one, other
    traces = float((factor**2).sum() + (other_factor**2).sum())
    product = factor @ other_factor.T
    small = min(product.shape) <= _SMALL
    spread = traces if small else traces - 2 * _by_eigenvalues(product)
    if small or spread < _ALIKE * traces:
        spread = traces - 2 * float(np.linalg.svd(product, compute_uv=False).sum())
    size = max(*factor.shape, *other_factor.shape)
    if spread < 8 * size * np.finfo(float).eps * traces:
        spread = 0.0
    return float(np.sqrt(((mean - other_mean) ** 2).sum() + spread))


def _by_eigenvalues(product: NDArray[np.float64]) -> float:
    """Sum of the singular values of a matrix, from its smaller Gram matrix."""
    rows, columns = product.shape
    gram = product @ product.T if rows <= columns else product.T @ product
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0)).sum())


def wasserstein_matrix(clouds: Sequence[Gaussian]) -> NDArray[np.float64]:
    """`wasserstein` of each pair, shape (clouds, clouds); the diagonal is 0."""
    found = np.zeros((len(clouds), len(clouds)))
    for i, one in enumerate(clouds):
        for j, other in enumerate(clouds[:i]):
            found[i, j] = found[j, i] = wasserstein(one, other)
    return found


def energy_matrix(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hyperspherical energy (s = 1) of each pair of vectors: ``(|u - v|^2 + 1e-3)^(-1/2)``.

    Parameters
    ----------
    vectors : ndarray of float, shape (n, d)

    Returns
    -------
    ndarray of float64, shape (n, n)
        The mean over its pairs is the energy of the vectors, E.
    """
    squared = np.empty((len(vectors), len(vectors)))
    for i, vector in enumerate(vectors):
        squared[i] = ((vectors - vector) ** 2).sum(axis=1)
    energies: NDArray[np.float64] = 1 / np.sqrt(squared + ENERGY_EPSILON)
    return energies


def on_sphere(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors (n, d) scaled to length 1; a vector of length 0 stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float64] = vectors / np.where(lengths > 0, lengths, 1)
    return scaled
