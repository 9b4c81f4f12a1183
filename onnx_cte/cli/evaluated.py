"""``onnx-cte evaluate``: how well rankings agree with performance against labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from onnx_cte.agreement import agreement
from onnx_cte.cli.config import CONFIG
from onnx_cte.cli.judges import BY_DEFAULT, Jury, jury_of, means_cte, names_of
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
from onnx_cte.cli.planned import DRY_RUN, tell_plans
from onnx_cte.cli.remembered import noted
from onnx_cte.cli.reported import EVALUATION_SHEETS, tell_evaluation, write_shown
from onnx_cte.cli.sources import SOURCE, sources_of
from onnx_cte.cli.swept import plan_sweep, tell_sweeps
from onnx_cte.cli.talking import remark, talk_options
from onnx_cte.console import Compared, told_apart
from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE, Accuracy
from onnx_cte.evaluations import write_evaluation
from onnx_cte.images import Images
from onnx_cte.metrics import metric_named
from onnx_cte.perturbations import AUTO, parse_perturbation
from onnx_cte.planning import plan
from onnx_cte.ranking import Ranking
from onnx_cte.runner import rank_each
from onnx_cte.sweep import CANDIDATES, Sweep, sweep_each
from onnx_cte.types import Estimator, Model
from onnx_cte.writing import prepare_folder

PERTURB = ("noise=0.1", "gamma=1.1..1.2")


@click.command("evaluate", short_help="Score models against labels; do rankings agree?")
@MODELS
@IMAGES
@click.argument("labels", type=str)
@out_option(
    "onnx-cte-evaluation",
    "Folder for index.html, evaluation.json, performance.csv, agreement.csv, scores.csv, and what "
    "was measured.",
)
@click.option(
    "--estimator",
    multiple=True,
    metavar="NAME[:OPTION=VALUE...]",
    help="What to compare, as cte,ccfv or leep:labels=pseudo; may be repeated, or separated by "
    "commas. all: every one that can run; see `onnx-cte list estimators`. cte alone stands for "
    f"--metric and --perturb. [default: {','.join(BY_DEFAULT)}]",
)
@click.option(
    "--performance",
    default="f1",
    show_default=True,
    help="Metric against labels: f1 of the foreground, map or f1_50 of objects.",
)
@click.option(
    "--metric",
    multiple=True,
    help="Of the estimator cte. [default: nhd and ei; where objects are judged, rand_fscore]",
)
@click.option(
    "--perturb",
    multiple=True,
    metavar="NAME=VALUE",
    help="Each, with each metric, is an estimator of its own; auto is a dropout chosen for the "
    "metric by a sweep over a sample of the images, which sees no labels. "
    f"[default: {', '.join(PERTURB)}]",
)
@DRAWS
@SOURCE
@MODEL_OPTIONS
@AT
@IMAGE_OPTIONS
@PICTURES
@RUN_OPTIONS
@DRY_RUN
@CONFIG
@talk_options
@told
def evaluate_command(
    models: Path,
    images: str,
    labels: str,
    out: Path,
    estimator: Sequence[str],
    performance: str,
    metric: Sequence[str],
    perturb: Sequence[str],
    draws: int | None,
    source: Sequence[str],
    as_json: bool,
    dry_run: bool,
    **options: Any,
) -> int:
    """Score MODELS against LABELS, and say how well rankings by estimators agree.

    LABELS are paired with IMAGES by file name. All estimators see the same predictions, in one
    pass. By default that is credibility and cte, with confidence and entropy as baselines.
    """
    names, drawn, truly = names_of(estimator), given(draws=draws), Accuracy(performance)
    _refuse_ignored(names, metric=metric, perturb=perturb, draws=draws)
    perturb = perturb or PERTURB
    if not metric:
        judged = metric_named(performance, "performance").compares
        metric = ("rand_fscore",) if judged == "labels" else ("nhd", "ei")
    pairs = [(p, m) for p in perturb for m in metric]
    stated = {(p, m): CTE(m, (parse_perturbation(p),), **drawn) for p, m in pairs if p != AUTO}

    def jury(swept: dict[str, Sweep]) -> Jury:
        def of_cte() -> list[Estimator]:
            known = [(p, m) for p, m in pairs if p != AUTO or m in swept]
            return [swept[m].estimator if p == AUTO else stated[p, m] for p, m in known]

        return jury_of(names, of_cte, performance, with_source=bool(source))

    swept: dict[str, Sweep] = {}
    # Once before anything is read, to tell what cannot be; a sweep adds what it chooses.
    wanted = jury(swept)
    looking = [truly, *wanted.judges, *(map(CTE, metric) if means_cte(names) else ())]
    check_decoder(options, looking, "--performance map")
    bank, pictures = models_of(models, options), images_of(images, labels, options)
    inside = [CTE(m, CANDIDATES[:1]) for m in metric if AUTO in perturb and means_cte(names)]
    check_at(options, [*looking, *inside])
    domains = sources_of(source, [model.name for model in bank], options)
    tell_understood(pictures)
    if dry_run:
        trial, stages = trial_keywords(options), []
        looking = [truly, *wanted.judges]
        if AUTO in perturb and means_cte(names):
            stages = plan_sweep(bank, pictures, [{"metric": m, **drawn} for m in metric], trial)
            looking += [CTE(m, CANDIDATES[:1], **drawn) for m in metric]
        planned = plan(bank, pictures, looking, source=domains, **trial)
        return tell_plans([*stages, ("evaluation", planned)], out, as_json)
    prepare_folder(out)
    keywords = run_keywords(out, options)
    if AUTO in perturb and means_cte(names):
        sweeps = sweep_each(bank, pictures, metric, **drawn, **keywords)
        swept = dict(zip(metric, sweeps, strict=True))
        tell_sweeps(sweeps, as_json)
        wanted = jury(swept)
    judges = wanted.judges
    found = rank_each(bank, pictures, [truly, *judges], source=domains, **keywords)
    truth, *rankings = map(noted, found)
    for place, judge in enumerate(judges):
        for chosen in swept.values():
            if judge is chosen.estimator:
                rankings[place] = chosen.noted_in(rankings[place])
    compared = [(ranking, agreement(ranking, truth)) for ranking in rankings]
    write_evaluation(truth, compared, out, left_out=wanted.left_out)
    if as_json:
        say((out / "evaluation.json").read_text(encoding="utf-8"), nl=False)
    else:
        tell_evaluation(truth, compared, wanted.left_out)
        remark(quick_look(options))
    _show(truth, compared, out, bank, pictures, [truly, *judges], options)
    if not as_json:
        written = ["evaluation.json", *EVALUATION_SHEETS]
        remark(f"\nwritten: {out / 'index.html'}, {', '.join(written)}")
    return 3 if any(ranking.failed for ranking in (truth, *rankings)) else 0


def _show(
    truth: Ranking,
    compared: Sequence[Compared],
    out: Path,
    models: Sequence[Model],
    images: Images,
    judges: Sequence[Estimator],
    options: Mapping[str, Any],
) -> None:
    """Write the page of the first ranking that there is: by an estimator, or by performance."""
    named = told_apart(compared)
    rankings = [*(ranking for ranking, _ in named), truth]
    chosen, judge = next(
        (
            (ranking, judge)
            for ranking, judge in zip(rankings, [*judges[1:], judges[0]], strict=True)
            if ranking.scores
        ),
        (truth, judges[0]),
    )
    write_shown(chosen, out, models, images, judge, options, performance=truth, compared=named)


def _refuse_ignored(names: Sequence[str], **of_cte: Any) -> None:
    """Refuse options of CTE where it is not asked for: they would be ignored."""
    stated = [option for option, value in of_cte.items() if value not in (None, ())]
    if stated and not means_cte(names):
        raise OptionError(
            f"--{stated[0]} is of the estimator {CTE.name}, and --estimator {','.join(names)} does "
            f"not ask for it by its name alone: add {CTE.name}, or leave out --{stated[0]}"
        )
