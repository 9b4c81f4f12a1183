"""The page beside a ranking, and ``onnx-cte report``: a saved ranking as a page and as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from onnx_cte.agreement import Agreement, agreement
from onnx_cte.cli.options import say, told
from onnx_cte.cli.talking import QUIET, level, verbose_option
from onnx_cte.console import told_apart
from onnx_cte.images import Images
from onnx_cte.picturing import take_pictures
from onnx_cte.ranking import Ranking
from onnx_cte.report import (
    read_evaluation,
    read_pictures,
    read_ranking,
    write_evaluation_sheets,
    write_page,
    write_pictures,
    write_sheets,
)
from onnx_cte.types import Estimator, Model

EVALUATION = "evaluation.json"


def write_shown(
    ranking: Ranking,
    out: Path,
    models: Sequence[Model],
    images: Images,
    judge: Estimator,
    options: Mapping[str, Any],
    **truth: Any,
) -> None:
    """Write a ranking's page, at once without pictures, and again when they are taken.

    Parameters
    ----------
    ranking : Ranking
    out : Path
    models, images, judge
        What the ranking was made of.
    options : mapping
        ``pictures``, ``device`` and ``jobs``.
    **truth
        ``performance`` and ``compared``, as of `write_page`.
    """
    write_pictures((), out)  # those of an earlier run
    write_page(ranking, out, **truth)
    pictures = take_pictures(
        ranking,
        models,
        images,
        judge,
        count=options["pictures"],
        device=options["device"],
        jobs=options["jobs"],
        progress=level() > QUIET,
    )
    if pictures:
        write_pictures(pictures, out)
        write_page(ranking, out, pictures=pictures, **truth)


@click.command("report")
@click.argument("ranking", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for index.html and the tables. [default: that of the ranking]",
)
@verbose_option
@told
def report_command(ranking: Path, out: Path | None) -> int:
    """Render a saved RANKING as a page (index.html) and as CSV.

    RANKING is a ranking.json, an evaluation.json, or a folder that holds one; the tables are those
    that rank or evaluate wrote. Nothing is run: pictures are shown if pictures.json lies beside it.
    """
    folder = ranking if ranking.is_dir() else ranking.parent
    file = ranking
    if ranking.is_dir():
        lone = (ranking / EVALUATION).exists() and not (ranking / "ranking.json").exists()
        file = ranking / (EVALUATION if lone else "ranking.json")
    pictures = read_pictures(folder)
    target = folder if out is None else out
    written = ["index.html"]
    if file.name == EVALUATION:
        performance, compared = _evaluated(file)
        write_evaluation_sheets(performance, compared, target)
        named = told_apart(compared)
        shown = next((one for one, _ in named if one.scores), performance)
        write_page(shown, target, pictures=pictures, performance=performance, compared=named)
        written += ["performance.csv", "scores.csv", "agreement.csv"]
    else:
        found = read_ranking(file)
        write_sheets(found, target)
        write_page(found, target, pictures=pictures)
        written += ["ranking.csv", "images.csv"]
    beside = "" if pictures else "; without pictures, for there is no pictures.json"
    say(f"written: {target / written[0]}{''.join(f', {name}' for name in written[1:])}{beside}")
    return 0


def _evaluated(file: Path) -> tuple[Ranking, list[tuple[Ranking, Agreement]]]:
    """The performance of an evaluation, and each ranking with its agreement."""
    performance, rankings = read_evaluation(file)
    return performance, [(one, agreement(one, performance)) for one in rankings]
