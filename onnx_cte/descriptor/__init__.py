"""What is known of a model besides its network: tensors, steps, and the meaning of its channels."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_cte.preprocessing import Step
from onnx_cte.types import BACKGROUND, BOUNDARY, FOREGROUND

__all__ = [
    "ModelDescription",
    "Size",
    "Step",
    "TensorSpec",
    "channel_roles",
    "describe",
    "is_probability",
    "role_named",
]

_WORDS = {
    BACKGROUND: {"background", "bg"},
    BOUNDARY: {"boundary", "boundaries", "border", "borders", "edge", "edges"}
    | {"membrane", "membranes", "contour", "contours", "outline", "outlines"},
    FOREGROUND: {"foreground", "fg", "mask", "masks", "object", "objects", "cell", "cells"}
    | {"nucleus", "nuclei", "mitochondrion", "mitochondria"}
    | {"inside", "interior"},
}
# Maps that are no probabilities, whatever they are the distance to or the flow of.
_OTHER = {"distance", "distances", "dist", "flow", "flows", "offset", "affinity", "affinities"}
_OTHER |= {"ray", "rays", "radius", "dx", "dy", "dz"}
# Of what, such a name does not say.
_PROBABLE = {"prob", "probability", "cellprob"}


@dataclass(frozen=True, slots=True)
class Size:
    """The sides an axis can have: `minimum` + n * `step` pixels, n = 0, 1, 2, ...

    A step of 0 means that the side is fixed.

    Examples
    --------
    >>> print(Size(64, 16), Size(256, 0), sep="; ")
    64 + n * 16; 256
    >>> Size(64, 16).rule, Size(256, 0).rule
    ((64, 16), 256)
    """

    minimum: int
    step: int

    @property
    def rule(self) -> int | tuple[int, int]:
        """The fixed side alone, or (minimum, step)."""
        return (self.minimum, self.step) if self.step else self.minimum

    def __str__(self) -> str:
        return f"{self.minimum} + n * {self.step}" if self.step else str(self.minimum)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a network.

    Attributes
    ----------
    name : str
        In the description; the ONNX file may name it otherwise.
    axes : str
        One letter a dimension, in the network's own order: "bcyx", "byxc", "byx".
    sizes : tuple of (axis, Size)
        Of all axes but b and c. For an output, only of those that do not follow the input.
    channels : int or None
        None: no channel axis.
    channel_names : tuple of str
    dtype : str
        As declared; the ONNX file itself has the last word.
    steps : tuple of Step
        Before the network (input), or after it (output).
    halo : tuple of (axis, int)
        Output pixels, per side, that lack context and are cropped where tiles meet.
    border : tuple of (axis, int)
        Pixels, per side, by which the output is smaller than the input.
    scale : tuple of (axis, int)
        How many times the output is coarser than the input; 1 where nothing is said.
    index : int
        Position among the inputs or outputs of the network.
    """

    name: str
    axes: str
    sizes: tuple[tuple[str, Size], ...] = ()
    channels: int | None = None
    channel_names: tuple[str, ...] = ()
    dtype: str = "float32"
    steps: tuple[Step, ...] = ()
    halo: tuple[tuple[str, int], ...] = ()
    border: tuple[tuple[str, int], ...] = ()
    scale: tuple[tuple[str, int], ...] = ()
    index: int = 0

    def size_along(self, axis: str) -> Size | None:
        """The size of an axis; None where there is none of its own."""
        return dict(self.sizes).get(axis)

    def halo_along(self, axis: str) -> int:
        """Pixels per side that lack context."""
        return dict(self.halo).get(axis, 0)

    def border_along(self, axis: str) -> int:
        """Pixels per side by which the output is smaller than the input."""
        return dict(self.border).get(axis, 0)

    def scale_along(self, axis: str) -> int:
        """How many times the output is coarser than the input."""
        return dict(self.scale).get(axis, 1)


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """All that is known of a model besides its network.

    Attributes
    ----------
    name : str
    weights : Path
        The ONNX file.
    input, output : TensorSpec
        The image, and the maps that are judged.
    test_input, test_output : Path or None
        Arrays (.npy) the network's authors give as an example, before and after all steps.
    roles : tuple of str
        What each channel of the output means: see `channel_roles`.
    threshold : float
        Foreground is where its probability is strictly greater.
    decoder : str or mapping or None
        What turns the maps into objects, as the description has it under ``config: decoder:``; see
        `onnx_cte.postprocessing`.
    origin : str
        Where the description comes from: "zoo 0.5.4", "bare".
    notes : tuple of str
        Everything that was assumed or adapted.
    """

    name: str
    weights: Path
    input: TensorSpec
    output: TensorSpec
    test_input: Path | None = None
    test_output: Path | None = None
    roles: tuple[str, ...] = (FOREGROUND,)
    threshold: float = 0.5
    decoder: Any = None
    origin: str = "bare"
    notes: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """SHA-256, in hex, of all here that determines the predictions.

        That is the tensors with their steps, the roles and the threshold; neither name, nor
        origin, nor where the files lie, nor the decoder, which is looked up when objects are asked
        for. What is in the ONNX file is not part of it.
        """
        content = {
            "input": dataclasses.asdict(self.input),
            "output": dataclasses.asdict(self.output),
            "roles": self.roles,
            "threshold": float(self.threshold),
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def channel_roles(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the channels of an output mean, judged by their names.

    The first channel that is called something like foreground (nuclei, cells, mask, ...),
    background or boundary (membrane, edge, ...) gets that role; other names are kept. Without a
    background there has to be a foreground: if no name says so, it is the only channel, or the
    first that is neither a boundary nor called a distance, a flow or the like.

    Parameters
    ----------
    names : sequence of str, not empty
        One per channel.

    Returns
    -------
    roles : tuple of str
        One per channel, all different.
    notes : tuple of str
        What was assumed.

    Examples
    --------
    >>> channel_roles(["Cell membrane", "nuclei"])
    (('boundary', 'foreground'), ())
    >>> channel_roles(["channel0"])
    (('foreground',), ("the only output channel, 'channel0', is taken as foreground",))
    """
    found = [role_named(name) for name in names]
    if len(names) == 1:
        if found[0] == FOREGROUND:
            return (FOREGROUND,), ()
        return (FOREGROUND,), (f"the only output channel, '{names[0]}', is taken as foreground",)
    notes = []
    roles: list[str] = []
    for place, (name, role) in enumerate(zip(names, found, strict=True)):
        wanted = role if role and role not in roles else str(name)
        if role and wanted != role:
            notes.append(f"output channel '{name}' could be the {role} too; an earlier one is")
        if wanted in roles or (wanted in _WORDS and wanted != role):
            wanted = f"channel{place}"
        roles.append(wanted)
    if FOREGROUND not in roles and BACKGROUND not in roles:
        open_to_it = [i for i, name in enumerate(names) if _could_be_foreground(name, found[i])]
        probable = [i for i in open_to_it if _words(names[i]) & _PROBABLE]
        first = (probable or open_to_it or [0])[0]
        notes.append(
            f"no output channel is named as foreground; the one named '{names[first]}', "
            f"number {first + 1} of {len(names)}, is taken as it"
        )
        roles[first] = FOREGROUND
    return tuple(roles), tuple(notes)


def describe(description: ModelDescription) -> str:
    """What was understood of a model, a line for each thing.

    Examples
    --------
    >>> image = TensorSpec("image", "bcyx", (("y", Size(64, 16)), ("x", Size(64, 16))), 1)
    >>> print(describe(ModelDescription("unet", Path("unet.onnx"), image, TensorSpec("p", "bcyx"))))
    unet (bare)
      input   image, bcyx, float32, channels: 1, y: 64 + n * 16, x: 64 + n * 16
      before  no steps
      output  p, bcyx, float32, as large as the input
      after   no steps
      roles   foreground, threshold 0.5
    """
    spec, out = description.input, description.output
    sides = [f"{axis}: {size}" for axis, size in spec.sizes]
    follows = [f"halo {axis}: {pixels}" for axis, pixels in out.halo]
    follows += [f"smaller on each side by {pixels} along {axis}" for axis, pixels in out.border]
    follows += [f"{times} times coarser along {axis}" for axis, times in out.scale if times > 1]
    follows += [] if out.border or out.scale else ["as large as the input"]
    lines = [
        f"{description.name} ({description.origin})",
        f"  input   {', '.join([spec.name, spec.axes, spec.dtype, *_channels(spec), *sides])}",
        f"  before  {_chain(spec.steps)}",
        f"  output  {', '.join([out.name, out.axes, out.dtype, *_channels(out), *follows])}",
        f"  after   {_chain(out.steps)}",
        f"  roles   {', '.join(description.roles)}, threshold {description.threshold:g}",
        *(f"  note    {note}" for note in description.notes),
    ]
    return "\n".join(lines)


def role_named(name: str) -> str | None:
    """The role a channel's name tells of, if any.

    Examples
    --------
    >>> role_named("cell membrane"), role_named("nuclei"), role_named("vessel")
    ('boundary', 'foreground', None)
    """
    words = _words(name)
    if words & _OTHER:
        return None
    # In "cell boundary" and "background of nuclei" the last word to be asked for is the object.
    return next((role for role, known in _WORDS.items() if words & known), None)


def is_probability(role: str) -> bool:
    """Whether a channel of this role, or name, holds probabilities: distances and flows do not.

    Examples
    --------
    >>> [is_probability(role) for role in ("foreground", "vessel", "ray0", "flow_y", "channel3")]
    [True, True, False, False, False]
    """
    # Of a channel without a name nobody knows.
    return not (_words(role) & _OTHER or re.fullmatch(r"channel\d+", role))


def _could_be_foreground(name: str, role: str | None) -> bool:
    return role != BOUNDARY and not _words(name) & _OTHER


def _words(name: str) -> set[str]:
    return set(re.findall("[a-z]+", str(name).lower()))


def _channels(spec: TensorSpec) -> list[str]:
    """How many channels, as a list of one text or none."""
    return [] if spec.channels is None else [f"channels: {spec.channels}"]


def _chain(steps: Sequence[Step]) -> str:
    """Steps in their order."""
    return ", then ".join(map(str, steps)) or "no steps"
