"""Evaluations as files: performance, rankings beside it, and how well they agree."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnx_cte.agreement import Agreement
from onnx_cte.documents import FORMAT, agreement_to_json, null, ranking_from_json, ranking_to_json
from onnx_cte.errors import OutputError
from onnx_cte.ranking import Ranking
from onnx_cte.sheets import ranking_csv, scores_csv, table_csv
from onnx_cte.writing import json_text, prepare_folder, read_document, replace_file


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

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> steep = oc.BlackBox("steep", lambda tensor: (9 * tensor - 4).clip(0, 1))
    >>> labelled = oc.Images.from_arrays(discs, truth=[disc > 0.5 for disc in discs])
    >>> ranking, truth = oc.rank_each([steep], labelled, [oc.CTE(), oc.Accuracy()])
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     oc.write_evaluation(truth, [(ranking, oc.agreement(ranking, truth))], folder)
    ...     print(*sorted(file.name for file in Path(folder).iterdir()))
    agreement.csv evaluation.json performance.csv scores.csv
    """
    path = prepare_folder(folder)
    document = {
        "format": FORMAT,
        "performance": ranking_to_json(performance),
        "rankings": [ranking_to_json(ranking) for ranking, _ in compared],
        "agreement": _agreement_rows(compared),
        "left_out": [list(pair) for pair in left_out],
    }
    replace_file(path / "evaluation.json", json_text(document))
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
    plain = [
        {
            **{name: value for name, value in row.items() if name != "left_out"},
            "needs": "; ".join(ranking.needs),
            "seconds": null(ranking.seconds),
        }
        for row, (ranking, _) in zip(_agreement_rows(compared), compared, strict=True)
    ]
    replace_file(
        path / "agreement.csv", table_csv(list(plain[0]) if plain else ["estimator"], plain)
    )


def _agreement_rows(compared: Sequence[tuple[Ranking, Agreement]]) -> list[dict[str, Any]]:
    return [
        {
            "estimator": ranking.estimator,
            "needs": list(ranking.needs),
            **agreement_to_json(agreement),
        }
        for ranking, agreement in compared
    ]


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
    document = read_document(Path(path), "evaluation")
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
