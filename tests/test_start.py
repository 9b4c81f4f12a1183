"""How long it takes to start: what one waits for at every command, and in every script."""

import os
import resource
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="CPU time of children is not told"),
]


def seconds(arguments, folder):
    """CPU time of the fastest of several starts, bytecode being there as in an installation."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder)
    taken = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], env=environment, check=True, stdout=-3)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken)


def test_importing_takes_less_than_a_third_of_a_second_more_than_numpy(tmp_path):
    numpy = seconds(["-c", "import numpy"], tmp_path)
    assert seconds(["-c", "import numpy, onnx_cte"], tmp_path) - numpy < 0.3


def test_help_is_there_in_half_a_second(tmp_path):
    assert seconds(["-m", "onnx_cte.cli", "--help"], tmp_path) < 0.5
