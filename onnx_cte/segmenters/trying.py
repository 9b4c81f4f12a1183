"""Run a network at sizes and in layouts its file leaves open, until it gives a map of the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import GraphError, InferenceError, OptionError
from onnx_cte.sessions import Port, Session

STEPS = (1, 2, 4, 8, 16, 32, 64)
"""Strides tried, in this order: the first at which the network runs is the one it needs."""
MOST_CHANNELS = 16  # more than that along an axis are taken for pixels
# Px, least side of a trial image, of planes and of volumes: networks of five scales still have 3 px
# at the last of a plane.
_AROUND = {2: 96, 3: 32}
_AXES = ("bcyx", "byxc", "byx", "bczyx", "bzyxc", "bzyx")
"""Layouts of an input that can be stated."""
_SMALLEST = 5  # px; a fixed side of less is no side of an image or volume
_SAY = " If it is one, `onnx-cte package MODEL.onnx --axes LETTERS` makes a package that says so"
COARSEST = 8
"""An output may be so many times coarser than the image, as in StarDist's grid, and no more."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A size at which the network ran, and what came out."""

    sides: tuple[int, ...]
    steps: tuple[int, ...]
    outputs: list[NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Map:
    """An output that is a map of the image."""

    index: int
    axes: str
    border: tuple[int, ...]  # px missing on each side
    scale: int  # how many times it is coarser


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to read the shape of an input; None stands for sides that the file leaves free."""

    axes: str
    channels: int
    sides: tuple[int | None, ...]
    note: str = ""

    @property
    def space(self) -> str:
        """Axes that have sides, in the order of these: "yx" or "zyx"."""
        return "zyx"[-len(self.sides) :]

    def shape(self, sides: Sequence[int]) -> tuple[int, ...]:
        lengths = {"b": 1, "c": self.channels, **dict(zip(self.space, sides, strict=True))}
        return tuple(lengths[axis] for axis in self.axes)


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


def layouts(path: Path, port: Port, axes: str | None = None) -> list[Layout]:
    """Ways to read the input's shape, the likeliest first; one, if its axes are stated.

    Raises
    ------
    GraphError
        If it is no image, or of a fixed batch.
    OptionError
        If the axes stated are not those of an image, or do not fit its shape.
    """
    shape = port.shape
    if axes is not None:
        return _stated(path, port, axes)
    if len(shape) not in (4, 5):
        raise GraphError(
            f"{path.name}: input '{port.name}' has shape {_sizes(shape)}, expected an image: "
            "(N, C, H, W) or (N, H, W, C), or a volume: (N, C, D, H, W) or (N, D, H, W, C)."
            f"{_SAY}"
        )
    space = "zyx"[5 - len(shape) :]
    leading, trailing = f"bc{space}", f"b{space}c"
    if shape[0] not in (None, 1):
        raise GraphError(
            f"{path.name}: takes batches of {shape[0]} only; "
            "export it with a batch of 1 or of free size"
        )
    first, last = shape[1], shape[-1]
    few_first = first is not None and first <= MOST_CHANNELS
    few_last = last is not None and last <= MOST_CHANNELS
    if few_first and not few_last:
        return [Layout(leading, first or 1, shape[2:])]
    if few_last and not few_first:
        return [Layout(trailing, last or 1, shape[1:-1])]
    if few_first and few_last:
        note = f"its shape {_sizes(shape)} can be read in two ways; channels are taken to be first"
        return [Layout(leading, first or 1, shape[2:], note)]
    if first is not None or last is not None:
        raise GraphError(
            f"{path.name}: input '{port.name}' has shape {_sizes(shape)}; no axis looks like "
            f"channels (at most {MOST_CHANNELS}).{_SAY}"
        )
    note = "the number of channels is free in the file; tried out"
    return [Layout(leading, channels, shape[2:], note) for channels in (1, 3)] + [
        Layout(trailing, channels, shape[1:-1], note) for channels in (1, 3)
    ]


def _stated(path: Path, port: Port, axes: str) -> list[Layout]:
    """The one reading that is stated, if it can be."""
    letters, shape = axes.lower(), port.shape
    if letters not in _AXES:
        odd = sorted(set(letters) - set("bczyx"))
        order = (
            "the batch (b) is first, then come depth (z), height (y) and width (x) in this order"
        )
        why = f"'{odd[0]}' is none of b, c, z, y, x" if odd else order
        raise OptionError(f"axes '{axes}': expected one of {', '.join(_AXES)}; {why}")
    if len(letters) != len(shape):
        fitting = [known for known in _AXES if len(known) == len(shape)]
        way = f"; {len(shape)} axes are {' or '.join(fitting)}" if fitting else ""
        raise OptionError(
            f"axes '{axes}' are {len(letters)}, and input '{port.name}' of {path.name} has "
            f"{len(shape)}: {_sizes(shape)}{way}"
        )
    if shape[0] not in (None, 1):
        raise GraphError(
            f"{path.name}: takes batches of {shape[0]} only; "
            "export it with a batch of 1 or of free size"
        )
    known = shape[letters.index("c")] if "c" in letters else 1
    sides = tuple(shape[letters.index(axis)] for axis in "zyx" if axis in letters)
    small = [side for side in sides if side and side < _SMALLEST]
    if small:
        raise OptionError(
            f"axes '{axes}' would give input '{port.name}' of {path.name}, {_sizes(shape)}, a side "
            f"of {small[0]} px; is that the channels?"
        )
    return [Layout(letters, channels, sides) for channels in ([known] if known else [1, 3])]


def first_that_runs(
    path: Path, session: Session, layouts: Sequence[Layout]
) -> tuple[Trial, Layout, Map]:
    """The first reading, at the smallest stride, at which the network gives a map of the image."""
    complaint: GraphError | None = None
    for layout in layouts:
        for step in STEPS:
            try:
                found = _at_steps(path, session, layout, (step,) * len(layout.sides))
            except InferenceError as error:
                complaint = complaint or GraphError(
                    f"{path.name}: cannot be run at any size tried. {error}"
                )
            except GraphError as error:
                complaint = error
            else:
                if found:
                    return _finer_in_depth(path, session, layout, found)
            if None not in layout.sides:
                break
    raise complaint or GraphError(f"{path.name}: there is no way to read its input")


def _at_steps(
    path: Path, session: Session, layout: Layout, steps: tuple[int, ...]
) -> tuple[Trial, Layout, Map] | None:
    """What a network gives at sides of these steps; None if its map is no border but a doubt."""
    # Odd multiples, so that the network would fail if it needed twice the step; and different
    # sides, so that the output's axes can be told apart.
    sides = tuple(
        fixed or step * ((-(-_AROUND[len(steps)] // step) | 1) + 2 * place)
        for place, (fixed, step) in enumerate(zip(layout.sides, steps, strict=True))
    )
    outputs = _run(session, layout, sides)
    # Without skips a network runs at any size, and gives less than it was given.
    trial = Trial(sides, steps, outputs)
    found = _image_output(path, session, trial, layout)
    if any(found.border):
        # What pooling drops at odd multiples looks like a border; at even ones not.
        even = tuple(
            fixed or side + step
            for fixed, side, step in zip(layout.sides, sides, steps, strict=True)
        )
        again = Trial(even, steps, _run(session, layout, even))
        if _image_output(path, session, again, layout) != found:
            return None
    return trial, layout, found


def _finer_in_depth(
    path: Path, session: Session, layout: Layout, found: tuple[Trial, Layout, Map]
) -> tuple[Trial, Layout, Map]:
    """The same with the smallest step in depth: networks on volumes often pool it less."""
    trial, _, map_found = found
    if len(layout.sides) < 3 or layout.sides[0] or map_found.scale > 1:
        return found
    for step in STEPS:
        if step >= trial.steps[0]:
            break
        try:
            finer = _at_steps(path, session, layout, (step, *trial.steps[1:]))
        except (GraphError, InferenceError):
            continue
        if finer and finer[2] == map_found:
            return finer
    return found


def smallest(session: Session, layout: Layout, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Smallest sides, doubling from the steps together, at which the network still runs."""
    around = _AROUND[len(layout.sides)]
    times = 1
    while times * max(steps) < around:
        sides = tuple(f or s * times for f, s in zip(layout.sides, steps, strict=True))
        try:
            _run(session, layout, sides)
        except InferenceError:
            times *= 2
        else:
            return sides
    return tuple(f or -(-around // s) * s for f, s in zip(layout.sides, steps, strict=True))


def _run(session: Session, layout: Layout, sides: Sequence[int]) -> list[NDArray[Any]]:
    image = trial_image(layout.shape(sides), layout.axes)
    names = [output.name for output in session.outputs]
    return session.run({session.inputs[0].name: image}, names)


def _image_output(path: Path, session: Session, trial: Trial, layout: Layout) -> Map:
    """Which output is a map of the image, its axes, what it lacks on each side, how coarse it is.

    Of several, one as fine as the image is taken before a coarser one.
    """
    space = layout.space
    either = (f"bc{space}", f"b{space}c")
    first, second = either if layout.axes == either[0] else either[::-1]
    coarser: Map | None = None
    for index, raw in enumerate(trial.outputs):
        for axes in (first, second, f"b{space}"):
            fit = _fit(raw.shape, axes, space, trial.sides)
            if fit is None:
                continue
            found = Map(index, axes, *fit)
            if found.scale == 1:
                _refuse_decided(path, session.outputs[index])
                return found
            coarser = coarser or found
    if coarser:
        _refuse_decided(path, session.outputs[coarser.index])
        return coarser
    shapes = ", ".join(
        f"'{output.name}' {raw.shape}"
        for output, raw in zip(session.outputs, trial.outputs, strict=True)
    )
    raise GraphError(
        f"{path.name}: no output is a map of the image: for an input of "
        f"{' x '.join(map(str, trial.sides))} it gives {shapes}. A segmentation network gives one "
        f"value a pixel, or a block of at most {COARSEST} x {COARSEST}; a classifier cannot be "
        "ranked"
    )


def _fit(
    shape: tuple[int, ...], axes: str, space: str, sides: tuple[int, ...]
) -> tuple[tuple[int, ...], int] | None:
    """Px missing on each side of an output and how coarse it is, or None if it is no map.

    Convolutions without padding take the same from all axes; anything else is another scale.
    """
    if len(shape) != len(axes) or shape[0] != 1:
        return None
    found = [shape[axes.index(axis)] for axis in space]
    if min(found) < 1:
        return None
    scale = sides[0] // found[0]
    if scale > 1 and all(length * scale == side for side, length in zip(sides, found, strict=True)):
        return ((0,) * len(sides), scale) if scale <= COARSEST else None
    lost = {side - length for side, length in zip(sides, found, strict=True)}
    if len(lost) > 1 or min(lost) < 0 or min(lost) % 2:
        return None
    return (lost.pop() // 2,) * len(sides), 1


def _refuse_decided(path: Path, output: Port) -> None:
    if output.dtype.kind != "f":
        raise GraphError(
            f"{path.name}: output '{output.name}' holds {output.dtype}, decided classes; "
            "probabilities are needed: export the network without its final ArgMax or threshold"
        )


def _sizes(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"
