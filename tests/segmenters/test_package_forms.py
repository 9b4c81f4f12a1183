"""Models as they come: folders and zips, formats 0.4 and 0.5, external data, several weights."""

import hashlib
import itertools
import shutil
import zipfile

import numpy as np
import onnx
import pytest
from networks import blur
from packages import FORMAT_04, FORMAT_05, network, package, sha256

from onnx_cte.descriptor.package import unpack
from onnx_cte.errors import GraphError
from onnx_cte.needs import Needs
from onnx_cte.segmenters import OnnxModel, open_models
from onnx_cte.types import Image

OTHERS = {
    "pytorch_state_dict": {
        "source": "big.pt",
        "sha256": "0" * 64,
        "pytorch_version": "2.5",
        "architecture": {"source": "net.py", "sha256": "1" * 64, "callable": "Net"},
    },
    "torchscript": {"source": "big.pt", "sha256": "0" * 64, "pytorch_version": "2.5"},
    "keras_hdf5": {"source": "big.h5", "sha256": "0" * 64, "tensorflow_version": "2.14"},
    "tensorflow_saved_model_bundle": {
        "source": "big.zip",
        "sha256": "0" * 64,
        "tensorflow_version": "2.14",
    },
    "tensorflow_js": {"source": "big.json", "sha256": "0" * 64, "tensorflow_version": "2.14"},
}
"""Weights beside those in ONNX; their files are not those described, or not there at all."""


def others_of(version):
    kinds = {kind: dict(entry) for kind, entry in OTHERS.items()}
    if version == "0.4":
        state = kinds["pytorch_state_dict"]
        state.pop("architecture")
        state |= {"architecture": "net.py:Net", "architecture_sha256": "1" * 64}
    return kinds


def made(folder, version, *, external="", several=False):
    """A package whose test output is worked out here, in the form asked for."""
    text = FORMAT_04 if version == "0.4" else FORMAT_05

    def change(content):
        image = np.load(folder / "test_input.npy").astype(np.float64)
        np.save(folder / "test_output.npy", expected(image, version).repeat(2, 1).astype("f4"))
        if version == "0.5":
            given = content["outputs"][0]["test_tensor"]
            given["sha256"] = sha256(folder / "test_output.npy")
        onnx = content["weights"]["onnx"]
        if external:
            network(folder / "weights.onnx", external="weights.onnx.data")
            onnx["sha256"] = sha256(folder / "weights.onnx")
        if external == "described":
            data = folder / "weights.onnx.data"
            onnx["external_data"] = {"source": data.name, "sha256": sha256(data)}
        if several:
            content["weights"] |= others_of(version)
            (folder / "big.pt").write_bytes(b"no weights at all")

    return package(folder, text, change)


def expected(image, version):
    if version == "0.5":
        scaled = (image - image.mean()) / (image.std() + 1e-5)
    else:
        low, high = np.percentile(image, (1, 99.8))
        scaled = (image - low) / (high - low + 1e-6)
    return 1 / (1 + np.exp(-scaled))


def zipped_whole(folder, archive, inside=""):
    with zipfile.ZipFile(archive, "w") as members:
        for file in sorted(folder.rglob("*")):
            members.write(file, f"{inside}{file.relative_to(folder)}")
    return archive


FORMS = list(
    itertools.product(
        ["folder", "zip", "zip of a folder"],
        ["0.4", "0.5"],
        ["", "beside", "described"],
        [False, True],
    )
)
# Format 0.4 has no words for external data: they lie beside the file there.
FORMS = [form for form in FORMS if form[1:3] != ("0.4", "described")]


@pytest.mark.parametrize(("form", "version", "external", "several"), FORMS)
def test_every_form_is_read_checked_and_run(tmp_path, form, version, external, several):
    made(tmp_path / "zoo" / "net", version, external=external, several=several)
    if form != "folder":
        inside = "net/" if form == "zip of a folder" else ""
        zipped_whole(tmp_path / "zoo" / "net", tmp_path / "zoo" / "net.zip", inside)
        shutil.rmtree(tmp_path / "zoo" / "net")
    (model,) = open_models(tmp_path / "zoo")
    assert model.name == "net"
    opened = model.open("cpu", 1)
    pixels = np.random.default_rng(1).integers(0, 200, (40, 48), dtype=np.uint8)
    seen = opened.observe(Image("a", pixels, "yx"), Needs(), 0).reference
    assert np.abs(seen["foreground"] - expected(pixels.astype(float), version)).max() < 1e-5
    assert not any("no test tensors" in note for note in opened.notes)
    files = 2 if external else 1
    described = opened.description.weights
    assert len(list(described.parent.glob("weights.onnx*"))) == files
    assert opened.description.origin.startswith(f"zoo {version}")
    opened.close()


def test_files_of_other_weights_are_not_read(tmp_path, monkeypatch):
    read = []
    digest = hashlib.file_digest

    def noted(stream, *rest):
        read.append(stream.name)
        return digest(stream, *rest)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    made(tmp_path / "net", "0.5", several=True)
    OnnxModel("net", tmp_path / "net").open("cpu", 1).close()
    assert {name.rsplit("/")[-1] for name in read} == {
        "test_input.npy", "test_output.npy", "weights.onnx",
    }  # fmt: skip


def test_weights_of_other_frameworks_stay_in_the_zip(tmp_path):
    folder = made(tmp_path / "net", "0.5", external="beside", several=True)
    (folder / "bundle.zip").write_bytes(b"a bundle of TensorFlow")
    archive = zipped_whole(folder, tmp_path / "net.zip", "net/")
    assert {path.name for path in folder.iterdir()} - {
        path.name for path in (unpack(archive, tmp_path / "work") / "net").iterdir()
    } == {"big.pt", "bundle.zip"}


@pytest.mark.parametrize("as_zip", [False, True])
def test_external_data_that_are_missing(tmp_path, as_zip):
    folder = made(tmp_path / "net", "0.5", external="beside")
    (folder / "weights.onnx.data").unlink()
    path = zipped_whole(folder, tmp_path / "net.zip") if as_zip else folder
    with pytest.raises(GraphError, match=r"weights are in 'weights\.onnx\.data', which is not"):
        OnnxModel("net", path).open("cpu", 1)


def test_described_external_data_under_another_name_than_the_file_knows(tmp_path):
    def change(content):
        network(folder / "weights.onnx", external="weights.onnx.data")
        (folder / "weights.onnx.data").rename(folder / "else.data")
        onnx = content["weights"]["onnx"]
        onnx["sha256"] = sha256(folder / "weights.onnx")
        onnx["external_data"] = {
            "source": "else.data",
            "sha256": sha256(folder / "else.data"),
        }

    folder = tmp_path / "net"
    package(folder, FORMAT_05, change)
    with pytest.raises(GraphError, match=r"weights are in 'weights\.onnx\.data', which is not"):
        OnnxModel("net", folder).open("cpu", 1)


def test_a_bare_file_with_external_data(tmp_path):
    (tmp_path / "models").mkdir()
    network(tmp_path / "models" / "net.onnx", external="net.bin")
    network(tmp_path / "models" / "whole.onnx")
    models = open_models(tmp_path / "models", normalize="minmax")
    assert [model.name for model in models] == ["net", "whole"]
    pixels = np.random.default_rng(1).integers(0, 200, (40, 48), dtype=np.uint8)
    image = Image("a", pixels, "yx")
    beside, whole = (m.open("cpu", 1).observe(image, Needs(), 0).reference.maps for m in models)
    assert np.array_equal(beside, whole)
    (tmp_path / "models" / "net.bin").unlink()
    with pytest.raises(GraphError, match=r"weights are in 'net\.bin', which is not beside it"):
        models[0].open("cpu", 1)


NAMES = ["rdf.yaml", "model.yaml", "unet.rdf.yaml", "a.bioimageio.yaml", "bioimageio.yml"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_the_zoo_gives_a_description(tmp_path, name):
    folder = made(tmp_path / "zoo" / "net", "0.4")
    blur(tmp_path / "zoo" / "other.onnx")
    (folder / "bioimageio.yaml").rename(folder / name)
    # The file of the weights in it is no model of its own.
    assert [model.name for model in open_models(tmp_path / "zoo")] == ["net", "other"]
    assert [model.name for model in open_models(folder)] == ["net"]
    assert [model.path for model in open_models(folder / name)] == [folder]
    open_models(folder)[0].open("cpu", 1).close()


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/hostname", "C:/secret.bin", r"..\s.bin"])
def test_external_data_outside_the_folder_are_not_read(tmp_path, place):
    (tmp_path / "in").mkdir()
    network(tmp_path / "in" / "net.onnx", external="net.bin")
    (tmp_path / "in" / "net.bin").rename(tmp_path / "secret.bin")
    model = onnx.load(tmp_path / "in" / "net.onnx", load_external_data=False)
    (entry,) = [e for e in model.graph.initializer[0].external_data if e.key == "location"]
    entry.value = place
    (tmp_path / "in" / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(GraphError, match=r"outside its own folder, and are not read"):
        OnnxModel("net", tmp_path / "in" / "net.onnx").open("cpu", 1)
