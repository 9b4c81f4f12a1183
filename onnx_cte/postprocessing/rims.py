"""Objects from their inside and their rim: foreground and boundary, as maps or as classes.

A network that was trained on such maps takes the rim, a few pixels wide on both sides of an
outline, for boundary, and the pixels of objects, their part of the rim included, for foreground.
Without its rim every object stands alone: that is a seed, which grows back into the rim.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnx_cte.postprocessing.growing import grown_within
from onnx_cte.postprocessing.labelling import Labels, numbered, object_roles
from onnx_cte.postprocessing.options import (
    Connectivity,
    check_served,
    refused_dimensions,
    settle_choice,
    settle_number,
    settle_whole,
)
from onnx_cte.types import BACKGROUND, BOUNDARY, FOREGROUND, Prediction


@dataclass(frozen=True)
class ForegroundBoundary:
    """Foreground parted by a boundary map.

    Objects lie where the foreground exceeds the prediction's threshold. Boundary beyond that
    belongs to no object: it is the outer side of a rim. Seeds are connected components of the
    foreground without boundary; they grow, within the foreground, over the boundary less the
    foreground, lowest first. Foreground without any seed, such as a small object that is all rim,
    is one object a component.

    Parameters
    ----------
    min_size : int, 0 or more
        Objects of fewer pixels (voxels) become background; 0 and 1 keep all.
    boundary_threshold : float in [0, 1]
        Boundary is where its probability is at least that.
    seed_size : int, 0 or more
        Components of fewer pixels are no seed: a gap in the noise parts no object.
    connectivity : {"full", "face"}
        Whether pixels that share a corner (or, in volumes, an edge) alone hang together.

    Raises
    ------
    OptionError
        If an option is none of these.
    """

    min_size: int = 15
    boundary_threshold: float = 0.5
    seed_size: int = 4
    connectivity: Connectivity = "full"

    name: ClassVar[str] = "foreground_boundary"
    summary: ClassVar[str] = "foreground parted by a boundary map"

    def __post_init__(self) -> None:
        settle_whole(self, "min_size")
        settle_number(self, "boundary_threshold", 0, 1)
        settle_whole(self, "seed_size")
        settle_choice(self, "connectivity", Connectivity)

    def refuses(self, roles: tuple[str, ...], dimensions: int) -> str:
        if BACKGROUND in roles or FOREGROUND not in roles or BOUNDARY not in roles:
            return (
                "needs a channel 'foreground' and a channel 'boundary' that are maps of their own"
            )
        return refused_dimensions(dimensions)

    def decode(self, prediction: Prediction) -> Labels:
        check_served(self, prediction)
        inside = np.ascontiguousarray(prediction[FOREGROUND])
        rim = np.ascontiguousarray(prediction[BOUNDARY])
        region = inside > np.float32(prediction.threshold)
        inner = region & (rim < np.float32(self.boundary_threshold))
        heights = (rim - inside + np.float32(1)) / np.float32(2)
        return numbered(
            grown_within(inner, region, heights, self.connectivity, self.seed_size), self.min_size
        )


@dataclass(frozen=True)
class ThreeClass:
    """Background, inside and boundary as classes of which one holds at a pixel.

    The most probable class wins; of equally probable ones background before boundary before
    inside. Seeds are connected components of the inside; they grow into the boundary class, over
    its probability, lowest first. Boundary that hangs together with no seed is one object a
    component.

    Parameters
    ----------
    min_size : int, 0 or more
        Objects of fewer pixels (voxels) become background; 0 and 1 keep all.
    seed_size : int, 0 or more
        Components of fewer pixels are no seed.
    connectivity : {"full", "face"}
        Whether pixels that share a corner (or, in volumes, an edge) alone hang together.

    Raises
    ------
    OptionError
        If an option is none of these.
    """

    min_size: int = 15
    seed_size: int = 4
    connectivity: Connectivity = "full"

    name: ClassVar[str] = "three_class"
    summary: ClassVar[str] = "background, inside and boundary as classes"

    def __post_init__(self) -> None:
        settle_whole(self, "min_size")
        settle_whole(self, "seed_size")
        settle_choice(self, "connectivity", Connectivity)

    def refuses(self, roles: tuple[str, ...], dimensions: int) -> str:
        if len(roles) != 3 or not {BACKGROUND, BOUNDARY} <= set(roles):
            return "needs three classes: 'background', 'boundary' and the inside of objects"
        return refused_dimensions(dimensions)

    def decode(self, prediction: Prediction) -> Labels:
        check_served(self, prediction)
        outside = np.ascontiguousarray(prediction[BACKGROUND])
        rim = np.ascontiguousarray(prediction[BOUNDARY])
        inside = np.ascontiguousarray(prediction[object_roles(prediction.roles)[0]])
        region = outside < np.maximum(rim, inside)
        inner = region & (inside > rim)
        return numbered(
            grown_within(inner, region, rim, self.connectivity, self.seed_size), self.min_size
        )
