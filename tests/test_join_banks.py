"""The table over several banks: means by hand."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAD = "domain,models,estimator,needs,tau,rho,r,pairs right,of,regret\n"


@pytest.fixture
def folders(tmp_path):
    written = {
        "nuclei": "a,all 3,cte,nothing,0.5,0.6,0.7,1.0,3,0.1\n"
        "a,not m,cte,nothing,-0.5,0,0,1.0,1,0.3\n"
        "b,all 3,cte,nothing,1.0,1.0,1.0,1.0,3,0.0\n"
        "a,all 3,leep,labels,0.9,0.9,0.9,1.0,3,0.0\n",
        "cells": "c,all 4,cte,nothing,0.0,-,0.1,0.5,3,0.2\nd,all 2,cte,nothing,-,-,-,-,0,-\n",
    }
    for bank, rows in written.items():
        (tmp_path / bank).mkdir()
        (tmp_path / bank / "domains.csv").write_text(HEAD + rows, encoding="utf-8")
    return [str(tmp_path / bank) for bank in written]


def lines(folders, capsys, monkeypatch, *options):
    monkeypatch.syspath_prepend(ROOT / "tools")
    importlib.import_module("join_banks").main([*options, *folders])
    printed = capsys.readouterr().out.splitlines()
    return [[cell for cell in line.split("  ") if cell] for line in printed]


def test_means_over_all_targets(folders, capsys, monkeypatch):
    head, _, first, second = lines(folders, capsys, monkeypatch)
    assert [cell.strip() for cell in head][-2:] == ["tau nuclei", "tau cells"]
    assert [cell.strip() for cell in first] == [
        "leep", "labels", "1", "0.90 (-)", "0.90 (-)", "0.90 (-)", "0.00 (-)", "0.90 (-)", "-",
    ]  # fmt: skip
    assert [cell.strip() for cell in second] == [
        "cte", "nothing", "3", "0.50 (0.50)", "0.80 (0.28)", "0.60 (0.46)", "0.10 (0.10)",
        "0.75 (0.35)", "0.00 (-)",
    ]  # fmt: skip


def test_without_in_domain_models(folders, capsys, monkeypatch):
    rows = lines(folders, capsys, monkeypatch, "--out-of-domain")
    cte = next(row for row in rows if row[0].strip() == "cte")
    assert cte[3].strip() == "0.17 (0.76)"  # of -0.5, 1 and 0
