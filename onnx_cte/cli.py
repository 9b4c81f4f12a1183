"""The command line: parses, calls the public functions, prints; no logic of its own.

Results go to stdout, progress and complaints to stderr. Exit codes: 0 ranked; 1 an error of ours,
told in one line; 2 wrong usage; 3 ranked, but some model failed; 130 interrupted.
"""

import functools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

import click
import numpy as np
from PIL import Image as Picture

from onnx_cte.agreement import agreement
from onnx_cte.bundled import bundled_models
from onnx_cte.console import agreement_text, ranking_text
from onnx_cte.errors import CTEError, OptionError, unknown_name
from onnx_cte.estimators import CTE, Accuracy, Confidence, estimator_named, known_estimators
from onnx_cte.images import Images
from onnx_cte.metrics import METRICS
from onnx_cte.perturbations import PERTURBATIONS, parse_perturbation
from onnx_cte.report import prepare_folder, ranking_to_json, write_evaluation, write_report
from onnx_cte.runner import rank as rank_models
from onnx_cte.runner import rank_each
from onnx_cte.segmenters import open_models
from onnx_cte.simulation import simulate_images
from onnx_cte.tables import text_table
from onnx_cte.types import Estimator

P = ParamSpec("P")
EVIDENCE = "evidence.sqlite"
DEMO_IMAGES, DEMO_SEED = 24, 0


def _told(command: Callable[P, int]) -> Callable[P, None]:
    """Turn our errors into one line and an exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except OptionError as error:
            click.echo(f"onnx-cte: {error}", err=True)
            code = 2
        except CTEError as error:
            click.echo(f"onnx-cte: {error}", err=True)
            code = 1
        except KeyboardInterrupt:
            click.echo(
                "\nonnx-cte: interrupted; what was measured is kept, and the same command goes on "
                "from there",
                err=True,
            )
            code = 130
        sys.exit(code)

    return guarded


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several click options as one decorator, shown in this order."""
    return lambda command: functools.reduce(lambda f, option: option(f), reversed(options), command)


MODELS = click.argument("models", type=click.Path(path_type=Path))
IMAGES = click.argument("images", type=str)
MODEL_OPTIONS = _options(
    click.option(
        "--normalize",
        type=click.Choice(["percentile", "zscore", "minmax", "none"]),
        help="How models without a description want images. [default: percentile]",
    ),
    click.option(
        "--foreground",
        type=int,
        metavar="CHANNEL",
        help="Output channel to judge, from 0, of models without a description.",
    ),
    click.option("--threshold", type=float, help="Foreground probability. [default: 0.5]"),
)
IMAGE_OPTIONS = _options(
    click.option("--axes", help="Axes of the image files, as zcyx, where the files do not say."),
    click.option("--channel", type=int, help="Use this channel of the images, from 0."),
    click.option("--limit", type=int, help="Only the first so many images."),
    click.option(
        "--only",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Only the images named in this file, one a line.",
    ),
)
RUN_OPTIONS = _options(
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="What runs the models; cuda is an error where it does not work.",
    ),
    click.option("--jobs", type=int, help="CPU threads. [default: all cores]"),
    click.option("--seed", type=int, default=0, show_default=True, help="Of all random draws."),
    click.option("--strict", is_flag=True, help="Stop at the first model or image that fails."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables."),
)


@dataclass(frozen=True)
class _Run:
    """Options that only pass through."""

    device: Any
    jobs: int | None
    seed: int
    strict: bool

    def keywords(self, out: Path) -> dict[str, Any]:
        return {
            "device": self.device,
            "jobs": self.jobs,
            "seed": self.seed,
            "strict": self.strict,
            "evidence": out / EVIDENCE,
            "progress": True,
        }


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="onnx-cte")
def main() -> None:
    """Which pre-trained segmentation model will do best on these images? Ranked without labels."""


@main.command()
@MODELS
@IMAGES
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("onnx-cte-results"),
    show_default=True,
    help="Folder for ranking.json, ranking.csv and what was measured.",
)
@click.option("--estimator", default="cte", show_default=True, help="See `onnx-cte list`.")
@click.option("--metric", help="Of the estimator cte: nhd or ei. [default: nhd]")
@click.option(
    "--perturb",
    multiple=True,
    metavar="NAME=VALUE",
    help="As noise=0.1 or gamma=1.1..1.2; several are averaged. [default: noise=0.1]",
)
@MODEL_OPTIONS
@IMAGE_OPTIONS
@RUN_OPTIONS
@_told
def rank(
    models: Path,
    images: str,
    out: Path,
    estimator: str,
    metric: str | None,
    perturb: Sequence[str],
    normalize: str | None,
    foreground: int | None,
    threshold: float | None,
    axes: str | None,
    channel: int | None,
    limit: int | None,
    only: Path | None,
    device: str,
    jobs: int | None,
    seed: int,
    strict: bool,
    as_json: bool,
) -> int:
    """Rank MODELS on unlabelled IMAGES, most transferable first.

    MODELS is a folder of BioImage Model Zoo packages and .onnx files, IMAGES a folder or a quoted
    pattern such as 'plate7/*.tif'.
    """
    options: dict[str, Any] = {} if metric is None else {"metric": metric}
    if perturb:
        options["perturbations"] = tuple(map(parse_perturbation, perturb))
    judge = estimator_named(estimator, **options)
    bank = open_models(models, normalize=normalize, foreground=foreground, threshold=threshold)
    pictures = Images(images, axes=axes, channel=channel, limit=limit, only=_names(only))
    prepare_folder(out)
    run = _Run(device, jobs, seed, strict)
    ranking = rank_models(bank, pictures, judge, **run.keywords(out))
    write_report(ranking, out)
    if as_json:
        click.echo(json.dumps(ranking_to_json(ranking), indent=2))
    else:
        click.echo(ranking_text(ranking))
        click.echo(f"\nwritten: {out / 'ranking.json'}, {out / 'ranking.csv'}")
    return 3 if ranking.failed else 0


@main.command()
@MODELS
@IMAGES
@click.argument("labels", type=str)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("onnx-cte-evaluation"),
    show_default=True,
    help="Folder for evaluation.json, performance.csv, agreement.csv and what was measured.",
)
@click.option("--performance", default="f1", show_default=True, help="Metric against labels.")
@click.option(
    "--metric",
    multiple=True,
    default=("nhd", "ei"),
    show_default=True,
    help="Of the estimator cte.",
)
@click.option(
    "--perturb",
    multiple=True,
    default=("noise=0.1", "gamma=1.1..1.2"),
    show_default=True,
    metavar="NAME=VALUE",
    help="Each, with each metric, is an estimator of its own.",
)
@MODEL_OPTIONS
@IMAGE_OPTIONS
@RUN_OPTIONS
@_told
def evaluate(
    models: Path,
    images: str,
    labels: str,
    out: Path,
    performance: str,
    metric: Sequence[str],
    perturb: Sequence[str],
    normalize: str | None,
    foreground: int | None,
    threshold: float | None,
    axes: str | None,
    channel: int | None,
    limit: int | None,
    only: Path | None,
    device: str,
    jobs: int | None,
    seed: int,
    strict: bool,
    as_json: bool,
) -> int:
    """Score MODELS against LABELS, and say how well rankings without labels agree.

    LABELS are paired with IMAGES by file name. Confidence and entropy stand beside as baselines.
    """
    judges: list[Estimator] = [
        *(CTE(m, (parse_perturbation(p),)) for p in perturb for m in metric),
        Confidence(),
        Confidence("entropy"),
    ]
    bank = open_models(models, normalize=normalize, foreground=foreground, threshold=threshold)
    pictures = Images(images, labels, axes=axes, channel=channel, limit=limit, only=_names(only))
    prepare_folder(out)
    run = _Run(device, jobs, seed, strict)
    truth, *rankings = rank_each(
        bank, pictures, [Accuracy(performance), *judges], **run.keywords(out)
    )
    compared = [(ranking, agreement(ranking, truth)) for ranking in rankings]
    write_evaluation(truth, compared, out)
    if as_json:
        click.echo((out / "evaluation.json").read_text(encoding="utf-8"))
    else:
        click.echo(f"performance ({truth.title}) against labels\n")
        click.echo(ranking_text(truth, compared))
        click.echo("\nagreement of rankings without labels with this performance\n")
        click.echo(agreement_text(compared))
        click.echo(f"\nwritten: {out / 'evaluation.json'}, performance.csv, agreement.csv")
    return 3 if truth.failed else 0


@main.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("onnx-cte-demo"),
    show_default=True,
    help="Folder for the simulated images, the ranking and the evaluation.",
)
@RUN_OPTIONS
@_told
def demo(out: Path, device: str, jobs: int | None, seed: int, strict: bool, as_json: bool) -> int:
    """Simulate a small target, rank the bundled models on it, and compare with the truth."""
    prepare_folder(out / "images")
    prepare_folder(out / "labels")
    for name, image, labels in simulate_images(DEMO_IMAGES, seed):
        Picture.fromarray(image).save(out / "images" / f"{name}.png")
        Picture.fromarray(labels.astype(np.uint16)).save(out / "labels" / f"{name}.png")
    run = _Run(device, jobs, seed, strict)
    truth, ranking = rank_each(
        open_models(bundled_models()),
        Images(out / "images", out / "labels"),
        [Accuracy(), CTE()],
        **run.keywords(out),
    )
    compared = [(ranking, agreement(ranking, truth))]
    write_report(ranking, out)
    write_evaluation(truth, compared, out)
    if as_json:
        click.echo((out / "evaluation.json").read_text(encoding="utf-8"))
    else:
        click.echo(
            f"{DEMO_IMAGES} simulated images of fluorescent nuclei; ranked without labels:\n"
        )
        click.echo(ranking_text(ranking))
        click.echo("\nand, the labels being known here, the true F1:\n")
        click.echo(str(truth))
        click.echo(f"\n{compared[0][1]}")
        click.echo(f"\nwritten: {out} (images, labels, ranking.json, evaluation.json)")
    return 3 if truth.failed else 0


@main.command("list")
@click.argument("kind", required=False)
@_told
def list_names(kind: str | None) -> int:
    """Name the estimators, metrics and perturbations there are, one line each."""
    rooms: dict[str, list[list[str]]] = {
        "estimators": [[name, made.summary] for name, made in sorted(known_estimators().items())],
        "metrics": [[name, metric.summary] for name, metric in sorted(METRICS.items())],
        "perturbations": [
            [name, _first_line(make)] for name, make in sorted(PERTURBATIONS.items())
        ],
    }
    if kind is not None and kind not in rooms:
        raise unknown_name("kind of thing", kind, rooms)
    for room in rooms if kind is None else [kind]:
        click.echo(text_table([room, ""], rooms[room], left=[0, 1]) + "\n")
    return 0


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0]


def _names(only: Path | None) -> list[str] | None:
    if only is None:
        return None
    lines = only.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


if __name__ == "__main__":
    main()
