"""A path that is not there is often one that is, with a slip of the finger."""

import difflib
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx_cte.errors import CTEError


@contextmanager
def suggesting(*places: str | Path | None) -> Iterator[None]:
    """Add to an error, where one of these paths or patterns is not there, one that is like it."""
    try:
        yield
    except CTEError as error:
        near = [found for place in places if place and (found := nearest(place))]
        if not near:
            raise
        raise type(error)(f"{error}; did you mean '{near[0]}'?") from error


def nearest(place: str | Path) -> str:
    """The path that is there and most like this one, of which one name is mistyped.

    Parameters
    ----------
    place : str or Path
        A path or a pattern.

    Returns
    -------
    str
        Empty if the path is there, or nothing is like it.
    """
    path = Path(place)
    if path.exists() or path.anchor == str(path):
        return ""
    there = next(parent for parent in path.parents if parent.exists() or parent == Path())
    missing, *below = path.relative_to(there).parts
    if glob.has_magic(missing):
        return ""  # the folder is there: it is the pattern that fits nothing
    try:
        names = {name.casefold(): name for name in sorted(os.listdir(there))}
    except OSError:
        return ""
    for like in difflib.get_close_matches(missing.casefold(), names):
        found = there.joinpath(names[like], *below)
        if found.exists() or any(map(glob.has_magic, below)):
            return str(found)
    return ""
