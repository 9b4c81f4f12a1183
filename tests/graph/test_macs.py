import pytest
from graph_models import node

from onnx_cte.graph.macs import multiply_accumulates

# Operator, shapes of inputs, of the output, and the count written out.
CASES = {
    "convolution": ("Conv", [(1, 3, 8, 10), (16, 3, 3, 3)], (1, 16, 8, 10), 16 * 80 * 27),
    "with bias": ("Conv", [(1, 3, 8, 8), (4, 3, 1, 1), (4,)], (1, 4, 8, 8), 4 * 64 * 3),
    "in groups": ("Conv", [(1, 8, 6, 6), (8, 2, 3, 3)], (1, 8, 6, 6), 8 * 36 * 18),
    "depthwise": ("Conv", [(1, 8, 6, 6), (8, 1, 3, 3)], (1, 8, 6, 6), 8 * 36 * 9),
    "strided": ("Conv", [(1, 2, 8, 8), (4, 2, 3, 3)], (1, 4, 4, 4), 4 * 16 * 18),
    "in 3-D": ("Conv", [(1, 2, 4, 6, 8), (4, 2, 3, 3, 3)], (1, 4, 4, 6, 8), 4 * 192 * 54),
    "a batch of two": ("Conv", [(2, 1, 4, 4), (1, 1, 3, 3)], (2, 1, 4, 4), 2 * 16 * 9),
    # Each of the 5 x 5 x 8 values is spread over 4 channels and 2 x 2 places.
    "transposed": ("ConvTranspose", [(1, 8, 5, 5), (8, 4, 2, 2)], (1, 4, 10, 10), 8 * 25 * 16),
    "transposed, in groups": (
        "ConvTranspose", [(1, 8, 5, 5), (8, 2, 2, 2)], (1, 4, 10, 10), 8 * 25 * 8,
    ),
    "integers": ("ConvInteger", [(1, 3, 8, 8), (4, 3, 3, 3), (), ()], (1, 4, 8, 8), 4 * 64 * 27),
    "quantised": (
        "QLinearConv", [(1, 3, 8, 8), (), (), (4, 3, 3, 3), (), ()], (1, 4, 8, 8), 4 * 64 * 27,
    ),
    "matrices": ("MatMul", [(3, 5), (5, 7)], (3, 7), 3 * 5 * 7),
    "many matrices": ("MatMul", [(1, 4, 9, 5), (1, 4, 5, 9)], (1, 4, 9, 9), 4 * 9 * 9 * 5),
    "matrix and vector": ("MatMul", [(3, 5), (5,)], (3,), 15),
    "vectors": ("MatMul", [(5,), (5,)], (), 5),
    "integer matrices": ("MatMulInteger", [(3, 5), (5, 7), (), ()], (3, 7), 105),
    "quantised matrices": (
        "QLinearMatMul", [(3, 5), (), (), (5, 7), (), (), (), ()], (3, 7), 105,
    ),
    "gemm": ("Gemm", [(3, 5), (5, 7), (7,)], (3, 7), 105),
    "gemm, transposed": ("Gemm", [(5, 3), (7, 5)], (3, 7), 105),
    "activation": ("Relu", [(1, 4, 8, 8)], (1, 4, 8, 8), 0),
    "sum": ("Add", [(1, 4, 8, 8), (1, 4, 8, 8)], (1, 4, 8, 8), 0),
}  # fmt: skip


def count(op, inputs, out, **attributes):
    shapes = {f"i{number}": shape for number, shape in enumerate(inputs)} | {"out": out}
    return multiply_accumulates(
        node(op, [f"i{number}" for number in range(len(inputs))], ["out"], **attributes),
        shapes.get,
    )


@pytest.mark.parametrize("name", CASES)
def test_by_hand(name):
    op, inputs, out, expected = CASES[name]
    assert count(op, inputs, out) == expected


@pytest.mark.parametrize("name", CASES)
def test_what_was_not_seen_counts_nothing(name):
    op, inputs, out, _ = CASES[name]
    assert count(op, inputs, None) == 0
    weight = 3 if op.startswith("QLinear") else 1
    for gone in {0, min(weight, len(inputs) - 1)}:
        seen = [None if number == gone else shape for number, shape in enumerate(inputs)]
        assert count(op, seen, out) == 0


@pytest.mark.parametrize(
    ("equation", "inputs", "out", "expected"),
    [
        ("ij,jk->ik", [(3, 5), (5, 7)], (3, 7), 105),
        # Attention: batch 2, 4 heads, 9 queries and 9 keys of length 5.
        ("bhxd,bhyd->bhxy", [(2, 4, 9, 5), (2, 4, 9, 5)], (2, 4, 9, 9), 2 * 4 * 9 * 9 * 5),
        ("ij, jk", [(3, 5), (5, 7)], (3, 7), 105),
        ("...ij,...jk->...ik", [(4, 2, 3, 5), (2, 5, 7)], (4, 2, 3, 7), 8 * 105),
        # One operand: a transposition, or a sum.
        ("ij->ji", [(3, 5)], (5, 3), 0),
    ],
)
def test_einsum(equation, inputs, out, expected):
    assert count("Einsum", inputs, out, equation=equation) == expected


def test_an_input_left_out():
    made = node("Conv", ["x", ""], ["y"])
    assert multiply_accumulates(made, {"x": (1, 1, 4, 4), "y": (1, 1, 4, 4)}.get) == 0
