"""The page beside a ranking, and ``onnx-cte report``: what is saved as text, page and tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from onnx_cte.agreement import agreement
from onnx_cte.cli.nearby import suggesting
from onnx_cte.cli.options import say, told
from onnx_cte.cli.talking import QUIET, level, quiet_option, remark, verbose_option
from onnx_cte.console import Compared, agreement_text, evaluation_text, ranking_text, told_apart
from onnx_cte.documents import ranking_to_json
from onnx_cte.errors import OutputError
from onnx_cte.evaluations import read_evaluation, write_evaluation_sheets
from onnx_cte.images import Images
from onnx_cte.picturing import take_pictures
from onnx_cte.ranking import Ranking
from onnx_cte.report import (
    read_pictures,
    read_ranking,
    write_page,
    write_pictures,
    write_sheets,
)
from onnx_cte.types import Estimator, Model

EVALUATION, RANKING = "evaluation.json", "ranking.json"
EVALUATION_SHEETS = ("performance.csv", "agreement.csv", "scores.csv")
RANKING_SHEETS = ("ranking.csv", "images.csv")

Evaluation = tuple[Ranking, tuple[Ranking, ...], tuple[tuple[str, str], ...]]
"""Performance, rankings, and what was left out with the reason."""


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


def tell_evaluation(
    performance: Ranking,
    compared: Sequence[Compared],
    left_out: Sequence[tuple[str, str]],
) -> None:
    """Print performance, what estimators say beside it, and how well they agree with it."""
    say(evaluation_text(performance, compared))
    unlabelled = all(not ranking.needs for ranking, _ in compared)
    which = "of rankings that saw no labels" if unlabelled else "by what each ranking needs"
    say(f"\nagreement with {performance.title}, {which}\n")
    say(agreement_text(compared, left_out))


@click.command("report", short_help="Show a saved ranking or evaluation again.")
@click.argument("ranking", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for index.html and the tables. [default: that of the ranking]",
)
@quiet_option("What was ranked and errors alone, not what was written where.")
@verbose_option("Where something fails, also tell where the error arose.")
@told
def report_command(ranking: Path, out: Path | None) -> int:
    """Show a saved RANKING again: what was printed, the page (index.html), and the CSV tables.

    RANKING is a ranking.json, an evaluation.json, or a folder that holds one, or both where they
    are of the same run. Nothing is run: pictures are shown if pictures.json lies beside it.
    """
    folder = ranking if ranking.is_dir() else ranking.parent
    with suggesting(ranking):
        rankings, evaluation = _saved(ranking)
    pictures = read_pictures(folder)
    target = folder if out is None else out
    written: list[str] = []
    truth: dict[str, Any] = {}
    for one in rankings:
        write_sheets(one, target)
        written += RANKING_SHEETS
        say(ranking_text(one))
    if evaluation is not None:
        performance, judged, left_out = evaluation
        compared = [(one, agreement(one, performance)) for one in judged]
        write_evaluation_sheets(performance, compared, target)
        written += EVALUATION_SHEETS
        say("\n" * len(rankings), nl=False)
        tell_evaluation(performance, compared, left_out)
        named = told_apart(compared)
        truth = {"performance": performance, "compared": named}
        rankings = [*(one for one, _ in named if one.scores), performance]
    write_page(rankings[0], target, pictures=pictures, **truth)
    beside = "" if pictures else "; without pictures, for there is no pictures.json"
    remark(f"\nwritten: {', '.join([str(target / 'index.html'), *written])}{beside}")
    return 0


def _saved(place: Path) -> tuple[list[Ranking], Evaluation | None]:
    """The ranking, if any, and the evaluation of a file or folder; not both where they differ.

    A ranking that is not among those of the evaluation is of another run: the page shows either.
    """
    if not place.is_dir():
        if place.name == EVALUATION:
            return [], read_evaluation(place)
        return [read_ranking(place)], None
    file = place / EVALUATION
    if not (place / RANKING).exists():
        if not file.exists():
            raise OutputError(
                f"'{place}' holds neither {RANKING} nor {EVALUATION}: name the folder that "
                "`onnx-cte rank` or `onnx-cte evaluate` wrote (its --out)"
            )
        return [], read_evaluation(file)
    found = read_ranking(place)
    if not file.exists():
        return [found], None
    evaluation, known = read_evaluation(file), ranking_to_json(found)
    together = any(ranking_to_json(one) == known for one in evaluation[1])
    return [found], evaluation if together else None
