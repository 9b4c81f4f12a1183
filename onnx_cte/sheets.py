"""Rankings as CSV, for spreadsheets; an undefined number is an empty cell."""

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_cte.documents import null
from onnx_cte.ranking import COLUMNS, Ranking

_COLUMNS = ("status", *COLUMNS, "reason")


def ranking_csv(ranking: Ranking) -> str:
    """A row a model, those that failed last with their reason."""
    ranked = [
        {
            "status": "ranked",
            **{
                column: null(value) if isinstance(value, float) else value
                for column, value in row.items()
            },
            "undecided_with": "; ".join(row["undecided_with"]),
        }
        for row in ranking.to_rows()
    ]
    failed = [
        {"status": "failed", "model": model, "reason": reason} for model, reason in ranking.failed
    ]
    return table_csv([*_COLUMNS, *ranking.parts], [*ranked, *failed])


def images_csv(ranking: Ranking) -> str:
    """A row an image, a column a model; an empty cell where nothing could be measured."""
    images = sorted({image for score in ranking for image in score.by_image})
    rows = [
        {"image": image, **{s.model: null(s.by_image.get(image, math.nan)) for s in ranking}}
        for image in images
    ]
    return table_csv(["image", *(score.model for score in ranking)], rows)


def scores_csv(performance: Ranking, rankings: Sequence[Ranking]) -> str:
    """A row a model, in the order of performance; an empty cell where it has no score."""
    titles = Counter(ranking.title for ranking in rankings)
    columns: dict[str, Mapping[str, float]] = {performance.title: performance.values}
    for ranking in rankings:
        alone = titles[ranking.title] == 1 and ranking.title not in ("model", performance.title)
        columns[ranking.title if alone else ranking.estimator] = ranking.values
    others = {model for ranking in rankings for model in ranking.values}
    models = [*performance.values, *sorted(others - performance.values.keys())]
    rows = [
        {
            "model": model,
            **{name: null(values.get(model, math.nan)) for name, values in columns.items()},
        }
        for model in models
    ]
    return table_csv(["model", *columns], rows)


def table_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under these columns; a cell that a row has not is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
