"""Rankings as files: JSON for machines, CSV for spreadsheets."""

import csv
import io
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_cte.agreement import Agreement
from onnx_cte.documents import FORMAT, agreement_to_json, null, ranking_from_json, ranking_to_json
from onnx_cte.errors import OutputError
from onnx_cte.ranking import Ranking

_COLUMNS = (
    "status", "rank", "model", "score", "low", "high", "rank_low", "rank_high", "images", "empty",
    "skipped", "coverage", "foreground", "objects", "undecided_with", "reason",
)  # fmt: skip


def prepare_folder(folder: str | Path) -> Path:
    """Make the folder for results, before anything is measured for it.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Path

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    path = Path(folder)
    probe = path / f".onnx-cte-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"output folder '{path}' cannot be written: {error.strerror or error}; "
            "choose another with --out"
        ) from error
    return path


def write_report(ranking: Ranking, folder: str | Path) -> None:
    """Write ``ranking.json``, ``ranking.csv`` and ``images.csv``.

    The last has a row an image and a column a model.

    Parameters
    ----------
    ranking : Ranking
    folder : str or Path
        Made if it is not there; files of the same names are replaced, whole or not at all.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    path = prepare_folder(folder)
    _replace(path / "ranking.json", _dump(ranking_to_json(ranking)))
    _replace(path / "ranking.csv", _ranking_csv(ranking))
    _replace(path / "images.csv", _images_csv(ranking))


def remove_report(folder: str | Path) -> None:
    """Remove what `write_report` wrote; OutputError if that is not allowed."""
    path = Path(folder)
    try:
        for name in ("ranking.json", "ranking.csv", "images.csv"):
            (path / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be removed: {error.strerror or error}") from error


def write_evaluation(
    performance: Ranking,
    compared: Sequence[tuple[Ranking, Agreement]],
    folder: str | Path,
    left_out: Sequence[tuple[str, str]] = (),
) -> None:
    """Write ``evaluation.json``, ``agreement.csv``, ``performance.csv`` and ``scores.csv``.

    The last has a row a model and a column an estimator, beside the performance.

    Parameters
    ----------
    performance : Ranking
        Against labels.
    compared : sequence of (Ranking, Agreement)
        Each estimator's ranking and how well it agrees with the performance.
    folder : str or Path
    left_out : sequence of (estimator, reason)
        What was asked for and could not be compared.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    path = prepare_folder(folder)
    rows = [
        {
            "estimator": ranking.estimator,
            "needs": list(ranking.needs),
            **agreement_to_json(agreement),
        }
        for ranking, agreement in compared
    ]
    document = {
        "format": FORMAT,
        "performance": ranking_to_json(performance),
        "rankings": [ranking_to_json(ranking) for ranking, _ in compared],
        "agreement": rows,
        "left_out": [list(pair) for pair in left_out],
    }
    _replace(path / "evaluation.json", _dump(document))
    _replace(path / "performance.csv", _ranking_csv(performance))
    _replace(path / "scores.csv", _scores_csv(performance, [ranking for ranking, _ in compared]))
    plain = [
        {
            **{name: value for name, value in row.items() if name != "left_out"},
            "needs": "; ".join(ranking.needs),
            "seconds": null(ranking.seconds),
        }
        for row, (ranking, _) in zip(rows, compared, strict=True)
    ]
    _replace(path / "agreement.csv", _csv(list(plain[0]) if plain else ["estimator"], plain))


def read_ranking(path: str | Path) -> Ranking:
    """Read a ``ranking.json``.

    Parameters
    ----------
    path : str or Path
        The file, or the folder that holds it.

    Returns
    -------
    Ranking

    Raises
    ------
    OutputError
        If the file is not there or is no ranking.
    """
    file = Path(path)
    if file.is_dir():
        file /= "ranking.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"'{file}' cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise OutputError(f"'{file}' is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise OutputError(f"'{file}' is no ranking: a JSON object was expected")
    return ranking_from_json(document)


def _ranking_csv(ranking: Ranking) -> str:
    ranked = [
        {
            "status": "ranked",
            "rank": rank,
            "model": score.model,
            "score": null(score.value),
            "low": null(score.interval[0]),
            "high": null(score.interval[1]),
            "rank_low": score.rank_interval[0],
            "rank_high": score.rank_interval[1],
            "images": score.images,
            "empty": score.empty,
            "skipped": len(score.skipped) + len(ranking.skipped),
            "coverage": score.coverage,
            "foreground": null(score.foreground),
            "objects": null(score.objects),
            "undecided_with": "; ".join(ranking.undecided_with(score.model)),
            **{part: null(value) for part, value in score.parts.items()},
        }
        for rank, score in enumerate(ranking, 1)
    ]
    failed = [
        {"status": "failed", "model": model, "reason": reason} for model, reason in ranking.failed
    ]
    return _csv([*_COLUMNS, *ranking.parts], [*ranked, *failed])


def _images_csv(ranking: Ranking) -> str:
    """A row an image, a column a model; an empty cell where nothing could be measured."""
    images = sorted({image for score in ranking for image in score.by_image})
    rows = [
        {"image": image, **{s.model: null(s.by_image.get(image, math.nan)) for s in ranking}}
        for image in images
    ]
    return _csv(["image", *(score.model for score in ranking)], rows)


def _scores_csv(performance: Ranking, rankings: Sequence[Ranking]) -> str:
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
    return _csv(["model", *columns], rows)


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _replace(file: Path, text: str) -> None:
    """Write beside and rename, so that a reader never sees half a file."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        # Names of files need not be text: what cannot be encoded is written as \\udcff.
        part.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"'{file}' cannot be written: {error.strerror or error}") from error
