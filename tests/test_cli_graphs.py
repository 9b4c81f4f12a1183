"""The commands on networks themselves, and where a bottleneck is stated for a ranking."""

import json
import os
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from families.building import built, find
from graph_models import unet
from networks import blur, classifier
from packages import package
from test_runner import write_images

from onnx_cte.bundled import bundled_models
from onnx_cte.cli import main
from onnx_cte.estimators import Credibility
from onnx_cte.perturbations import Dropout
from onnx_cte.report import read_ranking
from onnx_cte.segmenters.inspection import inspect_model


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(unet(), "net.onnx")
    return tmp_path


def words(text):
    return " ".join(text.split())


def test_inspect(place):
    result = call("inspect", "net.onnx")
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    size = Path("net.onnx").stat().st_size
    assert text.startswith(f"net file net.onnx, {size / 1000:.1f} kB, sha256 ")
    for line in (
        "format opset 17, IR version 9, 9 nodes, 752 parameters",
        "input 'image' float32 (N, 1, H, W)",
        "output 'map' float32 (N, 1, H, W)",
        "test none: no test tensors came with it",
        "ranking it can be ranked",
        "read as net (bare) input image, bcyx",
        "bottleneck 'b', 8 channels at stride 2, float32 (1, 8, 48, ",
        # For 96 x 128: counted by hand in tests/segmenters/test_inspection.py.
        "work encoder 1.3 M, decoder 4.0 M (75 %), whole 5.3 M multiply-accumulates",
        "engine shared: encoder and skips run once for all masks",
        "proven gives what the untouched network gives, ",
        "tap channels stride shape type enters by tensor",
    ):
        assert line in text
    assert re.search(r"^skip/1 +4  1 +\(1, 4, 96, \d+\) +float32  concat +a$", result.stdout, re.M)


def test_inspect_as_json(place):
    result = call("inspect", "net.onnx", "--json", "--at", "d")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found == inspect_model("net.onnx", at="d").to_json()
    assert found["inside"]["bottleneck"]["tensor"] == "d"


def test_inspect_a_package():
    text = words(call("inspect", bundled_models() / "fibro").stdout)
    assert "test passed: it reproduces its own test tensors" in text
    assert "read as Fibroblast nuclei in fluorescence (zoo 0.5" in text
    assert "96 channels at stride 8" in text


def test_inspect_tells_why_a_package_cannot_be_ranked(place):
    package(place / "package")
    result = call("inspect", "package")
    assert result.exit_code == 0
    assert "test failed ranking refused: Tiny network: does not reproduce" in words(result.stdout)


def test_inspect_without_a_bottleneck(place):
    result = call("inspect", built(find("hand-if-across")))
    assert result.exit_code == 0
    text = words(result.stdout)
    assert "bottleneck none: control flow across the cut" in text
    assert "one of these can be taken for the bottleneck with --at TENSOR could be named" in text
    result = call("inspect", classifier(place / "classes.onnx"))
    assert result.exit_code == 0
    assert "ranking refused: classes.onnx: no output is a map of the image" in words(result.stdout)
    assert "no map that all paths pass could be named for the bottleneck" in result.stdout


def test_inspect_volumes():
    result = call("inspect", built(find("unet-3d")))
    assert result.exit_code == 0
    text = words(result.stdout)
    assert "ranking it can be ranked" in text
    assert "bczyx, float32, channels: 1, z: 8 + n * 8, y: 8 + n * 8, x: 8 + n * 8" in text
    assert "inside, for an image bczyx (1, 1, 32, 48, 64)" in text
    assert "64 channels at stride 8, float32 (1, 64, 4, 6, 8)" in text


def test_inspect_lists_side_files_and_counts_weights_that_are_inputs():
    text = words(call("inspect", built(find("hand-external"))).stdout)
    assert re.search(r"file model\.onnx, .* kB, sha256 .* file weights\.bin, 482\.5 kB, ", text)
    text = words(call("inspect", built(find("hand-weights-as-inputs"))).stdout)
    assert re.search(r"height, width\) and \d\d with defaults, its weights output", text)


def test_inspect_says_why_an_engine_is_slow_or_there_is_none():
    text = words(call("inspect", built(find("unet-quantised-dynamic"))).stdout)
    assert "engine masked: the whole network runs once for each mask not shared or exp" in text
    assert "shared or expanded: DynamicQuantizeLinear takes its range over all rows" in text
    text = words(call("inspect", built(find("hand-silenced"))).stdout)
    assert "engine none, it cannot be disturbed there: model.onnx: output 'map' does not" in text


def test_inspect_what_is_not_run(place):
    model = unet()
    model.graph.input.append(onnx.ValueInfoProto(name="second"))
    model.graph.input[1].type.CopyFrom(model.graph.input[0].type)
    onnx.save(model, "two.onnx")
    result = call("inspect", "two.onnx")
    assert result.exit_code == 0
    assert result.stdout.count("wants 2 inputs (image, second)") == 1
    assert result.stdout.endswith("\nnot looked into, for the same reason\n")
    onnx.save(unet(batch=4), "four.onnx")
    text = words(call("inspect", "four.onnx").stdout)
    assert "ranking refused: four.onnx: takes batches of 4 only" in text
    assert "not looked into four.onnx: input 'image' has shape (4, 1, ?, ?), no single" in text


def test_mask_writes_a_model_that_can_be_fed_as_it_says(place):
    result = call("mask", "net.onnx", "-o", "masked.onnx")
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    assert text.startswith("written: masked.onnx new input 'mask': float32 (N, 8, 1, 1)")
    assert "of the bottleneck, tensor 'b'" in text
    assert "proven: ones leave every output as it was, exactly; a random mask" in text
    lines = [line.strip() for line in result.stdout.split("to use it\n\n")[1].splitlines()]
    assert len(lines) == 3
    image = np.zeros((1, 1, 8, 8), np.float32)
    names = {"onnxruntime": onnxruntime, "numpy": np, "image": image}
    exec("\n".join(lines), names)
    assert names["maps"].shape == (1, 1, 8, 8)
    assert call("inspect", "masked.onnx").exit_code == 0


def test_mask_elsewhere_by_another_name(place):
    result = call("mask", "net.onnx", "-o", "m.onnx", "--tap", "skip/1", "--name", "keep")
    assert "new input 'keep': float32 (N, 4, 1, 1)" in result.stdout
    assert "channels of skip/1, tensor 'a'" in words(result.stdout)
    result = call("mask", "net.onnx", "-o", "m.onnx", "--at", "d")
    assert "of the bottleneck, tensor 'd'" in words(result.stdout)


def test_split_lists_what_crosses(place):
    result = call("split", "net.onnx", "-o", "parts")
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir("parts")) == ["decoder.onnx", "encoder.onnx"]
    text = words(result.stdout)
    assert text.startswith(f"written: {Path('parts/encoder.onnx')}, {Path('parts/decoder.onnx')} ")
    assert "one after the other they give 'map' as the whole does, exactly" in text
    assert re.search(r"^b +float32  \(1, 8, 48, \d+\)$", result.stdout, re.M)
    assert re.search(r"^a +float32  \(1, 4, 96, \d+\)$", result.stdout, re.M)


def test_a_difference_is_told(place, monkeypatch):
    for name in ("_prove_masked", "_prove_split"):
        found = (4e-7, 0.25) if name == "_prove_masked" else 4e-7
        monkeypatch.setattr(f"onnx_cte.segmenters.derived.{name}", lambda *_, found=found: found)
    text = words(call("mask", "net.onnx", "-o", "m.onnx").stdout)
    assert "as it was (to 4e-07 of its largest value); a random mask of 0 and 1 changes" in text
    assert "changes 'map' by 25 % of its largest value" in text
    text = words(call("split", "net.onnx", "-o", "parts").stdout)
    assert "as the whole does (to 4e-07 of its largest value)" in text


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["inspect", "nowhere"], 1, "no models: 'nowhere' does not exist"),
        (["inspect", "net.onnx", "--at", "bb"], 1, r"net\.onnx: .*'bb'; did you mean 'b'"),
        (["inspect", bundled_models()], 2, "holds 6 models; name one of them"),
        (["mask", "net.onnx"], 2, "Missing option '-o'"),
        (["mask", "net.onnx", "-o", "net.onnx"], 1, "'net.onnx' is what the model is read from"),
        (["mask", "net.onnx", "-o", "m"], 2, r"'m' is no name of .*; name a file that ends in .on"),
        (["mask", "net.onnx", "-o", "m.onnx", "--tap", "skip/2"], 2, "did you mean 'skip/1'"),
        (["mask", "net.onnx", "-o", "m.onnx", "--name", "map"], 1, "has a value named 'map' alre"),
        (["mask", "net.onnx", "-o", "net.onnx/m.onnx"], 1, "'net.onnx' cannot be written: "),
        (["split", "net.onnx"], 2, "Missing option '-o'"),
        (["split", "net.onnx", "-o", "net.onnx"], 1, "'net.onnx' is a file; name a folder"),
        (
            ["split", "net.onnx", "-o", "p", "--at", "cc"],
            1,
            r"makes 'cc'; did you mean 'c[abd]' or '",
        ),
    ],
)
def test_bad_input_is_told_in_one_line(place, arguments, code, complaint):
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert re.search(complaint, result.stderr)
    assert result.stdout == ""
    if "Usage" not in result.stderr:
        assert len(result.stderr.strip().splitlines()) == 1
        assert result.stderr.startswith("onnx-cte: ")
    assert os.listdir() == ["net.onnx"]


@pytest.fixture
def bank(tmp_path, monkeypatch):
    """A network with a bottleneck, one without, and images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    onnx.save(unet(), "models/deep.onnx")
    model = onnx.load(blur(tmp_path / "models" / "flat.onnx"))
    model.graph.node.insert(1, onnx.helper.make_node("Relu", ["f"], ["active"]))
    model.graph.node[2].input[0] = "active"
    onnx.save(model, "models/flat.onnx")
    write_images(tmp_path)
    return tmp_path


RANK = ("rank", "models", "images", "--perturb", "feature-noise=0.5", "--draws", 1, "--limit", 2)


def test_dropout_reaches_the_default_estimator(bank):
    result = call("rank", "models", "images", "--perturb", "dropout=0.1", "--limit", 2)
    assert result.exit_code == 3
    found = read_ranking("onnx-cte-results")
    assert found.estimator == repr(Credibility((Dropout(0.1),)))
    ((failed, reason),) = found.failed
    assert failed == "flat"
    assert reason.startswith("no bottleneck to disturb by dropout=0.1")
    (score,) = found
    # Another draw of masks is another consistency.
    call(*("rank", "models", "images", "--perturb", "dropout=0.1", "--limit", 2, "--seed", 1))
    (other,) = read_ranking("onnx-cte-results")
    assert 0 < score.parts["consistency"] != other.parts["consistency"] > 0
    assert score.parts["boundary"] == other.parts["boundary"]


def test_rank_takes_a_bottleneck_where_it_is_stated(bank):
    assert call(*RANK).exit_code == 3
    assert read_ranking("onnx-cte-results").failed[0][0] == "flat"
    result = call(*RANK, "--at", "flat=active", "--at", "deep=a", "--out", "stated")
    assert result.exit_code == 0, result.output
    assert "flat: its bottleneck is 'active' (as stated)" in result.stdout
    found = read_ranking("stated")
    assert found.failed == ()
    records = found.provenance["models"]
    assert {name: records[name]["inside"]["bottleneck"] for name in ("deep", "flat")} == {
        "deep": "a",
        "flat": "active",
    }


def test_evaluate_takes_it_too(bank):
    arguments = ("evaluate", "models", "images", "labels", "--metric", "nhd", "--limit", 2)
    result = call(*arguments, "--perturb", "feature-noise=0.5", "--at", "flat=active")
    assert result.exit_code == 0, result.output


def test_a_tensor_that_is_none_fails_that_model_alone(bank):
    idle = call("rank", "models", "images", "--at", "flat=active")
    assert idle.exit_code == 2
    assert "--at flat=active names a bottleneck, and nothing that is asked for looks" in idle.stderr
    result = call(*RANK, "--at", "deep=nothing")
    assert result.exit_code in (1, 3)
    assert "no node that makes 'nothing'" in result.output


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        (["active"], "--at active: expected MODEL=TENSOR, a model's name in the ranking and a ten"),
        (["=active"], "--at =active: expected MODEL=TENSOR"),
        (["flat="], "--at flat=: expected MODEL=TENSOR"),
        (["flot=active"], "unknown model 'flot': did you mean 'flat'"),
        (["flat=a", "flat=b=c"], "--at names two tensors for model 'flat': 'a' and 'b=c'"),
    ],
)
@pytest.mark.parametrize("command", ["rank", "evaluate"])
def test_what_is_badly_stated(bank, command, stated, complaint):
    labels = ["labels"] if command == "evaluate" else []
    options = [part for text in stated for part in ("--at", text)]
    result = call(command, "models", "images", *labels, *options)
    assert result.exit_code == 2
    assert re.search(re.escape(complaint), result.stderr)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["inspect", "mask", "split"])
def test_help(command):
    assert re.search(rf"^  {command} ", call("--help").stdout, re.M)
    result = call(command, "--help")
    assert result.exit_code == 0
    assert "--at TENSOR" in result.stdout


def test_a_model_s_name_may_hold_equals_signs():
    from onnx_cte.cli.options import by_model

    def stated(text):
        return by_model("--at", [text], ["a", "a=b"], "tensors", "MODEL=TENSOR")

    assert stated("a=b=relu=1") == {"a=b": "relu=1"}
    assert stated("a=relu=1") == {"a": "relu=1"}
    assert stated("c=relu") == {"c": "relu"}


def test_a_second_ranking_of_an_earlier_run_does_not_stay(bank):
    fallback = ("--without-bottleneck", "noise=0.1")
    assert call(*RANK, *fallback).exit_code == 3
    assert len(read_ranking("onnx-cte-results/without-bottleneck")) == 2
    assert call(*RANK, *fallback, "--at", "flat=active").exit_code == 0
    assert list(Path("onnx-cte-results/without-bottleneck").iterdir()) == []


def test_auto_leaves_the_way_out_where_no_model_can_be_disturbed(bank):
    Path("models/deep.onnx").unlink()
    blur(Path("models") / "other.onnx", width=3)
    arguments = ("rank", "models", "images", "--perturb", "auto", "--draws", 1)
    assert call(*arguments).exit_code == 1
    result = call(*arguments, "--without-bottleneck", "noise=0.1")
    assert result.exit_code == 3
    assert "All models by credibility noise=0.1 draws=1 instead" in result.stdout
    assert len(read_ranking("onnx-cte-results/without-bottleneck")) == 2


def test_files_that_are_no_models(place):
    Path("plate.png").write_bytes(b"\x89PNG")
    for command in (("inspect",), ("mask", "-o", "m.onnx"), ("split", "-o", "s")):
        name, *options = command
        result = call(name, "plate.png", *options)
        assert result.exit_code == 2
        assert "'plate.png' is named like no model: expected a file .onnx" in result.stderr
        result = call(name, "nett.onnx", *options)
        assert result.exit_code == 1
        assert result.stderr.endswith("did you mean 'net.onnx'?\n")


def test_quiet_and_verbose(place):
    for command in (("mask", "-o", "m.onnx"), ("split", "-o", "s")):
        name, *options = command
        assert call(name, "net.onnx", *options).stdout.startswith("written: ")
        quiet = call(name, "net.onnx", *options, "-q")
        assert (quiet.exit_code, quiet.output) == (0, "")
        failing = call(name, "net.onnx", *options, "--at", "nothing", "-q")
        assert failing.exit_code != 0
        assert failing.stderr.startswith("onnx-cte: ")
        assert "Traceback" in call(name, "net.onnx", *options, "--at", "nothing", "-v").stderr
    assert "Traceback" in call("inspect", "nett.onnx", "-v").stderr
