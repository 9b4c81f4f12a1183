"""Small pictures of what models find on a few images, as a page shows and a file keeps them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onnx_cte.errors import OutputError

FORMAT = 1
"""Version of the JSON layout; raised when a reader of the old one would misread the new one."""

_PNG = "data:image/png;base64,"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one model finds on one image.

    Attributes
    ----------
    model : str
    contour : str
        Its outlines, a transparent PNG as a data URI, as large as the image's own; empty if it
        could not be run.
    flips : str
        How often each pixel's class flipped under perturbation, a PNG as a data URI; empty if
        nothing was disturbed.
    foreground : float
        Share of the image's pixels that it calls foreground.
    flipped : float
        Share of the foreground, of undisturbed and disturbed prediction together, that flips: mean
        over the perturbations; NaN if nothing was disturbed or it sees nothing.
    reason : str
        Why it could not be run; else empty.
    """

    model: str
    contour: str = ""
    flips: str = ""
    foreground: float = math.nan
    flipped: float = math.nan
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image under each model.

    Attributes
    ----------
    image : str
    why : str
        Why it was chosen: "typical".
    ground : str
        The image itself, a PNG as a data URI; empty if it could not be read.
    width, height : int
        Of the pictures, in pixels.
    reduced : float
        Pixels of the image along a side for one of the picture, 1 or more.
    labelled : bool
        Whether the contours show labels too.
    perturbations : tuple of str
        Under which pixels could flip, each draw by its name.
    drawn : tuple of Drawn
        In the order of the ranking.
    """

    image: str
    why: str
    ground: str = ""
    width: int = 0
    height: int = 0
    reduced: float = 1.0
    labelled: bool = False
    perturbations: tuple[str, ...] = ()
    drawn: tuple[Drawn, ...] = ()


def size_of(pictures: Sequence[Picture]) -> int:
    """Characters of all data URIs, which are nearly all that pictures weigh in a file."""
    drawn = [one for picture in pictures for one in picture.drawn]
    return sum(len(picture.ground) for picture in pictures) + sum(
        len(one.contour) + len(one.flips) for one in drawn
    )


def pictures_to_json(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return pictures as JSON values; an undefined number is null."""
    rows = [asdict(picture) for picture in pictures]
    for row in rows:
        for one in row["drawn"]:
            for name in ("foreground", "flipped"):
                one[name] = one[name] if math.isfinite(one[name]) else None
    return {"format": FORMAT, "pictures": rows}


def pictures_from_json(document: Mapping[str, Any]) -> tuple[Picture, ...]:
    """Turn what `pictures_to_json` returned into pictures again.

    Raises
    ------
    OutputError
        If it is not such a document, of a newer format, or names a picture that is no PNG within
        it: a page is self-contained.
    """
    if document.get("format") != FORMAT:
        raise OutputError(
            f"pictures of format {document.get('format')!r}; this version reads format {FORMAT}"
        )
    try:
        pictures = tuple(_picture(row) for row in document["pictures"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OutputError(f"pictures with something missing or misshapen: {error!r}") from error
    for picture in pictures:
        embedded = [picture.ground, *(d.contour for d in picture.drawn)]
        embedded += [d.flips for d in picture.drawn]
        for uri in embedded:
            if uri and not uri.startswith(_PNG):
                raise OutputError(
                    f"pictures of '{picture.image}': found '{uri[:40]}', expected a PNG, {_PNG}..."
                )
    return pictures


def _picture(row: Mapping[str, Any]) -> Picture:
    return Picture(
        **{
            **row,
            "reduced": float(row["reduced"]),
            "width": int(row["width"]),
            "height": int(row["height"]),
            "perturbations": tuple(row["perturbations"]),
            "drawn": tuple(
                Drawn(
                    **{
                        **one,
                        "foreground": _nan(one["foreground"]),
                        "flipped": _nan(one["flipped"]),
                    }
                )
                for one in row["drawn"]
            ),
        }
    )


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
