"""How large an output is beside the input: the same, less by a border, or coarser."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_cte.descriptor import Size, TensorSpec
from onnx_cte.errors import DescriptorError

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import InputTensorDescr, OutputTensorDescr


@dataclass(frozen=True, slots=True)
class Extents:
    """Of an output, by axis: sides of its own, halo and border in px of the image, coarseness."""

    sizes: Mapping[str, Size]
    halo: Mapping[str, int]
    border: Mapping[str, int]
    scale: Mapping[str, int]


def output_extents(
    tensor: "OutputTensorDescr",
    letters: Mapping[str, str],
    image: "InputTensorDescr",
    image_letters: Mapping[str, str],
    source: TensorSpec,
) -> Extents:
    """Read the size of an output.

    Parameters
    ----------
    tensor, image : descriptions of the output and of the input
    letters, image_letters : mapping of str to str
        The letter of each axis, by its name in the description.
    source : TensorSpec
        The input as we have it.

    Returns
    -------
    Extents

    Raises
    ------
    DescriptorError
        If the size depends on the data, or does not go with that of the input.
    """
    scales = {str(axis.id): axis.scale for axis in image.axes}
    sizes, halo, border, scale = {}, {}, {}, {}
    for axis in tensor.axes:
        letter = letters[str(axis.id)]
        if letter in "bc":
            continue
        where = f"side {axis.id} of output '{tensor.id}'"
        size: Any = axis.size
        side = source.size_along(letter)
        if isinstance(size, int):
            if side is None:
                sizes[letter] = Size(size, 0)
                continue
            if side.step:
                raise DescriptorError(f"{where} is always {size}, while the input's is free")
            # A side that is no whole part of the input's is as fine, and lacks a border.
            larger, smaller = max(size, side.minimum), min(size, side.minimum)
            times = _coarser(where, size / side.minimum) if larger % smaller == 0 else 1
            difference = size * times - side.minimum
        elif not hasattr(size, "axis_id"):
            raise DescriptorError(f"{where} depends on the data; expected the size of the input")
        else:
            other = _reference(axis, image, image_letters, source)
            if side is None or other is None:
                raise DescriptorError(
                    f"{where} is sized by {size.tensor_id}.{size.axis_id}; expected "
                    f"{image.id}.{axis.id}"
                )
            times = _coarser(where, scales[str(size.axis_id)] / axis.scale)
            difference = other.minimum + size.offset - side.minimum
        if difference > 0 or difference % 2:
            raise DescriptorError(
                f"{where} differs from the input's by {difference} pixels; expected the same "
                "size, or less by an even number"
            )
        if difference:
            border[letter] = -difference // 2
        if pixels := getattr(axis, "halo", 0):
            halo[letter] = int(pixels) * times
        if times > 1:
            scale[letter] = times
    if scale and border:
        raise DescriptorError(
            f"output '{tensor.id}' is both coarser than the input and smaller by a border; "
            "expected one or the other"
        )
    return Extents(sizes, halo, border, scale)


def _reference(
    axis: Any, image: "InputTensorDescr", letters: Mapping[str, str], source: TensorSpec
) -> Size | None:
    """The size that an output axis refers to, if that means the same axis of the input."""
    own = next((a.size for a in image.axes if a.id == axis.id), None)
    name = str(axis.size.axis_id)
    if axis.size.tensor_id != image.id or name not in letters:
        return None
    other = source.size_along(letters[name])
    fixed = other is not None and other.step == 0 and isinstance(own, int)
    tied = str(getattr(own, "axis_id", axis.id)) == name
    return other if fixed or tied else None


def _coarser(where: str, factor: float) -> int:
    """How many times an output is coarser than the input, by the factor of their sizes."""
    times = max(1, round(1 / factor))
    if not math.isclose(times * factor, 1):
        raise DescriptorError(
            f"{where} is {factor:g} times that of the input; expected the input's own resolution, "
            "or one that is coarser by a whole number. Add a resize to the ONNX graph"
        )
    return times
