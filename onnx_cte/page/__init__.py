"""A ranking as one self-contained page: nothing is fetched, and no name is ever code.

The template escapes all that it is given; the page's own script and style are named by their hash
in its content security policy, so that nothing else would run even if something slipped through.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

from onnx_cte.agreement import Agreement
from onnx_cte.page.origin import origin_of
from onnx_cte.page.scatter import HEIGHT, WIDTH, agreement_rows, scatter_of, told_of_truth
from onnx_cte.page.standings import standings_of
from onnx_cte.page.sweeping import swept_of
from onnx_cte.pictures import Picture, size_of
from onnx_cte.ranking import Ranking
from onnx_cte.tables import number, score_text
from onnx_cte.verdict import verdict

MODELS = 200
"""Models that are shown, best first."""

PICTURED = 7_000_000
"""Characters of pictures at most; a page stays below 10 MB."""

SCATTERS = 8
"""Estimators whose scores are drawn against performance; more stand in the table alone."""

LINES = 100
"""Lines of a list, of skipped images, say."""

LONGEST = 600
"""Characters of a reason."""

Compared = Sequence[tuple[Ranking, Agreement]]


def page_of(
    ranking: Ranking,
    *,
    performance: Ranking | None = None,
    compared: Compared = (),
    pictures: Sequence[Picture] = (),
) -> str:
    """Render a ranking as HTML.

    Parameters
    ----------
    ranking : Ranking
        What the page is about; of any number of models, also of none.
    performance : Ranking or None
        Against labels, where there are any.
    compared : sequence of (Ranking, Agreement)
        Rankings that are held against the performance; nothing without `performance`.
    pictures : sequence of Picture

    Returns
    -------
    str
        A whole document, of less than 10 MB. Of more than `MODELS` models, or more pictures than
        `PICTURED` allows, those of the last ranks are left out, and that is told.
    """
    # Not with the package: only a page needs them.
    import jinja2
    from markupsafe import Markup

    css, js = _file("page.css"), _file("page.js")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "score": score_text, "short": _short}
    return environment.from_string(_file("page.html")).render(
        ranking=ranking,
        verdict=verdict(ranking),
        standings=standings_of(ranking, MODELS),
        ranks={score.model: rank for rank, score in enumerate(ranking, 1)},
        issues=_issues(ranking),
        origin=origin_of(ranking),
        swept=swept_of(ranking.provenance.get("sweep")),
        lines=LINES,
        # Ours, and as they are, for the policy names them by their hash.
        css=Markup(css),
        js=Markup(js),
        css_hash=_hash(css),
        js_hash=_hash(js),
        **_truth(ranking, performance, compared),
        **_pictures(ranking, pictures),
    )


def _truth(ranking: Ranking, performance: Ranking | None, compared: Compared) -> Mapping[str, Any]:
    """What is known from labels."""
    if performance is None:
        return {"performance": None}
    marks = {score.model: str(rank) for rank, score in enumerate(ranking[:MODELS], 1)}
    drawn = compared[:SCATTERS]
    shown = compared[:LINES]
    own = [found for one, found in compared if one is ranking]
    return {
        "performance": performance,
        "told_of_truth": told_of_truth(performance, own[0]) if own else "",
        "scatters": [scatter_of(one, performance, found, marks) for one, found in drawn],
        "agreements": agreement_rows(shown),
        "margin": shown[0][1].margin if shown else 0.0,
        "field": (WIDTH, HEIGHT),
    }


def _pictures(ranking: Ranking, pictures: Sequence[Picture]) -> Mapping[str, Any]:
    """Pictures as far as there is room, and how many models they leave out."""
    order = {score.model: rank for rank, score in enumerate(ranking)}
    last = len(order)
    pictures = [
        replace(one, drawn=tuple(sorted(one.drawn, key=lambda d: order.get(d.model, last))))
        for one in pictures
    ]
    left_out = 0
    while size_of(pictures) > PICTURED and any(one.drawn for one in pictures):
        pictures = [replace(one, drawn=one.drawn[:-1]) for one in pictures]
        left_out += 1
    return {
        "pictures": pictures,
        "disturbed": _disturbed,
        "pictures_left_out": left_out,
        # What credibility measures on an image is one of its parts.
        "measured": "consistency" if "consistency" in ranking.parts else ranking.title,
        "values": {score.model: score.by_image for score in ranking},
        "agreed": {score.model: score.agreed for score in ranking if score.agreed},
    }


def _disturbed(picture: Picture) -> str:
    """The perturbations of a picture; those that were drawn several times are named once."""
    names = picture.perturbations
    first = [name.rpartition("#")[0] for name in names]
    draws = Counter(one if one in names else name for one, name in zip(first, names, strict=True))
    return ", ".join(name if n == 1 else f"{name} ({n} draws)" for name, n in draws.items())


def _issues(ranking: Ranking) -> Mapping[str, list[tuple[str, str]]]:
    """What did not go as it should, and what was assumed: lists of (whom, what)."""
    assumed: dict[str, list[str]] = {}
    by_image: dict[tuple[str, str], list[str]] = {}
    for score in ranking:
        for note in score.notes:
            assumed.setdefault(note, []).append(score.model)
        for pair in score.skipped:
            by_image.setdefault(pair, []).append(score.model)
    skipped = list(ranking.skipped)
    skipped += [
        (image, f"{reason} (by {', '.join(models)})")
        for (image, reason), models in by_image.items()
    ]
    found = {
        "failed, not ranked": list(ranking.failed),
        "images skipped": skipped,
        "assumed": [(", ".join(models), note) for note, models in assumed.items()],
    }
    return {title: rows for title, rows in found.items() if rows}


def _short(text: str) -> str:
    """A text that is not longer than `LONGEST`."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _file(name: str) -> str:
    return resources.files("onnx_cte.page").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
