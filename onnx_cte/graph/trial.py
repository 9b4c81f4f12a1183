"""A tiny network whose answer is known, to see whether a device computes it."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

NAMES = ("image", "mean")
"""Of its input and its output, of shape (1, 1, H, W)."""


def mean_filter() -> bytes:
    """A network that takes the mean over 3 x 3 pixels, serialised.

    A convolution, since that is what segmentation networks are made of, and what wants cuDNN on a
    GPU. Beyond the border it sees zeros.

    Examples
    --------
    >>> import onnx
    >>> onnx.checker.check_model(onnx.load_from_string(mean_filter()))
    """
    weights = np.full((1, 1, 3, 3), 1 / 9, np.float32)
    shape: list[str | int | None] = [1, 1, "H", "W"]
    graph = helper.make_graph(
        [helper.make_node("Conv", [NAMES[0], "weights"], [NAMES[1]], pads=[1, 1, 1, 1])],
        "mean_filter",
        [helper.make_tensor_value_info(NAMES[0], TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(NAMES[1], TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "weights")],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return bytes(model.SerializeToString())
