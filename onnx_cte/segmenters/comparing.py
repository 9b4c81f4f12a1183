"""Whether two readings of a network find the same on an image."""

import numpy as np

from onnx_cte.needs import Needs
from onnx_cte.segmenters.onnx_model import OnnxSegmenter
from onnx_cte.types import Image

TOLERANCE = 1e-6
"""Difference of probabilities that the last digits of a normalisation may make."""


def same_findings(one: OnnxSegmenter, other: OnnxSegmenter, image: Image) -> str:
    """Compare what two opened models make of an image.

    Parameters
    ----------
    one, other : OnnxSegmenter
    image : Image

    Returns
    -------
    str
        How they differ: in the roles of the channels, the threshold, or the maps. Empty if they do
        not.
    """
    first, second = (opened.observe(image, Needs(), 0).reference for opened in (one, other))
    if first.roles != second.roles:
        return f"channels are {', '.join(first.roles)} and {', '.join(second.roles)}"
    if first.threshold != second.threshold:
        return f"thresholds are {first.threshold:g} and {second.threshold:g}"
    if first.maps.shape != second.maps.shape:
        return f"maps have shapes {first.maps.shape} and {second.maps.shape}"
    difference = float(np.abs(first.maps.astype(np.float64) - second.maps).max())
    return f"maps differ by up to {difference:.3g}" if difference > TOLERANCE else ""
