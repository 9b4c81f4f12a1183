import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from networks import blur
from PIL import Image as Picture
from test_runner import but_for_times, discs, write_images

from onnx_cte.cli import main
from onnx_cte.estimators import CTE, Confidence, Credibility
from onnx_cte.estimators.boundary import Boundary
from onnx_cte.estimators.vote import Vote
from onnx_cte.images import Images
from onnx_cte.perturbations import Gamma, GaussianNoise
from onnx_cte.report import read_ranking, write_report
from onnx_cte.runner import rank
from onnx_cte.segmenters import open_models


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blur(tmp_path / "models" / "steady.onnx", gain=20)
    blur(tmp_path / "models" / "sharp.onnx", gain=60, width=3)
    blur(tmp_path / "models" / "jumpy.onnx", gain=60, width=1)
    write_images(tmp_path)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


PARTS = ("consistency", "boundary", "consensus")
BY_CREDIBILITY = ["sharp", "steady", "jumpy"]
"""Their masks are nested: that of sharp lies between the others, nearer to that of steady."""


@pytest.mark.parametrize(
    ("stated", "parts", "order"),
    [
        ((), PARTS, BY_CREDIBILITY),
        (("--estimator", "cte"), (), ["steady", "sharp", "jumpy"]),
    ],
    ids=["default", "cte"],
)
def test_rank_prints_a_table_and_writes_files(place, stated, parts, order):
    result = call("rank", "models", "images", "--out", "plate7", "--jobs", 1, *stated)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    beside = "95 % interval rank 95 % foreground images empty skipped"
    assert " ".join(lines[0].split()) == " ".join(["rank model score", *parts, beside])
    assert [line.split()[1] for line in lines[2:5]] == order
    assert "normalised by percentile (assumed)" in result.stdout
    assert "run by CPUExecutionProvider, seed 0" in result.stdout
    assert sorted(os.listdir(place / "plate7")) == [
        "evidence.sqlite",
        "images.csv",
        "index.html",
        "pictures.json",
        "ranking.csv",
        "ranking.json",
    ]


def test_rank_is_by_credibility_and_its_score_is_made_of_the_parts(place):
    call("rank", "models", "images")
    found = read_ranking("onnx-cte-results")
    assert found.estimator == repr(Credibility())
    assert [p.name for p in Credibility().perturbations] == ["noise=0.1", "gamma=1.1..1.2"]
    for score in found:
        assert 0.8 < score.parts["consistency"] < 1
        # Where outlines follow the image, as those of discs do, agreement alone decides.
        assert 0.8 < score.parts["boundary"] <= 1
        own = score.parts["consistency"] * score.parts["boundary"] ** 0.5
        assert score.value == pytest.approx(score.parts["consensus"] * own**0.02)
    shown = call("rank", "--help").stdout
    assert "[default: credibility]" in " ".join(shown.split())


DISTURBED = (Gamma(), GaussianNoise((0.05, 0.2)))


@pytest.mark.parametrize(
    ("stated", "estimator"),
    [
        ((), Credibility(DISTURBED, "ei")),
        (("--estimator", "cte"), CTE("ei", DISTURBED)),
    ],
    ids=["default", "cte"],
)
def test_the_command_and_python_give_the_same_json(place, stated, estimator):
    result = call(
        *("rank", "models", "images", "--out", "a", "--metric", "ei", "--perturb", "gamma"),
        *("--perturb", "noise=0.05..0.2", "--seed", 4, "--jobs", 1, *stated),
    )
    assert result.exit_code == 0
    ranking = rank(open_models("models"), Images("images"), estimator, seed=4, jobs=1)
    write_report(ranking, "b")
    one, other = (Path(folder, "ranking.json").read_text() for folder in "ab")
    differing = r',?\s*"(started|seconds|estimator_seconds|command|folder)": [^\n]*'
    without_times = [re.sub(differing, "", text) for text in (one, other)]
    assert without_times[0] == without_times[1]


def test_json_to_stdout(place):
    result = call("rank", "models", "images", "--json")
    document = json.loads(result.stdout)
    assert [row["model"] for row in document["ranking"]] == BY_CREDIBILITY
    assert all(tuple(row["parts"]) == PARTS for row in document["ranking"])
    assert document == json.loads(Path("onnx-cte-results/ranking.json").read_text())


def test_evaluate_sets_estimators_beside_the_truth(place):
    result = call("evaluate", "models", "images", "labels", "--out", "e")
    assert result.exit_code == 0, result.output
    cte = ("cte nhd noise=0.1", "cte ei gamma=1.1..1.2")
    for title in ("credibility", *cte, "confidence", "entropy"):
        # Beside the performance, in how it separates, and in how it agrees.
        assert result.stdout.count(title) == 3
    document = json.loads(Path("e/evaluation.json").read_text())
    assert len(document["agreement"]) == 7
    assert document["agreement"][0]["estimator"] == repr(Credibility())
    assert document["agreement"][0]["models"] == 3
    as_json = call("evaluate", "models", "images", "labels", "--out", "e", "--json")
    again = json.loads(as_json.stdout)
    assert again["agreement"] == document["agreement"]


def test_evaluate_with_one_metric_and_perturbation(place):
    result = call(
        *("evaluate", "models", "images", "labels", "--metric", "nhd", "--perturb", "flip=x"),
    )
    document = json.loads(Path("onnx-cte-evaluation/evaluation.json").read_text())
    assert result.exit_code == 0
    assert [row["estimator"] for row in document["agreement"]] == [
        repr(Credibility()),
        "CTE(metric='nhd', perturbations=(Flip(axis='x'),), draws=2)",
        "Confidence(kind='confidence')",
        "Confidence(kind='entropy')",
    ]


def test_only_the_images_named(place):
    Path("chosen.txt").write_text("0\n3.png\n\n")
    result = call("rank", "models", "images", "--only", "chosen.txt", "--json")
    document = json.loads(result.stdout)
    assert {row["images"] for row in document["ranking"]} == {2}


@pytest.mark.parametrize("kind", ["estimators", "metrics", "perturbations"])
def test_list(kind):
    everything, some = call("list"), call("list", kind)
    assert some.exit_code == 0
    assert some.stdout.strip() in everything.stdout
    assert {"estimators": "cte", "metrics": "nhd", "perturbations": "noise"}[kind] in some.stdout
    assert call("list", "estimator").exit_code == 2


def test_help_names_every_command():
    result = call("--help")
    commands = re.findall(r"^  (\w+) +\S.*$", result.stdout.split("Commands:")[1], re.M)
    assert commands[:4] == ["rank", "demo", "evaluate", "predict"]  # in the order of use
    others = {"report", "inspect", "package", "mask", "split", "list", "doctor", "completion"}
    assert set(commands[4:]) == others
    # Each says in a line what it does, to the end.
    assert "..." not in result.stdout.split("Commands:")[1]
    assert call("rank", "--help").exit_code == 0
    shown = " ".join(call("evaluate", "--help").stdout.split())
    assert "[default: credibility,cte,confidence,entropy]" in shown
    assert call("--version").stdout.startswith("onnx-cte, version ")


def test_a_failed_model_is_exit_code_3(place):
    (place / "models" / "notes.onnx").write_text("no network")
    result = call("rank", "models", "images")
    assert result.exit_code == 3
    assert "failed, not ranked\n  notes: notes.onnx: is no ONNX model" in result.stdout
    assert read_ranking("onnx-cte-results").failed[0][0] == "notes"


def empty_images(place):
    (place / "nothing").mkdir()
    return ["rank", "models", "nothing"]


def no_models(place):
    (place / "none").mkdir()
    (place / "none" / "readme.txt").write_text("")
    return ["rank", "none", "images"]


def labels_of_others(place):
    (place / "others").mkdir()
    Picture.fromarray(discs(0)[1].astype(np.uint16)).save(place / "others" / "elsewhere.png")
    return ["evaluate", "models", "images", "others"]


def labels_of_another_shape(place):
    for i in range(6):
        Picture.fromarray(np.eye(9, dtype=np.uint8)).save(place / "labels" / f"{i}.png")
    return ["evaluate", "models", "images", "labels"]


def unwritable(place):
    (place / "taken").write_text("a file")
    return ["rank", "models", "images", "--out", "taken"]


def only_broken_models(place):
    for path in (place / "models").iterdir():
        path.write_bytes(path.read_bytes()[:90])
    return ["rank", "models", "images"]


@pytest.mark.parametrize(
    ("arrange", "code", "complaint"),
    [
        (empty_images, 1, "nothing"),
        (no_models, 1, "no models in 'none': looked for .*; there are 1 other files"),
        (lambda _: ["rank", "nowhere", "images"], 1, "no models: 'nowhere' does not exist"),
        (lambda _: ["rank", "models", "nowhere"], 1, "nowhere"),
        (labels_of_others, 1, "elsewhere"),
        (labels_of_another_shape, 1, r"none of 6 images can be used; 0\.png: .*9 x 9|\(9, 9\)"),
        (unwritable, 1, "output folder 'taken' cannot be written: .*; choose another with --out"),
        (only_broken_models, 1, "none of 3 models can be used; jumpy: "),
        (
            lambda _: ["rank", "models", "images", "--estimator", "ctee"],
            2,
            "unknown estimator 'ctee': did you mean 'cte'",
        ),
        (
            lambda _: ["rank", "models", "images", "--metric", "nhdd"],
            2,
            "unknown consistency metric 'nhdd': did you mean 'nhd'",
        ),
        (
            lambda _: ["rank", "models", "images", "--perturb", "nose=0.1"],
            2,
            "unknown perturbation 'nose': did you mean 'noise'",
        ),
        (
            lambda _: ["rank", "models", "images", "--estimator", "accuracy"],
            2,
            "estimator 'accuracy' needs labels",
        ),
        (
            lambda _: ["rank", "models", "images", "--estimator", "confidence", "--metric", "ei"],
            2,
            "estimator 'confidence' does not take these options: .*metric",
        ),
        (
            lambda _: ["rank", "models", "images", "--estimator", "confidence", "--draws", "3"],
            2,
            "estimator 'confidence' does not take these options: .*draws",
        ),
        (
            lambda _: ["rank", "models", "images", "--draws", "0"],
            2,
            "draws is an integer of at least 1, not 0",
        ),
        (
            lambda _: ["evaluate", "models", "images", "labels", "--draws", "0"],
            2,
            "draws is an integer of at least 1, not 0",
        ),
        (
            lambda _: ["rank", "models", "images", "--without-bottleneck", "dropout=0.2"],
            2,
            "--without-bottleneck takes a perturbation of the input, and 'dropout=0.2' disturbs "
            "feature maps inside a network; write for example noise=0.1",
        ),
        (
            lambda _: [
                *("rank", "models", "images", "--estimator", "confidence"),
                *("--without-bottleneck", "noise=0.1"),
            ],
            2,
            "estimator 'confidence' does not take these options: .*perturbations",
        ),
        (lambda _: ["rank", "models", "images", "--jobs", "0"], 2, "at least 1, not 0"),
        (lambda _: ["rank", "models", "images", "--threshold", "2"], 2, r"in \[0, 1\), not 2"),
        (lambda _: ["rank", "models"], 2, "Missing argument 'IMAGES'"),
    ],
)
def test_bad_input_is_told_in_one_line(place, arrange, code, complaint):
    result = call(*arrange(place))
    assert result.exit_code == code, result.output
    assert re.search(complaint, result.stderr)
    assert result.stdout == ""
    if code == 1:  # One line, below what was understood of the files, if it came so far.
        *understood, line = result.stderr.strip().splitlines()
        assert line.startswith("onnx-cte: ")
        assert {text.split(":")[0] for text in understood} <= {"image", "images", "labels"}


def test_cuda_asked_for_and_absent(place, monkeypatch):
    monkeypatch.setattr("onnx_cte.sessions.devices.cuda_works", lambda: (False, "there is none"))
    result = call("rank", "models", "images", "--device", "cuda")
    assert result.exit_code == 1
    assert "'cuda' was asked for, but only 'cpu' works here: there is none" in result.stderr


def start(place, out):
    command = [sys.executable, "-m", "onnx_cte.cli", "rank", "models", "images", "--out", out]
    return subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def stored(place, out):
    path = place / out / "evidence.sqlite"
    if not path.exists():
        return 0
    try:
        connection = sqlite3.connect(path, timeout=5)
        return connection.execute("SELECT COUNT(*) FROM evidence").fetchone()[0]
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_goes_on_and_gives_the_same(place, stop):
    for i in range(6, 60):
        Picture.fromarray(np.kron(discs(i)[0], np.ones((16, 16), np.uint8))).save(
            place / "images" / f"{i}.png"
        )
    running = start(place, "stopped")
    deadline = time.monotonic() + 60
    while stored(place, "stopped") < 20 and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(stop)
    _, stderr = running.communicate(timeout=60)
    measured = stored(place, "stopped")
    assert 20 <= measured < 180
    assert not (place / "stopped" / "ranking.json").exists()
    if stop == signal.SIGINT:
        assert running.returncode == 130
        assert "interrupted; what was measured is kept" in stderr
        assert "Traceback" not in stderr
    for out in ("stopped", "straight"):
        again = start(place, out)
        again.communicate(timeout=120)
        assert again.returncode == 0
    one, other = (read_ranking(place / out) for out in ("stopped", "straight"))
    assert but_for_times(one) == but_for_times(other)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_goes_to_a_terminal_on_stderr_only(place):
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "onnx_cte.cli", "rank", "models", "images", "--json"]
    found = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert re.search(r"18/18 \[.*image/s\]", shown)
    assert "steady" in shown
    json.loads(found.stdout)
    piped = subprocess.run(command, cwd=place, capture_output=True, check=True)
    assert piped.stderr.decode().startswith(
        "images: 6 files such as 0.png, read by its PNG header as"
    )
    assert piped.stderr.count(b"\n") == 1
    quiet = subprocess.run([*command, "-q"], cwd=place, capture_output=True, check=True)
    assert quiet.stderr == b""


def test_an_evaluation_in_which_nothing_can_be_compared_is_still_written(place):
    for path in (place / "models").iterdir():
        blur(path, cut=5.0)
    for i in range(6):
        Picture.fromarray(np.zeros((48, 56), np.uint8)).save(place / "labels" / f"{i}.png")
    result = call("evaluate", "models", "images", "labels", "--out", "e")
    assert result.exit_code == 0, result.output
    document = json.loads(Path("e/evaluation.json").read_text())
    assert document["agreement"][0]["kendall"] is None
    assert document["agreement"][0]["models"] == 0
    assert len(document["performance"]["ranking"]) == 3


def test_names_from_an_editor_on_windows(place):
    Path("chosen.txt").write_bytes("\ufeff0.png\r\n3.png\r\n".encode())
    assert call("rank", "models", "images", "--only", "chosen.txt").exit_code == 0
    Path("latin.txt").write_bytes("caf\xe9.png".encode("latin-1"))
    result = call("rank", "models", "images", "--only", "latin.txt")
    assert result.exit_code == 2
    assert "latin.txt: the list of --only cannot be read as text in UTF-8" in result.stderr


def test_draws_reach_the_estimator(place):
    result = call("rank", "models", "images", "--draws", 3)
    assert "agreement of the orders by each of 3 random draws: tau" in result.stdout
    assert read_ranking("onnx-cte-results").estimator == repr(Credibility(draws=3))
    call("rank", "models", "images", "--draws", 3, "--estimator", "cte")
    assert read_ranking("onnx-cte-results").estimator == repr(CTE(draws=3))
    result = call(
        *("evaluate", "models", "images", "labels", "--metric", "nhd", "--perturb", "noise=0.1"),
        *("--draws", 1, "--out", "e", "--estimator", "cte,confidence,entropy"),
    )
    assert "stability" not in result.stdout
    document = json.loads(Path("e/evaluation.json").read_text())
    assert document["agreement"][0]["estimator"] == repr(CTE(draws=1))
    call("rank", "models", "images", "--out", "default")
    assert read_ranking("default").estimator == repr(Credibility())
    assert Credibility().draws == CTE().draws
    assert f"[default: {CTE().draws}]" in call("rank", "--help").stdout


@pytest.fixture
def refusing(place, monkeypatch):
    """These of the models refuse gamma, as those without a bottleneck refuse dropout."""
    names = []

    def refuses(self, needs):
        gamma = any(p.name.startswith("gamma") for p in needs.perturbations)
        return "there is no bottleneck in it" if gamma and self.name in names else ""

    monkeypatch.setattr(
        "onnx_cte.segmenters.onnx_model.OnnxSegmenter.refuses", refuses, raising=False
    )
    return names


GAMMA = ("rank", "models", "images", "--perturb", "gamma", "--draws", 1)
SECOND = (*GAMMA, "--without-bottleneck", "noise=0.1")


def test_a_second_ranking_for_models_without_a_bottleneck(refusing):
    refusing[:] = ["sharp"]
    result = call(*SECOND)
    assert result.exit_code == 3
    first, second = result.stdout.split("sharp cannot be disturbed where --perturb says. ")
    assert "failed, not ranked\n  sharp: there is no bottleneck in it" in first
    assert second.startswith(
        "All models by credibility noise=0.1 draws=1; do not compare its scores"
    )
    assert "failed" not in second
    folder = Path("onnx-cte-results")
    assert set(read_ranking(folder).values) == {"steady", "jumpy"}
    beside = read_ranking(folder / "without-bottleneck")
    assert [score.model for score in beside] == BY_CREDIBILITY
    assert beside.failed == ()
    # The same as if it had been asked for by itself: nothing is mixed.
    call("rank", "models", "images", "--perturb", "noise=0.1", "--draws", 1, "--out", "alone")
    assert but_for_times(read_ranking("alone")) == but_for_times(beside)
    assert sorted(os.listdir(folder / "without-bottleneck")) == [
        "images.csv",
        "index.html",
        "pictures.json",
        "ranking.csv",
        "ranking.json",
    ]


def test_without_the_option_there_is_no_second_ranking(refusing):
    refusing[:] = ["sharp"]
    result = call(*GAMMA)
    assert result.exit_code == 3
    assert "where --perturb says" not in result.stdout
    assert not Path("onnx-cte-results/without-bottleneck").exists()


def test_no_second_ranking_where_nothing_was_refused(refusing):
    Path("models/notes.onnx").write_text("no network")
    result = call(*SECOND)
    assert result.exit_code == 3  # for the model that is none
    told = "no model refused credibility gamma=1.1..1.2 draws=1, so there is no second ranking"
    assert told in result.stdout
    assert result.stdout.count("written") == 1
    assert not Path("onnx-cte-results/without-bottleneck").exists()
    (document,) = json.loads(call(*SECOND, "--json").stdout)
    assert document["failed"][0][0] == "notes"


def test_if_all_refuse_the_second_ranking_stands_alone(refusing):
    refusing[:] = ["steady", "sharp", "jumpy"]
    result = call(*SECOND)
    assert result.exit_code == 3
    assert result.stdout.startswith(
        "no model can be disturbed where --perturb says (jumpy: there is no bottleneck in it). "
        "All models by credibility noise=0.1 draws=1 instead\n\nrank  model"
    )
    assert result.stdout.count("rank  model") == 1
    assert len(read_ranking("onnx-cte-results/without-bottleneck")) == 3
    assert len(read_ranking("onnx-cte-results").failed) == 3
    alone = call(*GAMMA, "--out", "alone")
    assert alone.exit_code == 1
    assert "none of 3 models can be used; jumpy, sharp, steady: there is no b" in alone.stderr


def test_two_rankings_as_json(refusing):
    refusing[:] = ["sharp"]
    result = call(*SECOND, "--json")
    assert result.exit_code == 3
    folder = Path("onnx-cte-results")
    assert json.loads(result.stdout) == [
        json.loads((path / "ranking.json").read_text())
        for path in (folder, folder / "without-bottleneck")
    ]


def test_an_evaluation_goes_on_without_what_no_model_offers(refusing):
    refusing[:] = ["steady", "sharp", "jumpy"]
    result = call("evaluate", "models", "images", "labels", "--metric", "nhd", "--out", "e")
    assert result.exit_code == 3
    rows = [line.split() for line in result.stdout.splitlines()]
    # By default credibility disturbs by gamma too.
    for title in (["cte", "nhd", "gamma=1.1..1.2"], ["credibility"]):
        (row,) = (r for r in rows if [*r, ""][: len(title) + 1] == [*title, "nothing"])
        assert row[len(title) :] == ["nothing", "0", "-", "0", *["-"] * 7]
    by = "(by credibility, cte nhd gamma=1.1..1.2)"
    assert f"sharp: there is no bottleneck in it {by}" in result.stdout
    document = json.loads(Path("e/evaluation.json").read_text())
    assert [len(found["ranking"]) for found in document["rankings"]] == [0, 3, 0, 3, 3]


def test_a_metric_of_objects_makes_credibility_look_at_objects(place):
    decoder = ("--decoder", "foreground,min_size=4")
    refused = call("rank", "models", "images", *decoder)
    assert refused.exit_code == 2
    assert "nothing that is asked for looks at them: add --metric rand_fscore" in refused.stderr
    call("rank", "models", "images")
    of_classes = read_ranking("onnx-cte-results")
    result = call("rank", "models", "images", "--metric", "rand_fscore", *decoder)
    assert result.exit_code == 0, result.output
    assert " ".join(["foreground", "objects", "images"]) in " ".join(result.stdout.split())
    of_objects = read_ranking("onnx-cte-results")
    assert of_objects.estimator == repr(Credibility(metric="rand_fscore"))
    assert all(score.objects >= 3 for score in of_objects)
    # The masks differ, and yet on most images each object has its like in all models.
    assert all(score.parts["consensus"] < 0.96 for score in of_classes)
    assert all(score.parts["consensus"] == 1 for score in of_objects)


def test_an_evaluation_by_objects_makes_all_that_can_look_at_objects(place):
    arguments = ("evaluate", "models", "images", "labels", "--performance", "map", "--out", "e")
    assert call(*arguments).exit_code == 0
    document = json.loads(Path("e/evaluation.json").read_text())
    cte = [CTE("rand_fscore", p) for p in Credibility().perturbations]
    assert [row["estimator"] for row in document["agreement"]] == [
        *map(repr, (Credibility(metric="rand_fscore"), *cte, Confidence(), Confidence("entropy")))
    ]
    assert all(row["objects"] >= 3 for row in document["rankings"][0]["ranking"])
    # What is stated comes first.
    stated = "credibility:metric=nhd,vote,vote:objects=no,boundary"
    assert call(*arguments, "--estimator", stated).exit_code == 0
    document = json.loads(Path("e/evaluation.json").read_text())
    assert [row["estimator"] for row in document["agreement"]] == [
        *map(repr, (Credibility(), Vote(objects=True), Vote(), Boundary(objects=True)))
    ]


@pytest.mark.parametrize("estimator", ["boundary", "confidence"])
def test_a_score_that_is_one_number_has_no_parts(place, estimator):
    result = call("rank", "models", "images", "--estimator", estimator)
    head = "rank model score 95 % interval rank 95 % foreground images empty skipped"
    assert " ".join(result.stdout.splitlines()[0].split()) == head
    columns = Path("onnx-cte-results/ranking.csv").read_text().splitlines()[0].split(",")
    assert columns[-1] == "reason"
    assert all(score.parts == {} for score in read_ranking("onnx-cte-results"))
