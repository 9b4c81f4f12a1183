"""Evidence to score and rank, each with its bootstrap interval.

What was sampled is the image, so images are resampled (all planes and windows of one file together)
and the estimator scores the drawn evidence again. All models share each draw, which gives honest
intervals of ranks and of differences; overlap of two models' own intervals would not.
"""

import itertools
import math
import time
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.types import Estimator

DRAWS = 1000
# Groups. Below, the bootstrap claims too much: it told two models with the same distribution of
# scores apart in 58 % of trials with two images, in 17 % with three, and in its 5 % with five.
FEWEST = 5
LEVEL = (2.5, 97.5)  # percentiles of a 95 % interval


class Judgement:
    """Scores of a bank of models, and how sure the images are of them.

    Parameters
    ----------
    bank : Bank
        At least one model; images in an order that depends on their names alone.
    estimator : Estimator
    groups : sequence of str
        For each image, what is drawn together.
    seed : int
    draws : int or None
        Bootstrap draws. None: the estimator's own ``resamples``, or else `DRAWS`. Without any,
        nothing is said of how sure the images are.

    Attributes
    ----------
    order : list of str
        Models, best first; undefined last; equal ones by name.
    values : mapping of str to float
    seconds : float
        What it took to score the whole bank once.
    drawn : ndarray of float64, shape (draws, models)
        Scores of each draw, models in the order of `order`; no rows if there are no draws.
    intervals : mapping of str to (float, float)
        NaN if undefined, if there are fewer than `FEWEST` groups to draw from, or no draws.
    rank_intervals : mapping of str to (int, int)
        All ranks, if there are fewer than `FEWEST` groups, or no draws.
    undecided : tuple of (str, str)
        Pairs, the better one first, that the images cannot tell apart; none without draws, for
        then nobody asked.
    resampled : bool
        Whether draws were asked for, so that `undecided` and `contrasts` say something.
    contrasts : mapping of (str, str) to float
        By pair, the better one first: by how many standard errors their scores differ. That is
        the difference of the scores over the standard deviation of the difference in the draws,
        which share their images; 0 for equal scores, infinite if the difference is the same in
        every draw. Left out are pairs of which a score is not finite, and all pairs if there are
        fewer than `FEWEST` groups, or no draws.

    Raises
    ------
    OptionError
        If the estimator's ``resamples`` is no whole number of at least 0.
    """

    def __init__(
        self,
        bank: Bank,
        estimator: Estimator,
        groups: Sequence[str],
        seed: int,
        draws: int | None = None,
    ) -> None:
        models = list(bank)
        draws = resamples_of(estimator) if draws is None else draws
        self.resampled = draws > 0
        started = time.perf_counter()
        self.values: Mapping[str, float] = estimator.score(bank)
        self.seconds = time.perf_counter() - started
        sign = 1.0 if estimator.greater_is_better else -1.0
        oriented = np.array([sign * self.values[model] for model in models])
        self.order = sorted(models, key=lambda m: _best_first(sign * self.values[m], m))
        drawn = _draws(bank, estimator, models, groups, seed, draws)
        self.drawn = drawn[:, [models.index(model) for model in self.order]]
        self.intervals = {m: _interval(drawn[:, i]) for i, m in enumerate(models)}
        self.rank_intervals = _rank_intervals(models, sign * drawn)
        place = {model: i for i, model in enumerate(models)}
        self.undecided = tuple(
            (a, b)
            for position, a in enumerate(self.order)
            for b in self.order[position + 1 :]
            if self.resampled
            and _undecided(
                sign * drawn[:, place[a]],
                sign * drawn[:, place[b]],
                oriented[place[a]],
                oriented[place[b]],
            )
        )
        contrasts = {
            (a, b): _contrast(
                drawn[:, place[a]], drawn[:, place[b]], self.values[a], self.values[b]
            )
            for a, b in itertools.combinations(self.order, 2)
        }
        self.contrasts = {
            pair: contrast for pair, contrast in contrasts.items() if not math.isnan(contrast)
        }


def resamples_of(estimator: Estimator) -> int:
    """Bootstrap draws that an estimator can bear; OptionError if that is no such number."""
    # Optional, hence not in the protocol.
    draws = getattr(estimator, "resamples", DRAWS)
    if not isinstance(draws, int) or isinstance(draws, bool) or draws < 0:
        raise OptionError(
            f"estimator '{estimator.name}': resamples is {draws!r}, expected the number of "
            "bootstrap draws, a whole number of at least 0"
        )
    return draws


def _best_first(value: float, model: str) -> tuple[bool, float, str]:
    undefined = math.isnan(value)
    return undefined, 0.0 if undefined else -value, model


def _draws(
    bank: Bank,
    estimator: Estimator,
    models: Sequence[str],
    groups: Sequence[str],
    seed: int,
    draws: int,
) -> NDArray[np.float64]:
    """Scores of shape (draws, models); no draws at all from fewer than `FEWEST` groups."""
    members: dict[str, list[int]] = {}
    for image, group in enumerate(groups):
        members.setdefault(group, []).append(image)
    if len(members) < FEWEST:
        return np.empty((0, len(models)))
    together = [np.array(members[group], dtype=np.intp) for group in sorted(members)]
    rng = np.random.default_rng([seed, zlib.crc32(b"bootstrap")])
    picks = rng.integers(len(together), size=(draws, len(together)))
    scores = np.empty((draws, len(models)))
    for row, pick in enumerate(picks):
        drawn = estimator.score(bank.draw(np.concatenate([together[i] for i in pick])))
        scores[row] = [drawn[model] for model in models]
    return scores


def _interval(drawn: NDArray[np.float64]) -> tuple[float, float]:
    defined = drawn[np.isfinite(drawn)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.percentile(defined, LEVEL)
    return float(low), float(high)


def _rank_intervals(
    models: Sequence[str], oriented: NDArray[np.float64]
) -> dict[str, tuple[int, int]]:
    """95 % of each model's rank over the draws; equals share all the ranks they could have."""
    if not len(oriented):
        return dict.fromkeys(models, (1, len(models)))
    values = np.where(np.isnan(oriented), -np.inf, oriented)
    found = {}
    for place, model in enumerate(models):
        own = values[:, place : place + 1]
        best = 1 + (values > own).sum(axis=1)
        worst = (values >= own).sum(axis=1)
        low = np.percentile(best, LEVEL[0], method="inverted_cdf")
        high = np.percentile(worst, LEVEL[1], method="inverted_cdf")
        found[model] = (int(low), int(high))
    return found


def _undecided(
    a: NDArray[np.float64], b: NDArray[np.float64], whole_a: float, whole_b: float
) -> bool:
    """Whether 0 lies in the 95 % interval of the difference of two models' drawn scores."""
    if math.isnan(whole_a) or math.isnan(whole_b):
        return math.isnan(whole_a) and math.isnan(whole_b)
    with np.errstate(invalid="ignore"):  # an estimator may give infinite scores
        difference = a - b
    difference = difference[np.isfinite(difference)]
    if not difference.size:
        return True
    low, high = np.percentile(difference, LEVEL)
    return bool(low <= 0 <= high)


def _contrast(
    a: NDArray[np.float64], b: NDArray[np.float64], whole_a: float, whole_b: float
) -> float:
    """Standard errors between two models' scores; NaN where there are no draws to tell."""
    difference = abs(whole_a - whole_b)
    with np.errstate(invalid="ignore"):  # an estimator may give infinite scores
        drawn = a - b
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size < 2 or not math.isfinite(difference):
        return math.nan
    if difference == 0:
        return 0.0
    # The standard deviation of equal numbers may come out as their rounding instead of 0.
    error = 0.0 if drawn.min() == drawn.max() else float(drawn.std(ddof=1))
    return difference / error if error else math.inf
