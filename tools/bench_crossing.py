"""Time the estimators that cross the models of a bank, on simulated masks.

    python tools/bench_crossing.py
    python tools/bench_crossing.py --models 10 --images 50 --side 256 --draws 100

Simulated models see the same round objects: each misses some, and errs along their outlines, partly
as the others do. The last are the best. One bank holds all masks, packed; each row is what a step
adds to those before it, in seconds of the clock and of all CPU cores, and the most memory that the
process held so far. `score` is the estimator on the whole bank; what it makes of the masks is kept
with the bank and shared (spectral's by agreement). `bootstrap` is the whole judgement of scores
with so many draws, including the score, now that the masks are counted. `tau` is Kendall's, of the
scores with the mean Dice of the simulated models.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from onnx_cte.bank import Bank
from onnx_cte.bootstrap import Judgement
from onnx_cte.correlation import kendall_tau
from onnx_cte.estimators.consensus import Consensus
from onnx_cte.estimators.packed import packed_mask
from onnx_cte.estimators.pairwise import PairwiseAgreement
from onnx_cte.estimators.spectral import Spectral
from onnx_cte.estimators.staple import STAPLE
from onnx_cte.tables import text_table
from onnx_cte.types import Observation, Prediction

FIELDS = 16
"""Fields of smooth noise, made once; shifted at random, each serves for many outlines."""

Field = np.ndarray


def noise(side: int, smooth: float, rng: np.random.Generator) -> Field:
    """Smooth noise of unit variance that joins at its edges, shape (FIELDS, side, side)."""
    fields = ndimage.gaussian_filter(
        rng.standard_normal((FIELDS, side, side)).astype(np.float32),
        (0, smooth, smooth),
        mode="wrap",
    )
    return fields / fields.std()


def masks_of(
    models: int, side: int, objects: int, fields: Field, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """True foreground of an image, and that which each model predicts, the best last."""
    cells = max(1, round(objects**0.5))
    where = (np.arange(side) + 0.5) * cells / side
    place = where.astype(int)
    offset = (where - place - 0.5).astype(np.float32)
    cell = place[:, None] * cells + place
    y, x = rng.uniform(-0.1, 0.1, (2, cells**2)).astype(np.float32)
    far = np.hypot(offset[:, None] - y[cell], offset - x[cell])
    radii = rng.uniform(0.25, 0.45, cells**2).astype(np.float32)

    def error() -> Field:
        return np.roll(fields[rng.integers(FIELDS)], rng.integers(side, size=2), (0, 1))

    shared = error()
    found = []
    for model in range(models):
        fault = 1 - (model + 1) / models
        seen = np.where(rng.random(cells**2) < 0.1 * fault, -1, radii)[cell]
        wrong = (0.02 + 0.12 * fault) * (0.6 * shared + 0.8 * error())
        found.append(seen - far + wrong > 0)
    return radii[cell] > far, found


def simulated(
    models: int, images: int, side: int, objects: int, seed: int = 0
) -> tuple[Bank, list[float], dict]:
    """Bank of packed masks, the models' mean Dice, and what packing took."""
    rng = np.random.default_rng(seed)
    fields = noise(side, side / 128, rng)
    names = [f"model{number:03}" for number in range(models)]
    rows: dict[str, list] = {name: [] for name in names}
    dice = np.zeros(models)
    pixels = np.zeros((side, side), np.uint8)
    wall = cpu = 0.0
    for image in range(images):
        truth, masks = masks_of(models, side, objects, fields, rng)
        dice += [2 * (truth & m).sum() / max(1, truth.sum() + m.sum()) for m in masks]
        seen = [
            Observation(
                f"{image:04}", pixels, Prediction(m[None].astype(np.float32), ("foreground",))
            )
            for m in masks
        ]
        begun = time.perf_counter(), time.process_time()
        for name, one in zip(names, seen, strict=True):
            rows[name].append(packed_mask(one))
        wall += time.perf_counter() - begun[0]
        cpu += time.process_time() - begun[1]
    size = sum(e["mask"].nbytes for row in rows.values() for e in row)
    line = {
        "step": f"pack {models * images} masks, {size / models / images / 1e3:.1f} kB each",
        "seconds": wall,
        "cpu": cpu,
        "memory": resident(),
        "tau": float("nan"),
    }
    return Bank(rows), list(dice / images), line


def resident() -> float:
    """MB that this process held at most so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e3)


def timed(step: str, run: Callable[[], list[float]], dice: list[float]) -> dict:
    """One step: its time, the memory after it, and how its scores order the models."""
    begun = time.perf_counter(), time.process_time()
    scores = run()
    return {
        "step": step,
        "seconds": time.perf_counter() - begun[0],
        "cpu": time.process_time() - begun[1],
        "memory": resident(),
        "tau": kendall_tau(scores, dice),
    }


def measured(
    models: int, images: int, side: int, objects: int, draws: int, fit: bool = False
) -> list[dict]:
    """All steps on one bank, with a total of the crossing at the end."""
    bank, dice, packing = simulated(models, images, side, objects)
    estimators = [PairwiseAgreement(), Spectral(), Consensus(), STAPLE()]
    estimators += [STAPLE("fit")] if fit else []
    lines = [
        timed(f"score {e.title}", lambda e=e: list(e.score(bank).values()), dice)
        for e in estimators
    ]

    def judged(estimator) -> list[float]:
        judgement = Judgement(bank, estimator, list(map(str, range(images))), 0, draws)
        return [judgement.values[name] for name in bank]

    lines += [
        timed(f"bootstrap {e.title} x{draws}", lambda e=e: judged(e), dice) for e in estimators
    ]
    total = {
        "step": "all but packing",
        "seconds": sum(line["seconds"] for line in lines),
        "cpu": sum(line["cpu"] for line in lines),
        "memory": resident(),
        "tau": float("nan"),
    }
    return [packing, *lines, total]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--side", type=int, default=512, help="of the images, in px")
    parser.add_argument("--objects", type=int, default=60, help="an image")
    parser.add_argument("--draws", type=int, default=1000, help="of the bootstrap")
    parser.add_argument("--fit", action="store_true", help="also STAPLE fitted anew without each")
    parser.add_argument("--out", type=Path, help="write the numbers here as JSON as well")
    given = parser.parse_args()
    lines = measured(given.models, given.images, given.side, given.objects, given.draws, given.fit)
    print(
        f"{given.models} models x {given.images} images of {given.side} x {given.side} px; "
        f"{platform.platform()}, {os.cpu_count()} CPU cores, NumPy {np.__version__}"
    )
    rows = [
        [
            line["step"], f"{line['seconds']:.2f}", f"{line['cpu']:.2f}",
            f"{line['memory']:.0f}", "" if np.isnan(line["tau"]) else f"{line['tau']:.2f}",
        ]
        for line in lines
    ]  # fmt: skip
    print(text_table(["step", "s", "CPU s", "MB so far", "tau"], rows, left=[0]))
    if given.out:
        settings = {key: str(value) for key, value in vars(given).items()}
        given.out.write_text(json.dumps({"settings": settings, "lines": lines}, indent=2) + "\n")


if __name__ == "__main__":
    main()
