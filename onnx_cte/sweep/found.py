"""What a sweep found, as text and as JSON values."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from onnx_cte.estimators import CTE
from onnx_cte.ranking import Ranking
from onnx_cte.sweep.rule import TIE, WINDOW, SweepRow
from onnx_cte.tables import number, text_table


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep measured, and what it chose.

    Attributes
    ----------
    metric : str
        The consistency metric.
    images : tuple of str
        Names of the images it was measured on.
    rows : tuple of SweepRow
        In the order of the candidates.
    chosen : str
        Name of the perturbation that was chosen.
    reason : str
        The choice and why, as a sentence.
    left_out : tuple of (perturbation, reason)
        Candidates that some model refuses although it can offer others.
    estimator : CTE
        To rank with.
    """

    metric: str
    images: tuple[str, ...]
    rows: tuple[SweepRow, ...]
    chosen: str
    reason: str
    left_out: tuple[tuple[str, str], ...]
    estimator: CTE

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; a number that is undefined or infinite is null."""
        return {
            "metric": self.metric,
            "images": list(self.images),
            "window": list(WINDOW),
            "tie": TIE,
            "rows": [
                {
                    **{name: _finite_or_null(value) for name, value in asdict(row).items()},
                    "tolerable": row.tolerable,
                }
                for row in self.rows
            ],
            "chosen": self.chosen,
            "reason": self.reason,
            "left_out": [list(pair) for pair in self.left_out],
            "estimator": repr(self.estimator),
        }

    def noted_in(self, ranking: Ranking) -> Ranking:
        """The ranking, with this sweep in its provenance as ``sweep``."""
        return replace(ranking, provenance={**ranking.provenance, "sweep": self.to_json()})

    def __str__(self) -> str:
        head = [
            "",
            "perturbation",
            "held",
            "median",
            "spread",
            "contrast",
            "told apart",
            "draws' tau",
        ]
        rows = [
            [
                "->" if row.perturbation == self.chosen else "",
                row.perturbation,
                number(row.held),
                number(row.median),
                number(row.spread),
                number(row.contrast, 1),
                f"{row.decided} of {row.pairs}",
                number(row.stability, 2),
                "yes" if row.tolerable else "no",
            ]
            for row in self.rows
        ]
        table = text_table([*head, "tolerable"], rows, left=[0, 1, 8])
        count = "1 image" if len(self.images) == 1 else f"{len(self.images)} images"
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.left_out:
            by_reason.setdefault(reason, []).append(name)
        lines = [f"sweep of {len(self.rows)} perturbations on {count}, cte {self.metric}", table]
        lines += [f"left out: {', '.join(names)} ({why})" for why, names in by_reason.items()]
        return "\n".join([*lines, f"chosen without labels: {self.reason}"])


def _finite_or_null(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
