"""Says in a description of format 0.4 otherwise what the zoo's library cannot turn into 0.5."""

import copy
from collections.abc import Mapping
from typing import Any


def adapted(written: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a description that means the same and can be turned into format 0.5.

    In format 0.4, values that hold for all channels may come with axes or as lists of one, and an
    output of fixed size may have a halo.

    Parameters
    ----------
    written : mapping
        A description as read; a malformed one, or one of another format, is left as it is.

    Returns
    -------
    dict
        Its own, down to the last list.
    """
    content = copy.deepcopy(dict(written))
    if not str(content.get("format_version")).startswith("0.4"):
        return content
    try:
        for tensor in [*content["inputs"], *content["outputs"]]:
            for step in tensor.get("preprocessing", tensor.get("postprocessing")) or ():
                _drop_needless_axes(step)
        for output in content["outputs"]:
            _refer_to_input(output, content["inputs"][0])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return copy.deepcopy(dict(written))  # malformed: the validation will say where
    return content


def _drop_needless_axes(step: dict[str, Any]) -> None:
    """Let a single gain, offset, mean or std be a plain number; gain and offset without axes."""
    options = step.get("kwargs") or {}
    values = {key: options[key] for key in ("gain", "offset", "mean", "std") if key in options}
    single = {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in values.items()}
    if not any(isinstance(value, list) for value in single.values()):
        options.update(single)
        if step["name"] == "scale_linear":
            options.pop("axes", None)


def _refer_to_input(output: dict[str, Any], image: Mapping[str, Any]) -> None:
    """Express the fixed sides of an output with halo by those of the input."""
    shape, halo, given = output["shape"], output.get("halo"), image["shape"]
    if not isinstance(shape, list) or not halo or not any(halo):
        return
    lowest, steps = (given, [0] * len(given)) if isinstance(given, list) else (
        given["min"], given["step"]
    )  # fmt: skip
    sides = dict(zip(image["axes"], lowest, strict=True))
    free = {axis for axis, step in zip(image["axes"], steps, strict=True) if step}
    rows = list(zip(output["axes"], shape, halo, strict=True))
    if any(pixels and (axis not in sides or axis in free) for axis, _, pixels in rows):
        return
    output["shape"] = {
        "reference_tensor": image["name"],
        "scale": [float(bool(pixels)) for _, _, pixels in rows],
        "offset": [(side - (sides[axis] if pixels else 0)) / 2 for axis, side, pixels in rows],
    }
