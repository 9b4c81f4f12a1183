"""Evidence to score and rank, each with its bootstrap interval.

What was sampled is the image, so images are resampled (all planes and windows of one file together)
and the estimator scores the drawn evidence again. All models share each draw, which gives honest
intervals of differences; overlap of two models' own intervals would not. Few images claim too much:
the intervals are widened (`onnx_cte.sample_size`).

A rank is uncertain by the models that cannot be told apart, so its interval holds the ranks that
the pairs leave open. Percentiles of the drawn ranks would not do: of nearly equal models, those
that came first by luck come first in most draws too. Of 5 to 30 simulated images the true rank lay
between such percentiles for 78 to 94 % of six nearly equal models and 74 to 83 % of twenty; the
intervals by pairs held it for 93 to 99 %. Each pair is asked by itself, though: of twenty nearly
equal models, one or another was told from one of the others by mistake in 8 to 15 % of trials if
scores were medians, in 19 to 31 % if they were means.
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
from onnx_cte.sample_size import interval_percentiles
from onnx_cte.types import Estimator

DRAWS = 1000
# Groups. Below, the bootstrap claims too much: it told two models with the same distribution of
# scores apart in 58 % of trials with two images, in 17 % with three, and in its 5 % with five.
FEWEST = 5
LEVEL = (2.5, 97.5)  # percentiles of a 95 % interval, where there are many to draw from


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
        The ranks that the pairs told apart leave open: from 1 + the better models that a model is
        told from, to all less the worse ones. All ranks, if there are fewer than `FEWEST` groups,
        or no draws.
    undecided : tuple of (str, str)
        Pairs, the better one first, that the images cannot tell apart; none without draws, for
        then nobody asked. Told apart are two models if the better one is ahead in all draws but
        the lower tail of a 95 % interval of the difference.
    sampled : int
        Groups that were drawn from; 0 if there are fewer than `FEWEST`, or no draws.
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
        self.sampled, drawn = _draws(bank, estimator, models, groups, seed, draws)
        self.drawn = drawn[:, [models.index(model) for model in self.order]]
        # Without any draw there is nothing to take percentiles of.
        tails = interval_percentiles(self.sampled) if self.sampled else LEVEL
        self.intervals = {m: _interval(drawn[:, i], tails) for i, m in enumerate(models)}
        place = {model: i for i, model in enumerate(models)}
        self.undecided = tuple(
            (a, b)
            for a, b in itertools.combinations(self.order, 2)
            if self.resampled
            and _undecided(
                sign * drawn[:, place[a]],
                sign * drawn[:, place[b]],
                oriented[place[a]],
                oriented[place[b]],
                tails[0] / 100,
            )
        )
        self.rank_intervals = _rank_intervals(self.order, self.undecided, self.sampled)
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
) -> tuple[int, NDArray[np.float64]]:
    """How many groups were drawn from, and scores of shape (draws, models).

    None at all if there are fewer than `FEWEST` groups, or no draws are asked for.
    """
    members: dict[str, list[int]] = {}
    for image, group in enumerate(groups):
        members.setdefault(group, []).append(image)
    if len(members) < FEWEST or not draws:
        return 0, np.empty((0, len(models)))
    together = [np.array(members[group], dtype=np.intp) for group in sorted(members)]
    rng = np.random.default_rng([seed, zlib.crc32(b"bootstrap")])
    picks = rng.integers(len(together), size=(draws, len(together)))
    scores = np.empty((draws, len(models)))
    for row, pick in enumerate(picks):
        drawn = estimator.score(bank.draw(np.concatenate([together[i] for i in pick])))
        scores[row] = [drawn[model] for model in models]
    return len(together), scores


def _interval(drawn: NDArray[np.float64], tails: tuple[float, float]) -> tuple[float, float]:
    defined = drawn[np.isfinite(drawn)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.percentile(defined, tails)
    return float(low), float(high)


def _rank_intervals(
    order: Sequence[str], undecided: Sequence[tuple[str, str]], sampled: int
) -> dict[str, tuple[int, int]]:
    """The ranks that are left open by what is told apart; all of them without draws."""
    if not sampled:
        return dict.fromkeys(order, (1, len(order)))
    found = {model: (rank, rank) for rank, model in enumerate(order, 1)}
    for better, worse in undecided:
        low, high = found[better]
        found[better] = (low, high + 1)
        low, high = found[worse]
        found[worse] = (low - 1, high)
    return found


def _undecided(
    better: NDArray[np.float64],
    worse: NDArray[np.float64],
    whole_better: float,
    whole_worse: float,
    tail: float,
) -> bool:
    """Whether too many draws do not have the better model ahead, for the images to tell it."""
    if math.isnan(whole_better) or math.isnan(whole_worse):
        return math.isnan(whole_better) and math.isnan(whole_worse)
    if not len(better) or whole_better == whole_worse:
        return True
    # Undefined is worst, as in the order.
    first, second = (np.where(np.isnan(drawn), -np.inf, drawn) for drawn in (better, worse))
    return bool(np.mean(first <= second) >= tail)


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
