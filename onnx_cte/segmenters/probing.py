"""What a bare ONNX file takes and gives: read from its graph, and where that is silent, tried out.

Everything that is not certain is written down as a note, so that it can be shown and stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.descriptor import ModelDescription, Size, TensorSpec
from onnx_cte.errors import GraphError, InferenceError
from onnx_cte.preprocessing import named_steps
from onnx_cte.segmenters.network import require_floats, require_single_input
from onnx_cte.sessions import Port, Session

STEPS = (1, 2, 4, 8, 16, 32, 64)
"""Strides tried, in this order: the first at which the network runs is the one it needs."""
MOST_CHANNELS = 16  # more than that along an axis are taken for pixels
HALO = 64  # px, for a network that does not say how far it looks; used only where tiles meet
_AROUND = 96  # px, least side of a trial image: networks of five scales still have 3 px at the last


@dataclass(frozen=True, slots=True)
class _Trial:
    """A size at which the network ran, and what came out."""

    sides: tuple[int, int]
    steps: tuple[int, int]
    outputs: list[NDArray[Any]]


# Position of the output that is a map, its axes, and px missing on each side of it.
_Map = tuple[int, str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Layout:
    axes: str
    channels: int
    sides: tuple[int | None, int | None]
    note: str = ""

    def shape(self, sides: tuple[int, int]) -> tuple[int, ...]:
        lengths = {"b": 1, "c": self.channels, "y": sides[0], "x": sides[1]}
        return tuple(lengths[axis] for axis in self.axes)


def describe_bare(
    path: Path, session: Session, *, normalize: str | None, opset: int
) -> ModelDescription:
    """Description of an ONNX file that comes without one.

    Parameters
    ----------
    path : Path
    session : Session
        The file, loaded.
    normalize : str or None
        Normalisation as the user stated it (see `onnx_cte.preprocessing.named_steps`); None
        assumes percentiles, and says so.
    opset : int
        Of the file, for the record.

    Returns
    -------
    ModelDescription
        Its roles are provisional: `onnx_cte.segmenters.outputs.settle` judges them.

    Raises
    ------
    GraphError
        If it takes no image, cannot be run at any size tried, or gives no map of an image's size.
    """
    require_single_input(session)
    port = session.inputs[0]
    require_floats(path.name, port)
    trial, layout, (index, axes, border) = _first_that_runs(path, session, _layouts(path, port))
    raw = trial.outputs[index]
    sizes = tuple(
        Size(fixed, 0) if fixed else Size(_smallest(session, port, layout, step), step)
        for fixed, step in zip(layout.sides, trial.steps, strict=True)
    )
    halo = tuple(map(assumed_halo, sizes))
    notes = [
        f"no description: read from the graph (opset {opset}) and by running it",
        f"input '{port.name}' is {layout.axes}, channels: {layout.channels}, y: {sizes[0]}, "
        f"x: {sizes[1]}",
        f"normalised by {normalize or 'percentile'} ({'as stated' if normalize else 'assumed'})",
        f"where tiles meet, {halo[0]} px are cropped (assumed)",
    ]
    notes += [layout.note] if layout.note else []
    if len(session.outputs) > 1:
        names = ", ".join(output.name for output in session.outputs)
        notes.append(f"of the outputs {names}, '{session.outputs[index].name}' is judged")
    channels = raw.shape[axes.index("c")] if "c" in axes else 1
    return ModelDescription(
        name=path.stem,
        weights=path,
        input=TensorSpec(
            name=port.name,
            axes=layout.axes,
            sizes=(("y", sizes[0]), ("x", sizes[1])),
            channels=layout.channels,
            dtype=str(port.dtype),
            steps=named_steps(normalize or "percentile"),
        ),
        output=TensorSpec(
            name=session.outputs[index].name,
            axes=axes,
            channels=channels,
            channel_names=tuple(f"channel{i}" for i in range(channels)),
            dtype=str(raw.dtype),
            halo=(("y", halo[0]), ("x", halo[1])),
            border=(("y", border[0]), ("x", border[1])),
            index=index,
        ),
        roles=("foreground", *(f"channel{i}" for i in range(1, channels))),
        origin="bare",
        notes=tuple(notes),
    )


def assumed_halo(size: Size) -> int:
    """Px to crop where tiles meet, for a network that does not say how far it looks."""
    return HALO if size.step else min(HALO, size.minimum // 8)


def trial_image(shape: Sequence[int], axes: str) -> NDArray[np.float32]:
    """Blobs on a noisy background, normalised: what makes a segmentation network speak.

    Parameters
    ----------
    shape, axes
        Of the tensor wanted, one letter a dimension.

    Returns
    -------
    ndarray of float32
        About [0, 1]; always the same for the same shape.
    """
    lengths = dict(zip(axes, shape, strict=True))
    y, x = np.mgrid[: lengths["y"], : lengths["x"]].astype(np.float32)
    blobs = np.maximum(0, np.sin(y / 5) * np.sin(x / 7))
    plane = blobs + np.random.default_rng(0).normal(0.05, 0.05, blobs.shape).astype(np.float32)
    order = [axis for axis in axes if axis in "yx"]
    plane = plane if order == ["y", "x"] else plane.T
    other = tuple(place for place, axis in enumerate(axes) if axis not in "yx")
    expanded = np.expand_dims(plane, other)
    return np.ascontiguousarray(np.broadcast_to(expanded, tuple(shape)), dtype=np.float32)


def _layouts(path: Path, port: Port) -> list[_Layout]:
    """Ways to read the input's shape, the likeliest first."""
    shape = port.shape
    if len(shape) == 5:
        raise GraphError(
            f"{path.name}: input '{port.name}' has shape {_sizes(shape)}: a network on volumes. "
            "Only networks on planes, (N, C, H, W) or (N, H, W, C), can be ranked"
        )
    if len(shape) != 4:
        raise GraphError(
            f"{path.name}: input '{port.name}' has shape {_sizes(shape)}, "
            "expected an image: (N, C, H, W) or (N, H, W, C)"
        )
    if shape[0] not in (None, 1):
        raise GraphError(
            f"{path.name}: takes batches of {shape[0]} only; "
            "export it with a batch of 1 or of free size"
        )
    first, last = shape[1], shape[3]
    few_first = first is not None and first <= MOST_CHANNELS
    few_last = last is not None and last <= MOST_CHANNELS
    if few_first and not few_last:
        return [_Layout("bcyx", first or 1, (shape[2], shape[3]))]
    if few_last and not few_first:
        return [_Layout("byxc", last or 1, (shape[1], shape[2]))]
    if few_first and few_last:
        note = f"its shape {_sizes(shape)} can be read in two ways; channels are taken to be first"
        return [_Layout("bcyx", first or 1, (shape[2], shape[3]), note)]
    if first is not None or last is not None:
        raise GraphError(
            f"{path.name}: input '{port.name}' has shape {_sizes(shape)}; no axis looks like "
            f"channels (at most {MOST_CHANNELS})"
        )
    note = "the number of channels is free in the file; tried out"
    return [_Layout("bcyx", channels, (shape[2], shape[3]), note) for channels in (1, 3)] + [
        _Layout("byxc", channels, (shape[1], shape[2]), note) for channels in (1, 3)
    ]


def _first_that_runs(
    path: Path, session: Session, layouts: Sequence[_Layout]
) -> tuple[_Trial, _Layout, _Map]:
    """The first reading, at the smallest stride, at which the network gives a map of the image."""
    complaint: GraphError | None = None
    for layout in layouts:
        for step in STEPS:
            # Odd multiples, so that the network would fail if it needed twice the step; and two
            # different sides, so that the output's axes can be told apart.
            odd = -(-_AROUND // step) | 1
            sides = (
                layout.sides[0] or step * odd,
                layout.sides[1] or step * (odd + 2),
            )
            try:
                outputs = _run(session, layout, sides)
                # Without skips a network runs at any size, and gives less than it was given.
                trial = _Trial(sides, (step, step), outputs)
                found = _image_output(path, session, trial, layout)
                if any(found[2]):
                    # What pooling drops at odd multiples looks like a border; at even ones not.
                    even = (layout.sides[0] or sides[0] + step, layout.sides[1] or sides[1] + step)
                    again = _Trial(even, (step, step), _run(session, layout, even))
                    if _image_output(path, session, again, layout) != found:
                        continue
                return trial, layout, found
            except InferenceError as error:
                complaint = complaint or GraphError(
                    f"{path.name}: cannot be run at any size tried. {error}"
                )
            except GraphError as error:
                complaint = error
            if None not in layout.sides:
                break
    raise complaint or GraphError(f"{path.name}: there is no way to read its input")


def _smallest(session: Session, port: Port, layout: _Layout, step: int) -> int:
    """Smallest side, doubling from the step, at which the network still runs."""
    side = step
    while side < _AROUND:
        try:
            sides = (layout.sides[0] or side, layout.sides[1] or side)
            _run(session, layout, sides)
        except InferenceError:
            side *= 2
        else:
            return side
    return -(-_AROUND // step) * step


def _run(session: Session, layout: _Layout, sides: tuple[int, int]) -> list[NDArray[Any]]:
    image = trial_image(layout.shape(sides), layout.axes)
    names = [output.name for output in session.outputs]
    return session.run({session.inputs[0].name: image}, names)


def _image_output(path: Path, session: Session, trial: _Trial, layout: _Layout) -> _Map:
    """Which output is a map of the image, its axes, and what it lacks on each side."""
    for index, raw in enumerate(trial.outputs):
        for axes in ("bcyx", "byxc") if layout.axes == "bcyx" else ("byxc", "bcyx"):
            border = _border(raw.shape, axes, trial.sides)
            if border is not None:
                _refuse_decided(path, session.outputs[index])
                return index, axes, border
        border = _border(raw.shape, "byx", trial.sides)
        if border is not None:
            _refuse_decided(path, session.outputs[index])
            return index, "byx", border
    shapes = ", ".join(
        f"'{output.name}' {raw.shape}"
        for output, raw in zip(session.outputs, trial.outputs, strict=True)
    )
    raise GraphError(
        f"{path.name}: no output is a map of the image: for an input of {trial.sides[0]} x "
        f"{trial.sides[1]} it gives {shapes}. A segmentation network gives one value a pixel; "
        "a classifier cannot be ranked, and a coarser map must be enlarged inside the network"
    )


def _border(shape: tuple[int, ...], axes: str, sides: tuple[int, int]) -> tuple[int, int] | None:
    """Px missing on each side of the output, or None if it is no map of the image.

    Convolutions without padding take the same from both axes; anything else is another scale.
    """
    if len(shape) != len(axes) or shape[0] != 1:
        return None
    found = [shape[axes.index(axis)] for axis in "yx"]
    lost = [side - length for side, length in zip(sides, found, strict=True)]
    if lost[0] != lost[1] or lost[0] < 0 or lost[0] % 2 or min(found) < 1:
        return None
    if lost[0] and all(side % length == 0 for side, length in zip(sides, found, strict=True)):
        return None  # of a square image a half, a quarter: a coarser map
    return lost[0] // 2, lost[1] // 2


def _refuse_decided(path: Path, output: Port) -> None:
    if output.dtype.kind != "f":
        raise GraphError(
            f"{path.name}: output '{output.name}' holds {output.dtype}, decided classes; "
            "probabilities are needed: export the network without its final ArgMax or threshold"
        )


def _sizes(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"
