"""The page beside what a command writes, and ``onnx-cte report``."""

import errno
import json
import os
import re
import shlex
from pathlib import Path

import pytest
from networks import blur
from test_cli import call, place
from test_report import full_disk
from test_runner import but_for_times

from onnx_cte.report import read_pictures, read_ranking

__all__ = ["place"]  # a fixture


def page(folder):
    return Path(folder, "index.html").read_text(encoding="utf-8")


def test_rank_pictures_each_model_and_says_how_to_repeat_it(place):
    result = call("rank", "models", "images", "--out", "my folder", "--pictures", 2)
    assert result.exit_code == 0, result.output
    assert "\nwritten: my folder/index.html, ranking.json" in result.stdout
    ranking, pictures = read_ranking("my folder"), read_pictures("my folder")
    assert [len(picture.drawn) for picture in pictures] == [3, 3]
    shown = page("my folder")
    assert all(one.contour in shown for picture in pictures for one in picture.drawn)
    # What flips there is what was measured there.
    for picture in pictures:
        for one, score in zip(picture.drawn, ranking, strict=True):
            assert one.flipped == pytest.approx(1 - score.by_image[picture.image], abs=1e-6)
    command = ranking.provenance["time"]["command"]
    assert command == "onnx-cte rank models images --out 'my folder' --pictures 2"
    assert ranking.provenance["time"]["folder"] == os.getcwd()
    again = call(*shlex.split(command)[1:])
    assert again.exit_code == 0
    assert but_for_times(read_ranking("my folder")) == but_for_times(ranking)


def test_none_where_none_are_wanted(place):
    call("rank", "models", "images", "--out", "o", "--pictures", 1)
    assert Path("o/pictures.json").exists()
    result = call("rank", "models", "images", "--out", "o", "--pictures", 0)
    assert result.exit_code == 0
    assert not Path("o/pictures.json").exists()  # it would be shown as this run's
    assert 'id="pictures"' not in page("o")
    assert call("rank", "models", "images", "--pictures", -1).exit_code == 2


@pytest.mark.parametrize("lost", ["index.html", "pictures.json"])
def test_a_full_disk_loses_no_ranking(place, monkeypatch, lost):
    full_disk(monkeypatch, lost)
    result = call("rank", "models", "images", "--out", "o", "--pictures", 1)
    assert result.exit_code == 1
    assert result.stdout.startswith("rank  model")
    told = result.stderr.splitlines()[-1]
    assert f"{lost}' cannot be written: {os.strerror(errno.ENOSPC)}; the ranking itself" in told
    monkeypatch.undo()
    monkeypatch.chdir(place)
    assert len(read_ranking("o")) == 3
    assert call("report", "o").exit_code == 0
    assert "Take " in page("o") or "ranks first" in page("o")


def test_a_model_that_is_gone_when_pictures_are_taken(place, monkeypatch):
    ranked = call("rank", "models", "images", "--out", "o", "--pictures", 0)
    assert ranked.exit_code == 0

    def broken(*arguments, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("onnx_cte.picturing.flips", broken)
    result = call("rank", "models", "images", "--out", "o", "--pictures", 1)
    assert result.exit_code == 0
    assert page("o").count("No picture: RuntimeError: out of memory") == 3


def test_both_rankings_have_a_page(place):
    blur(place / "models" / "flat.onnx", gain=20)
    options = ("--perturb", "dropout=0.1", "--without-bottleneck", "noise=0.1", "--pictures", 1)
    result = call("rank", "models", "images", "--out", "o", *options)
    assert result.exit_code == 3
    assert "all 4 failed" in page("o")
    assert 'id="pictures"' in page("o/without-bottleneck")
    assert "o/without-bottleneck/index.html" in result.stdout


def test_json_alone_on_stdout(place):
    result = call("rank", "models", "images", "--json", "--out", "o", "--pictures", 1)
    assert json.loads(result.stdout)["format"] == 1
    assert 'id="pictures"' in page("o")


def test_evaluate_holds_the_score_against_performance(place):
    result = call("evaluate", "models", "images", "labels", "--out", "e", "--pictures", 1)
    assert result.exit_code == 0, result.output
    shown = page("e")
    assert "Score against performance" in shown
    assert "Against labels, " in shown
    (picture,) = read_pictures("e")
    assert picture.labelled
    # From what is saved all of it comes again: page, tables, and what was printed.
    again = call("report", "e", "--out", "again")
    assert again.exit_code == 0
    tables = ["agreement.csv", "performance.csv", "scores.csv"]
    assert sorted(os.listdir("again")) == [tables[0], "index.html", *tables[1:]]
    assert page("again") == shown
    for name in tables:
        assert Path("again", name).read_bytes() == Path("e", name).read_bytes()
    printed = result.stdout.partition("\nwritten: ")[0]
    assert "agreement with f1, of rankings that saw no labels" in printed
    assert again.stdout.partition("\nwritten: ")[0] == printed
    assert call("report", "e/evaluation.json", "-q").stdout == printed


def test_what_an_evaluation_left_out_is_told_again(place):
    options = ("--estimator", "all", "--perturb", "noise=0.1", "--pictures", 0)
    result = call("evaluate", "models", "images", "labels", "--out", "e", *options)
    assert "left out" in result.stdout
    printed = result.stdout.partition("\nwritten: ")[0]
    assert call("report", "e", "-q").stdout == printed


def test_a_ranking_and_an_evaluation_in_a_folder(place):
    call("evaluate", "models", "images", "labels", "--out", "o", "--pictures", 0)
    truth = page("o")
    call("rank", "models", "images", "--out", "o", "--pictures", 0)
    assert call("report", "o", "-q").stdout.startswith("rank  model")
    assert "Score against performance" not in page("o")  # of another run: the ranking alone
    # Of one run, as `onnx-cte demo` writes them: both.
    document = json.loads(Path("o/evaluation.json").read_text())
    Path("o/ranking.json").write_text(json.dumps(document["rankings"][0]))
    result = call("report", "o")
    assert "written: o/index.html, ranking.csv, images.csv, performance.csv" in result.stdout
    assert "performance against labels (f1)" in result.stdout
    assert page("o") == truth


def test_a_folder_without_any(tmp_path):
    result = call("report", tmp_path)
    assert result.exit_code == 1
    assert "holds neither ranking.json nor evaluation.json: name the folder" in result.stderr


def test_a_saved_ranking_becomes_a_page_and_tables_again(place):
    ranked = call("rank", "models", "images", "--out", "o", "--pictures", 1)
    before = {name: Path("o", name).read_bytes() for name in sorted(os.listdir("o"))}
    for name in ("index.html", "ranking.csv", "images.csv"):
        Path("o", name).unlink()
    result = call("report", "o/ranking.json")
    assert result.exit_code == 0
    table, _, written = result.stdout.rpartition("\n\n")
    assert written == "written: o/index.html, ranking.csv, images.csv\n"
    assert ranked.stdout.startswith(table)
    assert {name: Path("o", name).read_bytes() for name in sorted(os.listdir("o"))} == before
    Path("o/pictures.json").unlink()
    result = call("report", "o", "--out", "elsewhere")
    assert "; without pictures, for there is no pictures.json" in result.stdout
    assert sorted(os.listdir("elsewhere")) == ["images.csv", "index.html", "ranking.csv"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, "'r.json' cannot be read: No such file or directory"),
        ("[]", "'r.json' is no ranking: a JSON object was expected"),
        ("{", "'r.json' is no JSON"),
        ('{"format": 9}', "a ranking of format 9; this version reads format 1"),
    ],
)
def test_what_is_no_ranking(tmp_path, monkeypatch, written, told):
    monkeypatch.chdir(tmp_path)
    if written is not None:
        Path("r.json").write_text(written)
    result = call("report", "r.json")
    assert result.exit_code == 1
    assert re.match(f"onnx-cte: {re.escape(told)}", result.stderr)
