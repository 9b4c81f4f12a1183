"""The benchmark of metrics: what it claims to measure is what it measures."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("bench_metrics")


@pytest.mark.parametrize(
    ("shape", "objects"), [((128, 128), 10), ((256, 200), 300), ((12, 60, 64), 50)]
)
def test_objects_are_objects(bench, shape, objects):
    reference, other = bench.simulated(shape, objects)
    assert reference.dtype == other.dtype == np.int32
    assert len(np.unique(reference)) - 1 == objects
    assert 0.8 * objects <= len(np.unique(other)) - 1 <= objects
    # Each is one round piece, and most are still there, a little changed.
    pieces = [ndimage.label(reference == label)[1] for label in np.unique(reference)[1:]]
    assert pieces == [1] * objects
    alike = np.count_nonzero((reference > 0) & (other > 0)) / np.count_nonzero(reference)
    assert 0.7 < alike < 1
    again = bench.simulated(shape, objects)
    assert all((one == two).all() for one, two in zip(again, (reference, other), strict=True))


def test_others_compute_the_same(bench):
    images = bench.simulated((150, 140), 60)
    for what, group in bench.ways(*images, 1000).items():
        values = [run() for run in group.values()]
        assert values == pytest.approx([values[0]] * len(values), rel=1e-12), what
        assert values[0] > 0


def test_a_way_that_differs_ends_the_run(bench, monkeypatch):
    monkeypatch.setattr(bench, "plain_map", lambda prediction, truth: 0.5)
    with pytest.raises(SystemExit, match=r"mAP > of .*NumPy 0.5, ours"):
        bench.measured((64, 64), 10, 1, 0)


def test_memory_is_what_a_call_holds(bench):
    assert bench.peak(lambda: np.zeros(1_000_000, np.int32).sum()) == pytest.approx(4e6, rel=0.05)


def test_the_table_and_the_json(bench, tmp_path, monkeypatch, capsys):
    target = tmp_path / "bench.json"
    options = "--sides 64 96 --volumes 6x40x40 --objects 5 500 5000 --repeats 1"
    monkeypatch.setattr(sys, "argv", ["bench_metrics.py", *options.split(), "--out", str(target)])
    bench.main()
    document = json.loads(target.read_text())
    assert document["machine"]["scikit-image"]
    lines = document["lines"]
    # 500 objects have too little room in 64 x 64, and 5000 have it nowhere.
    assert {(tuple(line["shape"]), line["objects"]) for line in lines} == {
        ((64, 64), 5), ((96, 96), 5), ((96, 96), 500), ((6, 40, 40), 5), ((6, 40, 40), 500),
    }  # fmt: skip
    for line in lines:
        assert line["milliseconds"] > 0
        assert line["memory"] > 0
        assert line["way"] != "ours" or line["ratio"] == 1
    assert {line["what"] for line in lines} == {
        "V^Rand", "V^Rand, plain", "table", "mAP >", "mAP >=",
    }  # fmt: skip
    assert "x ours" in capsys.readouterr().out
