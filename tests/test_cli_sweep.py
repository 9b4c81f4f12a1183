"""``--perturb auto``, from the command to the files."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from networks import blur
from PIL import Image as Picture
from test_runner import write_images

import onnx_cte as oc
from onnx_cte.cli import main
from onnx_cte.documents import ranking_from_json
from onnx_cte.estimators import CTE, Credibility
from onnx_cte.perturbations import GaussianNoise, parse_perturbation
from onnx_cte.report import read_ranking
from onnx_cte.sweep import CANDIDATES


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Networks without a bottleneck, and candidates that disturb their input."""
    monkeypatch.chdir(tmp_path)
    blur(tmp_path / "models" / "steady.onnx", gain=20)
    blur(tmp_path / "models" / "sharp.onnx", gain=60, width=3)
    blur(tmp_path / "models" / "jumpy.onnx", gain=60, width=1)
    write_images(tmp_path)
    for function in (oc.sweep, oc.sweep_each):
        candidates = (GaussianNoise(1e-9), GaussianNoise(0.1), GaussianNoise(9.0))
        monkeypatch.setitem(function.__kwdefaults__, "candidates", candidates)
    return tmp_path


AUTO = ("rank", "models", "images", "--perturb", "auto", "--jobs", 1)


@pytest.mark.parametrize(
    ("stated", "estimator"),
    [((), Credibility((GaussianNoise(0.1),))), (("--estimator", "cte"), CTE())],
    ids=["default", "cte"],
)
def test_the_sweep_is_told_before_the_ranking_by_what_it_chose(place, stated, estimator):
    result = call(*AUTO, *stated)
    assert result.exit_code == 0, result.output
    told, ranked = result.stdout.split("\n\n", 1)
    assert told.startswith("sweep of 3 perturbations on 6 images, cte nhd\n")
    assert re.search(r"^->  noise=0\.1 .* yes$", told, re.M)
    assert (
        "\nchosen without labels: among the 1 tolerable (median NHD in 0.5 .. 0.95) noise=0.1 parts"
        in told
    )
    assert ranked.startswith("rank  model")
    kept = read_ranking("onnx-cte-results")
    assert kept.estimator == repr(estimator)
    again = oc.sweep(oc.open_models("models"), oc.Images("images"), jobs=1)
    assert kept.provenance["sweep"] == again.to_json()
    assert told == str(again)
    # All but what it was chosen by is as if it had been given.
    given = ("--perturb", "noise=0.1", "--jobs", 1, "--out", "given")
    call("rank", "models", "images", *given, *stated)
    by_hand = read_ranking("given")
    assert "sweep" not in by_hand.provenance
    assert (by_hand.scores, by_hand.separation) == (kept.scores, kept.separation)


def test_as_json_the_sweep_stands_in_the_ranking(place):
    result = call(*AUTO, "--json", "--draws", 3, "--metric", "ei")
    document = json.loads(result.stdout)
    chosen = Credibility((GaussianNoise(0.1),), "ei", 3)
    assert document["provenance"]["sweep"]["chosen"] == "noise=0.1"
    assert document["provenance"]["sweep"]["metric"] == "ei"
    assert document["estimator"] == repr(chosen)
    assert document["separation"]["draws"] == 3
    assert document["separation"]["contrast"] > 0


@pytest.fixture
def refusing(place, monkeypatch):
    """One model refuses what is named here, as a network without a bottleneck refuses dropout."""
    names = set()

    def refuses(self, needs):
        refused = names.intersection(p.name for p in needs.perturbations)
        return "no way in" if self.name == "sharp" and refused else ""

    monkeypatch.setattr("onnx_cte.segmenters.onnx_model.OnnxSegmenter.refuses", refuses)
    return names


def test_a_second_ranking_stands_beside_what_was_chosen(refusing):
    refusing |= {"noise=1e-09", "noise=0.1", "noise=9.0"}
    result = call(*AUTO, "--without-bottleneck", "gamma=1.5")
    assert result.exit_code == 3
    told, ranked = result.stdout.split("\n\n", 1)
    assert "1 of 1" in told
    assert "left out" not in told
    assert "failed, not ranked\n  sharp: no way in" in ranked
    assert "All models by credibility gamma=1.5; do not compare" in ranked
    assert set(read_ranking("onnx-cte-results").values) == {"steady", "jumpy"}
    second = read_ranking("onnx-cte-results/without-bottleneck")
    assert len(second) == 3
    assert "sweep" not in second.provenance


def test_what_one_model_refuses_is_not_chosen(refusing):
    refusing |= {"noise=0.1"}
    result = call(*AUTO)
    assert result.exit_code == 0
    assert result.stdout.startswith("sweep of 2 perturbations on 6 images")
    assert "left out: noise=0.1 (sharp: no way in)" in result.stdout
    assert len(read_ranking("onnx-cte-results")) == 3


def test_evaluate_sets_the_choice_for_each_metric_beside_others(place):
    result = call(
        *("evaluate", "models", "images", "labels", "--perturb", "gamma=1.5", "--jobs", 1),
        *("--perturb", "auto", "--out", "e"),
    )
    assert result.exit_code == 0, result.output
    nhd, ei, rest = result.stdout.split("\n\n", 2)
    assert nhd.startswith("sweep of 3 perturbations on 6 images, cte nhd\n")
    assert ei.startswith("sweep of 3 perturbations on 6 images, cte ei\n")
    assert rest.startswith("performance against labels (f1)")
    document = json.loads(Path("e/evaluation.json").read_text())
    rankings = [ranking_from_json(found) for found in document["rankings"]]
    assert [ranking.title for ranking in rankings] == [
        "credibility",
        "cte nhd gamma=1.5",
        "cte ei gamma=1.5",
        "cte nhd noise=0.1",
        "cte ei noise=0.1",
        "confidence",
        "entropy",
    ]
    swept = [ranking.provenance.get("sweep", {}).get("metric") for ranking in rankings]
    # A sweep is of cte here: credibility stands beside as it is.
    assert swept == [None, None, None, "nhd", "ei", None, None]
    assert "sweep" not in document["performance"]["provenance"]
    as_json = call(
        *("evaluate", "models", "images", "labels", "--perturb", "auto", "--metric", "nhd"),
        *("--out", "e", "--json", "--draws", 1, "--jobs", 1, "--estimator", "cte"),
    )
    document = json.loads(as_json.stdout)
    assert document["rankings"][0]["estimator"] == repr(CTE(draws=1))
    assert document["rankings"][0]["provenance"]["sweep"]["chosen"] == "noise=0.1"


OF_BOTH = "of the estimators credibility and cte, and --estimator confidence"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            [*AUTO, "--perturb", "noise=0.1"],
            r"auto chooses one perturbation, .* \(auto, noise=0\.1 were given\); leave it alone",
        ),
        ([*AUTO, "--perturb", "auto"], r"auto, auto were given"),
        ([*AUTO, "--estimator", "confidence"], OF_BOTH),
        ([*AUTO, "--metric", "nhdd"], "unknown consistency metric 'nhdd'"),
        ([*AUTO, "--draws", 0], "draws is an integer of at least 1, not 0"),
        ([*AUTO, "--limit", 4], "from 4 files, and fewer than 5 cannot tell models apart"),
        (
            ["rank", "models", "images", "--without-bottleneck", "auto"],
            "'auto' is no perturbation but the choice of one",
        ),
        (
            ["evaluate", "models", "images", "labels", "--perturb", "auto", "--metric", "nhdd"],
            "unknown consistency metric 'nhdd'",
        ),
        (
            [*("evaluate", "models", "images", "labels", "--perturb", "auto"), "--perturb", "nose"],
            "unknown perturbation 'nose'",
        ),
    ],
    ids=str,
)
def test_what_auto_cannot_do(place, arguments, complaint):
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert re.search(complaint, result.stderr)
    assert result.stdout == ""
    *understood, line = result.stderr.splitlines()
    assert line.startswith("onnx-cte: ")
    assert all(text.startswith("images: ") for text in understood)


def test_networks_without_a_bottleneck(place, monkeypatch):
    monkeypatch.undo()
    result = call("rank", place / "models", place / "images", *AUTO[3:], "--out", place / "out")
    assert result.exit_code == 1
    assert "none of 3 models can be used; jumpy, sharp, steady: no bottleneck" in result.stderr
    assert result.stderr.count("jumpy") == 1
    assert "--perturb noise=0.1" in result.stderr


def test_it_is_listed_and_in_the_help():
    listed = call("list", "perturbations").stdout
    assert re.search(r"^auto +auto +Dropout at the rate and tap that suit", listed, re.M)
    for command in ("rank", "evaluate"):
        assert "auto" in call(command, "--help").stdout


@pytest.mark.slow
def test_the_bundled_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in ("images", "labels"):
        Path(kind).mkdir()
    for name, image, labels in oc.simulate_images(6, 0, shape=(96, 96)):
        Picture.fromarray(image).save(f"images/{name}.png")
        Picture.fromarray(labels.astype(np.uint16)).save(f"labels/{name}.png")
    models = oc.bundled_models()
    arguments = ("rank", models, "images", "--perturb", "auto", "--jobs", 1, "--out", "out")
    result = call(*arguments, "--estimator", "cte")
    assert result.exit_code == 0, result.output
    found = read_ranking("out")
    kept = found.provenance["sweep"]
    assert [row["perturbation"] for row in kept["rows"]] == [p.name for p in CANDIDATES]
    assert kept["left_out"] == []
    assert found.title == f"cte nhd {kept['chosen']}"
    (row,) = (row for row in kept["rows"] if row["perturbation"] == kept["chosen"])
    assert row["tolerable"] or not any(row["tolerable"] for row in kept["rows"])
    # The sample was all there is, so that the sweep has measured the ranking already; run by
    # themselves, the same masks give the same scores but for rounding.
    assert row["contrast"] == pytest.approx(found.separation.contrast)
    taken = parse_perturbation(kept["chosen"])
    alone = oc.rank(oc.open_models(models), oc.Images("images"), CTE("nhd", taken), jobs=1)
    assert dict(alone.values) == pytest.approx(dict(found.values), abs=2e-3)
    # Neither sees labels: the choice in an evaluation is the same.
    result = call(
        *("evaluate", models, "images", "labels", "--perturb", "auto", "--metric", "nhd"),
        *("--jobs", 1, "--out", "e", "--estimator", "cte"),
    )
    assert result.exit_code == 0, result.output
    document = json.loads(Path("e/evaluation.json").read_text())
    assert document["rankings"][0]["provenance"]["sweep"] == kept
    # Nor does credibility change what is chosen: that is by consistency alone.
    assert call(*arguments).exit_code == 0
    found = read_ranking("out")
    assert found.title == f"credibility {kept['chosen']}"
    assert found.provenance["sweep"] == kept
