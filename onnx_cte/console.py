"""Rankings as text for a terminal: the table, and what one must know to read it."""

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from onnx_cte.agreement import Agreement
from onnx_cte.ranking import Ranking
from onnx_cte.tables import number, score_text, text_table
from onnx_cte.verdict import outlook, verdict

Compared = tuple[Ranking, Agreement]
"""A ranking by an estimator, and how well it agrees with the performance."""

WIDEST = 8
"""Estimators side by side; more do not fit a terminal."""

MANY = 4
"""Models that fail, or images that are skipped, alike: so many, or more, are told in one line."""


def evaluation_text(performance: Ranking, compared: Sequence[Compared]) -> str:
    """Each model's performance, beside what every estimator says if they are not too many.

    Parameters
    ----------
    performance : Ranking
    compared : sequence of (Ranking, Agreement)

    Returns
    -------
    str
        With a title.
    """
    compared = told_apart(compared)
    beside = "and what each estimator says"
    if len(compared) > WIDEST:
        beside = f"what {len(compared)} estimators say of each model is in scores.csv"
    title = f"performance against labels ({performance.title}), {beside}"
    return f"{title}\n\n{ranking_text(performance, compared)}"


def ranking_text(ranking: Ranking, compared: Sequence[Compared] = ()) -> str:
    """A ranking as a table, and below it all that one must know to read it.

    That is which model to take, how well the scores separate, warnings, and what is undecided,
    assumed, skipped and failed. An evaluation takes no model, and separation, warnings, failures
    and what has no score are told of every ranking.

    Parameters
    ----------
    ranking : Ranking
        In an evaluation, by performance.
    compared : sequence of (Ranking, Agreement)
        In an evaluation, the rankings whose scores stand beside the performance; of more than
        `WIDEST` neither scores nor separation are shown.

    Returns
    -------
    str
    """
    blocks = [_side_by_side(ranking, compared) if compared else _table(ranking)]
    if ranking.scores and not compared:
        blocks.append(verdict(ranking).sentence)
    rankings = [ranking, *(other for other, _ in compared)]
    if separations := _separations(rankings if len(compared) <= WIDEST else [ranking]):
        blocks.append(separations)
    if warnings := _warnings(rankings):
        blocks.append("\n".join(f"warning: {warning}" for warning in warnings))
    apart = [
        f"  {score.model}: {', '.join(ranking.undecided_with(score.model))}"
        for score in ranking
        if ranking.undecided_with(score.model)
    ]
    if apart:
        # Of a ranking by itself, the verdict has told it.
        told = [more] if compared and (more := outlook(ranking)) is not None else []
        blocks.append("\n".join(["these images cannot tell apart", *apart, *told]))
    assumed: dict[str, list[str]] = {}
    for score in ranking:
        for note in score.notes:
            assumed.setdefault(note, []).append(score.model)
    if assumed:
        lines = [f"  {', '.join(models)}: {note}" for note, models in assumed.items()]
        blocks.append("assumed\n" + "\n".join(lines))
    if skipped := _skipped(ranking):
        blocks.append("skipped\n" + "\n".join(skipped))
    if undefined := _undefined(ranking, [other for other, _ in compared]):
        blocks.append("no score, for it is undefined here\n" + "\n".join(undefined))
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
    """All of the first; of the others what they say themselves, and doubts."""
    first, *others = rankings
    said: dict[str, list[str]] = {}
    for other in others:
        for remark in other.remarks:
            said.setdefault(remark, []).append(other.title)
    return [
        *first.warnings,
        *(f"{', '.join(titles)}: {remark}" for remark, titles in said.items()),
        *(f"{other.title}: {other.doubt}" for other in others if other.doubt),
    ]


def _undefined(performance: Ranking, others: Sequence[Ranking]) -> list[str]:
    """Models without a score though they were measured, by what says nothing of them.

    A model without a performance is shown with a dash already.
    """
    judged = [score.model for score in performance if math.isfinite(score.value)]
    titles: dict[tuple[str, ...], list[str]] = {}
    for other in others:
        values = other.values
        lacking = tuple(m for m in judged if m in values and not math.isfinite(values[m]))
        if lacking:
            titles.setdefault(lacking, []).append(other.title)
    return [
        f"  {', '.join(by)}: "
        + (f"all {len(judged)} models" if len(lacking) == len(judged) > 1 else ", ".join(lacking))
        for lacking, by in titles.items()
    ]


def _skipped(ranking: Ranking) -> list[str]:
    """A line an image and reason; where `MANY` are skipped alike, the first stands for them."""
    by_model: dict[tuple[str, str], list[str]] = {}
    for score in ranking:
        for pair in score.skipped:
            by_model.setdefault(pair, []).append(score.model)
    told = [(image, reason, "") for image, reason in ranking.skipped]
    told += [(*pair, f" (by {', '.join(models)})") for pair, models in by_model.items()]
    alike: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for image, reason, by in told:
        # Reasons name the image themselves.
        alike.setdefault((reason.replace(image, ""), by), []).append((image, f"{reason}{by}"))
    lines = []
    for images in alike.values():
        shown = images if len(images) < MANY else images[:1]
        more = f" and {len(images) - 1} more" if len(images) > len(shown) else ""
        lines += [f"  {image}{more}: {reason}" for image, reason in shown]
    return lines


def _failed(rankings: Sequence[Ranking]) -> list[str]:
    """A line a model and reason; what failed in some of several rankings only names those.

    Where `MANY` models fail alike, they share a line.
    """
    where: dict[tuple[str, str], list[str]] = {}
    for ranking in rankings:
        for pair in ranking.failed:
            where.setdefault(pair, []).append(ranking.title)
    alike: dict[tuple[str, str], list[str]] = {}
    for (model, reason), titles in where.items():
        by = f" (by {', '.join(titles)})" if len(titles) < len(rankings) else ""
        alike.setdefault((reason, by), []).append(model)
    lines = []
    for (reason, by), models in alike.items():
        named = [", ".join(models)] if len(models) >= MANY else models
        lines += [f"  {model}: {reason}{by}" for model in named]
    return lines


def _side_by_side(performance: Ranking, compared: Sequence[Compared]) -> str:
    """Each model's performance and what every estimator said of it, or performance alone."""
    compared = compared if len(compared) <= WIDEST else ()
    head = ["model", performance.title, "images", *(ranking.title for ranking, _ in compared)]
    rows = [
        [
            score.model,
            number(score.value),
            str(score.images),
            *(score_text(ranking.values.get(score.model, math.nan)) for ranking, _ in compared),
        ]
        for score in performance
    ]
    return text_table(head, rows, left=[0])


def _records(ranking: Ranking) -> list[dict[str, Any]]:
    models = ranking.provenance.get("models", {})
    return [record for record in models.values() if "provider" in record]


def agreement_text(compared: Sequence[Compared], left_out: Sequence[tuple[str, str]] = ()) -> str:
    """Tell in a table, a line an estimator, how well each agrees with the performance.

    Parameters
    ----------
    compared : sequence of (Ranking, Agreement)
    left_out : sequence of (estimator, reason)
        Told below the table.

    Returns
    -------
    str
        Undefined numbers are dashes. ``p`` is of tau; ``seconds`` are of the estimator itself,
        beyond running the models (`Ranking.seconds`).
    """
    compared = told_apart(compared)
    head = ["estimator", "needs", "models", "pairs right", "of", "tau", "p", "rho", "r"]
    rows = [
        [
            ranking.title,
            told_needs(ranking.needs),
            str(found.models),
            number(found.pairs_right),
            str(found.pairs_counted),
            number(found.kendall),
            number(found.kendall_p, 4),
            number(found.spearman),
            number(found.pearson),
            number(found.regret, 4),
            number(ranking.seconds, 2),
            found.chosen or "-",
        ]
        for ranking, found in compared
    ]
    table = text_table([*head, "regret", "seconds", "chosen"], rows, left=[0, 1, 11])
    told = [f"  {name}: {reason}" for name, reason in left_out]
    return "\n".join([table, *(["", "left out", *told] if told else [])])


def told_apart(compared: Sequence[Compared]) -> list[Compared]:
    """Rankings whose titles differ: to equal ones the options are added in which they differ.

    Parameters
    ----------
    compared : sequence of (Ranking, Agreement)

    Returns
    -------
    list of (Ranking, Agreement)
        A title that is there once is left as it is, as is one whose estimator's ``repr`` shows no
        options.
    """
    alike: dict[str, list[Mapping[str, str]]] = {}
    for ranking, _ in compared:
        alike.setdefault(ranking.title, []).append(_options(ranking))
    named = []
    for ranking, found in compared:
        others, own = alike[ranking.title], _options(ranking)
        apart = [
            f"{name}={value}"
            for name, value in own.items()
            if any(other.get(name) != value for other in others)
        ]
        named.append((replace(ranking, title=" ".join([ranking.title, *apart])), found))
    return named


def _options(ranking: Ranking) -> Mapping[str, str]:
    """What the ``repr`` of a dataclass states of its fields; nothing if it is another text."""
    try:
        made = ast.parse(ranking.estimator, mode="eval").body
    except (SyntaxError, ValueError):
        return {}
    stated = made.keywords if isinstance(made, ast.Call) else []
    return {
        one.arg: str(one.value.value)
        if isinstance(one.value, ast.Constant)
        else ast.unparse(one.value)
        for one in stated
        if one.arg
    }


def told_needs(needs: Sequence[str]) -> str:
    """What a user has to give an estimator, in words.

    Examples
    --------
    >>> told_needs(("labels", "source")), told_needs(())
    ('labels, source', 'nothing')
    """
    return ", ".join(needs) or "nothing"
