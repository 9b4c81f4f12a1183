"""Objects from the foreground alone: its connected components, or these parted at their necks."""

from dataclasses import dataclass
from typing import ClassVar

from onnx_cte.postprocessing.labelling import Labels, Mask, components, foreground_mask, numbered
from onnx_cte.postprocessing.landscape import distances, parted, smoothed
from onnx_cte.postprocessing.options import (
    Connectivity,
    check_served,
    refused_dimensions,
    settle_choice,
    settle_number,
    settle_whole,
)
from onnx_cte.types import BACKGROUND, FOREGROUND, Prediction


def _refused(roles: tuple[str, ...], dimensions: int) -> str:
    """Why channels tell no foreground; or empty."""
    if FOREGROUND not in roles and BACKGROUND not in roles:
        return "needs a channel 'foreground', or classes of which one is 'background'"
    return refused_dimensions(dimensions)


@dataclass(frozen=True)
class Foreground:
    """Connected components of the foreground.

    Foreground is where its probability exceeds the prediction's threshold; between classes, where
    another class than the background is the most probable.

    Parameters
    ----------
    min_size : int, 0 or more
        Objects of fewer pixels (voxels) become background; 0 and 1 keep all.
    connectivity : {"full", "face"}
        Whether pixels that share a corner (or, in volumes, an edge) alone hang together.

    Raises
    ------
    OptionError
        If an option is none of these.
    """

    min_size: int = 15
    connectivity: Connectivity = "full"

    name: ClassVar[str] = "foreground"
    summary: ClassVar[str] = "connected components of the foreground"

    def __post_init__(self) -> None:
        settle_whole(self, "min_size")
        settle_choice(self, "connectivity", Connectivity)

    def refuses(self, roles: tuple[str, ...], dimensions: int) -> str:
        return _refused(roles, dimensions)

    def decode(self, prediction: Prediction) -> Labels:
        check_served(self, prediction)
        return self.objects(foreground_mask(prediction))

    def objects(self, mask: Mask) -> Labels:
        """Label image of a foreground mask."""
        return numbered(components(mask, self.connectivity), self.min_size)


@dataclass(frozen=True)
class Watershed:
    """Foreground parted by a watershed of the distance to its outline: for touching nuclei.

    Seeds are peaks of the smoothed distance transform. Two neighbouring peaks are one seed if they
    are nearer than `seed_distance`, or if the foreground between them is hardly narrower than at
    the smaller peak (`neck`), so that a bumpy outline or an elongated nucleus is not cut.

    Parameters
    ----------
    min_size : int, 0 or more
        Parts of fewer pixels (voxels) become background; 0 and 1 keep all.
    seed_distance : float, 0 or more
        In px.
    smoothing : float, 0 or more
        Standard deviation, in px, of the Gaussian filter of the distances.
    neck : float in [0, 1]
        Parted is where the half width is less than this share of the half width at the peak; 0
        parts nothing.
    connectivity : {"full", "face"}
        Whether pixels that share a corner (or, in volumes, an edge) alone hang together.

    Raises
    ------
    OptionError
        If an option is none of these.
    """

    min_size: int = 15
    seed_distance: float = 5.0
    smoothing: float = 1.0
    neck: float = 0.9
    connectivity: Connectivity = "full"

    name: ClassVar[str] = "watershed"
    summary: ClassVar[str] = "foreground parted at its necks: for touching nuclei"

    def __post_init__(self) -> None:
        settle_whole(self, "min_size")
        settle_number(self, "seed_distance", 0)
        settle_number(self, "smoothing", 0)
        settle_number(self, "neck", 0, 1)
        settle_choice(self, "connectivity", Connectivity)

    def refuses(self, roles: tuple[str, ...], dimensions: int) -> str:
        return _refused(roles, dimensions)

    def decode(self, prediction: Prediction) -> Labels:
        check_served(self, prediction)
        return self.objects(foreground_mask(prediction))

    def objects(self, mask: Mask) -> Labels:
        """Label image of a foreground mask."""
        heights = smoothed(distances(mask), self.smoothing)
        parts = parted(mask, heights, self.connectivity, self.seed_distance, self.neck)
        return numbered(parts, self.min_size)
