"""Evidence to score and rank, each with its bootstrap interval.

What was sampled is the image, so images are resampled (all planes and windows of one file together)
and the estimator scores the drawn evidence again. All models share each draw, which gives honest
intervals of ranks and of differences; overlap of two models' own intervals would not.
"""

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank
from onnx_cte.types import Estimator

DRAWS = 1000
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
    draws : int
        Bootstrap draws.

    Attributes
    ----------
    order : list of str
        Models, best first; undefined last; equal ones by name.
    values : mapping of str to float
    intervals : mapping of str to (float, float)
        NaN if undefined, or if there is but one group to draw from.
    rank_intervals : mapping of str to (int, int)
        All ranks, if there is but one group.
    undecided : tuple of (str, str)
        Pairs, the better one first, that the images cannot tell apart.
    """

    def __init__(
        self, bank: Bank, estimator: Estimator, groups: Sequence[str], seed: int, draws: int = DRAWS
    ) -> None:
        models = list(bank)
        self.values: Mapping[str, float] = estimator.score(bank)
        sign = 1.0 if estimator.greater_is_better else -1.0
        oriented = np.array([sign * self.values[model] for model in models])
        self.order = sorted(models, key=lambda m: _best_first(sign * self.values[m], m))
        drawn = _draws(bank, estimator, models, groups, seed, draws)
        self.intervals = {m: _interval(drawn[:, i]) for i, m in enumerate(models)}
        ranks = _ranks(sign * drawn) if len(drawn) else np.array([[1], [len(models)]])
        ranks = np.broadcast_to(ranks, (len(ranks), len(models)))
        bounds = np.percentile(ranks, LEVEL, axis=0, method="inverted_cdf").astype(int)
        self.rank_intervals = {
            m: (int(low), int(high)) for m, low, high in zip(models, *bounds, strict=True)
        }
        place = {model: i for i, model in enumerate(models)}
        self.undecided = tuple(
            (a, b)
            for position, a in enumerate(self.order)
            for b in self.order[position + 1 :]
            if _undecided(
                sign * drawn[:, place[a]],
                sign * drawn[:, place[b]],
                oriented[place[a]],
                oriented[place[b]],
            )
        )


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
    """Scores of shape (draws, models); no draws at all if there is but one group."""
    members: dict[str, list[int]] = {}
    for image, group in enumerate(groups):
        members.setdefault(group, []).append(image)
    if len(members) < 2:
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
    defined = drawn[~np.isnan(drawn)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.percentile(defined, LEVEL)
    return float(low), float(high)


def _ranks(oriented: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rank within each draw: one more than the models that are strictly better; undefined last."""
    values = np.where(np.isnan(oriented), -np.inf, oriented)
    better: NDArray[np.int64] = (values[:, None, :] > values[:, :, None]).sum(axis=2)
    return better + 1


def _undecided(
    a: NDArray[np.float64], b: NDArray[np.float64], whole_a: float, whole_b: float
) -> bool:
    """Whether 0 lies in the 95 % interval of the difference of two models' drawn scores."""
    if math.isnan(whole_a) or math.isnan(whole_b):
        return math.isnan(whole_a) and math.isnan(whole_b)
    difference = (a - b)[~np.isnan(a - b)]
    if not difference.size:
        return True
    low, high = np.percentile(difference, LEVEL)
    return bool(low <= 0 <= high)
