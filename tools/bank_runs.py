"""Run the banks of the benchmark on its targets: which task, which images, which estimators.

What is measured is kept in one evidence file a bank, so that a run that is repeated, with another
estimator beside, say, only measures what is new. `reproduce_tables.py` makes tables of it.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluate_bank import in_domain, labels_of, link_source, stems

from onnx_cte.estimators import CTE, ESTIMATORS, Accuracy, parse_estimator
from onnx_cte.images import Images
from onnx_cte.metrics import metric_named
from onnx_cte.perturbations import parse_perturbation
from onnx_cte.ranking import Ranking
from onnx_cte.runner import rank_each
from onnx_cte.segmenters import open_models
from onnx_cte.types import Estimator, Model

PERTURBATIONS = ("noise=0.1", "gamma=1.1..1.2", "dropout=0.1", "dropout=0.2")
"""Each is an estimator of its own with each metric of CTE: the paper's input and feature kinds."""

STRENGTHS = {
    "noise": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
    "dropout": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
}
"""Of the sweep over strengths, as in the paper's Fig. 3 (dropout 0.05 to 0.5)."""

ABLATIONS = (
    "credibility:boundary=0",
    "credibility:consistency=0",
    "credibility:sharpness=0",
    "credibility:boundary=0:consistency=0",
)
"""The proposed estimator with one kind of evidence left out, or with every vote alike."""

OF_THE_BANK = frozenset(
    ("agreement", "consensus", "credibility", "ncti", "spectral", "staple", "vote")
)
"""Names of the estimators that judge a model by the others."""

LIGHTER = {"otce": ":pixels=500:repeats=3", "jc_otce": ":pixels=500:repeats=3"}
"""Options of estimators that are too slow for banks of dozens of models by default."""


@dataclass(frozen=True)
class Task:
    """What a bank is judged by.

    Attributes
    ----------
    name, bank, performance : str
    targets : tuple of str
        Domains, in the order of the table.
    labels : str
        Folder of labels in the domains that have it; empty: what the performance asks for.
    decoder : str
        For all models; empty: their own.
    """

    name: str
    bank: str
    performance: str
    targets: tuple[str, ...]
    labels: str = ""
    decoder: str = ""

    @property
    def objects(self) -> bool:
        """Whether objects are what is judged."""
        return metric_named(self.performance, "performance").compares == "labels"


@dataclass(frozen=True)
class Paths:
    """Where data, banks and results are.

    Attributes
    ----------
    data, models, out : Path
        Folder of the domains, of the banks, of what is measured.
    limit : int
        Test images a target at the most, spread evenly over its list.
    source_images : int
        Training images a model for estimators that compare with its own domain.
    """

    data: Path
    models: Path
    out: Path
    limit: int = 8
    source_images: int = 8


@dataclass(frozen=True)
class Run:
    """All that was found on one target.

    Attributes
    ----------
    target : str
    truth : Ranking
        By performance.
    rankings : tuple of Ranking
        By the estimators.
    own : frozenset of str
        In-domain models.
    outside : mapping of str to Ranking
        By title, rankings by estimators that judge a model by the others of its bank
        (`OF_THE_BANK`), of a bank without in-domain models: these would have a say otherwise.
    """

    target: str
    truth: Ranking
    rankings: tuple[Ranking, ...]
    own: frozenset[str]
    outside: Mapping[str, Ranking] = field(default_factory=dict)

    def without_own(self, ranking: Ranking) -> Ranking:
        """The ranking of this run that holds for a bank without in-domain models."""
        return self.outside.get(ranking.title, ranking)


def tasks_of(table: Mapping[str, Any]) -> dict[str, Task]:
    """The tasks of ``banks.toml`` by name."""
    found = {}
    for name, stated in table["tasks"].items():
        targets = tuple(stated.get("targets", table["banks"][stated["bank"]]["targets"]))
        found[name] = Task(name, **{**stated, "targets": targets})
    return found


def judges_of(task: Task, *, which: str = "all") -> list[Estimator]:
    """The estimators that are compared on a task.

    Parameters
    ----------
    task : Task
    which : {"all", "strengths"}
        Every registered one, with CTE under each of `PERTURBATIONS`; or CTE at each strength.
    """
    metrics = ("rand_fscore",) if task.objects else ("nhd", "ei")
    if which == "strengths":
        texts = [f"{name}={value}" for name, values in STRENGTHS.items() for value in values]
        return [CTE(metrics[0], (parse_perturbation(text),)) for text in texts]
    judges: list[Estimator] = [
        CTE(metric, (parse_perturbation(text),)) for text in PERTURBATIONS for metric in metrics
    ]
    names = [name for name in ESTIMATORS if name not in (CTE.name, Accuracy.name)]
    return judges + [estimator_of(text, task) for text in (*names, *ABLATIONS)]


def estimator_of(text: str, task: Task) -> Estimator:
    """An estimator as on the command line, for a task: its performance, objects if it has such."""
    name, _, stated = text.partition(":")
    said = {part.partition("=")[0] for part in stated.split(":")}
    unsaid: dict[str, Any] = {}
    if offer := ESTIMATORS.get(name):
        unsaid |= {offer.performance: task.performance} if offer.performance else {}
        unsaid |= offer.objects if task.objects else {}
    unsaid = {option: value for option, value in unsaid.items() if option not in said}
    return parse_estimator(text + (LIGHTER.get(name, "") if not stated else ""), **unsaid)


def runs(
    task: Task,
    paths: Paths,
    judges: Sequence[Estimator],
    *,
    split: str = "test",
    device: str = "auto",
) -> Iterator[Run]:
    """Judge a bank on each of its targets.

    Parameters
    ----------
    task : Task
    paths : Paths
    judges : sequence of Estimator
    split : {"test", "train"}
        Images of which to take; *train* for choosing, *test* for reporting.
    device : {"auto", "cpu", "cuda"}

    Yields
    ------
    Run
        Target by target.
    """
    bank = paths.models / task.bank
    folder = paths.out / task.bank
    folder.mkdir(parents=True, exist_ok=True)
    # An early or silent failure is part of a bank; its folder is that of a model all the same.
    models = open_models(bank, decoder=task.decoder or None)
    given = _given(task, paths, folder)
    wanting = any(judge.needs.source for judge in judges)
    sources = _sources(models, bank, given) if wanting else None
    for target in task.targets:
        domain = paths.data / target
        chosen = spread(stems(domain, split), paths.limit)
        pictures = Images(
            domain / "images", labels_of(domain, given), only=[f"{stem}.png" for stem in chosen]
        )
        truth, *rankings = rank_each(
            models,
            pictures,
            [Accuracy(task.performance), *judges],
            source=sources,
            device=device,
            evidence=folder / "evidence.sqlite",
            progress=True,
        )
        own = frozenset(m.name for m in models if in_domain(bank, m.name, target))
        others = [model for model in models if model.name not in own]
        again = [judge for judge in judges if judge.name in OF_THE_BANK]
        outside: dict[str, Ranking] = {}
        if own and others and again:
            # All that was measured is there: only scores are made anew.
            made = rank_each(
                others, pictures, again, device=device, evidence=folder / "evidence.sqlite"
            )
            outside = {ranking.title: ranking for ranking in made}
        yield Run(target, truth, tuple(rankings), own, outside)


def spread(names: Sequence[str], count: int) -> list[str]:
    """So many of a list, evenly spread over it; all if there are no more."""
    names = list(names)
    if len(names) <= count:
        return names
    return [names[place * len(names) // count] for place in range(count)]


def _given(task: Task, paths: Paths, folder: Path) -> argparse.Namespace:
    """What the functions of `evaluate_bank` ask of its command line."""
    return argparse.Namespace(
        data=paths.data,
        out=folder,
        labels=task.labels,
        performance=task.performance,
        source_images=paths.source_images,
    )


def _sources(models: Sequence[Model], bank: Path, given: argparse.Namespace) -> dict[str, Images]:
    """By model, images and labels of the train splits of the domains that it was trained on."""
    domains = sorted(path.parent for path in given.data.glob("*/split.csv"))
    found = {}
    for model in models:
        own = [domain for domain in domains if in_domain(bank, model.name, domain.name)]
        # By performance too: objects and foregrounds have labels of their own.
        folder = given.out / "source" / given.performance / model.name
        if own and link_source(own, folder, given):
            found[model.name] = Images(folder / "images", folder / "labels")
    return found
