"""One table over several banks: what evaluate_bank.py wrote of each, averaged over all targets.

Reads ``domains.csv`` in each folder of evaluations and prints, for every estimator, mean and
standard deviation (ddof 1) over the targets on which a measure is defined, beside the mean tau in
each bank. An estimator that has no score on some targets is averaged over the others; the number of
those with a tau stands beside it. Sorted by tau.

    python tools/join_banks.py evaluation/nuclei evaluation/mito evaluation/cells
    python tools/join_banks.py --out-of-domain evaluation/nuclei evaluation/mito evaluation/cells
"""

import argparse
import csv
import math
import statistics
from pathlib import Path

from onnx_cte.tables import text_table

MEASURES = ("tau", "rho", "r", "regret")


def chosen(folder: Path, *, out_of_domain: bool) -> list[dict[str, str]]:
    """Rows of one bank: with all models, or without in-domain ones where there are any."""
    with (folder / "domains.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not out_of_domain:
        return [row for row in rows if row["models"].startswith("all")]
    without = {row["domain"] for row in rows if row["models"].startswith("not")}
    kind = {True: "not", False: "all"}
    return [row for row in rows if row["models"].startswith(kind[row["domain"] in without])]


def defined(texts: list[str]) -> list[float]:
    """The values in cells that are no dashes."""
    return [float(text) for text in texts if text not in ("", "-", "nan")]


def spread(texts: list[str]) -> tuple[float, str]:
    """Mean of the defined values, and it as text with their standard deviation."""
    values = defined(texts)
    if not values:
        return math.nan, "-"
    deviation = f"{statistics.stdev(values):.2f}" if len(values) > 1 else "-"
    return statistics.fmean(values), f"{statistics.fmean(values):.2f} ({deviation})"


def main(arguments: list[str] | None = None) -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="what evaluate_bank.py was given")
    parser.add_argument("--out-of-domain", action="store_true", help="without in-domain models")
    given = parser.parse_args(arguments)
    banks = {f.name: chosen(f, out_of_domain=given.out_of_domain) for f in given.folders}
    by_title: dict[str, dict[str, list[dict[str, str]]]] = {}
    for bank, rows in banks.items():
        for row in rows:
            by_title.setdefault(row["estimator"], {}).setdefault(bank, []).append(row)
    table = []
    for title, found in by_title.items():
        together = [row for rows in found.values() for row in rows]
        spreads = [spread([row[measure] for row in together]) for measure in MEASURES]
        cells = [spread([r["tau"] for r in found.get(bank, [])])[1] for bank in banks]
        targets = str(len(defined([row["tau"] for row in together])))
        line = [title, together[0]["needs"], targets, *(text for _, text in spreads), *cells]
        table.append((spreads[0][0], line))
    table.sort(key=lambda entry: (math.isnan(entry[0]), -entry[0], entry[1]))
    head = ["estimator", "needs", "targets", *MEASURES, *(f"tau {bank}" for bank in banks)]
    print(text_table(head, [line for _, line in table], left=[0, 1]))


if __name__ == "__main__":
    main()
