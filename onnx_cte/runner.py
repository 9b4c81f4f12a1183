"""Bring models, images and estimators together: the only room that knows all three, by protocol.

Models outside, images inside: one model is open and one image in memory at a time. What several
estimators need is observed once. A model or an image that cannot be used becomes a row with its
reason; evidence is kept as soon as an image is measured.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import (
    CTEError,
    DeviceError,
    ImageError,
    ModelError,
    NothingToRank,
    OptionError,
    OutputError,
)
from onnx_cte.evidence import EvidenceStore, evidence_key
from onnx_cte.provenance import package_version, provenance
from onnx_cte.ranking import Judgement
from onnx_cte.types import (
    Device,
    Estimator,
    ImageRef,
    Model,
    Needs,
    Observation,
    Ranking,
    Score,
    Segmenter,
)

# These concern the whole run: no row for one model or image could stand for them.
_FATAL = (DeviceError, OutputError)


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
        Raise the first error of a model or an image instead of listing it.
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
        In the order of the estimators.

    Raises
    ------
    NothingToRank, OptionError, DeviceError
        As in `rank`.
    """
    if jobs is not None and jobs < 1:
        raise OptionError(f"jobs is the number of CPU threads, at least 1, not {jobs}")
    if seed < 0:
        raise OptionError(f"the seed is an integer of at least 0, not {seed}")
    if not estimators:
        raise OptionError("no estimator was given; pass one, such as CTE()")
    bank = sorted(models, key=lambda model: model.name)
    refs = sorted(images, key=lambda ref: ref.name)
    _refuse_empty(bank, refs)
    started = time.time()
    with EvidenceStore(Path(evidence) if evidence else None) as store:
        run = _Run(refs, estimators, seed, store, strict)
        with tqdm(
            total=len(bank) * len(refs), unit="image", disable=None if progress else True
        ) as bar:
            for model in bank:
                bar.set_description(model.name)
                run.measure(model, device, jobs, bar)
    unlisted = tuple(getattr(images, "skipped", ()))
    made_with = provenance(
        device=device, jobs=jobs, images=len(refs), models=run.records, started=started
    )
    return run.rankings(unlisted, made_with)


def _refuse_empty(models: Sequence[Model], refs: Sequence[ImageRef]) -> None:
    if not models:
        raise NothingToRank("there is no model to rank")
    if not refs:
        raise NothingToRank("there is no image to rank the models on")
    for kind, named in (("model", models), ("image", refs)):
        counts = Counter(thing.name for thing in named)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise OptionError(f"{kind} names must be unique; '{twice[0]}' is there twice")


class _Run:
    """The evidence of one run as it accumulates."""

    def __init__(
        self,
        refs: Sequence[ImageRef],
        estimators: Sequence[Estimator],
        seed: int,
        store: EvidenceStore,
        strict: bool,
    ) -> None:
        self.refs, self.estimators = refs, estimators
        self.seed, self.store, self.strict = seed, store, strict
        self.needs = Needs()
        for estimator in estimators:
            self.needs |= estimator.needs
        self.version = package_version()
        self.evidence: list[dict[str, list[Evidence | None]]] = [{} for _ in estimators]
        self.unusable: dict[int, str] = {}  # images that no model can use: not read again
        self.skipped: dict[str, list[tuple[str, str]]] = {}
        self.notes: dict[str, tuple[str, ...]] = {}
        self.failed: list[tuple[str, str]] = []
        self.records: dict[str, Any] = {}

    def measure(self, model: Model, device: Device, jobs: int | None, bar: "tqdm[Any]") -> None:
        """Measure one model on all images."""
        try:
            segmenter = model.open(device, jobs)
        except _FATAL:
            raise
        except Exception as error:
            if self.strict:
                raise
            self.failed.append((model.name, _reason(error)))
            bar.update(len(self.refs))
            return
        with closing(segmenter):
            found: list[Sequence[Evidence] | None] = []
            skipped: list[tuple[str, str]] = []
            for index, ref in enumerate(self.refs):
                seen = None
                if index not in self.unusable:
                    try:
                        seen = self._evidence(segmenter, index)
                    except _FATAL:
                        raise
                    except Exception as error:
                        if self.strict:
                            raise
                        skipped.append((ref.name, _reason(error)))
                found.append(seen)
                bar.update()
            self._keep(segmenter, found, skipped)

    def _evidence(self, segmenter: Segmenter, index: int) -> Sequence[Evidence] | None:
        """Evidence of every estimator on one image, from the store or measured."""
        try:
            image = self.refs[index].load()
        except ImageError as error:
            if self.strict:
                raise
            self.unusable[index] = _reason(error)
            return None
        keyed = bool(segmenter.identity and image.fingerprint)
        keys = [
            evidence_key(
                self.version,
                segmenter.identity,
                image.fingerprint,
                image.name,
                repr(estimator),
                self.seed,
            )
            for estimator in self.estimators
        ]
        known = [self.store.get(key) if keyed else None for key in keys]
        missing = [i for i, evidence in enumerate(known) if evidence is None]
        if missing:
            seen = segmenter.observe(image, self.needs, self.seed)
            fresh = {i: _measured(self.estimators[i], seen) for i in missing}
            if keyed:
                self.store.put({keys[i]: evidence for i, evidence in fresh.items()})
            known = [fresh.get(i, evidence) for i, evidence in enumerate(known)]
        return [evidence for evidence in known if evidence is not None]

    def _keep(
        self,
        segmenter: Segmenter,
        found: Sequence[Sequence[Evidence] | None],
        skipped: list[tuple[str, str]],
    ) -> None:
        """Take a model into the bank, or list it as failed if no image could be used with it."""
        name = segmenter.name
        self.records[name] = dict(segmenter.record)
        if skipped and not any(seen is not None for seen in found):
            reason, count = Counter(reason for _, reason in skipped).most_common(1)[0]
            self.failed.append((name, f"on {count} of {len(self.refs)} images: {reason}"))
            return
        self.notes[name] = segmenter.notes
        self.skipped[name] = skipped
        for number, column in enumerate(self.evidence):
            column[name] = [None if seen is None else seen[number] for seen in found]

    def rankings(
        self, unlisted: tuple[tuple[str, str], ...], made_with: dict[str, Any]
    ) -> tuple[Ranking, ...]:
        """Score what was measured, estimator by estimator."""
        unusable = tuple((self.refs[i].name, reason) for i, reason in self.unusable.items())
        if len(unusable) == len(self.refs):
            name, reason = unusable[0]
            raise NothingToRank(f"none of {len(self.refs)} images can be used; {name}: {reason}")
        if not self.notes:
            name, reason = self.failed[0]
            raise NothingToRank(f"none of {len(self.failed)} models can be used; {name}: {reason}")
        usable = [i for i in range(len(self.refs)) if i not in self.unusable]
        groups = [self.refs[i].group or self.refs[i].name for i in usable]
        rankings = []
        for estimator, column in zip(self.estimators, self.evidence, strict=True):
            bank = Bank({model: [row[i] for i in usable] for model, row in column.items()})
            judged = Judgement(bank, estimator, groups, self.seed)
            scores = tuple(self._score(judged, bank, model) for model in judged.order)
            rankings.append(
                Ranking(
                    scores=scores,
                    estimator=repr(estimator),
                    greater_is_better=estimator.greater_is_better,
                    undecided=judged.undecided,
                    failed=tuple(self.failed),
                    skipped=tuple(sorted(unlisted + unusable)),
                    seed=self.seed,
                    provenance=made_with,
                )
            )
        return tuple(rankings)

    def _score(self, judged: Judgement, bank: Bank, model: str) -> Score:
        judged_on = [evidence for evidence in bank[model] if evidence is not None]
        defined = sum(map(_defined, judged_on))
        return Score(
            model=model,
            value=judged.values[model],
            interval=judged.intervals[model],
            rank_interval=judged.rank_intervals[model],
            images=defined,
            empty=len(judged_on) - defined,
            coverage=defined / bank.images,
            skipped=tuple(self.skipped[model]),
            notes=self.notes[model],
        )


def _defined(evidence: Evidence) -> bool:
    """Whether an image gave a value: ``value``, where the estimator has one, is not NaN."""
    value = evidence.get("value", 0.0)
    return bool(value == value)


def _measured(estimator: Estimator, seen: Observation) -> Evidence:
    try:
        return estimator.measure(seen)
    except CTEError:
        raise
    except Exception as error:
        raise ModelError(f"estimator '{estimator.name}' failed: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """One line for a row; an error that is not ours is named by its type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, CTEError) else f"{type(error).__name__}: {text}"
