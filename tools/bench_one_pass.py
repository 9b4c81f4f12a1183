"""What comparing every estimator costs beside CTE alone: one pass over models and images for all.

Runs what `onnx-cte evaluate` runs for `--estimator cte` and for `--estimator all` (decoding apart),
alternating, and takes the ratio of each round; below, the estimators that took longest beyond
inference. Images are simulated unless a folder is given. Nothing is kept between rounds.

    python tools/bench_one_pass.py
    python tools/bench_one_pass.py --images ../shared/data/nuc_dsb_u2os_dense/images \
        --labels ../shared/data/nuc_dsb_u2os_dense/labels --count 32
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import onnx_cte as oc
from onnx_cte.cli.judges import jury_of
from onnx_cte.perturbations import parse_perturbation
from onnx_cte.sessions import cores, runtime_version
from onnx_cte.tables import text_table


def alone() -> list[oc.CTE]:
    """What `cte` stands for in an evaluation."""
    perturbations = [parse_perturbation(text) for text in ("noise=0.1", "gamma=1.1..1.2")]
    return [oc.CTE(metric, (p,)) for p in perturbations for metric in ("nhd", "ei")]


def every() -> list[oc.Estimator]:
    """What `all` stands for, without source images."""
    return list(jury_of(["all"], alone, "f1", with_source=False).judges)


def images_of(given: argparse.Namespace):
    """The images of a folder with their labels, or simulated ones."""
    if given.images is not None:
        return oc.Images(given.images, given.labels, limit=given.count)
    made = oc.simulate_images(given.count, 0, shape=(given.side, given.side))
    return [oc.Image(name, image, "yx", labels) for name, image, labels in made]


def timed(given: argparse.Namespace, judges) -> tuple[float, tuple[oc.Ranking, ...]]:
    """Seconds of one run, and its rankings."""
    models, images = oc.open_models(given.models), images_of(given)
    start = time.perf_counter()
    rankings = oc.rank_each(models, images, [oc.Accuracy(), *judges], jobs=given.jobs)
    return time.perf_counter() - start, rankings[1:]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("models/nuclei"))
    parser.add_argument("--images", type=Path, help="folder; with --labels")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--count", type=int, default=32, help="images")
    parser.add_argument("--side", type=int, default=512, help="of simulated images, px")
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    given = parser.parse_args(arguments)
    first, both, rankings = [], [], ()
    timed(given, alone()[:1])  # what is imported and read once a process
    for _ in range(given.repeats):
        first.append(timed(given, alone())[0])
        seconds, rankings = timed(given, every())
        both.append(seconds)
    ratios = [all_ / cte for all_, cte in zip(both, first, strict=True)]
    ratio = statistics.median(ratios)
    print(f"{given.count} images, {given.jobs} threads, median of {given.repeats} rounds")
    rows = [["cte", str(len(alone())), f"{statistics.median(first):.1f}", "1.00"]]
    rows += [["all", str(len(rankings)), f"{statistics.median(both):.1f}", f"{ratio:.2f}"]]
    print(text_table(["", "estimators", "seconds", "x cte"], rows, left=[0]))
    print(f"ratio {min(ratios):.2f} .. {max(ratios):.2f}")
    taken = sorted(((r.seconds, r.title) for r in rankings), reverse=True)
    costs = [[title, f"{seconds:.2f}"] for seconds, title in taken[:10]]
    print("\n" + text_table(["most beyond inference", "seconds"], costs, left=[0]))
    if given.json:
        machine = {"platform": platform.platform(), "onnxruntime": runtime_version()}
        settings = {key: str(value) for key, value in vars(given).items()}
        found = {"cte": first, "all": both, "ratio": ratios, "beyond": dict(map(reversed, taken))}
        given.json.write_text(json.dumps({**settings, **machine, **found}, indent=2))


if __name__ == "__main__":
    main()
