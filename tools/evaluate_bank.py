"""How well rankings without labels agree with performance, domain by domain.

Runs `onnx-cte evaluate` with a bank of models on the test split of each domain, and prints a table:
tau, rho, r, the share of pairs in order and top-1 regret, for every estimator, and their mean and
standard deviation (ddof 1) over the domains. A model that was trained on the domain is in-domain:
``config: trained_on`` of its description lists it, or else its name ends the domain's ("fibro",
"nuc_dsb_fibro") or begins with it ("axon_sem_few"). Each number is given with such models and,
below, without them.

    python tools/evaluate_bank.py ../shared/data evaluation/ nuc_dsb_fibro nuc_dsb_small
    python tools/evaluate_bank.py ../shared/data evaluation/ nuc_dsb_fibro nuc_dsb_small \
        --models models/nuclei_instances --performance map --perturb noise=0.1 dropout=0.2
"""

import argparse
import csv
import json
import math
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from ruyaml import YAML

from onnx_cte.agreement import Agreement, agreement
from onnx_cte.documents import ranking_from_json
from onnx_cte.metrics import metric_named
from onnx_cte.ranking import Ranking
from onnx_cte.tables import number, text_table

MEASURES = ("kendall", "spearman", "pearson", "pairs_right", "regret")
HEAD = ["domain", "models", "estimator", "tau", "rho", "r", "pairs right", "of", "regret"]


def evaluated(domain: Path, out: Path, given: argparse.Namespace) -> dict:
    """Run the command on the test split and read what it wrote."""
    out.mkdir(parents=True, exist_ok=True)
    with (domain / "split.csv").open(newline="", encoding="utf-8") as file:
        stems = [row["stem"] for row in csv.DictReader(file) if row["split"] == "test"]
    names = out / "test.txt"
    names.write_text("\n".join(stems) + "\n", encoding="utf-8")
    # Where labels/ is semantic, labels_instances/ beside it holds the objects.
    labels = domain / "labels"
    objects = metric_named(given.performance, "performance").compares == "labels"
    if objects and (domain / "labels_instances").is_dir():
        labels = domain / "labels_instances"
    command = [sys.executable, "-m", "onnx_cte.cli", "evaluate", str(given.models)]
    command += [str(domain / "images"), str(labels), "--only", str(names), "--out", str(out)]
    command += ["--performance", given.performance]
    for option in ("perturb", "metric"):
        command += [word for name in getattr(given, option) for word in (f"--{option}", name)]
    command += ["--decoder", given.decoder] if given.decoder else []
    print("+ onnx-cte " + " ".join(command[3:]), file=sys.stderr)
    code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    if code not in (0, 3):  # 3: some models failed, and are listed below
        raise SystemExit(f"{domain.name}: onnx-cte evaluate ended with {code}")
    return json.loads((out / "evaluation.json").read_text(encoding="utf-8"))


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


def line(domain: str, models: str, title: str, found: Agreement) -> list[str]:
    """One row of the table."""
    values = [number(getattr(found, name)) for name in MEASURES]
    return [domain, models, title, *values[:4], str(found.pairs_counted), values[4]]


def spread_line(kind: str, title: str, found: list[Agreement]) -> list[str]:
    """Mean and standard deviation of every measure over the domains on which it is defined."""
    cells = []
    for measure in MEASURES:
        values = [v for one in found if not math.isnan(v := getattr(one, measure))]
        mean = statistics.fmean(values) if values else math.nan
        deviation = statistics.stdev(values) if len(values) > 1 else math.nan
        cells.append(f"{number(mean)} ({number(deviation)})")
    pairs = str(sum(one.pairs_counted for one in found))
    return [f"mean of {len(found)} (std)", kind, title, *cells[:4], pairs, cells[4]]


def main() -> None:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the domains")
    parser.add_argument("out", type=Path, help="folder for the evaluations")
    parser.add_argument("domains", nargs="+")
    parser.add_argument("--models", type=Path, default=Path("models/nuclei"))
    parser.add_argument("--performance", default="f1", help="f1, or map or f1_50 of objects")
    parser.add_argument("--metric", nargs="+", default=[], help="instead of evaluate's own")
    parser.add_argument("--perturb", nargs="+", default=[], help="instead of evaluate's own")
    parser.add_argument("--decoder", help="for all models, instead of their own")
    given = parser.parse_args()
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
            rows.append(line(name, f"all {len(truth)}", ranking.title, everyone))
            if own:
                left = f"not {', '.join(sorted(own))}"
                rows.append(line(name, left, ranking.title, others))
            means.setdefault(("all", kind_of(ranking)), []).append(everyone)
            means.setdefault(("not in-domain", kind_of(ranking)), []).append(others)
    rows += [spread_line(kind, title, found) for (kind, title), found in means.items()]
    print("\n" + text_table(HEAD, rows, left=[0, 1, 2]))


if __name__ == "__main__":
    main()
