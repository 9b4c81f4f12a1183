"""U-Nets written node by node with `onnx.helper`: the corners no exporter reaches alone."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


@dataclass
class Sketch:
    """Nodes and weights of a graph in the making; methods add nodes and return value names."""

    seed: int = 0
    constants: bool = False  # weights as Constant nodes, not as initialisers
    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, NDArray] = field(default_factory=dict)
    functions: list[onnx.FunctionProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        """One node with one output."""
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"/{name}", **attributes))
        return name

    def weight(self, array: NDArray, name: str = "") -> str:
        name = name or f"weight_{len(self.weights) + len(self.nodes)}"
        if self.constants:
            value = numpy_helper.from_array(array, name)
            self.nodes.append(helper.make_node("Constant", [], [name], value=value))
        else:
            self.weights[name] = array
        return name

    def draw(self, *shape: int, spread: float) -> NDArray:
        return (spread * self.rng.standard_normal(shape)).astype(np.float32)

    def conv(self, x: str, old: int, new: int, size: int = 3, gain: float = 1.5) -> str:
        """A convolution that keeps the size."""
        spread = gain / math.sqrt(old * size**2)
        kernel = self.weight(self.draw(new, old, size, size, spread=spread))
        bias = self.weight(self.draw(new, spread=0.1))
        return self.add("Conv", x, kernel, bias, pads=[size // 2] * 4, kernel_shape=[size] * 2)

    def block(self, x: str, old: int, new: int) -> str:
        """Convolution and ReLU, twice."""
        x = self.add("Relu", self.conv(x, old, new))
        return self.add("Relu", self.conv(x, new, new))

    def pool(self, x: str) -> str:
        return self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def up(self, x: str, old: int, new: int) -> str:
        """A transposed convolution to twice the size."""
        kernel = self.weight(self.draw(old, new, 2, 2, spread=1.5 / math.sqrt(old)))
        return self.add("ConvTranspose", x, kernel, kernel_shape=[2, 2], strides=[2, 2])

    def encoder(self, x: str, sizes: tuple[int, ...] = (8, 16, 32, 64)) -> tuple[str, list[str]]:
        """The bottleneck, and the skip connections from shallow to deep."""
        skips: list[str] = []
        for old, new in zip((1, *sizes), sizes, strict=False):
            if skips:
                x = self.pool(x)
            x = self.block(x, old, new)
            skips.append(x)
        return x, skips[:-1]

    def decoder(self, x: str, skips: list[str], sizes: tuple[int, ...] = (8, 16, 32, 64)) -> str:
        """Probabilities, of one class."""
        for skip, old, new in zip(skips[::-1], sizes[:0:-1], sizes[-2::-1], strict=True):
            x = self.add("Concat", skip, self.up(x, old, new), axis=1)
            x = self.block(x, 2 * new, new)
        return self.add("Sigmoid", self.conv(x, sizes[0], 1, 1, gain=0.3))

    def model(
        self,
        output: str,
        *,
        sides: tuple[int | str, ...] = ("batch", 1, "height", "width"),
        opset: int = 17,
    ) -> onnx.ModelProto:
        """The model of the input "image" that gives `output` under the name "map"."""
        nodes = [*self.nodes, helper.make_node("Identity", [output], ["map"])]
        graph = helper.make_graph(
            nodes,
            "sketch",
            [helper.make_tensor_value_info("image", FLOAT, sides)],
            [helper.make_tensor_value_info("map", FLOAT, [None] * len(sides))],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", opset)]
        if self.functions:
            opsets.append(helper.make_opsetid("local", 1))
        return helper.make_model(
            graph, opset_imports=opsets, functions=self.functions, ir_version=9
        )


class LastSketch(Sketch):
    """A sketch whose maps are (batch, y, x, channel) wherever no operator forbids it."""

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        if op == "Concat":
            return super().add(op, *inputs, axis=3)
        if op not in ("Conv", "ConvTranspose", "MaxPool"):
            return super().add(op, *inputs, **attributes)
        first = super().add("Transpose", inputs[0], perm=[0, 3, 1, 2])
        done = super().add(op, first, *inputs[1:], **attributes)
        return super().add("Transpose", done, perm=[0, 2, 3, 1])


def save(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def above(sketch: Sketch, value: str, limit: float) -> str:
    """A truth value nobody can fold: whether the mean of `value` is above `limit`."""
    mean = sketch.add("ReduceMean", value, keepdims=0)
    return sketch.add("Greater", mean, sketch.weight(np.array(limit, np.float32)))


def branch(name: str, *nodes: NodeProto) -> onnx.GraphProto:
    """A branch of an `If`: its nodes read values of the graph around it."""
    result = helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)
    return helper.make_graph(list(nodes), name, [], [result])


def choose(sketch: Sketch, condition: str, value: str) -> str:
    """`value`, or its negative if `condition` fails, by an `If` that reads it from outside."""
    same = branch("same", helper.make_node("Identity", [value], ["kept"]))
    other = branch("other", helper.make_node("Neg", [value], ["negated"]))
    return sketch.add("If", condition, then_branch=same, else_branch=other)
