"""Build a family once for all tests that want it, or skip where a package is missing."""

import atexit
import functools
import importlib.util
import shutil
import tempfile
from pathlib import Path

import pytest

from families import FAMILIES
from families.family import Family


def build(family: Family, folder: Path) -> Path:
    """Write the family into `folder`, which is empty or not there yet; skip if it cannot be."""
    missing = [name for name in family.needs if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{family.name} needs {' and '.join(missing)}")
    folder.mkdir(parents=True, exist_ok=True)
    return family.build(folder)


@functools.cache
def _root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="families-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root


@functools.cache
def built(family: Family) -> Path:
    """The family's file, the same one all session long: read it, never write to it."""
    return build(family, _root() / family.name)


def find(name: str) -> Family:
    """The family of that name."""
    return next(family for family in FAMILIES if family.name == name)


def cases(*, heavy: bool = False) -> list:
    """Parameters for pytest: light families, or the heavy ones, which bear the mark `families`."""
    marks = {"heavy": pytest.mark.families} if heavy else {}
    return [
        pytest.param(
            family,
            id=family.name,
            marks=[*marks.values(), *([pytest.mark.slow] if family.slow else [])],
        )
        for family in FAMILIES
        if family.heavy == heavy
    ]
