"""Small ONNX networks of which the tests know what they compute."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def save(path: Path, nodes, inputs, outputs, weights=(), opset: int = 17) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def blur(
    path: Path,
    *,
    gain: float = 20.0,
    cut: float = 0.4,
    channels: int = 1,
    last: str = "Sigmoid",
    sides=("H", "W"),
    width: int = 5,
    pad: bool = True,
) -> Path:
    """A box blur, turned into the logit ``gain * (blur - cut)``, and what `last` makes of it."""
    kernel = np.full((1, channels, width, width), 1 / width**2 / channels, np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["f"], pads=[width // 2 * pad] * 4),
        helper.make_node("Mul", ["f", "gain"], ["s"]),
        helper.make_node("Sub", ["s", "shift"], ["logit"]),
    ]
    result = "logit"
    if last:
        nodes.append(helper.make_node(last, ["logit"], ["map"]))
        result = "map"
    lost = 0 if pad else width - 1
    out = [side if isinstance(side, str) and not lost else None for side in sides]
    out = [side - lost if isinstance(side, int) else o for side, o in zip(sides, out, strict=True)]
    return save(
        path,
        nodes,
        [("image", FLOAT, ["N", channels, *sides])],
        [(result, FLOAT, ["N", 1, *out])],
        [("kernel", kernel), ("gain", np.float32(gain)), ("shift", np.float32(gain * cut))],
    )


def channels_last(path: Path) -> Path:
    """The same as `blur`, between two transpositions."""
    kernel = np.full((1, 1, 5, 5), 1 / 25, np.float32)
    nodes = [
        helper.make_node("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "kernel"], ["f"], pads=[2] * 4),
        helper.make_node("Mul", ["f", "gain"], ["s"]),
        helper.make_node("Sub", ["s", "shift"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["m"]),
        helper.make_node("Transpose", ["m"], ["map"], perm=[0, 2, 3, 1]),
    ]
    return save(
        path,
        nodes,
        [("image", FLOAT, ["N", "H", "W", 1])],
        [("map", FLOAT, ["N", "H", "W", 1])],
        [("kernel", kernel), ("gain", np.float32(20)), ("shift", np.float32(8))],
    )


def strided(path: Path, stride: int) -> Path:
    """Pool and enlarge by `stride`, add to the image: fails unless the sides are multiples."""
    nodes = [
        helper.make_node(
            "MaxPool", ["image"], ["low"], kernel_shape=[stride] * 2, strides=[stride] * 2
        ),
        helper.make_node("Resize", ["low", "", "scales"], ["up"], mode="nearest"),
        helper.make_node("Add", ["image", "up"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["map"]),
    ]
    return save(
        path,
        nodes,
        [("image", FLOAT, ["N", 1, "H", "W"])],
        [("map", FLOAT, ["N", 1, "H", "W"])],
        [("scales", np.array([1, 1, stride, stride], np.float32))],
    )


def classes(path: Path, *, softmax: bool = True, count: int = 3) -> Path:
    """Logits that fall with the distance of a pixel from each of `count` levels in [0, 1]."""
    levels = np.linspace(0, 1, count, dtype=np.float32).reshape(1, count, 1, 1)
    nodes = [
        helper.make_node("Sub", ["image", "levels"], ["d"]),
        helper.make_node("Mul", ["d", "d"], ["q"]),
        helper.make_node("Mul", ["q", "slope"], ["logit"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logit"], ["map"], axis=1))
    return save(
        path,
        nodes,
        [("image", FLOAT, ["N", 1, "H", "W"])],
        [("map" if softmax else "logit", FLOAT, ["N", count, "H", "W"])],
        [("levels", levels), ("slope", np.float32(-30))],
    )


def classifier(path: Path) -> Path:
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["g"]),
        helper.make_node("Flatten", ["g"], ["label"]),
    ]
    shape = ["N", 3, "H", "W"]
    return save(path, nodes, [("image", FLOAT, shape)], [("label", FLOAT, ["N", 3])])


def coarse(path: Path, factor: int = 2) -> Path:
    """A map of half the size, or less."""
    pooled = {"kernel_shape": [factor] * 2, "strides": [factor] * 2}
    nodes = [helper.make_node("AveragePool", ["image"], ["map"], **pooled)]
    return save(
        path,
        nodes,
        [("image", FLOAT, ["N", 1, "H", "W"])],
        [("map", FLOAT, ["N", 1, "h", "w"])],
    )
