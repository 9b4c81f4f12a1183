"""Rankings as files: JSON for machines, CSV for spreadsheets, a page to look at."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_cte.agreement import Agreement
from onnx_cte.documents import FORMAT, agreement_to_json, ranking_from_json, ranking_to_json
from onnx_cte.errors import OutputError
from onnx_cte.page import page_of
from onnx_cte.pictures import Picture, pictures_from_json, pictures_to_json
from onnx_cte.ranking import Ranking
from onnx_cte.sheets import agreement_csv, images_csv, ranking_csv, scores_csv
from onnx_cte.writing import beside_ranking, prepare_folder, remove_files, replace_file

PICTURES = "pictures.json"


def write_report(ranking: Ranking, folder: str | Path) -> None:
    """Write ``ranking.json``, ``ranking.csv``, ``images.csv`` and ``index.html``, in this order.

    Parameters
    ----------
    ranking : Ranking
    folder : str or Path
        Made if it is not there; files of the same names are replaced, whole or not at all.

    Raises
    ------
    OutputError
        If the folder cannot be written. What was written before stays: on a disk that fills up the
        ranking is safe, and ``onnx-cte report`` writes the others once there is room.

    See Also
    --------
    write_page : The page with pictures, and with performance against labels.
    """
    write_tables(ranking, folder)
    write_page(ranking, folder)


def write_tables(ranking: Ranking, folder: str | Path) -> None:
    """Write ``ranking.json``, ``ranking.csv`` and ``images.csv``, in this order.

    Parameters
    ----------
    ranking : Ranking
    folder : str or Path
        As in `write_report`.

    Raises
    ------
    OutputError
        As in `write_report`.
    """
    path = prepare_folder(folder)
    replace_file(path / "ranking.json", _dump(ranking_to_json(ranking)))
    write_sheets(ranking, path)


def write_sheets(ranking: Ranking, folder: str | Path) -> None:
    """Write ``ranking.csv`` and ``images.csv``.

    The last has a row an image and a column a model.

    Parameters
    ----------
    ranking : Ranking
    folder : str or Path
        As in `write_report`.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    path = prepare_folder(folder)
    with beside_ranking(path):
        replace_file(path / "ranking.csv", ranking_csv(ranking))
        replace_file(path / "images.csv", images_csv(ranking))


def write_page(
    ranking: Ranking,
    folder: str | Path,
    *,
    pictures: Sequence[Picture] = (),
    performance: Ranking | None = None,
    compared: Sequence[tuple[Ranking, Agreement]] = (),
) -> None:
    """Write ``index.html``: a ranking as a page to look at, which fetches nothing from anywhere.

    Which model to take and how sure that is; the ranking as a picture; `pictures`; score against
    performance; the sweep, where one ran; what was skipped or failed; how to repeat the run.

    Parameters
    ----------
    ranking : Ranking
    folder : str or Path
        As in `write_report`.
    pictures : sequence of Picture
        As `take_pictures` gives them.
    performance : Ranking or None
        Against labels, where there are any.
    compared : sequence of (Ranking, Agreement)
        Rankings to hold against the performance, `ranking` among them.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    path = prepare_folder(folder)
    page = page_of(ranking, performance=performance, compared=compared, pictures=pictures)
    with beside_ranking(path):
        replace_file(path / "index.html", page)


def write_pictures(pictures: Sequence[Picture], folder: str | Path) -> None:
    """Write ``pictures.json``, with which ``onnx-cte report`` makes the page again.

    Parameters
    ----------
    pictures : sequence of Picture
        Of none, a file of an earlier run is removed.
    folder : str or Path
        As in `write_report`.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    path = prepare_folder(folder)
    if pictures:
        with beside_ranking(path):
            replace_file(path / PICTURES, _dump(pictures_to_json(pictures)))
    else:
        remove_files(path, PICTURES)


def read_pictures(folder: str | Path) -> tuple[Picture, ...]:
    """Read the ``pictures.json`` of a folder.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    tuple of Picture
        None if there is no such file.

    Raises
    ------
    OutputError
        If the file cannot be read, or holds no pictures.
    """
    file = Path(folder) / PICTURES
    if not file.exists():
        return ()
    try:
        return pictures_from_json(_document(file, "pictures"))
    except OutputError as error:
        raise OutputError(f"{error}; without '{file}', the page has no pictures") from error


def remove_report(folder: str | Path) -> None:
    """Remove what `write_report` and `write_pictures` wrote; OutputError if it is not allowed."""
    remove_files(Path(folder), "ranking.json", "ranking.csv", "images.csv", "index.html", PICTURES)


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
    document = {
        "format": FORMAT,
        "performance": ranking_to_json(performance),
        "rankings": [ranking_to_json(ranking) for ranking, _ in compared],
        "agreement": _agreement_rows(compared),
        "left_out": [list(pair) for pair in left_out],
    }
    replace_file(path / "evaluation.json", _dump(document))
    write_evaluation_sheets(performance, compared, path)


def write_evaluation_sheets(
    performance: Ranking, compared: Sequence[tuple[Ranking, Agreement]], folder: str | Path
) -> None:
    """Write ``performance.csv``, ``scores.csv`` and ``agreement.csv``.

    Parameters
    ----------
    performance, compared, folder
        As of `write_evaluation`.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    path = prepare_folder(folder)
    replace_file(path / "performance.csv", ranking_csv(performance))
    replace_file(path / "scores.csv", scores_csv(performance, [ranking for ranking, _ in compared]))
    replace_file(path / "agreement.csv", agreement_csv(compared))


def _agreement_rows(compared: Sequence[tuple[Ranking, Agreement]]) -> list[dict[str, Any]]:
    return [
        {
            "estimator": ranking.estimator,
            "needs": list(ranking.needs),
            **agreement_to_json(agreement),
        }
        for ranking, agreement in compared
    ]


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
    return ranking_from_json(_document(file, "ranking"))


def read_evaluation(
    path: str | Path,
) -> tuple[Ranking, tuple[Ranking, ...], tuple[tuple[str, str], ...]]:
    """Read an ``evaluation.json``.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    performance : Ranking
        Against labels.
    rankings : tuple of Ranking
        By estimators.
    left_out : tuple of (estimator, reason)
        What was asked for and could not be compared.

    Raises
    ------
    OutputError
        If the file is not there or is no evaluation.
    """
    document = _document(Path(path), "evaluation")
    try:
        performance, rankings = document["performance"], document["rankings"]
        return (
            ranking_from_json(performance),
            tuple(map(ranking_from_json, rankings)),
            tuple((name, reason) for name, reason in document.get("left_out", ())),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"'{path}' is no evaluation, something is missing or misshapen: {error!r}"
        ) from error


def _document(file: Path, kind: str) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"'{file}' cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise OutputError(f"'{file}' is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise OutputError(f"'{file}' is no {kind}: a JSON object was expected")
    return document


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
