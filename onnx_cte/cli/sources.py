"""``--source``: where the images and labels lie that models were trained on."""

import glob
import os
from collections.abc import Collection, Sequence
from typing import Any

import click

from onnx_cte.cli.options import by_model
from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.images import Images

SOURCE = click.option(
    "--source",
    multiple=True,
    metavar="MODEL=IMAGES:LABELS",
    help="Images and labels of this model's own training domain, each a folder or a quoted "
    "pattern, for estimators that compare with them. --axes, --channel and --volumes hold for "
    "them too, --limit and --only do not. May be repeated.",
)


def sources_of(
    stated: Sequence[str], names: Collection[str], options: dict[str, Any]
) -> dict[str, Images]:
    """Source images by model, as ``--source`` says.

    Parameters
    ----------
    stated : sequence of str
        Each ``MODEL=IMAGES:LABELS``.
    names : collection of str
        The models there are.
    options : dict
        Of these, `axes`, `channel` and `volumes` are used.

    Returns
    -------
    dict of str to Images

    Raises
    ------
    OptionError
        If a text is none, or names a model that is not there, or is named twice.
    NothingToRank, LabelsError
        If there are no images or no labels.
    """
    expected = (
        "MODEL=IMAGES:LABELS, a model's name in the ranking and two folders or patterns, of images "
        "and of their labels"
    )
    taken = {name: options[name] for name in ("axes", "channel", "volumes")}
    found = {}
    for model, text in by_model("--source", stated, names, "sources", expected).items():
        if model not in names:
            raise unknown_name("model in --source", model, names)
        parts = split_pair(text)
        if parts is None:
            raise OptionError(f"--source {model}={text}: expected {expected}")
        found[model] = Images(*parts, **taken)
    return found


def split_pair(text: str) -> tuple[str, str] | None:
    """Images and labels, at the colon where both sides are there; None without a colon.

    A colon may be part of a path. Where no colon has something that exists on both sides, that with
    one such side is taken, and else the first: reading the images tells what is not there.
    """
    places = [place for place in range(1, len(text) - 1) if text[place] == ":"]
    if not places:
        return None
    place = max(places, key=lambda at: _is_there(text[:at]) + _is_there(text[at + 1 :]))
    return text[:place], text[place + 1 :]


def _is_there(text: str) -> bool:
    """Whether a path exists, or a pattern matches anything."""
    if os.path.exists(text):
        return True
    return glob.has_magic(text) and next(glob.iglob(text, recursive=True), None) is not None
