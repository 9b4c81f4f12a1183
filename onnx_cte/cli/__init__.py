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

from onnx_cte.agreement import agreement
from onnx_cte.bundled import bundled_models
from onnx_cte.cli.completion import completion_command
from onnx_cte.cli.config import CONFIG
from onnx_cte.cli.evaluated import evaluate_command
from onnx_cte.cli.examined import doctor_command
from onnx_cte.cli.graphs import inspect_command, mask_command, split_command
from onnx_cte.cli.judges import refuse_several
from onnx_cte.cli.listed import list_command
from onnx_cte.cli.options import (
    AT,
    DRAWS,
    IMAGE_OPTIONS,
    IMAGES,
    MODEL_OPTIONS,
    MODELS,
    PICTURES,
    RUN_OPTIONS,
    check_at,
    check_decoder,
    given,
    images_of,
    models_of,
    out_option,
    quick_look,
    run_keywords,
    say,
    tell_understood,
    told,
    trial_keywords,
)
from onnx_cte.cli.packaged import package_command
from onnx_cte.cli.planned import DRY_RUN, tell_plans
from onnx_cte.cli.predicted import predict_command
from onnx_cte.cli.remembered import Remembering, noted
from onnx_cte.cli.reported import report_command, write_shown
from onnx_cte.cli.swept import as_swept, asks_for_sweep, plan_sweep, tell_sweeps
from onnx_cte.cli.talking import choose_colours, remark, talk_options
from onnx_cte.cli.version import VERSION
from onnx_cte.console import ranking_text, told_needs
from onnx_cte.documents import ranking_to_json
from onnx_cte.errors import NothingToRank, OptionError
from onnx_cte.estimators import CTE, Accuracy, Credibility, parse_estimator
from onnx_cte.evaluations import write_evaluation
from onnx_cte.images import Images
from onnx_cte.needs import InputPerturbation, disturbs_input
from onnx_cte.perturbations import parse_perturbation
from onnx_cte.planning import plan
from onnx_cte.ranking import Ranking
from onnx_cte.report import (
    remove_report,
    write_tables,
)
from onnx_cte.runner import rank_each
from onnx_cte.segmenters import open_models
from onnx_cte.simulation import simulate_images
from onnx_cte.sweep import CANDIDATES, sweep
from onnx_cte.types import Estimator
from onnx_cte.writing import prepare_folder

SECOND = "without-bottleneck"
DEMO_IMAGES = 24


@click.group(cls=Remembering, context_settings={"help_option_names": ["-h", "--help"]})
@VERSION
@click.pass_context
def main(context: click.Context) -> None:
    """Which pre-trained segmentation model will do best on these images? Ranked without labels."""
    choose_colours(context)


@main.command(short_help="Rank models on unlabelled images, most transferable first.")
@MODELS
@IMAGES
@out_option(
    "onnx-cte-results",
    "Folder for index.html, ranking.json, ranking.csv, images.csv, and what was measured.",
)
@click.option(
    "--estimator",
    default="credibility",
    show_default=True,
    metavar="NAME[:OPTION=VALUE...]",
    help="One that needs neither labels nor source images, as cte; see `onnx-cte list estimators`.",
)
@click.option(
    "--metric",
    help="Of consistency, in credibility and cte: nhd or ei of the foreground, rand_fscore of "
    "objects. [default: nhd]",
)
@click.option(
    "--perturb",
    multiple=True,
    metavar="NAME=VALUE",
    help="As noise=0.1, gamma=1.1..1.2 or dropout=0.2@decoder; several are averaged. auto, alone: "
    "choose a dropout by a sweep over a sample of the images. [default: noise=0.1 and "
    "gamma=1.1..1.2; of cte noise=0.1]",
)
@DRAWS
@click.option(
    "--without-bottleneck",
    "fallback",
    metavar="NAME=VALUE",
    help="If some models cannot be disturbed where --perturb says, also rank ALL models by this "
    "input perturbation, in a second ranking of its own; scores of different perturbations are "
    "never mixed.",
)
@MODEL_OPTIONS
@AT
@IMAGE_OPTIONS
@PICTURES
@RUN_OPTIONS
@DRY_RUN
@CONFIG
@talk_options
@told
def rank(
    models: Path,
    images: str,
    out: Path,
    estimator: str,
    metric: str | None,
    perturb: Sequence[str],
    draws: int | None,
    fallback: str | None,
    as_json: bool,
    dry_run: bool,
    **options: Any,
) -> int:
    """Rank MODELS on unlabelled IMAGES, most transferable first.

    MODELS is a folder of BioImage Model Zoo packages and .onnx files, IMAGES a folder or a quoted
    pattern such as 'plate7/*.tif'.
    """
    refuse_several(estimator)
    chosen = given(metric=metric, draws=draws)
    judges = []
    if not (swept := asks_for_sweep(perturb, estimator)):
        wanted = given(perturbations=tuple(map(parse_perturbation, perturb)) or None)
        judges.append(parse_estimator(estimator, **chosen, **wanted))
    if fallback is not None:
        judges.append(parse_estimator(estimator, **chosen, perturbations=(_at_input(fallback),)))
    for judge in judges:
        _refuse_needs(estimator, judge)
    looking = [*judges, CTE(perturbations=CANDIDATES[:1], **chosen)] if swept else judges
    check_decoder(options, looking, "--metric rand_fscore")
    bank, pictures = models_of(models, options), images_of(images, None, options)
    check_at(options, looking)
    tell_understood(pictures)
    if dry_run:
        trial, stages = trial_keywords(options), []
        if swept:
            stages = plan_sweep(bank, pictures, [chosen], trial)
            judges.insert(0, parse_estimator(estimator, **chosen, perturbations=CANDIDATES[:1]))
        planned = plan(bank, pictures, judges, **trial)
        return tell_plans([*stages, ("ranking", planned)], out, as_json)
    prepare_folder(out)
    keywords = run_keywords(out, options)
    if swept:
        try:
            found = sweep(bank, pictures, **chosen, **keywords)
        except NothingToRank as error:
            if fallback is None:
                raise
            # No model can be disturbed inside: as for a perturbation that was named.
            say(f"{error}\n", err=True)
            swept = False
            judges.insert(0, parse_estimator(estimator, **chosen, perturbations=CANDIDATES[:1]))
        else:
            judges.insert(0, as_swept(estimator, found, chosen))
            tell_sweeps([found], as_json)
    first, *others = map(noted, rank_each(bank, pictures, judges, **keywords))
    if swept:
        first = found.noted_in(first)
    # What one ranking takes and the other does not was refused: broken models fail in both.
    refused = [model for model, _ in first.failed if any(model in r.values for r in others)]
    second = others if refused else []
    write_tables(first, out)
    remove_report(out / SECOND)  # one of an earlier run would be read as this one's
    for ranking in second:
        write_tables(ranking, out / SECOND)
    if as_json:
        documents = [ranking_to_json(ranking) for ranking in (first, *second)]
        say(json.dumps(documents[0] if fallback is None else documents, indent=2))
    elif first.scores or not second:
        say(ranking_text(first))
    if fallback is not None and not as_json:
        say(_beside(first, second, refused))
    if not as_json:
        remark(quick_look(options))
    # What follows may fail: all that was measured is written and shown by now.
    places = [out, out / SECOND]
    for ranking, place, judge in zip((first, *second), places, judges, strict=False):
        write_shown(ranking, place, bank, pictures, judge, options)
        if not as_json:
            remark(f"\nwritten: {place / 'index.html'}, ranking.json, ranking.csv, images.csv")
    return 3 if first.failed else 0


def _refuse_needs(text: str, judge: Estimator) -> None:
    """Refuse an estimator that needs what this command does not take."""
    if not judge.needs.supplied:
        return
    source = " --source MODEL=IMAGES:LABELS" if judge.needs.source else ""
    instead = f"--estimator {text}{source}" if judge.name != Accuracy.name else ""
    words = filter(None, ["onnx-cte evaluate MODELS IMAGES LABELS", instead])
    python = ", or rank(..., source=...) in Python" if judge.needs.source else ""
    needed = told_needs(judge.needs.supplied).replace("source", "source images")
    raise OptionError(
        f"estimator '{text}' needs {needed}, and `rank` takes none: `{' '.join(words)}`{python}"
    )


def _at_input(text: str) -> InputPerturbation:
    """The perturbation for models that have no bottleneck; every model has an input."""
    perturbation = parse_perturbation(text)
    if disturbs_input(perturbation):
        return perturbation
    raise OptionError(
        f"--without-bottleneck takes a perturbation of the input, and '{text}' disturbs feature "
        "maps inside a network; write for example noise=0.1"
    )


def _beside(first: Ranking, second: Sequence[Ranking], refused: Sequence[str]) -> str:
    """Say what the second ranking is for, and show it; or why there is none."""
    if not second:
        return f"\nno model refused {first.title}, so there is no second ranking"
    (ranking,) = second
    if first.scores:
        why = (
            f"\n{', '.join(refused)} cannot be disturbed where --perturb says. All models by "
            f"{ranking.title}; do not compare its scores with those above"
        )
    else:
        reason = dict(first.failed)[refused[0]]
        why = (
            f"no model can be disturbed where --perturb says ({refused[0]}: {reason}). "
            f"All models by {ranking.title} instead"
        )
    return f"{why}\n\n{ranking_text(ranking)}"


@main.command(short_help="Rank the bundled models on simulated images.")
@out_option("onnx-cte-demo", "Folder for the simulated images, the ranking and the evaluation.")
@PICTURES
@RUN_OPTIONS
@CONFIG
@talk_options
@told
def demo(out: Path, as_json: bool, **options: Any) -> int:
    """Simulate a small target, rank the bundled models on it, and compare with the truth."""
    from PIL import Image as Picture  # not before there is one to write

    folders = [prepare_folder(out / kind) for kind in ("images", "labels")]
    names = []
    for name, image, labels in simulate_images(DEMO_IMAGES, options["seed"]):
        names.append(name)
        for folder, pixels in zip(folders, (image, labels.astype(np.uint16)), strict=True):
            Picture.fromarray(pixels).save(folder / f"{name}.png")
    bank, pictures = open_models(bundled_models()), Images(*folders, only=names)
    judge, keywords = Credibility(), run_keywords(out, options)
    truth, ranking = map(noted, rank_each(bank, pictures, [Accuracy(), judge], **keywords))
    compared = [(ranking, agreement(ranking, truth))]
    write_tables(ranking, out)
    write_evaluation(truth, compared, out)
    if as_json:
        say((out / "evaluation.json").read_text(encoding="utf-8"), nl=False)
    else:
        say(f"{DEMO_IMAGES} simulated images of fluorescent nuclei, ranked without labels\n")
        say(ranking_text(ranking))
        say(f"\nand, for the truth is known here, by {truth.title} against it\n")
        say(str(truth))
        say(f"\nagreement of the two\n\n{compared[0][1]}")
    write_shown(ranking, out, bank, pictures, judge, options, performance=truth, compared=compared)
    if not as_json:
        written = "index.html, images, labels, ranking.json and evaluation.json"
        remark(f"\nwritten: {written} in {out}")
    return 3 if truth.failed else 0


main.add_command(evaluate_command)
main.add_command(predict_command)
main.add_command(report_command)
main.add_command(inspect_command)
main.add_command(package_command)
main.add_command(mask_command)
main.add_command(split_command)
main.add_command(list_command)
main.add_command(doctor_command)
main.add_command(completion_command)
