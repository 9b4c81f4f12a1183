"""Merge nearest-neighbour up-sampling with the convolution after it.

Of an image enlarged twice, a 3x3 window sees 2x2 pixels: which ones depends on whether row and
column are even or odd. So the two operations are, exactly, one transposed convolution with a 4x4
kernel and a stride of 2, with 4 products an output value instead of 9.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from onnx_cte.graph.rewriting import Bench, attributes

# Output channels. Below, the runtime's transposed convolution (a matrix product and a scatter)
# loses on the CPU what it saves: 32 to 16 channels at 512x512 took 50.3 ms a row pair against 45.6,
# 64 to 32 at 256x256 35.0 ms against 43.8.
_WORTHWHILE = 32
# Rows of the 3-tap window that fall on the same pixel of the small image, for even and odd rows.
_EVEN = np.array([[1, 0, 0], [0, 1, 1]], np.float64)
_ODD = np.array([[1, 1, 0], [0, 0, 1]], np.float64)
# By coordinate transformation, the roundings that double every pixel.
_DOUBLING = {
    "asymmetric": {"floor"},
    "half_pixel": {"round_prefer_floor", "round_prefer_ceil"},
    "pytorch_half_pixel": {"round_prefer_floor", "round_prefer_ceil"},
    "tf_half_pixel_for_nn": {"floor"},
}


def merge_up_sampling(bench: Bench) -> None:
    """Replace, in place, doubling and convolution by a transposed convolution, row by row."""
    for index in sorted(bench.dependent):
        conv = bench.flow.nodes[index]
        made = bench.maker(conv.input[0]) if conv.op_type == "Conv" else None
        if made is None or bench.only_user(conv.input[0]) is None or not _plain(conv):
            continue
        resize = bench.flow.nodes[made]
        weights = bench.constants.value(conv.input[1])
        if weights is None or weights.shape[2:] != (3, 3) or len(weights) < _WORTHWHILE:
            continue
        if weights.dtype != np.float32 or not _doubles(bench, resize):
            continue
        kernel = bench.constant(f"{conv.output[0]}_kernel", doubling_kernel(weights))
        inputs = [resize.input[0], kernel, *conv.input[2:]]
        merged = helper.make_node(
            "ConvTranspose", inputs, list(conv.output), strides=[2, 2], pads=[1, 1, 1, 1]
        )
        bench.replace(made, [])
        bench.replace(index, [merged])
    bench.restart()


def doubling_kernel(weights: NDArray[Any]) -> NDArray[Any]:
    """Kernel of the transposed convolution that equals doubling and then convolving.

    Parameters
    ----------
    weights : ndarray of float, shape (M, C, 3, 3)
        Of a convolution with stride 1 and padding 1.

    Returns
    -------
    ndarray of the same dtype, shape (C, M, 4, 4)
        For stride 2 and padding 1.
    """
    kernel = np.zeros((weights.shape[1], weights.shape[0], 4, 4))
    for row, rows in enumerate((_EVEN, _ODD)):
        for column, columns in enumerate((_EVEN, _ODD)):
            window = np.einsum("ip,ocpq,jq->coij", rows, weights.astype(np.float64), columns)
            # Output 2 i + row reads input i + row - 1 + tap through kernel entry 3 - row - 2 tap.
            kernel[:, :, 3 - row :: -2, 3 - column :: -2][:, :, :2, :2] = window
    return kernel.astype(weights.dtype)


def _plain(conv: Any) -> bool:
    """Whether a convolution has stride 1, padding 1, no dilation and one group."""
    given = attributes(conv)
    return (
        given.get("group", 1) == 1
        and set(given.get("strides", [1])) == {1}
        and set(given.get("dilations", [1])) == {1}
        and list(given.get("pads", [])) == [1, 1, 1, 1]
        and given.get("auto_pad", b"NOTSET") == b"NOTSET"
    )


def _doubles(bench: Bench, resize: Any) -> bool:
    """Whether a node repeats every pixel twice along y and x, whatever the size."""
    given = attributes(resize)
    if given.get("mode", b"nearest") != b"nearest":
        return False
    if resize.op_type == "Upsample":
        scales = given.get("scales")
        if scales is None and len(resize.input) > 1:
            scales = bench.constants.value(resize.input[1])
        return scales is not None and list(scales) == [1, 1, 2, 2]
    if resize.op_type != "Resize" or len(resize.input) < 3 or not resize.input[2]:
        return False
    scales = bench.constants.value(resize.input[2])
    way = given.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = given.get("nearest_mode", b"round_prefer_floor").decode()
    plain = not given.get("axes") and scales is not None and list(scales) == [1, 1, 2, 2]
    return plain and rounding in _DOUBLING.get(way, ())
