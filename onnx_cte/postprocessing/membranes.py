"""Cells from their membranes alone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.postprocessing.growing import grown
from onnx_cte.postprocessing.labelling import Labels, numbered, sizes
from onnx_cte.postprocessing.landscape import distances, parted, smoothed
from onnx_cte.postprocessing.options import (
    check_served,
    refused_dimensions,
    settle_number,
    settle_switch,
    settle_whole,
)
from onnx_cte.types import BOUNDARY, Prediction


@dataclass(frozen=True)
class Boundary:
    """Cells that a boundary map encloses: dense tissue, membranes, axons.

    Boundary is where its probability exceeds the prediction's threshold. What lies between is
    parted by a watershed of a mix: the distance to the boundary times the probability that there
    is none, smoothed, so that cells are cut where a membrane has a gap, and along a membrane that
    is too faint for the threshold. Neighbouring peaks of the mix are one seed if they are nearer
    than `seed_distance` or not parted by a `neck`. Then the boundary is given to the cells, small
    cells to their neighbours, and what is far larger than the others is background [1]_.

    Parameters
    ----------
    min_size : int, 0 or more
        Cells of fewer pixels (voxels) are given to their neighbours, or with `fill` off to the
        background; 0 and 1 keep all.
    seed_smoothing : float, 0 or more
        Standard deviation, in px, of the Gaussian filter of the mix.
    seed_distance : float, 0 or more
        In px.
    neck : float in [0, 1]
        Parted is where the mix is below this share of the lower of two peaks; 0 parts nothing.
    background_factor : float, 0 or more
        The largest segment is background as long as it has more than so many times the median
        pixels of all, the median of before, and another one is left; 0 keeps all. One segment that
        is all of the image is background too, which the authors' code keeps: a network that sees
        no boundary has found no cell.
    fill : bool
        Give the pixels of the boundary to the cells beside them, without lines between cells.

    Raises
    ------
    OptionError
        If an option is none of these.

    Notes
    -----
    Cells hang together by faces only, since a thin diagonal membrane is open at its corners. The
    authors' code ends with a relabelling by connected components; here every segment is one, so
    only their numbers are left to be settled.

    References
    ----------
    .. [1] Talks, J. and Kreshuk, A. (2025), arXiv:2503.00450; ``remove_background_seg`` of the
       authors' code.
    """

    min_size: int = 15
    seed_smoothing: float = 1.0
    seed_distance: float = 5.0
    neck: float = 0.6
    background_factor: float = 4.0
    fill: bool = True

    name: ClassVar[str] = "boundary"
    summary: ClassVar[str] = "cells that a boundary map encloses: membranes, dense tissue"

    def __post_init__(self) -> None:
        settle_whole(self, "min_size")
        settle_number(self, "seed_smoothing", 0)
        settle_number(self, "seed_distance", 0)
        settle_number(self, "neck", 0, 1)
        settle_number(self, "background_factor", 0)
        settle_switch(self, "fill")

    def refuses(self, roles: tuple[str, ...], dimensions: int) -> str:
        if BOUNDARY not in roles and len(roles) != 1:
            return "needs a channel 'boundary', or a sole channel that holds the boundary"
        return refused_dimensions(dimensions)

    def decode(self, prediction: Prediction) -> Labels:
        check_served(self, prediction)
        wall = np.ascontiguousarray(
            prediction[BOUNDARY] if BOUNDARY in prediction.roles else prediction.maps[0]
        )
        inside = wall <= np.float32(prediction.threshold)
        mix = distances(inside) * np.clip(1 - wall, 0, 1, dtype=np.float32)
        mix = smoothed(mix, self.seed_smoothing)
        cells = parted(inside, mix, "face", self.seed_distance, self.neck)
        everywhere = np.ones(wall.shape, np.bool_)
        if self.fill:
            cells = grown(cells, everywhere, wall, "face")
        small = sizes(cells) < self.min_size
        small[0] = False
        if small.any():
            cells = np.where(small[cells], np.int32(0), cells)
            if self.fill:
                cells = grown(cells, everywhere, wall, "face")
        if self.background_factor:
            if cells.size and cells.min() == cells.max():
                return np.zeros(wall.shape, np.int32)
            cells = without_background(cells, self.background_factor)
        return numbered(cells)


def without_background(labels: NDArray[np.integer], factor: float = 4.0) -> Labels:
    """Remove the segments that are so large that they must be background.

    The largest segment is removed as long as it has more than `factor` times the median number of
    pixels, and is not the only one left. The median is that of all segments at the beginning.

    Parameters
    ----------
    labels : ndarray of int, any shape
        0 is background already, and no segment.
    factor : float

    Returns
    -------
    ndarray of int32, same shape
        The other labels keep their numbers.

    Examples
    --------
    >>> without_background(np.repeat([1, 2, 3], [2, 2, 9]))
    array([1, 1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0], dtype=int32)
    """
    counts = sizes(labels)
    counts[0] = 0
    present = np.flatnonzero(counts)
    new = np.zeros(counts.size, np.int32)
    if present.size:
        new[present] = present
        limit = factor * np.median(counts[present])
        largest_first = present[np.argsort(-counts[present], kind="stable")]
        for label in largest_first[:-1]:
            if counts[label] <= limit:
                break
            new[label] = 0
    kept: Labels = new[labels]
    return kept
