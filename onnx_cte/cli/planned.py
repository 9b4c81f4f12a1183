"""``--dry-run``: what would run, on what, and about how long it would take."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from onnx_cte.cli.options import EVIDENCE, say
from onnx_cte.planning import SLOW, Plan
from onnx_cte.tables import number, text_table

DRY_RUN = click.option(
    "--dry-run",
    is_flag=True,
    help="Only say what would run, on what, and about how long: one image is tried under each "
    "model. Nothing is written.",
)


def tell_plans(
    stages: Sequence[tuple[str, Plan]], out: Path, as_json: bool, *, resumes: bool = True
) -> int:
    """Print plans, one after the other, and how long they take together.

    Parameters
    ----------
    stages : sequence of (str, Plan)
        What each is for, and the plan.
    out : Path
        Where results would go.
    as_json : bool
    resumes : bool
        Whether a run takes what an earlier one measured.

    Returns
    -------
    int
        The exit code: 1 if in some stage no model can be used, 3 if in the last some cannot.
    """
    seconds = sum(plan.seconds for _, plan in stages)
    if as_json:
        plans = [{"stage": stage, **_to_json(plan)} for stage, plan in stages]
        document = {"dry_run": plans, "seconds": round(seconds, 3), "out": str(out)}
        say(json.dumps(document, indent=2))
    else:
        say("dry run: nothing is written\n")
        say("\n\n".join(_text(stage, plan) for stage, plan in stages))
        known = f"; what {out / EVIDENCE} holds already is not run again" if resumes else ""
        scoring = ", without scoring" if resumes else ""
        say(f"\nin all about {duration(seconds)}{scoring}{known}")
        say(f"results would be written to {out}")
    lost = [[trial.reason for trial in plan.trials] for _, plan in stages]
    return 1 if any(map(all, lost)) else 3 if any(lost[-1]) else 0


def duration(seconds: float) -> str:
    """A length of time as people say it.

    Examples
    --------
    >>> duration(0.4), duration(42), duration(200), duration(9000)
    ('1 second', '42 seconds', '3 minutes', '2.5 hours')
    """
    if seconds < 90:
        whole = max(round(seconds), 1)
        return f"{whole} second{'s' * (whole > 1)}"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _text(stage: str, plan: Plan) -> str:
    """One stage: what, on what, and a row a model."""
    models = len(plan.trials)
    judges = f", by {', '.join(plan.estimators)}" if 0 < len(plan.estimators) <= 8 else ""
    if len(plan.estimators) > 8:
        judges = f", by {len(plan.estimators)} estimators"
    head = (
        f"{stage}: {models} model{'s' * (models != 1)} on {plan.images} "
        f"image{'s' * (plan.images != 1)} from {plan.files} file{'s' * (plan.files != 1)}{judges}"
    )
    usable = [trial for trial in plan.trials if not trial.reason]
    rows = [
        [
            trial.model,
            trial.provider or "-",
            number(trial.opening, 2),
            number(trial.first, 2),
            number(trial.further, 2),
            str(trial.images),
            duration(trial.seconds),
        ]
        for trial in usable
    ]
    columns = ["model", "run by", "s to open", "s first image", "s each further", "images", "about"]
    blocks = [head, text_table(columns, rows, left=[0, 1])] if usable else [head]
    size = " x ".join(map(str, plan.size))
    blocks.append(
        f"tried on '{plan.tried}' ({size}), twice (once if it took more than {SLOW:.0f} s); images "
        "of other sizes take other times"
    )
    refused: dict[str, list[str]] = {}
    for trial in usable:
        for title, reason in trial.refused:
            refused.setdefault(f"{title}: {reason}", []).append(trial.model)
    if refused:
        lines = [f"  {', '.join(models)}: {why}" for why, models in refused.items()]
        blocks.append("not judged by every estimator\n" + "\n".join(lines))
    if plan.skipped:
        lines = [f"  {image}: {reason}" for image, reason in plan.skipped]
        blocks.append("cannot be read\n" + "\n".join(lines))
    failed = [f"  {trial.model}: {trial.reason}" for trial in plan.trials if trial.reason]
    if failed:
        blocks.append("would fail\n" + "\n".join(failed))
    return "\n\n".join(blocks)


def _to_json(plan: Plan) -> dict[str, Any]:
    """A plan as JSON values; what was not measured is null."""
    trials = [
        {
            name: None if isinstance(value, float) and value != value else value
            for name, value in {**asdict(trial), "seconds": trial.seconds}.items()
        }
        for trial in plan.trials
    ]
    return {**asdict(plan), "trials": trials, "seconds": plan.seconds}
