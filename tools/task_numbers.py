"""The numbers of a task: every estimator on every target, and over the targets.

From the `Run` s of a bank on its targets to JSON values, undefined numbers as null. Everything is
given twice: for all models, and for the others, without those that were trained on the target.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bank_runs import Run
from chance import mean_tau_of_chance, tau_of_chance
from numpy.typing import NDArray
from target_numbers import (
    Numbers,
    Performances,
    interval,
    mean_defined,
    numbers,
    performances,
    top_regret,
)

from onnx_cte.documents import null
from onnx_cte.estimators import CTE
from onnx_cte.ranking import Ranking

SUBSETS = ("all", "others")
"""Which models: all of them, or without those in-domain."""

MEASURES = ("tau", "rho", "r", "pairs", "regret")
INTERVALS = ("tau", "pairs")
"""Those of the measures that have intervals."""

SEED = 0
"""For the order of draws, where targets are put together."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """What was computed on one target for one subset of the models.

    Attributes
    ----------
    real : Performances
    found : mapping of str to Numbers
        By title of the estimator.
    """

    real: Performances
    found: Mapping[str, Numbers]

    @property
    def resampled(self) -> bool:
        """Whether there are enough images to draw from."""
        return len(self.real.drawn) > 0

    def part(self, title: str, name: str) -> tuple[float, Array | None]:
        """A number of an estimator, and it under each draw; None where nothing can be drawn."""
        found = self.found[title]
        return getattr(found, name), getattr(found, f"{name}_drawn") if self.resampled else None


def task_numbers(runs: Sequence[Run], *, reference: str | None = None) -> dict[str, Any]:
    """All numbers of a task.

    Parameters
    ----------
    runs : sequence of Run
        One a target, each with the same estimators.
    reference : str, optional
        Title of the estimator that the others are compared with; None: of those by CTE, the one
        with the greatest mean tau over the targets, all models; nothing, if there is none.

    Returns
    -------
    dict
        ``reference``; ``targets``: by target its ``own`` models, ``performance`` and scores, and
        numbers by subset; ``summary``: by subset, over the targets.

    Raises
    ------
    ValueError
        If there is no run, two estimators of a run have one title, or none has the reference's.
    """
    if not runs:
        raise ValueError("there is no target to make numbers of")
    titles = [ranking.title for ranking in runs[0].rankings]
    for run in runs:
        if sorted(r.title for r in run.rankings) != sorted(set(titles)):
            raise ValueError(f"{run.target}: other estimators than on {runs[0].target}, or twice")
    judged = {subset: {run.target: _judged(run, subset) for run in runs} for subset in SUBSETS}
    if reference is None:
        reference = _best_cte(titles, list(judged["all"].values()))
    elif reference not in titles:
        raise ValueError(f"no estimator '{reference}' to compare with; there is {titles}")
    best = {subset: _bank_order(list(judged[subset].values())) for subset in SUBSETS}
    targets = {
        run.target: {
            **_seen(run),
            **{
                subset: _target_numbers(judged[subset][run.target], reference, best[subset])
                for subset in SUBSETS
            },
        }
        for run in runs
    }
    needs = {ranking.title: list(ranking.needs) for ranking in runs[0].rankings}
    summary = {
        subset: _summary(
            judged[subset], [target[subset] for target in targets.values()], needs, reference
        )
        for subset in SUBSETS
    }
    return {"reference": reference, "targets": targets, "summary": summary}


def _judged(run: Run, subset: str) -> Judged:
    if subset != "others":
        found = {ranking.title: numbers(ranking, run.truth) for ranking in run.rankings}
        return Judged(performances(run.truth), found)
    found = {
        ranking.title: numbers(run.without_own(ranking), run.truth, run.own)
        for ranking in run.rankings
    }
    return Judged(performances(run.truth, run.own), found)


def _best_cte(titles: Sequence[str], targets: Sequence[Judged]) -> str | None:
    """Of the estimators by CTE, the one with the greatest mean tau; the first of equals."""
    means = {
        title: mean_defined(np.array([one.found[title].tau for one in targets]))
        for title in titles
        if title.split()[0] == CTE.name
    }
    defined = {title: mean for title, mean in means.items() if not math.isnan(mean)}
    return max(defined, key=lambda title: defined[title]) if defined else None


def _bank_order(targets: Sequence[Judged]) -> dict[str, float]:
    """Mean performance of every model over the targets on which it is looked at."""
    values: dict[str, list[float]] = {}
    for one in targets:
        for model, value in zip(one.real.models, one.real.values.tolist(), strict=True):
            values.setdefault(model, []).append(value)
    return {model: statistics.fmean(each) for model, each in values.items()}


def _seen(run: Run) -> dict[str, Any]:
    """Performance and scores, as they are, of all models."""
    return {
        "own": sorted(run.own),
        "performance": {
            score.model: {
                "value": null(score.value),
                "interval": [null(bound) for bound in score.interval],
                "images": score.images,
            }
            for score in sorted(run.truth, key=lambda score: score.model)
        },
        "failed": [list(pair) for pair in run.truth.failed],
        "scores": {ranking.title: _scores(ranking) for ranking in run.rankings},
    }


def _scores(ranking: Ranking) -> dict[str, Any]:
    return {
        "estimator": ranking.estimator,
        "greater_is_better": ranking.greater_is_better,
        "seconds": null(ranking.seconds),
        "values": {model: null(value) for model, value in sorted(ranking.values.items())},
        "failed": [list(pair) for pair in ranking.failed],
    }


def _target_numbers(
    judged: Judged, reference: str | None, bank_means: Mapping[str, float]
) -> dict[str, Any]:
    """Numbers of one target and subset, for the document."""
    real = judged.real
    best, bank_regret = "", math.nan
    if real.models:
        scores = np.array([bank_means[model] for model in real.models])
        best, bank_regret = (
            real.models[int(scores.argmax())],
            float(top_regret(scores, real.values)),
        )
    random_regret = float(real.values.max() - real.values.mean()) if real.models else math.nan
    return {
        "models": len(real.models),
        "pairs": int(real.told_apart.sum()),
        "sampled": real.sampled,
        "draws": len(real.drawn),
        "tau_of_chance": null(tau_of_chance(len(real.models))),
        "random_regret": null(random_regret),
        "bank_best": best,
        "bank_regret": null(bank_regret),
        "estimators": {
            title: _row(one, judged.found[reference] if reference else None, real.sampled)
            for title, one in judged.found.items()
        },
    }


def _row(one: Numbers, reference: Numbers | None, images: int) -> dict[str, Any]:
    row: dict[str, Any] = {name: null(getattr(one, name)) for name in MEASURES}
    row["left_out"] = one.left_out
    for name in INTERVALS:
        drawn = getattr(one, f"{name}_drawn")
        row[f"{name}_interval"] = _bounds(drawn, images)
        if reference is not None:
            row[f"{name}_more"] = null(getattr(one, name) - getattr(reference, name))
            row[f"{name}_more_interval"] = _bounds(
                _less(drawn, getattr(reference, f"{name}_drawn")), images
            )
    return row


def _summary(
    judged: Mapping[str, Judged],
    targets: Sequence[Mapping[str, Any]],
    needs: Mapping[str, list[str]],
    reference: str | None,
) -> dict[str, Any]:
    """Numbers over the targets, for one subset."""
    found = list(judged.values())
    return {
        "targets": sum(bool(one.real.models) for one in found),
        "resampled": sum(one.resampled for one in found),
        "pairs": sum(target["pairs"] for target in targets),
        "mean_tau_of_chance": null(mean_tau_of_chance([len(one.real.models) for one in found])),
        "random_regret": spread(targets, "random_regret"),
        "bank_regret": spread(targets, "bank_regret"),
        "bank_best": sorted({target["bank_best"] for target in targets if target["bank_best"]}),
        "estimators": {
            title: {
                "needs": list(given),
                **{
                    name: spread([t["estimators"][title] for t in targets], name)
                    for name in MEASURES
                },
                "left_out": sum(t["estimators"][title]["left_out"] for t in targets),
                **_intervals(found, title, reference),
            }
            for title, given in needs.items()
        },
    }


def spread(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Mean, standard deviation (ddof 1), least and greatest of a number over rows.

    Returns
    -------
    dict
        ``mean``, ``std``, ``least``, ``greatest``, and in how many rows it is defined: ``of``. All
        but that are null where it is in none, and ``std`` where it is in one.

    Examples
    --------
    >>> spread([{"tau": 0.5}, {"tau": None}, {"tau": 1.0}], "tau")["mean"]
    0.75
    """
    values = [row[name] for row in rows if row[name] is not None]
    return {
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "least": min(values, default=None),
        "greatest": max(values, default=None),
        "of": len(values),
    }


def _intervals(found: Sequence[Judged], title: str, reference: str | None) -> dict[str, Any]:
    """Intervals of the means over targets, the images of all of them drawn together."""
    images = sum(one.real.sampled for one in found)
    intervals: dict[str, Any] = {}
    for name in INTERVALS:
        own = [one.part(title, name) for one in found]
        intervals[f"{name}_interval"] = _bounds(mean_drawn(own), images)
        if reference is not None:
            others = [one.part(reference, name) for one in found]
            more = [
                (value - other, _less(drawn, other_drawn))
                for (value, drawn), (other, other_drawn) in zip(own, others, strict=True)
            ]
            intervals[f"{name}_more"] = null(mean_defined(np.array([value for value, _ in more])))
            intervals[f"{name}_more_interval"] = _bounds(mean_drawn(more), images)
    return intervals


def mean_drawn(targets: Sequence[tuple[float, Array | None]]) -> Array:
    """Mean over targets of a number, when the images of all targets are drawn anew.

    Runs share their draws by place, so that two targets with as many images would always draw the
    same places; hence each target's draws are put in an order of their own first.

    Parameters
    ----------
    targets : sequence of (float, ndarray of float64 or None)
        The number on each target, and under each draw of its images. None: it has too few images
        to draw from, and keeps its number, which adds nothing to the width. A target whose number
        is NaN is left out.

    Returns
    -------
    ndarray of float64, shape (draws,)
        As many as the target with the fewest has; NaN where nothing is defined; empty if no target
        has draws.
    """
    defined = [(value, drawn) for value, drawn in targets if not math.isnan(value)]
    draws = min((len(drawn) for _, drawn in defined if drawn is not None), default=0)
    if not draws:
        return np.empty(0)
    together = np.stack(
        [
            np.full(draws, value)
            if drawn is None
            else drawn[np.random.default_rng([SEED, place]).permutation(len(drawn))[:draws]]
            for place, (value, drawn) in enumerate(defined)
        ]
    )
    known = ~np.isnan(together)
    count = known.sum(axis=0)
    total = np.where(known, together, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)


def _less(one: Array | None, other: Array | None) -> Array | None:
    """The difference of what was drawn together; empty, or None, if a side was not."""
    if one is None or other is None:
        return None
    count = min(len(one), len(other))
    return one[:count] - other[:count]


def _bounds(drawn: Array, images: int) -> list[float | None]:
    return [null(bound) for bound in interval(drawn, images)]
