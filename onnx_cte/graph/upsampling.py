"""Merge nearest-neighbour up-sampling with the convolution after it.

Of an image whose rows are doubled, a window of three rows sees two different ones: which, depends
on whether the row is even or odd. So up-sampling and a 3x3 convolution are, exactly, two 2x3
convolutions over the image doubled along x only, one for even and one for odd rows, with 6
products an output value instead of 9. (Doing the same along x would need 4, but interleaving
columns costs more than that saves: on two cores, 32 to 16 channels at 512x512, 30 ms for the
interleaving of what 19 ms had computed; and a transposed convolution, the same as one operator, is
not run in parallel.)
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from onnx_cte.graph.rewriting import Bench, attributes

# Rows of the 3-tap window that fall on the same row of the small image, for even and odd rows.
_ROWS = (
    np.array([[1, 0, 0], [0, 1, 1]], np.float64),
    np.array([[1, 1, 0], [0, 0, 1]], np.float64),
)
# By coordinate transformation, the roundings that double every pixel.
_DOUBLING = {
    "asymmetric": {"floor"},
    "half_pixel": {"round_prefer_floor", "round_prefer_ceil"},
    "pytorch_half_pixel": {"round_prefer_floor", "round_prefer_ceil"},
    "tf_half_pixel_for_nn": {"floor"},
}


def merge_up_sampling(bench: Bench) -> None:
    """Replace, in place, doubling and convolution, for what has many rows in its batch."""
    for index in sorted(bench.dependent):
        conv = bench.flow.nodes[index]
        made = bench.maker(conv.input[0]) if conv.op_type == "Conv" else None
        if made is None or bench.only_user(conv.input[0]) is None or not _plain(conv):
            continue
        resize = bench.flow.nodes[made]
        weights = bench.constants.value(conv.input[1])
        if weights is None or weights.shape[2:] != (3, 3) or weights.dtype != np.float32:
            continue
        if not _doubles(bench, resize):
            continue
        bench.replace(made, [])
        bench.replace(index, _by_rows(bench, resize, conv, weights))
    bench.restart()


def row_kernels(weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Kernels for even and odd rows that equal doubling the rows and then convolving.

    Parameters
    ----------
    weights : ndarray of float, shape (M, C, 3, 3)
        Of a convolution with stride 1 and padding 1.

    Returns
    -------
    two ndarrays of the same dtype, shape (M, C, 2, 3)
        For stride 1 and a padding of 1 left and right, and of 1 above for even, below for odd rows.
    """
    even, odd = (
        np.einsum("ip,ocpq->ociq", rows, weights.astype(np.float64)).astype(weights.dtype)
        for rows in _ROWS
    )
    return even, odd


def _by_rows(bench: Bench, resize: Any, conv: Any, weights: NDArray[Any]) -> list[Any]:
    """Nodes that double along x, convolve even and odd rows, and interleave them."""
    out = conv.output[0]
    full = bench.shapes.get(out, (1, len(weights), 2, 2))
    half = (full[0], full[1], full[2] // 2, full[3])
    wide = bench.value(f"{out}_wide", (full[0], weights.shape[1], half[2], half[3]))
    scales = bench.constant(f"{out}_scales", np.array([1, 1, 1, 2], np.float32))
    given = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    nodes = [helper.make_node("Resize", [*resize.input[:2], scales], [wide], **given)]
    rows = []
    for name, pads, kernel in zip(
        ("even", "odd"), ([1, 1, 0, 1], [0, 1, 1, 1]), row_kernels(weights), strict=True
    ):
        part = bench.value(f"{out}_{name}", half)
        inputs = [wide, bench.constant(f"{out}_{name}_weights", kernel), *conv.input[2:]]
        nodes.append(helper.make_node("Conv", inputs, [part], kernel_shape=[2, 3], pads=pads))
        rows.append(part)
    # Columns of one row lie together in memory, so that rows are interleaved by copying them.
    apart = bench.constant(f"{out}_apart", np.array([0, 0, -1, 1], np.int64))
    width = bench.value(f"{out}_width", (1,))
    nodes += [
        helper.make_node("Shape", [rows[0]], [shape := bench.value(f"{out}_shape", (4,))]),
        helper.make_node(
            "Gather", [shape, bench.constant(f"{out}_last", np.array([3], np.int64))], [width]
        ),
        helper.make_node("Concat", [apart, width], [split := bench.value(out, (5,))], axis=0),
    ]
    lifted = []
    for row in rows:
        lifted.append(bench.value(f"{row}_lifted", (*half[:3], 1, half[3])))
        nodes.append(helper.make_node("Reshape", [row, split], [lifted[-1]]))
    pairs = bench.value(f"{out}_pairs", (*half[:3], 2, half[3]))
    joined = bench.constant(f"{out}_joined", np.array([0, 0, -1], np.int64))
    target = bench.value(f"{out}_target", (4,))
    nodes += [
        helper.make_node("Concat", lifted, [pairs], axis=3),
        helper.make_node("Concat", [joined, width], [target], axis=0),
        helper.make_node("Reshape", [pairs, target], [out]),
    ]
    return nodes


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
    if resize.op_type != "Resize" or len(resize.input) < 3 or not resize.input[2]:
        return False
    scales = bench.constants.value(resize.input[2])
    way = given.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = given.get("nearest_mode", b"round_prefer_floor").decode()
    plain = not given.get("axes") and scales is not None and list(scales) == [1, 1, 2, 2]
    return plain and rounding in _DOUBLING.get(way, ())
