"""Measure models on images: what can be used gives evidence, what cannot becomes a reason.

One model is open and two images in memory at a time; evidence is stored as soon as an image is
measured, and what is stored already is not measured again. A model that cannot show what one
estimator needs fails for that estimator only, and so does one without source images for an
estimator that compares with them.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from onnx_cte.bank import Evidence
from onnx_cte.errors import (
    FATAL,
    ImageError,
    NotOffered,
    OptionError,
    reason_of,
)
from onnx_cte.evidence import EvidenceStore
from onnx_cte.measuring.passing import Domain, Load, Pass
from onnx_cte.measuring.sharing import (
    WITHOUT_SOURCE,
    Column,
    Skipped,
    columns_of,
    grouped,
    labelled,
    ours,
    unavailable,
    united,
)
from onnx_cte.types import Device, Estimator, Image, ImageRef, Model, Segmenter

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Opened:
    """The model that is open."""

    segmenter: Segmenter
    adapted: set[str] = field(default_factory=set)  # what it did to images
    remarks: list[str] = field(default_factory=list)  # on its source images


class Measurements:
    """The evidence of one run as it accumulates.

    Parameters
    ----------
    refs : sequence of ImageRef
        In the order in which evidence is aligned.
    estimators : sequence of Estimator
    seed : int
    store : EvidenceStore
    strict : bool
        Raise the first error of a model or an image; OptionError if an estimator cannot be used in
        this installation.
    source : mapping of str to sequence of ImageRef
        By model: images of its own training domain, in the order in which evidence is aligned.

    Attributes
    ----------
    groups : tuple of Group
        Estimators that share evidence.
    evidence : list of mappings
        For each estimator, the evidence of each model that could be used for it, image by image.
    source_evidence : list of mappings
        The same on each model's source images, for estimators that need them.
    unusable : mapping of int to str
        Images that no model can use, by index, with the reason; they are not read again.
    skipped : list of mappings of str to list of (image, reason)
        For each estimator, by model.
    notes : mapping of str to tuple of str
        By model; its keys are the models that could be used for any estimator.
    failed : list of lists of (model, reason)
        For each estimator.
    records : mapping of str to JSON values
        What each model recorded of itself.
    seconds : list of float
        For each estimator, what it took to measure; NaN if nothing was measured. What a group
        measures together is charged to each of its estimators.
    """

    def __init__(
        self,
        refs: Sequence[ImageRef],
        estimators: Sequence[Estimator],
        seed: int,
        store: EvidenceStore,
        strict: bool,
        source: Mapping[str, Sequence[ImageRef]] | None = None,
    ) -> None:
        self.refs, self.estimators = refs, estimators
        self.seed, self.store, self.strict, self.source = seed, store, strict, source or {}
        united(estimators)  # or tell at once that they do not go together
        self._unavailable = [unavailable(estimator) for estimator in estimators]
        for estimator, reason in zip(estimators, self._unavailable, strict=True):
            if reason and strict:
                raise OptionError(f"estimator '{estimator.name}' cannot be used: {reason}")
        self.groups = grouped(estimators)
        self.evidence: list[dict[str, list[Evidence | None]]] = [{} for _ in estimators]
        self.source_evidence: list[dict[str, list[Evidence | None]]] = [{} for _ in estimators]
        self.unusable: dict[int, str] = {}
        self.skipped: list[dict[str, Skipped]] = [{} for _ in estimators]
        self.notes: dict[str, tuple[str, ...]] = {}
        self.failed: list[list[tuple[str, str]]] = [[] for _ in estimators]
        self.records: dict[str, Any] = {}
        self.seconds = [math.nan for _ in estimators]

    def images_of(self, model: str) -> int:
        """How many images there are to measure a model on, source images among them."""
        return len(self.refs) + len(self.source.get(model, ()))

    def measure(
        self, model: Model, device: Device, jobs: int | None, count: Callable[[int], object]
    ) -> None:
        """Measure one model on all images.

        An image that one estimator fails on is skipped for that one alone. `count` is called with
        how many images more are dealt with, whether they could be used or not.
        """
        done, due = [0], self.images_of(model.name)

        def tick() -> None:
            done[0] += 1
            count(1)

        self._measure(model, device, jobs, tick)
        if done[0] < due:
            count(due - done[0])

    def _measure(
        self, model: Model, device: Device, jobs: int | None, tick: Callable[[], None]
    ) -> None:
        possible = self._possible(model.name)
        if not possible:
            return
        started = time.monotonic()
        try:
            segmenter = model.open(device, jobs)
        except FATAL:
            raise
        except Exception as error:
            if self.strict:
                raise ours(error) from error
            reason = reason_of(error).removeprefix(f"{model.name}: ")
            self._fail(model.name, possible, reason)
            _LOG.info("%s: cannot be used: %s", model.name, reason)
            return
        with closing(segmenter):
            opened = _Opened(segmenter)
            _tell_opened(segmenter, time.monotonic() - started)
            serves = self._compared(opened, self._served(segmenter, possible), tick)
            if not serves:
                self.records[segmenter.name] = dict(segmenter.record)
                return
            columns = columns_of(self.groups, self.estimators, serves)
            images = ((ref.name, partial(self._image, n)) for n, ref in enumerate(self.refs))
            self._pass(opened, columns, images, "target", tick)
            self._keep(opened, columns)
            took = time.monotonic() - started
            _LOG.info("%s: %d images in %.1f s", segmenter.name, len(self.refs), took)

    def _pass(
        self,
        opened: _Opened,
        columns: Sequence[Column],
        images: Iterable[tuple[str, Load]],
        domain: Domain,
        tick: Callable[[], None],
    ) -> None:
        """Run the open model over images, into the columns."""
        going = Pass(
            opened.segmenter,
            columns,
            self.store,
            seed=self.seed,
            strict=self.strict,
            domain=domain,
        )
        try:
            going.run(images, tick)
        finally:
            opened.adapted.update(going.adapted)
            for column, seconds in zip(columns, going.seconds, strict=True):
                for number in () if math.isnan(seconds) else column.members:
                    before = self.seconds[number]
                    self.seconds[number] = seconds if math.isnan(before) else before + seconds

    def _possible(self, model: str) -> tuple[int, ...]:
        """The estimators that may serve, before a model is opened; it fails for the others."""
        possible = []
        for number, estimator in enumerate(self.estimators):
            reason = self._unavailable[number]
            if not reason and estimator.needs.source and model not in self.source:
                reason = WITHOUT_SOURCE
                if self.strict:
                    raise NotOffered(f"{model}: estimator '{estimator.name}': {reason}")
            if reason:
                self._fail(model, [number], reason)
            else:
                possible.append(number)
        return tuple(possible)

    def _served(self, segmenter: Segmenter, possible: Iterable[int]) -> tuple[int, ...]:
        """The estimators whose needs a model can meet; it fails for the others."""
        # The method is younger than the protocol: models from outside may lack it.
        refuses = getattr(segmenter, "refuses", lambda needs: "")
        serves = []
        for number in possible:
            try:
                reason = refuses(self.estimators[number].needs)
            except FATAL:
                raise
            except Exception as error:
                if self.strict:
                    raise ours(error) from error
                reason = reason_of(error)
            if not reason:
                serves.append(number)
                continue
            if self.strict:
                raise NotOffered(f"{segmenter.name}: {reason}")
            self._fail(segmenter.name, [number], reason)
        return tuple(serves)

    def _compared(
        self, opened: _Opened, serves: Sequence[int], tick: Callable[[], None]
    ) -> tuple[int, ...]:
        """Measure the source images; gives the estimators that are served still."""
        name = opened.segmenter.name
        comparing = [number for number in serves if self.estimators[number].needs.source]
        if not comparing:
            return tuple(serves)
        refs, lost = self.source[name], set[int]()
        columns = columns_of(self.groups, self.estimators, comparing)
        images = ((ref.name, partial(labelled, ref)) for ref in refs)
        self._pass(opened, columns, images, "source", tick)
        for column in columns:
            told = [f"{image}: {why.removeprefix(f'{image}: ')}" for image, why in column.skipped]
            if column.empty:
                first = f"; {told[0]}" if told else ""
                reason = f"none of its {len(refs)} source images can be used{first}"
                self._fail(name, column.members, reason)
                lost.update(column.members)
                continue
            # Most fail for every estimator alike.
            notes = (f"source image skipped: {text}" for text in told)
            opened.remarks.extend(note for note in notes if note not in opened.remarks)
            for number in column.members:
                self.source_evidence[number][name] = column.found
        return tuple(number for number in serves if number not in lost)

    def _image(self, index: int) -> Image | None:
        """One of the images ranked on; None, and listed, if no model can use it."""
        if index in self.unusable:
            return None
        try:
            return self.refs[index].load()
        except ImageError as error:
            if self.strict:
                raise
            # The reason stands beside the name in every list.
            name = f"{self.refs[index].name}: "
            self.unusable[index] = reason_of(error).removeprefix(name)
            _LOG.info("%scannot be used: %s", name, self.unusable[index])
            return None

    def _fail(self, model: str, estimators: Iterable[int], reason: str) -> None:
        for number in estimators:
            self.failed[number].append((model, reason))

    def _keep(self, opened: _Opened, columns: Sequence[Column]) -> None:
        """Take a model into the bank; it fails for estimators that could use no image with it."""
        segmenter, name = opened.segmenter, opened.segmenter.name
        self.records[name] = dict(segmenter.record)
        for column in columns:
            if column.skipped and column.empty:
                reason, _ = Counter(reason for _, reason in column.skipped).most_common(1)[0]
                told = f"on {len(column.skipped)} of {len(self.refs)} images: {reason}"
                self._fail(name, column.members, told)
                continue
            self.notes[name] = (*segmenter.notes, *sorted(opened.adapted), *opened.remarks)
            for number in column.members:
                self.skipped[number][name] = column.skipped
                self.evidence[number][name] = column.found


def _tell_opened(segmenter: Segmenter, seconds: float) -> None:
    """Log how a model was opened."""
    provider = segmenter.record.get("provider", "its own code")
    _LOG.info("%s: opened in %.1f s, run by %s", segmenter.name, seconds, provider)
