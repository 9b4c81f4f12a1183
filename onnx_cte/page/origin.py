"""What a run was made with, as lines of a page."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx_cte.ranking import Ranking

_LONGEST = 1000  # characters of one value


@dataclass(frozen=True, slots=True)
class Ran:
    """How one model was run; `more` is what else it recorded of itself."""

    model: str
    provider: str
    sha256: str
    more: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Provenance for a page.

    Attributes
    ----------
    command : str
        The command line of the run; empty if it was called from Python, or nobody noted it.
    folder : str
        Where the command was given.
    facts : tuple of (name, text)
    models : tuple of Ran
        By name.
    providers : tuple of str
        What executed the networks.
    """

    command: str
    folder: str
    facts: tuple[tuple[str, str], ...]
    models: tuple[Ran, ...]
    providers: tuple[str, ...]


def origin_of(ranking: Ranking) -> Origin:
    """What the provenance of a ranking says; nothing that it says is left out but the sweep.

    Parameters
    ----------
    ranking : Ranking
        Its provenance may be empty, and hold what other programs added.

    Returns
    -------
    Origin
    """
    made_with = dict(ranking.provenance)
    made_with.pop("sweep", None)  # it has a section of its own
    records = _mapping(made_with.pop("models", {}))
    time = _mapping(made_with.pop("time", {}))
    command, folder = str(time.pop("command", "")), str(time.pop("folder", ""))
    packages = _mapping(made_with.pop("packages", {}))
    facts = [("estimator", ranking.estimator), ("seed", str(ranking.seed))]
    facts += [(name.replace("_", " "), _text(value)) for name, value in made_with.items()]
    facts += [(name, _text(version)) for name, version in packages.items()]
    facts += [(name.replace("_", " "), _text(value)) for name, value in time.items()]
    models = tuple(_ran(name, _mapping(record)) for name, record in sorted(records.items()))
    providers = tuple(sorted({ran.provider for ran in models if ran.provider}))
    return Origin(command, folder, tuple(facts), models, providers)


def _ran(model: str, record: Mapping[str, Any]) -> Ran:
    more = tuple(
        (name.replace("_", " "), _text(value))
        for name, value in record.items()
        if name not in ("provider", "sha256")
    )
    return Ran(model, _text(record.get("provider", "")), _text(record.get("sha256", "")), more)


def _mapping(value: Any) -> dict[str, Any]:
    return {str(name): one for name, one in value.items()} if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    """A JSON value as text: lists of texts a line each, others as JSON."""
    if value is None:
        return "-"
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        text = "\n".join(value)
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
