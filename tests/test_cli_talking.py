"""How much is said, where, and in which colours; what is said of the program itself."""

import logging
import os
import subprocess
import sys

import click
import onnxruntime
import pytest
from click.testing import CliRunner
from networks import blur
from test_runner import write_images

from onnx_cte.cli import main
from onnx_cte.cli.completion import SHELLS
from onnx_cte.cli.options import told


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blur(tmp_path / "models" / "steady.onnx", gain=20)
    blur(tmp_path / "models" / "sharp.onnx", gain=60, width=3)
    write_images(tmp_path, 3)
    return tmp_path


def call(*arguments, **options):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **options)


RANK = ("rank", "models", "images")


def test_verbose_tells_on_stderr_what_is_done(place):
    (place / "models" / "notes.onnx").write_text("no network")
    plain, verbose = call(*RANK, "--out", "a"), call(*RANK, "--out", "b", "-v")
    assert plain.stderr == ""
    assert verbose.stdout.replace("written: b/", "written: a/") == plain.stdout
    assert "<Images('images'): 3 from 3 files>" in verbose.stderr
    assert "notes: cannot be used: notes.onnx: is no ONNX model" in verbose.stderr
    assert "steady: opened in " in verbose.stderr
    assert "run by CPUExecutionProvider" in verbose.stderr
    assert "steady: 3 images in " in verbose.stderr
    assert logging.getLogger("onnx_cte").handlers == []
    assert call(*RANK, "--out", "c").stderr == ""


def test_verbose_tells_where_an_error_arose(place):
    plain, verbose = call("rank", "none", "images"), call("rank", "none", "images", "-v")
    assert plain.exit_code == verbose.exit_code
    assert "Traceback" not in plain.stderr
    assert "Traceback" in verbose.stderr
    assert verbose.stderr.endswith(plain.stderr)


def test_quiet_leaves_results_alone(place):
    plain, quiet = call(*RANK, "--limit", 2), call(*RANK, "--limit", 2, "-q")
    assert "a quick look: the first 2 images alone (--limit)" in plain.stdout
    assert "written: " in plain.stdout
    assert "quick look" not in quiet.stdout
    assert "written: " not in quiet.stdout
    assert plain.stdout.startswith(quiet.stdout.rstrip("\n"))
    failing = call("rank", "none", "images", "-q")
    assert failing.stderr.startswith("onnx-cte: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "models", "images", "labels", "--limit", 2),
        ("predict", "models", "images", "--limit", 2),
    ],
)
def test_quick_looks_by_the_other_commands(place, arguments):
    plain, quiet = call(*arguments), call(*arguments, "-q")
    assert plain.exit_code == quiet.exit_code == 0, plain.output
    assert "a quick look: the first 2 images alone (--limit)" in plain.stdout
    assert "quick look" not in quiet.stdout
    assert "written: " not in quiet.stdout


@pytest.mark.parametrize(
    ("command", "offered"),
    [
        *((name, "vq") for name in ("rank", "evaluate", "predict", "demo", "report")),
        *((name, "vq") for name in ("mask", "split")),
        ("inspect", "v"),  # all that it prints is asked for
        ("doctor", "q"),  # all that it knows is printed
        ("list", ""),
        ("completion", ""),
    ],
)
def test_which_commands_can_be_quiet_and_verbose(command, offered):
    known = {option for one in main.commands[command].params for option in one.opts}
    assert "".join(letter for letter in "vq" if f"-{letter}" in known) == offered


def test_what_is_mistyped_is_guessed(place):
    for arguments, meant in (
        (("rank", "modles", "images"), "models"),
        (("rank", "models", "Image"), "images"),
        (("rank", "models", "imges/*.png"), "images/*.png"),
        (("rank", "model/steady.onnx", "images"), "models/steady.onnx"),
        (("evaluate", "models", "images", "lables"), "labels"),
        (("predict", place / "Models" / "steady.onnx", "images"), place / "models/steady.onnx"),
        (("report", "imagse"), "images"),
    ):
        result = call(*arguments)
        assert result.exit_code == 1
        assert result.stderr.endswith(f"did you mean '{meant}'?\n"), result.stderr
    for there in ("images/*.jpg", "elsewhere/plate", "images/sub/*.png", "models/shrp.onnx/x"):
        result = call("rank", "models", there)
        assert result.exit_code == 1
        assert "did you mean" not in result.stderr


def test_both_at_once_are_refused(place):
    result = call(*RANK, "-q", "-v")
    assert result.exit_code == 2
    assert "--verbose and --quiet contradict each other" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    ("variable", "options", "bar", "colour"),
    [
        (None, (), True, True),
        ("NO_COLOR", (), True, False),
        (None, ("-q",), False, True),
    ],
)
def test_a_terminal_gets_colours_and_a_bar(place, variable, options, bar, colour):
    command = [sys.executable, "-m", "onnx_cte.cli", "predict", "models", "images", *options]
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    if variable:
        environment[variable] = "1"
    (place / "models" / "notes.onnx").write_text("no network")
    ours, theirs = os.openpty()
    subprocess.run(command, cwd=place, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert ("image/s]" in shown) == bar
    assert ("\x1b[31mnot predicted" in shown) == colour
    assert "notes: notes.onnx: is no ONNX model" in shown


def test_no_colours_where_there_is_no_terminal(place):
    result = call("rank", "models", "images", "--limit", 2)
    assert "warning: " in result.stdout
    assert "\x1b" not in result.output
    coloured = call("rank", "models", "images", "--limit", 2, color=True)
    assert "\x1b[33mwarning:\x1b[0m " in coloured.stdout
    refused = call("rank", "models", "images", "--limit", 2, color=True, env={"NO_COLOR": "1"})
    assert "\x1b" not in refused.output


def test_a_mistake_of_the_program_is_told_as_one():
    @click.command()
    @told
    def failing():
        raise TypeError("no such thing")

    result = CliRunner().invoke(failing)
    assert result.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert "Traceback" in result.stderr
    assert "a mistake in onnx-cte, not in what you gave it: TypeError: no such thing" in last


def test_too_little_memory_is_told():
    @click.command()
    @told
    def failing():
        raise MemoryError

    result = CliRunner().invoke(failing)
    assert result.exit_code == 1
    assert result.stderr.startswith("onnx-cte: the memory of this computer does not suffice")
    assert "Traceback" not in result.stderr


def test_version_tells_of_what_runs_the_models(monkeypatch):
    shown = call("--version").stdout
    assert shown.startswith("onnx-cte, version ")
    assert f"ONNX Runtime {onnxruntime.__version__} (onnxruntime" in shown
    assert f"providers: {', '.join(onnxruntime.get_available_providers())}" in shown
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    broken = call("--version")
    assert broken.exit_code == 0
    assert "overwrite each other" in broken.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_says_how_to_install_it(shell, monkeypatch):
    file, line = SHELLS[shell]
    result = call("completion", shell)
    assert result.stdout == f"# Add this line to {file}, and open a new terminal:\n{line}\n"
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert call("completion").stdout == result.stdout


def test_completion_for_a_shell_there_is_none_for(monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    result = call("completion")
    assert result.exit_code == 2
    assert "is 'tcsh', and there is completion for bash, zsh, fish" in result.stderr
    assert call("completion", "tcsh").exit_code == 2


def test_what_a_shell_is_offered():
    command = [sys.executable, "-m", "onnx_cte.cli"]

    def offered(words, number):
        environment = {**os.environ, "_ONNX_CTE_COMPLETE": "bash_complete"}
        environment |= {"COMP_WORDS": words, "COMP_CWORD": str(number)}
        code = "from onnx_cte.cli import main; main(prog_name='onnx-cte')"
        return subprocess.run(
            [command[0], "-c", code], env=environment, capture_output=True, text=True
        ).stdout.split()

    assert offered("onnx-cte ra", 1) == ["plain,rank"]
    assert "plain,--estimator" in offered("onnx-cte rank --est", 2)
    assert offered("onnx-cte rank models plate", 3) == ["file,plate"]


def test_progress_of_predict_counts_models_that_fail(place):
    (place / "models" / "notes.onnx").write_text("no network")
    result = call("predict", "models", "images")
    assert result.exit_code == 3
    assert "not predicted\n  notes: notes.onnx: is no ONNX model" in result.stdout
    assert result.stderr == ""
