"""The benchmark of coverage: it counts what was right, on banks of which one knows it."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.bootstrap import Judgement

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("bench_coverage")


class Mean:
    """Mean of the values."""

    name = title = "mean"
    greater_is_better = True

    def score(self, bank):
        return dict(zip(bank, bank.column("value").mean(axis=1).tolist(), strict=True))


def bank(**values):
    return Bank({model: [{"value": float(v)} for v in row] for model, row in values.items()})


def test_models_far_apart_are_always_right(bench):
    noise = np.random.default_rng(0).normal(size=10)
    found = bench.coverage(
        bank(a=noise + 9, b=noise, c=[-9] * 10), Mean(), list("0123456789"), resamplings=20
    )
    assert found.images == 10
    assert found.rank == {"a": 1, "b": 1, "c": 1}
    assert math.isnan(found.opened)
    assert (found.opened_share, found.apart, found.right, found.wrong) == (0, 1, 1, 0)
    # The interval of c is its one value, which holds itself.
    assert found.score["c"] == 1
    assert found.score["a"] == found.score["b"] > 0.5


def test_equal_models_told_apart_are_wrong(bench, monkeypatch):
    # Told apart whatever the draws say: of three pairs the one of equals is wrong.
    class Sure(Judgement):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.undecided = ()
            self.rank_intervals = {m: (r, r) for r, m in enumerate(self.order, 1)}
            self.intervals = dict.fromkeys(self.order, (math.nan, math.nan))

    monkeypatch.setattr(bench, "Judgement", Sure)
    found = bench.coverage(
        bank(a=[3] * 6, b=[3] * 6, c=[1] * 6), Mean(), list("012345"), resamplings=4
    )
    # Equals share the ranks 1 and 2, of which a single one is not enough.
    assert found.rank == {"a": 0, "b": 0, "c": 1}
    assert found.score == {"a": 0, "b": 0, "c": 0}
    assert (found.apart, found.right, found.wrong) == pytest.approx((1, 2 / 3, 1 / 3))


def test_equal_models_left_open_are_right(bench):
    values = np.random.default_rng(0).normal(size=8)
    found = bench.coverage(bank(a=values, b=values), Mean(), list("01234567"), resamplings=10)
    assert found.rank == {"a": 1, "b": 1}
    assert (found.opened, found.opened_share, found.apart) == (1, 1, 0)
    assert math.isnan(found.right)


def test_a_sample_has_as_many_files_and_all_their_images(bench, monkeypatch):
    seen = []

    class Noted(Judgement):
        def __init__(self, bank, estimator, groups, seed, draws=None):
            seen.append((bank.column("value")[0].tolist(), list(groups)))
            super().__init__(bank, estimator, groups, seed, draws)

    monkeypatch.setattr(bench, "Judgement", Noted)
    files = [f"stack{i // 2}" for i in range(10)]
    found = bench.coverage(bank(a=range(10)), Mean(), files, resamplings=5, draws=3)
    assert found.images == 5
    for values, groups in seen[1:]:
        assert groups == [str(i // 2) for i in range(10)]
        # Both images of one file, one after the other.
        assert all(v % 2 == i % 2 for i, v in enumerate(values))
        assert all(values[i + 1] == values[i] + 1 for i in range(0, 10, 2))


def test_ranks_are_shared_by_equals_and_undefined_ones_are_last(bench):
    judged = Judgement(bank(a=[1], b=[2], c=[1], n=[np.nan]), Mean(), ["0"], 0, draws=0)
    shared = {"a": (2, 3), "b": (1, 1), "c": (2, 3), "n": (4, 4)}
    assert bench.ranks(judged, greater_is_better=True) == shared
    fewer = {"a": (1, 2), "b": (3, 3), "c": (1, 2), "n": (4, 4)}
    assert bench.ranks(judged, greater_is_better=False) == fewer


def test_part_is_spread_over_the_files(bench):
    groups = ["b", "a", "a", "d", "c"]
    assert bench.part(groups, 2) == [1, 2, 4]
    assert bench.part(groups, None) == bench.part(groups, 9) == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_the_table_and_the_json(bench, tmp_path, capsys):
    from PIL import Image

    import onnx_cte as oc

    for name, image, _ in oc.simulate_images(6, 0, shape=(64, 64)):
        Image.fromarray(image).save(tmp_path / f"{Path(name).stem}.png")
    (tmp_path / "only.txt").write_text(
        "\n".join(sorted(path.name for path in tmp_path.glob("*.png"))) + "\n"
    )
    options = f"{ROOT / 'models/nuclei'} {tmp_path} --only {tmp_path / 'only.txt'} --count 5 6"
    options += " --estimator cte confidence --resamplings 3 --draws 20 --device cpu"
    options += f" --evidence {tmp_path / 'evidence.sqlite'} --out {tmp_path / 'out.json'}"
    bench.main(options.split())
    printed = capsys.readouterr().out
    rows = json.loads((tmp_path / "out.json").read_text())["coverage"]
    assert [(row["estimator"].split()[0], row["images"]) for row in rows] == [
        ("cte", 5), ("confidence", 5), ("cte", 6), ("confidence", 6),
    ]  # fmt: skip
    assert all(len(row["rank"]) == 6 for row in rows)
    assert len(printed.splitlines()) == 3 + len(rows)
    assert printed.startswith("3 samples, 20 draws each, 6 models, in %\nestimator")
