"""Choose the weights of the estimator `credibility`, leaving one target out, and judge on that one.

::

    python tools/choose_weights.py ../shared/data models/benchmark/ [TASK ...]

Every combination of `GRID` ranks every bank on images of the *train* split of each target. For a
target, that combination is chosen which has the greatest mean share of pairs in order, less the
regret, over all other targets of all tasks, with in-domain models and without; a target of another
task on the same domain is left out too. It is then judged on images of the *test* split of the
target, beside the weights that the package has by default. Writes ``weights.json`` and
``weights.md`` into the results. What is measured is kept where `reproduce_tables.py` keeps it.
"""

import argparse
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from bank_runs import Paths, Run, Task, runs, tasks_of
from build_zoo import MODELS, read_banks
from tabulating import markdown_table, shown
from target_numbers import numbers

from onnx_cte.estimators import Credibility
from onnx_cte.ranking import Ranking

GRID = {
    "sharpness": (2.0, 4.0, 6.0, 8.0),
    "consistency": (0.5, 1.0, 2.0),
    "boundary": (0.5, 1.0, 2.0),
}
"""Weights that are tried, all with all."""

NUMBERS = ("pairs", "regret", "tau")
SUBSETS = ("all", "out of domain")

Weights = tuple[float, ...]
Found = dict[str, dict[str, float]]
"""By subset of the models, the `NUMBERS` of one target."""


@dataclass(frozen=True)
class Weighed(Credibility):
    """The estimator, of which only scores are asked, hence nothing is resampled."""

    resamples: ClassVar[int] = 0


def weighed(task: Task) -> dict[Weights, Weighed]:
    """The estimator with each combination of weights."""
    objects = {"metric": "rand_fscore"} if task.objects else {}
    return {
        weights: Weighed(**objects, **dict(zip(GRID, weights, strict=True)))
        for weights in itertools.product(*GRID.values())
    }


def by_default() -> Weights:
    """The weights that the package has by default."""
    return tuple(float(getattr(Credibility(), name)) for name in GRID)


def found_on(run: Run, rankings: Mapping[Weights, Ranking]) -> dict[Weights, Found]:
    """What each combination is worth on one target."""
    made = {}
    for weights, ranking in rankings.items():
        without = run.outside.get(ranking.title, ranking)
        each = (numbers(ranking, run.truth), numbers(without, run.truth, run.own))
        made[weights] = {
            subset: {name: float(getattr(one, name)) for name in NUMBERS}
            for subset, one in zip(SUBSETS, each, strict=True)
        }
    return made


def measured(task: Task, paths: Paths, split: str, device: str) -> dict[str, dict[Weights, Found]]:
    """By target, what each combination is worth on images of a split."""
    judges = weighed(task)
    return {
        run.target: found_on(run, dict(zip(judges, run.rankings, strict=True)))
        for run in runs(task, paths, list(judges.values()), split=split, device=device)
    }


def worth(found: Iterable[Found]) -> float:
    """Mean share of pairs in order less mean regret, over targets and subsets; higher is better.

    Undefined numbers are left out; NaN if nothing is defined.
    """
    values = [
        one[subset]["pairs"] - one[subset]["regret"]
        for one in found
        for subset in SUBSETS
        if not math.isnan(one[subset]["pairs"])
    ]
    return fmean(values) if values else math.nan


def chosen_without(
    target: str, trained: Mapping[tuple[str, str], Mapping[Weights, Found]]
) -> Weights:
    """The combination that is worth most on all targets but the one; of equals, the first tried.

    Parameters
    ----------
    target : str
    trained : mapping of (task, target) to mapping of weights to Found
    """
    others = [found for (_, name), found in trained.items() if name != target]
    tried = list(itertools.product(*GRID.values()))
    return max(tried, key=lambda weights: worth(found[weights] for found in others))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a target, and the means of each task."""
    head = ["task", "target", "/".join(GRID)]
    for who in ("chosen", "default"):
        head += [f"{who}: pairs", "regret", "tau"]
    told = []
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        for row in own:
            weights = "/".join(f"{weight:g}" for weight in row["weights"])
            told.append([task, row["target"], weights, *_cells(row["chosen"], row["default"])])
        means = [_mean([row[who] for row in own]) for who in ("chosen", "default")]
        told.append([task, "mean", "", *_cells(*means)])
    return markdown_table(head, told, left=[0, 1])


def _mean(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    made = {}
    for name in NUMBERS:
        values = [one[name] for one in found if not math.isnan(one[name])]
        made[name] = fmean(values) if values else math.nan
    return made


def _cells(*found: Mapping[str, float]) -> list[str]:
    return [shown(one[name], 3) for one in found for name in NUMBERS]


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose, judge and write."""
    given = _parser().parse_args(arguments)
    tasks = tasks_of(read_banks())
    wanted = {name: tasks[name] for name in given.tasks or tasks}
    evidence = given.models / "runs"
    trained: dict[tuple[str, str], dict[Weights, Found]] = {}
    tested: dict[tuple[str, str], dict[Weights, Found]] = {}
    for name, task in wanted.items():
        for split, limit, found in (
            ("train", given.train_limit, trained),
            ("test", given.limit, tested),
        ):
            paths = Paths(given.data, given.models, evidence, limit)
            for target, worths in measured(task, paths, split, given.device).items():
                found[name, target] = worths
    pages = []
    document: dict[str, Any] = {"grid": GRID, "default": by_default(), "rows": {}}
    for subset in SUBSETS:
        rows = []
        for task, target in tested:
            weights = chosen_without(target, trained)
            row = {"task": task, "target": target, "weights": weights}
            row["chosen"] = tested[task, target][weights][subset]
            row["default"] = tested[task, target][by_default()][subset]
            rows.append(row)
        document["rows"][subset] = [
            {**row, **{who: _plain(row[who]) for who in ("chosen", "default")}} for row in rows
        ]
        pages.append(f"## {subset.capitalize()}\n\n{table(rows)}")
    introduction = (
        "# Weights of `credibility`, chosen with one target left out\n\n"
        f"For each target the weights {', '.join(GRID)} that were worth most on images of the "
        "train splits of all other targets, and what they are worth on test images of that target, "
        "beside the default. Made by `tools/choose_weights.py`."
    )
    given.out.mkdir(parents=True, exist_ok=True)
    page = "\n\n".join([introduction, *pages]) + "\n"
    (given.out / "weights.md").write_text(page, encoding="utf-8")
    (given.out / "weights.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(page)


def _plain(found: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in found.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data", type=Path, help="folder of the domains")
    add("out", type=Path, help="folder for the results")
    add("tasks", nargs="*", metavar="TASK", help="of models/banks.toml; all unless given")
    add("--models", type=Path, default=MODELS / "built", help="folder of the banks")
    add("--train-limit", type=int, default=6, help="images to choose by, a target")
    add("--limit", type=int, default=Paths.limit, help="images to judge by, a target")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    return parser


if __name__ == "__main__":
    main()
