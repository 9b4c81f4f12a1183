"""How one axis of an image is cut into tiles: where they read, and what is kept of their output."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import DescriptorError, OptionError

Size = int | tuple[int, int]
"""Sides a network takes along an axis, in px: one fixed side, or (minimum, step) for free ones."""

NAMES = {2: "yx", 3: "zyx"}
"""Letters of the axes, by their number."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an image, and how it is cut.

    Attributes
    ----------
    name : str
        Its letter.
    length : int
        Of the image, in px.
    size : int or (minimum, step)
        Of a tile. The output of such sides is a whole number of its pixels.
    halo, border : int
        As in `onnx_cte.tiling.run_tiled`; the halo is a multiple of the scale.
    scale : int
    """

    name: str
    length: int
    size: Size
    halo: int
    border: int
    scale: int

    @property
    def step(self) -> int:
        """Tiles start at multiples of it."""
        return self.size[1] if isinstance(self.size, tuple) else self.scale

    @property
    def least(self) -> int:
        """The smallest side that the network takes."""
        return self.size[0] if isinstance(self.size, tuple) else self.size

    @property
    def needed(self) -> int:
        """Side of a tile that holds all of the axis; a fixed one may be too short for it."""
        if not isinstance(self.size, tuple):
            return self.size
        more = self.length + 2 * self.border - self.least
        return self.least + self.step * max(0, -(-more // self.step))

    @property
    def shortest(self) -> int:
        """Side of a tile that holds a step between two halos."""
        more = 2 * (self.halo + self.border) + self.step - self.least
        return self.least + self.step * max(0, -(-more // self.step))

    def side(self, limit: int) -> int:
        """Side of the tiles: no longer than the limit, if the network allows it."""
        if not isinstance(self.size, tuple):
            return self.size
        longest = self.least + self.step * max(0, (limit - self.least) // self.step)
        if self.needed > longest and longest < self.shortest:
            raise OptionError(
                f"a tile of {longest} px (limit {limit} px) along {self.name} is used up by a halo "
                f"of {self.halo} px and a border of {self.border} px on either side: give a limit "
                f"of at least {self.shortest} px"
            )
        return min(self.needed, longest)

    def starts(self, side: int) -> Sequence[int]:
        """Where the output of each tile starts.

        At multiples of the step: a network that pools would see another grid otherwise, and give
        something else than on the whole image, however deep the halo.
        """
        out = side - 2 * self.border
        last = -(-(self.length - out) // self.step) * self.step
        if last <= 0:
            return (0,)
        return (*range(0, last, (out - 2 * self.halo) // self.step * self.step), last)

    def cuts(self, side: int) -> "list[Cut]":
        """All tiles, in order; their targets partition the axis."""
        starts, out, scale = self.starts(side), side - 2 * self.border, self.scale
        # The seam: the middle of what two neighbours share, at least a halo from either's end.
        seams = [
            (after + before + out) // 2 // scale * scale
            for before, after in itertools.pairwise(starts)
        ]
        return [
            Cut(
                _source(start - self.border, start - self.border + side, self.length),
                slice((low - start) // scale, -((start - high) // scale)),
                slice(low // scale, -(-high // scale)),
                start - self.border,
                slice(low, high),
            )
            for start, low, high in zip(starts, [0, *seams], [*seams, self.length], strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Cut:
    """Where one tile reads and writes along one axis; what is written is in px of the output."""

    source: slice | NDArray[np.intp]  # of the image; positions where some are reflected
    kept: slice  # part of the tile's output that is kept
    target: slice  # where it goes in the stitched map
    start: int  # the pixel of the image, or before it, at which the tile begins
    pixels: slice  # of the image, for which the tile is taken


def axes_of(
    shape: Sequence[int],
    sizes: tuple[Size, ...],
    halo: tuple[int, ...],
    border: tuple[int, ...],
    scale: tuple[int, ...],
) -> list[Axis]:
    """The axes of an image, checked."""
    rank = len(sizes)
    halo, border, scale = halo or (0,) * rank, border or (0,) * rank, scale or (1,) * rank
    if {len(shape), len(halo), len(border), len(scale)} != {rank}:
        raise DescriptorError(
            f"sizes {sizes}, halo {halo}, border {border} and scale {scale} are given for an image "
            f"of {len(shape)} axes: expected one of each an axis"
        )
    names = NAMES.get(rank, "?" * rank)
    given = zip(names, shape, sizes, halo, border, scale, strict=True)
    return [_axis(*described) for described in given]


def _axis(name: str, length: int, size: Size, halo: int, border: int, scale: int) -> Axis:
    """One axis; refuses what a description cannot mean."""
    least, step = size if isinstance(size, tuple) else (size, 1)
    if least < 1 or step < 1 or halo < 0 or border < 0 or scale < 1:
        coarser = f", scale {scale}" if scale != 1 else ""
        raise DescriptorError(
            f"size {size}, halo {halo} and border {border} px{coarser} make no sense: expected a "
            "side of at least 1, a step of at least 1, no negative halo or border, and a scale of "
            "at least 1"
        )
    # No coarse pixel may lie half in the halo.
    axis = Axis(name, length, size, -(-halo // scale) * scale, border, scale)
    if isinstance(size, tuple):
        sides = (least + k * step for k in range(scale))
        first = next((side for side in sides if not (side - 2 * border) % scale), None)
        if first is None:
            raise DescriptorError(
                f"no size of {least} px or {step} px more, less a border of {border} px on either "
                f"side, is a multiple of the scale of {scale} along {name}. Correct the sizes or "
                "the scale in the model's description"
            )
        return Axis(name, length, (first, math.lcm(step, scale)), axis.halo, border, scale)
    if (size - 2 * border) % scale:
        raise DescriptorError(
            f"a fixed size of {size} px, less a border of {border} px on either side, is no "
            f"multiple of the scale of {scale} along {name}. Correct the sizes or the scale in "
            "the model's description"
        )
    if size < axis.shortest:
        lost = f"a halo of {halo} px" + (f" and a border of {border} px" if border else "")
        raise DescriptorError(
            f"a fixed size of {size} px is used up by {lost} on either side: expected at least "
            f"{axis.shortest} px. Correct the halo in the model's description"
        )
    return axis


def _source(start: int, stop: int, length: int) -> slice | NDArray[np.intp]:
    """Where a tile reads: a slice, or, beyond the image, positions that are reflected into it."""
    if start >= 0 and stop <= length:
        return slice(start, stop)
    return _reflected(np.arange(start, stop), length)


def _reflected(positions: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Positions in an endless image that is mirrored at its end pixels, back in the image."""
    period = max(1, 2 * (length - 1))
    folded = positions % period
    return np.minimum(folded, period - folded)


def by(sides: Iterable[int]) -> str:
    """Sides for an error: ``20 x 30``."""
    return " x ".join(map(str, sides))
