"""One ONNX network, fed with (1, C, H, W) or (1, C, D, H, W) tiles whatever its own layout."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.descriptor import TensorSpec
from onnx_cte.errors import DescriptorError, GraphError, InferenceError
from onnx_cte.sessions import Port, Session


def layout(dimensions: int) -> str:
    """Layout of the tiles that the pipeline hands out and takes back: of planes or of volumes.

    Examples
    --------
    >>> layout(2), layout(3)
    ('bcyx', 'bczyx')
    """
    return "bc" + "zyx"[3 - dimensions :]


class Network:
    """A session together with the layout of its image input and of the output that is judged.

    Parameters
    ----------
    session : Session
    source, result : TensorSpec
        Axes and position of the input and of the output.

    Raises
    ------
    GraphError
        If the network wants more than one input.
    DescriptorError
        If the description does not fit the file: position or number of axes.
    """

    def __init__(self, session: Session, source: TensorSpec, result: TensorSpec) -> None:
        require_single_input(session)
        self.session, self.source, self.result = session, source, result
        self.tile = layout(3 if "z" in source.axes else 2)
        self._input = self._port(session.inputs, source, "input")
        require_floats(session.path.name, self._input)
        self._output = self._port(session.outputs, result, "output")

    def __call__(self, tile: NDArray[np.float32]) -> NDArray[Any]:
        """Run a (1, C, h, w) tile; the raw output has shape (1, C', h', w'); (d, h, w) likewise."""
        return self.arranged(self.native(arrange(tile, self.tile, self.source.axes)))

    def arranged(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Turn an output in the network's own layout into (1, C', h', w')."""
        return arrange(raw, self.result.axes, self.tile)

    def native(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """Run a tensor in the network's own layout.

        Raises
        ------
        InferenceError
            If ONNX Runtime fails, or the output has not as many axes as described.
        """
        raw = self.session.run({self._input.name: tensor}, [self._output.name])[0]
        if raw.ndim != len(self.result.axes):
            raise InferenceError(
                f"{self.session.path.name}: output '{self._output.name}' has shape {raw.shape}, "
                f"expected the axes {self.result.axes}"
            )
        return raw

    def _port(self, ports: tuple[Port, ...], spec: TensorSpec, kind: str) -> Port:
        file = self.session.path.name
        if spec.index >= len(ports):
            raise DescriptorError(
                f"{file}: the description speaks of {kind} number {spec.index + 1}, "
                f"the network has {len(ports)}"
            )
        port = ports[spec.index]
        if port.shape and len(port.shape) != len(spec.axes):
            raise DescriptorError(
                f"{file}: {kind} '{port.name}' has {len(port.shape)} axes {port.shape}, "
                f"the description says {spec.axes}"
            )
        found = port.shape[spec.axes.index("c")] if port.shape and "c" in spec.axes else None
        if found and spec.channels and found != spec.channels:
            raise DescriptorError(
                f"{file}: {kind} '{port.name}' has {found} channels, "
                f"the description says {spec.channels}"
            )
        return port


def require_floats(file: str, port: Port) -> None:
    """Refuse integer pixels: a slight disturbance of them would be rounded away."""
    if port.dtype.kind != "f":
        raise GraphError(
            f"{file}: input '{port.name}' takes {port.dtype}, expected floats: normalising and "
            "disturbing would be rounded away; export the network with a float input"
        )


def require_single_input(session: Session) -> None:
    """Refuse a network that wants more than an image."""
    if len(session.inputs) != 1:
        names = ", ".join(port.name for port in session.inputs)
        raise GraphError(
            f"{session.path.name}: wants {len(session.inputs)} inputs ({names}); expected one, "
            "the image. Give the others a default in the file, or export the network without them"
        )


def arrange(array: NDArray[Any], have: str, want: str) -> NDArray[Any]:
    """Transpose between layouts; an axis that one of them lacks has length 1."""
    for place, axis in reversed(list(enumerate(have))):
        if axis not in want:
            if array.shape[place] != 1:
                raise InferenceError(
                    f"axis {axis} has {array.shape[place]} entries where the layout {want} has none"
                )
            array = array.squeeze(place)
    kept = [axis for axis in have if axis in want]
    array = array.transpose([kept.index(axis) for axis in want if axis in kept])
    missing = tuple(place for place, axis in enumerate(want) if axis not in have)
    return np.expand_dims(array, missing) if missing else array
