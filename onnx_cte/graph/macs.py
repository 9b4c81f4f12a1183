"""Multiply-accumulates of a node, at the shapes that were seen."""

from collections.abc import Callable
from math import prod
from typing import Any

from onnx import helper

Shape = tuple[int, ...]
ShapeOf = Callable[[str], Shape | None]


def multiply_accumulates(node: Any, shape_of: ShapeOf) -> int:
    """Multiply-accumulates of one node.

    Parameters
    ----------
    node : onnx.NodeProto
    shape_of : callable
        Shape of a value, or None if it was not seen; weights included.

    Returns
    -------
    int
        0 for operators that multiply nothing by weights or by each other (element by element
        work is left out, as usual in this count), and where a shape is missing.
    """
    shapes = [shape_of(name) if name else None for name in node.input]
    if node.op_type == "Einsum":
        return _einsum(node, shapes)
    count = _COUNTS.get(node.op_type)
    if count is None:
        return 0
    out = shape_of(node.output[0])
    if out is None or any(shape is None for shape in shapes[:2]):
        return 0
    return count(shapes, out)


def _convolution(weight: int) -> Callable[[list[Shape | None], Shape], int]:
    """Every output value is a sum over the kernel and the input channels of its group."""

    def count(shapes: list[Shape | None], out: Shape) -> int:
        kernel = shapes[weight] if weight < len(shapes) else None
        return prod(out) * prod(kernel[1:]) if kernel else 0

    return count


def _transposed(shapes: list[Shape | None], _: Shape) -> int:
    # Every input value is spread over the kernel and the output channels of its group.
    return prod(shapes[0] or ()) * prod((shapes[1] or ())[1:])


def _matmul(second: int) -> Callable[[list[Shape | None], Shape], int]:
    def count(shapes: list[Shape | None], out: Shape) -> int:
        known = second < len(shapes) and shapes[second]
        return prod(out) * (shapes[0] or (0,))[-1] if known else 0

    return count


def _gemm(shapes: list[Shape | None], out: Shape) -> int:
    # Whatever is transposed: the inner length is the first matrix without the output's rows.
    return prod(out) * (prod(shapes[0] or ()) // max(1, out[0]))


def _einsum(node: Any, shapes: list[Shape | None]) -> int:
    """Every combination of the indices is one product; a single operand is not multiplied."""
    equation = next(helper.get_attribute_value(a).decode() for a in node.attribute)
    terms = equation.replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if shape is None:
            return 0
        head, _, tail = term.partition("...")
        hidden = len(shape) - len(head) - len(tail)
        # What an ellipsis stands for is counted from the right, as it broadcasts.
        letters = [*head, *(f"...{hidden - i}" for i in range(hidden)), *tail]
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 0))
    return prod(sizes.values()) if len(terms) > 1 else 0


_COUNTS: dict[str, Callable[[list[Shape | None], Shape], int]] = {
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed,
    "MatMul": _matmul(1),
    "MatMulInteger": _matmul(1),
    "QLinearMatMul": _matmul(3),
    "Gemm": _gemm,
}
WEIGHTED = frozenset(_COUNTS)
"""Operators that multiply by weights, or maps by each other."""
