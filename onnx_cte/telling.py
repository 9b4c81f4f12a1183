"""Which few of many images to look at: typical ones, disputed ones, and the worst."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_cte.ranking import Ranking

TYPICAL = "typical"
DISPUTED = "most disputed"
WORST = "worst"
WORST_OF_FIRST = "worst for the first model"
SPREAD = "one of all, evenly spread"


@dataclass(frozen=True, slots=True)
class Telling:
    """An image to look at, and why."""

    image: str
    why: str


def telling_images(
    ranking: Ranking, count: int, among: Iterable[str] | None = None
) -> tuple[Telling, ...]:
    """Choose images by what was measured on each of them.

    In turn, each time an image that was not taken before:

    * typical: under each model the value is nearest to what that model has in the middle;
    * most disputed: the better half of the models (two at least) agree least, in the middle, with
      the others (`Score.agreed`). Where an estimator does not compare models: how far the models
      are from their own middle differs most among them;
    * worst: the middle of the models is worst;
    * worst for the first model of the ranking.

    A value is what was measured on an image (`Score.by_image`); of credibility that is consistency
    alone. Where an estimator keeps no such number, it is how far the others agree. Images on which
    fewer than half of the models have a value say little, and are not chosen.

    Parameters
    ----------
    ranking : Ranking
        With values by image. If it has none, images are taken from `among`, spread evenly.
    count : int, >= 0
    among : iterable of str or None
        Images that can be had; None: all that were measured.

    Returns
    -------
    tuple of Telling
        At most `count`, fewer where there are no more.
    """
    by_model = [score.by_image or score.agreed for score in ranking]
    measured = {image for found in by_model for image in found}
    there = sorted(measured if among is None else set(among))
    names = sorted(measured.intersection(there))
    rows = [[found.get(name, math.nan) for name in names] for found in by_model]
    values = np.array(rows).reshape(len(ranking), len(names))
    known = ~np.isnan(values)
    usable = np.flatnonzero((2 * known.sum(axis=0) >= len(ranking)) & known.any(axis=0))
    if not len(usable):
        return _spread(there, count)
    values = values[:, usable] * (1 if ranking.greater_is_better else -1)
    values = values[known[:, usable].any(axis=1)]  # a model without any value has no middle
    distances = _distances(values)
    agreed = [[score.agreed.get(names[n], math.nan) for n in usable] for score in ranking]
    better = np.array(agreed[: max(-(-len(ranking) // 2), 2)])
    if DISPUTED in distances and not np.isnan(better).all():
        distances[DISPUTED] = np.array([_median(column) for column in better.T])
    orders = {why: _ascending(found) for why, found in distances.items()}
    chosen: dict[int, str] = {}
    while len(chosen) < min(count, len(usable)):
        for why, order in orders.items():
            left = [place for place in order if place not in chosen]
            if left and len(chosen) < count:
                chosen[left[0]] = why
    return tuple(Telling(names[usable[place]], why) for place, why in chosen.items())


def _distances(values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """By reason, a number for each image: the least is the image to take."""
    middle = np.array([_median(row) for row in values])
    apart = values - middle[:, None]
    columns = apart.T
    found = {
        TYPICAL: np.array([_median(np.abs(column)) for column in columns]),
        DISPUTED: np.array([-_spread_of(column) for column in columns]),
        WORST: np.array([_median(column) for column in values.T]),
    }
    first = values[0]
    if len(values) > 1 and not np.isnan(first).all():
        found[WORST_OF_FIRST] = np.where(np.isnan(first), np.inf, first)
    else:
        del found[DISPUTED]  # of one model with itself
    return found


def _median(values: NDArray[np.float64]) -> float:
    """Of those that are defined; infinite if none is."""
    defined = values[~np.isnan(values)]
    return float(np.median(defined)) if len(defined) else math.inf


def _spread_of(values: NDArray[np.float64]) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.std()) if len(defined) else 0.0


def _ascending(values: NDArray[np.float64]) -> list[int]:
    """Places by value; equals in the order of names."""
    return [int(place) for place in np.argsort(values, kind="stable")]


def _spread(names: Sequence[str], count: int) -> tuple[Telling, ...]:
    """So many names, evenly spread, the middle of each share."""
    count = min(count, len(names))
    places = [int((n + 0.5) * len(names) / count) for n in range(count)]
    return tuple(Telling(names[place], SPREAD) for place in places)
