"""Both wheels of ONNX Runtime, really installed over each other, and mended as doctor says."""

import json
import os
import platform
import re
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"),
        reason="onnxruntime-gpu is for Linux and Windows on x86-64, and links are of Linux",
    ),
]

ROOT = Path(__file__).parents[1]
VERSIONS = ">=1.21,<2"
UNREACHABLE = ("Could not find a version", "No matching distribution", "Connection", "timed out")


def run(*command, **options):
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, **options)


@pytest.fixture
def python(tmp_path):
    """A Python of its own, which has all that this one has but ONNX Runtime."""
    lent = tmp_path / "lent"
    lent.mkdir()
    for folder in {sysconfig.get_path("purelib"), *site.getsitepackages()}:
        for found in Path(folder).iterdir() if Path(folder).is_dir() else ():
            # Those with a .pth of their own would bring their folders in, ONNX Runtime too.
            if not found.name.startswith("onnxruntime") and found.suffix != ".pth":
                (lent / found.name).symlink_to(found)
    venv.create(tmp_path / "own", with_pip=True)
    (library,) = (tmp_path / "own" / "lib").glob("python*/site-packages")
    (library / "lent.pth").write_text(f"{ROOT}\n{lent}\n")
    return tmp_path / "own" / "bin" / "python"


@pytest.fixture
def environment():
    """Without what points this process to its own packages."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def installed(python, environment, *names):
    # Their dependencies are lent.
    wanted = [f"{name}{VERSIONS}" for name in names]
    done = run(python, "-m", "pip", "install", "-q", "--no-deps", *wanted, env=environment)
    if done.returncode and any(text in done.stderr for text in UNREACHABLE):
        pytest.skip(f"the package index cannot be reached: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def examined(python, environment, *options):
    """What doctor says: its exit code, and its findings by what they are about."""
    command = (python, "-m", "onnx_cte.cli", "doctor", "--json", *options)
    done = run(*command, env=environment, cwd=python.parent)
    assert done.stdout, done.stderr
    found = {one["about"]: one for one in json.loads(done.stdout)["findings"]}
    return done.returncode, found


def test_doctor_finds_both_wheels_and_its_remedy_mends_them(python, environment):
    installed(python, environment, "onnxruntime-gpu")
    installed(python, environment, "onnxruntime")
    code, found = examined(python, environment)
    broken = found["ONNX Runtime"]
    assert (code, broken["state"]) == (1, "broken")
    both = r"onnxruntime-gpu 1\.\S+, onnxruntime 1\.\S+ are both installed, and overwrite"
    assert re.match(both, broken["found"])
    # The remedy, word for word: what it has removed, and what it installs on this system.
    remove, install = broken["remedy"].split("; then install one of them: ")
    assert remove.startswith("pip uninstall -y ")
    done = run(python, "-m", *remove.split(), env=environment)
    assert done.returncode == 0, done.stderr
    (wheel,) = re.findall(r"pip install (\S+) \(Linux and Windows on x86-64\)", install)
    installed(python, environment, wheel)
    code, found = examined(python, environment)
    assert code == 0
    assert found["ONNX Runtime"]["state"] == found["trial run on CPU"]["state"] == "fine"
    assert found["ONNX Runtime"]["found"].startswith("onnxruntime-gpu 1.")


def test_what_is_left_when_one_of_both_is_removed(python, environment):
    """The files were shared: uninstalling either takes them from the other."""
    installed(python, environment, "onnxruntime-gpu")
    installed(python, environment, "onnxruntime")
    done = run(python, "-m", "pip", "uninstall", "-y", "-q", "onnxruntime", env=environment)
    assert done.returncode == 0, done.stderr
    code, found = examined(python, environment)
    assert code == 1
    assert found["ONNX Runtime"]["state"] == "broken"
    assert found["ONNX Runtime"]["remedy"].startswith("pip uninstall -y onnxruntime ")
    assert "trial run on CPU" not in found
