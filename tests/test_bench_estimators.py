"""The benchmark of estimators: what it claims to measure is what it measures."""

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
    pytest.importorskip("ot")
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("bench_estimators")


def test_features_know_of_the_labels(bench):
    layers = ("one", "two", "three")
    seen = bench.observed("a", 512, 3, layers, 0)
    assert 0.1 < seen.truth.mean() < 0.6
    for layer, stride in zip(layers, bench.STRIDES, strict=True):
        features = seen.features[layer]
        assert features.pieces[0].values.shape == (3, 512 // stride, 512 // stride)
        places = np.argwhere(seen.truth)[::99], np.argwhere(seen.truth == 0)[::99]
        inside, outside = (features.at(where).mean() for where in places)
        assert inside > outside + 0.1
    again = bench.observed("a", 512, 3, layers, 0)
    np.testing.assert_array_equal(again.truth, seen.truth)
    assert (bench.observed("b", 512, 3, layers, 1).truth != seen.truth).any()


def test_the_table_and_the_json(bench, tmp_path, monkeypatch, capsys):
    target = tmp_path / "bench.json"
    options = "--images 3 --channels 8 --side 64 --pixels 60 --repeats 2 --pool 2 --sinkhorn"
    monkeypatch.setattr(bench, "DRAWS", 3)
    monkeypatch.setattr(
        sys, "argv", ["bench_estimators.py", *options.split(), "--out", str(target)]
    )
    bench.main()
    document = json.loads(target.read_text())
    assert document["machine"]["POT"]
    assert document["settings"]["images"] == "3"
    lines = document["lines"]
    assert [line["estimator"] for line in lines] == ["ccfv", "otce exact", "otce sinkhorn"]
    for line in lines:
        assert min(line["measure"], line["score"], line["draw"]) > 0
        assert 100 < line["evidence"] <= 2**20
        assert np.isfinite(line["value"])
    assert lines[1]["value"] == pytest.approx(lines[2]["value"], abs=0.3)
    assert "60 pixels, 2 repeats" in capsys.readouterr().out


def test_without_pot_the_rest_is_timed(bench, monkeypatch, capsys):
    monkeypatch.setattr(bench.OTCE, "unavailable", lambda self: "no POT here")
    options = "--images 2 --channels 4 --side 32"
    monkeypatch.setattr(sys, "argv", ["bench_estimators.py", *options.split()])
    bench.main()
    out = capsys.readouterr().out
    assert "otce left out: no POT here" in out
    assert "2 images, 3 x 4" in out
