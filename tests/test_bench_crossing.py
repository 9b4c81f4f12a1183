"""The benchmark of estimators that cross models: its masks, its steps, its table."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("bench_crossing")


def test_models_are_better_one_after_the_other_and_err_together(bench):
    rng = np.random.default_rng(0)
    fields = bench.noise(128, 1.0, rng)
    truth, masks = bench.masks_of(20, 128, 25, fields, rng)
    assert 0.2 < truth.mean() < 0.6
    dice = [2 * (truth & m).sum() / (truth.sum() + m.sum()) for m in masks]
    assert np.corrcoef(dice, range(20))[0, 1] > 0.9
    assert 0.6 < dice[0] < dice[-1] < 1
    wrong = np.array([(m != truth).ravel() for m in masks[:10]], float)
    assert np.corrcoef(wrong)[np.triu_indices(10, 1)].mean() > 0.1


def test_the_bank_is_the_same_again_and_holds_all(bench):
    bank, dice, line = bench.simulated(4, 3, 64, 9)
    again, dice_again, _ = bench.simulated(4, 3, 64, 9)
    assert len(bank) == 4
    assert bank.images == 3
    assert dice == dice_again
    for model, row in bank.items():
        for one, other in zip(row, again[model], strict=True):
            assert one["mask"].tolist() == other["mask"].tolist()
    assert line["seconds"] > 0


def test_the_table_and_the_json(bench, tmp_path, monkeypatch, capsys):
    target = tmp_path / "bench.json"
    options = "--models 8 --images 6 --side 96 --objects 16 --draws 20 --fit"
    monkeypatch.setattr(sys, "argv", ["bench_crossing.py", *options.split(), "--out", str(target)])
    bench.main()
    lines = json.loads(target.read_text())["lines"]
    steps = ["pack 48 masks", *["score"] * 5, *["bootstrap"] * 5, "all but packing"]
    assert all(line["step"].startswith(step) for line, step in zip(lines, steps, strict=True))
    assert all(line["memory"] > 10 for line in lines)
    assert lines[-1]["seconds"] == pytest.approx(sum(line["seconds"] for line in lines[1:-1]))
    # Simulated models differ enough for each estimator to find their order.
    assert all(line["tau"] > 0.7 for line in lines[1:-1])
    assert "CPU s" in capsys.readouterr().out
