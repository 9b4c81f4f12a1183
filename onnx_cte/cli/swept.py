"""What ``--perturb auto`` means, and how a sweep is told."""

from collections.abc import Mapping, Sequence
from typing import Any

from onnx_cte.cli.options import say
from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE, Credibility, parse_estimator
from onnx_cte.images import Images
from onnx_cte.perturbations import AUTO
from onnx_cte.planning import Plan, plan
from onnx_cte.segmenters import OnnxModel
from onnx_cte.sweep import CANDIDATES, SAMPLE, Sweep
from onnx_cte.sweep.sampling import sampled
from onnx_cte.types import Estimator

SWEPT = (Credibility.name, CTE.name)
"""Estimators of which a sweep can choose the perturbation."""


def asks_for_sweep(perturb: Sequence[str], estimator: str) -> bool:
    """Whether a sweep is to choose the one perturbation of a ranking; OptionError if it cannot."""
    if AUTO not in perturb:
        return False
    if len(perturb) > 1:
        raise OptionError(
            f"--perturb {AUTO} chooses one perturbation, and cannot be averaged with others "
            f"({', '.join(perturb)} were given); leave it alone, or leave it out"
        )
    if estimator not in SWEPT:
        raise OptionError(
            f"--perturb {AUTO} chooses the perturbation of the estimators {' and '.join(SWEPT)}, "
            f"and --estimator {estimator} was given; leave out one of them"
        )
    return True


def as_swept(estimator: str, found: Sweep, options: Mapping[str, Any]) -> Estimator:
    """The estimator under what a sweep chose by consistency alone."""
    if estimator == CTE.name:
        return found.estimator
    return parse_estimator(estimator, **options, perturbations=found.estimator.perturbations)


def plan_sweep(
    bank: Sequence[OnnxModel],
    images: Images,
    options: Sequence[Mapping[str, Any]],
    trial: Mapping[str, Any],
) -> list[tuple[str, Plan]]:
    """What a sweep by CTE with each of these options would take, to be told by `tell_plans`."""
    judges = [CTE(**each, perturbations=(one,)) for each in options for one in CANDIDATES]
    return [("sweep", plan(bank, sampled(images, SAMPLE), judges, **trial))]


def tell_sweeps(sweeps: Sequence[Sweep], as_json: bool) -> None:
    """Show sweeps before what was chosen is ranked; as JSON they stand in the rankings."""
    for found in () if as_json else sweeps:
        say(f"{found}\n")
