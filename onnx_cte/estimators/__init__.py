"""Transferability estimators, one a file: they know observations and nothing of models.

`ESTIMATORS` is the registry. An estimator from outside is found by its entry point in the group
``onnx_cte.estimators``, or is simply passed to `rank` as an object.
"""

from onnx_cte.estimators.accuracy import Accuracy
from onnx_cte.estimators.choosing import (
    ENTRY_POINTS,
    announced_estimators,
    estimator_named,
    known_estimators,
    parse_estimator,
)
from onnx_cte.estimators.confidence import Confidence
from onnx_cte.estimators.credibility import Credibility
from onnx_cte.estimators.cte import CTE
from onnx_cte.estimators.registry import ESTIMATORS, Offer

__all__ = [
    "CTE",
    "ENTRY_POINTS",
    "ESTIMATORS",
    "Accuracy",
    "Confidence",
    "Credibility",
    "Offer",
    "announced_estimators",
    "estimator_named",
    "known_estimators",
    "parse_estimator",
]
