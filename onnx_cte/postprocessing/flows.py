"""Flow fields to objects: pixels that flow to one place are one object (Cellpose)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy  # its parts are imported when first used: slow, and only decoding needs them
from numpy.typing import NDArray

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing.flow_fields import flows_of_masks, follow, grouped
from onnx_cte.postprocessing.labelling import Labels, numbered, sizes
from onnx_cte.postprocessing.options import refused_dimensions, settle_number, settle_whole
from onnx_cte.types import BACKGROUND, FOREGROUND, Prediction

_PROBABILITY = re.compile(r"foreground|(cell[ _-]?)?prob(ability)?", re.I)
_AXIS = re.compile(r"(?:(?:flows?|vectors?|grad(?:ient)?|dp)[ _-]*d?|d)([zyx])", re.I)
_NUMBER = re.compile(r"(?:flows?|vectors?|dp)[ _-]*(\d+)", re.I)


@dataclass(frozen=True)
class Flows:
    """Probability and flows towards the middle of objects: pixels that end together are one.

    Every foreground pixel moves with the flow, step by step; where many end is a sink, and the
    pixels that end around one sink are an object [1]_. Objects whose flows differ too much from
    the ones that their mask should have are dropped, holes in objects are filled, and objects are
    numbered by their first pixel in C order.

    Channels: ``foreground`` is a probability (Cellpose's own is a logit: 0 there is 0.5 here). All
    others, as many as dimensions, are the flows along the rows and the columns (z, rows and
    columns in volumes), in this order.

    It is the procedure of the cellpose package (3.1): in planes it gives the same objects but for
    rounding, and for sinks in which equally many pixels end, which sorting puts in any order there
    and in C order here. Where objects were dropped for their flows, cellpose takes the sizes of
    other objects for those of the ones that follow, and removes the wrong ones as too small; here
    each has its own size. In volumes cellpose reads flows up to half a px beside the point, takes
    them for zero outside of the image, and checks no flows: `flow_threshold` 0 does the latter
    here too; otherwise volumes are checked against flows found in three dimensions, which a
    network made of predictions on planes does not have.
    Omnipose's way with the same channels (ever smaller steps, clusters in place of sinks) is not
    offered: of its networks only roundish objects come out well here.

    Parameters
    ----------
    niter : int
        Steps, 1 or more.
    flow_threshold : float
        Objects are dropped whose mean squared difference between the flow predicted and the one of
        their mask exceeds it; 0 keeps all.
    min_size : int
        Objects of fewer pixels (voxels) become background, before and after holes are filled; 0
        keeps all.
    max_share : float
        Objects of more than this share of the image become background, in (0, 1].
    flow_scale : float
        The network's flows are so many times a unit vector, above 0: 5 for Cellpose, 1 for flows
        that were not scaled.

    Raises
    ------
    OptionError
        If a value is out of its range.

    References
    ----------
    .. [1] C. Stringer, T. Wang, M. Michaelos, M. Pachitariu. Cellpose: a generalist algorithm for
       cellular segmentation. Nature Methods 18, 100 (2021).
       https://doi.org/10.1038/s41592-020-01018-x

    Examples
    --------
    >>> y, x = np.mgrid[-8:9, -8:9].astype(np.float32)
    >>> away = np.hypot(y, x)
    >>> maps = np.stack([away < 6, -5 * y / (away + 1e-9), -5 * x / (away + 1e-9)])
    >>> labels = Flows().decode(Prediction(maps.astype(np.float32), ("foreground", "dy", "dx")))
    >>> np.array_equal(labels, away < 6)
    True
    """

    name: ClassVar[str] = "flows"
    summary: ClassVar[str] = "probability and flows (Cellpose): pixels that flow together"

    niter: int = 200
    flow_threshold: float = 0.4
    min_size: int = 15
    max_share: float = 0.4
    flow_scale: float = 5.0

    def __post_init__(self) -> None:
        settle_whole(self, "niter", 1)
        settle_number(self, "flow_threshold", 0)
        settle_whole(self, "min_size")
        settle_number(self, "max_share", 0, 1)
        settle_number(self, "flow_scale", 0)
        for option in ("max_share", "flow_scale"):
            if getattr(self, option) == 0:
                raise OptionError(
                    f"decoder '{self.name}': {option} is 0, expected more than 0; "
                    f"write for example {self.name},{option}={getattr(type(self), option)}"
                )

    @classmethod
    def recognises(cls, names: Sequence[str]) -> bool:
        """Whether channels of these names look like a probability and flows.

        One probability ("foreground", "cellprob") and two or three flows in the order that
        `decode` reads them: by axis ("dy", "dx", "flow_z"), or numbered ("flow_0", "flow_1").
        """
        flows = [name.strip() for name in names if not _PROBABILITY.fullmatch(name.strip())]
        if len(names) - len(flows) != 1 or len(flows) not in (2, 3):
            return False
        axes = [found[1].lower() for name in flows if (found := _AXIS.fullmatch(name))]
        numbers = [int(found[1]) for name in flows if (found := _NUMBER.fullmatch(name))]
        if len(numbers) == len(flows):
            return numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        return axes == list("zyx"[-len(flows) :])

    def refuses(self, roles: tuple[str, ...], dimensions: int) -> str:
        if reason := refused_dimensions(dimensions):
            return reason
        if FOREGROUND not in roles:
            return f"needs a channel '{FOREGROUND}': the probability of objects"
        if BACKGROUND in roles:
            return f"takes channels beside '{FOREGROUND}' for flows, and one is '{BACKGROUND}'"
        if len(roles) - 1 != dimensions:
            return (
                f"needs {dimensions} flows beside '{FOREGROUND}', one a dimension; there are "
                f"{len(roles) - 1} other channels"
            )
        return ""

    def decode(self, prediction: Prediction) -> Labels:
        """Label image of the maps' (H, W) or (D, H, W): 0 is background.

        Raises
        ------
        OptionError
            If the channels cannot be served; `refuses` says the same.
        """
        if reason := self.refuses(prediction.roles, prediction.maps.ndim - 1):
            raise OptionError(f"decoder '{self.name}' {reason}")
        first = prediction.roles.index(FOREGROUND)
        inside = prediction.maps[first] > np.float32(prediction.threshold)
        flow = np.delete(prediction.maps, first, axis=0) / np.float32(self.flow_scale)
        labels = np.zeros(inside.shape, np.int32)
        if not inside.any():
            return labels
        ends = follow(np.where(inside, flow, np.float32(0)), np.argwhere(inside), self.niter)
        labels[inside] = grouped(ends, inside.shape)
        labels = _without(labels, sizes(labels) > self.max_share * labels.size)
        labels = numbered(labels, self.min_size)  # no flows of masks that are dropped anyway
        if self.flow_threshold > 0:
            labels = _without(labels, _flow_errors(labels, flow) > self.flow_threshold)
        return numbered(_filled(labels), self.min_size)


def _without(labels: Labels, dropped: NDArray[np.bool_]) -> Labels:
    """Numbered anew, without the labels for which (n + 1,) `dropped` holds; 0 stays."""
    kept = np.where(dropped, 0, np.arange(len(dropped), dtype=np.int32))
    return numbered(kept[labels])


def _flow_errors(labels: Labels, flow: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n + 1,) mean squared difference between a flow and the one of each mask; 0 for label 0."""
    squared = np.sum((flows_of_masks(labels) - flow) ** 2, axis=0)
    sums = np.bincount(labels.ravel(), weights=squared.ravel())
    errors: NDArray[np.float64] = sums / np.maximum(sizes(labels), 1)
    errors[0] = 0
    return errors


def _filled(labels: Labels) -> Labels:
    """Each object with its holes, in the order of the labels; what lies in a hole is covered."""
    filled = labels.copy()
    for label, box in enumerate(scipy.ndimage.find_objects(labels), start=1):
        mask = filled[box] == label
        filled[box][scipy.ndimage.binary_fill_holes(mask)] = label
    return filled
