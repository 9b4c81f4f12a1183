"""Objects of a user's own Python files: the code that makes a network."""

import importlib.util
import sys
from pathlib import Path
from typing import Any


def load_object(place: str) -> Any:
    """What a Python file calls by this name.

    Parameters
    ----------
    place : str
        ``FILE.py:NAME``. The file is run, and what lies beside it can be imported by it.

    Returns
    -------
    object

    Raises
    ------
    SystemExit
        If there is no such file, or no such name in it.
    """
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not (file and name.isidentifier()):
        raise SystemExit(f"{place}: expected FILE.py:NAME, such as unet.py:make")
    if not path.is_file():
        raise SystemExit(f"{place}: there is no file '{path}'")
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # Dataclasses and Flax's modules look themselves up there.
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        there = ", ".join(key for key in vars(module) if not key.startswith("_"))
        raise SystemExit(f"{place}: '{path}' has no '{name}'; it has {there}")
    return getattr(module, name)


def made(place: str) -> Any:
    """The object itself, or, if it is a class or function without arguments, what it makes."""
    found = load_object(place)
    is_module = callable(getattr(found, "eval", None)) or callable(getattr(found, "apply", None))
    return found if is_module and not isinstance(found, type) else found()
