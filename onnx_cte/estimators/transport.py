"""Optimal transport between samples of source and target, and what it says of their labels.

POT does the transport. It is an extra of the package, and is imported where it is used.
"""

import importlib
import importlib.util
import warnings
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import ModelError, unknown_name

Solver = Literal["exact", "sinkhorn"]
ITERATIONS = {"exact": 2_000_000, "sinkhorn": 1000}
"""At most; of the network simplex, and of Sinkhorn."""
# POT stops where the L2 norm of a marginal's error is below.
_STOP = 1e-6
# What a plan's marginals may miss in all, of a mass of 1.
_TOLERANCE = {"exact": 1e-6, "sinkhorn": 1e-2}


def unavailable() -> str:
    """Why transport cannot run here; empty if it can."""
    if importlib.util.find_spec("ot") is None:
        return 'optimal transport needs POT, which is not here: pip install "onnx-cte[transport]"'
    return ""


def check_solver(solver: str) -> None:
    """OptionError with the nearest choice unless it is one of `Solver`."""
    if solver not in get_args(Solver):
        raise unknown_name("solver of optimal transport", str(solver), get_args(Solver))


def squared_distances(
    source: NDArray[np.floating], target: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Squared Euclidean distance of each source vector (n, d) to each target vector (m, d)."""
    # About a common middle, so that little is lost where both lie far from 0.
    middle = source.mean(axis=0, dtype=np.float64)
    one, other = source - middle, target - middle
    found: NDArray[np.float64] = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)
    found -= 2 * one @ other.T
    return np.maximum(found, 0.0, out=found)


def coupling(
    cost: NDArray[np.float64],
    solver: Solver = "exact",
    epsilon: float = 0.1,
    normalise: bool = False,
) -> NDArray[np.float64]:
    """How mass, spread evenly over source samples, is carried to target samples at least cost.

    Parameters
    ----------
    cost : ndarray of float64, shape (n, m), >= 0
    solver : {"exact", "sinkhorn"}
        Network simplex; or Sinkhorn in the logarithmic domain, at most `ITERATIONS`.
    epsilon : float, > 0
        Weight of the entropy, in units of the cost; Sinkhorn's alone.
    normalise : bool
        Divide the cost by its maximum first: `epsilon` is a share of that then.

    Returns
    -------
    ndarray of float64, shape (n, m)
        Sums to 1. Where every plan costs the same (a constant cost), the even one: what a solver
        would return there depends on the order of samples.

    Raises
    ------
    ModelError
        Without POT, or if the plan's marginals are not even, which says that the solver did not
        get there.
    """
    if reason := unavailable():
        raise ModelError(reason)
    rows, columns = cost.shape
    if cost.min() == cost.max():
        return np.full(cost.shape, 1 / cost.size)
    scaled = cost / cost.max() if normalise else cost
    even = np.full(rows, 1 / rows), np.full(columns, 1 / columns)
    # By name, for the package has to do without it where nothing is transported.
    transport: Any = importlib.import_module("ot")
    trouble = None
    with warnings.catch_warnings():
        # What it would warn of is in the marginals, or in its log.
        warnings.simplefilter("ignore")
        if solver == "exact":
            plan, log = transport.emd(*even, scaled, numItermax=ITERATIONS[solver], log=True)
            trouble = log.get("warning")
        else:
            plan = transport.sinkhorn(
                *even,
                scaled,
                epsilon,
                method="sinkhorn_log",
                numItermax=ITERATIONS[solver],
                stopThr=_STOP,
                warn=False,
            )
    found: NDArray[np.float64] = np.array(plan, dtype=np.float64)
    _check_plan(found, solver, str(trouble or ""))
    found /= found.sum()
    return found


def _check_plan(plan: NDArray[np.float64], solver: Solver, trouble: str) -> None:
    """ModelError with the way out, if a plan does not carry everything."""
    total = float(plan.sum())
    rows, columns = plan.shape
    missed = max(
        float(np.abs(plan.sum(axis=1) - 1 / rows).sum()),
        float(np.abs(plan.sum(axis=0) - 1 / columns).sum()),
    )
    # NaN, too, is no plan.
    if abs(total - 1) <= _TOLERANCE[solver] and missed <= _TOLERANCE[solver] and not trouble:
        return
    way = (
        "take solver=sinkhorn, or fewer pixels"
        if solver == "exact"
        else "take a greater epsilon, normalise=True, or solver=exact"
    )
    raise ModelError(
        f"optimal transport by solver '{solver}' did not get there in {ITERATIONS[solver]} "
        f"iterations: the plan sums to {total:.6g} and misses {missed:.2g} of its marginals, "
        f"expected 1 and at most {_TOLERANCE[solver]:g}{f' ({trouble})' if trouble else ''}; {way}"
    )
