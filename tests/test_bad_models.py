"""One bad model beside a good one: it is named with its reason, the good one is ranked, exit 3."""

import shutil
import zipfile

import numpy as np
import onnx
import pytest
import tifffile
from click.testing import CliRunner
from networks import FLOAT, blur, save
from onnx import helper
from packages import FORMAT_04, network, package, zipped
from PIL import Image as Picture
from test_runner import discs, write_images

from onnx_cte.cli import main


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blur(tmp_path / "models" / "good.onnx", gain=20)
    blur(tmp_path / "models" / "fine.onnx", gain=60, width=3)
    write_images(tmp_path, 3)
    return tmp_path


def climbing_zip(models):
    with zipfile.ZipFile(models / "bad.zip", "w") as members:
        members.writestr("bioimageio.yaml", "type: model")
        members.writestr("../escaped.onnx", b"x")


def broken_hash(models):
    package(models / "bad")
    with (models / "bad" / "weights.onnx").open("ab") as file:
        file.write(b"\x00")


def broken_hash_04(models):
    package(models / "bad", FORMAT_04)
    with (models / "bad" / "weights.onnx").open("ab") as file:
        file.write(b"\x00")


def truncated_zip(models):
    folder = package(models.parent / "bad")
    whole = zipped(folder, models.parent / "whole.zip").read_bytes()
    (models / "bad.zip").write_bytes(whole[: len(whole) // 2])


def empty_zip(models):
    (models / "bad.zip").write_bytes(b"")


def zip_of_images(models):
    with zipfile.ZipFile(models / "bad.zip", "w") as members:
        members.writestr("a.png", b"x")


def no_yaml(models):
    (models / "bad").mkdir()
    (models / "bad" / "rdf.yaml").write_text("name: [unfinished\n\tbusiness")


def binary_yaml(models):
    (models / "bad").mkdir()
    (models / "bad" / "rdf.yaml").write_bytes(bytes(range(256)))


def another_resource(models):
    (models / "bad").mkdir()
    (models / "bad" / "rdf.yaml").write_text("type: dataset\nformat_version: 0.3.0\n")


def without_external_data(models):
    network(models / "bad.onnx", external="weights.bin")
    (models / "weights.bin").unlink()


def truncated_external_data(models):
    network(models / "bad.onnx", channels=1, maps=2, external="weights.bin")
    (models / "weights.bin").write_bytes(b"\x00")


def package_without_its_external_data(models):
    def change(content):
        network(models / "bad" / "weights.onnx", external="weights.onnx.data")
        content["weights"]["onnx"].pop("sha256")
        content["weights"]["onnx"]["external_data"] = {"source": "weights.onnx.data"}

    package(models / "bad", change=change)
    (models / "bad" / "weights.onnx.data").unlink()


def two_inputs(models):
    shape = ["N", 1, "H", "W"]
    nodes = [helper.make_node("Add", ["image", "prompt"], ["map"])]
    inputs = [("image", FLOAT, shape), ("prompt", FLOAT, shape)]
    save(models / "bad.onnx", nodes, inputs, [("map", FLOAT, shape)])


def whole_numbers(models):
    kind, shape = onnx.TensorProto.UINT8, ["N", 1, "H", "W"]
    nodes = [helper.make_node("Identity", ["image"], ["map"])]
    save(models / "bad.onnx", nodes, [("image", kind, shape)], [("map", kind, shape)])


def a_vector(models):
    nodes = [helper.make_node("Sigmoid", ["signal"], ["map"])]
    save(models / "bad.onnx", nodes, [("signal", FLOAT, ["N", 64])], [("map", FLOAT, ["N", 64])])


def many_channels_either_way(models):
    shape = [1, 64, 64, 64]
    nodes = [helper.make_node("Sigmoid", ["image"], ["map"])]
    save(models / "bad.onnx", nodes, [("image", FLOAT, shape)], [("map", FLOAT, shape)])


def batches_of_four(models):
    shape = [4, 1, 64, 64]
    nodes = [helper.make_node("Sigmoid", ["image"], ["map"])]
    save(models / "bad.onnx", nodes, [("image", FLOAT, shape)], [("map", FLOAT, shape)])


def no_onnx(models):
    (models / "bad.onnx").write_text("<!DOCTYPE html><title>404</title>")


def truncated_onnx(models):
    whole = (models / "good.onnx").read_bytes()
    (models / "bad.onnx").write_bytes(whole[: len(whole) // 2])


BAD = [
    (climbing_zip, "member '../escaped.onnx' would be unpacked outside its folder; nothing was"),
    (broken_hash, "ONNX weights: weights.onnx is not the file described; expected SHA-256"),
    (broken_hash_04, "ONNX weights: weights.onnx is not the file described; expected SHA-256"),
    (truncated_zip, "bad.zip cannot be unpacked: File is not a zip file"),
    (empty_zip, "bad.zip cannot be unpacked: File is not a zip file"),
    (zip_of_images, "bad.zip: no model description; expected a file bioimageio.yaml"),
    (no_yaml, "bad/rdf.yaml: no readable YAML: "),
    (binary_yaml, "bad/rdf.yaml: no readable YAML: "),
    (another_resource, "bad/rdf.yaml: describes no model (expected an entry 'type: model')"),
    (without_external_data, "its weights are in 'weights.bin', which is not beside it; copy both"),
    (
        truncated_external_data,
        "its weights in 'weights.bin' are cut short: 8 bytes expected, found 1",
    ),
    (package_without_its_external_data, "there is no file weights.onnx.data in the package"),
    (two_inputs, "wants 2 inputs (image, prompt); expected one, the image. Give the others a"),
    (whole_numbers, "input 'image' takes uint8, expected floats"),
    (a_vector, "input 'signal' has shape (?, 64), expected an image: (N, C, H, W)"),
    (many_channels_either_way, "no axis looks like channels (at most 16). If it is one, `onnx-cte"),
    (batches_of_four, "takes batches of 4 only; export it with a batch of 1 or of free size"),
    (no_onnx, "bad.onnx: is no ONNX model, or is truncated"),
    (truncated_onnx, "bad.onnx: is no ONNX model, or is truncated"),
]


@pytest.mark.parametrize(("make", "reason"), BAD, ids=[make.__name__ for make, _ in BAD])
def test_a_bad_model_is_named_and_the_others_are_ranked(place, make, reason):
    make(place / "models")
    result = call("rank", "models", "images", "--pictures", 0, "--jobs", 1)
    assert result.exit_code == 3, result.output
    table, failed = result.stdout.split("failed, not ranked")
    assert {line.split()[1] for line in table.splitlines()[2:4]} == {"good", "fine"}
    told = [line for line in failed.splitlines() if line.startswith("  bad: ")]
    assert len(told) == 1
    assert reason in told[0]
    assert "Traceback" not in result.output
    assert not (place / "escaped.onnx").exists()
    assert not (place.parent / "escaped.onnx").exists()


def colour(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    for seed in range(3):
        pixels = discs(seed)[0]
        rgb = np.stack([pixels, pixels // 2, pixels // 3], axis=-1)
        Picture.fromarray(rgb).save(folder / f"{seed}.png")


def pairs(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    for seed in range(3):
        pixels = discs(seed)[0]
        both = np.stack([pixels // 4, pixels])
        tifffile.imwrite(folder / f"{seed}.tif", both, metadata={"axes": "CYX"})


def test_colour_networks_take_grey_images_and_grey_networks_colour(place):
    blur(place / "models" / "rgb.onnx", channels=3)
    result = call("rank", "models", "images", "--pictures", 0)
    assert result.exit_code == 0
    assert "  rgb: grey images are repeated for its 3 channels" in result.stdout
    colour(place / "images")
    result = call("rank", "models", "images", "--pictures", 0)
    assert result.exit_code == 0
    assert "fine: images of 3 channels are taken for RGB and turned to grey" in result.stdout


def test_channels_that_cannot_be_matched(place):
    blur(place / "models" / "two.onnx", channels=2)
    blur(place / "models" / "rgb.onnx", channels=3)
    pairs(place / "images")
    result = call("rank", "models", "images", "--pictures", 0)
    assert result.exit_code == 3
    assert result.stdout.splitlines()[2].split()[1] == "two"
    lines = result.stdout.split("failed, not ranked")[1].splitlines()
    told = "on 3 of 3 images: the image has 2 channels, the network takes"
    assert f"  good: {told} 1; choose one with --channel" in lines
    assert f"  rgb: {told} 3; choose one with --channel, and it is repeated" in lines
    result = call("rank", "models", "images", "--pictures", 0, "--channel", 1)
    assert result.exit_code == 3
    (line,) = result.stdout.split("failed, not ranked\n")[1].splitlines()[:1]
    assert line == (
        "  two: on 3 of 3 images: the image has 1 channel, the network takes 2; give it images of "
        "2 channels"
    )
