"""``onnx-cte evaluate`` and ``rank`` with estimators by name, by text, and with source images."""

import csv
import json
import os
import re
from pathlib import Path

import comparing
import pytest
from click.testing import CliRunner
from comparing import Few, Labels, Nearness, Share, Shared, arrange
from test_runner import write_images

from onnx_cte.cli import main
from onnx_cte.cli.judges import jury_of, names_of
from onnx_cte.cli.sources import split_pair
from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE, ESTIMATORS, Confidence, Credibility, Offer
from onnx_cte.report import read_ranking

OURS = ("credibility", "cte", "confidence", "entropy", "accuracy")


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Our first estimators, and small ones of every kind."""
    for name in [name for name in ESTIMATORS if name not in OURS]:
        monkeypatch.delitem(ESTIMATORS, name)
    for name, offer in {
        "nearness": Offer(Nearness, {"label": "near"}),
        "few": Offer(Few, {"label": "few"}),
        "absent": Offer(Labels, {"missing": "install pot"}),
        "labels": Offer(Labels, {"label": "with labels"}),
        "shared": Offer(Shared),
        "share_2": Offer(Share, {"times": 2.0, "label": "twice"}, "twice the share"),
        "share": Offer(Share),
    }.items():
        monkeypatch.setitem(ESTIMATORS, name, offer)
    comparing.MEASURED.clear()


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "own", 3)
    return arrange(tmp_path)


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def evaluated(*arguments, code=0):
    result = call("evaluate", "models", "images", "labels", "--jobs", 1, "--out", "e", *arguments)
    assert result.exit_code == code, result.output
    document = json.loads(Path("e/evaluation.json").read_text())
    return result, [row["estimator"] for row in document["agreement"]], document


ONE_CTE = ("--metric", "nhd", "--perturb", "noise=0.1", "--draws", 1)


def test_estimators_as_listed(place):
    result, found, document = evaluated(
        *("--estimator", "share,few", "--estimator", "cte:metric=ei:draws=1,share:times=3:label=x"),
        *("--estimator", "share"),
    )
    assert found == [
        repr(judge) for judge in (Share(), Few(label="few"), CTE("ei", draws=1), Share(3.0, "x"))
    ]
    rows = [re.split(r"\s{2,}", line) for line in result.stdout.splitlines()]
    (head,) = (row for row in rows if row[0] == "estimator")
    assert head == [
        *("estimator", "needs", "models", "pairs right", "of", "tau", "p", "rho", "r"),
        *("regret", "seconds", "chosen"),
    ]
    (few,) = (row for row in rows if row[0] == "few" and len(row) == len(head))
    assert (few[1], few[2], few[6]) == ("labels", "3", "-")
    assert "agreement with f1, by what each ranking needs" in result.stdout
    assert len(document["rankings"][1]["by_draw"]) == 3
    with Path("e/scores.csv").open(newline="") as file:
        scores = list(csv.DictReader(file))
    assert list(scores[0])[:4] == ["model", "f1", "share", "few"]
    for row in scores:
        assert float(row["x"]) == pytest.approx(3 * float(row["share"]))
    assert sorted(os.listdir("e")) == [
        *("agreement.csv", "evaluation.json", "evidence.sqlite", "index.html", "performance.csv"),
        *("pictures.json", "scores.csv"),
    ]


def test_cte_alone_stands_for_metrics_and_perturbations(place):
    _, found, _ = evaluated("--estimator", "share,cte", "--perturb", "flip=x", "--draws", 1)
    assert [name.partition("(")[0] for name in found] == ["Share", "CTE", "CTE"]
    assert "metric='ei', perturbations=(Flip(axis='x'),), draws=1" in found[2]
    _, by_name, _ = evaluated("--estimator", "credibility,cte,confidence,entropy")
    _, by_default, _ = evaluated()
    assert by_name == by_default
    assert len(by_default) == 7


def test_all_that_can_run_in_groups_by_what_they_need(place):
    result, found, document = evaluated("--estimator", "all", *ONE_CTE)
    assert found == [
        repr(judge)
        for judge in (
            *(Confidence(), Credibility(), CTE(draws=1), Confidence("entropy")),
            *(
                Share(),
                Share(2.0, "twice"),
                Shared(),
                Few(label="few"),
                Labels(label="with labels"),
            ),
        )
    ]
    assert result.stdout.count("\nleft out\n") == 1
    assert "\n  absent: install pot\n" in result.stdout
    needed = "it needs source images and labels: --source MODEL=IMAGES:LABELS"
    assert f"\n  nearness: {needed}\n" in result.stdout
    assert document["left_out"] == [["absent", "install pot"], ["nearness", needed]]
    # Named as well, or first: each stands once, where it is named first.
    _, more, _ = evaluated("--estimator", "share,all,few:times=2", *ONE_CTE)
    assert more[0] == repr(Share())
    assert len(more) == len(found) + 1


SOURCE = [f"--source={m}=own/images:own/labels" for m in ("steady", "sharp", "jumpy")]


def test_source_images_from_the_command_line(place):
    _, found, document = evaluated("--estimator", "all", *ONE_CTE, *SOURCE)
    assert found[-1] == repr(Nearness(label="near"))
    near = document["rankings"][-1]
    assert near["needs"] == ["source"]
    assert set(near["provenance"]["source_domains"]) == {"jumpy", "sharp", "steady"}
    assert len(near["ranking"]) == 3
    assert ("nearness", "0.png", "source") in comparing.MEASURED
    # Not limited as the target is.
    comparing.MEASURED.clear()
    result = call(
        *("evaluate", "models", "images", "labels", "--estimator", "nearness", "--limit", 1),
        *(*SOURCE, "--out", "f"),
    )
    assert result.exit_code == 0, result.output
    assert len(comparing.MEASURED) == 3 * (3 + 1)


def test_what_no_model_can_serve_is_a_row_of_dashes(place):
    result, _, document = evaluated("--estimator", "nearness,absent,share", code=3)
    rows = [line.split() for line in result.stdout.splitlines()]
    (near,) = (row for row in rows if row[:2] == ["near", "source"])
    assert near[2:] == ["0", "-", "0", *["-"] * 7]
    assert "sharp: it needs the model's own source images and labels: --source" in result.stdout
    assert "sharp: install pot (by share missing=install pot)" in result.stdout
    assert [len(ranking["ranking"]) for ranking in document["rankings"]] == [0, 0, 3]
    result, _, _ = evaluated("--estimator", "nearness", SOURCE[0], code=3)
    assert "sharp: it needs the model's own source images" in result.stdout
    assert "steady: it needs" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--estimator", "shar"], 2, "unknown estimator 'shar': did you mean 'share'"),
        (["--estimator", "share,"], 2, "an estimator is missing at a comma"),
        (["--estimator", "share,all:times=2"], 2, "--estimator all:times=2: all takes no options"),
        (["--estimator", "share:tims=2"], 2, "unknown option of estimator share 'tims': did you"),
        (["--estimator", "share", "--metric", "ei"], 2, "--metric is of the estimator cte, and "),
        (
            ["--estimator", "share,cte:draws=1", "--draws", "2"],
            2,
            "--draws is of the estimator cte",
        ),
        (
            ["--estimator", "share", *SOURCE],
            2,
            r"none of the estimators looks at them \(accuracy, ",
        ),
        (SOURCE, 2, "source images were given, and none of the estimators looks at them"),
        (["--source", "own"], 2, "--source own: expected MODEL=IMAGES:LABELS, a model's name"),
        (["--source", "sharp=own"], 2, "--source sharp=own: expected MODEL=IMAGES:LABELS"),
        (["--source", "sharpe=a:b"], 2, "unknown model in --source 'sharpe': did you mean 'sharp'"),
        ([*SOURCE, SOURCE[0]], 2, "--source names two sources for model 'steady'"),
        (["--source", "sharp=nowhere:own/labels"], 1, "no image found: .* 'nowhere'"),
        (["--source", "sharp=own/images:nowhere"], 1, "no label image found: .* 'nowhere'"),
    ],
)
def test_bad_input_is_told_in_one_line(place, arguments, code, told):
    result = call("evaluate", "models", "images", "labels", *arguments)
    assert result.exit_code == code, result.output
    assert re.search(told, result.stderr), result.stderr
    *understood, line = result.stderr.strip().splitlines()
    assert line.startswith("onnx-cte: ")
    assert {text.split(":")[0] for text in understood} <= {"images", "labels"}
    assert result.stdout == ""


def test_strict_stops_at_what_cannot_be_used(place):
    result = call(
        "evaluate", "models", "images", "labels", "--estimator", "absent,share", "--strict"
    )
    assert result.exit_code == 2
    assert "estimator 'labels' cannot be used: install pot" in result.stderr


def test_images_and_labels_part_at_the_colon_where_both_are_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b", "a:b", "c"):
        (tmp_path / folder).mkdir()
    (tmp_path / "c" / "x.png").touch()
    assert split_pair("a:b") == ("a", "b")
    assert split_pair("a:b:c") == ("a:b", "c")
    assert split_pair("a:b:c/*.png") == ("a:b", "c/*.png")
    assert split_pair("c/*.png:nowhere:else") == ("c/*.png", "nowhere:else")
    assert split_pair("no:where:at all") == ("no", "where:at all")
    assert split_pair("a") is None
    assert split_pair(":a") is None
    assert split_pair("a:") is None


def test_rank_takes_texts_of_estimators_without_labels(place):
    result = call("rank", "models", "images", "--estimator", "share_2:label=x", "--out", "r")
    assert result.exit_code == 0, result.output
    assert read_ranking("r").estimator == repr(Share(2.0, "x"))
    result = call("rank", "models", "images", "--estimator", "cte:draws=1", "--metric", "ei")
    assert read_ranking("onnx-cte-results").estimator == repr(CTE("ei", draws=1))
    for estimator, told in [
        ("few", "estimator 'few' needs labels, and `rank` takes none: `onnx-cte evaluate MODELS "
         "IMAGES LABELS --estimator few`"),
        ("nearness:times=2", "estimator 'nearness:times=2' needs source images, and `rank` takes "
         "none: `onnx-cte evaluate MODELS IMAGES LABELS --estimator nearness:times=2 "
         "--source MODEL=IMAGES:LABELS`, or rank(..., source=...) in Python"),
        ("accuracy", "estimator 'accuracy' needs labels, and `rank` takes none: `onnx-cte evaluate "
         "MODELS IMAGES LABELS`"),
        ("all", "--estimator all: a ranking is made by one estimator; several are compared by "
         "`onnx-cte evaluate MODELS IMAGES LABELS --estimator all`"),
        ("cte,share", "--estimator cte,share: a ranking is made by one estimator"),
        ("cte:draws=1:draws=2", "'draws' is there twice"),
        ("share:labels=x", "unknown option of estimator share 'labels': did you mean 'label'"),
    ]:  # fmt: skip
        result = call("rank", "models", "images", "--estimator", estimator)
        assert result.exit_code == 2
        assert told in result.stderr
    result = call("rank", "models", "images", "--estimator", "cte:draws=1", "--draws", "3")
    assert "'draws' is stated here and by an option of its own" in result.stderr


def test_the_list_says_what_each_needs(monkeypatch):
    class Point:
        def __init__(self, name):
            self.name, self.value = name, "somewhere"

        def load(self):
            raise ImportError("no such module")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point("broken")])
    rows = [re.split(r"\s{2,}", line) for line in call("list", "estimators").stdout.splitlines()]
    assert rows[0] == ["estimators", "needs"]
    needs = {row[0]: row[1] for row in rows[2:]}
    assert needs["cte"] == needs["share_2"] == "nothing"
    assert needs["few"] == needs["accuracy"] == "labels"
    assert needs["nearness"] == "source"
    assert needs["broken"] == "-"
    assert ["share_2", "nothing", "twice the share"] in rows


def test_an_estimator_of_performance_is_judged_by_the_metric_asked_for(monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "share", Offer(Share, performance="label"))

    def judged(*names):
        return [j.label for j in jury_of(names, lambda: [], "map", with_source=False).judges]

    assert judged("share") == ["map"]
    assert judged("share:times=2") == ["map"]
    assert judged("share:label=f1") == ["f1"]
    assert judged("share_2") == ["twice"]


def test_names_repeated_or_parted_by_commas():
    assert names_of(["a, b:c=1", "d"]) == ["a", "b:c=1", "d"]
    assert names_of([]) == ["credibility", "cte", "confidence", "entropy"]
    with pytest.raises(OptionError, match="--estimator a,,b: an estimator is missing at a comma"):
        names_of(["a,,b"])
