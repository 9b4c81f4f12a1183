"""What is found of an installation, and the way out that is told."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from PIL import Image as Picture

from onnx_cte import doctor
from onnx_cte.bundled import bundled_models
from onnx_cte.cli import main
from onnx_cte.doctor import EXTRAS, examine, why_no_cuda
from onnx_cte.errors import DeviceError
from onnx_cte.sessions import devices, diagnosis, runtime
from onnx_cte.sessions.diagnosis import Driver, Gpu, find_driver

DEVELOPERS = {"test", "families", "official", "train", "figures", "browser"}
ROOT = Path(__file__).parents[1]


def found(about, device="auto"):
    return next(finding for finding in examine(device) if finding.about == about)


@pytest.fixture
def no_cuda(monkeypatch):
    for room in (devices, doctor):
        monkeypatch.setattr(room, "cuda_works", lambda: (False, "it says no"))
    monkeypatch.setattr(doctor, "cuda_compiled", lambda: True)
    monkeypatch.setattr(doctor, "cuda_wanted", lambda: (13, 0))
    monkeypatch.setattr(doctor, "find_driver", lambda: None)
    monkeypatch.setattr(doctor, "missing_libraries", lambda cuda: ())


def test_this_installation_is_whole(no_cuda):
    states = {finding.about: finding.state for finding in examine()}
    assert states["Python"] == states["packages"] == states["ONNX Runtime"] == "fine"
    assert states["trial run on CPU"] == "fine"
    assert states["CUDA"] == "note"
    assert "trial run on CUDA" not in states
    assert {about for about in states if about.startswith("extra ")} == {
        f"extra {name}" for name in EXTRAS
    }
    assert found("CUDA", "cuda").state == "broken"
    assert "CUDA" not in {finding.about for finding in examine("cpu")}


def test_both_wheels_at_once(monkeypatch):
    wheels = {"onnxruntime-gpu": "1.31.1", "onnxruntime": "1.31.0"}
    monkeypatch.setattr(doctor, "installed_wheels", lambda: wheels)
    both = found("ONNX Runtime")
    assert both.state == "broken"
    assert "onnxruntime-gpu 1.31.1, onnxruntime 1.31.0 are both installed" in both.found
    assert both.remedy.startswith("pip uninstall -y onnxruntime onnxruntime-gpu")


def test_what_is_left_when_one_of_them_was_removed(monkeypatch):
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    assert found("ONNX Runtime").state == "broken"
    assert "overwrite each other" in found("ONNX Runtime").found
    assert not any("trial" in finding.about for finding in examine())


def test_a_runtime_that_cannot_be_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(doctor, "installed_wheels", dict)
    states = {finding.about: finding for finding in examine()}
    assert "cannot be loaded" in states["ONNX Runtime"].found
    assert "neither wheel of it is installed" in states["ONNX Runtime"].found
    assert "doctor" not in states["ONNX Runtime"].found
    assert states["ONNX Runtime"].remedy.startswith("pip uninstall")
    monkeypatch.setattr(doctor.platform, "system", lambda: "Windows")
    assert "Visual C++ Redistributable" in found("ONNX Runtime").remedy
    assert {about for about in states if not about.startswith("extra")} == {
        *("Python", "packages", "ONNX Runtime"),
    }
    with pytest.raises(DeviceError, match="`onnx-cte doctor` says more"):
        runtime.onnxruntime()


def test_packages_that_are_missing_or_old(monkeypatch):
    def faked(name):
        if name == "numpy":
            return "1.26.4"
        if name == "tqdm":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", faked)
    packages = found("packages")
    assert packages.state == "broken"
    assert "numpy is 1.26.4, but >=2.0 is needed" in packages.found
    assert "tqdm is missing" in packages.found


GPU = Gpu("NVIDIA H100", (9, 0))


@pytest.mark.parametrize(
    ("wanted", "driver", "missing", "what", "way_out"),
    [
        (None, Driver((13, 0), (GPU,)), (), "it says no", "pip install 'onnx-cte[cuda]'"),
        ((13, 0), None, (), "no NVIDIA driver", "a driver of 580 or newer, or take CUDA 12"),
        ((12, 8), None, (), "no NVIDIA driver", "install a newer driver; in a container"),
        ((13, 0), Driver((13, 0), ()), (), "it shows no GPU", "docker run --gpus all"),
        (
            (13, 0),
            Driver((12, 4), (GPU,)),
            ("libcudnn.so.9",),
            "supports CUDA up to 12.4, and this ONNX Runtime is built for CUDA 13.0",
            "'onnx-cte[cuda12]'",
        ),
        ((12, 8), Driver((12, 4), (GPU,)), (), "it says no", "nvidia-smi"),
        (
            (13, 0),
            Driver((13, 0), (Gpu("Tesla V100", (7, 0)),)),
            (),
            "Tesla V100 (compute capability 7.0) is older than CUDA 13",
            "'onnx-cte[cuda12]'",
        ),
        (
            (13, 0),
            Driver((13, 0), (GPU,)),
            ("libcublasLt.so.13", "libcudnn.so.9"),
            "CUDA 13 or cuDNN 9 are not found: libcublasLt.so.13, libcudnn.so.9",
            "pip install 'onnx-cte[cuda]'",
        ),
        (
            (12, 8),
            Driver((12, 8), (GPU,)),
            ("libcudnn.so.9",),
            "CUDA 12 or cuDNN 9 are not found: libcudnn.so.9",
            "pip install 'onnx-cte[cuda12]'",
        ),
        ((13, 0), Driver((13, 0), (GPU,)), (), "it says no", "another program holds the GPU"),
    ],
)
def test_why_cuda_does_not_work(wanted, driver, missing, what, way_out):
    reason, remedy = why_no_cuda(wanted, driver, missing, "it says no")
    assert what in reason
    assert way_out in remedy


def test_what_cuda_this_runtime_wants():
    wanted = diagnosis.cuda_wanted()
    built = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    assert (wanted is None) == (not built)
    assert wanted is None or wanted >= (12, 0)


def test_libraries_that_are_not_there(monkeypatch):
    def load(name):
        if "cudnn" in name:
            raise OSError(name)

    monkeypatch.setattr(diagnosis.ctypes, "CDLL", load)
    monkeypatch.setattr(diagnosis.platform, "system", lambda: "Linux")
    monkeypatch.setattr(diagnosis, "preload", lambda: None)
    assert diagnosis.missing_libraries(13) == ("libcudnn.so.9",)
    monkeypatch.setattr(diagnosis.platform, "system", lambda: "Darwin")
    assert diagnosis.missing_libraries(13) == ()


class FakeDriver:
    """NVIDIA's library as far as it is asked, with two GPUs."""

    def __init__(self, starts=True):
        self.starts = starts

    def cuDriverGetVersion(self, into):
        into._obj.value = 12040

    def cuInit(self, flags):
        return 0 if self.starts else 100

    def cuDeviceGetCount(self, into):
        into._obj.value = 2

    def cuDeviceGet(self, into, index):
        into._obj.value = index

    def cuDeviceGetName(self, text, length, device):
        text.value = f"GPU {device.value}".encode()

    def cuDeviceGetAttribute(self, into, attribute, device):
        into._obj.value = {75: 8, 76: 6}[attribute] + device.value


@pytest.mark.parametrize("starts", [True, False])
def test_the_driver_is_asked_itself(monkeypatch, starts):
    monkeypatch.setattr(diagnosis.ctypes, "CDLL", lambda name: FakeDriver(starts))
    gpus = (Gpu("GPU 0", (8, 6)), Gpu("GPU 1", (9, 7))) if starts else ()
    assert diagnosis.find_driver() == Driver((12, 4), gpus)


def test_no_driver(monkeypatch):
    def absent(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(diagnosis.ctypes, "CDLL", absent)
    assert diagnosis.find_driver() is None


def test_a_device_that_gives_wrong_numbers(monkeypatch):
    monkeypatch.setattr(
        doctor.Session, "run", lambda self, feeds, outputs: [np.zeros((1, 1, 64, 64))]
    )
    trial = found("trial run on CPU")
    assert trial.state == "broken"
    assert "CPUExecutionProvider gives wrong numbers" in trial.found


def test_extras_are_those_of_the_project():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = stated["project"]["optional-dependencies"]
    assert set(extras) - DEVELOPERS - {"cuda", "cuda12"} == set(EXTRAS)
    for name, extra in EXTRAS.items():
        packages = {re.split(r"[<>=\[; ]", text)[0] for text in extras[name]}
        assert packages == set(extra.packages)


def test_an_extra_that_is_not_there(monkeypatch):
    def faked(name):
        if name == "POT":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", faked)
    extra = found("extra transport")
    assert (extra.state, extra.found) == ("note", "not installed (POT); for the estimator otce")
    assert "pip install 'onnx-cte[transport]'" in extra.remedy


def call(*arguments):
    return CliRunner().invoke(main, ["doctor", *arguments])


def test_the_command_tells_and_its_exit_code_too(no_cuda):
    result = call()
    assert result.exit_code == 0, result.output
    assert "note    CUDA: does not work: there is no NVIDIA driver\n        -> " in result.stdout
    assert result.stdout.endswith("\nnothing is broken\n")
    result = call("--device", "cuda")
    assert result.exit_code == 1
    assert result.stdout.endswith("\nbroken: CUDA\n")


def test_json_and_nothing_else_on_stdout(no_cuda, capfd):
    result = call("--device", "cuda", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["broken"] == ["CUDA"]
    (cuda,) = (one for one in document["findings"] if one["about"] == "CUDA")
    assert set(cuda) == {"about", "state", "found", "remedy"}
    assert capfd.readouterr().out == ""


def test_what_the_runtime_prints_does_not_reach_stdout(monkeypatch, capsys):
    def noisy():
        print("Failed to load libcublasLt.so.13")

    monkeypatch.setattr(onnxruntime, "preload_dlls", noisy, raising=False)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: object())
    devices.preload()
    assert capsys.readouterr().out == ""


def test_quiet_tells_what_is_broken_alone(no_cuda):
    assert call("-q").output == ""
    broken = call("-q", "--device", "cuda")
    assert broken.exit_code == 1
    assert [line.split()[0] for line in broken.stdout.splitlines()] == ["broken", "->"]


@pytest.mark.skipif(find_driver() is not None, reason="there is an NVIDIA driver")
def test_cuda_where_there_is_no_driver(tmp_path):
    """Nothing is faked: what a user gets who asks for CUDA on a machine that has none."""
    command = [sys.executable, "-m", "onnx_cte.cli"]
    asked = subprocess.run(
        [*command, "doctor", "--device", "cuda"], capture_output=True, text=True, cwd=tmp_path
    )
    assert asked.returncode == 1
    assert asked.stderr == ""
    assert asked.stdout.endswith("\nbroken: CUDA\n")
    assert re.search(
        r"\nbroken  CUDA: does not work: .+\n        -> without an NVIDIA GPU leave it"
        r": models run on the CPU. With one, ",
        asked.stdout,
    )
    (tmp_path / "images").mkdir()
    Picture.fromarray(np.eye(64, dtype=np.uint8)).save(tmp_path / "images" / "x.png")
    options = ["rank", bundled_models(), "images", "--device", "cuda"]
    ranked = subprocess.run([*command, *options], capture_output=True, text=True, cwd=tmp_path)
    assert (ranked.returncode, ranked.stdout) == (1, "")
    *_, told = ranked.stderr.splitlines()  # below what files were taken for
    assert told.startswith("onnx-cte: device 'cuda' was asked for, but only 'cpu' works here: ")
    assert "Use --device cpu (or auto)" in told
    assert "`onnx-cte doctor --device cuda`" in told
