"""Turns a description, as the zoo's library reads it, into our own dataclasses.

Where the library's reading would change results, the description as written decides: which casts
are explicit (the library adds implied ones), whether statistics are those of one sample (0.4 says
so, 0.5 implies it by axes), and reference tensors (lost from 0.4).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_cte.descriptor import ModelDescription, Size, TensorSpec, channel_roles
from onnx_cte.descriptor.extents import output_extents
from onnx_cte.descriptor.files import test_tensor_of, weights_of
from onnx_cte.errors import DescriptorError
from onnx_cte.preprocessing import Step, check_steps
from onnx_cte.steps import STATISTICAL, STEPS

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import InputTensorDescr, ModelDescr, OutputTensorDescr

_LETTERS = {"batch": "b", "channel": "c", "index": "i", "time": "t"}  # by the type of an axis
_KEEPS_INTEGERS = {"binarize", "clip", "ensure_dtype"}


def translated(
    described: "ModelDescr", written: Mapping[str, Any], root: Path, given: Path
) -> ModelDescription:
    """Our description of a model.

    Parameters
    ----------
    described : ModelDescr
        As the zoo's library reads it.
    written : mapping
        As it was written, in format 0.4 or 0.5.
    root : Path
        The folder of the package.
    given : Path
        The package as it was given, for commands in errors.

    Returns
    -------
    ModelDescription

    Raises
    ------
    DescriptorError
        If files are missing or not those described, or for what we cannot do.
    """
    weights = weights_of(described, written, root, given)
    place = _only_input(described)
    image = described.inputs[place]
    notes: list[str] = []
    notes += [f"optional input '{t.id}' is left out" for t in described.inputs if t is not image]
    source = _input_spec(image, written["inputs"][place], place, notes)
    chosen = _first_map(described)
    maps = described.outputs[chosen]
    if len(described.outputs) > 1:
        notes.append(f"of {len(described.outputs)} outputs, '{maps.id}' is judged")
    target = _output_spec(maps, written["outputs"][chosen], chosen, image, source, notes)
    roles, assumed = channel_roles(target.channel_names or (target.name,))
    decoder, threshold = _decoder(written)
    return ModelDescription(
        name=str(described.name),
        weights=weights,
        input=source,
        output=target,
        test_input=test_tensor_of(image, root, notes),
        test_output=test_tensor_of(maps, root, notes),
        roles=roles,
        threshold=threshold,
        decoder=decoder,
        origin=f"zoo {written['format_version']}",
        notes=(*notes, *assumed),
    )


def _decoder(written: Mapping[str, Any]) -> tuple[Any, float]:
    """What makes objects of the maps, and the threshold, if the description says so.

    What makes no sense stays in it, to be told where objects are asked for.
    """
    config = written.get("config")
    entry = config.get("decoder") if isinstance(config, Mapping) else None
    if not isinstance(entry, Mapping):
        return entry, 0.5
    stated = {str(key): value for key, value in entry.items()}
    try:
        threshold = float(stated.get("threshold", 0.5))
    except (TypeError, ValueError):
        threshold = math.nan
    if not 0 <= threshold < 1:
        return stated, 0.5
    stated.pop("threshold", None)
    return stated or None, threshold  # a threshold alone leaves the decoder to the channels


def _only_input(described: "ModelDescr") -> int:
    """The place of the one input that has to be given."""
    places = [i for i, tensor in enumerate(described.inputs) if not tensor.optional]
    if len(places) > 1:
        names = ", ".join(f"'{described.inputs[i].id}'" for i in places)
        raise DescriptorError(f"needs {len(places)} inputs ({names}); expected one, the image")
    return places[0] if places else 0


def _first_map(described: "ModelDescr") -> int:
    """The place of the first output that is an image."""
    for place, tensor in enumerate(described.outputs):
        if {"y", "x"} <= {str(axis.id) for axis in tensor.axes}:
            return place
    names = ", ".join(f"'{tensor.id}'" for tensor in described.outputs)
    raise DescriptorError(f"no output has axes y and x (outputs: {names}); expected a map")


def _letters(tensor: "InputTensorDescr | OutputTensorDescr") -> dict[str, str]:
    """The letter of each axis, by its name in the description, in order."""
    letters: dict[str, str] = {}
    for axis in tensor.axes:
        name = str(axis.id)
        letter = _LETTERS.get(axis.type, name)
        if letter not in "bcitzyx" or letter in letters.values():
            raise DescriptorError(
                f"tensor '{tensor.id}' has an axis '{name}' ({axis.type}); expected at most one "
                "each of batch, channel, index, time, and space axes named z, y, x"
            )
        letters[name] = letter
    return letters


def _input_spec(
    tensor: "InputTensorDescr", written: Mapping[str, Any], index: int, notes: list[str]
) -> TensorSpec:
    """The image."""
    letters = _letters(tensor)
    if not {"y", "x"} <= set(letters.values()):
        raise DescriptorError(f"input '{tensor.id}' has no axes y and x; expected an image")
    own = {str(axis.id): axis for axis in tensor.axes}
    sizes: dict[str, Size] = {}
    for axis in tensor.axes:
        if axis.type in ("batch", "channel"):
            continue
        size: Any = axis.size
        shift = 0
        if hasattr(size, "axis_id"):
            reference = own.get(str(size.axis_id))
            if size.tensor_id != tensor.id or reference is None or reference.scale != axis.scale:
                raise DescriptorError(
                    f"axis '{axis.id}' of input '{tensor.id}' is sized by "
                    f"{size.tensor_id}.{size.axis_id}; expected a size of its own, or that of "
                    "another axis of the same input in the same scale"
                )
            notes.append(
                f"input side {axis.id} is tied to side {size.axis_id}: choose both together"
            )
            shift, size = size.offset, reference.size
        minimum, step = (size, 0) if isinstance(size, int) else (size.min, size.step)
        sizes[letters[str(axis.id)]] = Size(minimum + shift, step)
    steps = _steps(tensor, tensor.preprocessing, written.get("preprocessing"), letters, notes)
    return _spec(tensor, letters, index, sizes=tuple(sizes.items()), steps=steps)


def _output_spec(
    tensor: "OutputTensorDescr",
    written: Mapping[str, Any],
    index: int,
    image: "InputTensorDescr",
    source: TensorSpec,
    notes: list[str],
) -> TensorSpec:
    """The maps that are judged."""
    letters = _letters(tensor)
    extents = output_extents(tensor, letters, image, _letters(image), source)
    steps = _steps(tensor, tensor.postprocessing, written.get("postprocessing"), letters, notes)
    return _spec(
        tensor,
        letters,
        index,
        steps=steps,
        sizes=tuple(extents.sizes.items()),
        halo=tuple(extents.halo.items()),
        border=tuple(extents.border.items()),
        scale=tuple(extents.scale.items()),
    )


def _spec(
    tensor: "InputTensorDescr | OutputTensorDescr",
    letters: Mapping[str, str],
    index: int,
    **rest: Any,
) -> TensorSpec:
    """What inputs and outputs have in common; the steps are tried on a blank image."""
    names = next((a.channel_names for a in tensor.axes if a.type == "channel"), None)
    spec = TensorSpec(
        name=str(tensor.id),
        axes="".join(letters.values()),
        channels=None if names is None else len(names),
        channel_names=tuple(map(str, names or ())),
        dtype=tensor.dtype,
        index=index,
        **rest,
    )
    try:
        check_steps(spec.steps, spec.axes, spec.channels)
    except DescriptorError as error:
        raise DescriptorError(f"tensor '{spec.name}': {error}") from error
    return spec


def _steps(
    tensor: "InputTensorDescr | OutputTensorDescr",
    described: Sequence[Any],
    written: Sequence[Mapping[str, Any]] | None,
    letters: Mapping[str, str],
    notes: list[str],
) -> tuple[Step, ...]:
    """The steps that are written in the description, without those the library implies."""
    written = written or ()
    first = 0
    if hasattr(tensor, "preprocessing"):
        explicit = bool(written) and written[0].get("id") == "ensure_dtype"
        first = 0 if explicit else 1
    kept = described[first : first + len(written)]
    steps: list[Step] = []
    for entry, raw in zip(kept, written, strict=True):
        options = raw.get("kwargs") or {}
        _check_reference(tensor, entry.id, options.get("reference_tensor"), steps)
        steps.append(_step(tensor, entry, letters))
        if entry.id in STATISTICAL and _over_dataset(entry, options):
            notes.append(
                f"{entry.id} of '{tensor.id}': statistics of each image, where the description "
                "would take those of all images together"
            )
    implied = {"before": described[:first], "after": described[first + len(written) :]}
    where = [k for k, casts in implied.items() if any(_to_integers(cast) for cast in casts)]
    if where and any(step.name not in _KEEPS_INTEGERS for step in steps):
        notes.append(
            f"'{tensor.id}' is declared as {tensor.dtype}: the cast to it that the format implies "
            f"{' and '.join(where)} the steps is left out"
        )
    return tuple(steps)


def _step(
    tensor: "InputTensorDescr | OutputTensorDescr", entry: Any, letters: Mapping[str, str]
) -> Step:
    """One step, its axes as letters."""
    if entry.id not in STEPS:
        return Step.of(entry.id)  # to be refused, whatever its options
    options = {k: v for k, v in entry.kwargs.model_dump(mode="json").items() if v is not None}
    options.pop("reference_tensor", None)
    named = [*options.get("axes", ()), *([options["axis"]] if "axis" in options else ())]
    if missing := [name for name in named if name not in letters]:
        raise DescriptorError(
            f"{entry.id} of '{tensor.id}' names axis '{missing[0]}'; there are: "
            f"{', '.join(letters)}"
        )
    if "axes" in options:
        inside = set(options["axes"]) - {"batch"}
        options["axes"] = "".join(letter for name, letter in letters.items() if name in inside)
    if "axis" in options:
        options["axis"] = letters[options["axis"]]
    return Step.of(entry.id, **options)


def _check_reference(
    tensor: "InputTensorDescr | OutputTensorDescr",
    name: str,
    reference: str | None,
    before: Iterable[Step],
) -> None:
    """Refuse statistics of another tensor than the one at hand."""
    if reference is None or name not in STEPS:
        return
    changed = any(step.name != "ensure_dtype" for step in before)
    if str(reference) != str(tensor.id) or changed or not hasattr(tensor, "preprocessing"):
        raise DescriptorError(
            f"{name} of '{tensor.id}' takes its statistics from tensor '{reference}' as it was "
            "before all steps; supported are only those of the tensor at hand"
        )


def _over_dataset(entry: Any, written: Mapping[str, Any]) -> bool:
    """Whether the zoo's runtime would take statistics over all images it has seen."""
    if entry.id == "clip" and entry.kwargs.min_percentile is entry.kwargs.max_percentile is None:
        return False
    if "mode" in written:  # format 0.4
        return bool(written["mode"] == "per_dataset")
    return entry.kwargs.axes is None or "batch" in entry.kwargs.axes


def _to_integers(cast: Any) -> bool:
    """Whether a cast is to integers or to bool."""
    return not cast.kwargs.dtype.startswith("float")
