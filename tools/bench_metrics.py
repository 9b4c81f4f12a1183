"""Time the metrics on label images beside other packages, on simulated round objects.

    python tools/bench_metrics.py
    python tools/bench_metrics.py --sides 512 --volumes none --objects 10 1000 --repeats 3

One row a way, grouped by what it computes; within a group all give the same number, which the run
checks. Times are CPU time of one call on one image after a call like it, and `x ours` is the median
over rounds of its ratio to ours, measured in the same round. Peak memory is what a call holds at
once beyond its inputs, in label images (int32) of that size.

* `V^Rand`: the defaults, as the authors of CTE compute it. *scikit-image* is `adapted_rand_error`
  after the same masking, by grey dilation and erosion of SciPy and labels for background pixels.
* `V^Rand, plain`: all pixels, background one segment: `adapted_rand_error` as it is.
* `table`: contingency tables, without a score.
* `mAP >`: ten thresholds exceeded, beside a plain NumPy count of pairs of labels.
* `mAP >=`: reached, beside StarDist's `matching`, which holds a dense matrix of all pairs of
  objects, and is left out where that is larger than `--dense` MB. Its compiled part is warm.
"""

import argparse
import json
import math
import platform
import statistics
import time
import tracemalloc
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy
import skimage
from scipy import ndimage
from skimage.metrics import adapted_rand_error, contingency_table

from onnx_cte.metrics.contingency import contingency
from onnx_cte.metrics.matching import THRESHOLDS, average_precision
from onnx_cte.metrics.rand import rand_fscore
from onnx_cte.tables import text_table

try:
    from stardist.matching import matching as stardist_matching
except ImportError:
    stardist_matching = None

SMALLEST = 9
"""Pixels of the grid that an object has to itself, at least; fewer are no objects."""


def simulated(shape: tuple[int, ...], objects: int, seed: int = 0) -> list[np.ndarray]:
    """Round objects on a jittered grid, and how another model could see them.

    In the second image, all have moved and grown or shrunk a little, some are missing and some
    are one with their neighbour. Labels ascend from the top, as labelling leaves them.
    """
    rng = np.random.default_rng(seed)
    spacing = (math.prod(shape) / objects) ** (1 / len(shape))
    cells = [max(1, round(size / spacing)) for size in shape]
    cells[-1] = math.ceil(objects / math.prod(cells[:-1]))
    count = math.prod(cells)
    centres = rng.uniform(-0.1, 0.1, (len(shape), count)).astype(np.float32)
    radii = rng.uniform(0.35, 0.48, count).astype(np.float32)
    radii[rng.permutation(count)[objects:]] = 0
    moved = centres + rng.uniform(-0.06, 0.06, centres.shape).astype(np.float32)
    grown = radii * rng.uniform(0.9, 1.1, count).astype(np.float32)
    grown[rng.random(count) < 0.03] = 0
    names = np.arange(1, count + 1, dtype=np.int32)
    merged = np.flatnonzero(rng.random(count) < 0.03)
    names[merged[merged > 0]] -= 1
    return [
        discs(shape, cells, centres, radii, np.arange(1, count + 1, dtype=np.int32)),
        discs(shape, cells, moved, grown, names),
    ]


def discs(shape, cells, centres, radii, names) -> np.ndarray:
    """One disc or ball in each cell of a grid; centres and radii in units of a cell."""
    image = np.empty(shape, np.int32)
    places = [(np.arange(size) * n // size) for size, n in zip(shape, cells, strict=True)]
    offsets = [
        ((np.arange(size) + 0.5) * n / size - place - 0.5).astype(np.float32)
        for size, n, place in zip(shape, cells, places, strict=True)
    ]
    for first in range(shape[0]):  # a row or slice at a time, to be able to make large ones
        index = np.ix_(places[0][first : first + 1], *places[1:])
        cell = np.ravel_multi_index(np.broadcast_arrays(*index), cells)[0]
        steps = np.ix_(offsets[0][first : first + 1], *offsets[1:])
        far = sum((step - centre[cell]) ** 2 for step, centre in zip(steps, centres, strict=True))
        image[first] = np.where(far[0] < radii[cell] ** 2, names[cell], 0)
    return image


def authors_way(reference: np.ndarray, perturbed: np.ndarray) -> float:
    """V^Rand with scikit-image: the union, less the border, every background pixel a segment."""
    cross = ndimage.generate_binary_structure(reference.ndim, 1)
    dilated = ndimage.grey_dilation(reference, footprint=cross)
    border = dilated - ndimage.grey_erosion(reference, footprint=cross) > 0
    kept = ((reference > 0) | (perturbed > 0)) & ~border
    flat = [reference[kept].astype(np.int64), perturbed[kept].astype(np.int64)]
    if not flat[0].size:
        return math.nan
    for labels in flat:
        holes = labels == 0
        labels[holes] = labels.max() + 1 + np.arange(np.count_nonzero(holes))
    with np.errstate(invalid="ignore"):
        return 1 - adapted_rand_error(*flat, ignore_labels=())[0]


def plain_map(prediction: np.ndarray, truth: np.ndarray) -> float:
    """MAP by NumPy's unique over pairs of labels of all pixels."""
    width = int(prediction.max()) + 1
    pairs, shared = np.unique(truth.astype(np.int64) * width + prediction, return_counts=True)
    truths, of_truth = np.unique(pairs // width, return_inverse=True)
    predictions, of_prediction = np.unique(pairs % width, return_inverse=True)
    wanted, found = np.bincount(of_truth, shared), np.bincount(of_prediction, shared)
    iou = shared / (wanted[of_truth] + found[of_prediction] - shared)
    iou = iou[(pairs // width > 0) & (pairs % width > 0)]
    objects = np.count_nonzero(truths) + np.count_nonzero(predictions)
    hits = [np.count_nonzero(iou > threshold) for threshold in THRESHOLDS]
    return float(np.mean([hit / (objects - hit) for hit in hits]))


def stardist_map(prediction: np.ndarray, truth: np.ndarray) -> float:
    """MAP by StarDist's compiled matching."""
    found = stardist_matching(truth, prediction, thresh=THRESHOLDS)
    return float(np.mean([one.accuracy for one in found]))


def ways(reference: np.ndarray, other: np.ndarray, dense: float) -> dict[str, dict]:
    """What is computed, and who computes it how; ours first."""
    plain = {"border": 0, "region": "all", "background": "segment"}
    found = {
        "V^Rand": {
            "ours": lambda: rand_fscore(reference, other),
            "scikit-image": lambda: authors_way(reference, other),
        },
        "V^Rand, plain": {
            "ours": lambda: rand_fscore(reference, other, **plain),
            "scikit-image": lambda: 1 - adapted_rand_error(reference, other, ignore_labels=())[0],
        },
        "table": {
            "ours": lambda: squares(contingency(reference, other)),
            "scikit-image": lambda: float(
                (contingency_table(reference, other, sparse_type="array").data ** 2).sum()
            ),
        },
        "mAP >": {
            "ours": lambda: average_precision(other, reference),
            "NumPy": lambda: plain_map(other, reference),
        },
        "mAP >=": {"ours": lambda: average_precision(other, reference, strict=False)},
    }
    # A score, a cost and an overlap of 8 bytes for every pair of objects.
    megabytes = 24e-6 * float(reference.max()) * float(other.max())
    if stardist_matching is not None and megabytes <= dense:
        found["mAP >="]["StarDist"] = lambda: stardist_map(other, reference)
    return found


def squares(table) -> float:
    """Sum of squares of all cells of a contingency table, which needs every one of them."""
    parts = (table.overlaps, table.reference_alone, table.other_alone, np.array([table.neither]))
    return float(sum(int((part.astype(np.int64) ** 2).sum()) for part in parts))


def timed(run) -> float:
    """CPU seconds of a call right after one like it."""
    run()
    begun = time.process_time()
    run()
    return time.process_time() - begun


def peak(run) -> int:
    """Bytes that a call holds at once, as NumPy reports them."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def measured(shape: tuple[int, ...], objects: int, repeats: int, dense: float) -> list[dict]:
    """Every way on one pair of images."""
    images = simulated(shape, objects)
    size = images[0].size * 4
    lines = []
    for what, group in ways(*images, dense).items():
        results = {name: run() for name, run in group.items()}
        due = results["ours"]
        for name, value in results.items():
            if not math.isclose(value, due, rel_tol=1e-9) and not math.isnan(value + due):
                raise SystemExit(f"{what} of {shape}, {objects}: {name} {value}, ours {due}")
            if math.isnan(value) is not math.isnan(due):
                raise SystemExit(f"{what} of {shape}, {objects}: {name} {value}, ours {due}")
        times: dict[str, list[float]] = {name: [] for name in group}
        for _ in range(repeats):
            for name, run in group.items():
                times[name].append(timed(run))
        for name, run in group.items():
            ratios = [spent / ours for spent, ours in zip(times[name], times["ours"], strict=True)]
            lines.append(
                {
                    "shape": list(shape),
                    "objects": len(np.unique(images[0])) - 1,
                    "what": what,
                    "way": name,
                    "milliseconds": 1e3 * statistics.median(times[name]),
                    "ratio": statistics.median(ratios),
                    "lowest": min(ratios),
                    "memory": peak(run) / size,
                    "value": results[name],
                }
            )
    return lines


def machine() -> dict:
    """What it was measured on."""
    processor = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    return {
        "platform": platform.platform(),
        "processor": processor,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-image": skimage.__version__,
        "stardist": version("stardist") if stardist_matching is not None else "not installed",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="*", default=[512, 2048], help="of planes")
    parser.add_argument(
        "--volumes", nargs="*", default=["64x512x512"], metavar="DxHxW", help="or 'none'"
    )
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 1000, 20_000, 50_000])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dense", type=float, default=2000, help="MB StarDist may take")
    parser.add_argument("--out", type=Path, help="write the numbers here as JSON as well")
    given = parser.parse_args()
    shapes = [(side, side) for side in given.sides]
    shapes += [tuple(map(int, name.split("x"))) for name in given.volumes if name != "none"]
    lines = []
    for shape in shapes:
        for objects in given.objects:
            if math.prod(shape) >= SMALLEST * objects:
                lines += measured(shape, objects, given.repeats, given.dense)
    found = machine()
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    print(f"median of {given.repeats} rounds, CPU time, ratio to ours; memory in label images")
    rows = [
        [
            "x".join(map(str, line["shape"])), str(line["objects"]), line["what"], line["way"],
            f"{line['milliseconds']:.2f}", f"{line['ratio']:.2f}", f"{line['lowest']:.2f}",
            f"{line['memory']:.2f}", f"{line['value']:.6g}",
        ]
        for line in lines
    ]  # fmt: skip
    head = ["image", "objects", "what", "way", "ms", "x ours", "lowest", "memory", "value"]
    print(text_table(head, rows, left=[0, 2, 3]))
    if given.out:
        settings = {key: str(value) for key, value in vars(given).items()}
        document = {"settings": settings, "machine": found, "lines": lines}
        given.out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
