"""One image at a time: memory does not grow with their number."""

import tracemalloc

import numpy as np
from PIL import Image as Picture

from onnx_cte.estimators import CTE
from onnx_cte.images import Images
from onnx_cte.runner import rank
from onnx_cte.segmenters import BlackBox


def peak(folder):
    boxes = [BlackBox(name, lambda tensor: tensor.clip(0, 1)) for name in "ab"]
    tracemalloc.start()
    try:
        rank(boxes, Images(folder), CTE())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_forty_images_need_no_more_than_four(tmp_path):
    rng = np.random.default_rng(0)
    for count in (2, 4, 40):
        (tmp_path / str(count)).mkdir()
        for i in range(count):
            pixels = rng.integers(0, 255, (512, 512), dtype=np.uint8)
            Picture.fromarray(pixels).save(tmp_path / str(count) / f"{i}.png")
    peak(tmp_path / "2")  # what is imported and cached on first use
    assert peak(tmp_path / "40") < 1.1 * peak(tmp_path / "4")
