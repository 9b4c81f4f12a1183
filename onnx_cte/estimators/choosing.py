"""Estimators by name or by text: our own, and those that installed packages announce."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.estimators.registry import ESTIMATORS
from onnx_cte.stating import Vocabulary
from onnx_cte.types import Estimator

ENTRY_POINTS = "onnx_cte.estimators"


def known_estimators() -> Mapping[str, str]:
    """What each estimator does, by name: our own, and those that installed packages announce.

    One that cannot be loaded is listed with the reason, and hinders no other.
    """
    found = {name: offer.summary for name, offer in ESTIMATORS.items()}
    for name, point in announced_estimators().items():
        try:
            made = point.load()
        except Exception as error:
            found[name] = f"cannot be loaded from {point.value}: {error}"
        else:
            first = (made.__doc__ or point.value).strip().splitlines()[0]
            found[name] = getattr(made, "summary", first)
    return found


def announced_estimators() -> dict[str, importlib.metadata.EntryPoint]:
    """Entry points of other packages; our own names cannot be taken."""
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {point.name: point for point in points if point.name not in ESTIMATORS}


def estimator_named(name: str, **options: Any) -> Estimator:
    """Make an estimator by name.

    Parameters
    ----------
    name : str
        As ``onnx-cte list estimators`` shows it.
    **options
        What its class takes.

    Returns
    -------
    Estimator

    Raises
    ------
    OptionError
        Unknown name (with a suggestion), or an option that it does not take.

    Examples
    --------
    >>> estimator_named("cte", metric="ei")
    CTE(metric='ei', perturbations=(GaussianNoise(sigma=0.1),), draws=2)
    >>> estimator_named("entropy")
    Confidence(kind='entropy')
    """
    make = _maker(name)
    try:
        estimator: Estimator = make(**options)
    except TypeError as error:
        raise OptionError(f"estimator '{name}' does not take these options: {error}") from error
    return estimator


def parse_estimator(text: str, **options: Any) -> Estimator:
    """An estimator from ``NAME[:OPTION=VALUE]...``.

    Parameters
    ----------
    text : str
        ``confidence``, ``cte:metric=ei:draws=4``. Values are read by the types of the class's
        fields: numbers, words, ``yes`` or ``no``, ``none``, and several of these joined by ``+``.
    **options
        Options that were stated elsewhere; they cannot be in the text too.

    Returns
    -------
    Estimator

    Raises
    ------
    OptionError
        Unknown name or option (with a suggestion), an option without a value or twice, or a value
        that the estimator cannot take.

    Examples
    --------
    >>> parse_estimator("cte:metric=ei:draws=4")
    CTE(metric='ei', perturbations=(GaussianNoise(sigma=0.1),), draws=4)
    """
    name, *parts = (part.strip() for part in text.split(":"))
    make = _maker(name)
    kind = ESTIMATORS[name].kind if name in ESTIMATORS else make
    stated = Vocabulary.of("estimator", name, kind, ":").read(parts)
    if twice := sorted(stated.keys() & options.keys()):
        raise OptionError(
            f"estimator '{text}': '{twice[0]}' is stated here and by an option of its own; leave "
            "out one of them"
        )
    return estimator_named(name, **stated, **options)


def _maker(name: str) -> Any:
    """What makes the estimator of a name: an offer of ours, or what an entry point holds."""
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    announced = announced_estimators()
    if name not in announced:
        raise unknown_name("estimator", name, [*ESTIMATORS, *announced])
    try:
        return announced[name].load()
    except Exception as error:
        raise OptionError(
            f"estimator '{name}' cannot be loaded from {announced[name].value}: {error}"
        ) from error
