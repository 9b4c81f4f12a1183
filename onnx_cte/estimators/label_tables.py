"""What one label says of another: joint tables of labels, and their conditional entropy."""

import numpy as np
from numpy.typing import NDArray


def label_table(
    plan: NDArray[np.float64],
    source: NDArray[np.integer],
    target: NDArray[np.integer],
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    """Mass carried from each source label to each target label.

    Parameters
    ----------
    plan : ndarray of float64, shape (n, m)
    source, target : ndarray of int, shape (n,) and (m,)
        Labels from 0 on.
    shape : tuple of int
        Of the table: how many source and target labels there are.

    Returns
    -------
    ndarray of float64, of that shape
    """
    cells = source[:, None] * shape[1] + target
    found = np.bincount(cells.ravel(), plan.ravel(), minlength=shape[0] * shape[1])
    return found.reshape(shape).astype(np.float64)


def conditional_entropy(table: NDArray[np.floating]) -> float:
    """H(column | row) of a joint table, in nats.

    Parameters
    ----------
    table : ndarray of float, shape (R, C)
        How often, or with how much mass, each row met each column; at least 0, any sum.

    Returns
    -------
    float
        At least 0, where the row settles the column. NaN if the table is empty or all 0.

    Examples
    --------
    >>> round(conditional_entropy(np.array([[0.25, 0.25], [0.0, 0.5]])), 9)
    0.34657359
    """
    mass = table.sum()
    if not mass > 0:
        return float("nan")
    rows = np.broadcast_to(table.sum(axis=1, keepdims=True), table.shape)
    some = table > 0
    # Adding 0 turns the -0 of a table that leaves nothing open into 0.
    return float(-(table[some] * np.log(table[some] / rows[some])).sum() / mass) + 0.0
