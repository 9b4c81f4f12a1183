"""Which model to take, and how sure that is, in a sentence."""

import math
from dataclasses import dataclass
from typing import Literal

from onnx_cte.ranking import Ranking, Score

HOPELESS = 20
"""Times the images there are: two models that so many more would not tell apart are alike."""

_NAMED = 3  # models that a sentence names; of more, the number is told

Level = Literal["clear", "open", "doubtful", "none"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which model to take.

    Attributes
    ----------
    model : str
        The first of the ranking; empty if none can be recommended.
    level : {"clear", "open", "doubtful", "none"}
        ``clear``: the images tell it from every other; ``open``: they do not, or nobody knows;
        ``doubtful``: there is something to read first (`Ranking.warnings`), or nothing to compare
        it with; ``none``: there is no model to take.
    sentence : str
        All of this in words.
    """

    model: str
    level: Level
    sentence: str


def verdict(ranking: Ranking) -> Verdict:
    """Which model a ranking says to take, and how sure the images are of that.

    Parameters
    ----------
    ranking : Ranking
        Of any number of models, also of none.

    Returns
    -------
    Verdict
    """
    seeing = [score for score in ranking if not score.blind]
    if not seeing:
        return Verdict("", "none", f"No model can be recommended: {_why_none(ranking)}.")
    first, count = seeing[0], len(ranking)
    level, said = _compared(ranking, first, count)
    if warned := len(ranking.warnings):
        level = "doubtful"
        said = f"{said} Read the {'warning' if warned == 1 else f'{warned} warnings'} first."
    return Verdict(first.model, level, said)


def _why_none(ranking: Ranking) -> str:
    if ranking.scores:
        return "none of those that could be ranked finds anything on these images"
    count = len(ranking.failed)
    if not count:
        return "none was ranked"
    return f"{'the only one' if count == 1 else f'all {count}'} failed"


def _compared(ranking: Ranking, first: Score, count: int) -> tuple[Level, str]:
    """How sure the first place is, warnings aside."""
    model, images = first.model, _counted(first.images)
    if count == 1:
        only = (
            f"{model} is the only model that could be ranked: there is nothing to compare it with."
        )
        return "doubtful", only
    leads = f"{model} ranks first of {count} models"
    if not ranking.sampled:
        return "open", (
            f"{leads}, and nobody can say how sure that is: scores have no intervals, which take "
            "images from five files or more."
        )
    alike = [s for s in ranking if s.model in ranking.undecided_with(model)]
    if not alike:
        others = "the other" if count == 2 else "each of the others"
        return (
            "clear",
            f"Take {model}: it ranks first of {count}, and {images} tell it from {others}.",
        )
    names = [score.model for score in alike]
    named = ", ".join(names if len(names) <= _NAMED else names[: _NAMED - 1])
    if len(names) > _NAMED:
        named = f"{named} and {len(names) - _NAMED + 1} others"
    said = f"{leads}, but {images} cannot tell it from {named}"
    if len(alike) == 1:
        return "open", f"{said}{_more_would(ranking, first, alike[0])}."
    match _takes(ranking, first, alike[0]):
        case None:
            return "open", f"{said}."
        case math.inf:
            return "open", (
                f"{said}; {HOPELESS} times as many would not tell it from {names[0]}: the two are "
                "alike for practical purposes."
            )
        case more:
            return "open", (
                f"{said}; about {more:.0f} more would tell it from {names[0]}, if their difference "
                "is what it looks like."
            )


def _counted(images: int) -> str:
    return "this image" if images == 1 else f"these {images} images"


def outlook(ranking: Ranking) -> str | None:
    """What it takes to tell the first model from the next that is like it.

    Parameters
    ----------
    ranking : Ranking
        Of at least one model.

    Returns
    -------
    str or None
        None if nobody can say, or if nothing is like the first.
    """
    first = ranking[0]
    alike = [s for s in ranking[1:] if s.model in ranking.undecided_with(first.model)]
    if not alike or not (more := _more_would(ranking, first, alike[0])):
        return None
    return f"these images cannot tell {first.model} from {alike[0].model}{more}"


def _more_would(ranking: Ranking, first: Score, other: Score) -> str:
    """What to add to "cannot tell these two apart"; empty if nobody can say."""
    match _takes(ranking, first, other):
        case None:
            return ""
        case math.inf:
            return f", nor would {HOPELESS} times as many: they are alike for practical purposes"
        case more:
            return f": about {more:.0f} more would, if their difference is what it looks like"


def _takes(ranking: Ranking, first: Score, other: Score) -> float | None:
    """How many more images tell two models apart; infinite if too many, None if nobody can say."""
    if not ranking.sampled or not math.isfinite(first.value - other.value):
        return None
    takes = {(better, worse): more for better, worse, more in ranking.images_to_tell}
    more = takes.get((first.model, other.model))
    equal = math.isclose(first.value, other.value, rel_tol=1e-6, abs_tol=1e-9)
    if more is None and not equal:
        return None
    if more is None or more > HOPELESS * ranking.sampled:
        return math.inf
    return float(f"{more:.2g}")  # two digits say as much as is known
