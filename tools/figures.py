"""Figures of the benchmark, from what `reproduce_tables.py` writes as JSON.

The only room that knows matplotlib. Every figure is written twice, as PNG and SVG.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from tabulating import SUBSETS, chosen, shown

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""Of Okabe and Ito (2008), told apart by the colour-blind; its yellow, hardly seen on white, is
darker."""

MARKERS = "osD^vP>X<ph"
"""In step with `COLOURS` they differ in number, so that two targets with one colour differ here."""

FREE, LABELS, SOURCE = "#0072B2", "#D55E00", "#E69F00"
PANELS = 6
DPI = 150

_MARKERS = re.compile(r'(<g clip-path="[^"]*")>((?:\s*<use [^>]*? style="([^"]*)"/>)+)')
"""Markers of one line, each of which matplotlib styles alike."""

Document = Mapping[str, Any]


def scores_figure(document: Document, stem: Path) -> list[Path]:
    """Scores against performance, a point for every model on every target (the paper's Fig. 2).

    Parameters
    ----------
    document : mapping
        As `task_numbers` makes it, with ``task`` beside.
    stem : Path
        Of the files, without suffix.

    Returns
    -------
    list of Path
        The files; none if there is none of the estimators that are shown.
    """
    titles = chosen(document)[:PANELS]
    if not titles:
        return []
    columns = min(3, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure, panels = pyplot.subplots(
        rows, columns, figsize=(3.4 * columns, 3.0 * rows + 1), squeeze=False, sharey=True
    )
    for panel, title in zip(panels.flat, titles, strict=False):
        for place, target in enumerate(document["targets"].values()):
            _points(panel, target, title, place)
        found = document["summary"]
        taus = shown(found["all"]["estimators"][title]["tau"]["mean"])
        others = shown(found["others"]["estimators"][title]["tau"]["mean"])
        panel.set_title(f"{title}\ntau {taus}, without in-domain {others}", fontsize=9)
        panel.set_xlabel("score", fontsize=9)
    for panel in panels[:, 0]:
        panel.set_ylabel(f"performance ({document['task']['performance']})", fontsize=9)
    _hide_rest(panels.flat, len(titles))
    handles = [_key(place, name) for place, name in enumerate(document["targets"])]
    open_key = {"marker": "o", "color": "#444444", "linestyle": "none"}
    handles += [
        Line2D([], [], **open_key, label="in-domain"),
        Line2D([], [], **open_key, fillstyle="none", label="other models"),
    ]
    _legend_below(figure, handles)
    return _save(figure, stem)


def pairs_figure(document: Document, stem: Path) -> list[Path]:
    """Pairs of models in the right order, a bar an estimator, with intervals.

    One panel for all models, one without those in-domain, if any are left; both in the order of the
    first. Colours tell what an estimator had to be given.

    Parameters
    ----------
    document, stem
        As in `scores_figure`.

    Returns
    -------
    list of Path
        The files; none if no pair counts.
    """
    subsets = [s for s in SUBSETS if document["summary"][s]["pairs"]]
    if not subsets:
        return []
    ordered = sorted(
        document["summary"][subsets[0]]["estimators"].items(),
        key=lambda item: (-math.inf if (m := item[1]["pairs"]["mean"]) is None else m, item[0]),
    )
    titles = [title for title, _ in ordered]
    figure, panels = pyplot.subplots(
        1,
        len(subsets),
        figsize=(3.2 + 3.2 * len(subsets), 0.19 * len(titles) + 1.4),
        squeeze=False,
        sharey=True,
    )
    for panel, subset in zip(panels.flat, subsets, strict=True):
        _bars(panel, document["summary"][subset]["estimators"], titles)
        panel.set_title(SUBSETS[subset], fontsize=9)
    handles = [
        Line2D([], [], color=colour, linewidth=5, label=label)
        for colour, label in (
            (FREE, "needs nothing but images"),
            (LABELS, "needs labels"),
            (SOURCE, "needs source images"),
        )
    ]
    handles.append(Line2D([], [], color="#444444", linestyle="--", label="chance"))
    _legend_below(figure, handles)
    return _save(figure, stem)


def strengths_figure(document: Document, stem: Path) -> list[Path]:
    """Tau and median score against the strength of a perturbation (the paper's Fig. 3).

    Parameters
    ----------
    document : mapping
        As `strengths_numbers` makes it.
    stem : Path
        Of the files, without suffix.

    Returns
    -------
    list of Path
        The files.
    """
    kinds = document["strengths"]
    shown_rows = (("tau", "tau"), ("score", f"median score ({document['metric']})"))
    figure, panels = pyplot.subplots(
        2, len(kinds), figsize=(3.6 * len(kinds), 5.6), squeeze=False, sharex="col", sharey="row"
    )
    for column, (kind, strengths) in enumerate(kinds.items()):
        for row, (name, told) in enumerate(shown_rows):
            panel = panels[row, column]
            for place, target in enumerate(document["targets"].values()):
                values = [math.nan if v is None else v for v in target[kind][name]]
                panel.plot(strengths, values, **_style(place), markersize=5, linewidth=1.2)
            if name == "tau":
                panel.axhline(0, color="#999999", linewidth=0.8, zorder=0)
            panel.set_ylabel(told if column == 0 else "", fontsize=9)
            _plain(panel)
        panels[0, column].set_title(kind, fontsize=10)
        panels[1, column].set_xlabel(f"strength of {kind}", fontsize=9)
    handles = [_key(place, name, line="-") for place, name in enumerate(document["targets"])]
    _legend_below(figure, handles)
    return _save(figure, stem)


def _points(panel: Axes, target: Document, title: str, place: int) -> None:
    """A target's models: filled in-domain, open elsewhere."""
    values = target["scores"][title]["values"]
    style = {**_style(place), "linestyle": "none", "markersize": 4.2, "markeredgewidth": 0.8}
    for own, fill in ((False, "none"), (True, "full")):
        points = [
            (values[model], performance["value"])
            for model, performance in target["performance"].items()
            if (model in target["own"]) == own
            and performance["value"] is not None
            and values.get(model) is not None
        ]
        x, y = zip(*points, strict=True) if points else ((), ())
        panel.plot(x, y, **style, fillstyle=fill)
    _plain(panel)


def _bars(panel: Axes, estimators: Document, titles: Sequence[str]) -> None:
    for place, title in enumerate(titles):
        row = estimators[title]
        mean = row["pairs"]["mean"]
        if mean is None:
            continue
        panel.barh(place, mean, height=0.72, color=_colour(row["needs"]))
        low, high = row["pairs_interval"]
        if low is not None and high is not None:
            panel.plot([low, high], [place, place], color="#222222", linewidth=1.1)
    panel.axvline(0.5, color="#444444", linestyle="--", linewidth=0.9)
    panel.set_xlim(0, 1)
    panel.set_ylim(-0.7, len(titles) - 0.3)
    panel.set_yticks(range(len(titles)), titles)
    panel.set_xlabel("pairs in the right order", fontsize=9)
    _plain(panel)
    panel.tick_params(axis="y", length=0)


def _colour(needs: Sequence[str]) -> str:
    return LABELS if "labels" in needs else SOURCE if needs else FREE


def _style(place: int) -> dict[str, Any]:
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def _key(place: int, name: str, line: str = "none") -> Line2D:
    return Line2D([], [], **_style(place), linestyle=line, markersize=5, label=name)


def _plain(panel: Axes) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8)


def _hide_rest(panels: Any, used: int) -> None:
    for panel in list(panels)[used:]:
        panel.set_visible(False)


def _legend_below(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Under everything, in as many columns as fit."""
    columns = max(1, min(len(handles), int(figure.get_figwidth() / 2.0)))
    rows = math.ceil(len(handles) / columns)
    room = (0.22 * rows + 0.1) / figure.get_figheight()
    figure.tight_layout(rect=(0, room, 1, 1))
    figure.legend(
        handles=handles, loc="lower center", ncols=columns, fontsize=8, frameon=False, borderpad=0.2
    )


def _save(figure: Figure, stem: Path) -> list[Path]:
    """As PNG and SVG, the same bytes whenever they are made."""
    picture, vectors = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".png", ".svg"))
    figure.savefig(picture, dpi=DPI)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "benchmark"}):
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    vectors.write_text(_MARKERS.sub(_styled_once, text.getvalue()), encoding="utf-8")
    pyplot.close(figure)
    return [picture, vectors]


def _styled_once(found: re.Match[str]) -> str:
    """The markers of a line with their style at the line, placed to a hundredth of a point.

    As matplotlib writes them, they make twice the file.
    """
    start, markers, style = found.groups()
    bare = re.sub(r"(\.\d\d)\d+", r"\1", markers.replace(f' style="{style}"', ""))
    return f'{start} style="{style}">{bare}'
