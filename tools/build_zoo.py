"""Build the banks of models that the benchmark ranks, from `models/banks.toml`, in one command.

::

    python tools/build_zoo.py ../shared/data            # all banks
    python tools/build_zoo.py ../shared/data nuclei blood --jobs 2
    python tools/build_zoo.py ../shared/data --list     # what would be built

Each model is trained (`tools/train_unet.py`), exported (`tools/export_torch.py`) and checked;
shipped ones are linked. Models land in ``models/built/BANK/NAME``, checkpoints and logs in
``models/built/checkpoints``; git ignores both, since the licences of some of the data keep weights
from being shipped. A model that is there, made by the same options, is not made again, so an
interrupted build goes on where it stopped. Everything is seeded: the same options give the same
weights on the same machine, whatever else is built beside (each model is trained on one thread).
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).resolve().parent
MODELS = TOOLS.parent / "models"
RECIPE = "recipe.json"


@dataclass(frozen=True)
class Planned:
    """One model to build.

    Attributes
    ----------
    bank, name, domain : str
        The domain is that by which it is described.
    words : tuple of str
        Options of ``train_unet.py``; empty for a shipped model.
    also : tuple of str
        Further domains.
    shipped : str
        Folder below ``models/``; empty if it is trained.
    """

    bank: str
    name: str
    domain: str
    words: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    shipped: str = ""


def read_banks(path: Path = MODELS / "banks.toml") -> dict[str, Any]:
    """The table of banks and regimes."""
    with path.open("rb") as file:
        return tomllib.load(file)


def plan(table: Mapping[str, Any], bank: str) -> list[Planned]:
    """The models of one bank, by name.

    Raises
    ------
    SystemExit
        If the table does not know the bank, or names a regime that is not there.
    """
    if bank not in table["banks"]:
        raise SystemExit(f"no bank '{bank}'; there are: {', '.join(table['banks'])}")
    spec = table["banks"][bank]
    shared, by_domain = spec.get("options", {}), spec.get("domains", {})
    found = []
    for domain, regimes in spec["models"].items():
        for regime in regimes:
            name = f"{domain}_{regime}"
            if shipped := spec.get("shipped", {}).get(name):
                found.append(Planned(bank, name, domain, shipped=shipped))
                continue
            if regime not in table["regimes"]:
                known = ", ".join(table["regimes"])
                raise SystemExit(f"{bank}: {name}: no regime '{regime}'; there are: {known}")
            options = {**table["regimes"][regime], **shared, **by_domain.get(domain, {})}
            found.append(Planned(bank, name, domain, _words(options)))
    for title, others in spec.get("also", {}).items():
        domain, _, name = title.partition(".")
        options = {**table["regimes"]["std"], **shared, **by_domain.get(domain, {})}
        boundaries = [by_domain.get(other, {}).get("boundary") for other in others]
        also = (f"{o}={b}" if b else o for o, b in zip(others, boundaries, strict=True))
        found.append(Planned(bank, name, domain, _words(options), tuple(also)))
    return sorted(found, key=lambda one: one.name)


def build(planned: Planned, data: Path, out: Path, device: str) -> str:
    """Train, export and note how; what happened, in a word or two.

    Raises
    ------
    SystemExit
        If a step fails, with the end of its log.
    """
    folder = out / planned.bank / planned.name
    if planned.shipped:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.is_symlink():
            os.symlink(MODELS / planned.shipped, folder, target_is_directory=True)
        return "shipped"
    checkpoints = out / "checkpoints" / planned.bank / planned.name
    recipe = _recipe(planned, data)
    note = checkpoints / RECIPE
    done = folder / "bioimageio.yaml"
    if done.is_file() and note.is_file() and json.loads(note.read_text()) == recipe:
        return "there"
    checkpoints.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    train = [str(data / planned.domain), str(checkpoints), *planned.words]
    for other in planned.also:
        train += ["--also", str(data / other)]
    sigmoid = "zoo" if int(hashlib.sha256(planned.name.encode()).hexdigest(), 16) % 2 else "graph"
    started = time.perf_counter()
    log = checkpoints / "log.txt"
    log.unlink(missing_ok=True)
    _run("train_unet.py", [*train, "--seed", "0", "--threads", "1", "--device", device], log)
    export = [str(checkpoints / "checkpoint.pt"), str(folder), "--sigmoid", sigmoid]
    _run("export_torch.py", export, log)
    note.write_text(json.dumps(recipe, indent=1) + "\n")
    metrics = json.loads((checkpoints / "metrics.json").read_text())
    return f"F1 {metrics['mean']:.3f} at home, {time.perf_counter() - started:.0f} s"


def _recipe(planned: Planned, data: Path) -> dict[str, Any]:
    """All that determines a model: what was asked for, and the list of its images."""
    splits = [planned.domain, *(other.partition("=")[0] for other in planned.also)]
    return {
        "domain": planned.domain,
        "words": list(planned.words),
        "also": list(planned.also),
        "splits": {
            name: hashlib.sha256((data / name / "split.csv").read_bytes()).hexdigest()
            for name in splits
        },
    }


def _words(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Options as words of a command line."""
    words: list[str] = []
    for name, value in options.items():
        if isinstance(value, bool):
            words += [f"--{name}"] if value else []
        else:
            values = value if isinstance(value, list) else [value]
            words += [f"--{name}", *map(str, values)]
    return tuple(words)


def _run(tool: str, words: Sequence[str], log: Path) -> None:
    with log.open("a") as file:
        command = [sys.executable, str(TOOLS / tool), *words]
        code = subprocess.run(command, stdout=file, stderr=file, check=False).returncode
    if code:
        end = "\n".join(log.read_text().splitlines()[-5:])
        raise SystemExit(f"{' '.join(command)} ended with {code}:\n{end}")


def build_all(
    planned: Sequence[Planned], data: Path, out: Path, *, jobs: int, device: str
) -> list[str]:
    """Build models, so many at a time, and say of each how it went.

    Returns
    -------
    list of str
        Titles of those that failed.
    """
    failed = []

    def one_of(planned: Planned) -> None:
        title = f"{planned.bank}/{planned.name}"
        try:
            print(f"{title}: {build(planned, data, out, device)}", file=sys.stderr, flush=True)
        except (SystemExit, OSError) as error:
            failed.append(title)
            print(f"{title}: FAILED: {error}", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one_of, planned))
    return failed


def main(argv: Sequence[str] | None = None) -> None:
    """Build what is asked for and say how it went."""
    table = read_banks()
    options = _parser(table).parse_args(argv)
    planned = [one for bank in options.banks or table["banks"] for one in plan(table, bank)]
    if options.list:
        for one in planned:
            how = f"models/{one.shipped}" if one.shipped else " ".join(one.words)
            print(f"{one.bank}/{one.name}: {' + '.join((one.domain, *one.also))}: {how}")
        return
    given = {"jobs": options.jobs, "device": options.device}
    if failed := build_all(planned, options.data, options.out, **given):
        raise SystemExit(f"{len(failed)} of {len(planned)} models failed: {', '.join(failed)}")


def _parser(table: Mapping[str, Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Build the banks of models of the benchmark.")
    add = parser.add_argument
    add("data", type=Path, help="folder of the domains")
    add(
        "banks", nargs="*", metavar="BANK", help=f"of {', '.join(table['banks'])}; all unless given"
    )
    add("--out", type=Path, default=MODELS / "built", help="where banks and checkpoints go")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="models trained at a time")
    add("--device", default="cpu", choices=["cpu", "cuda"], help="where they are trained")
    add("--list", action="store_true", help="only say what would be built")
    return parser


if __name__ == "__main__":
    main()
