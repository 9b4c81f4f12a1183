"""Decoders: from what a network says of an image to the objects in it.

A decoder is a value: frozen, comparable, with a ``repr`` that is its identity, and the same for the
reference and every perturbed prediction. `DECODERS` is the registry; a model's description names
one under ``config: decoder:``, an option may state one, and otherwise the channels decide.
"""

from onnx_cte.postprocessing.choosing import decoder_for, fitting, refusal
from onnx_cte.postprocessing.classes import Classes
from onnx_cte.postprocessing.flows import Flows
from onnx_cte.postprocessing.foreground import Foreground, Watershed
from onnx_cte.postprocessing.membranes import Boundary
from onnx_cte.postprocessing.parsing import (
    as_decoder,
    decoder_named,
    decoder_of_config,
    decoder_text,
    parse_decoder,
)
from onnx_cte.postprocessing.registry import DECODERS
from onnx_cte.postprocessing.rims import ForegroundBoundary, ThreeClass
from onnx_cte.postprocessing.stars import Stars

__all__ = [
    "DECODERS",
    "Boundary",
    "Classes",
    "Flows",
    "Foreground",
    "ForegroundBoundary",
    "Stars",
    "ThreeClass",
    "Watershed",
    "as_decoder",
    "decoder_for",
    "decoder_named",
    "decoder_of_config",
    "decoder_text",
    "fitting",
    "parse_decoder",
    "refusal",
]
