"""The demo, from the checkout and from an installed wheel."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import onnx_cte as oc
from onnx_cte.errors import NothingToRank
from onnx_cte.estimators import Credibility

ROOT = Path(__file__).parents[1]


def test_the_bundled_models_are_found():
    assert len(oc.open_models(oc.bundled_models())) == 6
    with pytest.raises(NothingToRank, match="the bundled models 'plants' are not in this"):
        oc.bundled_models("plants")


def run_demo(folder, **environment):
    command = [sys.executable, "-m", "onnx_cte.cli", "demo", "--out", str(folder / "demo")]
    found = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return found.stdout, folder / "demo"


def check(printed, out):
    assert "24 simulated images of fluorescent nuclei, ranked without labels" in printed
    assert "agreement of the two" in printed
    document = json.loads((out / "ranking.json").read_text(encoding="utf-8"))
    assert len(document["ranking"]) == 6
    assert document["failed"] == []
    assert document["estimator"] == repr(Credibility())
    assert re.search(r"^rank  model +score +consistency +boundary +consensus ", printed, re.M)
    evaluation = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    (found,) = evaluation["agreement"]
    assert (found["estimator"], found["models"]) == (repr(Credibility()), 6)
    assert len(list((out / "images").iterdir())) == 24
    return document


@pytest.mark.slow
def test_the_demo_from_the_checkout_and_from_a_wheel_agree(tmp_path):
    (tmp_path / "a").mkdir()
    checkout = check(*run_demo(tmp_path / "a", PYTHONPATH=str(ROOT)))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("onnx_cte-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    assert (tmp_path / "site" / "onnx_cte" / "py.typed").is_file()
    assert not list((tmp_path / "site").rglob(".gitignore"))
    (tmp_path / "b").mkdir()
    where = subprocess.run(
        [sys.executable, "-c", "import onnx_cte; print(onnx_cte.bundled_models())"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert where == str(tmp_path / "site" / "onnx_cte" / "models" / "nuclei")
    wheel_run = check(*run_demo(tmp_path / "b", PYTHONPATH=str(tmp_path / "site")))
    for document, folder in ((checkout, "a"), (wheel_run, "b")):
        document["provenance"].pop("time")
        assert str(tmp_path / folder) in document["provenance"].pop("source")
    assert checkout == wheel_run
