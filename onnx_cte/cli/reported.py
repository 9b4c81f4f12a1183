"""``onnx-cte report``: a saved ranking as a page and as tables."""

from pathlib import Path

import click

from onnx_cte.cli.options import say, told
from onnx_cte.report import read_pictures, read_ranking, write_page, write_sheets


@click.command("report")
@click.argument("ranking", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for index.html, ranking.csv and images.csv. [default: that of the ranking]",
)
@told
def report_command(ranking: Path, out: Path | None) -> int:
    """Render a saved RANKING, a ranking.json or its folder, as a page (index.html) and as CSV.

    Pictures are shown if pictures.json lies beside it, as `onnx-cte rank` writes it; nothing is
    run.
    """
    found = read_ranking(ranking)
    folder = ranking if ranking.is_dir() else ranking.parent
    pictures = read_pictures(folder)
    target = folder if out is None else out
    write_sheets(found, target)
    write_page(found, target, pictures=pictures)
    beside = "" if pictures else ", without pictures, for there is no pictures.json"
    say(f"written: {target / 'index.html'}{beside}, ranking.csv, images.csv")
    return 0
