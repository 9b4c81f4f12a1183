"""What a graph holds as constants: initialisers, ``Constant`` nodes, both through ``Identity``."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

_ATTRIBUTES: dict[str, Any] = {"value_float": np.float32, "value_floats": np.float32}
_ATTRIBUTES |= {"value_int": np.int64, "value_ints": np.int64}


class Constants:
    """Constants of a model's main graph, read when asked for.

    Parameters
    ----------
    model : onnx.ModelProto
        May have been loaded without its external data.
    folder : Path or None
        Where external data lies; None: it has been loaded, or its values are not asked for.
    fed : iterable of str
        Inputs that are fed, and so are no constants even if they have a default.
    """

    def __init__(self, model: Any, folder: Path | None = None, fed: Iterable[str] = ()) -> None:
        self._folder = folder
        # Also those that are inputs with a default: some exporters write all weights so, and
        # nobody feeds them.
        given = set(fed)
        self._tensors = {t.name: t for t in model.graph.initializer if t.name not in given}
        self._nodes = {
            node.output[0]: node
            for node in model.graph.node
            if node.op_type == "Constant" or node.op_type == "Identity"
        }

    def __contains__(self, name: str) -> bool:
        return self.shape(name) is not None

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a constant, without reading it; None if the name is none."""
        source = self._source(name)
        if source is None:
            return None
        if source.__class__.__name__ == "TensorProto":
            return tuple(source.dims)
        value = self.value(name)
        return None if value is None else value.shape

    def value(self, name: str) -> NDArray[Any] | None:
        """A constant, or None if the name is none (or a sparse or textual one)."""
        source = self._source(name)
        if source is None:
            return None
        if source.__class__.__name__ == "TensorProto":
            return self._read(source)
        for attribute in source.attribute:
            if attribute.name == "value":
                return self._read(attribute.t)
            if attribute.name in _ATTRIBUTES:
                field = {1: "f", 2: "i", 6: "floats", 7: "ints"}[attribute.type]
                return np.array(getattr(attribute, field), _ATTRIBUTES[attribute.name])
        return None

    def _source(self, name: str) -> Any:
        """The tensor or the ``Constant`` node behind a name."""
        while name in self._nodes:
            node = self._nodes[name]
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        return attribute.t
                return node
            name = node.input[0]
        return self._tensors.get(name)

    def _read(self, tensor: Any) -> NDArray[Any] | None:
        if uses_external_data(tensor):
            if self._folder is None:
                return None
            # A copy, so that the model in memory does not grow by what is read once.
            loaded = type(tensor)()
            loaded.CopyFrom(tensor)
            load_external_data_for_tensor(loaded, str(self._folder))
            tensor = loaded
        array: NDArray[Any] = numpy_helper.to_array(tensor)
        return array
