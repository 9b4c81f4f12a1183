"""One image at a time: memory does not grow with their number."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import tifffile
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
    # Whether one is still measured while the next is observed is a matter of chance; 40 would be
    # ten times 4.
    assert peak(tmp_path / "40") < 1.5 * peak(tmp_path / "4")


WATCH = """
import sys, threading, time
import onnx_cte as oc

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

models = oc.open_models(oc.bundled_models() / "fibro")
refs = list(oc.Images(sys.argv[1]))[11:12]
before, peak, running = resident(), [0], [True]

def watch():
    while running:
        peak[0] = max(peak[0], resident())
        time.sleep(0.005)

threading.Thread(target=watch, daemon=True).start()
ranking = oc.rank(models, refs, oc.CTE())
running.clear()
print(refs[0].name, ranking[0].images, (peak[0] - before) / 2**30)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_part_of_a_large_image_stays_inside_the_stated_bound(tmp_path):
    pixels = tifffile.memmap(tmp_path / "big.tif", shape=(20_000, 20_000), dtype=np.uint8)
    pattern = np.random.default_rng(0).integers(0, 255, (1000, 1000), dtype=np.uint8)
    for top in range(0, 20_000, 1000):
        pixels[top : top + 1000] = np.tile(pattern, (1, 20))
    pixels.flush()
    del pixels
    command = [sys.executable, "-c", WATCH, str(tmp_path / "big.tif")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    name, images, more = found.stdout.split()
    assert name == "big.tif[y=2048:4096,x=2048:4096]"
    assert images == "1"
    assert float(more) < 1.0  # GiB, as the README says


MANY = """
import numpy as np
from onnx_cte.bundled import bundled_models
from onnx_cte.sessions import Session

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

path, image = bundled_models() / "fibro" / "weights.onnx", np.zeros((1, 1, 512, 512))
sessions, grown = [], []
for _ in range(4):
    before = resident()
    sessions.append(Session(path, "cpu", 1))
    sessions[-1].run({"image": image}, ["foreground"])
    grown.append((resident() - before) / 2**20)
print(*grown)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sessions_share_their_memory():
    found = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True)
    first, *others = map(float, found.stdout.split())
    assert first > 60
    assert sum(others) < 0.5 * first
