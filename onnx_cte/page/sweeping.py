"""A sweep, as the provenance of a ranking keeps it, for a page."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx_cte.page.scales import scale_of
from onnx_cte.tables import number


@dataclass(frozen=True, slots=True)
class Candidate:
    """One perturbation that was tried; `width` is the bar of its contrast in percent."""

    name: str
    chosen: bool
    held: str
    contrast: str
    width: float
    apart: str
    stability: str
    tolerable: bool


@dataclass(frozen=True, slots=True)
class Swept:
    """A sweep: what was tried, on how many images, and why one was taken."""

    candidates: tuple[Candidate, ...]
    images: int
    metric: str
    reason: str
    left_out: tuple[tuple[str, str], ...]


def swept_of(document: Any) -> Swept | None:
    """Read a sweep out of JSON values.

    Parameters
    ----------
    document : JSON values or None
        As `onnx_cte.sweep.Sweep.to_json` gives them.

    Returns
    -------
    Swept or None
        None where no sweep ran, or where the values are none of a sweep's.
    """
    if not isinstance(document, Mapping) or not document.get("rows"):
        return None
    rows = document["rows"]
    scale = scale_of([0, *(_nan(row.get("contrast")) for row in rows)])
    candidates = tuple(
        Candidate(
            name=str(row.get("perturbation", "")),
            chosen=row.get("perturbation") == document.get("chosen"),
            held=number(_nan(row.get("held"))),
            contrast=number(contrast, 1),
            width=scale.at(contrast) if math.isfinite(contrast) else 0.0,
            apart=f"{row.get('decided', '-')} of {row.get('pairs', '-')}",
            stability=number(_nan(row.get("stability")), 2),
            tolerable=bool(row.get("tolerable")),
        )
        for row in rows
        for contrast in (_nan(row.get("contrast")),)
    )
    return Swept(
        candidates=candidates,
        images=len(document.get("images", ())),
        metric=str(document.get("metric", "")),
        reason=str(document.get("reason", "")),
        left_out=tuple((str(name), str(why)) for name, why in document.get("left_out", ())),
    )


def _nan(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
