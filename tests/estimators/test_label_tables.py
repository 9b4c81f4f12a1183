"""Joint tables of labels, and how much one label leaves open of the other."""

import math

import numpy as np
import pytest

from onnx_cte.estimators.label_tables import conditional_entropy, label_table


def test_masses_of_labels():
    plan = np.array([[0.25, 0, 0.25], [0, 0.5, 0]])
    table = label_table(plan, np.array([1, 0]), np.array([0, 2, 0]), (2, 3))
    assert table.tolist() == [[0, 0, 0.5], [0.5, 0, 0]]


def test_entropy_of_the_column_given_the_row():
    # Rows weigh by their mass; one without mass adds nothing, and masses need not sum to 1.
    table = np.array([[0, 0, 0], [2.0, 2.0, 0], [6, 3, 3]])
    assert conditional_entropy(table) == pytest.approx((math.log(2) + 3 * 1.5 * math.log(2)) / 4)
    assert conditional_entropy(3 * table) == pytest.approx(conditional_entropy(table), abs=1e-15)
    # It is not symmetric.
    assert conditional_entropy(np.array([[1.0, 1.0]])) == pytest.approx(math.log(2))
    assert conditional_entropy(np.array([[1.0], [1.0]])) == 0


def test_limits():
    sure = conditional_entropy(np.array([[0, 5], [3, 0]]))
    assert sure == 0
    assert math.copysign(1, sure) == 1
    assert math.isnan(conditional_entropy(np.zeros((2, 2))))
    assert math.isnan(conditional_entropy(np.zeros((0, 0))))
