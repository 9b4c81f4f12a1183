"""Open a model to look into it, whether or not it can be ranked.

Ranking wants planes and one map a pixel. Looking inside wants less: one image-like input, and a
size at which the network runs. Where ranking refuses, that size is guessed.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnx_cte.descriptor import ModelDescription, TensorSpec
from onnx_cte.descriptor.package import read_package
from onnx_cte.errors import GraphError, InferenceError, ModelError, OptionError, SelfTestFailed
from onnx_cte.graph.signature import read_signature
from onnx_cte.segmenters.folders import open_models
from onnx_cte.segmenters.grey_box import GreyBox
from onnx_cte.segmenters.network import Network, require_floats, require_single_input
from onnx_cte.segmenters.onnx_model import OnnxModel
from onnx_cte.segmenters.trying import MOST_CHANNELS, trial_image
from onnx_cte.sessions import Port, Session, cores

Test = Literal["passed", "none", "failed", "not run"]
"""How a package's own test tensors came out; ``none`` also for bare files."""

# Sides to try, as (y, x) and (z, y, x): different ones first, for then axes can be told apart.
_PLANES = ((96, 160), (128, 192), (224, 224), (256, 256), (512, 512))
_VOLUMES = ((32, 48, 64), (64, 64, 64))
_LAYOUTS = {4: ("bcyx", "byxc"), 5: ("bczyx", "bzyxc")}  # by number of axes
_OUTPUTS = {1: "b", 2: "bc", 3: "byx", 4: "bcyx", 5: "bczyx"}


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is open to be looked into.

    Attributes
    ----------
    name : str
    path : Path
        As given: a file, or the folder of a package.
    weights : Path
        The ONNX file.
    description : ModelDescription or None
        What is known of it besides the network; None if ranking refuses a bare file.
    test : Test
    refused : str
        Why it cannot be ranked; empty if it can.
    network : Network or None
    grey_box : GreyBox or None
        Both None if no way was found to run it.
    unseen : str
        Why not; else empty.
    """

    name: str
    path: Path
    weights: Path
    description: ModelDescription | None
    test: Test
    refused: str
    network: Network | None
    grey_box: GreyBox | None
    unseen: str

    @property
    def sources(self) -> tuple[Path, ...]:
        """All files it is read from."""
        return self.path, *read_signature(self.weights).files


@contextmanager
def opened(path: str | Path, at: str | None = None) -> Iterator[Subject]:
    """Open one model, on the CPU.

    Parameters
    ----------
    path : str or Path
        An ``.onnx`` file or a package: folder, description or zip.
    at : str or None
        Tensor to take for the bottleneck.

    Yields
    ------
    Subject
        Usable until the end of the block.

    Raises
    ------
    NothingToRank
        If there is no model.
    OptionError
        If there are several.
    DescriptorError, GraphError
        If the description, or the file itself, cannot be read: then there is nothing to show.
    """
    found = open_models(path)
    if len(found) > 1:
        names = ", ".join(f"'{model.path}'" for model in found[:5])
        raise OptionError(f"'{path}' holds {len(found)} models; name one of them: {names}")
    model = OnnxModel(found[0].name, found[0].path, at=at)
    with ExitStack() as held:
        yield _subject(model, held)


def _subject(model: OnnxModel, held: ExitStack) -> Subject:
    try:
        segmenter = model.open("cpu", None)
    except ModelError as error:
        return _refused(model, error, held)
    held.callback(segmenter.close)
    described = segmenter.description
    tested = described.test_input is not None and described.test_output is not None
    return Subject(
        name=model.name,
        path=model.path,
        weights=described.weights,
        description=described,
        test="passed" if tested else "none",
        refused="",
        network=segmenter.network,
        grey_box=segmenter.grey_box,
        unseen="",
    )


def _refused(model: OnnxModel, error: ModelError, held: ExitStack) -> Subject:
    """What can be had of a model that cannot be ranked."""
    described, weights = None, model.path
    if model.path.suffix.lower() != ".onnx":
        place = None
        if model.path.is_file():
            place = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="onnx-cte-")))
        described = read_package(model.path, place)
        weights = described.weights
    read_signature(weights)  # of a file that is no network nothing can be told
    tested = described is not None and None not in (described.test_input, described.test_output)
    network, grey_box, unseen = None, None, ""
    try:
        network, shape = _guessed(weights, described)
    except ModelError as reason:
        unseen = str(reason)
    else:
        held.callback(network.session.close)
        grey_box = GreyBox(network, shape, "cpu", cores(), model.at)
        held.callback(grey_box.close)
    return Subject(
        name=model.name,
        path=model.path,
        weights=weights,
        description=described,
        test="failed" if isinstance(error, SelfTestFailed) else "not run" if tested else "none",
        refused=str(error),
        network=network,
        grey_box=grey_box,
        unseen=unseen,
    )


def _guessed(weights: Path, described: ModelDescription | None) -> tuple[Network, tuple[int, ...]]:
    """The network with the layout and the size, of those tried, at which it runs."""
    session = Session(weights, "cpu", cores())
    require_single_input(session)
    port = session.inputs[0]
    require_floats(weights.name, port)
    complaint: InferenceError | None = None
    for axes, shape in _shapes(weights, port, described.input if described else None):
        names = [output.name for output in session.outputs]
        try:
            outputs = session.run({port.name: trial_image(shape, axes)}, names)
        except InferenceError as error:
            complaint = complaint or error
            continue
        index = described.output.index if described else _judged(outputs, axes, shape)
        source = TensorSpec(port.name, axes)
        result = TensorSpec(names[index], _result_axes(outputs[index], axes), index=index)
        return Network(session, source, result), shape
    raise GraphError(f"{weights.name}: cannot be run at any size tried. {complaint}")


def _shapes(
    weights: Path, port: Port, spec: TensorSpec | None
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Layouts and shapes to try, the likeliest first."""
    rank = len(port.shape)
    if rank not in _LAYOUTS or port.shape[0] not in (None, 1):
        shown = ", ".join("?" if size is None else str(size) for size in port.shape)
        raise GraphError(
            f"{weights.name}: input '{port.name}' has shape ({shown}), no single plane or volume "
            "with channels: it is not run"
        )
    layouts = [axes for axes in _LAYOUTS[rank] if (port.shape[axes.index("c")] or 1)
               <= MOST_CHANNELS] or [_LAYOUTS[rank][0]]  # fmt: skip
    if spec is not None and len(spec.axes) == rank:
        layouts = [spec.axes]
    for axes in layouts:
        known = port.shape[axes.index("c")] if "c" in axes else 1
        known = known or (spec.channels if spec else None)
        for channels in (known,) if known else (1, 3):
            spatial = [axis for axis in axes if axis in "zyx"]
            for sides in _VOLUMES if len(spatial) == 3 else _PLANES:
                lengths = {"b": 1, "c": channels}
                for axis, side in zip(sorted(spatial, key="zyx".index), sides, strict=True):
                    fixed = port.shape[axes.index(axis)]
                    lengths[axis] = fixed or _allowed(spec, axis, side)
                yield axes, tuple(lengths[axis] for axis in axes)


def _allowed(spec: TensorSpec | None, axis: str, side: int) -> int:
    """The least side that a description allows, and that is no less than wanted."""
    size = spec.size_along(axis) if spec else None
    if size is None:
        return side
    return size.minimum + (-(-max(0, side - size.minimum) // size.step) * size.step if size.step
                           else 0)  # fmt: skip


def _judged(outputs: Sequence[NDArray[Any]], axes: str, shape: Sequence[int]) -> int:
    """The output to judge: the first map as large as the image, or the first of numbers."""
    sides = sorted(length for axis, length in zip(axes, shape, strict=True) if axis in "zyx")
    floats = [np.issubdtype(output.dtype, np.floating) for output in outputs]
    for index, output in enumerate(outputs):
        rest = list(output.shape)
        for side in sides:
            if side in rest:
                rest.remove(side)
        if floats[index] and len(rest) == output.ndim - len(sides):
            return index
    return floats.index(True) if True in floats else 0


def _result_axes(output: NDArray[Any], axes: str) -> str:
    """Axes of an output; where they cannot be the input's, letters that count them."""
    if output.ndim == len(axes):
        return axes
    return _OUTPUTS.get(output.ndim, "b" + "?" * (output.ndim - 1))
