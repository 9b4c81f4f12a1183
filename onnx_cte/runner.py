"""Bring models, images and estimators together: the only room that knows all three, by protocol.

What several estimators need is observed once. A model or an image that cannot be used becomes a row
with its reason; a model that cannot show what one estimator needs becomes such a row for that
estimator alone.
"""

import itertools
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from statistics import median
from typing import Any, get_args

from tqdm import tqdm

from onnx_cte.bank import Bank
from onnx_cte.bootstrap import Judgement
from onnx_cte.errors import NothingToRank, OptionError, unknown_name
from onnx_cte.evidence import EvidenceStore
from onnx_cte.measuring import Measurements
from onnx_cte.provenance import provenance
from onnx_cte.ranking import Ranking, Score
from onnx_cte.separation import separation
from onnx_cte.types import Device, Estimator, ImageRef, Model

_OVERSUBSCRIBED = 4  # threads a core; more is a slip of the keyboard, and takes minutes to start


def rank(
    models: Iterable[Model],
    images: Iterable[ImageRef],
    estimator: Estimator,
    *,
    seed: int = 0,
    device: Device = "auto",
    jobs: int | None = None,
    evidence: str | Path | None = None,
    strict: bool = False,
    progress: bool = False,
) -> Ranking:
    """Rank models on images, the one that the estimator thinks best first.

    Parameters
    ----------
    models : iterable of Model
        As `open_models` gives them, or your own, such as `BlackBox`.
    images : iterable of ImageRef
        An `Images`, or a list of `Image`.
    estimator : Estimator
        Such as `CTE()`.
    seed : int, >= 0
        Of all random draws; the same seed gives the same ranking.
    device : {"auto", "cpu", "cuda"}
    jobs : int or None
        CPU threads; None takes all cores this process may use.
    evidence : path or None
        SQLite file in which measurements are kept: an interrupted run resumes from it. None keeps
        nothing.
    strict : bool
        Raise the first error of a model or an image instead of listing it; `NotOffered` if a model
        cannot show what the estimator needs.
    progress : bool
        Show a progress bar on stderr, if that is a terminal.

    Returns
    -------
    Ranking

    Raises
    ------
    NothingToRank
        If there is no model or no image, or none is left.
    OptionError
        If an option has no meaning.
    DeviceError
        If the device asked for is not there.
    """
    return rank_each(
        models,
        images,
        [estimator],
        seed=seed,
        device=device,
        jobs=jobs,
        evidence=evidence,
        strict=strict,
        progress=progress,
    )[0]


def rank_each(
    models: Iterable[Model],
    images: Iterable[ImageRef],
    estimators: Sequence[Estimator],
    *,
    seed: int = 0,
    device: Device = "auto",
    jobs: int | None = None,
    evidence: str | Path | None = None,
    strict: bool = False,
    progress: bool = False,
) -> tuple[Ranking, ...]:
    """Rank models by several estimators that all see the same predictions.

    Parameters
    ----------
    estimators : sequence of Estimator
        Each is measured on the one observation of a model on an image.

    models, images, seed, device, jobs, evidence, strict, progress
        As in `rank`.

    Returns
    -------
    tuple of Ranking
        In the order of the estimators. Where no model could show what an estimator needs, its
        ranking is empty, and all models are in `failed` with the reason.

    Raises
    ------
    NothingToRank
        If there is no model or no image, or no model is left for any of the estimators.
    OptionError, DeviceError
        As in `rank`.
    """
    check_options(models, images, estimators, seed, device, jobs)
    bank = sorted(models, key=lambda model: model.name)
    refs = sorted(images, key=lambda ref: ref.name)
    unlisted: tuple[tuple[str, str], ...] = tuple(getattr(images, "skipped", ()))
    _refuse_empty(bank, refs, unlisted)
    for estimator in estimators:
        if estimator.needs.truth and not getattr(images, "has_truth", True):
            raise OptionError(
                f"estimator '{estimator.name}' needs labels: Images(..., truth=...), or "
                "`onnx-cte evaluate MODELS IMAGES LABELS`"
            )
    started, terminal = time.time(), shutil.get_terminal_size()
    with EvidenceStore(Path(evidence) if evidence else None) as store:
        run = Measurements(refs, estimators, seed, store, strict)
        with tqdm(
            total=len(bank) * len(refs),
            unit="image",
            # Some terminals say that they are 0 x 0, and tqdm would show nothing.
            ncols=terminal.columns,
            nrows=terminal.lines,
            disable=None if progress else True,
        ) as bar:
            for model in bank:
                bar.set_description(model.name)
                run.measure(model, device, jobs, bar)
    made_with = provenance(
        device=device,
        jobs=jobs,
        # A list of images in memory would be shown pixel by pixel.
        source=repr(images) if hasattr(images, "skipped") else "in memory",
        images=len(refs) + len(unlisted),
        models=run.records,
        started=started,
    )
    return _rankings(run, unlisted, made_with)


def check_options(
    models: object,
    images: object,
    estimators: Sequence[Estimator],
    seed: int,
    device: str,
    jobs: int | None,
) -> None:
    """Refuse, before anything is opened, what would make every model fail."""
    most = _OVERSUBSCRIBED * (os.cpu_count() or 1)
    if jobs is not None and not (isinstance(jobs, int) and 1 <= jobs <= most):
        raise OptionError(
            f"jobs is the number of CPU threads, at least 1, not {jobs!r}"
            + (f": this machine has {os.cpu_count()}" if isinstance(jobs, int) and jobs > 0 else "")
        )
    if not isinstance(seed, int) or seed < 0:
        raise OptionError(f"the seed is an integer of at least 0, not {seed!r}")
    if device not in get_args(Device):
        raise unknown_name("device", device, get_args(Device))
    if not estimators:
        raise OptionError("no estimator was given; pass one, such as CTE()")
    for estimator in estimators:
        if isinstance(estimator, type):
            name = estimator.__name__
            raise OptionError(f"pass an estimator, {name}(), not its class {name}")
    for given, maker in ((models, "open_models"), (images, "Images")):
        if isinstance(given, str | Path):
            raise OptionError(f"'{given}' is a path: pass {maker}('{given}')")


def _refuse_empty(
    models: Sequence[Model], refs: Sequence[ImageRef], unlisted: Sequence[tuple[str, str]]
) -> None:
    if not models:
        raise NothingToRank("there is no model to rank")
    if not refs and unlisted:
        name, reason = unlisted[0]
        raise NothingToRank(f"none of {len(unlisted)} images can be used; {name}: {reason}")
    if not refs:
        raise NothingToRank("there is no image to rank the models on")
    for kind, named in (("model", models), ("image", refs)):
        counts = Counter(thing.name for thing in named)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise OptionError(f"{kind} names must be unique; '{twice[0]}' is there twice")


def _rankings(
    run: Measurements, unlisted: tuple[tuple[str, str], ...], made_with: dict[str, Any]
) -> tuple[Ranking, ...]:
    """Score what was measured, estimator by estimator."""
    unusable = tuple((run.refs[i].name, reason) for i, reason in run.unusable.items())
    if len(unusable) == len(run.refs):
        name, reason = unusable[0]
        raise NothingToRank(f"none of {len(run.refs)} images can be used; {name}: {reason}")
    if not run.notes:
        # Each model once: of fifteen perturbations it may refuse each in almost the same words.
        first: dict[str, str] = {}
        for name, reason in itertools.chain.from_iterable(run.failed):
            first.setdefault(name, reason)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(first.items()))
        raise NothingToRank(f"none of {len(first)} models can be used; {reasons}")
    usable = [i for i in range(len(run.refs)) if i not in run.unusable]
    names = [run.refs[i].name for i in usable]
    groups = [run.refs[i].group or run.refs[i].name for i in usable]
    rankings = []
    for estimator, column, failed in zip(run.estimators, run.evidence, run.failed, strict=True):
        ranking = Ranking(
            scores=(),
            estimator=repr(estimator),
            title=estimator.title,
            greater_is_better=estimator.greater_is_better,
            failed=tuple(failed),
            skipped=tuple(sorted(unlisted + unusable)),
            seed=run.seed,
            provenance=made_with,
        )
        if column:
            bank = Bank({model: [row[i] for i in usable] for model, row in column.items()})
            judged = Judgement(bank, estimator, groups, run.seed)
            scores = tuple(_score(run, judged, bank, model, names) for model in judged.order)
            seeing = {score.model for score in scores if not score.blind}
            # Optional, as below.
            remarks = getattr(estimator, "remarks", None)
            ranking = replace(
                ranking,
                scores=scores,
                remarks=() if remarks is None else tuple(remarks(bank)),
                undecided=judged.undecided,
                separation=separation(
                    judged.values,
                    judged.intervals,
                    judged.undecided,
                    _by_draw(estimator, bank),
                    [found for pair, found in judged.contrasts.items() if seeing.issuperset(pair)],
                ),
            )
        rankings.append(ranking)
    return tuple(rankings)


def _by_draw(estimator: Estimator, bank: Bank) -> Sequence[Mapping[str, float]] | None:
    """Scores that each draw of the perturbations alone would give; None if nothing is perturbed."""
    # Optional, hence not in the protocol. The truth is no matter of draws.
    score = getattr(estimator, "score_by_draw", None)
    return None if score is None or estimator.needs.truth else tuple(score(bank))


def _score(
    run: Measurements, judged: Judgement, bank: Bank, model: str, images: Sequence[str]
) -> Score:
    seen = {
        image: evidence
        for image, evidence in zip(images, bank[model], strict=True)
        if evidence is not None
    }
    values = {i: float(e["value"]) for i, e in seen.items() if isinstance(e.get("value"), Real)}
    shares = [float(e["foreground"]) for e in seen.values() if "foreground" in e]
    counts = [float(e["objects"]) for e in seen.values() if "objects" in e]
    # An estimator that keeps no single number has a use for every image it was shown.
    undefined = sum(map(math.isnan, values.values()))
    return Score(
        model=model,
        value=judged.values[model],
        interval=judged.intervals[model],
        rank_interval=judged.rank_intervals[model],
        images=len(seen) - undefined,
        empty=undefined,
        coverage=(len(seen) - undefined) / bank.images,
        skipped=tuple(run.skipped[model]),
        notes=run.notes[model],
        foreground=median(shares) if shares else math.nan,
        objects=median(counts) if counts else math.nan,
        by_image=values,
    )
