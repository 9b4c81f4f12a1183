"""What ranking costs beyond running the network: seconds in ``session.run`` / seconds in all.

One model on 32 simulated images of 512 x 512, as PNG files, ranked as a user would, with evidence
kept on disk; beside it, in the same run, the least script that gives the same scores. Each is run
several times, alternating, and the median is taken; the first ranking of the process stands apart.
Prints one table, writes one JSON.

    python tools/bench_rank.py models/nuclei/fibro
"""

import argparse
import json
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image as Picture

import onnx_cte as oc
from onnx_cte.perturbations import generator
from onnx_cte.sessions import cores
from onnx_cte.tables import text_table


class Timed(oc.OnnxModel):
    """An OnnxModel of which the time in ONNX Runtime can be read after the ranking."""

    def open(self, device, threads):
        self.opened = super().open(device, threads)
        return self.opened


def write_images(folder: Path, count: int, side: int) -> None:
    """Simulate images and save them as PNG."""
    for name, image, _ in oc.simulate_images(count, 0, shape=(side, side)):
        # Eight bits, as most published images have.
        scaled = image.astype(float) / np.percentile(image, 99.9) * 255
        Picture.fromarray(scaled.clip(0, 255).astype(np.uint8)).save(folder / f"{name}.png")


def ranked(model: Path, images: Path, device: str, jobs: int, evidence: Path) -> dict:
    """Rank with the package."""
    evidence.unlink(missing_ok=True)
    timed = Timed(model.name, model)
    start = time.perf_counter()
    ranking = oc.rank([timed], oc.Images(images), oc.CTE(draws=1), device=device, jobs=jobs,
                      evidence=evidence)  # fmt: skip
    total = time.perf_counter() - start
    inside = timed.opened.network.session.seconds
    return {"seconds": total, "inside": inside, "score": ranking[0].value}


def scripted(model: Path, images: Path, device: str, jobs: int) -> dict:
    """The same score by the least script, for a network that takes a multiple of 8."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = jobs
    providers = ["CUDAExecutionProvider"] * (device == "cuda") + ["CPUExecutionProvider"]
    start = time.perf_counter()
    session = ort.InferenceSession(str(model / "weights.onnx"), options, providers=providers)
    source, inside, scores = session.get_inputs()[0], 0.0, []
    for file in sorted(images.glob("*.png")):
        x = np.asarray(Picture.open(file)).astype(np.float32)
        low, high = np.percentile(x, (1, 99.8))
        x = ((x - low) / (high - low + 1e-6))[None, None]
        x = np.broadcast_to(x, (1, source.shape[1], *x.shape[2:]))
        noise = generator(0, file.name, "noise=0.1").standard_normal(x.shape[2:], np.float32)
        maps = []
        for tensor in (x, x + np.float32(0.1) * noise):
            feed = {source.name: np.ascontiguousarray(tensor, np.float32)}
            begun = time.perf_counter()
            maps.append(session.run(None, feed)[0])
            inside += time.perf_counter() - begun
        cut = 0.5 if all(m.min() >= 0 and m.max() <= 1 for m in maps) else 0.0
        y, z = (m > cut for m in maps)
        scores.append((y & z).sum() / max((y | z).sum(), 1))
    total = time.perf_counter() - start
    return {"seconds": total, "inside": inside, "score": float(np.median(scores))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a package of the model zoo, as a folder")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        images = folder / "images"
        images.mkdir()
        write_images(images, given.images, given.side)
        rest = (images, given.device, given.jobs)
        # The first package that a process reads pays for importing the zoo's own reader.
        runs = {
            "script": [],
            "onnx_cte": [],
            "onnx_cte, first": [ranked(given.model, *rest, folder / "e.sqlite")],
        }
        for _ in range(given.repeats):
            runs["script"].append(scripted(given.model, *rest))
            runs["onnx_cte"].append(ranked(given.model, *rest, folder / "e.sqlite"))
    finally:
        shutil.rmtree(folder)
    rows, found = [], {}
    for name, repeats in runs.items():
        seconds = statistics.median(run["seconds"] for run in repeats)
        shares = [run["inside"] / run["seconds"] for run in repeats]
        found[name] = {
            "seconds": seconds,
            "inside_session_run": statistics.median(run["inside"] for run in repeats),
            "share": statistics.median(shares),
            "score": repeats[0]["score"],
        }
        rows.append(
            [
                name,
                f"{seconds:.2f}",
                f"{found[name]['inside_session_run']:.2f}",
                f"{found[name]['share']:.3f}",
                f"{1 - found[name]['share']:.1%}",
                f"{seconds / statistics.median(r['seconds'] for r in runs['script']):.2f}",
                f"{found[name]['score']:.4f}",
            ]
        )
    print(
        f"{given.model.name}, {given.images} images of {given.side} x {given.side}, "
        f"{given.device}, {given.jobs} threads, median of {given.repeats}"
    )
    head = ["", "seconds", "in session.run", "share", "around it", "x script", "score"]
    print(text_table(head, rows, left=[0]))
    if given.json:
        machine = {"platform": platform.platform(), "python": platform.python_version(),
                   "onnxruntime": ort.__version__, "numpy": np.__version__}  # fmt: skip
        settings = {k: str(v) for k, v in vars(given).items()}
        given.json.write_text(json.dumps({**settings, **machine, "runs": found}, indent=2))


if __name__ == "__main__":
    main()
