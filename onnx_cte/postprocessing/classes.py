"""Objects of several classes in one label image."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from onnx_cte.postprocessing.foreground import Foreground, Watershed
from onnx_cte.postprocessing.labelling import Labels, Mask, numbered, object_roles
from onnx_cte.postprocessing.options import (
    Connectivity,
    check_served,
    refused_dimensions,
    settle_choice,
    settle_whole,
)
from onnx_cte.types import BACKGROUND, Prediction

Each = Literal["foreground", "watershed"]


@dataclass(frozen=True)
class Classes:
    """The objects of every class by themselves: those of different classes never merge.

    Classes are the channels that are neither background nor boundary. With a background, a pixel
    is of the most probable of all channels; of equally probable ones the background, then the
    earlier channel. Without one, channels are maps of their own: a pixel is of the most probable
    class that exceeds the prediction's threshold.

    Parameters
    ----------
    min_size : int, 0 or more
        Objects of fewer pixels (voxels) become background; 0 and 1 keep all.
    each : {"foreground", "watershed"}
        How the mask of a class becomes objects: by the decoder of that name, its other options as
        they are by default.
    connectivity : {"full", "face"}
        Whether pixels that share a corner (or, in volumes, an edge) alone hang together.

    Raises
    ------
    OptionError
        If an option is none of these.
    """

    min_size: int = 15
    each: Each = "foreground"
    connectivity: Connectivity = "full"

    name: ClassVar[str] = "classes"
    summary: ClassVar[str] = "several classes of objects, each by itself"

    def __post_init__(self) -> None:
        settle_whole(self, "min_size")
        settle_choice(self, "each", Each)
        settle_choice(self, "connectivity", Connectivity)

    def refuses(self, roles: tuple[str, ...], dimensions: int) -> str:
        if len(object_roles(roles)) < 2:
            return "needs two or more channels that are neither background nor boundary"
        return refused_dimensions(dimensions)

    def decode(self, prediction: Prediction) -> Labels:
        check_served(self, prediction)
        decoder = (Foreground if self.each == "foreground" else Watershed)(
            self.min_size, connectivity=self.connectivity
        )
        found = np.zeros(prediction.maps.shape[1:], np.int32)
        highest = 0
        for mask in self._masks(prediction):
            objects = decoder.objects(mask)
            count = int(objects.max(initial=0))
            found[mask] = (objects + np.int32(highest) * (objects > 0))[mask]
            highest += count
        return numbered(found)

    @staticmethod
    def _masks(prediction: Prediction) -> list[Mask]:
        """A mask a class; no two have a pixel in common."""
        roles = object_roles(prediction.roles)
        if prediction.exclusive:
            hard = prediction.classes
            # As `Prediction.probabilities` has them: the background first, the others in order.
            order = [role for role in prediction.roles if role != BACKGROUND]
            return [np.ascontiguousarray(hard == order.index(role) + 1) for role in roles]
        maps = np.stack([prediction[role] for role in roles])
        hard = np.where(
            maps.max(axis=0) > np.float32(prediction.threshold), maps.argmax(axis=0), -1
        )
        return [hard == place for place in range(len(roles))]
