"""What ``--perturb auto`` means, and how a sweep is told."""

from collections.abc import Sequence

from onnx_cte.cli.options import say
from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE
from onnx_cte.perturbations import AUTO
from onnx_cte.sweep import Sweep


def asks_for_sweep(perturb: Sequence[str], estimator: str) -> bool:
    """Whether a sweep is to choose the one perturbation of a ranking; OptionError if it cannot."""
    if AUTO not in perturb:
        return False
    if len(perturb) > 1:
        raise OptionError(
            f"--perturb {AUTO} chooses one perturbation, and cannot be averaged with others "
            f"({', '.join(perturb)} were given); leave it alone, or leave it out"
        )
    if estimator != CTE.name:
        raise OptionError(
            f"--perturb {AUTO} chooses the perturbation of the estimator {CTE.name}, and "
            f"--estimator {estimator} was given; leave out one of them"
        )
    return True


def tell_sweeps(sweeps: Sequence[Sweep], as_json: bool) -> None:
    """Show sweeps before what was chosen is ranked; as JSON they stand in the rankings."""
    for found in () if as_json else sweeps:
        say(f"{found}\n")
