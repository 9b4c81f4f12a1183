"""One trained network from four frameworks: carried to ONNX by tools/export, and ranked alike."""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import onnx
import pytest
from families import carried

import onnx_cte as oc
from onnx_cte.segmenters.inspection import inspect_model
from onnx_cte.simulation import simulate_images

pytestmark = pytest.mark.families
ROOT = Path(__file__).resolve().parent.parent
EXPORT = ROOT / "tools" / "export"
FRAMEWORKS = ("monai", "torch", "keras", "flax")

for package in ("torch", "monai", "onnxscript", "keras", "tf2onnx", "flax", "jax2onnx"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)


def command(folder, *arguments):
    """What the command line gives: exit code, and what it says."""
    found = subprocess.run(
        [sys.executable, str(EXPORT), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", "JAX_PLATFORMS": "cpu"},
    )
    return found.returncode, found.stdout, found.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Files of the trained network, as each framework's users have them."""
    folder = tmp_path_factory.mktemp("carried")
    with warnings.catch_warnings():  # Of the frameworks themselves, on what their users still do.
        warnings.simplefilter("ignore")
        write(folder)
    return folder


def write(folder):
    import torch
    from flax import serialization

    network = carried.trained()
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    torch.jit.trace(network, torch.zeros(1, 1, 64, 64)).save(folder / "unet.pt")
    free = {0: torch.export.Dim("n"), 2: 16 * torch.export.Dim("y"), 3: 16 * torch.export.Dim("x")}
    program = torch.export.export(network, (torch.zeros(2, 1, 64, 96),), dynamic_shapes=(free,))
    torch.export.save(program, folder / "unet.pt2")
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, folder / "checkpoint.pth")
    bundle = folder / "bundle"
    for name in ("configs", "models"):
        (bundle / name).mkdir(parents=True)
    config = {"network_def": {"_target_": "BasicUNet", **carried.ARGUMENTS}}
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    keras_model = carried.in_keras(weights)
    keras_model.save(folder / "unet.keras")
    keras_model.save(folder / "unet.h5")
    keras_model.export(folder / "saved", verbose=False)
    (folder / "unet_flax.py").write_text(carried.FLAX)
    variables = serialization.to_bytes(carried.for_flax(weights))
    (folder / "variables.msgpack").write_bytes(variables)


SOURCES = {
    "monai": ("bundle",),
    "torch": ("unet.pt", "--channels", 1),
    "keras": ("unet.keras",),
    "flax": ("unet_flax.py:UNet", "--weights", "variables.msgpack", "--channels", 1),
}


@pytest.fixture(scope="module")
def exported(place):
    """The files that the command line writes, one a framework."""
    (place / "models").mkdir()
    for framework in FRAMEWORKS:
        source, *rest = SOURCES[framework]
        path = f"models/{framework}.onnx"
        code, told, complaint = command(place, framework, source, path, *rest)
        assert code == 0, complaint
        assert told.startswith(f"{path}: written; {framework} and ONNX Runtime agree\n")
        assert told.count("largest difference") == 3
    assert len(list((place / "models").iterdir())) == 4  # No partial file is left.
    return place / "models"


def test_files_are_alike_from_outside(exported):
    for path in exported.iterdir():
        graph = onnx.load(path).graph
        for port, name in ((graph.input, "image"), (graph.output, "prediction")):
            (value,) = port
            assert value.name == name
            sizes = [d.dim_value or "free" for d in value.type.tensor_type.shape.dim]
            assert sizes == ["free", 1, "free", "free"]


JUDGES = [oc.CTE(), oc.CTE(perturbations=oc.Dropout(0.1)), oc.Credibility()]


def test_the_framework_makes_no_difference(exported):
    models = oc.open_models([exported, ROOT / "models" / "nuclei" / "u2os_dense"])
    images = [oc.Image(name, image, "yx") for name, image, _ in simulate_images(5, seed=0)]
    for ranking in oc.rank_each(models, images, JUDGES):
        assert ranking.failed == ()
        scores = {score.model: score.value for score in ranking}
        other = scores.pop("u2os_dense")
        assert set(scores) == set(FRAMEWORKS)
        assert max(scores.values()) - min(scores.values()) < 1e-4
        assert abs(other - scores["torch"]) > 1e-3  # Another network has another score.


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_bottleneck_is_found_whatever_the_layout(exported, framework):
    found = inspect_model(exported / f"{framework}.onnx").inside.bottleneck
    assert (found.channels, found.stride) == (carried.WIDTHS[-1], (16, 16))


@pytest.fixture
def code(place):
    """The code of the network, in a file."""
    lines = ["from monai.networks.nets import BasicUNet", "", "", "def network():"]
    lines.append(f"    return BasicUNet(**{carried.ARGUMENTS})")
    (place / "made.py").write_text("\n".join(lines) + "\n")
    return "made.py:network"


def same(one, other):
    """Whether two files have the same score."""
    images = [oc.Image(name, image, "yx") for name, image, _ in simulate_images(2, seed=0)]
    ranking = oc.rank(oc.open_models([one, other]), images, oc.CTE())
    return ranking[0].value == pytest.approx(ranking[1].value, abs=1e-4)


@pytest.mark.parametrize("exporter", [[], ["--dynamo"]])
def test_code_and_a_checkpoint(place, exported, code, exporter):
    rest = ("--weights", "checkpoint.pth", "--channels", 1, *exporter)
    done, _, complaint = command(place, "torch", code, "other.onnx", *rest)
    assert done == 0, complaint
    assert same(place / "other.onnx", exported / "torch.onnx")


def test_an_exported_program(place, exported):
    done, _, complaint = command(place, "torch", "unet.pt2", "program.onnx", "--channels", 1)
    assert done == 0, complaint
    assert same(place / "program.onnx", exported / "torch.onnx")


@pytest.mark.parametrize("source", ["saved", "unet.h5"])
def test_a_saved_model_and_an_older_file(place, exported, source):
    done, _, complaint = command(place, "keras", source, "saved.onnx")
    assert done == 0, complaint
    assert same(place / "saved.onnx", exported / "torch.onnx")


@pytest.mark.parametrize(
    ("made", "rest", "sizes"),
    [("net", (), 3), ("resized", ("--fixed", "--size", 64, 96), 1)],
)
def test_other_code_of_flax(place, made, rest, sizes):
    (place / "other_flax.py").write_text(carried.OTHER_FLAX)
    arguments = (f"other_flax.py:{made}", f"{made}.onnx", "--channels", 1, *rest)
    done, told, complaint = command(place, "flax", *arguments)
    assert done == 0, complaint
    assert told.count("largest difference") == sizes
    images = [oc.Image(name, image, "yx") for name, image, _ in simulate_images(2, seed=0)]
    assert oc.rank(oc.open_models(place / f"{made}.onnx"), images, oc.CTE())[0].images == 2


def test_a_graph_that_depends_on_the_size_is_not_written_for_any(place):
    (place / "other_flax.py").write_text(carried.OTHER_FLAX)
    done, _, complaint = command(
        place, "flax", "other_flax.py:resized", "any.onnx", "--channels", 1
    )
    assert done == 1
    assert "not written: the file gives shape (1, 1, 64, 64) for an input of shape" in complaint
    assert not list(place.glob("any.*"))


def test_a_fixed_size(place, exported):
    rest = ("--channels", 1, "--size", 96, 128, "--fixed")
    done, told, complaint = command(place, "torch", "unet.pt", "fixed.onnx", *rest)
    assert done == 0, complaint
    assert "  1 x 1 x 96 x 128: largest difference" in told
    assert told.count("largest difference") == 2
    dims = onnx.load(place / "fixed.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims][1:] == [1, 96, 128]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("torch", "checkpoint.pth", "x.onnx", "--channels", 1), "perhaps it holds weights alone"),
        (("torch", "unet.pt", "x.onnx"), "does not say how many channels its input has"),
        (("torch", "unet.pt:x", "x.onnx", "--channels", 1), "unet.pt:x is no TorchScript file"),
        (("torch", "gone.py:x", "x.onnx", "--channels", 1), "there is no file 'gone.py'"),
        (("torch", "other.py:gone", "x.onnx", "--channels", 1), "has no 'gone'; it has nn, small"),
        (
            ("torch", "other.py:small", "x.onnx", "--channels", 1, "--weights", "checkpoint.pth"),
            "checkpoint.pth does not fit the network: 2 weights are missing, such as ['bias', 'wei",
        ),
        (("torch", "other.py:restless", "x.onnx", "--channels", 1), "not written: "),
        (("monai", "saved", "x.onnx"), "saved is no MONAI bundle: expected one of inference.json"),
        (("keras", "bundle", "x.onnx"), "bundle is no SavedModel: there is no saved_model.pb"),
        (("flax", "unet_flax.py:UNet", "x.onnx", "--channels", 1), "add --weights"),
    ],
)
def test_what_cannot_be_carried_is_told_and_nothing_is_written(place, arguments, told):
    (place / "other.py").write_text(
        "from torch import nn\n\n\n"
        "def small():\n    return nn.Conv2d(1, 1, 1)\n\n\n"
        "class Restless(nn.Module):\n    times = 0\n\n    def forward(self, x):\n"
        "        self.times += 1\n        return x * self.times\n\n\n"
        "restless = Restless()\n"
    )
    done, _, complaint = command(place, *arguments)
    assert done == 1
    assert told in complaint
    assert "Traceback" not in complaint
    assert not list(place.glob("x.*"))
