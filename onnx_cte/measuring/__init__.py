"""Measure models on images: what can be used gives evidence, what cannot becomes a reason.

One model is open and one image in memory at a time; evidence is stored as soon as an image is
measured, and what is stored already is not measured again. A model that cannot show what one
estimator needs fails for that estimator only.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from onnx_cte.bank import Evidence
from onnx_cte.errors import (
    FATAL,
    CTEError,
    ImageError,
    ModelError,
    NotOffered,
    reason_of,
)
from onnx_cte.evidence import EvidenceStore, evidence_key
from onnx_cte.needs import Needs
from onnx_cte.provenance import package_version
from onnx_cte.types import Device, Estimator, Image, ImageRef, Model, Observation, Segmenter


@dataclass(frozen=True, slots=True)
class _Opened:
    """The model that is open, and for which estimators it serves."""

    segmenter: Segmenter
    serves: tuple[int, ...]
    adapted: set[str] = field(default_factory=set)  # what it did to images


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
        Raise the first error of a model or an image.

    Attributes
    ----------
    evidence : list of mappings
        For each estimator, the evidence of each model that could be used for it, image by image.
    unusable : mapping of int to str
        Images that no model can use, by index, with the reason; they are not read again.
    skipped : mapping of str to list of (image, reason)
        By model.
    notes : mapping of str to tuple of str
        By model; its keys are the models that could be used for any estimator.
    failed : list of lists of (model, reason)
        For each estimator.
    records : mapping of str to JSON values
        What each model recorded of itself.
    """

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
        self._united(range(len(estimators)))  # or tell at once that they do not go together
        self.version = package_version()
        self.evidence: list[dict[str, list[Evidence | None]]] = [{} for _ in estimators]
        self.unusable: dict[int, str] = {}  # images that no model can use: not read again
        self.skipped: dict[str, list[tuple[str, str]]] = {}
        self.notes: dict[str, tuple[str, ...]] = {}
        self.failed: list[list[tuple[str, str]]] = [[] for _ in estimators]
        self.records: dict[str, Any] = {}

    def measure(self, model: Model, device: Device, jobs: int | None, bar: "tqdm[Any]") -> None:
        """Measure one model on all images."""
        try:
            segmenter = model.open(device, jobs)
        except FATAL:
            raise
        except Exception as error:
            if self.strict:
                raise _ours(error) from error
            reason = reason_of(error).removeprefix(f"{model.name}: ")
            self._fail(model.name, range(len(self.estimators)), reason)
            bar.update(len(self.refs))
            return
        with closing(segmenter):
            serves = self._served(segmenter)
            opened = _Opened(segmenter, serves)
            if not serves:
                self.records[segmenter.name] = dict(segmenter.record)
                bar.update(len(self.refs))
                return
            found: list[Sequence[Evidence] | None] = []
            skipped: list[tuple[str, str]] = []
            for index, ref in enumerate(self.refs):
                seen = None
                if index not in self.unusable:
                    try:
                        seen = self._evidence(opened, index)
                    except FATAL:
                        raise
                    except Exception as error:
                        if self.strict:
                            raise _ours(error) from error
                        skipped.append((ref.name, reason_of(error)))
                found.append(seen)
                bar.update()
            self._keep(opened, found, skipped)

    def _united(self, chosen: Iterable[int]) -> Needs:
        """The needs of these estimators together."""
        needs = Needs()
        for number in chosen:
            needs |= self.estimators[number].needs
        return needs

    def _served(self, segmenter: Segmenter) -> tuple[int, ...]:
        """The estimators whose needs a model can meet; it fails for the others."""
        # The method is younger than the protocol: models from outside may lack it.
        refuses = getattr(segmenter, "refuses", lambda needs: "")
        serves = []
        for number, estimator in enumerate(self.estimators):
            try:
                reason = refuses(estimator.needs)
            except FATAL:
                raise
            except Exception as error:
                if self.strict:
                    raise _ours(error) from error
                reason = reason_of(error)
            if not reason:
                serves.append(number)
                continue
            if self.strict:
                raise NotOffered(f"{segmenter.name}: {reason}")
            self._fail(segmenter.name, [number], reason)
        return tuple(serves)

    def _fail(self, model: str, estimators: Iterable[int], reason: str) -> None:
        for number in estimators:
            self.failed[number].append((model, reason))

    def _evidence(self, opened: _Opened, index: int) -> Sequence[Evidence] | None:
        """Evidence of every estimator that is served on one image, from the store or measured."""
        segmenter, estimators = opened.segmenter, [self.estimators[n] for n in opened.serves]
        try:
            image = self.refs[index].load()
        except ImageError as error:
            if self.strict:
                raise
            # The reason stands beside the name in every list.
            name = f"{self.refs[index].name}: "
            self.unusable[index] = reason_of(error).removeprefix(name)
            return None
        if adapted := segmenter.adapts(image):
            # Of every image, measured now or before: a resumed run notes the same.
            opened.adapted.add(adapted)
        keys = [self._key(segmenter, image, estimator) for estimator in estimators]
        known = [self.store.get(key) if key else None for key in keys]
        missing = [i for i, evidence in enumerate(known) if evidence is None]
        if missing:
            # What is known already is not run again.
            needs = self._united(opened.serves[i] for i in missing)
            seen = segmenter.observe(image, needs, self.seed)
            fresh = {i: _measured(estimators[i], seen) for i in missing}
            self.store.put({key: fresh[i] for i in missing if (key := keys[i])})
            known = [fresh.get(i, evidence) for i, evidence in enumerate(known)]
        return [evidence for evidence in known if evidence is not None]

    def _key(self, segmenter: Segmenter, image: Image, estimator: Estimator) -> str:
        """What evidence is stored by; empty if nobody can tell whether it would hold next time."""
        model = segmenter.identity
        if model and estimator.needs.instances:
            model += getattr(segmenter, "decoded_by", "")
        # An object without a repr of its own shows its address, which says nothing next time.
        nameless = " at 0x" in repr(estimator) + model
        if nameless or not model or not image.fingerprint:
            return ""
        return evidence_key(
            self.version, model, image.fingerprint, image.name, repr(estimator), self.seed
        )

    def _keep(
        self,
        opened: _Opened,
        found: Sequence[Sequence[Evidence] | None],
        skipped: list[tuple[str, str]],
    ) -> None:
        """Take a model into the bank, or list it as failed if no image could be used with it."""
        segmenter, name = opened.segmenter, opened.segmenter.name
        self.records[name] = dict(segmenter.record)
        if skipped and not any(seen is not None for seen in found):
            reason, _ = Counter(reason for _, reason in skipped).most_common(1)[0]
            told = f"on {len(skipped)} of {len(self.refs)} images: {reason}"
            self._fail(name, opened.serves, told)
            return
        self.notes[name] = (*segmenter.notes, *sorted(opened.adapted))
        self.skipped[name] = skipped
        for place, number in enumerate(opened.serves):
            self.evidence[number][name] = [None if seen is None else seen[place] for seen in found]


def _measured(estimator: Estimator, seen: Observation) -> Evidence:
    try:
        return estimator.measure(seen)
    except CTEError:
        raise
    except Exception as error:
        raise ModelError(f"estimator '{estimator.name}' failed: {reason_of(error)}") from error


def _ours(error: Exception) -> Exception:
    """Let an error that is not ours leave as one that is, so that it is told in one line."""
    return error if isinstance(error, CTEError) else ModelError(reason_of(error))
