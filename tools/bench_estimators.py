"""Time the estimators whose score is slow: CCFV, which crosses images, and OTCE, which transports.

    python tools/bench_estimators.py
    python tools/bench_estimators.py --images 20 --channels 64 --pixels 500 --repeats 1

Features and labels are simulated, of one model. Times are wall time, which is what is promised on
two cores: 60 s of CCFV over 100 images and 3 layers of 256 channels, and 30 s of OTCE with 2000
pixels and 5 repeats. `measure` is of all images, `score` of the whole bank, `CPU` what all threads
took for that (on a busy machine `score` tells of others), `draw` the mean over bootstrap draws
after it; `evidence` is what an image takes, in the largest case. Where other programs keep cores
busy, set OPENBLAS_NUM_THREADS=1: threads of BLAS that wait for each other take many times as long.
"""

import argparse
import json
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from bench_engine import machine

from onnx_cte.bank import Bank
from onnx_cte.estimators.ccfv import CCFV
from onnx_cte.estimators.otce import OTCE
from onnx_cte.features import FeatureMap
from onnx_cte.tables import text_table
from onnx_cte.types import Observation, Prediction

STRIDES = (16, 8, 4)
DRAWS = 100


def observed(name: str, side: int, channels: int, layers: tuple[str, ...], seed: int):
    """An image of discs, and features that know of them and of much else."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] * (2 * np.pi / side)
    phases = rng.uniform(0, 2 * np.pi, 2)
    truth = (np.sin(4 * y + phases[0]) * np.sin(4 * x + phases[1]) > 0.3).astype(np.int32)
    features = {}
    for layer, stride in zip(layers, STRIDES, strict=True):
        coarse = truth[stride // 2 :: stride, stride // 2 :: stride].astype(np.float32)
        noise = rng.standard_normal((channels, *coarse.shape), dtype=np.float32)
        scales = np.linspace(0.05, 1, channels, dtype=np.float32)[:, None, None]
        features[layer] = FeatureMap.of(np.maximum(scales * noise + coarse, 0), truth.shape)
    sure = np.clip(truth * 0.6 + rng.normal(0.2, 0.15, truth.shape), 0, 1).astype(np.float32)
    reference = Prediction(sure[None], ("foreground",))
    return Observation(name, sure, reference, truth=truth, features=features, seed=0)


def ours(kind: str, given) -> tuple:
    """The estimator and what it was asked for."""
    if kind == "ccfv":
        return CCFV(images=max(2, given.images)), f"{given.images} images, 3 x {given.channels}"
    return (
        OTCE(pixels=given.pixels, repeats=given.repeats, solver=kind.removeprefix("otce ")),
        f"{given.pixels} pixels, {given.repeats} repeats",
    )


def size(evidence) -> int:
    """Bytes of its arrays and numbers."""
    return sum(v.nbytes if isinstance(v, np.ndarray) else 8 for v in evidence.values())


def measured(kind: str, given) -> dict:
    """One line of the table."""
    estimator, asked = ours(kind, given)
    count = given.images if kind == "ccfv" else given.pool
    layers = CCFV().layers
    spent, rows = 0.0, {"target": [], "source": []}
    for domain, row in rows.items():
        if domain == "source" and not estimator.needs.source:
            continue
        for number in range(count):
            seed = number + 10_000 * (domain == "source")
            seen = observed(f"{domain}{number}", given.side, given.channels, layers, seed)
            begun = time.perf_counter()
            row.append(estimator.measure(seen))
            spent += time.perf_counter() - begun
    bank = Bank({"model": rows["target"]}, {"model": rows["source"]})
    begun, used = time.perf_counter(), time.process_time()
    value = estimator.score(bank)["model"]
    scored, used = time.perf_counter() - begun, time.process_time() - used
    rng = np.random.default_rng(0)
    begun = time.perf_counter()
    for _ in range(DRAWS):
        estimator.score(bank.draw(rng.integers(0, count, count)))
    drawn = (time.perf_counter() - begun) / DRAWS
    return {
        "estimator": kind,
        "asked": asked,
        "measure": spent,
        "score": scored,
        "used": used,
        "draw": drawn,
        "evidence": max(size(seen) for row in rows.values() for seen in row),
        "value": value,
    }


def versions() -> dict:
    """Of the packages that do the work."""
    found = {}
    for package in ("scipy", "POT"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="of CCFV")
    parser.add_argument("--channels", type=int, default=256, help="of each layer")
    parser.add_argument("--side", type=int, default=512, help="of an image, in px")
    parser.add_argument("--pixels", type=int, default=2000, help="of OTCE, on each side")
    parser.add_argument("--repeats", type=int, default=5, help="of OTCE")
    parser.add_argument("--pool", type=int, default=10, help="images of each domain, of OTCE")
    parser.add_argument("--sinkhorn", action="store_true", help="time that solver as well")
    parser.add_argument("--out", type=Path, help="write the numbers here as JSON as well")
    given = parser.parse_args()
    kinds = ["ccfv"]
    if OTCE().unavailable():
        print(f"otce left out: {OTCE().unavailable()}")
    else:
        kinds += ["otce exact"] + ["otce sinkhorn"] * given.sinkhorn
    lines = [measured(kind, given) for kind in kinds]
    found = machine() | versions()
    print(", ".join(f"{name} {value}" for name, value in found.items()))
    rows = [
        [
            line["estimator"],
            line["asked"],
            f"{line['measure']:.2f}",
            f"{line['score']:.2f}",
            f"{line['used']:.2f}",
            f"{1e3 * line['draw']:.2f}",
            f"{line['evidence'] / 1e3:.0f}",
        ]
        for line in lines
    ]
    header = [
        "estimator",
        "asked",
        "measure [s]",
        "score [s]",
        "CPU [s]",
        "draw [ms]",
        "evidence [kB]",
    ]
    print(text_table(header, rows, left=[0, 1]))
    if given.out:
        settings = {key: str(value) for key, value in vars(given).items()}
        document = {"settings": settings, "machine": found, "lines": lines}
        given.out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
