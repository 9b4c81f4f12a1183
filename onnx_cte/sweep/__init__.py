"""Choose, without labels, where and how strongly to disturb networks.

Several candidates are measured on a sample of the images, all those at the same taps in one run of
the network, and the rule in `onnx_cte.sweep.rule` takes one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from onnx_cte.bootstrap import FEWEST
from onnx_cte.errors import ImageError, ModelError, OptionError
from onnx_cte.estimators import CTE
from onnx_cte.needs import Perturbation
from onnx_cte.perturbations import Dropout
from onnx_cte.progress import Listener
from onnx_cte.ranking import Ranking
from onnx_cte.runner import check_options, rank_each
from onnx_cte.sweep.found import Sweep
from onnx_cte.sweep.rule import INSTEAD, SweepRow, choose, row_of
from onnx_cte.sweep.sampling import sampled
from onnx_cte.types import Device, ImageRef, Model

__all__ = ["CANDIDATES", "SAMPLE", "Sweep", "SweepRow", "sweep", "sweep_each"]

CANDIDATES: tuple[Perturbation, ...] = tuple(
    Dropout(rate, taps=taps)
    for taps in (("bottleneck",), ("decoder",), ("skips",), ("decoder", "skips"))
    for rate in (0.05, 0.1, 0.2, 0.3, 0.5)
)
SAMPLE = 12
TOLERABLE_BY = "nhd"


def sweep(
    models: Iterable[Model],
    images: Iterable[ImageRef],
    *,
    metric: str = "nhd",
    candidates: Sequence[Perturbation] = CANDIDATES,
    sample: int = SAMPLE,
    draws: int = CTE.draws,
    seed: int = 0,
    device: Device = "auto",
    jobs: int | None = None,
    evidence: str | Path | None = None,
    strict: bool = False,
    progress: bool | Listener = False,
) -> Sweep:
    """Dropout at the rate and tap that suit these models and images, chosen without labels.

    Every candidate is measured on a sample of the images; `onnx_cte.sweep.rule` tells the rule.
    With the same `seed`, `draws` and `evidence`, a later ranking measures only what is missing.

    Parameters
    ----------
    models, images
        As in `rank`. Models that can offer none of the candidates, or cannot be used, take no part.
    metric : str
        A consistency metric: ``nhd``, ``ei`` or ``rand_fscore``.
    candidates : sequence of Perturbation
        With names that differ. By default dropout of 5 to 50 % at the bottleneck, in the decoder,
        in the skip connections, and in both of these. One that a model refuses, although it can
        offer others, is left out for all.
    sample : int, >= 5
        How many images at most, spread evenly over all by name, of different files if there are
        enough of them.
    draws : int, >= 1
        As in `CTE`.
    seed, device, jobs, evidence, progress
        As in `rank`.
    strict : bool
        Raise an error for the first model or image that cannot be used, when all are measured.

    Returns
    -------
    Sweep

    Raises
    ------
    OptionError
        If an option has no meaning, if the images come from fewer than five files, if fewer than
        two models can be compared, or if no candidate is left.
    NothingToRank
        If there is no model or no image, or none can be used.
    ImageError, ModelError
        If `strict`.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images = oc.Images.from_arrays([oc.simulate_nuclei(seed, field)[0] for seed in range(5)])
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "large360"])
    >>> found = oc.sweep(models, images, candidates=[oc.Dropout(0.1), oc.Dropout(0.5)])
    >>> [row.perturbation for row in found.rows], found.estimator.name
    (['dropout=0.1', 'dropout=0.5'], 'cte')
    """
    (found,) = sweep_each(
        models,
        images,
        (metric,),
        candidates=candidates,
        sample=sample,
        draws=draws,
        seed=seed,
        device=device,
        jobs=jobs,
        evidence=evidence,
        strict=strict,
        progress=progress,
    )
    return found


def sweep_each(
    models: Iterable[Model],
    images: Iterable[ImageRef],
    metrics: Sequence[str],
    *,
    candidates: Sequence[Perturbation] = CANDIDATES,
    sample: int = SAMPLE,
    draws: int = CTE.draws,
    seed: int = 0,
    device: Device = "auto",
    jobs: int | None = None,
    evidence: str | Path | None = None,
    strict: bool = False,
    progress: bool | Listener = False,
) -> tuple[Sweep, ...]:
    """Sweep once for several metrics, each with a choice of its own.

    Parameters
    ----------
    models, images, candidates, sample, draws, seed, device, jobs, evidence, strict, progress
        As in `sweep`.
    metrics : sequence of str

    Returns
    -------
    tuple of Sweep
        In the order of the metrics.

    Raises
    ------
    OptionError, NothingToRank, ImageError, ModelError
        As in `sweep`.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images = oc.Images.from_arrays([oc.simulate_nuclei(seed, field)[0] for seed in range(5)])
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "large360"])
    >>> rates = [oc.Dropout(0.1), oc.Dropout(0.5)]
    >>> found = oc.sweep_each(models, images, ["nhd", "ei"], candidates=rates)
    >>> [one.estimator.metric for one in found]
    ['nhd', 'ei']
    """
    names = [candidate.name for candidate in candidates]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if not names or twice:
        what = f"'{twice[0]}' is there twice" if twice else "there is none"
        raise OptionError(f"candidates of a sweep are perturbations that differ in name: {what}")
    if not isinstance(sample, int) or sample < FEWEST:
        raise OptionError(f"sample is a number of images, at least {FEWEST}, not {sample!r}")
    # NHD tells whether a perturbation is tolerable, whatever ranks; it costs no further run.
    measured = tuple(dict.fromkeys((*metrics, TOLERABLE_BY)))
    judges = [CTE(metric, (candidate,), draws) for metric in measured for candidate in candidates]
    check_options(models, images, judges, seed, device, jobs)
    bank, refs = list(models), sampled(images, sample)
    if len(bank) == 1:
        raise OptionError(
            f"'{bank[0].name}' is the only model: a perturbation is chosen by how well it tells "
            f"models apart; {INSTEAD}"
        )
    if refs:
        _require_groups(refs, "")
    rankings = rank_each(
        bank,
        refs or images,  # if there is none, the source knows why
        judges,
        seed=seed,
        device=device,
        jobs=jobs,
        evidence=evidence,
        progress=progress,
    )
    if strict:
        _raise_first(rankings)
    unread = dict(rankings[0].skipped)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in unread.items())
    refs = [ref for ref in refs if ref.name not in unread]
    _require_groups(refs, reasons)
    count = len(candidates)
    by_metric = {
        metric: dict(zip(judges[start : start + count], rankings[start:], strict=False))
        for metric, start in zip(measured, range(0, len(judges), count), strict=True)
    }
    names_used = tuple(ref.name for ref in refs)
    by_nhd = list(by_metric[TOLERABLE_BY].values())
    return tuple(_swept(names_used, by_metric[metric], by_nhd) for metric in metrics)


def _swept(
    images: tuple[str, ...], found: Mapping[CTE, Ranking], by_nhd: Sequence[Ranking]
) -> Sweep:
    """What the rankings by the candidates, with one metric, say."""
    compared = sorted({model for ranking in found.values() for model in ranking.values})
    if len(compared) < 2:
        failed = {model: reason for ranking in found.values() for model, reason in ranking.failed}
        others = "; ".join(
            f"{model}: {failed[model]}" for model in sorted(failed.keys() - compared)
        )
        raise OptionError(
            f"only one model, '{compared[0]}', can be disturbed by the candidates, and a "
            f"perturbation is chosen by how well it tells models apart; {INSTEAD} ({others})"
        )
    rows: dict[CTE, SweepRow] = {}
    left_out = []
    for (estimator, ranking), every in zip(found.items(), by_nhd, strict=True):
        # A model that takes no part, for it has no objects, say, does not bound the window.
        held = replace(every, scores=tuple(s for s in every if s.model in ranking.values))
        (candidate,) = estimator.perturbations
        refused = [(m, reason) for m, reason in ranking.failed if m in compared]
        if refused:
            reasons = "; ".join(f"{model}: {reason}" for model, reason in refused)
            left_out.append((candidate.name, reasons))
        else:
            rows[estimator] = row_of(candidate.name, ranking, held)
    if not rows:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out)
        raise OptionError(
            f"each candidate is refused by a model that can offer another; {INSTEAD} ({reasons})"
        )
    chosen, reason = choose(list(rows.values()))
    (estimator,) = (estimator for estimator, row in rows.items() if row is chosen)
    return Sweep(
        metric=estimator.metric,
        images=images,
        rows=tuple(rows.values()),
        chosen=chosen.perturbation,
        reason=reason,
        left_out=tuple(left_out),
        estimator=estimator,
    )


def _require_groups(refs: Sequence[ImageRef], lost: str) -> None:
    groups = {ref.group or ref.name for ref in refs}
    if len(groups) < FEWEST:
        raise OptionError(
            f"the images to choose a perturbation on are from {len(groups)} "
            f"file{'s' * (len(groups) != 1)}, and fewer than {FEWEST} cannot tell models apart; "
            f"add images, or {INSTEAD}" + (f" ({lost})" if lost else "")
        )


def _raise_first(rankings: Sequence[Ranking]) -> None:
    """Raise what `strict` wants raised; a refusal of some candidates is no failure."""
    used = {model for ranking in rankings for model in ranking.values}
    for ranking in rankings:
        for model, reason in ranking.failed:
            if model not in used:
                raise ModelError(f"{model}: {reason}")
        unread = (*ranking.skipped, *(pair for score in ranking for pair in score.skipped))
        if unread:
            raise ImageError("{}: {}".format(*unread[0]))
