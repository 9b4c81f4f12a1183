"""Rankings as text for a terminal: the table, and what one must know to read it."""

import math
from collections.abc import Sequence
from typing import Any

from onnx_cte.agreement import Agreement
from onnx_cte.ranking import Ranking
from onnx_cte.tables import number, text_table

Compared = tuple[Ranking, Agreement]
"""A ranking without labels, and how well it agrees with the performance."""


def ranking_text(ranking: Ranking, compared: Sequence[Compared] = ()) -> str:
    """A ranking as a table, and below it all that one must know to read it.

    That is how well its scores separate, warnings, and what is undecided, assumed, skipped and
    failed. Of an evaluation, separation, warnings and failures are told of every ranking.

    Parameters
    ----------
    ranking : Ranking
        In an evaluation, by performance.
    compared : sequence of (Ranking, Agreement)
        In an evaluation, the rankings whose scores stand beside the performance.

    Returns
    -------
    str
    """
    blocks = [_side_by_side(ranking, compared) if compared else _table(ranking)]
    rankings = [ranking, *(other for other, _ in compared)]
    if separations := _separations(rankings):
        blocks.append(separations)
    if warnings := _warnings(rankings):
        blocks.append("\n".join(f"warning: {warning}" for warning in warnings))
    apart = [
        f"  {score.model}: {', '.join(ranking.undecided_with(score.model))}"
        for score in ranking
        if ranking.undecided_with(score.model)
    ]
    if apart:
        blocks.append("these images cannot tell apart\n" + "\n".join(apart))
    assumed: dict[str, list[str]] = {}
    for score in ranking:
        for note in score.notes:
            assumed.setdefault(note, []).append(score.model)
    if assumed:
        lines = [f"  {', '.join(models)}: {note}" for note, models in assumed.items()]
        blocks.append("assumed\n" + "\n".join(lines))
    by_model: dict[str, list[str]] = {}
    for score in ranking:
        for image, reason in score.skipped:
            by_model.setdefault(f"  {image}: {reason}", []).append(score.model)
    skipped = [f"  {image}: {reason}" for image, reason in ranking.skipped]
    skipped += [f"{line} (by {', '.join(models)})" for line, models in by_model.items()]
    if skipped:
        blocks.append("skipped\n" + "\n".join(skipped))
    if failed := _failed(rankings):
        blocks.append("failed, not ranked\n" + "\n".join(failed))
    providers = sorted({record["provider"] for record in _records(ranking)})
    if providers:
        blocks.append(f"run by {', '.join(providers)}, seed {ranking.seed}")
    return "\n\n".join(blocks)


def _table(ranking: Ranking) -> str:
    """The ranking, or in its place why there is none."""
    if ranking.scores or not ranking.failed:
        return str(ranking)
    count = len(ranking.failed)
    return f"no model could be ranked: {'the only one' if count == 1 else f'all {count}'} failed"


def _separations(rankings: Sequence[Ranking]) -> str:
    """How well the scores of each separate; no line where there is nothing to separate."""
    found = [(r.title, r.separation) for r in rankings if r.separation and r.separation.pairs]
    if len(rankings) == 1:
        return "".join(f"separation: {text}" for _, text in found)
    return "\n".join(
        ["separation", *(f"  {title}: {text}" for title, text in found)] if found else []
    )


def _warnings(rankings: Sequence[Ranking]) -> list[str]:
    """All of the first; of the others only doubts about their perturbation."""
    first, *others = rankings
    return [*first.warnings, *(f"{other.title}: {other.doubt}" for other in others if other.doubt)]


def _failed(rankings: Sequence[Ranking]) -> list[str]:
    """A line a model and reason; what failed in some of several rankings only names those."""
    where: dict[tuple[str, str], list[str]] = {}
    for ranking in rankings:
        for pair in ranking.failed:
            where.setdefault(pair, []).append(ranking.title)
    return [
        f"  {model}: {reason}"
        + (f" (by {', '.join(titles)})" if len(titles) < len(rankings) else "")
        for (model, reason), titles in where.items()
    ]


def _side_by_side(performance: Ranking, compared: Sequence[Compared]) -> str:
    """Each model's performance and what every estimator said of it."""
    head = ["model", performance.title, "images", *(ranking.title for ranking, _ in compared)]
    rows = [
        [
            score.model,
            number(score.value),
            str(score.images),
            *(number(ranking.values.get(score.model, math.nan)) for ranking, _ in compared),
        ]
        for score in performance
    ]
    return text_table(head, rows, left=[0])


def _records(ranking: Ranking) -> list[dict[str, Any]]:
    models = ranking.provenance.get("models", {})
    return [record for record in models.values() if "provider" in record]


def agreement_text(compared: Sequence[Compared]) -> str:
    """Tell in a table, a line an estimator, how well each agrees with the performance."""
    head = [
        "estimator",
        "models",
        "tau",
        "p",
        "rho",
        "p",
        "r",
        "p",
        "pairs right",
        "of",
        "regret",
        "chosen",
    ]
    rows = [
        [
            ranking.title,
            str(found.models),
            number(found.kendall),
            number(found.kendall_p, 4),
            number(found.spearman),
            number(found.spearman_p, 4),
            number(found.pearson),
            number(found.pearson_p, 4),
            number(found.pairs_right),
            str(found.pairs_counted),
            number(found.regret, 4),
            found.chosen or "-",
        ]
        for ranking, found in compared
    ]
    return text_table(head, rows, left=[0, 11])
