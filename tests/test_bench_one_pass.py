"""The benchmark of one pass: it runs what an evaluation runs."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("bench_one_pass")


def test_all_holds_what_cte_alone_does(bench):
    every = bench.every()
    assert len(every) > 30
    assert all(judge in every for judge in bench.alone())
    assert not any(judge.needs.source for judge in every)


@pytest.mark.slow
def test_the_table_and_the_json(bench, tmp_path, capsys):
    target = tmp_path / "bench.json"
    options = f"--models {ROOT / 'models/nuclei'} --count 2 --side 128 --repeats 1 --json {target}"
    bench.main(options.split())
    printed = capsys.readouterr().out
    found = json.loads(target.read_text())
    assert found["ratio"] == [found["all"][0] / found["cte"][0]]
    assert 0.3 < found["ratio"][0] < 10
    assert len(found["beyond"]) == len(bench.every())
    assert f"{found['ratio'][0]:.2f}" in printed
