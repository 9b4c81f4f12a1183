"""Who may import whom, what the top level holds, and how long a module may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "onnx_cte"

MAY_IMPORT = {  # room: the rooms it may use
    "errors": set(),
    "tables": set(),
    "bank": set(),
    "percentiles": set(),
    "needs": {"errors"},
    "features": set(),
    "types": {"bank", "features", "needs"},
    "correlation": {"errors"},
    "separation": {"correlation"},
    "ranking": {"errors", "separation", "tables"},
    "steps": {"errors", "percentiles"},
    "preprocessing": {"errors", "steps"},
    "images": {"errors", "types"},
    "perturbations": {"errors", "needs"},
    "descriptor": {"errors", "types", "preprocessing", "steps"},
    "tiling": {"errors"},
    "graph": {"errors"},
    "metrics": {"errors"},
    "sessions": {"errors"},
    "bundled": {"errors"},
    "simulation": {"errors"},
    "stating": {"errors"},
    "estimators": {"bank", "errors", "features", "needs", "types", "metrics", "perturbations"}
    | {"stating"},
    "postprocessing": {"errors", "stating", "types"},
    "segmenters": {"errors", "features", "needs", "types", "descriptor", "preprocessing", "tiling"}
    | {"graph", "perturbations", "postprocessing", "sessions"},
    "packaging": {"descriptor", "errors", "graph", "images", "needs", "postprocessing"}
    | {"preprocessing", "segmenters", "simulation", "types"},
    "sample_size": set(),
    "bootstrap": {"bank", "errors", "sample_size", "types"},
    "agreement": {"correlation", "errors", "ranking", "tables"},
    "documents": {"errors", "ranking", "agreement", "separation"},
    "sheets": {"documents", "ranking"},
    "verdict": {"ranking"},
    "pictures": {"errors"},
    "page": {"agreement", "pictures", "ranking", "tables", "verdict"},
    "writing": {"errors"},
    "report": {"agreement", "documents", "errors", "page", "pictures", "ranking", "sheets"}
    | {"writing"},
    "evaluations": {"agreement", "documents", "errors", "ranking", "sheets", "writing"},
    "console": {"ranking", "agreement", "tables", "verdict"},
    "evidence": {"errors", "bank"},
    "overlay": set(),
    "predicting": {"errors", "needs", "types"},
    "telling": {"ranking"},
    "thumbnails": {"overlay"},
    "picturing": {"errors", "needs", "pictures", "predicting", "ranking", "telling"}
    | {"thumbnails", "types"},
    "provenance": set(),
    "progress": set(),
    "planning": {"errors", "measuring", "needs", "runner", "types"},
    "doctor": {"errors", "graph", "provenance", "sessions", "types"},
    "measuring": {"errors", "needs", "types", "bank", "evidence", "provenance"},
    "scoring": {"bank", "bootstrap", "errors", "measuring", "ranking", "sample_size"}
    | {"separation", "types"},
    "runner": {"errors", "types", "bootstrap", "evidence", "measuring"}
    | {"progress", "provenance", "ranking", "scoring"},
    "sweep": {"bootstrap", "errors", "estimators", "needs", "perturbations", "progress", "ranking"}
    | {"runner", "tables", "types"},
    "cli": {"errors", "images", "needs", "segmenters", "estimators", "metrics", "perturbations"}
    | {"measuring", "runner"}
    | {
        "agreement",
        "evaluations",
        "report",
        "console",
        "ranking",
        "tables",
        "types",
        "bundled",
        "simulation",
    }
    | {"documents", "graph", "overlay", "picturing", "postprocessing", "predicting", "sweep"}
    | {"doctor", "packaging", "planning", "progress", "provenance", "sessions", "writing"},
}
DOORS = {  # the only rooms that may import a heavy or replaceable package
    "onnx": {"graph"},
    "google": {"graph"},  # protobuf, which ONNX files are
    "onnxruntime": {"sessions"},
    "click": {"cli"},
    "jinja2": {"page"},
    "markupsafe": {"page"},
    "bioimageio": {"descriptor"},
    "ruyaml": {"descriptor"},
    "tifffile": {"images"},
    "PIL": {"images", "cli", "thumbnails"},
    "imagecodecs": {"images"},
    "zarr": {"images"},
    "pylibCZIrw": {"images"},
    "bioio_nd2": {"images"},
    "bioio_lif": {"images"},
    "scipy": {"estimators", "metrics", "postprocessing", "sample_size", "simulation"},
    "ot": {"estimators"},
    "pandas": {"ranking"},
    "sqlite3": {"evidence"},
    "threadpoolctl": {"runner"},
    "tqdm": {"progress", "picturing"},
    "skimage": {"postprocessing"},
    "torch": set(),  # tools/ only
}
MODULES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]
EACH = pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))


def imported(tree):
    """(package, room) of each import: ("onnx_cte", "metrics") or ("numpy", None)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        else:
            names = []
        for name in names:
            top, *rest = name.split(".")
            yield top, rest[0] if rest else None


def violations(room, tree):
    for top, other in imported(tree):
        if top == "onnx_cte" and other != room and other not in MAY_IMPORT[room]:
            yield f"{room} must not import {other or 'the package root'}"
        if top in DOORS and room not in DOORS[top]:
            yield f"{room} must not import {top}"


@EACH
def test_imports_keep_the_rule(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in MAY_IMPORT, f"a new room: say what {room} may import"
    assert list(violations(room, ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("estimators", "from onnx_cte.sessions import Session"),
        ("metrics", "import onnxruntime"),
        ("images", "from onnx_cte import rank"),
        ("runner", "from onnx_cte.estimators import CTE"),
    ],
)
def test_a_planted_import_is_found(room, line):
    assert list(violations(room, ast.parse(line)))


@EACH
def test_modules_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


def test_no_drawers():
    assert not {p.stem for p in MODULES} & {"utils", "helpers", "common", "base", "core", "misc"}


def test_every_room_is_there():
    rooms = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in MODULES}
    assert rooms == set(MAY_IMPORT)


def test_the_top_level_is_as_given():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: build folders may lie about")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {name.split("/")[0] for name in listed} == {
        ".ci", "LICENSE", "README.md", "models", "onnx_cte", "pyproject.toml", "tests", "tools",
    }  # fmt: skip


def test_importing_the_package_imports_neither_torch_nor_the_zoo_s_reader():
    code = (
        "import sys, onnx_cte; "
        "heavy = ('torch', 'bioimageio', 'pandas', 'skimage', 'click', 'onnxruntime', 'jinja2'); "
        "heavy += ('zarr', 'pylibCZIrw', 'bioio_nd2', 'bioio_lif'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
