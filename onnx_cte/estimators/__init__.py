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


def known_estimators() -> Mapping[str, type[Any]]:
    """Estimators by name: our own, and those that installed packages announce.

    Raises
    ------
    OptionError
        If a package announces a name that is taken.
    """
    found = dict(ESTIMATORS)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if point.name in found:
            raise OptionError(
                f"estimator '{point.name}' of {point.value} has a name that is taken; "
                "its package must choose another entry point name"
            )
        found[point.name] = point.load()
    return found


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
    CTE(metric='ei', perturbations=(GaussianNoise(sigma=0.1),))
    """
    known = known_estimators()
    if name not in known:
        raise unknown_name("estimator", name, known)
    try:
        estimator: Estimator = known[name](**options)
    except TypeError as error:
        raise OptionError(f"estimator '{name}' does not take these options: {error}") from error
    return estimator
