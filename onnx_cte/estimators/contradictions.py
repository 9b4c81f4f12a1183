"""What to say of models whose kinds of evidence contradict each other."""

import math
from collections.abc import Mapping, Sequence

CHANCE = 0.5
"""Boundary evidence of outlines drawn at random, without holes."""

STILL = 0.8
"""Consistency from which on a model is said to hold still."""

ALIKE = 0.5
"""Consensus below which even models that are believed hardly agree with each other."""

_NAMED = 4  # models; of more, the number is told

Parts = Mapping[str, Mapping[str, float]]


def contradictions(parts: Parts) -> tuple[str, ...]:
    """Warnings about a ranking by credibility.

    Parameters
    ----------
    parts : mapping of str to mapping of str to float
        By model: ``consistency``, ``boundary`` and ``consensus``, in [0, 1] or NaN.

    Returns
    -------
    tuple of str
        Of models that hold still (`STILL`) and follow the image less than `CHANCE`; of models that
        hold still and follow it, with which those that are believed do not agree (half as far as
        with the best); and of a bank of which no model follows the image, or in which even those
        that do hardly agree (`ALIKE`).

    Examples
    --------
    >>> good = {"consistency": 0.9, "boundary": 0.9, "consensus": 0.8}
    >>> contradictions({"a": good, "b": good, "c": {**good, "boundary": 0.3}})
    ('c is consistent (0.90), but does not follow the image (0.30, chance is 0.5): it may take \
background for foreground',)
    """
    still = [name for name, part in parts.items() if part["consistency"] >= STILL]
    followed = [part["boundary"] for part in parts.values() if not math.isnan(part["boundary"])]
    agreed = [
        part["consensus"]
        for part in parts.values()
        if part["boundary"] >= CHANCE and not math.isnan(part["consensus"])
    ]
    found = []
    blind = [name for name in still if parts[name]["boundary"] < CHANCE]
    if followed and max(followed) < CHANCE:
        found.append(
            f"none of the models follows the image (at best {max(followed):.2f}, chance is "
            f"{CHANCE}): perhaps none of them is made for such images"
        )
    elif blind:
        found.append(
            f"{_names(blind)} {_are(blind)} consistent ({_range(parts, blind, 'consistency')}), "
            f"but {'do' if len(blind) > 1 else 'does'} not follow the image "
            f"({_range(parts, blind, 'boundary')}, chance is {CHANCE}): "
            f"{'they' if len(blind) > 1 else 'it'} may take background for foreground"
        )
    if agreed and max(agreed) < ALIKE:
        found.append(
            f"even the models that follow the image hardly agree with each other (at most "
            f"{max(agreed):.2f}): perhaps none of them is right"
        )
    elif agreed:
        alone = [
            name
            for name in still
            if parts[name]["boundary"] >= CHANCE and 2 * parts[name]["consensus"] < max(agreed)
        ]
        if alone:
            found.append(
                f"{_names(alone)} {_are(alone)} consistent and "
                f"{'follow' if len(alone) > 1 else 'follows'} the image, but the models that are "
                f"believed do not agree ({_range(parts, alone, 'consensus')}): look at the "
                "predictions, it may see a part, or other things than they"
            )
    return tuple(found)


def two_camps(first: str, other: str, alike: float) -> tuple[str, ...]:
    """A warning, if a ranking depends on whether numbers or evidence count first.

    Parameters
    ----------
    first, other : str
        The models that rank first either way.
    alike : float
        How like their predictions are, in [0, 1].

    Returns
    -------
    tuple of str
        Empty if they agree (`ALIKE` or more).

    Examples
    --------
    >>> two_camps("a", "b", 0.1)
    ('the models fall into camps that do not agree (a and b are alike to 0.10): a is believed for \
the evidence of its camp, b would be if the number of models counted for more; look at the \
predictions of both',)
    """
    if alike >= ALIKE:
        return ()
    return (
        f"the models fall into camps that do not agree ({first} and {other} are alike to "
        f"{alike:.2f}): {first} is believed for the evidence of its camp, {other} would be if the "
        "number of models counted for more; look at the predictions of both",
    )


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _names(names: Sequence[str]) -> str:
    """All names, or of many the first and how many more."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1} others"


def _range(parts: Parts, names: Sequence[str], kind: str) -> str:
    values = [parts[name][kind] for name in names]
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} .. {high}"
