"""The benchmark of engines: what it claims to measure is what it measures."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("bench_engine")


def test_every_way_gives_the_same_predictions(bench, tmp_path):
    path = bench.classic_unet(tmp_path / "net.onnx", (4, 8, 16, 32))
    onnx.checker.check_model(path)
    found = bench.Contenders(path, "cpu", 1)
    assert [found.engines[mode].mode for mode in ("masked", "expanded", "shared")] == [
        "masked", "expanded", "shared",
    ]  # fmt: skip
    images = np.random.default_rng(0).random((2, 1, 64, 64), np.float32)
    masks = (np.random.default_rng(1).random((3, 32, 1, 1)) > 0.5).astype(np.float32)
    results = {name: way(images) for name, way in found.ways(masks).items()}
    plain = results.pop("plain")
    for way in results.values():
        assert [len(rows) for rows in way] == [4, 4]
        for rows, untouched, due in zip(way, plain, results["masked"], strict=True):
            np.testing.assert_allclose(rows[0], untouched[0], atol=1e-5)
            for row, other in zip(rows, due, strict=True):
                np.testing.assert_allclose(row, other, atol=1e-5)
    # Of 64 x 64 pixels in single precision: in once and out four times, with four rows of masks.
    assert found.copied("shared", images[:1], masks) == 4 * (64 * 64 * 5 + 4 * 32)


def test_the_table_and_the_json(bench, tmp_path, monkeypatch, capsys):
    target = tmp_path / "bench.json"
    options = "--side 64 --features 4 8 --masks 1 2 --batch 1 2 --repeats 1 --threads 1"
    monkeypatch.setattr(sys, "argv", ["bench_engine.py", *options.split(), "--json", str(target)])
    bench.main()
    document = json.loads(target.read_text())
    assert document["machine"]["onnxruntime"]
    lines = document["lines"]
    ways = {"plain", "two models", "masked", "expanded", "shared"}
    assert {line["way"] for line in lines} == ways
    assert len(lines) == 2 * 2 * 2 * 2 * len(ways)
    for line in lines:
        assert line["ratio"] > 0
        assert line["difference"] < (1e-5 if line["precision"] == "fp32" else 1e-2)
    assert "x plain" in capsys.readouterr().out
