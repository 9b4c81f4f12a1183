"""The benchmark of decoders: its contents are what they say, and every decoder is measured."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from onnx_cte.postprocessing import DECODERS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("bench_decoders")


def test_contents_hold_about_as_many_objects_as_they_say(bench):
    found = bench.predictions(256, [40], 30)
    assert {name for name, _ in found} == set(DECODERS)
    for (name, content), (decoder, prediction) in found.items():
        assert prediction.maps.dtype == np.float32
        assert prediction.maps.shape[1:] == (256, 256)
        said = int(content.split()[0])
        count = decoder.decode(prediction).max()
        if name == "foreground":
            assert count < 0.8 * said  # touching ones are one: the others have something to part
        else:
            assert 0.75 * said <= count <= 1.15 * said, name


def test_rays_and_flows_are_those_of_the_discs(bench):
    field = bench.nuclei(9, 120, np.random.default_rng(0))
    rays, flows = bench.rays_of(field), bench.flows_of(field)
    y, x = np.argwhere(field.labels == 5)[40]
    middle = field.middles[y, x]
    for k in range(bench.RAYS):
        turn = 2 * np.pi * k / bench.RAYS
        end = np.array([y, x]) + rays[k, y, x] * np.array([np.sin(turn), np.cos(turn)])
        assert np.hypot(*(end - middle)) == pytest.approx(field.radius, rel=1e-3)
    way = middle - [y, x]
    np.testing.assert_allclose(flows[:, y, x], 5 * way / np.hypot(*way), rtol=1e-5)
    assert not flows[:, field.labels == 0].any()


def test_the_table_and_the_json(bench, tmp_path, monkeypatch, capsys):
    target = tmp_path / "bench.json"
    options = "--side 128 --nuclei 6 12 --cells 8 --repeats 1 --threads 1"
    monkeypatch.setattr(sys, "argv", ["bench_decoders.py", *options.split(), "--json", str(target)])
    bench.main()
    lines = json.loads(target.read_text())["lines"]
    assert {line["decoder"] for line in lines} == set(DECODERS)
    assert len(lines) == 2 * (len(DECODERS) - 1) + 1
    for line in lines:
        assert line["ratio"] == pytest.approx(
            2 * line["milliseconds"] / line["forward_milliseconds"]
        )
    monkeypatch.setattr(sys, "argv", ["bench_decoders.py", *options.split(), "--decoders", "flows"])
    shown = capsys.readouterr().out
    assert "two / forward pass" in shown
    assert "watershed" in shown
    bench.main()
    assert "watershed" not in capsys.readouterr().out
