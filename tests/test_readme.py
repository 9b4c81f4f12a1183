"""What the README promises: its commands are the ones that CI runs, its code runs."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

import onnx_cte as oc

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with all that the README's code speaks of."""
    monkeypatch.chdir(tmp_path)
    for folder in ("plate7", "val/images", "val/labels"):
        (tmp_path / folder).mkdir(parents=True)
    for name, image, labels in oc.simulate_images(5, 0, shape=(64, 64)):
        tifffile.imwrite(tmp_path / "plate7" / f"{name}.tif", image)
        tifffile.imwrite(tmp_path / "val" / "images" / f"{name}.tif", image)
        tifffile.imwrite(tmp_path / "val" / "labels" / f"{name}.tif", labels.astype(np.uint16))
    (tmp_path / "models").symlink_to(ROOT / "models")
    return tmp_path


def test_the_python_code_runs(place, capsys):
    from dataclasses import dataclass
    from typing import ClassVar

    names = {
        "my_network": lambda tensor: tensor.clip(0, 1),
        "np": np,
        "oc": oc,
        "dataclass": dataclass,
        "ClassVar": ClassVar,
        "__name__": "readme",
    }
    assert len(BLOCKS) == 8
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "rank  model" in printed
    assert "Kendall tau-b" in printed
    assert (place / "plate7-report" / "ranking.json").is_file()
    page = (place / "plate7-report" / "index.html").read_text(encoding="utf-8")
    assert page.count("with the outlines of") == 5 * 6
    coverage = oc.rank(names["models"], oc.Images("plate7"), names["Coverage"]())
    assert all(0 <= score.value <= 1 for score in coverage)


def test_the_first_block_has_six_lines():
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert len(lines) == 6


def test_ci_runs_the_readme_s_commands():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (command,) = re.findall(r'^pip install -e "\.\[test\]" && .*$', README, re.M)
    assert command == 'pip install -e ".[test]" && pytest'
    assert 'pip install -e "\\.\\[test\\]"' in script
    assert script.rstrip().endswith('eval "$test_command"')


def test_every_command_and_file_it_names_exists():
    from onnx_cte.cli import main

    for command in re.findall(r"`onnx-cte (\w+)", README):
        assert command in main.commands
    for room in re.findall(r"`(\w+)(?:\.py|/)`", README.split("## Architecture")[1]):
        path = ROOT / "onnx_cte" / room
        assert (
            path.is_dir()
            or path.with_suffix(".py").is_file()
            or (ROOT / room).is_dir()
            or (ROOT / "onnx_cte" / "segmenters" / f"{room}.py").is_file()
            or (ROOT / "onnx_cte" / "estimators" / f"{room}.py").is_file()
        ), room
