"""What orders of models agree by chance: Kendall's tau of orders drawn at random."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
TRIALS = 20_000
SEED = 0


@cache
def tau_distribution(models: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every tau that an order of so many models can have, and its probability, without ties.

    Exact: counts orders by how many of their pairs are the wrong way round.

    Parameters
    ----------
    models : int, >= 2

    Returns
    -------
    taus, probabilities : ndarray of float64, shape (pairs + 1,)
        Taus ascending, from -1 to 1.

    Examples
    --------
    >>> taus, probabilities = tau_distribution(3)
    >>> taus.round(3).tolist(), probabilities.round(3).tolist()
    ([-1.0, -0.333, 0.333, 1.0], [0.167, 0.333, 0.333, 0.167])
    """
    orders = [1]
    for more in range(2, models + 1):
        # The new model may stand before 0, 1, ... or all of the others.
        longer = [0] * (len(orders) + more - 1)
        for wrong, count in enumerate(orders):
            for moved in range(more):
                longer[wrong + moved] += count
        orders = longer
    total = math.factorial(models)
    wrong = np.arange(len(orders))[::-1]
    return 1 - 2 * wrong / (len(orders) - 1), np.array([count / total for count in orders])


def tau_of_chance(models: int) -> float:
    """The tau that 95 % of all orders of so many models do not exceed; NaN for fewer than three.

    Examples
    --------
    >>> round(tau_of_chance(4), 3), tau_of_chance(3)
    (0.667, 1.0)
    """
    if models < 3:
        return math.nan
    taus, probabilities = tau_distribution(models)
    # What is summed may fall short of a level that it meets.
    return float(taus[np.searchsorted(probabilities.cumsum(), LEVEL - 1e-12)])


def mean_tau_of_chance(models: Sequence[int]) -> float:
    """The mean tau over targets that 95 % of random orders, another on each, do not exceed.

    Parameters
    ----------
    models : sequence of int
        Models on each target; those with fewer than three are left out.

    Returns
    -------
    float
        From `TRIALS` trials with a seed of their own; NaN if no target is left.
    """
    counts = [count for count in models if count >= 3]
    if not counts:
        return math.nan
    if len(counts) == 1:
        return tau_of_chance(counts[0])
    rng = np.random.default_rng(SEED)
    total = np.zeros(TRIALS)
    for count in counts:
        taus, probabilities = tau_distribution(count)
        total += rng.choice(taus, TRIALS, p=probabilities / probabilities.sum())
    return float(np.percentile(total / len(counts), 100 * LEVEL))
