import csv
import errno
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rankings import pictured

from onnx_cte.agreement import agreement
from onnx_cte.documents import ranking_from_json, ranking_to_json
from onnx_cte.errors import OutputError
from onnx_cte.evaluations import read_evaluation, write_evaluation
from onnx_cte.ranking import Ranking, Score
from onnx_cte.report import (
    read_pictures,
    read_ranking,
    write_page,
    write_pictures,
    write_report,
)
from onnx_cte.separation import Separation
from onnx_cte.writing import prepare_folder

NAN = math.nan


def ranking(values=(0.9, 0.5, NAN)):
    scores = [
        Score(
            "äther",
            values[0],
            (0.8, 0.95),
            (1, 2),
            7,
            1,
            0.875,
            (("a.png", "too small"),),
            by_image={"b.png": 0.9, "c.png": NAN},
        ),
        Score(
            "b",
            values[1],
            (0.4, 0.85),
            (1, 2),
            8,
            0,
            1.0,
            notes=("assumed, this",),
            by_image={"b.png": 0.5},
        ),
        Score("c", values[2], (NAN, NAN), (3, 3), 0, 8, 0.0),
    ]
    return Ranking(
        tuple(scores),
        "CTE()",
        "cte",
        undecided=(("äther", "b"),),
        failed=(("d", "is broken"),),
        skipped=(("z.png", "unreadable"),),
        seed=3,
        provenance={"models": {"b": {"sha256": "1"}}, "time": {"seconds": 1.5}},
    )


def same(one, other):
    return json.dumps(ranking_to_json(one)) == json.dumps(ranking_to_json(other))


def test_json_and_back(tmp_path):
    write_report(ranking(), tmp_path / "new" / "folder")
    for path in (tmp_path / "new/folder", tmp_path / "new/folder/ranking.json"):
        assert same(read_ranking(path), ranking())
    text = (tmp_path / "new/folder/ranking.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "äther" in text
    document = json.loads(text)
    assert document["ranking"][2]["score"] is None
    assert document["ranking"][0]["undecided_with"] == ["b"]
    assert document["failed"] == [["d", "is broken"]]


def test_csv_has_a_row_a_model_ranked_or_failed(tmp_path):
    write_report(ranking(), tmp_path)
    with (tmp_path / "ranking.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["status"], row["rank"], row["model"]) for row in rows] == [
        ("ranked", "1", "äther"),
        ("ranked", "2", "b"),
        ("ranked", "3", "c"),
        ("failed", "", "d"),
    ]
    assert rows[0]["skipped"] == "2"
    assert rows[0]["coverage"] == "0.875"
    assert rows[2]["score"] == ""
    assert rows[3]["reason"] == "is broken"


def in_parts():
    """A model with all parts, one with an undefined part, and one without any."""
    first, second, third = ranking()
    made_of = {"boundary": 0.75, "consensus": 0.5}
    scores = (
        replace(first, parts=made_of),
        replace(second, parts={**made_of, "consensus": NAN}),
        third,
    )
    return replace(ranking(), scores=scores)


def test_parts_and_back(tmp_path):
    write_report(in_parts(), tmp_path)
    document = json.loads((tmp_path / "ranking.json").read_text(encoding="utf-8"))
    assert [row["parts"] for row in document["ranking"]] == [
        {"boundary": 0.75, "consensus": 0.5},
        {"boundary": 0.75, "consensus": None},
        {},
    ]
    found = read_ranking(tmp_path)
    # By repr, for NaN is not itself.
    assert repr([score.parts for score in found]) == repr([score.parts for score in in_parts()])
    assert found.parts == ("boundary", "consensus")
    # Files of earlier versions have none.
    for row in document["ranking"]:
        del row["parts"]
    assert ranking_from_json(document).parts == ()
    document["ranking"][0]["parts"] = [0.75]
    with pytest.raises(OutputError, match="something missing or misshapen"):
        ranking_from_json(document)


@pytest.mark.parametrize("turned", [False, True])
def test_csv_has_a_column_a_part(tmp_path, turned):
    found = in_parts()
    write_report(replace(found, scores=found.scores[::-1] if turned else found.scores), tmp_path)
    with (tmp_path / "ranking.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head[-3:] == ["reason", "boundary", "consensus"]
    parts = {row[2]: row[-2:] for row in rows}
    assert parts == {"äther": ["0.75", "0.5"], "b": ["0.75", ""], "c": ["", ""], "d": ["", ""]}
    write_report(ranking(), tmp_path)
    assert (tmp_path / "ranking.csv").read_text(encoding="utf-8").splitlines()[0].endswith("reason")


def test_values_by_image(tmp_path):
    write_report(ranking(), tmp_path)
    with (tmp_path / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"image": "b.png", "äther": "0.9", "b": "0.5", "c": ""},
        {"image": "c.png", "äther": "", "b": "", "c": ""},
    ]
    assert read_ranking(tmp_path)[0].by_image["b.png"] == 0.9


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            Separation(0.5, 0.25, 3, 2, 0.5, 2, 4.5),
            {"spread": 0.5, "width": 0.25, "ratio": 2.0, "pairs": 3, "decided": 2,
             "stability": 0.5, "draws": 2, "contrast": 4.5},
        ),
        (
            Separation(0.5, 0.0, 3, 2, NAN, 0),
            {"spread": 0.5, "width": 0.0, "ratio": None, "pairs": 3, "decided": 2,
             "stability": None, "draws": 0, "contrast": None},
        ),
        (
            Separation(NAN, NAN, 0, 0, NAN, 1),
            {"spread": None, "width": None, "ratio": None, "pairs": 0, "decided": 0,
             "stability": None, "draws": 1, "contrast": None},
        ),
        (None, None),
    ],
)  # fmt: skip
def test_separation_and_back(tmp_path, found, expected):
    write_report(replace(ranking(), separation=found), tmp_path)
    document = json.loads((tmp_path / "ranking.json").read_text(encoding="utf-8"))
    assert document["separation"] == expected
    # By repr, for NaN is not itself.
    assert repr(read_ranking(tmp_path).separation) == repr(found)


def test_images_to_tell_and_back(tmp_path):
    told = replace(ranking(), sampled=10, images_to_tell=(("äther", "b", 32),))
    write_report(told, tmp_path)
    document = json.loads((tmp_path / "ranking.json").read_text(encoding="utf-8"))
    assert document["sampled"] == 10
    assert document["images_to_tell"] == [{"better": "äther", "worse": "b", "more_images": 32}]
    found = read_ranking(tmp_path)
    assert (found.sampled, found.images_to_tell) == (10, (("äther", "b", 32),))
    # Files of earlier versions have neither.
    del document["sampled"], document["images_to_tell"]
    older = ranking_from_json(document)
    assert (older.sampled, older.images_to_tell) == (0, ())
    document["images_to_tell"] = [["äther", "b", 32]]
    with pytest.raises(OutputError, match="something missing or misshapen"):
        ranking_from_json(document)


def test_files_of_before_there_was_a_separation_are_read(tmp_path):
    write_report(ranking(), tmp_path)
    document = json.loads((tmp_path / "ranking.json").read_text(encoding="utf-8"))
    del document["separation"]
    assert ranking_from_json(document).separation is None
    write_report(replace(ranking(), separation=Separation(0.5, 0.2, 3, 2, 0.5, 2, 4.5)), tmp_path)
    older = json.loads((tmp_path / "ranking.json").read_text(encoding="utf-8"))
    del older["separation"]["contrast"]
    found = ranking_from_json(older).separation
    assert repr(found) == repr(Separation(0.5, 0.2, 3, 2, 0.5, 2))
    document["separation"] = {"spread": 1}
    with pytest.raises(OutputError, match="something missing or misshapen"):
        ranking_from_json(document)


def test_a_ranking_of_no_model(tmp_path):
    nothing = replace(ranking(), scores=(), undecided=())
    write_report(nothing, tmp_path)
    assert same(read_ranking(tmp_path), nothing)
    assert (tmp_path / "images.csv").read_text() == "image\n"
    truth = ranking((0.7, 0.6, 0.5))
    named = replace(nothing, failed=(("b", "no bottleneck"),))
    write_evaluation(truth, [(named, agreement(named, truth))], tmp_path)
    document = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert document["rankings"][0]["ranking"] == []
    assert document["agreement"][0]["regret"] is None


def test_nothing_but_the_files_is_left(tmp_path):
    write_report(ranking(), tmp_path)
    write_report(ranking(), tmp_path)
    files = ["images.csv", "index.html", "ranking.csv", "ranking.json"]
    assert sorted(os.listdir(tmp_path)) == files


def test_an_evaluation(tmp_path):
    truth = ranking((0.7, 0.6, 0.5))
    write_evaluation(truth, [(ranking(), agreement(ranking(), truth))], tmp_path)
    document = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert same(ranking_from_json(document["performance"]), truth)
    assert document["agreement"][0]["models"] == 2
    assert document["agreement"][0]["kendall"] is None
    assert [pair[0] for pair in document["agreement"][0]["left_out"]] == ["c", "d"]
    with (tmp_path / "agreement.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["regret"] == "0.0"
    assert (tmp_path / "performance.csv").is_file()


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        prepare_folder(tmp_path / "out")


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "out").write_text("")
    for folder in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(OutputError, match=r"output folder '.*' cannot be written: .*--out"):
            prepare_folder(folder)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is no JSON"),
        ("[]", "is no ranking: a JSON object was expected"),
        ('{"format": 99}', "format 99; this version reads format 1"),
        ('{"format": 1}', "something missing or misshapen"),
    ],
)
def test_what_is_no_ranking(tmp_path, content, complaint):
    (tmp_path / "ranking.json").write_text(content)
    with pytest.raises(OutputError, match=complaint):
        read_ranking(tmp_path)
    with pytest.raises(OutputError, match="cannot be read"):
        read_ranking(tmp_path / "nowhere.json")


def test_what_an_estimator_needs_and_what_it_took(tmp_path):
    time = {"started": "then", "seconds": 3.0, "estimator_seconds": 0.25}
    few = replace(
        ranking(),
        title="few",
        needs=("labels", "source"),
        provenance={"time": time},
        by_draw=({"b": 0.5, "c": NAN}, {"b": 0.25, "c": 1.0}),
    )
    assert few.seconds == 0.25
    assert math.isnan(ranking().seconds)
    write_report(few, tmp_path)
    found = read_ranking(tmp_path)
    assert found.needs == few.needs
    assert repr(found.by_draw) == repr(few.by_draw)
    assert found.seconds == 0.25
    document = json.loads((tmp_path / "ranking.json").read_text(encoding="utf-8"))
    for name in ("needs", "by_draw"):
        del document[name]
    older = ranking_from_json(document)
    assert (older.needs, older.by_draw) == ((), ())
    document["by_draw"] = [1]
    with pytest.raises(OutputError, match="something missing or misshapen"):
        ranking_from_json(document)
    truth = ranking((0.7, 0.6, 0.5))
    compared = [(few, agreement(few, truth)), (ranking(), agreement(ranking(), truth))]
    write_evaluation(truth, compared, tmp_path, [("otce", "no source")])
    with (tmp_path / "agreement.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["needs"], first["seconds"], first["draws"]) == ("labels; source", "0.25", "2")
    assert (second["needs"], second["seconds"], second["draws"]) == ("", "", "0")
    document = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert document["left_out"] == [["otce", "no source"]]
    assert document["agreement"][0]["needs"] == ["labels", "source"]
    assert "seconds" not in document["agreement"][0]  # it stands with the times of the ranking


def test_scores_of_all_estimators(tmp_path):
    truth = replace(ranking((0.7, 0.6, 0.5)), title="f1")
    other = replace(ranking((0.1, 0.2, NAN)), title="other", estimator="Other()")
    fewer = replace(other, title="fewer", scores=other.scores[:1])
    twice = [replace(ranking(), estimator=f"CTE({i})") for i in range(2)]
    named = replace(other, title="f1", estimator="F1()")
    compared = [(r, agreement(r, truth)) for r in (other, fewer, *twice, named)]
    write_evaluation(truth, compared, tmp_path)
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["model", "f1", "other", "fewer", "CTE(0)", "CTE(1)", "F1()"]
    assert rows[1] == ["äther", "0.7", "0.1", "0.1", "0.9", "0.9", "0.1"]
    assert rows[3] == ["c", "0.5", "", "", "", "", ""]


def full_disk(monkeypatch, *names):
    """Let writing these files fail, as on a disk that is full."""
    write_text = Path.write_text

    def written(path, text, **options):
        if any(path.name.startswith(f".{name}") for name in names):
            write_text(path, text[: len(text) // 2], **options)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_text(path, text, **options)

    monkeypatch.setattr(Path, "write_text", written)


@pytest.mark.parametrize("name", ["ranking.csv", "images.csv", "index.html"])
def test_a_disk_that_fills_up_leaves_the_ranking(tmp_path, monkeypatch, name):
    full_disk(monkeypatch, name)
    told = (
        f"'{tmp_path / name}' cannot be written: No space left on device; the ranking itself is "
        f"whole in ranking.json, of which `onnx-cte report {tmp_path}` makes the others"
    )
    with pytest.raises(OutputError, match=f"^{re.escape(told)}$"):
        write_report(ranking(), tmp_path)
    assert same(read_ranking(tmp_path), ranking())
    assert not (tmp_path / name).exists()
    assert not [file for file in os.listdir(tmp_path) if file.startswith(".")]


def test_without_room_for_the_ranking_nothing_is_promised(tmp_path, monkeypatch):
    full_disk(monkeypatch, "ranking.json")
    with pytest.raises(OutputError, match=r"No space left on device$"):
        write_report(ranking(), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_page_that_cannot_be_written_leaves_the_last_one(tmp_path, monkeypatch):
    write_report(ranking(), tmp_path)
    before = (tmp_path / "index.html").read_text(encoding="utf-8")
    full_disk(monkeypatch, "index.html", "pictures.json")
    with pytest.raises(OutputError, match="the ranking itself is whole"):
        write_page(in_parts(), tmp_path)
    with pytest.raises(OutputError, match="the ranking itself is whole"):
        write_pictures(pictured(ranking()), tmp_path)
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == before


def test_pictures_and_back(tmp_path):
    assert read_pictures(tmp_path) == ()
    pictures = pictured(ranking())
    write_pictures(pictures, tmp_path)
    assert read_pictures(tmp_path) == pictures
    write_pictures((), tmp_path)  # those of an earlier run would be shown with this one
    assert not (tmp_path / "pictures.json").exists()
    (tmp_path / "pictures.json").write_text("{}")
    with pytest.raises(OutputError, match=r"pictures of format None.*; without '.*pictures\.json'"):
        read_pictures(tmp_path)


def test_an_evaluation_and_back(tmp_path):
    truth = ranking((0.7, 0.6, 0.5))
    compared = [(ranking(), agreement(ranking(), truth))]
    write_evaluation(truth, compared, tmp_path, [("otce", "no source")])
    performance, rankings, left_out = read_evaluation(tmp_path / "evaluation.json")
    assert same(performance, truth)
    assert left_out == (("otce", "no source"),)
    assert [same(one, ranking()) for one in rankings] == [True]
    write_report(ranking(), tmp_path)
    with pytest.raises(OutputError, match=r"ranking\.json' is no evaluation, something is missing"):
        read_evaluation(tmp_path / "ranking.json")


def test_names_that_are_no_text_are_written_too(tmp_path):
    odd = replace(ranking(), failed=(("\udcff.onnx", "is broken"),))
    write_report(odd, tmp_path)
    assert "\\udcff.onnx" in (tmp_path / "index.html").read_text(encoding="utf-8")
