"""From what was measured to rankings: each estimator scores its bank, with how sure it is."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from statistics import median
from typing import Any

from onnx_cte.bank import Bank
from onnx_cte.bootstrap import Judgement
from onnx_cte.errors import FATAL, NothingToRank, OptionError, reason_of
from onnx_cte.measuring import Measurements
from onnx_cte.ranking import Ranking, Score
from onnx_cte.sample_size import more_images
from onnx_cte.separation import Separation, separation
from onnx_cte.types import Estimator


def rankings_of(
    run: Measurements, unlisted: tuple[tuple[str, str], ...], made_with: Mapping[str, Any]
) -> tuple[Ranking, ...]:
    """Score what was measured, estimator by estimator.

    Parameters
    ----------
    run : Measurements
        All models measured.
    unlisted : tuple of (image, reason)
        Files that could not even be listed as images.
    made_with : mapping of str to JSON values
        Provenance of the run.

    Returns
    -------
    tuple of Ranking
        In the order of the estimators; one without models where no model served.

    Raises
    ------
    NothingToRank
        If no image, or no model, could be used for any of them.
    """
    unusable = tuple((run.refs[i].name, reason) for i, reason in run.unusable.items())
    if len(unusable) == len(run.refs):
        name, reason = unusable[0]
        raise NothingToRank(f"none of {len(run.refs)} images can be used; {name}: {reason}")
    if not run.notes:
        # Each model once: of fifteen perturbations it may refuse each in almost the same words.
        first: dict[str, str] = {}
        for name, reason in itertools.chain.from_iterable(run.failed):
            first.setdefault(name, reason)
        alike: dict[str, list[str]] = {}
        for name, reason in sorted(first.items()):
            alike.setdefault(reason, []).append(name)
        reasons = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in alike.items())
        raise NothingToRank(f"none of {len(first)} models can be used; {reasons}")
    banks = Banks(run)
    rankings = []
    for number, estimator in enumerate(run.estimators):
        ranking = Ranking(
            scores=(),
            estimator=repr(estimator),
            title=estimator.title,
            greater_is_better=estimator.greater_is_better,
            failed=tuple(run.failed[number]),
            skipped=tuple(sorted(unlisted + unusable)),
            seed=run.seed,
            provenance=_timed(made_with, math.nan),
            needs=estimator.needs.supplied,
        )
        if run.evidence[number]:
            bank = banks.of(number)
            try:
                ranking = _judged(run, number, bank, banks, ranking)
            except (*FATAL, OptionError):
                raise
            except Exception as error:
                if run.strict:
                    raise
                # It says nothing of any model; the others do.
                told = f"estimator '{estimator.name}' cannot score: {reason_of(error)}"
                failed = *ranking.failed, *((model, told) for model in bank)
                ranking = replace(ranking, failed=failed)
        rankings.append(ranking)
    return tuple(rankings)


def _judged(
    run: Measurements,
    number: int,
    bank: Bank,
    banks: "Banks",
    ranking: Ranking,
) -> Ranking:
    """The ranking with what an estimator says of its bank."""
    estimator = run.estimators[number]
    judged = Judgement(bank, estimator, banks.groups, run.seed)
    # Optional, as below.
    optional = ("parts", "remarks", "agreed_by_image")
    parts, remarks, agreed = (getattr(estimator, name, None) for name in optional)
    made_of: Mapping[str, Mapping[str, float]] = {} if parts is None else parts(bank)
    with_others: Mapping[str, Sequence[float]] = {} if agreed is None else agreed(bank)
    scores = tuple(
        replace(
            _score(run, number, judged, bank, model, banks.names),
            parts=made_of.get(model, {}),
            # Of images that it was run on.
            agreed={
                image: value
                for image, value, evidence in zip(
                    banks.names, with_others.get(model, ()), bank[model], strict=False
                )
                if evidence is not None
            },
        )
        for model in judged.order
    )
    return replace(
        ranking,
        scores=scores,
        remarks=() if remarks is None else tuple(remarks(bank)),
        undecided=judged.undecided,
        separation=_separation(estimator, bank, judged, scores),
        provenance=_timed(ranking.provenance, run.seconds[number] + judged.seconds),
        by_draw=_alternatives(estimator, bank),
        drawn=judged.drawn if len(judged.drawn) else None,
        sampled=judged.sampled,
        images_to_tell=_images_to_tell(judged),
    )


class Banks:
    """Banks of evidence; estimators that share evidence, served by the same models, share one.

    Parameters
    ----------
    run : Measurements
        All models measured.

    Attributes
    ----------
    names : list of str
        Images that could be used, in the order in which evidence is aligned.
    groups : list of str
        For each of them, what is drawn together.
    """

    def __init__(self, run: Measurements) -> None:
        self._run = run
        self._usable = [i for i in range(len(run.refs)) if i not in run.unusable]
        self.names = [run.refs[i].name for i in self._usable]
        self.groups = [run.refs[i].group or run.refs[i].name for i in self._usable]
        self._group = {number: group for group in run.groups for number in group.members}
        self._made: dict[tuple[str, tuple[str, ...], bool], Bank] = {}

    def of(self, number: int) -> Bank:
        """The bank of an estimator, by its place in the run; of those models that could serve."""
        evidence = self._run.evidence[number]
        source = {name: self._run.source_evidence[number].get(name, []) for name in evidence}
        compares = self._run.estimators[number].needs.source
        key = (self._group[number].measures, tuple(sorted(evidence)), compares)
        if key not in self._made:
            rows = {name: [row[i] for i in self._usable] for name, row in evidence.items()}
            self._made[key] = Bank(rows, source if compares else None)
        return self._made[key]


def _images_to_tell(judged: Judgement) -> tuple[tuple[str, str, int], ...]:
    """How many more images each undecided pair would take, where any number would do."""
    taken = (
        (better, worse, more_images(contrast, judged.sampled))
        for better, worse in judged.undecided
        if (contrast := judged.contrasts.get((better, worse))) is not None
    )
    return tuple((better, worse, more) for better, worse, more in taken if more is not None)


def _timed(made_with: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The provenance with what the estimator itself took; null if nobody knows."""
    taken = None if math.isnan(seconds) else round(seconds, 6)
    return {**made_with, "time": {**made_with["time"], "estimator_seconds": taken}}


def _separation(
    estimator: Estimator, bank: Bank, judged: Judgement, scores: Sequence[Score]
) -> Separation | None:
    """How far apart the scores are; None if nothing was resampled to tell."""
    if not judged.resampled:
        return None
    seeing = {score.model for score in scores if not score.blind}
    return separation(
        judged.values,
        judged.intervals,
        judged.undecided,
        _by_draw(estimator, bank),
        [found for pair, found in judged.contrasts.items() if seeing.issuperset(pair)],
    )


def _alternatives(estimator: Estimator, bank: Bank) -> tuple[Mapping[str, float], ...]:
    """Scores of draws that are alternatives to each other, if that is what they are."""
    if not getattr(estimator, "judged_by_draw", False):
        return ()
    score: Any = getattr(estimator, "score_by_draw", None)
    if score is None:
        raise OptionError(
            f"estimator '{estimator.name}' has judged_by_draw and no score_by_draw: give it the "
            "scores of its draws, or leave out the former"
        )
    return tuple({model: float(value) for model, value in draw.items()} for draw in score(bank))


def _by_draw(estimator: Estimator, bank: Bank) -> Sequence[Mapping[str, float]] | None:
    """Scores that each draw of the perturbations alone would give; None if nothing is perturbed."""
    # Optional, hence not in the protocol. The truth is no matter of draws.
    score = getattr(estimator, "score_by_draw", None)
    if score is None or estimator.needs.truth or getattr(estimator, "judged_by_draw", False):
        return None
    return tuple(score(bank))


def _score(
    run: Measurements,
    number: int,
    judged: Judgement,
    bank: Bank,
    model: str,
    images: Sequence[str],
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
        skipped=tuple(run.skipped[number][model]),
        notes=run.notes[model],
        foreground=median(shares) if shares else math.nan,
        objects=median(counts) if counts else math.nan,
        by_image=values,
    )
