"""Bring models, images and estimators together: the only room that knows all three, by protocol.

What several estimators need is observed once. A model or an image that cannot be used becomes a row
with its reason; a model that cannot show what one estimator needs becomes such a row for that
estimator alone.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import get_args

from threadpoolctl import threadpool_limits

from onnx_cte.bootstrap import resamples_of
from onnx_cte.errors import ImageError, NothingToRank, OptionError, unknown_name
from onnx_cte.evidence import EvidenceStore
from onnx_cte.measuring import Measurements
from onnx_cte.progress import Listener, tallied
from onnx_cte.provenance import provenance
from onnx_cte.ranking import Ranking
from onnx_cte.scoring import rankings_of
from onnx_cte.types import Device, Estimator, Image, ImageRef, Model

_OVERSUBSCRIBED = 4  # threads a core; more is a slip of the keyboard, and takes minutes to start


def rank(
    models: Iterable[Model],
    images: Iterable[ImageRef],
    estimator: Estimator,
    *,
    source: Mapping[str, Iterable[ImageRef]] | None = None,
    seed: int = 0,
    device: Device = "auto",
    jobs: int | None = None,
    evidence: str | Path | None = None,
    strict: bool = False,
    progress: bool | Listener = False,
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
    source : mapping of str to iterable of ImageRef, optional
        By model name: labelled images of the model's own training domain, for estimators that
        compare with them (`Images` with `truth`). A model without fails for these estimators.
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
    progress : bool or callable
        True: show a progress bar on stderr, if that is a terminal. A callable is given a
        `Progress` when a model's turn comes and after each image, in the thread that called
        `rank`; what it raises ends the run, and what was measured by then is kept in `evidence`.

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

    Examples
    --------
    Two callables on three pictures of a disc; a folder of ONNX models on files goes the same way
    (`open_models`, `Images`).

    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> steep = oc.BlackBox("steep", lambda tensor: (9 * tensor - 4).clip(0, 1))
    >>> edgy = oc.BlackBox("edgy", lambda tensor: np.abs(np.diff(tensor, append=0)).clip(0, 1))
    >>> ranking = oc.rank([steep, edgy], oc.Images.from_arrays(discs), oc.CTE())
    >>> [(score.model, score.images) for score in ranking]
    [('steep', 3), ('edgy', 3)]

    How far it is, for a bar of your own:

    >>> def show(found):
    ...     print(found.model, found.done, "of", found.total)
    >>> ranking = oc.rank([steep], oc.Images.from_arrays(discs[:2]), oc.CTE(), progress=show)
    steep 0 of 2
    steep 1 of 2
    steep 2 of 2
    """
    return rank_each(
        models,
        images,
        [estimator],
        source=source,
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
    source: Mapping[str, Iterable[ImageRef]] | None = None,
    seed: int = 0,
    device: Device = "auto",
    jobs: int | None = None,
    evidence: str | Path | None = None,
    strict: bool = False,
    progress: bool | Listener = False,
) -> tuple[Ranking, ...]:
    """Rank models by several estimators that all see the same predictions.

    Parameters
    ----------
    estimators : sequence of Estimator
        Each is measured on the one observation of a model on an image; those whose ``measures``
        are equal are measured once.

    models, images, source, seed, device, jobs, evidence, strict, progress
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

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> truth = [(disc > 0.5).astype(np.uint8) for disc in discs]
    >>> bank = [
    ...     oc.BlackBox("exact", lambda tensor: (tensor > 0.5).astype(float)),
    ...     oc.BlackBox("small", lambda tensor: (tensor > 0.9).astype(float)),
    ... ]
    >>> labelled = oc.Images.from_arrays(discs, truth=truth)
    >>> held, performance = oc.rank_each(bank, labelled, [oc.CTE(), oc.Accuracy()])
    >>> held[0].model, performance[0].model, performance.title
    ('exact', 'exact', 'f1')
    """
    estimators = list(estimators)
    if not isinstance(progress, bool) and not callable(progress):
        raise OptionError(f"progress is True, False or something to call, not {progress!r}")
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
    domains = _source_of(bank, estimators, source)
    started = time.time()
    with EvidenceStore(Path(evidence) if evidence else None) as store, single_threaded():
        run = Measurements(refs, estimators, seed, store, strict, domains)
        with tallied(sum(run.images_of(model.name) for model in bank), progress) as tally:
            for model in bank:
                tally.turn_to(model.name)
                run.measure(model, device, jobs, tally.add)
    made_with = provenance(
        device=device,
        jobs=jobs,
        # A list of images in memory would be shown pixel by pixel.
        source=repr(images) if hasattr(images, "skipped") else "in memory",
        images=len(refs) + len(unlisted),
        models=run.records,
        started=started,
    )
    if understood := list(getattr(images, "understood", ())):
        made_with["understood"] = understood
    if domains:
        made_with["source_domains"] = {
            name: repr(given) if hasattr(given, "skipped") else "in memory"
            for name, given in sorted((source or {}).items())
        }
    with single_threaded():
        return rankings_of(run, unlisted, made_with)


def single_threaded() -> AbstractContextManager[object]:
    """Linear algebra on one thread, while the context holds.

    On matrices as small as ours more threads cost more than they gain, stand in the way of the
    network's own, and may round differently.
    """
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits


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
        resamples_of(estimator)
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
    _refuse_twice("model", models)
    _refuse_twice("image", refs)


def _refuse_twice(kind: str, named: Sequence[Model] | Sequence[ImageRef]) -> None:
    counts = Counter(thing.name for thing in named)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise OptionError(f"{kind} names must be unique; '{twice[0]}' is there twice")


def _source_of(
    models: Sequence[Model],
    estimators: Sequence[Estimator],
    source: Mapping[str, Iterable[ImageRef]] | None,
) -> dict[str, list[ImageRef]]:
    """Source images by model, sorted by name; OptionError if they cannot be used."""
    if not source:
        return {}
    if not any(estimator.needs.source for estimator in estimators):
        asked = ", ".join(estimator.name for estimator in estimators)
        raise OptionError(
            f"source images were given, and none of the estimators looks at them ({asked}): leave "
            "them out, or add an estimator that does; `onnx-cte list estimators` says what each "
            "needs"
        )
    names = [model.name for model in models]
    found: dict[str, list[ImageRef]] = {}
    for name, given in source.items():
        if name not in names:
            raise unknown_name("model of source images", str(name), names)
        if isinstance(given, str | Path):
            raise OptionError(
                f"the source images of '{name}' are a path, '{given}': pass Images('{given}', "
                "truth=...) with their labels"
            )
        if not getattr(given, "has_truth", True):
            raise OptionError(
                f"the source images of '{name}' come without labels: Images(..., truth=...), or "
                f"--source {name}=IMAGES:LABELS"
            )
        unread = (_Unread(*pair) for pair in getattr(given, "skipped", ()))
        found[name] = sorted([*given, *unread], key=lambda ref: ref.name)
        if not found[name]:
            raise OptionError(f"the source of '{name}' holds no image: give some, or leave it out")
        _refuse_twice(f"source image (of '{name}')", found[name])
    return found


class _Unread:
    """A file that could not even be listed as an image: it is told with those that fail later."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = self.group = name
        self._reason = reason

    def load(self) -> Image:
        raise ImageError(f"{self.name}: {self._reason.removeprefix(f'{self.name}: ')}")
