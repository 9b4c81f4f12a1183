"""What people should know of a model: its name, its authors, its licence."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnx_cte.descriptor import ModelDescription
from onnx_cte.errors import OptionError

_LETTERS = "A-Za-z0-9_+() -"  # of a name, says the format
SHORTEST, LONGEST = 5, 128
"""Letters of a name."""
_DOI = re.compile(r"10\.\d{4,}/[^\s,;]+")
_URL = re.compile(r"https?://[^\s,;]+")


@dataclass(frozen=True, slots=True)
class Card:
    """What people should know of a model; what is empty is left out of the description.

    Attributes
    ----------
    name, description : str
    authors : tuple of str
    license : str
        Of SPDX: "MIT", "CC-BY-4.0".
    cite : tuple of str
        Texts, each with a DOI or an address in it.
    missing : tuple of str
        What was not stated and the zoo asks for in an upload, or was made up here.
    """

    name: str
    description: str
    authors: tuple[str, ...]
    license: str
    cite: tuple[str, ...]
    missing: tuple[str, ...]

    def entries(self) -> dict[str, Any]:
        """Its part of a description in format 0.5."""
        stated: dict[str, Any] = {"name": self.name, "description": self.description}
        if self.authors:
            stated["authors"] = [{"name": author} for author in self.authors]
        if self.cite:
            stated["cite"] = [_citation(text) for text in self.cite]
        if self.license:
            stated["license"] = self.license
        return stated


def card_of(
    described: ModelDescription,
    *,
    name: str | None = None,
    description: str | None = None,
    authors: Sequence[str] = (),
    license: str | None = None,
    cite: Sequence[str] = (),
) -> Card:
    """A card of what is stated, with a name and a description where they are not.

    Parameters
    ----------
    described : ModelDescription
        What is known of the model otherwise; named after its file.
    name, description, authors, license, cite
        As stated; see `Card`.

    Returns
    -------
    Card

    Raises
    ------
    OptionError
        If the format takes no such name, or a citation has neither a DOI nor an address.
    """
    missing = []
    if name is None:
        name = re.sub(f"[^{_LETTERS}]+", "-", described.name).strip("-")[:LONGEST]
        name = name if len(name) >= SHORTEST else f"model {name}".strip()
        missing.append(f"name '{name}', after the file")
    odd = re.sub(f"[{_LETTERS}]", "", name)
    if odd or not SHORTEST <= len(name) <= LONGEST:
        what = f"has '{odd[0]}' in it" if odd else f"has {len(name)} letters"
        raise OptionError(
            f"the name '{name}' {what}; the zoo's format takes {SHORTEST} to {LONGEST} letters, "
            "digits, spaces and _ + - ( )"
        )
    if description is None:
        kind = "volumes" if "z" in described.input.axes else "planes"
        count = described.input.channels or 1
        description = (
            f"Segmentation network that takes {kind} of {count} channel{'s' * (count > 1)} and "
            f"gives {', '.join(described.roles)}."
        )
        missing.append("description, made up of what the network takes and gives")
    for text in cite:
        if not (_DOI.search(text) or _URL.search(text)):
            raise OptionError(
                f"citation '{text}': expected a DOI (10.1038/...) or an address (https://...) in "
                "it, which the zoo's format asks for"
            )
    lacking = {"author": authors, "license": license, "cite": cite}
    missing += [f"--{what} is not stated" for what, stated in lacking.items() if not stated]
    return Card(name, description, tuple(authors), license or "", tuple(cite), tuple(missing))


def _citation(text: str) -> dict[str, str]:
    doi, url = _DOI.search(text), _URL.search(text)
    if doi:
        return {"text": text, "doi": doi.group().rstrip(".)")}
    return {"text": text, "url": url.group().rstrip(".)") if url else ""}
