"""Contingency table of two label images: which objects overlap, and by how many pixels.

Labels are constant along runs, so runs are counted, not pixels. One table serves every metric on
label images: `onnx_cte.metrics.rand` and `onnx_cte.metrics.matching` take it as well.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnx_cte.metrics.tallying import Ids, Tally, tally_of


@dataclass(frozen=True, slots=True, eq=False)
class Contingency:
    """Objects of two label images and the pixels they share; background (0) is kept apart.

    Attributes
    ----------
    reference_ids, other_ids : ndarray of int64, shapes (R,) and (S,)
        Labels of the objects that were counted, ascending, without 0.
    reference_areas, other_areas : ndarray of int64, shapes (R,) and (S,)
        Their pixels, at least 1.
    rows, columns : ndarray of int64, shape (P,)
        Of each pair of objects that overlap: its places in `reference_ids` and `other_ids`;
        ascending by row, then by column.
    overlaps : ndarray of int64, shape (P,)
        Pixels that a pair shares, at least 1.
    pixels : int
        Pixels that were counted, background and all.
    """

    reference_ids: NDArray[np.int64]
    reference_areas: NDArray[np.int64]
    other_ids: NDArray[np.int64]
    other_areas: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    overlaps: NDArray[np.int64]
    pixels: int

    @property
    def reference_alone(self) -> NDArray[np.int64]:
        """Pixels of each reference object that are background in the other image, shape (R,)."""
        return self.reference_areas - _totals(self.rows, self.overlaps, len(self.reference_ids))

    @property
    def other_alone(self) -> NDArray[np.int64]:
        """Pixels of each object of the other image that are background in the reference, (S,)."""
        return self.other_areas - _totals(self.columns, self.overlaps, len(self.other_ids))

    @property
    def neither(self) -> int:
        """Pixels that are background in both."""
        return self.pixels - int(self.reference_areas.sum()) - int(self.other_alone.sum())


def contingency(
    reference: ArrayLike, other: ArrayLike, *, where: NDArray[np.bool_] | None = None
) -> Contingency:
    """Count the objects of two label images and their overlaps in one pass.

    Parameters
    ----------
    reference, other : ndarray of int, equal shapes of one or more axes
        Label images of any integer width; 0 is background, labels need not be consecutive.
    where : ndarray of bool, same shape, optional
        Pixels to count; all without it.

    Returns
    -------
    Contingency
        Of empty arrays or images without objects: without objects.

    Raises
    ------
    ValueError
        If the shapes differ, or an array is no label image: of bool or float, of negative labels
        or of labels beyond 2**63 - 1.

    Notes
    -----
    Time grows with the number of runs, memory (beyond the inputs) with the number of pairs. Arrays
    that are not contiguous are copied, unless all have the same order of axes.

    Examples
    --------
    >>> table = contingency(np.array([[1, 1, 0, 7]]), np.array([[4, 5, 5, 0]]))
    >>> table.reference_ids, table.reference_areas, table.reference_alone
    (array([1, 7]), array([2, 1]), array([0, 1]))
    >>> list(zip(table.rows.tolist(), table.columns.tolist(), table.overlaps.tolist()))
    [(0, 0, 1), (0, 1, 1)]
    """
    reference, other = label_images(reference, other)
    arrays: tuple[NDArray[Any], ...] = (reference, other)
    if where is not None:
        where = np.asarray(where)
        if where.dtype != bool or where.shape != reference.shape:
            raise ValueError(
                f"where is of {where.dtype} and shape {where.shape}: expected a bool mask of the "
                f"label images' shape, {reference.shape}"
            )
        arrays = (*arrays, where)
    arrays = aligned(*arrays)
    pixels = reference.size if where is None else int(np.count_nonzero(where))
    return _table(*tally_of(*arrays), pixels)


def label_images(*images: ArrayLike) -> tuple[NDArray[np.integer], ...]:
    """The same as arrays, if all can be label images of one scene; else ValueError says why not.

    Negative labels are found when runs are counted.
    """
    arrays = tuple(np.asarray(image) for image in images)
    for array in arrays:
        if array.dtype == bool:
            raise ValueError(
                "expected a label image of integers, got a bool mask, which does not say where one "
                "object ends: label its connected components first (scipy.ndimage.label)"
            )
        if array.dtype.kind not in "iu":
            raise ValueError(
                f"expected a label image of integers, got {array.dtype}: threshold and label "
                "probabilities first, or cast whole numbers with .astype(numpy.int64)"
            )
        if not array.ndim:
            raise ValueError("expected a label image of one or more axes, got a single number")
    shapes = {array.shape: None for array in arrays}
    if len(shapes) > 1:
        found = " and ".join(map(str, shapes))
        raise ValueError(
            f"label images have shapes {found}: expected equal ones; labels of one scene have the "
            "same axes and sizes (crop, pad or resample before the objects are labelled)"
        )
    return arrays


def aligned(*arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """C-contiguous arrays of the same pixels, with the axes of all in the order of the first's.

    Nothing on label images depends on the order of axes, so that Fortran order costs no copy.
    """
    strides = [abs(step) for step in arrays[0].strides]
    order = sorted(range(len(strides)), key=lambda axis: -strides[axis])
    return tuple(np.ascontiguousarray(array.transpose(order)) for array in arrays)


def _table(tally: Tally, reference_names: Ids, other_names: Ids, pixels: int) -> Contingency:
    """Objects and pairs of a tally, under their own labels."""
    t, s, overlaps = tally.pairs()
    reference_ids, reference_areas, rows = _objects(tally.reference.sum(axis=1), t)
    other_ids, other_areas, columns = _objects(tally.other, s)
    if reference_names is not None and other_names is not None:
        reference_ids, other_ids = reference_names[reference_ids], other_names[other_ids]
    return Contingency(
        reference_ids, reference_areas, other_ids, other_areas, rows, columns, overlaps, pixels
    )


def _objects(
    areas: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Objects of a table of areas by label, their areas, and the places of labels among them."""
    ids = np.flatnonzero(areas[1:]) + 1
    places = np.zeros(len(areas), np.int64)
    places[ids] = np.arange(len(ids))
    return ids, areas[ids].astype(np.int64), places[labels]


def _totals(
    groups: NDArray[np.int64], amounts: NDArray[np.int64], length: int
) -> NDArray[np.int64]:
    # Sums of pixels are whole numbers below 2**53, which float64 holds exactly.
    return np.bincount(groups, weights=amounts, minlength=length).astype(np.int64)
