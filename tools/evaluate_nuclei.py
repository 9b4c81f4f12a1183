"""How well rankings without labels agree with performance, domain by domain.

Runs `onnx-cte evaluate` with models/nuclei on the test split of each domain and prints one table:
tau, rho, r, the share of pairs in order and top-1 regret, for every estimator. A model that was
trained on the domain is in-domain; each number is given with it and, below, without it.

    python tools/evaluate_nuclei.py ../shared/data evaluation/ nuc_dsb_fibro nuc_dsb_small
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from onnx_cte.agreement import Agreement, agreement
from onnx_cte.ranking import Ranking
from onnx_cte.report import ranking_from_json
from onnx_cte.tables import number, text_table

MEASURES = ("kendall", "spearman", "pearson", "pairs_right", "regret")
HEAD = ["domain", "models", "estimator", "tau", "rho", "r", "pairs right", "of", "regret"]


def evaluated(domain: Path, models: Path, out: Path, perturb: list[str]) -> dict:
    """Run the command on the test split and read what it wrote."""
    out.mkdir(parents=True, exist_ok=True)
    with (domain / "split.csv").open(newline="", encoding="utf-8") as file:
        stems = [row["stem"] for row in csv.DictReader(file) if row["split"] == "test"]
    names = out / "test.txt"
    names.write_text("\n".join(stems) + "\n", encoding="utf-8")
    # Where labels/ is semantic, so is what is asked here: foreground is what is not 0.
    command = [sys.executable, "-m", "onnx_cte.cli", "evaluate", str(models)]
    command += [str(domain / "images"), str(domain / "labels"), "--only", str(names)]
    command += ["--out", str(out), *(word for name in perturb for word in ("--perturb", name))]
    print("+ onnx-cte " + " ".join(command[3:]), file=sys.stderr)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((out / "evaluation.json").read_text(encoding="utf-8"))


def without(ranking: Ranking, model: str) -> Ranking:
    """The ranking of the other models."""
    return replace(ranking, scores=tuple(s for s in ranking if s.model != model))


def kind_of(ranking: Ranking) -> str:
    """Its title, or, if a sweep chose the perturbation, that it did: choices differ by domain."""
    swept = "sweep" in ranking.provenance
    return f"{' '.join(ranking.title.split()[:2])} auto" if swept else ranking.title


def line(domain: str, models: str, title: str, found: Agreement) -> list[str]:
    """One row of the table."""
    values = [number(getattr(found, name)) for name in MEASURES]
    return [domain, models, title, *values[:4], str(found.pairs_counted), values[4]]


def main() -> None:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the domains")
    parser.add_argument("out", type=Path, help="folder for the evaluations")
    parser.add_argument("domains", nargs="+")
    parser.add_argument("--models", type=Path, default=Path("models/nuclei"))
    parser.add_argument("--perturb", nargs="+", default=[], help="instead of evaluate's own")
    given = parser.parse_args()
    rows, means = [], {}
    for name in given.domains:
        document = evaluated(given.data / name, given.models, given.out / name, given.perturb)
        truth = ranking_from_json(document["performance"])
        print(f"\n{name}\n{truth}")
        rankings = [ranking_from_json(ranking) for ranking in document["rankings"]]
        own = next((s.model for s in truth if name.endswith(s.model)), None)
        for ranking in rankings:
            kinds = {f"all {len(truth)}": agreement(ranking, truth)}
            if own is not None:
                kinds[f"not {own}"] = agreement(without(ranking, own), without(truth, own))
            for kind, found in kinds.items():
                rows.append(line(name, kind, ranking.title, found))
            everyone, *others = kinds.values()
            means.setdefault(("all", kind_of(ranking)), []).append(everyone)
            means.setdefault(("not in-domain", kind_of(ranking)), []).append(
                *(others or [everyone])
            )
    for (kind, title), found in means.items():
        values = [
            number(statistics.fmean(getattr(one, measure) for one in found)) for measure in MEASURES
        ]
        pairs = str(sum(one.pairs_counted for one in found))
        rows.append([f"mean of {len(found)}", kind, title, *values[:4], pairs, values[4]])
    print("\n" + text_table(HEAD, rows, left=[0, 1, 2]))


if __name__ == "__main__":
    main()
