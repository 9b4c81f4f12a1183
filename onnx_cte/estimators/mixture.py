"""Mixtures of Gaussians, fitted by expectation maximisation."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Covariance = Literal["full", "diagonal"]
FLOOR = 1e-6
"""Added to every variance: a component that holds a single point has this left."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mixture:
    """K Gaussians in d dimensions.

    Attributes
    ----------
    weights : ndarray, shape (K,)
        Sum to 1.
    means : ndarray, shape (K, d)
    covariances : ndarray, shape (K, d, d), or (K, d) where they are diagonal
        Positive definite.
    """

    weights: Floats
    means: Floats
    covariances: Floats

    def posteriors(self, data: Floats) -> Floats:
        """P(component | point) of points (N, d), shape (N, K); rows sum to 1."""
        return self.expect(data)[0]

    def log_likelihood(self, data: Floats) -> float:
        """Mean over points (N, d), N >= 1, of the log density, in nats."""
        return self.expect(data)[1]

    def expect(self, data: Floats) -> tuple[Floats, float]:
        """Posteriors and mean log density of points, shape (N, d), N >= 1."""
        joint = np.log(self.weights) + self._log_densities(data)
        highest = joint.max(axis=1, keepdims=True)
        joint -= highest
        np.exp(joint, out=joint)
        total = joint.sum(axis=1, keepdims=True)
        joint /= total
        return joint, float((np.log(total) + highest).mean())

    def _log_densities(self, data: Floats) -> Floats:
        dimensions = data.shape[1]
        found = np.empty((len(data), len(self.weights)))
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            if covariance.ndim == 1:
                whitened = (data - mean) / np.sqrt(covariance)
                log_determinant = float(np.log(covariance).sum())
            else:
                factor = np.linalg.cholesky(covariance)
                whitened = (data - mean) @ np.linalg.inv(factor).T
                log_determinant = 2 * float(np.log(np.diagonal(factor)).sum())
            squared = np.einsum("nd,nd->n", whitened, whitened)
            found[:, k] = -0.5 * (squared + dimensions * math.log(2 * math.pi) + log_determinant)
        return found


def maximise(data: Floats, shares: Floats, covariance: Covariance) -> Mixture:
    """The mixture of greatest likelihood if the shares of the points in the components are known.

    Parameters
    ----------
    data : ndarray, shape (N, d)
    shares : ndarray, shape (N, K)
        Posteriors of the components; rows sum to 1.
    covariance : {"full", "diagonal"}

    Returns
    -------
    Mixture
        `FLOOR` is added to every variance. A component of no share lies at the origin, and weighs
        next to nothing.
    """
    sizes = shares.sum(axis=0) + 10 * np.finfo(np.float64).eps
    means = (shares.T @ data) / sizes[:, None]
    several: list[Floats] = []
    for size, mean, share in zip(sizes, means, shares.T, strict=True):
        centred = data - mean
        if covariance == "diagonal":
            several.append(share @ centred**2 / size + FLOOR)
        else:
            scatter = (centred * share[:, None]).T @ centred / size
            several.append(scatter + FLOOR * np.eye(data.shape[1]))
    return Mixture(sizes / sizes.sum(), means, np.stack(several))


def spread_centres(data: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Points far from each other to start from (k-means++) [1]_.

    The first is drawn evenly, each further one in proportion to the squared distance to the
    nearest of those before it.

    Parameters
    ----------
    data : ndarray, shape (N, d), N >= 1
    count : int, >= 1
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (K, d)
        Rows of `data`, all different; K is `count`, or the number of different points if lower.

    References
    ----------
    .. [1] Arthur, D. and Vassilvitskii, S. (2007), k-means++, SODA.
    """
    chosen = [int(rng.integers(len(data)))]
    nearest = ((data - data[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count:
        total = np.cumsum(nearest)
        if not total[-1] > 0:
            break
        # The share below the draw: a point at distance 0 has none, so it is never hit.
        chosen.append(int(np.searchsorted(total, rng.random() * total[-1], side="right")))
        nearest = np.minimum(nearest, ((data - data[chosen[-1]]) ** 2).sum(axis=1))
    return data[chosen]


def started(
    data: Floats, components: int, rng: np.random.Generator, covariance: Covariance
) -> Mixture:
    """A mixture of the points as they lie next to centres from `spread_centres`."""
    centres = spread_centres(data, components, rng)
    distances = np.stack([((data - centre) ** 2).sum(axis=1) for centre in centres], axis=1)
    shares = np.zeros_like(distances)
    shares[np.arange(len(data)), distances.argmin(axis=1)] = 1
    return maximise(data, shares, covariance)


def fitted(
    data: Floats,
    components: int,
    rng: np.random.Generator,
    covariance: Covariance = "full",
    *,
    steps: int = 100,
    tolerance: float = 1e-3,
) -> Mixture:
    """Fit a mixture by expectation maximisation.

    Parameters
    ----------
    data : ndarray, shape (N, d), N >= 1
        Of about unit scale: `FLOOR` is an absolute number.
    components : int, >= 1
        At most; there are fewer where fewer points differ.
    rng : numpy.random.Generator
        Draws the start; nothing else is random.
    covariance : {"full", "diagonal"}
    steps : int
        At most.
    tolerance : float
        It ends where a step raises the mean log density by less, in nats.

    Returns
    -------
    Mixture
    """
    return improved(started(data, components, rng, covariance), data, covariance, steps, tolerance)


def improved(
    mixture: Mixture, data: Floats, covariance: Covariance, steps: int, tolerance: float
) -> Mixture:
    """A mixture after so many steps of expectation maximisation, or fewer; see `fitted`."""
    before = -math.inf
    for _ in range(steps):
        shares, now = mixture.expect(data)
        mixture = maximise(data, shares, covariance)
        if abs(now - before) < tolerance:
            break
        before = now
    return mixture
