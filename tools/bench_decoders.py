"""What decoding costs, beside one forward pass of a bundled network on an image of that size.

Contents: fields of nuclei, many of which touch, and a sheet of cells with membranes, as a network
with soft edges and some noise would predict them. Every decoder gets the channels it wants.
Forward pass and decoders are measured round robin, so that a busy machine disturbs all alike; given
are the median time of decoding one prediction, and the median over the rounds of the time for two
predictions / time of the forward pass in the same round. Prints one table, writes one JSON.

    python tools/bench_decoders.py
"""

import argparse
import json
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import scipy.ndimage
import scipy.spatial
from bench_engine import machine

from onnx_cte.bundled import bundled_models
from onnx_cte.postprocessing import DECODERS, Classes
from onnx_cte.tables import text_table
from onnx_cte.types import Prediction

RAYS = 32
NOISE = 0.05  # standard deviation, as a share of the step at an edge
STEEP = 20  # of the sigmoid that makes probabilities


@dataclass(frozen=True)
class Field:
    """Discs on a jittered grid.

    Attributes
    ----------
    labels : ndarray of int, shape (side, side)
    middles : ndarray, shape (side, side, 2)
        Of the disc that a pixel belongs to.
    radius : float
    """

    labels: np.ndarray
    middles: np.ndarray
    radius: float


def nuclei(count: int, side: int, rng: np.random.Generator, filled: float = 0.5) -> Field:
    """So many discs that cover a share of the image; a disc ends where another's middle is nearer.

    With half of the image covered, most of them touch another one.
    """
    columns = math.ceil(math.sqrt(count))
    step = side / columns
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(columns), indexing="ij"), -1)
    places = (grid.reshape(-1, 2)[rng.permutation(columns**2)[:count]] + 0.5) * step
    places += rng.uniform(-0.25 * step, 0.25 * step, places.shape)
    radius = math.sqrt(filled * side * side / count / math.pi)
    far, nearest = scipy.spatial.cKDTree(places).query(np.indices((side, side)).reshape(2, -1).T)
    labels = np.where(far < radius, nearest + 1, 0).reshape(side, side)
    return Field(labels, places[nearest].reshape(side, side, 2), radius)


def membranes(count: int, side: int, rng: np.random.Generator, width: float = 4) -> np.ndarray:
    """Mask of the walls, `width` px thick, between so many cells that fill the image."""
    places = rng.uniform(0, side, (count, 2))
    pixels = np.indices((side, side)).reshape(2, -1).T
    far = scipy.spatial.cKDTree(places).query(pixels, k=2)[0]
    return (far[:, 1] - far[:, 0] < width).reshape(side, side)


def soft(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a network says that is nearly sure of a mask, float32."""
    edges = scipy.ndimage.gaussian_filter(mask.astype(np.float32), 1) - 0.5
    edges += rng.normal(0, NOISE, mask.shape).astype(np.float32)
    return 1 / (1 + np.exp(-STEEP * edges))


def rim_of(labels: np.ndarray) -> np.ndarray:
    """Pixels within two px of an outline, on both sides."""
    return scipy.ndimage.maximum_filter(labels, 5) != scipy.ndimage.minimum_filter(labels, 5)


def rays_of(field: Field) -> np.ndarray:
    """(RAYS, side, side) distances to the outline of the disc, along each ray."""
    place = np.moveaxis(np.indices(field.labels.shape), 0, -1) - field.middles
    away = np.minimum((place**2).sum(axis=-1), field.radius**2)
    found = np.zeros((RAYS, *field.labels.shape), np.float32)
    for k in range(RAYS):
        turn = 2 * math.pi * k / RAYS
        along = place @ [math.sin(turn), math.cos(turn)]
        found[k] = np.sqrt(along**2 - away + field.radius**2) - along
    return found * (field.labels > 0)


def flows_of(field: Field) -> np.ndarray:
    """(2, side, side) vectors towards the middle of the disc, 5 long as Cellpose has them."""
    way = field.middles - np.moveaxis(np.indices(field.labels.shape), 0, -1)
    way *= 5 / np.maximum(np.sqrt((way**2).sum(axis=-1, keepdims=True)), 1e-6)
    return np.moveaxis(way, -1, 0).astype(np.float32) * (field.labels > 0)


def predictions(side: int, counts: list[int], cells: int) -> dict:
    """(decoder, prediction) by (name of the decoder, content)."""
    rng = np.random.default_rng(0)
    found = {}
    for count in counts:
        field = nuclei(count, side, rng)
        content = f"{count} nuclei"
        inside, rim = soft(field.labels > 0, rng), soft(rim_of(field.labels), rng)
        second = scipy.ndimage.maximum_filter(field.labels, 3) % 3 == 0
        plain = Prediction(inside[np.newaxis], ("foreground",))
        both = Prediction(np.stack([inside, rim]), ("foreground", "boundary"))
        three = [1 - inside, inside * (1 - rim), inside * rim]
        exclusive = Prediction(np.stack(three), ("background", "inside", "boundary"))
        parts = np.stack([1 - inside, inside * second, inside * ~second])
        classes = Prediction(parts, ("background", "one", "other"))
        # StarDist learns the distance to the outline, in units of the largest in the object.
        offsets = np.moveaxis(np.indices(inside.shape), 0, -1) - field.middles
        sure = inside * (1 - np.sqrt((offsets**2).sum(axis=-1)) / field.radius).clip(0)
        stars = Prediction(
            np.concatenate([sure[np.newaxis], rays_of(field)]).astype(np.float32),
            ("foreground", *(f"ray{k}" for k in range(RAYS))),
        )
        flows = Prediction(
            np.concatenate([inside[np.newaxis], flows_of(field)]), ("foreground", "dy", "dx")
        )
        named = {
            "foreground": plain,
            "watershed": plain,
            "foreground_boundary": both,
            "three_class": exclusive,
            "classes": classes,
            "stardist": stars,
            "flows": flows,
        }
        for name, prediction in named.items():
            decoder = Classes(each="watershed") if name == "classes" else DECODERS[name]()
            found[name, content] = decoder, prediction
    wall = Prediction(soft(membranes(cells, side, rng), rng)[np.newaxis], ("boundary",))
    found["boundary", f"{cells} cells"] = DECODERS["boundary"](), wall
    return found


def forward(side: int, threads: int):
    """One forward pass of a bundled network, as a function of nothing."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    path = bundled_models() / "fibro" / "weights.onnx"
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    image = np.random.default_rng(1).random((1, 1, side, side), dtype=np.float32)
    return lambda: session.run(None, {source: image})


def measured(network, found: dict, repeats: int) -> list[dict]:
    """Time every decoder on its contents."""
    network()
    objects = {key: int(made.decode(seen).max()) for key, (made, seen) in found.items()}
    passes: list[float] = []
    times: dict = {key: [] for key in found}
    for _ in range(repeats):
        begun = time.perf_counter()
        network()
        passes.append(time.perf_counter() - begun)
        for key, (decoder, seen) in found.items():
            begun = time.perf_counter()
            decoder.decode(seen)
            decoder.decode(seen)
            times[key].append(time.perf_counter() - begun)
    return [
        {
            "decoder": name,
            "content": content,
            "objects": objects[name, content],
            "milliseconds": 500 * statistics.median(spent),
            "ratio": statistics.median(two / one for two, one in zip(spent, passes, strict=True)),
            "forward_milliseconds": 1e3 * statistics.median(passes),
        }
        for (name, content), spent in times.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--nuclei", type=int, nargs="+", default=[300, 2000])
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--decoders", nargs="+", choices=list(DECODERS), default=list(DECODERS))
    parser.add_argument("--threads", type=int, default=2, help="of the forward pass")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    given = parser.parse_args()
    found = predictions(given.side, given.nuclei, given.cells)
    found = {key: value for key, value in found.items() if key[0] in given.decoders}
    lines = measured(forward(given.side, given.threads), found, given.repeats)
    print(
        f"images of {given.side} x {given.side}; forward pass on {given.threads} threads "
        f"{lines[0]['forward_milliseconds']:.0f} ms; median of {given.repeats} rounds"
    )
    rows = [
        [
            line["decoder"], line["content"], str(line["objects"]),
            f"{line['milliseconds']:.1f}", f"{line['ratio']:.2f}",
        ]
        for line in lines
    ]  # fmt: skip
    head = ["decoder", "content", "objects", "ms each", "two / forward pass"]
    print(text_table(head, rows, left=[0, 1]))
    if given.json:
        settings = {key: str(value) for key, value in vars(given).items()}
        document = {"settings": settings, "machine": machine(), "lines": lines}
        given.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
