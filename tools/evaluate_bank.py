"""How well rankings by estimators agree with performance, domain by domain.

Runs `onnx-cte evaluate` with a bank of models on the test split of each domain, and prints a table:
tau, rho, r, the share of pairs in order and top-1 regret, for every estimator, and another with
their mean and standard deviation (ddof 1) over the domains. Both are written beside the
evaluations, as ``domains.csv`` and ``summary.csv``. A model that was trained on the domain is
in-domain: ``config: trained_on`` of its description lists it, or else its name ends the domain's
("fibro", "nuc_dsb_fibro") or begins with it ("axon_sem_few"). Each number is given with such models
and, below, without them.

    python tools/evaluate_bank.py ../shared/data evaluation/ nuc_dsb_fibro nuc_dsb_small
    python tools/evaluate_bank.py ../shared/data evaluation/ nuc_dsb_fibro nuc_dsb_small \
        --models models/nuclei_instances --performance map --perturb noise=0.1 dropout=0.2
    python tools/evaluate_bank.py ../shared/data evaluation/ nuc_dsb_fibro nuc_dsb_small \
        --estimator all --source-splits

With ``--source-splits`` estimators that compare with a model's own training domain get images of
the train splits of the domains that it was trained on, as far as they lie in the data folder.
"""

import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ruyaml import YAML

from onnx_cte.agreement import Agreement, agreement
from onnx_cte.console import told_needs
from onnx_cte.documents import ranking_from_json
from onnx_cte.metrics import metric_named
from onnx_cte.ranking import Ranking
from onnx_cte.segmenters import open_models
from onnx_cte.tables import number, text_table

MEASURES = ("kendall", "spearman", "pearson", "pairs_right", "regret")
MEASURED = ["tau", "rho", "r", "pairs right", "of", "regret"]
HEAD = ["domain", "models", "estimator", "needs", *MEASURED]
SUMMARY = ["domains", "models", "estimator", "needs", *MEASURED]


def evaluated(domain: Path, out: Path, given: argparse.Namespace) -> dict:
    """Run the command on the test split and read what it wrote."""
    out.mkdir(parents=True, exist_ok=True)
    names = out / "test.txt"
    names.write_text("\n".join(stems(domain, "test")) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "onnx_cte.cli", "evaluate", str(given.models)]
    command += [str(domain / "images"), str(labels_of(domain, given)), "--only", str(names)]
    command += ["--out", str(out), "--performance", given.performance]
    for option in ("perturb", "metric", "estimator"):
        command += [word for name in getattr(given, option) for word in (f"--{option}", name)]
    for model, folder in sources(given).items():
        command += ["--source", f"{model}={folder / 'images'}:{folder / 'labels'}"]
    command += ["--decoder", given.decoder] if given.decoder else []
    print("+ onnx-cte " + " ".join(command[3:]), file=sys.stderr)
    code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    if code not in (0, 3):  # 3: some models failed, and are listed below
        raise SystemExit(f"{domain.name}: onnx-cte evaluate ended with {code}")
    return json.loads((out / "evaluation.json").read_text(encoding="utf-8"))


def stems(domain: Path, split: str) -> list[str]:
    """Names of the images of a split, without suffix, in the order of its list."""
    with (domain / "split.csv").open(newline="", encoding="utf-8") as file:
        return [row["stem"] for row in csv.DictReader(file) if row["split"] == split]


def labels_of(domain: Path, given: argparse.Namespace) -> Path:
    """The folder of labels to judge by."""
    if given.labels and (domain / given.labels).is_dir():
        return domain / given.labels
    # Where labels/ is semantic, labels_instances/ beside it holds the objects.
    objects = metric_named(given.performance, "performance").compares == "labels"
    if objects and (domain / "labels_instances").is_dir():
        return domain / "labels_instances"
    return domain / "labels"


def sources(given: argparse.Namespace) -> dict[str, Path]:
    """By model, a folder of links to images and labels of the domains that it was trained on."""
    if not given.source_splits:
        return {}
    domains = sorted(path.parent for path in given.data.glob("*/split.csv"))
    found = {}
    for model in open_models(given.models):
        own = [domain for domain in domains if in_domain(given.models, model.name, domain.name)]
        folder = given.out / "source" / model.name
        if own and link_source(own, folder, given):
            found[model.name] = folder
    return found


def link_source(domains: Sequence[Path], folder: Path, given: argparse.Namespace) -> int:
    """Link images of train splits, as many of each domain, spread evenly over its list."""
    linked = 0
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for old in (folder / kind).iterdir():
            old.unlink()
    share = max(1, given.source_images // len(domains))
    for domain in domains:
        train = sorted(stems(domain, "train"))
        count = min(share, len(train))
        for place in range(count):
            stem = train[place * len(train) // count]
            for kind, where in (
                ("images", domain / "images"),
                ("labels", labels_of(domain, given)),
            ):
                files = [path for path in where.iterdir() if path.stem == stem]
                if len(files) != 1:
                    raise SystemExit(f"{where}: found {len(files)} files '{stem}', expected one")
                link = folder / kind / f"{domain.name}_{files[0].name}"
                os.symlink(files[0].resolve(), link)
            linked += 1
    return linked


def in_domain(models: Path, model: str, domain: str) -> bool:
    """Whether a model was trained on the domain: by its description, else by its name."""
    description = models / model / "bioimageio.yaml"
    content = YAML(typ="safe").load(description) if description.is_file() else {}
    if trained_on := (content.get("config") or {}).get("trained_on"):
        return domain in trained_on
    return domain.endswith(model) or model.startswith(domain)


def without(ranking: Ranking, models: set[str]) -> Ranking:
    """The ranking of the other models."""
    return replace(ranking, scores=tuple(s for s in ranking if s.model not in models))


def kind_of(ranking: Ranking) -> str:
    """Its title, or, if a sweep chose the perturbation, that it did: choices differ by domain."""
    swept = "sweep" in ranking.provenance
    return f"{' '.join(ranking.title.split()[:2])} auto" if swept else ranking.title


def line(domain: str, models: str, ranking: Ranking, found: Agreement) -> list[str]:
    """One row of the table of domains."""
    values = [number(getattr(found, name)) for name in MEASURES]
    beside = [domain, models, ranking.title, told_needs(ranking.needs)]
    return [*beside, *values[:4], str(found.pairs_counted), values[4]]


def spread_line(kind: str, title: str, needs: str, found: list[Agreement]) -> list[str]:
    """Mean and standard deviation of every measure over the domains on which it is defined."""
    cells = []
    for measure in MEASURES:
        values = [v for one in found if not math.isnan(v := getattr(one, measure))]
        mean = statistics.fmean(values) if values else math.nan
        deviation = statistics.stdev(values) if len(values) > 1 else math.nan
        cells.append(f"{number(mean)} ({number(deviation)})")
    pairs = str(sum(one.pairs_counted for one in found))
    return [f"mean of {len(found)} (std)", kind, title, needs, *cells[:4], pairs, cells[4]]


def write_csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table for spreadsheets."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the domains")
    parser.add_argument("out", type=Path, help="folder for the evaluations")
    parser.add_argument("domains", nargs="+")
    parser.add_argument("--models", type=Path, default=Path("models/nuclei"))
    parser.add_argument("--performance", default="f1", help="f1, or map or f1_50 of objects")
    parser.add_argument("--estimator", nargs="+", default=[], help="instead of evaluate's own")
    parser.add_argument("--metric", nargs="+", default=[], help="instead of evaluate's own")
    parser.add_argument("--perturb", nargs="+", default=[], help="instead of evaluate's own")
    parser.add_argument("--decoder", help="for all models, instead of their own")
    parser.add_argument("--labels", help="folder of labels in each domain that has it")
    parser.add_argument(
        "--source-splits", action="store_true", help="give each model its own train splits"
    )
    parser.add_argument("--source-images", type=int, default=12, help="of each model, with these")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate and print."""
    given = options().parse_args(arguments)
    rows, means = [], {}
    for name in given.domains:
        document = evaluated(given.data / name, given.out / name, given)
        truth = ranking_from_json(document["performance"])
        print(f"\n{name}\n{truth}")
        rankings = [ranking_from_json(ranking) for ranking in document["rankings"]]
        own = {s.model for s in truth if in_domain(given.models, s.model, name)}
        for ranking in rankings:
            everyone = agreement(ranking, truth)
            others = agreement(without(ranking, own), without(truth, own)) if own else everyone
            rows.append(line(name, f"all {len(truth)}", ranking, everyone))
            if own:
                left = f"not {', '.join(sorted(own))}"
                rows.append(line(name, left, ranking, others))
            needs = told_needs(ranking.needs)
            means.setdefault(("all", kind_of(ranking), needs), []).append(everyone)
            means.setdefault(("not in-domain", kind_of(ranking), needs), []).append(others)
    summary = [spread_line(*key, found) for key, found in sorted(means.items(), key=_by_models)]
    print("\n" + text_table(HEAD, rows, left=[0, 1, 2, 3]))
    print("\n" + text_table(SUMMARY, summary, left=[0, 1, 2, 3]))
    write_csv(given.out / "domains.csv", HEAD, rows)
    write_csv(given.out / "summary.csv", SUMMARY, summary)


def _by_models(item: tuple[tuple[str, str, str], list[Agreement]]) -> bool:
    """All models first; sorting keeps the order of the estimators."""
    return item[0][0] != "all"


if __name__ == "__main__":
    main()
