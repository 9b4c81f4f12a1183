"""Rankings as JSON values, and back."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_cte.agreement import Agreement
from onnx_cte.errors import OutputError
from onnx_cte.ranking import Ranking, Score
from onnx_cte.separation import Separation

FORMAT = 1
"""Version of the JSON layout; raised when a reader of the old one would misread the new one."""


def ranking_to_json(ranking: Ranking) -> dict[str, Any]:
    """Return a ranking as JSON values; an undefined number is null.

    `ranking_from_json` is the way back.
    """
    return {
        "format": FORMAT,
        "estimator": ranking.estimator,
        "title": ranking.title,
        "greater_is_better": ranking.greater_is_better,
        "needs": list(ranking.needs),
        "seed": ranking.seed,
        "ranking": [
            {
                "rank": rank,
                "model": score.model,
                "score": null(score.value),
                "interval": [null(bound) for bound in score.interval],
                "rank_interval": list(score.rank_interval),
                "images": score.images,
                "empty": score.empty,
                "coverage": score.coverage,
                "foreground": null(score.foreground),
                "objects": null(score.objects),
                "undecided_with": list(ranking.undecided_with(score.model)),
                "skipped": [list(pair) for pair in score.skipped],
                "notes": list(score.notes),
                "parts": {name: null(value) for name, value in score.parts.items()},
                "by_image": {image: null(value) for image, value in score.by_image.items()},
                "agreed": {image: null(value) for image, value in score.agreed.items()},
            }
            for rank, score in enumerate(ranking, 1)
        ],
        "undecided": [list(pair) for pair in ranking.undecided],
        "sampled": ranking.sampled,
        "images_to_tell": [
            {"better": better, "worse": worse, "more_images": more}
            for better, worse, more in ranking.images_to_tell
        ],
        "separation": _separation_to_json(ranking.separation),
        "by_draw": [
            {model: null(value) for model, value in draw.items()} for draw in ranking.by_draw
        ],
        "remarks": list(ranking.remarks),
        "warnings": list(ranking.warnings),
        "failed": [list(pair) for pair in ranking.failed],
        "skipped": [list(pair) for pair in ranking.skipped],
        "provenance": dict(ranking.provenance),
    }


def ranking_from_json(document: Mapping[str, Any]) -> Ranking:
    """Turn what `ranking_to_json` returned into the ranking again.

    Raises
    ------
    OutputError
        If it is not such a document, or of a newer format.
    """
    if document.get("format") != FORMAT:
        raise OutputError(
            f"a ranking of format {document.get('format')!r}; this version reads format {FORMAT}"
        )
    try:
        return Ranking(
            scores=tuple(_score(row) for row in document["ranking"]),
            estimator=document["estimator"],
            title=document["title"],
            greater_is_better=document["greater_is_better"],
            undecided=_pairs(document["undecided"]),
            failed=_pairs(document["failed"]),
            skipped=_pairs(document["skipped"]),
            seed=document["seed"],
            provenance=document["provenance"],
            # Files of earlier versions have none of these.
            remarks=tuple(document.get("remarks", ())),
            separation=_separation(document.get("separation")),
            needs=tuple(document.get("needs", ())),
            by_draw=tuple(
                {model: _nan(value) for model, value in draw.items()}
                for draw in document.get("by_draw", ())
            ),
            sampled=document.get("sampled", 0),
            images_to_tell=tuple(
                (pair["better"], pair["worse"], pair["more_images"])
                for pair in document.get("images_to_tell", ())
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OutputError(f"a ranking with something missing or misshapen: {error!r}") from error


def _score(row: Mapping[str, Any]) -> Score:
    low, high = row["rank_interval"]
    return Score(
        model=row["model"],
        value=_nan(row["score"]),
        interval=(_nan(row["interval"][0]), _nan(row["interval"][1])),
        rank_interval=(low, high),
        images=row["images"],
        empty=row["empty"],
        coverage=row["coverage"],
        foreground=_nan(row["foreground"]),
        # Files of earlier versions have none.
        objects=_nan(row.get("objects")),
        skipped=_pairs(row["skipped"]),
        notes=tuple(row["notes"]),
        by_image={image: _nan(value) for image, value in row["by_image"].items()},
        parts={name: _nan(value) for name, value in row.get("parts", {}).items()},
        agreed={image: _nan(value) for image, value in row.get("agreed", {}).items()},
    )


def _separation_to_json(found: Separation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "spread": null(found.spread),
        "width": null(found.width),
        "ratio": null(found.ratio),
        "pairs": found.pairs,
        "decided": found.decided,
        "stability": null(found.stability),
        "draws": found.draws,
        "contrast": null(found.contrast),
    }


def _separation(document: Mapping[str, Any] | None) -> Separation | None:
    if document is None:
        return None
    return Separation(
        spread=_nan(document["spread"]),
        width=_nan(document["width"]),
        pairs=document["pairs"],
        decided=document["decided"],
        stability=_nan(document["stability"]),
        draws=document["draws"],
        contrast=_nan(document.get("contrast")),
    )


def _pairs(rows: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((first, second) for first, second in rows)


def agreement_to_json(agreement: Agreement) -> dict[str, Any]:
    """Every field, undefined numbers as null."""
    values = {name: getattr(agreement, name) for name in agreement.__dataclass_fields__}
    return {
        name: null(value) if isinstance(value, float) else value for name, value in values.items()
    }


def null(value: float) -> float | None:
    """A number for JSON, where what is not finite is null."""
    return value if math.isfinite(value) else None


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
