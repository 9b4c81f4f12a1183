"""A model's description in the words of the zoo's format 0.5."""

from collections.abc import Sequence
from typing import Any

from onnx_cte.descriptor import ModelDescription, Step, TensorSpec
from onnx_cte.packaging.card import Card

IMAGE, MAPS = "image", "maps"
"""Names of the two tensors."""
_AXES = {"b": "batch", "c": "channel"}
_GREY, _COLOUR = ("grey",), ("red", "green", "blue")


def tensors_of(described: ModelDescription, batch: int | None) -> dict[str, Any]:
    """The entries ``inputs`` and ``outputs``, without their test tensors.

    `batch` is how many images the network takes at once; None: any number.

    Casts are left out: the format implies one to the type of the data, before and after all steps.
    A step that the format has no word for is left out too, see `unspeakable`.
    """
    spec, out = described.input, described.output
    image = {
        "id": IMAGE,
        "axes": [_input_axis(spec, letter, batch) for letter in spec.axes],
        "data": {"type": spec.dtype},
    }
    if spec.steps:
        image["preprocessing"] = [_step(step) for step in spec.steps]
    maps = {
        "id": MAPS,
        "axes": [_output_axis(described, letter, batch) for letter in out.axes],
        "data": {"type": "float32"},
    }
    told = [step for step in out.steps if step not in unspeakable(described)]
    if told:
        maps["postprocessing"] = [_step(step) for step in told]
    return {"inputs": [image], "outputs": [maps]}


def unspeakable(described: ModelDescription) -> tuple[Step, ...]:
    """Steps after the network that the format has no word for: those of some channels alone."""
    return tuple(step for step in described.output.steps if step.get("channels") is not None)


def channel_names(described: ModelDescription) -> tuple[str, ...]:
    """What the output's channels are called, such that reading them gives the same roles.

    Names that were stated stay; a bare file's "channel0" says nothing, and its role is taken.
    """
    names = described.output.channel_names
    nameless = tuple(f"channel{place}" for place in range(len(names)))
    return described.roles if names in ((), nameless) else names


def whole(content: dict[str, Any], card: Card) -> dict[str, Any]:
    """A complete description: what it is, what people should know, and the rest."""
    return {
        **{key: content[key] for key in ("format_version", "type")},
        **card.entries(),
        **{key: value for key, value in content.items() if key not in ("format_version", "type")},
    }


def _input_axis(spec: TensorSpec, letter: str, batch: int | None) -> dict[str, Any]:
    if letter == "b":
        return _batch(batch)
    if letter == "c":
        return {"type": "channel", "channel_names": _colours(spec.channels or 1)}
    size = spec.size_along(letter)
    assert size is not None  # every side of an image has one
    rule = {"min": size.minimum, "step": size.step} if size.step else size.minimum
    return {"type": "space", "id": letter, "size": rule}


def _output_axis(described: ModelDescription, letter: str, batch: int | None) -> dict[str, Any]:
    out = described.output
    if letter == "b":
        return _batch(batch)
    if letter == "c":
        return {"type": "channel", "channel_names": list(channel_names(described))}
    size: dict[str, Any] = {"tensor_id": IMAGE, "axis_id": letter}
    if border := out.border_along(letter):
        size["offset"] = -2 * border
    axis: dict[str, Any] = {"type": "space", "id": letter, "size": size}
    times = out.scale_along(letter)
    if times > 1:
        axis["scale"] = float(times)
    if halo := out.halo_along(letter):
        axis["halo"] = halo // times
    return axis


def _batch(batch: int | None) -> dict[str, Any]:
    return {"type": "batch"} if batch is None else {"type": "batch", "size": batch}


def _colours(channels: int) -> list[str]:
    known: dict[int, Sequence[str]] = {1: _GREY, 3: _COLOUR}
    return list(known.get(channels, [f"channel{place}" for place in range(channels)]))


def _step(step: Step) -> dict[str, Any]:
    """A step of ours, its axes by their names there."""
    options = dict(step.options)
    if "axes" in options:
        options["axes"] = [_AXES.get(letter, letter) for letter in options["axes"]]
    if "axis" in options:
        options["axis"] = _AXES.get(options["axis"], options["axis"])
    return {"id": step.name, "kwargs": options} if options else {"id": step.name}
