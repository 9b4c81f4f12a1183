"""U-Nets that were converted after their export: opset, half precision, quantisation."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter

from families import plain
from families.family import Family

PROBE = plain.PROBE
CONCAT = ("concat",) * 3
# What onnx can write, but no more than onnxruntime 1.28 and later read.
NEWEST = min(onnx.defs.onnx_opset_version(), 26)


def source(folder: Path) -> Path:
    """A plain U-Net beside which the converted one is written."""
    path = plain.build(folder, norm="batch", up="bilinear")
    return path.rename(folder / "source.onnx")


def newer(folder: Path, *, opset: int) -> Path:
    """The plain U-Net after onnx's own conversion to `opset`."""
    path = source(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = version_converter.convert_version(onnx.load(path), opset)
    path.unlink()
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


class Noise:
    """Images to calibrate on, one at a time, as onnxruntime's quantisation wants them."""

    def __init__(self, name: str) -> None:
        rng = np.random.default_rng(0)
        self.images = iter([rng.standard_normal(PROBE).astype(np.float32) for _ in range(3)])
        self.name = name

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {self.name: image}


def quantised(folder: Path, *, static: bool, pairs: bool = True) -> Path:
    """Weights and activations in 8 bit: QDQ pairs if `static`, else scales found as it runs.

    Without `pairs` the operators themselves work on 8-bit integers.
    """
    from onnxruntime import quantization

    path, target = source(folder), folder / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if static:
            reader = type("Reader", (Noise, quantization.CalibrationDataReader), {})("input")
            quantization.quantize_static(
                path,
                target,
                reader,
                quant_format=quantization.QuantFormat.QDQ
                if pairs
                else quantization.QuantFormat.QOperator,
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
            )
        else:
            quantization.quantize_dynamic(
                path,
                target,
                op_types_to_quantize=["Conv", "ConvTranspose", "MatMul"],
                weight_type=quantization.QuantType.QUInt8,
            )
    path.unlink()
    return target


FAMILIES = (
    *(
        Family(f"unet-opset-{name}", partial(newer, opset=opset), PROBE, 8, 64, CONCAT)
        for name, opset in (("21", 21), ("newest", NEWEST))
    ),
    Family(
        "unet-half",
        partial(plain.build, half=True, up="nearest"),
        PROBE,
        8,
        64,
        CONCAT,
        tolerance=1e-2,
        note="weights, input and output in float16",
    ),
    Family(
        "unet-quantised-static",
        partial(quantised, static=True),
        PROBE,
        8,
        64,
        CONCAT,
        tolerance=5e-2,
        note="QuantizeLinear and DequantizeLinear around every operator",
    ),
    Family(
        "unet-quantised-operators",
        partial(quantised, static=True, pairs=False),
        PROBE,
        None,
        None,
        None,
        tolerance=5e-2,
        refused="8-bit",
        note="QLinearConv: no floating-point map is left that could be disturbed",
    ),
    Family(
        "unet-quantised-dynamic",
        partial(quantised, static=False),
        PROBE,
        8,
        64,
        CONCAT,
        tolerance=5e-2,
        note="DynamicQuantizeLinear and ConvInteger: scales come from the values of a whole batch, "
        "so that an image's map depends on the images beside it",
    ),
)
