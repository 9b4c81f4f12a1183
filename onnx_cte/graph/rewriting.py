"""A model on the bench: changed in place, node by node, with the shapes of its values at hand."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from onnx_cte.graph.constants import Constants
from onnx_cte.graph.editing import fresh, names_in
from onnx_cte.graph.flow import Flow

Shape = tuple[int, ...]


class Bench:
    """A copy of a model that a rewriting changes.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.
    shapes : mapping of str to tuple of int
        Of the values at the probe's size, one row in the batch.
    masks : sequence of str
        Inputs whose batch is the number of rows; what depends on them has that batch, the rest
        has that of the image.
    folder : Path or None
        Where external data lies.
    """

    def __init__(
        self, model: Any, shapes: Mapping[str, Shape], masks: Iterable[str], folder: Path | None
    ) -> None:
        self.model, self.shapes, self.masks = model, dict(shapes), list(masks)
        for tensor in model.graph.initializer:
            self.shapes.setdefault(tensor.name, tuple(tensor.dims))
        self.constants = Constants(model, folder, self.masks)
        self._folder = folder
        self._taken = names_in(model)
        self._replaced: dict[int, list[Any]] = {}
        self.flow = Flow(model)
        self.restart()

    def restart(self) -> None:
        """Take in what was replaced: flow, and what depends on the masks, are found anew."""
        if self._replaced:
            nodes = []
            for index, node in enumerate(self.flow.nodes):
                nodes += self._replaced.get(index, [node])
            del self.model.graph.node[:]
            self.model.graph.node.extend(nodes)
            self._replaced = {}
            self.constants = Constants(self.model, self._folder, self.masks)
        self.flow = Flow(self.model)
        self.dependent = self.flow.downstream(self.masks)
        self.rows = self.flow.outputs_of(self.dependent) | set(self.masks)
        self.outputs = {value.name for value in self.model.graph.output}

    def replace(self, index: int, nodes: list[Any]) -> None:
        """Put other nodes in place of one; seen after `restart`."""
        self._replaced[index] = nodes

    def replaced(self, index: int) -> bool:
        """Whether a node has been replaced since the last `restart`."""
        return index in self._replaced

    def constant(self, stem: str, array: NDArray[Any]) -> str:
        """Add an initialiser and return its name."""
        name = fresh(stem, self._taken)
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.model.graph.initializer.append(tensor)
        return name

    def value(self, stem: str, shape: Shape) -> str:
        """Name a new value of a known shape."""
        name = fresh(stem, self._taken)
        self.shapes[name] = shape
        return name

    def maker(self, name: str, op_type: str = "") -> int | None:
        """The node that makes a value, if it is of that kind."""
        index = self.flow.producer.get(name)
        if index is None or (op_type and self.flow.nodes[index].op_type != op_type):
            return None
        return index

    def only_user(self, name: str) -> int | None:
        """The one node that uses a value, if there is one only and it is no output."""
        users = self.flow.users.get(name, [])
        return users[0] if len(users) == 1 and name not in self.outputs else None


def attributes(node: Any) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def like(node: Any, inputs: list[str], output: str) -> Any:
    """A node of the same kind and attributes on other values."""
    made = type(node)()
    made.CopyFrom(node)
    made.name = ""
    del made.input[:]
    made.input.extend(inputs)
    del made.output[:]
    made.output.append(output)
    return made
