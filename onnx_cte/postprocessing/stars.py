"""StarDist's output to objects: a probability and rays to the outline at every pixel."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing.labelling import numbered
from onnx_cte.postprocessing.options import settle_number, settle_whole
from onnx_cte.postprocessing.polygons import corners
from onnx_cte.postprocessing.suppression import survivors
from onnx_cte.types import BACKGROUND, FOREGROUND, Prediction

_FEWEST_RAYS = 3
_SHORTEST = np.float32(1e-3)  # px; shorter and negative rays are made so long, as stardist does
_PROBABILITY = re.compile(r"(foreground|(object[ _-]?)?prob(ability|abilities)?)[ _-]?0?", re.I)
_RAY = re.compile(r"(dist|distances?|rays?|radial|radii|radius|stardist)[ _-]*(\d*)", re.I)


@dataclass(frozen=True)
class Stars:
    """Object probability and ray distances: non-maximum suppression of star-convex polygons.

    Every pixel whose probability is above the threshold proposes a polygon. The most probable one
    is kept and suppresses those it overlaps too much, then the next, and so on [1]_. Where kept
    polygons overlap, the more probable one has the pixel. Objects are numbered by their first pixel
    in C order.

    Channels: ``foreground`` is the object probability. All others, in their order, are the lengths
    in px of the rays at the angles ``2 pi k / n``: the first points right (along the columns), the
    one a quarter further down (along the rows). Planes only.

    It is the procedure of the stardist package (0.9), with what follows from its numbers: corners
    cut to whole px where areas are compared, rays of at least 0.001 px, no candidates at the
    border of the grid. It differs in two points. Of equally probable candidates stardist takes
    the one that its sorting happens to put first, here it is the topmost, then leftmost. Shared
    areas are exact, where stardist rounds the corners of what is shared to whole px: pairs whose
    overlap is near the threshold may be decided otherwise (a hundredth as a rule, a quarter for
    tiny or spiky polygons).
    The classes that some StarDist networks predict beside the rays are not used.

    Parameters
    ----------
    nms_threshold : float
        Polygons that share more than this part of the smaller one are one object, in [0, 1].
    grid : int
        The network predicts at every so many pixels, and its output was repeated to the size of
        the image: 1, 2, 4. The decoder looks at every such pixel, as stardist does at the output.
    border : int
        Width of the margin without candidates, in pixels of the grid, 0 or more.
    min_size : int
        Objects of fewer visible px are removed, 0 or more.

    Raises
    ------
    OptionError
        If a value is out of its range.

    References
    ----------
    .. [1] U. Schmidt, M. Weigert, C. Broaddus, G. Myers. Cell detection with star-convex polygons.
       MICCAI 2018. https://doi.org/10.1007/978-3-030-00934-2_30

    Examples
    --------
    >>> maps = np.zeros((9, 16, 16), np.float32)
    >>> maps[0, 7, 7] = 0.9
    >>> maps[1:, 7, 7] = 3
    >>> labels = Stars().decode(Prediction(maps, ("foreground", *(f"ray{k}" for k in range(8)))))
    >>> int(labels.max()), labels[7, 3:12].tolist()
    (1, [0, 1, 1, 1, 1, 1, 1, 1, 0])
    """

    name: ClassVar[str] = "stardist"
    summary: ClassVar[str] = "object probability and ray distances (StarDist): polygons suppressed"

    nms_threshold: float = 0.4
    grid: int = 1
    border: int = 2
    min_size: int = 0

    def __post_init__(self) -> None:
        settle_number(self, "nms_threshold", 0, 1)
        settle_whole(self, "grid", 1)
        settle_whole(self, "border")
        settle_whole(self, "min_size")

    @classmethod
    def recognises(cls, names: Sequence[str]) -> bool:
        """Whether channels of these names look like StarDist's.

        One object probability ("foreground", "prob", "probability") and three or more rays
        ("dist_0", "ray 1", "radial_2"), whose numbers, where they have any, ascend.
        """
        rays = [found for name in names if (found := _RAY.fullmatch(name.strip()))]
        others = [name.strip() for name in names if not _RAY.fullmatch(name.strip())]
        numbers = [int(ray[2]) for ray in rays if ray[2]]
        return (
            len(rays) >= _FEWEST_RAYS
            and len(others) == 1
            and _PROBABILITY.fullmatch(others[0]) is not None
            and all(low < high for low, high in pairwise(numbers))
        )

    def refuses(self, roles: tuple[str, ...], dimensions: int) -> str:
        rays = len(roles) - 1
        if dimensions != 2:
            return f"serves planes (2 dimensions), not images of {dimensions}"
        if FOREGROUND not in roles:
            return f"needs a channel '{FOREGROUND}': the probability of objects"
        if BACKGROUND in roles:
            return f"takes channels beside '{FOREGROUND}' for rays, and one is '{BACKGROUND}'"
        if rays < _FEWEST_RAYS:
            return f"needs {_FEWEST_RAYS} or more rays beside '{FOREGROUND}', there are {rays}"
        return ""

    def decode(self, prediction: Prediction) -> NDArray[np.int32]:
        """Label image of the maps' (H, W): 0 is background, objects are numbered as they are met.

        Raises
        ------
        OptionError
            If the channels cannot be served; `refuses` says the same.
        """
        from skimage import draw  # slow to import, and only this decoder needs it

        if reason := self.refuses(prediction.roles, prediction.maps.ndim - 1):
            raise OptionError(f"decoder '{self.name}' {reason}")
        centres, distances = self._candidates(prediction)
        kept = survivors(centres, distances, self.nms_threshold)
        shape = prediction.maps.shape[1:]
        labels = np.zeros(shape, np.int32)
        outlines = corners(centres[kept], distances[kept])
        pixels: Any = draw.polygon  # untyped
        for number in range(len(outlines), 0, -1):  # the most probable one comes last, on top
            rows, columns = outlines[number - 1].T
            labels[pixels(rows, columns, shape)] = number
        return numbered(labels, self.min_size)

    def _candidates(
        self, prediction: Prediction
    ) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
        """Centres (m, 2) and ray distances (m, n), the most probable first."""
        maps = prediction.maps[:, :: self.grid, :: self.grid]
        first = prediction.roles.index(FOREGROUND)
        height, width = maps.shape[1:]
        inner = np.s_[self.border : height - self.border, self.border : width - self.border]
        inside = np.zeros((height, width), np.bool_)
        if min(height, width) > 2 * self.border:
            inside[inner] = maps[first][inner] > np.float32(prediction.threshold)
        rows, columns = np.nonzero(inside)
        order = np.argsort(-maps[first][rows, columns], kind="stable")
        rows, columns = rows[order], columns[order]
        distances = np.empty((len(rows), len(maps) - 1), np.float32)
        rays = (plane for index, plane in enumerate(maps) if index != first)
        for k, plane in enumerate(rays):
            distances[:, k] = plane[rows, columns]
        centres = np.stack([rows, columns], axis=-1) * self.grid
        return centres, np.maximum(distances, _SHORTEST, out=distances)
