"""Transferability estimators, one a file: they know observations and nothing of models.

`ESTIMATORS` is the registry. An estimator from outside is found by its entry point in the group
``onnx_cte.estimators``, or is simply passed to `rank` as an object.
"""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.estimators.accuracy import Accuracy
from onnx_cte.estimators.confidence import Confidence
from onnx_cte.estimators.cte import CTE
from onnx_cte.types import Estimator

__all__ = [
    "CTE",
    "ENTRY_POINTS",
    "ESTIMATORS",
    "Accuracy",
    "Confidence",
    "estimator_named",
    "known_estimators",
]

ESTIMATORS: dict[str, type[Any]] = {
    CTE.name: CTE,
    Confidence.name: Confidence,
    Accuracy.name: Accuracy,
}
ENTRY_POINTS = "onnx_cte.estimators"


def known_estimators() -> Mapping[str, str]:
    """What each estimator does, by name: our own, and those that installed packages announce.

    One that cannot be loaded is listed with the reason, and hinders no other.
    """
    found = {name: made.summary for name, made in ESTIMATORS.items()}
    for name, point in _announced().items():
        try:
            made = point.load()
        except Exception as error:
            found[name] = f"cannot be loaded from {point.value}: {error}"
        else:
            first = (made.__doc__ or point.value).strip().splitlines()[0]
            found[name] = getattr(made, "summary", first)
    return found


def _announced() -> dict[str, importlib.metadata.EntryPoint]:
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
    """
    announced = {} if name in ESTIMATORS else _announced()
    if name not in ESTIMATORS and name not in announced:
        raise unknown_name("estimator", name, [*ESTIMATORS, *announced])
    try:
        made = announced[name].load() if name in announced else ESTIMATORS[name]
    except Exception as error:
        raise OptionError(
            f"estimator '{name}' cannot be loaded from {announced[name].value}: {error}"
        ) from error
    try:
        estimator: Estimator = made(**options)
    except TypeError as error:
        raise OptionError(f"estimator '{name}' does not take these options: {error}") from error
    return estimator
