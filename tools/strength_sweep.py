"""How the strength of a perturbation matters to CTE: tau and scores at each of several."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bank_runs import Run
from target_numbers import numbers

from onnx_cte.documents import null


def strengths_numbers(
    runs: Sequence[Run], strengths: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """Tau and median score at every strength, on every target.

    Parameters
    ----------
    runs : sequence of Run
        One a target; their rankings are by the strengths in turn, as `judges_of` has them.
    strengths : mapping of str to sequence of float
        By perturbation.

    Returns
    -------
    dict
        ``metric`` of CTE; ``strengths``; and by target and perturbation ``tau``, of all models,
        and ``score``, the median of the models that have one: lists, null where undefined.

    Raises
    ------
    ValueError
        If a run has other rankings than one a strength.
    """
    asked = [(kind, value) for kind, values in strengths.items() for value in values]
    targets: dict[str, Any] = {}
    metric = ""
    for run in runs:
        found: dict[str, Any] = {kind: {"tau": [], "score": []} for kind in strengths}
        for (kind, value), ranking in zip(asked, run.rankings, strict=True):
            name, metric, told = ranking.title.split(maxsplit=2)
            if told != f"{kind}={value:g}":
                raise ValueError(
                    f"{run.target}: '{ranking.title}' is not {name} at {kind}={value:g}"
                )
            defined = [score for score in ranking.values.values() if math.isfinite(score)]
            found[kind]["tau"].append(null(numbers(ranking, run.truth).tau))
            found[kind]["score"].append(median(defined) if defined else None)
        targets[run.target] = found
    return {
        "metric": metric,
        "strengths": {kind: list(values) for kind, values in strengths.items()},
        "targets": targets,
    }
