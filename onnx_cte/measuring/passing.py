"""One pass of an open model over images: an image is observed while the one before is measured.

Estimators are measured in threads of their own, so that they cost little beside the network: it
runs outside of Python, and on a GPU outside of the CPU. Each estimator measures one image at a
time, in the order of the images.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

from onnx_cte.bank import Evidence
from onnx_cte.errors import FATAL, CTEError
from onnx_cte.evidence import EvidenceStore, evidence_key
from onnx_cte.measuring.sharing import Column, measured, ours
from onnx_cte.needs import Needs
from onnx_cte.provenance import package_version
from onnx_cte.types import Image, Observation, Segmenter

Domain = Literal["target", "source"]
Load = Callable[[], Image | None]
"""Reads an image; None if no model can use it, which is told elsewhere."""

_WORKERS = 4  # threads that measure; there are seldom more estimators that take long


@dataclass(slots=True)
class _Due:
    """An image on its way: what is known of it by column, and what is being measured.

    Attributes
    ----------
    name : str
    outcomes : list of (mapping, error or None)
        By column; None if the image cannot be used by any model, or is being measured.
    keys : list of str
        What each column's evidence is stored by; empty if it is not.
    seen : Observation or None
        What is to be measured.
    futures : list of (column, future)
    """

    name: str
    outcomes: list[Evidence | CTEError | None]
    keys: Sequence[str] = ()
    seen: Observation | None = None
    futures: Sequence[tuple[int, "Future[tuple[Evidence | CTEError, float]]"]] = ()


class Pass:
    """One pass of an open model over images.

    Parameters
    ----------
    segmenter : Segmenter
    columns : sequence of Column
        Where evidence goes, image by image.
    store : EvidenceStore
    seed : int
    strict : bool
        Raise the first error.
    domain : {"target", "source"}
        Of all the images.

    Attributes
    ----------
    adapted : set of str
        What the model did to images so that it could take them.
    seconds : list of float
        What measuring each column took, NaN if nothing was measured.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        columns: Sequence[Column],
        store: EvidenceStore,
        *,
        seed: int,
        strict: bool,
        domain: Domain,
    ) -> None:
        self._segmenter, self._columns, self._store = segmenter, columns, store
        self._seed, self._strict, self._domain = seed, strict, domain
        self._version = package_version()
        self.adapted: set[str] = set()
        self.seconds = [math.nan for _ in columns]

    def run(self, images: Iterable[tuple[str, Load]], tick: Callable[[], None]) -> None:
        """Take all images, by name, into the columns; `tick` is called after each."""
        due: _Due | None = None
        with ThreadPoolExecutor(_WORKERS) as pool:
            try:
                for name, load in images:
                    following = self._observed(name, load)
                    if due is not None:
                        finished, due = due, None
                        self._finish(finished, tick)
                    due = self._submitted(following, pool)
            finally:
                # Also when something is raised: what was observed is kept.
                if due is not None:
                    self._finish(due, tick)

    def _observed(self, name: str, load: Load) -> _Due:
        """Look up what is stored of an image, and observe it for the rest."""
        nothing: list[Evidence | CTEError | None] = [None] * len(self._columns)
        try:
            image = load()
            return _Due(name, nothing) if image is None else self._looked_at(name, image)
        except FATAL:
            raise
        except Exception as error:
            if self._strict:
                raise ours(error) from error
            return _Due(name, [ours(error)] * len(self._columns))

    def _looked_at(self, name: str, image: Image) -> _Due:
        if adapted := self._segmenter.adapts(image):
            # Of every image, measured now or before: a resumed run notes the same.
            self.adapted.add(adapted)
        keys = [self._key(image, column) for column in self._columns]
        known = [self._store.get(key) if key else None for key in keys]
        due = _Due(name, list(known), keys)
        missing = [place for place, evidence in enumerate(known) if evidence is None]
        if missing:
            # What is known already is not run again. Source images come with their labels.
            needs = Needs(truth=self._domain == "source")
            for place in missing:
                needs |= self._columns[place].needs
            seen = self._segmenter.observe(image, needs, self._seed)
            due.seen = replace(seen, domain=self._domain)
        return due

    def _submitted(self, due: _Due, pool: ThreadPoolExecutor) -> _Due:
        """Begin to measure what was observed."""
        if due.seen is not None:
            due.futures = [
                (place, pool.submit(self._measured, column, due.seen))
                for place, column in enumerate(self._columns)
                if due.outcomes[place] is None
            ]
            due.seen = None
        return due

    def _measured(self, column: Column, seen: Observation) -> tuple[Evidence | CTEError, float]:
        """Evidence of a column, or why there is none, and the seconds it took."""
        started = time.thread_time()
        outcome: Evidence | CTEError
        try:
            outcome = measured(column.group.estimator, seen)
        except CTEError as error:
            if self._strict or isinstance(error, FATAL):
                raise
            outcome = error
        return outcome, time.thread_time() - started

    def _finish(self, due: _Due, tick: Callable[[], None]) -> None:
        """Wait for what is measured of an image, store it, and take it into the columns."""
        fresh: dict[str, Evidence] = {}
        first: BaseException | None = None
        for place, future in due.futures:
            try:
                outcome, seconds = future.result()
            except BaseException as error:
                first = first or error
                continue
            before = self.seconds[place]
            self.seconds[place] = seconds if math.isnan(before) else before + seconds
            due.outcomes[place] = outcome
            if due.keys[place] and not isinstance(outcome, CTEError):
                fresh[due.keys[place]] = outcome
        self._store.put(fresh)
        if first is not None:
            raise first
        for column, outcome_or_none in zip(self._columns, due.outcomes, strict=True):
            column.take(due.name, outcome_or_none)
        tick()

    def _key(self, image: Image, column: Column) -> str:
        """What evidence is stored by; empty if nobody can tell whether it would hold next time."""
        model, measures = self._segmenter.identity, column.group.measures
        if model and column.needs.instances:
            model += getattr(self._segmenter, "decoded_by", "")
        # An object without a repr of its own shows its address, which says nothing next time.
        nameless = " at 0x" in measures + model
        if nameless or not model or not image.fingerprint:
            return ""
        parts = (self._version, model, image.fingerprint, image.name, measures, self._seed)
        return evidence_key(*parts) if self._domain == "target" else evidence_key(*parts, "source")
