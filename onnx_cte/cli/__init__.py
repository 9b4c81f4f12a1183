"""The command line: parses, calls the public functions, prints; no logic of its own.

Results go to stdout, progress and complaints to stderr. Exit codes: 0 ranked; 1 an error of ours,
told in one line; 2 wrong usage; 3 ranked, but some model failed; 130 interrupted.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image as Picture

from onnx_cte.agreement import agreement
from onnx_cte.bundled import bundled_models
from onnx_cte.cli.options import (
    IMAGE_OPTIONS,
    IMAGES,
    MODEL_OPTIONS,
    MODELS,
    RUN_OPTIONS,
    images_of,
    models_of,
    out_option,
    run_keywords,
    say,
    told,
)
from onnx_cte.console import agreement_text, ranking_text
from onnx_cte.errors import unknown_name
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

DEMO_IMAGES = 24


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="onnx-cte", prog_name="onnx-cte")
def main() -> None:
    """Which pre-trained segmentation model will do best on these images? Ranked without labels."""


@main.command()
@MODELS
@IMAGES
@out_option(
    "onnx-cte-results", "Folder for ranking.json, ranking.csv, images.csv and what was measured."
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
@told
def rank(
    models: Path,
    images: str,
    out: Path,
    estimator: str,
    metric: str | None,
    perturb: Sequence[str],
    as_json: bool,
    **options: Any,
) -> int:
    """Rank MODELS on unlabelled IMAGES, most transferable first.

    MODELS is a folder of BioImage Model Zoo packages and .onnx files, IMAGES a folder or a quoted
    pattern such as 'plate7/*.tif'.
    """
    chosen: dict[str, Any] = {} if metric is None else {"metric": metric}
    if perturb:
        chosen["perturbations"] = tuple(map(parse_perturbation, perturb))
    judge = estimator_named(estimator, **chosen)
    bank, pictures = models_of(models, options), images_of(images, None, options)
    prepare_folder(out)
    ranking = rank_models(bank, pictures, judge, **run_keywords(out, options))
    write_report(ranking, out)
    if as_json:
        say(json.dumps(ranking_to_json(ranking), indent=2))
    else:
        say(ranking_text(ranking))
        say(f"\nwritten: {out / 'ranking.json'}, ranking.csv, images.csv")
    return 3 if ranking.failed else 0


@main.command()
@MODELS
@IMAGES
@click.argument("labels", type=str)
@out_option(
    "onnx-cte-evaluation",
    "Folder for evaluation.json, performance.csv, agreement.csv and what was measured.",
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
@told
def evaluate(
    models: Path,
    images: str,
    labels: str,
    out: Path,
    performance: str,
    metric: Sequence[str],
    perturb: Sequence[str],
    as_json: bool,
    **options: Any,
) -> int:
    """Score MODELS against LABELS, and say how well rankings without labels agree.

    LABELS are paired with IMAGES by file name. Confidence and entropy stand beside as baselines.
    """
    judges: list[Estimator] = [
        *(CTE(m, (parse_perturbation(p),)) for p in perturb for m in metric),
        Confidence(),
        Confidence("entropy"),
    ]
    bank, pictures = models_of(models, options), images_of(images, labels, options)
    prepare_folder(out)
    truth, *rankings = rank_each(
        bank, pictures, [Accuracy(performance), *judges], **run_keywords(out, options)
    )
    compared = [(ranking, agreement(ranking, truth)) for ranking in rankings]
    write_evaluation(truth, compared, out)
    if as_json:
        say((out / "evaluation.json").read_text(encoding="utf-8"), nl=False)
    else:
        say(f"performance against labels ({truth.title}), and what each estimator says\n")
        say(ranking_text(truth, compared))
        say(f"\nagreement with {truth.title}, of rankings that saw no labels\n")
        say(agreement_text(compared))
        say(f"\nwritten: {out / 'evaluation.json'}, performance.csv, agreement.csv")
    return 3 if truth.failed else 0


@main.command()
@out_option("onnx-cte-demo", "Folder for the simulated images, the ranking and the evaluation.")
@RUN_OPTIONS
@told
def demo(out: Path, as_json: bool, **options: Any) -> int:
    """Simulate a small target, rank the bundled models on it, and compare with the truth."""
    folders = [prepare_folder(out / kind) for kind in ("images", "labels")]
    names = []
    for name, image, labels in simulate_images(DEMO_IMAGES, options["seed"]):
        names.append(name)
        for folder, pixels in zip(folders, (image, labels.astype(np.uint16)), strict=True):
            Picture.fromarray(pixels).save(folder / f"{name}.png")
    truth, ranking = rank_each(
        open_models(bundled_models()),
        Images(*folders, only=names),
        [Accuracy(), CTE()],
        **run_keywords(out, options),
    )
    compared = [(ranking, agreement(ranking, truth))]
    write_report(ranking, out)
    write_evaluation(truth, compared, out)
    if as_json:
        say((out / "evaluation.json").read_text(encoding="utf-8"), nl=False)
    else:
        say(f"{DEMO_IMAGES} simulated images of fluorescent nuclei, ranked without labels\n")
        say(ranking_text(ranking))
        say(f"\nand, for the truth is known here, by {truth.title} against it\n")
        say(str(truth))
        say(f"\nagreement of the two\n\n{compared[0][1]}")
        say(f"\nwritten: images, labels, ranking.json and evaluation.json in {out}")
    return 3 if truth.failed else 0


@main.command("list")
@click.argument("kind", required=False)
@told
def list_names(kind: str | None) -> int:
    """Name the estimators, metrics and perturbations there are, one line each."""
    rooms: dict[str, list[list[str]]] = {
        "estimators": [[name, does] for name, does in sorted(known_estimators().items())],
        "metrics": [[name, metric.summary] for name, metric in sorted(METRICS.items())],
        "perturbations": [[name, _summary(make)] for name, make in sorted(PERTURBATIONS.items())],
    }
    if kind is not None and kind not in rooms:
        raise unknown_name("kind of thing", kind, rooms)
    tables = (
        text_table([room, ""], rooms[room], left=[0, 1]) for room in rooms if kind in (None, room)
    )
    say("\n\n".join(tables))
    return 0


def _summary(thing: Any) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0].rstrip(".")
