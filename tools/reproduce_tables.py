"""Make all tables and figures of the benchmark, in one command.

Builds the banks that are not there yet (`tools/build_zoo.py`; this needs PyTorch), runs every
estimator with the bank of each task on the task's targets, and writes into the folder of results:
``TASK.json``, all numbers and what they were made with; ``TASK.md``, tables of them;
``TASK_pairs`` and ``TASK_scores``, figures as PNG and SVG (where matplotlib is installed); and
``README.md``, which joins the tasks whose JSON is there. What models say of images is kept beside
the banks, so that a run that is repeated measures only what is new.

    python tools/reproduce_tables.py ../shared/data models/benchmark/
    python tools/reproduce_tables.py ../shared/data models/benchmark/ mitochondria blood
    python tools/reproduce_tables.py ../shared/data models/benchmark/ nuclei --strengths 3
    python tools/reproduce_tables.py ../shared/data models/benchmark/ --redraw
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import sys
import time
import tomllib
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bank_runs import STRENGTHS, Paths, Run, Task, estimator_of, judges_of, runs, tasks_of
from build_zoo import build_all, plan
from evaluate_bank import labels_of
from strength_sweep import strengths_numbers
from tabulating import joint_tables, task_tables
from target_numbers import DRAWS, MARGIN
from task_numbers import task_numbers

from onnx_cte.errors import CTEError

TABLE = Path(__file__).resolve().parent.parent / "models" / "banks.toml"
FORMAT = 1
"""Version of the layout of the JSON files."""

RECORDED = ("kind", "sha256", "description", "provider")
"""Of what a ranking's provenance says of a model."""

_ABSOLUTE = re.compile(r"(?<![\w.:/~-])/(?:[^\s/'\"]+/)+")
"""The folder of an absolute path."""

_BOUNDS = re.compile(r"\[\s+([-+.\deE]+|null),\s+([-+.\deE]+|null)\s+\]")
"""An interval, over four lines."""


def timed(found: Iterable[Run]) -> Iterable[tuple[Run, float]]:
    """Each run, and the seconds that it took."""
    begun = time.perf_counter()
    for run in found:
        yield run, time.perf_counter() - begun
        begun = time.perf_counter()


def document_of(
    task: Task, found: Sequence[tuple[Run, float]], made: Mapping[str, Any], given: Namespace
) -> dict[str, Any]:
    """All numbers of a task with what they were made with, as JSON values.

    Parameters
    ----------
    task : Task
    found : sequence of (Run, float)
        Runs on the targets, and the seconds that each took: what was measured before takes none.
    made : mapping of str to JSON values
        What else to say of how it was made.
    given : Namespace
        With ``data``, the folder of the domains, and ``reference``.

    Returns
    -------
    dict
        No absolute path is in it.
    """
    numbers = task_numbers([run for run, _ in found], reference=given.reference)
    first = found[0][0].truth.provenance
    models = {m: r for run, _ in found for m, r in run.truth.provenance["models"].items()}
    for run, seconds in found:
        target = numbers["targets"][run.target]
        target["seconds"] = round(seconds, 1)
        target["images"] = hashes(task, run, given.data)
    document = {
        "format": FORMAT,
        "task": asdict(task),
        "made": {
            **made,
            **{name: first[name] for name in ("onnx_cte", "python", "packages", "device")},
            "system": f"{platform.system()} {platform.machine()}",
            "seed": found[0][0].truth.seed,
            "margin": MARGIN,
            "draws": DRAWS,
        },
        "models": {
            name: {key: record[key] for key in RECORDED if key in record}
            for name, record in sorted(models.items())
        },
        **numbers,
    }
    return without_folders(document)


def hashes(task: Task, run: Run, data: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of the files of image and labels, by image that a model was judged on."""
    domain = data / run.target
    labels = labels_of(domain, Namespace(labels=task.labels, performance=task.performance))
    label_files = {path.stem: path for path in labels.iterdir()}
    names = sorted({name for score in run.truth for name in score.by_image})
    return {
        name: {
            "image": _sha256(domain / "images" / name),
            "labels": _sha256(label_files[Path(name).stem]),
        }
        for name in names
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def without_folders(value: Any) -> Any:
    """JSON values with each absolute path in a text cut to its last part.

    Examples
    --------
    >>> without_folders({"why": ["/home/a/models/net.onnx: no input", "see ../data/x.png"]})
    {'why': ['net.onnx: no input', 'see ../data/x.png']}
    """
    if isinstance(value, str):
        return _ABSOLUTE.sub("", value)
    if isinstance(value, Mapping):
        return {key: without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(inner) for inner in value]
    return value


def draw(name: str, given: Namespace) -> None:
    """Write the page of a task and its figures from its JSON."""
    document = _read(given.out / f"{name}.json")
    sweep = given.out / f"{name}_strengths.json"
    files: list[Path] = []
    if not can_draw():
        print("no figures: matplotlib is not installed", file=sys.stderr)
    else:
        import figures

        files += figures.pairs_figure(document, given.out / f"{name}_pairs")
        files += figures.scores_figure(document, given.out / f"{name}_scores")
        if sweep.is_file():
            files += figures.strengths_figure(_read(sweep), sweep.with_suffix(""))
    page = task_tables(document, [path.name for path in files if path.suffix == ".png"])
    (given.out / f"{name}.md").write_text(page, encoding="utf-8")


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def join(out: Path, order: Sequence[str]) -> None:
    """Write the page that joins the tasks whose JSON is there."""
    found = [path for path in sorted(out.glob("*.json")) if "summary" in _read(path)]
    place = {name: number for number, name in enumerate(order)}
    found.sort(key=lambda path: place.get(path.stem, len(place)))
    if not found:
        return
    pictures = [f"{path.stem}_pairs.png" for path in found]
    page = joint_tables(
        [_read(path) for path in found], [name for name in pictures if (out / name).is_file()]
    )
    (out / "README.md").write_text(page, encoding="utf-8")


def build_bank(table: Mapping[str, Any], task: Task, given: Namespace) -> None:
    """Build what is missing of a task's bank; a bank of which no models are listed is as it is."""
    if not table["banks"][task.bank].get("models"):
        return
    planned = plan(table, task.bank)
    device = "cpu" if given.device == "auto" else given.device
    if failed := build_all(planned, given.data, given.models, jobs=given.jobs, device=device):
        raise SystemExit(f"{task.name}: could not be built: {', '.join(failed)}")


def measure(task: Task, paths: Paths, given: Namespace, made: Mapping[str, Any]) -> None:
    """Run a task, and write its JSON."""
    where = {"split": given.split, "device": given.device}
    judges = [estimator_of(text, task) for text in given.estimator] or judges_of(task)
    found = list(timed(runs(task, paths, judges, **where)))
    _write(given.out / f"{task.name}.json", document_of(task, found, made, given))


def measure_strengths(task: Task, paths: Paths, given: Namespace, made: Mapping[str, Any]) -> None:
    """Sweep over strengths on the first targets of a task, if asked for, and write its JSON."""
    where = {"split": given.split, "device": given.device}
    if given.strengths:
        some = replace(task, targets=task.targets[: given.strengths])
        swept = list(runs(some, paths, judges_of(some, which="strengths"), **where))
        sweep = {"format": FORMAT, "made": made, **strengths_numbers(swept, STRENGTHS)}
        _write(given.out / f"{task.name}_strengths.json", without_folders(sweep))


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data", type=Path, help="folder of the domains")
    add("out", type=Path, help="folder for the results")
    add("tasks", nargs="*", metavar="TASK", help="of the table; all unless given")
    add("--table", type=Path, default=TABLE, help="of banks and tasks")
    add("--models", type=Path, default=TABLE.parent / "built", help="folder of the banks")
    add("--evidence", type=Path, help="what is measured is kept here; MODELS/runs unless given")
    add("--limit", type=int, default=Paths.limit, help="images a target at the most")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="models built at a time")
    add("--split", choices=["test", "train"], default="test")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--estimator", nargs="+", default=[], help="these instead of all")
    add("--reference", help="title of the estimator that the others are compared with")
    add("--strengths", type=int, default=0, help="sweep over strengths on so many targets")
    add("--redraw", action="store_true", help="from the JSON there is; only --strengths measures")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    given = options().parse_args(arguments)
    table = tomllib.loads(given.table.read_text(encoding="utf-8"))
    tasks = tasks_of(table)
    if unknown := [name for name in given.tasks if name not in tasks]:
        raise SystemExit(f"no task {', '.join(unknown)}; there is {', '.join(tasks)}")
    given.out.mkdir(parents=True, exist_ok=True)
    paths = Paths(given.data, given.models, given.evidence or given.models / "runs", given.limit)
    told = [Path(word).name if Path(word).is_absolute() else word for word in arguments]
    made = {
        "command": " ".join(["python tools/reproduce_tables.py", *told]),
        "split": given.split,
        "limit": given.limit,
        "source_images": paths.source_images,
    }
    failed = []
    for name in given.tasks or tasks:
        if not given.redraw:
            build_bank(table, tasks[name], given)
            try:
                measure(tasks[name], paths, given, made)
                measure_strengths(tasks[name], paths, given, made)
            except CTEError as error:
                # The other tasks have nothing to do with it.
                print(f"{name}: {error}", file=sys.stderr)
                failed.append(name)
                continue
        elif not (given.out / f"{name}.json").is_file():
            continue
        else:
            measure_strengths(tasks[name], paths, given, made)
        draw(name, given)
        join(given.out, list(tasks))
        print(f"{name}: {given.out / name}.md")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    text = _BOUNDS.sub(r"[\1, \2]", text)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
