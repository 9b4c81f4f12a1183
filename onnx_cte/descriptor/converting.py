"""What is no ONNX yet, and by which command it becomes so."""

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

FRAMEWORKS = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors"), "PyTorch"),
    **dict.fromkeys((".keras", ".h5", ".hdf5"), "Keras"),
    **dict.fromkeys((".pb", ".tflite"), "TensorFlow"),
    ".msgpack": "Flax",
}
"""Frameworks by the endings of files that as a rule hold their networks."""

CHAPTER = "'From any framework' in the README says how"

_BY_ZOO = {"pytorch_state_dict", "torchscript"}  # what bioimageio.core turns into ONNX
_SHOWN = 3


def without_onnx(kinds: Collection[str], version: str, place: Path) -> str:
    """Say of a package without ONNX weights how it gets them.

    The commands are those of ``bioimageio.core``, tried with release 0.11. It converts packages of
    format 0.5 alone, so that older ones are brought to that first, and only what is PyTorch's.

    Parameters
    ----------
    kinds : collection of str
        The formats of its weights, as the zoo calls them.
    version : str
        Format of the description: "0.4.10".
    place : Path
        The package: a folder or a zip.

    Returns
    -------
    str
        With no name in front.

    Examples
    --------
    >>> print(without_onnx(["torchscript"], "0.5.4", Path("zoo/net")))  # doctest: +ELLIPSIS
    has no ONNX weights, only: torchscript; `bioimageio add-weights zoo/net zoo/net-onnx ...
    """
    found = f"has no ONNX weights, only: {', '.join(sorted(kinds))}"
    if not _BY_ZOO & set(kinds):
        return (
            f"{found}; {CHAPTER} a network of these becomes ONNX, and `onnx-cte package` makes a "
            "package of that"
        )
    if place.name in ("", ".."):  # "." and what ends in "..": their names are elsewhere
        place = place.resolve()
    stem = place.stem if place.suffix.lower() == ".zip" else place.name
    source, made = place, place.parent / f"{stem}-onnx"
    commands = []
    if version.startswith("0.4"):
        newer = place.parent / f"{stem}-0-5"
        commands.append(["update-format", str(source), "--output", str(newer)])
        source = newer
    commands.append(["add-weights", str(source), str(made), "--target-format", "onnx"])
    line = " && ".join(shlex.join(["bioimageio", *words]) for words in commands)
    return (
        f"{found}; `{line}` writes a package that has them ('Models as they come' in the README "
        "says how to get this command)"
    )


def foreign(path: Path) -> str:
    """Say of a file of another framework what to do with it; empty if it is none.

    Examples
    --------
    >>> foreign(Path("unet.onnx"))
    ''
    """
    framework = FRAMEWORKS.get(path.suffix.lower())
    if framework is None:
        return ""
    return f"{path.name}: by its name a file of {framework}, no ONNX; {CHAPTER} it becomes ONNX"


def passed_over(names: Sequence[str]) -> str:
    """Say which files of other frameworks were passed over; empty if there are none.

    Examples
    --------
    >>> print(passed_over(["a.pt", "b.h5"]))
    passed over: 2 files of other frameworks (a.pt, b.h5); 'From any framework' in the README says \
how they become ONNX
    """
    if not names:
        return ""
    shown = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
    several = f"{len(names)} files of other frameworks" if len(names) > 1 else "a file of another"
    several += " framework" * (len(names) == 1)
    they = "they become" if len(names) > 1 else "it becomes"
    return f"passed over: {several} ({shown}); {CHAPTER} {they} ONNX"
