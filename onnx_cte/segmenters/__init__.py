"""Models: one image in, one `Observation` out."""

from onnx_cte.segmenters.black_box import BlackBox
from onnx_cte.segmenters.folders import open_models
from onnx_cte.segmenters.onnx_model import OnnxModel

__all__ = ["BlackBox", "OnnxModel", "open_models"]
