"""Tables of the benchmark in Markdown, from what `reproduce_tables.py` writes as JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_cte.console import told_needs
from onnx_cte.tables import number

CHOSEN = (
    "credibility",
    "cte nhd noise=0.1",
    "cte nhd dropout=0.1",
    "cte rand_fscore noise=0.1",
    "cte rand_fscore dropout=0.1",
    "confidence",
    "boundary",
    "outline",
    "consensus",
    "staple",
    "leep",
    "labelled_1",
)
"""Estimators that are shown target by target, those of them that there are."""

SUBSETS = {"all": "All models", "others": "Without in-domain models"}

Document = Mapping[str, Any]


def task_tables(document: Document, figures: Sequence[str] = ()) -> str:
    """Every table of a task, as one page.

    Parameters
    ----------
    document : mapping
        As `task_numbers` makes it, with ``task`` and ``made`` beside.
    figures : sequence of str
        Names of image files beside the page, to be shown.
    """
    task, made = document["task"], document["made"]
    images = sum(len(target["images"]) for target in document["targets"].values())
    parts = [
        f"# {task['name']}",
        f"{len(document['models'])} models of the bank `{task['bank']}`, judged by "
        f"`{task['performance']}` on {len(document['targets'])} targets with {images} images of "
        f"their {made['split']} splits. Made by `{made['command']}`.",
        *(f"![{name}]({name})" for name in figures),
        "## How well estimators rank models",
        _legend(document),
    ]
    for subset, heading in SUBSETS.items():
        if document["summary"][subset]["targets"]:
            parts += [f"### {heading}", _told(document, subset), agreement_table(document, subset)]
        else:
            parts += [f"### {heading}", "All models are in-domain on every target."]
    parts += [
        "## Performance",
        "Of every model on every target, the median over its images; in-domain in bold.",
        performance_table(document),
        "## Target by target",
        "Pairs in the right order / tau / regret. `pairs` are those that count.",
    ]
    for subset, heading in SUBSETS.items():
        if document["summary"][subset]["targets"]:
            parts += [f"### {heading}", target_table(document, subset)]
    return "\n\n".join(parts) + "\n"


def _legend(document: Document) -> str:
    against = document["reference"]
    compared = (
        f" `more` is how much more an estimator has than `{against}`, on the same draws: an "
        "interval that holds 0 tells no difference."
        if against
        else ""
    )
    return (
        "Mean over targets, standard deviation (ddof 1) in parentheses: Kendall's tau-b, "
        "Spearman's rho and Pearson's r of scores with performance, over the models that have a "
        "score; `of` counts the targets on which there is a tau. `pairs` is the share of the pairs "
        "of models in the right order, of those whose performance differs by 0.05 or more and that "
        "the images tell apart (at 95 %, each pair by itself); equal "
        "scores count half, a model without a score as the last. `regret` is the performance lost "
        "by taking the model ranked first instead of the best. In brackets, 95 % intervals: the "
        "images of all targets are drawn anew (a dash: the estimator cannot be drawn, or has no "
        f"value); they need not lie evenly about the value of all images.{compared} `left out` "
        "counts models without a score, over all targets. An estimator that gives no score to any "
        "model of a target is not judged there."
    )


def _told(document: Document, subset: str) -> str:
    """What the table is made of."""
    found = document["summary"][subset]
    fixed = found["targets"] - found["resampled"]
    fewer = (
        f" {fixed} of them with too few images to draw from: no pairs, and tau as it is in the "
        "intervals."
        if fixed
        else ""
    )
    return f"{found['targets']} targets, {found['pairs']} pairs that count.{fewer}"


def agreement_table(document: Document, subset: str) -> str:
    """The counterpart of the paper's Tables 1 and 2: one row an estimator, greatest tau first."""
    found = document["summary"][subset]
    compared = document["reference"] is not None
    head = ["estimator", "needs", "of", "tau", "tau 95 %", "rho", "r"]
    head += ["pairs", "pairs 95 %", "worst", "regret", "worst", "left out"]
    head += ["tau more", "pairs more"] if compared else []
    rows = []
    for title, row in sorted(found["estimators"].items(), key=_by_tau):
        cells = [title, told_needs(row["needs"]), str(row["tau"]["of"])]
        cells += [mean_std(row["tau"]), bounds(row["tau_interval"])]
        cells += [mean_std(row["rho"]), mean_std(row["r"]), shown(row["pairs"]["mean"])]
        cells += [bounds(row["pairs_interval"]), shown(row["pairs"]["least"])]
        cells += [shown(row["regret"]["mean"], 3), shown(row["regret"]["greatest"], 3)]
        cells += [str(row["left_out"])]
        cells += [_more(row, name) for name in ("tau", "pairs")] if compared else []
        rows.append(cells)
    rows += [cells + [""] * (len(head) - len(cells)) for cells in _chance_rows(found)]
    return markdown_table(head, rows, left=[0, 1])


def _chance_rows(found: Document) -> list[list[str]]:
    """What needs no estimator."""
    level = f"95 % below {shown(found['mean_tau_of_chance'])}"
    rows = [["*order at random*", "nothing", "", "0.00", level, "0.00", "0.00", "0.50"]]
    names = ", ".join(found["bank_best"])
    best = f"*always {names}*" if len(found["bank_best"]) == 1 else "*always the bank's best*"
    for title, needs, name in (
        ("*model at random*", "nothing", "random_regret"),
        (best, "labels of all targets", "bank_regret"),
    ):
        regret = [shown(found[name]["mean"], 3), shown(found[name]["greatest"], 3)]
        rows.append([title, needs, *[""] * 8, *regret])
    return rows


def performance_table(document: Document) -> str:
    """One row a model, one column a target; in-domain in bold; best and median below."""
    targets = document["targets"]
    models = sorted({model for target in targets.values() for model in target["performance"]})
    rows = []
    for model in models:
        cells = [model]
        for target in targets.values():
            text = shown(target["performance"].get(model, {}).get("value"))
            cells.append(f"**{text}**" if model in target["own"] else text)
        rows.append(cells)
    values = [
        sorted(p["value"] for p in target["performance"].values() if p["value"] is not None)
        for target in targets.values()
    ]
    rows.append(["*best*", *(shown(each[-1] if each else None) for each in values)])
    rows.append(["*median*", *(shown(_median(each)) for each in values)])
    return markdown_table(["model", *targets], rows, left=[0])


def target_table(document: Document, subset: str) -> str:
    """One row a target: pairs / tau / regret of the estimators of `CHOSEN` that there are."""
    titles = chosen(document)
    head = ["target", "models", "pairs", *titles, "random regret", "tau of chance 95 %"]
    rows = []
    for name, target in document["targets"].items():
        found = target[subset]
        cells = [name, str(found["models"]), str(found["pairs"])]
        for title in titles:
            row = found["estimators"][title]
            parts = shown(row["pairs"]), shown(row["tau"]), shown(row["regret"], 3)
            cells.append(" / ".join(parts))
        rows.append([*cells, shown(found["random_regret"], 3), shown(found["tau_of_chance"])])
    return markdown_table(head, rows, left=[0])


def chosen(document: Document) -> list[str]:
    """Titles of the estimators of `CHOSEN` that there are, in that order."""
    titles = {kind(title, document): title for title in document["summary"]["all"]["estimators"]}
    return [titles[name] for name in CHOSEN if name in titles]


def kind(title: str, document: Document) -> str:
    """A title without the metric of performance, which differs from task to task.

    Examples
    --------
    >>> kind("labelled_1 map", {"task": {"performance": "map"}})
    'labelled_1'
    """
    return title.removesuffix(f" {document['task']['performance']}")


def joint_tables(documents: Sequence[Document], figures: Sequence[str] = ()) -> str:
    """The page that joins the tasks.

    Parameters
    ----------
    documents : sequence of mapping
        At least one, each as `task_tables` takes it.
    figures : sequence of str
        As there.
    """
    parts = ["# Benchmark", _introduction(documents), *(f"![{name}]({name})" for name in figures)]
    for subset, heading in SUBSETS.items():
        there = [one for one in documents if one["summary"][subset]["targets"]]
        if not there:
            continue
        parts.append(f"## {heading}")
        for name, told in (
            ("pairs", "Pairs in the right order"),
            ("tau", "Kendall's tau-b"),
            ("regret", "Top-1 regret"),
        ):
            parts += [f"### {told}", joint_table(there, subset, name)]
    return "\n\n".join(parts) + "\n"


def _introduction(documents: Sequence[Document]) -> str:
    rows = [
        [
            f"[{one['task']['name']}]({one['task']['name']}.md)",
            f"`{one['task']['performance']}`",
            str(len(one["models"])),
            str(len(one["targets"])),
            str(sum(len(target["images"]) for target in one["targets"].values())),
            str(one["summary"]["all"]["pairs"]),
            f"`{one['made']['command']}`",
        ]
        for one in documents
    ]
    head = ["task", "performance", "models", "targets", "images", "pairs that count", "made by"]
    return (
        "How well estimators rank the models of a bank on each target, means over the targets of a "
        "task. What the numbers are, and their intervals, stands on the page of each task. `mean` "
        "is over the tasks that an estimator is in; of those in fewer it cannot be compared.\n\n"
        + markdown_table(head, rows, left=[0, 1, 6])
    )


def joint_table(documents: Sequence[Document], subset: str, name: str) -> str:
    """One row an estimator, best mean of tasks first; mean over the targets of each task.

    Parameters
    ----------
    documents : sequence of mapping
    subset : {"all", "others"}
    name : {"pairs", "tau", "rho", "r", "regret"}
    """
    digits = 3 if name == "regret" else 2
    needs: dict[str, str] = {}
    means: dict[str, list[float | None]] = {}
    for place, document in enumerate(documents):
        for title, row in document["summary"][subset]["estimators"].items():
            short = kind(title, document)
            needs.setdefault(short, told_needs(row["needs"]))
            means.setdefault(short, [None] * len(documents))[place] = row[name]["mean"]
    if name == "regret":
        for short, given in (
            ("random_regret", "nothing"),
            ("bank_regret", "labels of all targets"),
        ):
            label = {
                "random_regret": "*model at random*",
                "bank_regret": "*always the bank's best*",
            }
            needs[label[short]] = given
            means[label[short]] = [one["summary"][subset][short]["mean"] for one in documents]
    rows = []
    for short, each in means.items():
        known = [mean for mean in each if mean is not None]
        mean = sum(known) / len(known) if known else math.nan
        cells = [short, needs[short], number(mean, digits), str(len(known))]
        rows.append((mean, [*cells, *(shown(value, digits) for value in each)]))
    sign = 1 if name == "regret" else -1
    rows.sort(key=lambda row: (math.isnan(row[0]), sign * row[0], row[1][0]))
    head = ["estimator", "needs", "mean", "tasks", *(one["task"]["name"] for one in documents)]
    return markdown_table(head, [cells for _, cells in rows], left=[0, 1])


def markdown_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = ()
) -> str:
    """A table in Markdown, its columns aligned in the text too.

    Examples
    --------
    >>> print(markdown_table(["model", "tau"], [["a", "0.5"]], left=[0]))
    | model | tau |
    | :---- | --: |
    | a     | 0.5 |
    """
    columns = range(len(head))
    widths = [max(3, *(len(row[column]) for row in (head, *rows))) for column in columns]
    rule = [f":{'-' * (w - 1)}" if c in left else f"{'-' * (w - 1)}:" for c, w in enumerate(widths)]
    lines = [head, rule, *rows]
    return "\n".join(
        "| "
        + " | ".join(
            row[c].ljust(widths[c]) if c in left else row[c].rjust(widths[c]) for c in columns
        )
        + " |"
        for row in lines
    )


def shown(value: float | None, digits: int = 2) -> str:
    """A number of the document for a cell; null is a dash."""
    return number(math.nan if value is None else value, digits)


def mean_std(found: Mapping[str, Any]) -> str:
    """``mean (std)`` as papers have it."""
    return f"{shown(found['mean'])} ({shown(found['std'])})"


def bounds(interval: Sequence[float | None]) -> str:
    """An interval in brackets; a dash if there is none."""
    if None in interval:
        return "-"
    return "[{}, {}]".format(*map(shown, interval))


def _more(row: Document, name: str) -> str:
    return f"{shown(row[f'{name}_more'])} {bounds(row[f'{name}_more_interval'])}"


def _by_tau(item: tuple[str, Document]) -> tuple[bool, float, str]:
    mean = item[1]["tau"]["mean"]
    return mean is None, -(mean or 0.0), item[0]


def _median(ordered: Sequence[float]) -> float | None:
    """Of ascending values, the middle one or the mean of the two; None if there is none."""
    if not ordered:
        return None
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
