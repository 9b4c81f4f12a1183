"""What is no ONNX yet is listed, with the command that makes it so."""

import os
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from networks import blur
from packages import FORMAT_04, FORMAT_05, package, zipped
from test_runner import write_images

from onnx_cte.cli import main
from onnx_cte.descriptor.converting import foreign, passed_over, without_onnx
from onnx_cte.errors import DescriptorError, NothingToRank
from onnx_cte.segmenters import OnnxModel, open_models

SCRIPT = {"torchscript": {"source": "weights.pt", "pytorch_version": "2.5"}}
KERAS = {"keras_hdf5": {"source": "weights.h5", "tensorflow_version": "2.14"}}


def without(folder, weights, text=FORMAT_05):
    return package(folder, text, lambda content: content.update(weights=weights))


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blur(tmp_path / "models" / "good.onnx", gain=20)
    write_images(tmp_path)
    return tmp_path


def commands(text):
    """Those between the marks, as lists of words."""
    return [shlex.split(line) for line in text.split("`")[1].split(" && ")]


def test_the_command_by_hand():
    text = without_onnx(["torchscript", "keras_hdf5"], "0.5.4", Path("zoo/my net"))
    assert text.startswith("has no ONNX weights, only: keras_hdf5, torchscript; `")
    assert commands(text) == [
        ["bioimageio", "add-weights", "zoo/my net", "zoo/my net-onnx", "--target-format", "onnx"]
    ]
    assert "'Models as they come' in the README" in text


def test_the_readme_has_that_chapter():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    chapter = text.split("\n## Models as they come\n")[1].split("\n## ")[0]
    assert "bioimageio add-weights NET NET-onnx --target-format onnx" in chapter


def test_format_04_is_brought_to_05_first():
    text = without_onnx(["pytorch_state_dict"], "0.4.10", Path("/zoo/net.zip"))
    assert commands(text) == [
        ["bioimageio", "update-format", "/zoo/net.zip", "--output", "/zoo/net-0-5"],
        ["bioimageio", "add-weights", "/zoo/net-0-5", "/zoo/net-onnx", "--target-format", "onnx"],
    ]


@pytest.mark.parametrize("given", [".", "../net", "sub/.."])
def test_the_target_lies_beside_whatever_the_package_is_called(tmp_path, monkeypatch, given):
    (tmp_path / "net" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "net")
    ((*_, source, target, _, _),) = commands(without_onnx(["torchscript"], "0.5.4", Path(given)))
    assert os.path.realpath(source) == str(tmp_path / "net")
    assert os.path.realpath(target) == str(tmp_path / "net-onnx")


def test_what_the_zoo_s_library_cannot_convert_is_left_to_the_readme():
    text = without_onnx(["tensorflow_js", "keras_hdf5"], "0.5.4", Path("net"))
    assert "`bioimageio" not in text
    assert "'From any framework' in the README says how" in text
    assert "`onnx-cte package`" in text


@pytest.mark.parametrize("text", [FORMAT_04, FORMAT_05], ids=["0.4", "0.5"])
@pytest.mark.parametrize("as_zip", [False, True])
def test_a_package_without_onnx_weights_is_listed_with_the_command(place, text, as_zip):
    path = without(place / "models" / "net", SCRIPT, text)
    if as_zip:
        zipped(path, place / "models" / "packed.zip")
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    given = "models/packed.zip" if as_zip else "models/net"
    name = Path(given).stem
    for command in (
        ("rank", "models", "images"),
        ("rank", "models", "images", "--dry-run"),
        ("evaluate", "models", "images", "labels", "--pictures", 0),
        ("predict", "models", "images"),
    ):
        result = call(*command)
        assert result.exit_code == 3, result.output
        assert f"{name}: " in result.stdout
        assert f"bioimageio add-weights {given}" in result.stdout.replace(
            f"models/{name}-0-5", given
        )
        assert "good" in result.stdout
    result = call("inspect", given)
    assert result.exit_code == 1
    assert "has no ONNX weights, only: torchscript; `bioimageio" in result.stderr


def test_a_package_of_keras_alone(place):
    without(place / "models" / "net", KERAS)
    result = call("rank", "models", "images")
    assert result.exit_code == 3
    assert "only: keras_hdf5; 'From any framework' in the README" in result.stdout


def test_files_of_other_frameworks_are_told_once_and_do_not_count_as_failed(place):
    for name in ("a.pt", "b.h5", "c.pth", "run/d.keras", "net/weights.pt", ".hidden/e.pt"):
        file = place / "models" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    without(place / "models" / "net", SCRIPT)
    (place / "models" / "notes.txt").write_text("")
    line = (
        "passed over: 4 files of other frameworks (a.pt, b.h5, c.pth, ...); "
        "'From any framework' in the README says how they become ONNX"
    )
    result = call("rank", "models", "images", "--pictures", 0)
    assert line in result.stderr
    assert "a.pt" not in result.stdout
    assert "passed over" not in call("rank", "models", "images", "--pictures", 0, "-q").stderr
    for name in ("a.pt", "b.h5", "c.pth", "run/d.keras"):
        (place / "models" / name).unlink()
    assert "passed over" not in call("rank", "models", "images", "--pictures", 0).stderr


def test_nothing_but_files_of_other_frameworks(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(NothingToRank, match=r"2 other files; passed over: a file of another fram"):
        open_models(tmp_path)
    assert "it becomes ONNX" in passed_over(["a.pth"])
    assert passed_over([]) == ""


@pytest.mark.parametrize(
    ("name", "framework"),
    [("a.pt", "PyTorch"), ("a.CKPT", "PyTorch"), ("a.keras", "Keras"), ("a.pb", "TensorFlow")],
)
def test_such_a_file_named_by_itself(tmp_path, name, framework):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    (model,) = open_models(tmp_path / name)
    with pytest.raises(DescriptorError, match=rf"{name}: by its name a file of {framework}, no"):
        OnnxModel(model.name, model.path).open("cpu", 1)
    assert foreign(Path("a.onnx")) == ""
