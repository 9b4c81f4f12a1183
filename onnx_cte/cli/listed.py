"""``onnx-cte list``: what there is by name."""

import re
from typing import Any

import click

from onnx_cte.cli.options import say, told
from onnx_cte.console import told_needs
from onnx_cte.errors import unknown_name
from onnx_cte.estimators import estimator_named, known_estimators
from onnx_cte.metrics import METRICS
from onnx_cte.perturbations import AUTO, PERTURBATIONS
from onnx_cte.postprocessing import DECODERS, decoder_text
from onnx_cte.sweep import sweep
from onnx_cte.tables import text_table


@click.command("list", short_help="Name estimators, metrics, perturbations, decoders.")
@click.argument("kind", required=False)
@told
def list_command(kind: str | None) -> int:
    """Name the estimators, metrics, perturbations and decoders there are, one line each."""
    rooms: dict[str, list[list[str]]] = {
        "estimators": [
            [name, _needs_of(name), does] for name, does in sorted(known_estimators().items())
        ],
        "metrics": [[name, metric.summary] for name, metric in sorted(METRICS.items())],
        "decoders": [
            [name, f"{make.summary} ({decoder_text(make()).partition(',')[2]})"]
            for name, make in sorted(DECODERS.items())
        ],
        "perturbations": [
            [name, _default(make), _summary(make)]
            for name, make in sorted({AUTO: sweep, **PERTURBATIONS}.items())
        ],
    }
    if kind is not None and kind not in rooms:
        raise unknown_name("kind of thing", kind, rooms)
    heads = {
        "estimators": ["estimators", "needs", ""],
        "perturbations": ["perturbations", "as in --perturb", ""],
    }
    tables = (
        text_table(heads.get(room, [room, ""]), rooms[room], left=[0, 1, 2])
        for room in rooms
        if kind in (None, room)
    )
    say("\n\n".join(tables))
    return 0


def _needs_of(name: str) -> str:
    """What a user has to give an estimator; a dash if it cannot even be made."""
    try:
        return told_needs(estimator_named(name).needs.supplied)
    except Exception:  # one of another package may fail in any way, and hinders no other
        return "-"


def _default(make: Any) -> str:
    """How one writes a perturbation, with its usual strength."""
    return AUTO if make is sweep else str(make().name)


def _summary(thing: Any) -> str:
    """The first line of a docstring, without what marks up references and code."""
    first = (thing.__doc__ or "").strip().splitlines()[0].rstrip(".")
    return re.sub(r" \[\d+\]_|``", "", first)
