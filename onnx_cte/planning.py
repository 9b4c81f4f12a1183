"""What a run would do and about how long it would take, found by trying one image."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from onnx_cte.errors import FATAL, CTEError, ImageError, NothingToRank, reason_of
from onnx_cte.measuring.sharing import WITHOUT_SOURCE, grouped, measured, unavailable, united
from onnx_cte.needs import Needs
from onnx_cte.runner import check_options, single_threaded
from onnx_cte.types import Device, Estimator, Image, ImageRef, Model, Segmenter

SLOW = 20.0
"""Seconds: a first image that took so long is not run a second time."""

NOTHING = Needs()

_TRIES = 5  # images that are tried before it is said that none can be read


@dataclass(frozen=True, slots=True)
class Trial:
    """One image under one model.

    Attributes
    ----------
    model : str
    provider : str
        What executes it; empty if it does not say.
    images : int
        How many images it would be run on.
    opening, first, further : float
        Seconds: to open it, for its first image (which allocates memory and finds algorithms), and
        for each one after it. NaN if it cannot be used.
    refused : tuple of (estimator, reason)
        Estimators that it cannot serve.
    reason : str
        Why it cannot be used at all; empty if it can.
    """

    model: str
    provider: str = ""
    images: int = 0
    opening: float = math.nan
    first: float = math.nan
    further: float = math.nan
    refused: tuple[tuple[str, str], ...] = ()
    reason: str = ""

    @property
    def seconds(self) -> float:
        """About how long it takes on all its images; 0 if it cannot be used.

        Examples
        --------
        >>> Trial("net", images=11, opening=2.0, first=1.0, further=0.5).seconds
        8.0
        """
        if self.reason:
            return 0.0
        return self.opening + self.first + self.further * (self.images - 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    trials : tuple of Trial
        One a model, by name.
    estimators : tuple of str
        Their titles.
    images, files : int
        How many there are.
    tried : str
        Name of the image that was tried.
    size : tuple of int
        Its shape.
    skipped : tuple of (image, reason)
        What could not be read, as far as it was tried.
    """

    trials: tuple[Trial, ...]
    estimators: tuple[str, ...]
    images: int
    files: int
    tried: str
    size: tuple[int, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def seconds(self) -> float:
        """About how long it takes, without scoring."""
        return sum(trial.seconds for trial in self.trials)


def plan(
    models: Iterable[Model],
    images: Iterable[ImageRef],
    estimators: Sequence[Estimator] = (),
    *,
    needs: Needs = NOTHING,
    source: Mapping[str, Iterable[ImageRef]] | None = None,
    seed: int = 0,
    device: Device = "auto",
    jobs: int | None = None,
) -> Plan:
    """Try one image, that in the middle by name, under every model.

    It is run twice, for the second run tells what all others will take; once, if it takes more than
    `SLOW` seconds. Nothing is kept. An estimate counts running and measuring one after the other,
    where a run does both at once, and no scoring.

    Parameters
    ----------
    models, images, estimators, source, seed, device, jobs
        As of `rank_each`; without estimators models are run undisturbed.
    needs : Needs, optional
        What else is wanted of each prediction, such as objects.

    Returns
    -------
    Plan

    Raises
    ------
    NothingToRank
        If there is no model or no image, or the first few that are tried cannot be read.
    OptionError, DeviceError
        As of `rank_each`.
    """
    bank = sorted(models, key=lambda model: model.name)
    refs = sorted(images, key=lambda ref: ref.name)
    if estimators:
        check_options(models, images, estimators, seed, device, jobs)
    if not bank or not refs:
        raise NothingToRank(f"there is no {'image' if bank else 'model'} to try")
    image, reading, skipped = _readable(refs)
    own = {name: len(list(given)) for name, given in (source or {}).items()}
    united(estimators)  # or tell at once that they do not go together
    trials = []
    with single_threaded():
        for model in bank:
            asked, refused = _possible(estimators, model.name, own)
            trial = Trial(
                model.name, images=len(refs) + own.get(model.name, 0), refused=tuple(refused)
            )
            if estimators and not asked:
                trials.append(replace(trial, reason=refused[0][1]))
                continue
            try:
                opened = _Opened(model, device, jobs)
                with closing(opened.segmenter):
                    trials.append(_tried(trial, opened, image, reading, asked, needs, seed))
            except FATAL:
                raise
            except Exception as error:
                reason = reason_of(error).removeprefix(f"{model.name}: ")
                trials.append(replace(trial, reason=reason))
    return Plan(
        trials=tuple(trials),
        estimators=tuple(estimator.title for estimator in estimators),
        images=len(refs),
        files=len({ref.group or ref.name for ref in refs}),
        tried=image.name,
        size=image.data.shape,
        skipped=(*getattr(images, "skipped", ()), *skipped),
    )


def _readable(refs: Sequence[ImageRef]) -> tuple[Image, float, list[tuple[str, str]]]:
    """The image in the middle, or one near it that can be read; seconds to read; what cannot."""
    middle = len(refs) // 2
    skipped: list[tuple[str, str]] = []
    for ref in [*refs[middle:], *reversed(refs[:middle])][:_TRIES]:
        started = time.perf_counter()
        try:
            return ref.load(), time.perf_counter() - started, skipped
        except ImageError as error:
            skipped.append((ref.name, reason_of(error).removeprefix(f"{ref.name}: ")))
    name, reason = skipped[0]
    raise NothingToRank(f"none of {len(skipped)} images tried can be used; {name}: {reason}")


def _possible(
    estimators: Sequence[Estimator], model: str, source: Mapping[str, int]
) -> tuple[list[Estimator], list[tuple[str, str]]]:
    """Those that may serve before a model is opened, and why the others do not."""
    possible, refused = [], []
    for estimator in estimators:
        reason = unavailable(estimator)
        if not reason and estimator.needs.source and model not in source:
            reason = WITHOUT_SOURCE
        if reason:
            refused.append((estimator.title, reason))
        else:
            possible.append(estimator)
    return possible, refused


class _Opened:
    """A model that is open, and how long that took."""

    def __init__(self, model: Model, device: Device, jobs: int | None) -> None:
        started = time.perf_counter()
        self.segmenter = model.open(device, jobs)
        self.seconds = time.perf_counter() - started


def _tried(
    trial: Trial,
    opened: _Opened,
    image: Image,
    reading: float,
    estimators: Sequence[Estimator],
    needs: Needs,
    seed: int,
) -> Trial:
    """One image under one model that is open."""
    segmenter = opened.segmenter
    serving, refused = _serving(segmenter, estimators, needs)
    trial = replace(
        trial,
        provider=str(segmenter.record.get("provider", "")),
        refused=(*trial.refused, *refused),
        opening=opened.seconds,
    )
    if refused and not serving:
        return replace(trial, reason=refused[0][1])
    wanted = needs | united(serving)
    first = further = reading + _timed(segmenter, image, serving, wanted, seed)
    if first < SLOW:
        further = reading + _timed(segmenter, image, serving, wanted, seed)
    return replace(trial, first=first, further=further)


def _serving(
    segmenter: Segmenter, estimators: Sequence[Estimator], needs: Needs
) -> tuple[list[Estimator], list[tuple[str, str]]]:
    """The estimators whose needs an open model can meet, and why the others do not."""
    # The method is younger than the protocol: models from outside may lack it.
    refuses = getattr(segmenter, "refuses", lambda needs: "")
    if not estimators and (reason := refuses(needs)):
        return [], [("", reason)]
    asked = [(estimator, str(refuses(estimator.needs))) for estimator in estimators]
    serving = [estimator for estimator, reason in asked if not reason]
    return serving, [(estimator.title, reason) for estimator, reason in asked if reason]


def _timed(
    segmenter: Segmenter, image: Image, estimators: Sequence[Estimator], needs: Needs, seed: int
) -> float:
    """Seconds to observe an image and to measure it; an estimator that fails takes no more."""
    started = time.perf_counter()
    seen = segmenter.observe(image, needs, seed)
    for group in grouped(estimators):
        try:
            measured(group.estimator, seen)
        except FATAL:
            raise
        except CTEError:
            continue  # this image is skipped by it in the run too, which says why
    return time.perf_counter() - started
