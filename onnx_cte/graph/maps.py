"""Which values of a graph are feature maps, and at what scale.

Shapes are those seen at one concrete probe: symbolic sizes say nothing of stride.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Value(NamedTuple):
    """A value as it was seen when the network ran at the probe's size.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
        NumPy's name: "float32", "float16", "int64".
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def floating(self) -> bool:
        return self.dtype.startswith("float") or self.dtype == "bfloat16"


@dataclass(frozen=True, slots=True)
class Probe:
    """The size at which a network was looked at.

    Attributes
    ----------
    source : str
        Name of the graph input that takes the image.
    axes : str
        Its layout, one letter a dimension, as "bcyx", "bczyx" or "byxc".
    shape : tuple of int
        Of the image; preferably with sides that differ, so that axes can be told apart.
    values : mapping of str to Value
        What every value was; without those that are no tensors.
    """

    source: str
    axes: str
    shape: tuple[int, ...]
    values: Mapping[str, Value]

    @property
    def spatial(self) -> tuple[int, ...]:
        """Sides of the image: (y, x) or (z, y, x)."""
        return tuple(self.shape[self.axes.index(axis)] for axis in "zyx" if axis in self.axes)

    def feature_map(self, name: str) -> "FeatureMap | None":
        """How a value is laid out, or None if it is no floating-point map of the image."""
        value = self.values.get(name)
        if value is None or not value.floating:
            return None
        return feature_map(value.shape, self.spatial)


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Layout of a feature map.

    Attributes
    ----------
    channels : int
    axis : int
        Where its channels are: 1, or the last.
    sides : tuple of int
    stride : tuple of int
        Pixels of the image per position, along each spatial axis, rounded.
    """

    channels: int
    axis: int
    sides: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def scale(self) -> int:
        """The largest stride, by which scales are told apart."""
        return max(self.stride)

    @property
    def positions(self) -> int:
        """Number of spatial positions."""
        count = 1
        for side in self.sides:
            count *= side
        return count


@dataclass(frozen=True, slots=True)
class Tap:
    """A feature map that can be disturbed or read.

    Attributes
    ----------
    name : str
        "bottleneck", "encoder/2", "decoder/4", "skip/1": the part, and the stride.
    tensor : str
        Its name in the graph.
    channels : int
    axis : int
        Where the channels are: 1, or the last axis.
    rank : int
        Number of axes, the batch included.
    stride : tuple of int
        Px of the image per position, along each spatial axis.
    dtype : str
        NumPy's name of its type.
    into : tuple of str
        For a skip, the nodes of the decoder that take it, by their first output: only these see
        the disturbance. Empty: all that use the map.
    kind : str
        For a skip, how it enters the decoder: "concat", "add", "gate" (multiplied), or the
        operator. Else empty.
    """

    name: str
    tensor: str
    channels: int
    axis: int
    rank: int
    stride: tuple[int, ...]
    dtype: str
    into: tuple[str, ...] = ()
    kind: str = ""


def feature_map(shape: Sequence[int], spatial: Sequence[int]) -> FeatureMap | None:
    """How a value of this shape is laid out over an image with these sides.

    Parameters
    ----------
    shape : sequence of int
        (1, C, *sides) or (1, *sides, C).
    spatial : sequence of int
        Sides of the image.

    Returns
    -------
    FeatureMap or None
        None if it is no map: another rank, a batch other than 1, all sides 1 (pooled over the
        image), or sides that do not shrink alike along y and x. Where channels may be either
        first or last, the reading whose strides agree better wins, and first of equals.
    """
    if len(shape) != len(spatial) + 2 or shape[0] != 1 or min(shape) < 1:
        return None
    best: tuple[float, FeatureMap] | None = None
    for axis in (1, len(shape) - 1):
        sides = tuple(shape[2:] if axis == 1 else shape[1:-1])
        if max(sides) == 1 and max(spatial) > 1:
            continue
        ratios = [whole / side for whole, side in zip(spatial, sides, strict=True)]
        # Planes of a volume are often pooled less than what lies within them: y and x only.
        uneven = max(ratios[-2:]) / min(ratios[-2:])
        # Convolutions without padding nibble at borders; anything more is another layout.
        if uneven > _UNEVEN:
            continue
        found = FeatureMap(
            int(shape[axis]), axis, sides, tuple(max(1, round(ratio)) for ratio in ratios)
        )
        if best is None or uneven < best[0]:
            best = uneven, found
    return best[1] if best else None


_UNEVEN = 1.3
