"""Architecture families as ONNX files, with what the graph analysis is expected to find."""

from families import converted, corners, foreign, plain, various
from families.family import Family

FAMILIES: tuple[Family, ...] = (
    *plain.FAMILIES,
    *various.FAMILIES,
    *corners.FAMILIES,
    *converted.FAMILIES,
    *foreign.FAMILIES,
)

__all__ = ["FAMILIES", "Family"]
