"""Dry runs: what would run, tried on one image, and nothing written."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from networks import blur
from test_runner import discs, write_images

from onnx_cte.cli import main
from onnx_cte.errors import DeviceError, NothingToRank, OptionError
from onnx_cte.estimators import CTE, Accuracy, estimator_named
from onnx_cte.images import Images
from onnx_cte.needs import Needs
from onnx_cte.perturbations import Dropout
from onnx_cte.planning import SLOW, plan
from onnx_cte.segmenters import BlackBox, OnnxModel


def arrays(count=5):
    return Images.from_arrays([discs(n)[0] for n in range(count)])


def sleeping(seconds):
    """A model that takes longest for its first prediction, as networks do."""
    taken = iter([3 * seconds, *[seconds] * 100])

    def predict(tensor):
        time.sleep(next(taken))
        return tensor.clip(0, 1)

    return BlackBox("sleeping", predict)


def test_the_second_run_is_what_further_images_take():
    found = plan([sleeping(0.05)], arrays(), needs=Needs())
    (trial,) = found.trials
    assert 0.15 <= trial.first < 0.3
    assert 0.05 <= trial.further < 0.15
    assert trial.images == 5
    assert found.seconds == pytest.approx(trial.opening + trial.first + 4 * trial.further)
    assert (found.images, found.files, found.tried, found.size) == (5, 5, "image_2", (48, 56))


def test_a_slow_model_is_run_once(monkeypatch):
    monkeypatch.setattr("onnx_cte.planning.SLOW", 0.05)
    (trial,) = plan([sleeping(0.05)], arrays()).trials
    assert trial.further == trial.first
    assert SLOW > 1


def test_what_estimators_take_is_part_of_it():
    class Dawdling(CTE):
        def measure(self, seen):
            time.sleep(0.1)
            return super().measure(seen)

    (fast,) = plan([sleeping(0)], arrays(), [CTE()]).trials
    (slow,) = plan([sleeping(0)], arrays(), [Dawdling()]).trials
    assert slow.further - fast.further > 0.08


def test_what_fails_and_what_is_refused(tmp_path):
    def broken(tensor):
        raise RuntimeError("no such layer")

    text = tmp_path / "text.onnx"
    text.write_text("no network")
    models = [
        OnnxModel("text", text),
        OnnxModel("good", blur(tmp_path / "good.onnx")),
        BlackBox("broken", broken),
    ]
    judges = [CTE(), CTE(perturbations=(Dropout(0.1),)), estimator_named("otce")]
    found = {trial.model: trial for trial in plan(models, arrays(), judges).trials}
    assert list(found) == ["broken", "good", "text"]
    assert "no such layer" in found["broken"].reason
    assert "is no ONNX model" in found["text"].reason
    assert found["broken"].seconds == found["text"].seconds == 0
    assert found["good"].reason == ""
    assert found["good"].provider == "CPUExecutionProvider"
    refused = dict(found["good"].refused)
    assert set(refused) == {judges[1].title, judges[2].title}
    assert "no bottleneck" in refused[judges[1].title]
    assert "source images" in refused[judges[2].title]
    (alone,) = plan([models[1]], arrays(), judges[1:2]).trials
    assert "no bottleneck" in alone.reason


def test_source_images_are_counted():
    labelled = Images.from_arrays(
        [discs(n)[0] for n in range(3)], truth=[discs(n)[1] for n in range(3)]
    )
    (trial,) = plan([sleeping(0)], arrays(), [CTE()], source={"sleeping": labelled}).trials
    assert trial.images == 8


def test_an_image_that_cannot_be_read_is_passed_over():
    planes = [discs(n)[0] for n in range(5)]
    planes[2] = np.ones((8, 8))
    found = plan([sleeping(0)], Images.from_arrays(planes), [CTE()])
    assert found.tried == "image_3"
    assert found.skipped == (("image_2", "every pixel is 1.0; there is nothing to segment"),)
    with pytest.raises(NothingToRank, match="none of 2 images tried can be used; image_1: every"):
        plan([sleeping(0)], Images.from_arrays(np.ones((2, 8, 8))), [CTE()])


def test_what_makes_no_sense_is_refused_as_a_run_refuses_it(monkeypatch):
    with pytest.raises(NothingToRank, match="no model to try"):
        plan([], arrays())
    with pytest.raises(NothingToRank, match="no image to try"):
        plan([sleeping(0)], [])
    with pytest.raises(OptionError, match="the seed"):
        plan([sleeping(0)], arrays(), [CTE()], seed=-1)
    monkeypatch.setattr("onnx_cte.sessions.devices.cuda_works", lambda: (False, "none"))
    with pytest.raises(DeviceError, match="'cuda' was asked for"):
        plan([OnnxModel("net", Path("net.onnx"))], arrays(), [CTE()], device="cuda")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blur(tmp_path / "models" / "steady.onnx", gain=20)
    blur(tmp_path / "models" / "sharp.onnx", gain=60, width=3)
    write_images(tmp_path, 6)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("rank",), "ranking: 2 models on 6 images from 6 files, by credibility"),
        (("rank", "--limit", 2), "ranking: 2 models on 2 images from 2 files, by credibility"),
        (("evaluate",), "evaluation: 2 models on 6 images from 6 files, by f1, credibility, cte"),
        (("predict",), "prediction: 2 models on 6 images from 6 files\n"),
    ],
)
def test_a_dry_run_tells_and_writes_nothing(place, arguments, told):
    command, *options = arguments
    labels = ["labels"] if command == "evaluate" else []
    before = sorted(os.walk(place))
    result = call(command, "models", "images", *labels, *options, "--dry-run")
    assert result.exit_code == 0, result.output
    assert told in result.stdout
    assert "tried on '" in result.stdout
    assert "in all about 1 second" in result.stdout
    assert ("is not run again" in result.stdout) == (command != "predict")
    assert "results would be written to onnx-cte-" in result.stdout
    assert sorted(os.walk(place)) == before


def test_a_dry_run_as_json(place):
    (place / "models" / "notes.onnx").write_text("no network")
    result = call("rank", "models", "images", "--dry-run", "--json", "--out", "there")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["out"] == "there"
    (stage,) = document["dry_run"]
    assert stage["stage"] == "ranking"
    assert stage["estimators"] == ["credibility"]
    assert stage["size"] == [48, 56]
    notes, sharp, steady = stage["trials"]
    assert "is no ONNX model" in notes["reason"]
    assert notes["first"] is None
    assert sharp["provider"] == "CPUExecutionProvider"
    assert document["seconds"] == pytest.approx(sharp["seconds"] + steady["seconds"], abs=1e-3)


def test_models_that_would_fail_are_named(place):
    (place / "models" / "notes.onnx").write_text("no network")
    result = call("rank", "models", "images", "--dry-run")
    assert result.exit_code == 3
    assert "would fail\n  notes: notes.onnx: is no ONNX model" in result.stdout
    result = call("rank", "models", "images", "--dry-run", "--perturb", "dropout=0.1")
    assert result.exit_code == 1
    assert "sharp: no bottleneck" in result.stdout


def test_a_sweep_is_a_stage_of_its_own(place):
    result = call("rank", "models", "images", "--dry-run", "--perturb", "auto")
    assert result.exit_code == 1  # these networks have nothing to sweep over
    assert "sweep: 2 models on 6 images from 6 files, by 20 estimators" in result.stdout
    assert "ranking: 2 models on 6 images" in result.stdout
    result = call(
        *("evaluate", "models", "images", "labels", "--dry-run", "--perturb", "auto"),
    )
    assert "sweep: 2 models on 6 images from 6 files, by 40 estimators" in result.stdout
    assert "not judged by every estimator\n  sharp, steady: cte nhd dropout" in result.stdout


def test_a_dry_run_counts_labels(place):
    (trial,) = plan(
        [OnnxModel("net", place / "models" / "sharp.onnx")],
        Images("images", "labels"),
        [Accuracy()],
    ).trials
    assert trial.reason == ""
