"""The decoders there are, by name."""

from typing import Any

from onnx_cte.postprocessing.classes import Classes
from onnx_cte.postprocessing.flows import Flows
from onnx_cte.postprocessing.foreground import Foreground, Watershed
from onnx_cte.postprocessing.membranes import Boundary
from onnx_cte.postprocessing.rims import ForegroundBoundary, ThreeClass
from onnx_cte.postprocessing.stars import Stars

DECODERS: dict[str, type[Any]] = {
    Foreground.name: Foreground,
    Watershed.name: Watershed,
    ForegroundBoundary.name: ForegroundBoundary,
    ThreeClass.name: ThreeClass,
    Boundary.name: Boundary,
    Classes.name: Classes,
    Stars.name: Stars,
    Flows.name: Flows,
}
"""From the plainest on: where several serve the same channels, the first is the least bold."""
