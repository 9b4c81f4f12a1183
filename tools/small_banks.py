"""Where each kind of evidence breaks: small banks, near-duplicates, one good model.

::

    python tools/small_banks.py ../shared/data models/benchmark/ [TASK]

Banks of other shapes are made of the models of one task's bank, on each of its targets, and every
estimator ranks them; nothing is measured that `reproduce_tables.py` has not measured:

* ``2``, ``3``, ``5``, ``10`` models: drawn at random;
* ``copies``: ten models drawn at random, of which a bad one (half as good as the best, or less) is
  there five times under other names;
* ``one good``: one of the models within 0.1 of the best, and nine that are half as good or less.

A line an estimator and shape: the share of pairs in the right order of those whose performance
differs by 0.05 or more, and the regret of the model ranked first, means over 40 draws a target and
over the targets. Writes ``small_banks.md`` into the results.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from bank_runs import Paths, Task, estimator_of, spread, tasks_of
from build_zoo import MODELS, read_banks
from evaluate_bank import labels_of, stems
from numpy.typing import NDArray
from tabulating import markdown_table, shown
from target_numbers import MARGIN, mean_defined, pairs_right, top_regret
from tqdm import tqdm

from onnx_cte.bank import Bank
from onnx_cte.estimators import Accuracy
from onnx_cte.evidence import EvidenceStore
from onnx_cte.images import Images
from onnx_cte.measuring import Measurements
from onnx_cte.scoring import Banks
from onnx_cte.segmenters import open_models
from onnx_cte.types import Estimator

ESTIMATORS = (
    "credibility",
    "cte",
    "boundary",
    "vote",
    "consensus",
    "confidence",
    "credibility:boundary=0",
    "credibility:consistency=0",
)
SIZES = (2, 3, 5, 10)
COPIES = 5
DRAWS = 40
NEAR, HALF = 0.1, 0.5

Array = NDArray[np.float64]

Found = dict[tuple[str, str], list[tuple[float, float]]]
"""By shape and title: share of pairs in order, and regret, of each bank drawn."""


def shapes(real: Mapping[str, float], rng: np.random.Generator) -> dict[str, list[str]]:
    """One bank of every shape that these models allow.

    Parameters
    ----------
    real : mapping of str to float
        Performance by model; greater is better.
    rng : Generator

    Returns
    -------
    dict of str to list of str
        By shape, names of models; one that is there several times is meant to be copied.
    """
    names = sorted(real)
    best = max(real.values())
    near = [name for name in names if real[name] >= best - NEAR]
    bad = [name for name in names if real[name] <= HALF * best]
    drawn = {
        str(size): sorted(rng.choice(names, size, replace=False))
        for size in SIZES
        if size <= len(names)
    }
    most = max(SIZES)
    if str(most) in drawn and (there := [name for name in drawn[str(most)] if name in bad]):
        drawn["copies"] = [*drawn[str(most)], *[str(rng.choice(there))] * (COPIES - 1)]
    if near and len(bad) >= most - 1:
        others = rng.choice(bad, most - 1, replace=False)
        drawn["one good"] = [str(rng.choice(near)), *sorted(others)]
    return drawn


def judged(
    names: Sequence[str], estimator: Estimator, bank: Bank, real: Mapping[str, float]
) -> tuple[float, float]:
    """Share of pairs in order, and regret, of a bank of these models; copies are models, too."""
    rows = {f"{name} ({place})": bank[name] for place, name in enumerate(names)}
    values = estimator.score(Bank(rows))
    sign = 1.0 if estimator.greater_is_better else -1.0
    scores = np.array([sign * values[title] for title in rows])
    true = np.array([real[name] for name in names])
    first, second = np.triu_indices(len(names), k=1)
    counted = np.abs(true[first] - true[second]) >= MARGIN
    return float(pairs_right(scores, true, counted)), float(top_regret(scores, true))


def banks_of(
    task: Task, paths: Paths, target: str, estimators: Sequence[Estimator]
) -> tuple[dict[str, float], list[Bank]]:
    """Performance by model, and the evidence of each estimator, on one target."""
    domain = paths.data / target
    chosen = spread(stems(domain, "test"), paths.limit)
    asked = argparse.Namespace(labels=task.labels, performance=task.performance)
    folder = labels_of(domain, asked)
    pictures = Images(domain / "images", folder, only=[f"{stem}.png" for stem in chosen])
    refs = sorted(pictures, key=lambda ref: ref.name)
    truth = Accuracy(task.performance)
    models = sorted(open_models(paths.models / task.bank), key=lambda model: model.name)
    with (
        EvidenceStore(paths.out / task.bank / "evidence.sqlite") as store,
        tqdm(unit="image", disable=None) as bar,
    ):
        run = Measurements(refs, [truth, *estimators], 0, store, strict=False)
        for model in models:
            run.measure(model, "auto", None, bar.update)
    banks = Banks(run)
    performance = truth.score(banks.of(0))
    return (
        {name: value for name, value in performance.items() if np.isfinite(value)},
        [banks.of(number + 1) for number in range(len(estimators))],
    )


def found_on(
    real: Mapping[str, float],
    estimators: Sequence[Estimator],
    banks: Sequence[Bank],
    seed: int,
) -> Found:
    """All shapes on one target, `DRAWS` banks of each; a bank serves every estimator alike."""
    rng = np.random.default_rng([seed, len(real)])
    found: Found = {}
    for _ in range(DRAWS):
        for shape, names in shapes(real, rng).items():
            for estimator, bank in zip(estimators, banks, strict=True):
                made = judged(names, estimator, bank, real)
                found.setdefault((shape, estimator.title), []).append(made)
    return found


def table(targets: Sequence[Found], titles: Sequence[str]) -> str:
    """A line an estimator: pairs and regret for each shape, means over targets."""
    kinds = list(dict.fromkeys(shape for found in targets for shape, _ in found))
    head = ["estimator", *(f"{kind}: pairs / regret" for kind in kinds)]
    rows = []
    for title in titles:
        row = [title]
        for kind in kinds:
            of_targets = [
                np.array(found[kind, title]) for found in targets if (kind, title) in found
            ]
            means = [
                mean_defined(np.array([mean_defined(one[:, column]) for one in of_targets]))
                for column in (0, 1)
            ]
            row.append(f"{shown(means[0])} / {shown(means[1], 3)}")
        rows.append(row)
    return markdown_table(head, rows, left=[0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Make banks, judge and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data", type=Path, help="folder of the domains")
    add("out", type=Path, help="folder for the results")
    add("task", nargs="?", default="nuclei", help="of models/banks.toml")
    add("--models", type=Path, default=MODELS / "built", help="folder of the banks")
    add("--limit", type=int, default=Paths.limit, help="images a target at the most")
    given = parser.parse_args(arguments)
    task = tasks_of(read_banks())[given.task]
    paths = Paths(given.data, given.models, given.models / "runs", given.limit)
    estimators = [estimator_of(text, task) for text in ESTIMATORS]
    targets = []
    for seed, target in enumerate(task.targets):
        real, banks = banks_of(task, paths, target, estimators)
        targets.append(found_on(real, estimators, banks, seed))
    page = (
        "# Where evidence breaks: banks of other shapes\n\n"
        f"Banks made of the models of `{task.name}`, {DRAWS} of each shape on each of "
        f"{len(task.targets)} targets: so many models at random; ten of which a bad one is there "
        f"{COPIES} times (`copies`); one good model among nine bad ones. Made by "
        "`tools/small_banks.py`.\n\n" + table(targets, [judge.title for judge in estimators]) + "\n"
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "small_banks.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
