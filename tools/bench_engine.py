"""What disturbing a bottleneck costs, in units of one plain forward pass.

For two networks (a classic U-Net of 4 levels with 32 first features and transposed convolutions,
random weights; and a bundled one, which up-samples by nearest neighbours) and K masks: K + 1 plain
runs, one masked run a row, encoder and decoder as two models, skips expanded, and skips' shares
computed once. Everything is measured round robin, so that a busy machine disturbs all alike; given
is the median over the rounds of time / time of a plain run in the same round. For a batch of B
images the unit is one plain run of B images, and engines run the images one after another. Largest
difference is relative, to plain and masked runs. Prints one table, writes one JSON.

    python tools/bench_engine.py --device cpu
"""

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from onnx_cte.bundled import bundled_models
from onnx_cte.graph.surgery import crossings, split
from onnx_cte.segmenters.engine import Engine
from onnx_cte.segmenters.onnx_model import OnnxModel
from onnx_cte.sessions import Session, choose_device, cores
from onnx_cte.tables import text_table

FEATURES = (32, 64, 128, 256)
RATE = 0.1


def classic_unet(path: Path, features: tuple[int, ...] = FEATURES) -> Path:
    """Write a U-Net with two 3x3 convolutions a level, max-pooling and transposed convolutions."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def conv(source: str, inputs: int, outputs: int, kernel: int = 3, op: str = "Conv") -> str:
        name = f"{op.lower()}{len(nodes)}"
        shape = (outputs, inputs) if op == "Conv" else (inputs, outputs)
        scale = np.sqrt(2 / (inputs * (kernel**2 if op == "Conv" else 1)))
        kernels = rng.standard_normal((*shape, kernel, kernel)).astype(np.float32) * scale
        weights.append(numpy_helper.from_array(kernels.astype(np.float32), f"{name}_w"))
        weights.append(numpy_helper.from_array(np.zeros(outputs, np.float32), f"{name}_b"))
        if op == "Conv":
            given = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4}
        else:
            given = {"kernel_shape": [kernel] * 2, "strides": [2, 2]}
        nodes.append(helper.make_node(op, [source, f"{name}_w", f"{name}_b"], [name], **given))
        return name

    def level(source: str, inputs: int, outputs: int) -> str:
        for width in (inputs, outputs):
            made = conv(source, width, outputs)
            source = f"{made}_relu"
            nodes.append(helper.make_node("Relu", [made], [source]))
        return source

    value, width, skips = "image", 1, []
    for place, wide in enumerate(features):
        if place:
            skips.append((value, width))
            pooled = f"pooled{place}"
            nodes.append(
                helper.make_node("MaxPool", [value], [pooled], kernel_shape=[2, 2], strides=[2, 2])
            )
            value = pooled
        value, width = level(value, width, wide), wide
    for skip, wide in reversed(skips):
        up = conv(value, width, wide, 2, "ConvTranspose")
        joined = f"joined{wide}"
        nodes.append(helper.make_node("Concat", [skip, up], [joined], axis=1))
        value, width = level(joined, 2 * wide, wide), wide
    head = conv(value, width, 1, 1)
    nodes.append(helper.make_node("Sigmoid", [head], ["map"]))
    sides = ["N", 1, "H", "W"]
    graph = helper.make_graph(
        nodes,
        "classic_unet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, sides)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


def halved(path: Path, target: Path) -> Path:
    """The same network in half precision."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(path)), target)
    return target


class Contenders:
    """Ways to get K + 1 predictions of one network, opened and proven."""

    def __init__(self, path: Path, device: str, threads: int) -> None:
        opened = OnnxModel(path.stem, path).open(device, threads)
        self.opened, self.plain = opened, opened.network.session
        inside, tap = opened.grey_box.inside, opened.grey_box.anatomy.bottleneck
        self.inside, self.tap = inside, tap
        native = opened.network.native
        self.engines = {
            mode: Engine(inside, [tap], native, modes=(mode, "masked"))
            for mode in ("masked", "expanded", "shared")
        }
        across = crossings(inside.model, tap.tensor)
        parts = split(inside.model, tap.tensor, across, inside.probe.values)
        self.encoder, self.decoder = (
            Session(path, device, threads, model=part.SerializeToString()) for part in parts
        )
        self.across = [tap.tensor, *across]

    def plain_runs(self, image: np.ndarray, times: int) -> list[np.ndarray]:
        """The untouched network, again and again."""
        feeds = {self.inside.probe.source: image}
        return [self.plain.run(feeds, [self.inside.output])[0] for _ in range(times)]

    def two_models(self, image: np.ndarray, masks: np.ndarray) -> list[np.ndarray]:
        """The encoder once, then the decoder on the bottleneck times each mask."""
        middle = self.encoder.run({self.inside.probe.source: image}, self.across)
        feeds = dict(zip(self.across, middle, strict=True))
        feeds = {name: feeds[name] for name in (port.name for port in self.decoder.inputs)}
        bottleneck = feeds[self.tap.tensor]
        found = []
        for mask in (np.ones_like(masks[:1]), *np.split(masks, len(masks))):
            feeds[self.tap.tensor] = bottleneck * mask.astype(bottleneck.dtype)
            found += self.decoder.run(feeds, [self.inside.output])
        return found

    def copied(self, way: str, image: np.ndarray, masks: np.ndarray) -> int:
        """Bytes that enter and leave ONNX Runtime for one image."""
        rows, size = len(masks) + 1, image.itemsize
        out = self.plain_runs(image, 1)[0].nbytes
        if way == "plain":
            return rows * (image.nbytes + out)
        if way == "two models":
            middle = self.encoder.run({self.inside.probe.source: image}, self.across)
            crossed = sum(value.nbytes for value in middle)
            return image.nbytes + crossed + rows * (crossed + out)
        sent = self.engines[way].runs(image, rows)
        return sent * image.size * size + rows * (masks[:1].nbytes + out)

    def ways(self, masks: np.ndarray) -> dict:
        """Every contender as a function of a batch of images."""
        name = self.tap.name
        found = {
            "plain": lambda images: [
                self.plain_runs(image, len(masks) + 1) for image in np.split(images, len(images))
            ],
            "two models": lambda images: [
                self.two_models(image, masks) for image in np.split(images, len(images))
            ],
        }
        for mode, engine in self.engines.items():
            found[mode] = lambda images, engine=engine: [
                engine.run(image, {name: masks}) for image in np.split(images, len(images))
            ]
        return found


def timed(run) -> tuple[float, list]:
    """Seconds of a run right after one like it: each finds caches and memory as it left them."""
    run()
    begun = time.perf_counter()
    result = run()
    return time.perf_counter() - begun, result


def measured(found: Contenders, side: int, batch: int, rows: int, repeats: int) -> list[dict]:
    """Time every way with K = `rows` masks on a batch of images."""
    rng = np.random.default_rng(1)
    channels = found.tap.channels
    shape = [batch, found.inside.probe.shape[1], side, side]
    images = rng.random(shape, dtype=np.float32)
    if found.plain.inputs[0].dtype == np.float16:
        images = images.astype(np.float16)
    masks = np.ones((rows, channels, 1, 1), np.float32)
    for mask in masks:
        mask[rng.permutation(channels)[: int(np.ceil(RATE * channels))]] = 0
    masks /= 1 - RATE
    ways = found.ways(masks)
    times: dict[str, list[float]] = {name: [] for name in ways}
    unit, results = [], {}
    for _ in range(repeats):
        unit.append(timed(lambda: found.plain_runs(images, 1))[0])
        for name, way in ways.items():
            spent, results[name] = timed(lambda way=way: way(images))
            times[name].append(spent)
    first = images[:1]
    expected = [found.plain_runs(first, 1)[0], *results["masked"][0][1:]]
    scale = max(float(np.abs(expected[0]).max()), 1e-12)
    lines = []
    for name in ways:
        ratios = [spent / whole for spent, whole in zip(times[name], unit, strict=True)]
        pairs = list(zip(results[name][0], expected, strict=True))
        pairs = pairs[:1] if name == "plain" else pairs
        worst = max(
            float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()) for a, b in pairs
        )
        lines.append(
            {
                "way": name,
                "mode": found.engines[name].mode if name in found.engines else name,
                "K": rows,
                "batch": batch,
                "ratio": statistics.median(ratios),
                "lowest": min(ratios),
                "milliseconds": 1e3 * statistics.median(times[name]),
                "plain_milliseconds": 1e3 * statistics.median(unit),
                "difference": worst / scale,
                "bytes": batch * found.copied(name, first, masks),
            }
        )
    return lines


def machine() -> dict:
    """What it was measured on."""
    found = {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
        "numpy": np.__version__,
        "cores": cores(),
        "processor": platform.processor(),
    }
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        found["processor"] = names[0].partition(":")[2].strip() if names else found["processor"]
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        found["gpu"] = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--masks", type=int, nargs="+", default=[1, 3, 10], metavar="K")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], metavar="B")
    parser.add_argument(
        "--precision", nargs="+", choices=["fp32", "fp16"], default=["fp32", "fp16"]
    )
    parser.add_argument("--features", type=int, nargs="+", default=list(FEATURES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    given = parser.parse_args()
    choose_device(given.device)
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        single = {
            "classic": classic_unet(folder / "classic.onnx", tuple(given.features)),
            "bundled": bundled_models() / "fibro" / "weights.onnx",
        }
        for kind, source in single.items():
            for precision in given.precision:
                path = source
                if precision == "fp16":
                    path = halved(source, folder / f"{kind}_half.onnx")
                found = Contenders(path, given.device, given.threads)
                for batch in given.batch:
                    for rows in given.masks:
                        new = measured(found, given.side, batch, rows, given.repeats)
                        lines += [{"network": kind, "precision": precision, **n} for n in new]
                provider = found.plain.provider
                found.opened.close()
    print(
        f"{provider}, {given.threads} threads, images of {given.side} x {given.side}, median of "
        f"{given.repeats} rounds; times in units of one plain run of the batch"
    )
    rows = [
        [
            line["network"], line["precision"], str(line["batch"]), str(line["K"]),
            line["way"] if line["way"] == line["mode"] else f"{line['way']} -> {line['mode']}",
            f"{line['ratio']:.2f}", f"{line['lowest']:.2f}", f"{line['milliseconds']:.1f}",
            f"{line['difference']:.0e}", f"{line['bytes'] / 1e6:.1f}",
        ]
        for line in lines
    ]  # fmt: skip
    head = [
        "network",
        "",
        "batch",
        "K",
        "way",
        "x plain",
        "lowest",
        "ms",
        "difference",
        "MB copied",
    ]
    print(text_table(head, rows, left=[0, 1, 4]))
    if given.json:
        settings = {key: str(value) for key, value in vars(given).items()}
        document = {"settings": settings, "machine": machine(), "lines": lines}
        given.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
