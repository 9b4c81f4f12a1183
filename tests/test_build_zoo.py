"""The banks of the benchmark: what the table plans, that a build goes on, and every regime once."""

import gc
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage import io

from onnx_cte.images import Images
from onnx_cte.needs import Needs
from onnx_cte.segmenters import open_models

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "tools"


@pytest.fixture
def tool(monkeypatch):
    """Imports a module of the tools, anew."""
    monkeypatch.syspath_prepend(str(TOOLS))
    yield importlib.import_module
    for name in [
        n for n, m in sys.modules.items() if str(TOOLS) in str(getattr(m, "__file__", ""))
    ]:
        del sys.modules[name]


@pytest.fixture
def zoo(tool):
    return tool("build_zoo")


def test_the_table_plans_what_the_benchmark_is_made_of(zoo):
    table = zoo.read_banks()
    planned = {bank: zoo.plan(table, bank) for bank in table["banks"]}
    counts = {bank: len(models) for bank, models in planned.items()}
    least = {"nuclei": 24, "nuclei_objects": 8, "mitochondria": 8, "cells": 8, "blood": 4}
    assert all(counts[bank] >= least[bank] for bank in least)
    for models in planned.values():
        assert len({model.name for model in models}) == len(models)
        for model in models:
            assert bool(model.words) != bool(model.shipped)
            if model.shipped:
                assert (ROOT / "models" / model.shipped / "bioimageio.yaml").is_file()
    nuclei = {}
    for model in planned["nuclei"]:
        nuclei.setdefault(model.domain, set()).add(model.name)
    assert set(nuclei) == set(table["banks"]["nuclei"]["targets"])
    assert all(len(models) >= 3 for models in nuclei.values())


def test_every_task_has_a_bank_and_targets(tool, zoo):
    tasks = tool("bank_runs").tasks_of(zoo.read_banks())
    assert {"nuclei", "mitochondria", "cells", "blood", "nuclei_objects", "cell_objects"} == set(
        tasks
    )
    for task in tasks.values():
        assert task.bank in zoo.read_banks()["banks"]
        assert task.targets
    assert [name for name, task in tasks.items() if task.objects] == [
        "nuclei_objects",
        "cell_objects",
    ]


def test_options_become_words_and_the_more_special_ones_hold(zoo):
    table = {
        "regimes": {"std": {"steps": 3}, "odd": {"steps": 5, "features": [4, 8], "dropout": 0.0}},
        "banks": {
            "b": {
                "options": {"objects": True, "steps": 4},
                "models": {"one": ["std", "odd"]},
                "domains": {"one": {"boundary": "labels"}},
                "also": {"one.all": ["two", "one"]},
            }
        },
    }
    std, odd, both = sorted(zoo.plan(table, "b"), key=lambda model: model.name[::-1])[::-1]
    by_name = {model.name: model for model in (std, odd, both)}
    assert by_name["one_std"].words == ("--steps", "4", "--objects", "--boundary", "labels")
    assert by_name["one_odd"].words[:6] == ("--steps", "4", "--features", "4", "8", "--dropout")
    assert by_name["all"].also == ("two", "one=labels")
    with pytest.raises(SystemExit, match="no bank 'c'; there are: b"):
        zoo.plan(table, "c")
    table["banks"]["b"]["models"]["one"] = ["stdd"]
    with pytest.raises(SystemExit, match="no regime 'stdd'; there are: std, odd"):
        zoo.plan(table, "b")


@pytest.fixture
def built(zoo, tmp_path, monkeypatch):
    """Builds a model with tools that only write what they would; gives what was called."""
    (tmp_path / "data" / "one").mkdir(parents=True)
    (tmp_path / "data" / "one" / "split.csv").write_text("stem,group,split\n")
    called = []

    def run(name, words, log):
        called.append(name)
        target = Path(words[1])
        target.mkdir(parents=True, exist_ok=True)
        (target / "metrics.json").write_text(json.dumps({"mean": 0.5}))
        (target / "bioimageio.yaml").write_text("")

    monkeypatch.setattr(zoo, "_run", run)

    def build(words=("--steps", "3")):
        planned = zoo.Planned("b", "one_std", "one", words)
        return zoo.build(planned, tmp_path / "data", tmp_path / "out", "cpu")

    return build, called


def test_what_is_there_is_not_built_again(built, tmp_path):
    build, called = built
    assert build().startswith("F1 0.500 at home")
    assert called == ["train_unet.py", "export_torch.py"]
    assert build() == "there"
    assert len(called) == 2
    assert build(("--steps", "4")).startswith("F1")
    (tmp_path / "data" / "one" / "split.csv").write_text("stem,group,split\na,b,train\n")
    assert build(("--steps", "4")).startswith("F1")
    assert len(called) == 6


def test_an_export_that_failed_is_made_again(built, zoo, tmp_path, monkeypatch):
    build, _ = built
    build()
    run = zoo._run

    def broken(name, words, log):
        if name == "export_torch.py":
            raise SystemExit("disk full")
        run(name, words, log)

    monkeypatch.setattr(zoo, "_run", broken)
    with pytest.raises(SystemExit, match="disk full"):
        build(("--steps", "9"))
    monkeypatch.setattr(zoo, "_run", run)
    assert build(("--steps", "9")).startswith("F1")


def test_one_that_fails_does_not_end_the_build(zoo, tmp_path, monkeypatch, capsys):
    planned = [zoo.Planned("b", name, name, ("--steps", "1")) for name in ("bad", "good")]

    def build(model, *_):
        if model.name == "bad":
            raise SystemExit("no split.csv")
        return "F1 1.000 at home"

    monkeypatch.setattr(zoo, "build", build)
    assert zoo.build_all(planned, tmp_path, tmp_path, jobs=2, device="cpu") == ["b/bad"]
    told = capsys.readouterr().err
    assert "b/bad: FAILED: no split.csv" in told
    assert "b/good: F1 1.000 at home" in told


def make_domain(folder: Path, colours: int) -> None:
    """Images of a square in a square, three classes, as a domain folder."""
    rng = np.random.default_rng(0)
    rows = ["stem,group,split"]
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(4):
        labels = np.zeros((64, 72), np.uint8)
        labels[8 + number : 48, 10:50] = 1
        labels[20:36, 20:40] = 2
        shape = labels.shape if colours == 1 else (*labels.shape, colours)
        grey = 80 * labels if colours == 1 else (80 * labels)[..., None]
        image = (grey + rng.integers(0, 40, shape)).astype(np.uint8)
        io.imsave(folder / "images" / f"{number}.png", image, check_contrast=False)
        io.imsave(folder / "labels" / f"{number}.png", labels, check_contrast=False)
        rows.append(f"{number},g{number},{'test' if number > 2 else 'train'}")
    (folder / "split.csv").write_text("\n".join(rows) + "\n")


SMALL = ("--steps", "2", "--crop", "32", "--batch", "2")
CLASSES = ("--classes", "cytoplasm", "nucleus")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("domain", "colours", "words", "channels"),
    [
        ("nuc_dsb_fibro", 1, ("--residual", "--upsample", "bilinear", "--normalize", "zscore"), 1),
        ("nuc_dsb_small", 1, ("--features", "4", "8", "8", "--upsample", "transposed"), 1),
        ("nuc_cfos_inns1", 1, ("--augment", "geometric", "--normalize", "minmax"), 1),
        ("wbc_1", 3, CLASSES, 3),
    ],
)
def test_every_kind_of_network_is_built_and_gives_what_it_was_trained_to(
    zoo, tmp_path, domain, colours, words, channels
):
    pytest.importorskip("torch")
    make_domain(tmp_path / "data" / domain, colours)
    features = () if "--features" in words else ("--features", "4", "8")
    planned = zoo.Planned("b", "tiny", domain, (*SMALL, *features, *words))
    told = zoo.build(planned, tmp_path / "data", tmp_path / "out", "cpu")
    assert told.startswith("F1 ")
    gc.collect()
    metrics = json.loads((tmp_path / "out/checkpoints/b/tiny/metrics.json").read_text())
    assert set(metrics.get("classes", {})) == set(CLASSES[1:] if channels == 3 else ())
    (model,) = open_models(tmp_path / "out" / "b")
    segmenter = model.open("cpu", 1)
    (image,) = Images(tmp_path / "data" / domain / "images", only=["3.png"])
    # As training judged it, before it was exported: normalisation and all are in the description.
    seen = segmenter.observe(image.load(), Needs(), 0).reference
    segmenter.close()
    assert seen.maps.shape[0] == channels
    assert seen.exclusive == (channels == 3)
    truth = io.imread(tmp_path / "data" / domain / "labels" / "3.png") > 0
    found = seen.classes != 0
    total = found.sum() + truth.sum()
    assert 2 * (found & truth).sum() / total == pytest.approx(metrics["images"]["3"], abs=1e-3)


@pytest.mark.slow
def test_classes_are_checked(tool, tmp_path):
    pytest.importorskip("torch")
    make_domain(tmp_path / "wbc_1", 3)
    train = tool("train_unet")
    with pytest.raises(SystemExit, match="found class 2, expected 0 to 1"):
        train.main([str(tmp_path / "wbc_1"), str(tmp_path / "out"), *SMALL, "--classes", "cell"])
    with pytest.raises(SystemExit, match="without --objects"):
        train.main([str(tmp_path / "wbc_1"), str(tmp_path / "out"), *CLASSES, "--objects"])


@pytest.mark.slow
def test_loss_of_classes_by_hand(tool):
    torch = pytest.importorskip("torch")
    train = tool("train_unet")
    targets = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    # Both classes as likely: cross-entropy ln 2; of each class Dice (2 * 0.5 + 1) / (1 + 1 + 1).
    loss = train.ce_dice(torch.zeros(1, 2, 1, 2), targets)
    assert loss.item() == pytest.approx(np.log(2) + 1 / 3)


def test_normalisations_by_hand(tool):
    normalising = tool("normalising")
    image = np.arange(1001, dtype=np.uint16)
    assert normalising.normalised(image, "minmax")[[0, 500, 1000]] == pytest.approx([0, 0.5, 1])
    found = normalising.normalised(image, "zscore")
    assert (found.mean(), found.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1))
    with pytest.raises(ValueError, match="expected one of percentile, minmax, zscore"):
        normalising.normalised(image, "none")
