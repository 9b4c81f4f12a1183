"""The tables of the benchmark: numbers by hand, and what is written."""

import hashlib
import importlib
import itertools
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage import io

import onnx_cte as oc
from onnx_cte.agreement import agreement
from onnx_cte.correlation import kendall_tau
from onnx_cte.ranking import Ranking, Score

ROOT = Path(__file__).resolve().parent.parent
NAN = math.nan
IMAGES = 20
"""Drawn from, as hand-made rankings have it."""


@pytest.fixture
def tool(monkeypatch):
    """Imports a module of tools/ as it is imported when run as a script."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module


def ranked(values, *, drawn=None, title="cte nhd noise=0.1", undecided=(), **options):
    """A ranking of {model: value}; `drawn` has a column for each, in the same order."""
    order = sorted(values, key=lambda m: (math.isnan(values[m]), -values[m], m))
    columns = [list(values).index(model) for model in order]
    scores = tuple(
        Score(m, values[m], (NAN, NAN), (1, 1), 2, 0, 1.0, by_image={"a.png": values[m]})
        for m in order
    )
    drawn = None if drawn is None else np.array(drawn, float)[:, columns]
    sampled = 0 if drawn is None else IMAGES
    return Ranking(
        scores,
        "by hand",
        title,
        undecided=tuple(undecided),
        drawn=drawn,
        sampled=sampled,
        **options,
    )


def truth_of(values, drawn=None, **options):
    """By performance, the same in every draw unless told otherwise."""
    drawn = [list(values.values())] * 4 if drawn is None else drawn
    record = {"kind": "zoo", "sha256": "0" * 64, "threads": 2}
    made_with = {
        "onnx_cte": "0.1.0",
        "python": "3.11.7",
        "packages": {},
        "device": "cpu",
        "source": "<Images('/home/someone/data/images')>",
        "models": dict.fromkeys(values, record),
    }
    return ranked(values, drawn=drawn, title="f1", provenance=made_with, **options)


FOUR = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.68}


def test_pairs_count_if_performance_differs_enough_and_the_images_tell_it(tool):
    real = tool("target_numbers").performances(truth_of(FOUR, undecided=[("b", "a")]))
    # a-b is open, c-d differ by 0.02; of a-c, a-d, b-c and b-d nothing is said against.
    assert real.models == ("a", "b", "c", "d")
    assert real.told_apart.tolist() == [False, True, True, True, True, False]
    exactly = tool("target_numbers").performances(truth_of({"a": 0.3, "b": 0.25}))  # 0.04999...
    assert exactly.told_apart.tolist() == [True]
    undrawn = replace(truth_of(FOUR), drawn=None, sampled=0)
    assert not tool("target_numbers").performances(undrawn).told_apart.any()


def test_a_model_without_performance_is_in_nothing(tool):
    target_numbers = tool("target_numbers")
    truth = truth_of({**FOUR, "e": NAN})
    assert target_numbers.performances(truth).models == ("a", "b", "c", "d")
    found = target_numbers.numbers(ranked({**FOUR, "e": 2.0}), truth)
    assert (found.left_out, found.regret, found.pairs) == (0, 0.0, 1.0)


def test_pairs_by_hand(tool):
    numbers = tool("target_numbers").numbers
    truth = truth_of(FOUR)  # all pairs but c-d count: 5
    assert numbers(ranked({"a": 4, "b": 3, "c": 2, "d": 1}), truth).pairs == 1
    assert numbers(ranked({"a": 1, "b": 2, "c": 3, "d": 4}), truth).pairs == 0
    assert numbers(ranked({"a": 4, "b": 4, "c": 2, "d": 1}), truth).pairs == 4.5 / 5
    # a and d are last, and equal: a-b and a-c are wrong, a-d is half, b-c and b-d are right.
    found = numbers(ranked({"a": NAN, "b": 3, "c": 2}, failed=[("d", "broken")]), truth)
    assert found.pairs == 2.5 / 5
    assert found.left_out == 2
    assert found.regret == pytest.approx(0.1)
    down = ranked({"a": 1, "b": 2, "c": 3, "d": 4}, greater_is_better=False)
    assert (numbers(down, truth).pairs, numbers(down, truth).regret) == (1, 0)


def test_correlations_are_those_of_agreement(tool):
    truth = truth_of(FOUR)
    ranking = ranked({"a": 0.3, "b": 0.9, "c": 0.3, "d": 0.1})
    found, known = tool("target_numbers").numbers(ranking, truth), agreement(ranking, truth)
    assert (found.tau, found.rho, found.r) == (known.kendall, known.spearman, known.pearson)
    without = tool("target_numbers").numbers(ranking, truth, frozenset({"c"}))
    assert without.tau == pytest.approx(1 / 3)  # a-b is wrong, a-d and b-d are right
    assert without.pairs == 2 / 3


def test_regret_is_against_the_best_there_is_and_the_mean_of_equals(tool):
    numbers = tool("target_numbers").numbers
    truth = truth_of(FOUR)
    assert numbers(ranked({"a": NAN, "b": 1, "c": 2, "d": 0}), truth).regret == pytest.approx(0.2)
    equal = numbers(ranked({"a": 0, "b": 1, "c": 1, "d": 0}), truth).regret
    assert equal == pytest.approx(0.9 - 0.75)


def test_alternatives_are_averaged_and_silence_is_not_judged(tool):
    numbers = tool("target_numbers").numbers
    truth = truth_of(FOUR)
    by_draw = ({"a": 4, "b": 3, "c": 2, "d": 1}, {"a": 1, "b": 2, "c": 3, "d": 4})
    some = numbers(ranked(FOUR, by_draw=by_draw), truth)
    assert (some.tau, some.pairs, some.left_out) == (0, 0.5, 0)
    assert some.regret == pytest.approx(0.22 / 2)
    assert not some.tau_drawn.size
    silent = numbers(ranked({"a": NAN}, failed=[("b", "no features")]), truth)
    assert silent.left_out == 4
    values = silent.tau, silent.rho, silent.r, silent.pairs, silent.regret
    assert all(map(math.isnan, values))


def test_under_each_draw_scores_meet_the_performances_of_that_draw(tool):
    target_numbers = tool("target_numbers")
    values = {"a": 0.9, "b": 0.6, "c": 0.3}
    truth = truth_of(values, [[3, 2, 1], [1, 2, 3], [3, 2, 1], [2, 2, 2]])
    # The columns of a ranking stand in the order of its scores, which is not that of the truth.
    ranking = ranked(
        {"a": 1, "b": 3, "c": 2}, drawn=[[3, 2, 1], [3, 2, 1], [NAN, 2, 1], [3, 2, 1], [9, 9, 9]]
    )
    found = target_numbers.numbers(ranking, truth)
    assert found.tau_drawn.tolist()[:2] == [1, -1]
    assert np.isnan(found.tau_drawn[2:]).all()  # two models are left, and performance is constant
    assert found.pairs_drawn.tolist()[:3] == [1, 0, 1 / 3]
    assert math.isnan(found.pairs_drawn[3])
    assert len(found.tau_drawn) == len(found.pairs_drawn) == 4
    low, high = target_numbers.interval(np.array([NAN, 0, 1]), IMAGES)
    assert (low, high) == pytest.approx((0.0159, 0.9841), abs=1e-4)  # wider than 0.025 to 0.975
    assert all(map(math.isnan, target_numbers.interval(np.array([NAN]), 0)))


def test_tau_of_each_draw_is_tau(tool):
    rng = np.random.default_rng(0)
    scores, real = rng.integers(0, 4, (2, 50, 6)).astype(float)
    each = [kendall_tau(x, y) for x, y in zip(scores, real, strict=True)]
    assert tool("target_numbers").taus(scores, real) == pytest.approx(each, nan_ok=True)


def test_no_more_draws_than_asked_for(tool):
    target_numbers = tool("target_numbers")
    drawn = np.tile([3.0, 2.0, 1.0], (target_numbers.DRAWS + 5, 1))
    values = {"a": 0.9, "b": 0.6, "c": 0.3}
    found = target_numbers.numbers(ranked(values, drawn=drawn), truth_of(values, drawn))
    assert len(found.tau_drawn) == target_numbers.DRAWS


def test_chance_is_that_of_all_orders(tool):
    chance = tool("chance")
    every = [kendall_tau(range(5), order) for order in itertools.permutations(range(5))]
    taus, probabilities = chance.tau_distribution(5)
    counted = [np.isclose(every, tau).mean() for tau in taus]
    assert probabilities == pytest.approx(counted)
    assert np.mean(np.array(every) <= chance.tau_of_chance(5) + 1e-9) >= 0.95
    assert np.mean(np.array(every) < chance.tau_of_chance(5) - 1e-9) < 0.95
    assert math.isnan(chance.tau_of_chance(2))
    assert chance.mean_tau_of_chance([5, 2]) == chance.tau_of_chance(5)
    assert math.isnan(chance.mean_tau_of_chance([2, 0]))
    # Of many models tau is near a normal deviate of this width.
    width = math.sqrt(2 * (2 * 33 + 5) / (9 * 33 * 32))
    assert chance.tau_of_chance(33) == pytest.approx(1.645 * width, abs=0.01)
    assert chance.mean_tau_of_chance([33] * 4) == pytest.approx(1.645 * width / 2, abs=0.01)


def test_draws_of_targets_are_put_together_in_an_order_of_their_own(tool):
    mean_drawn = tool("task_numbers").mean_drawn
    up = np.tile([0.0, 1.0], 50)
    assert mean_drawn([(0.5, up)]).mean() == pytest.approx(0.5)
    # In step they would always be 0.5.
    assert set(mean_drawn([(0.5, up), (0.5, 1 - up)])) == {0.0, 0.5, 1.0}
    assert set(mean_drawn([(0.5, up), (1.0, None)])) == {0.5, 1.0}
    assert set(mean_drawn([(0.5, up), (NAN, None)])) == {0.0, 1.0}
    assert not mean_drawn([(1.0, None)]).size
    assert not mean_drawn([(0.5, up), (0.5, np.empty(0))]).size
    partly = mean_drawn([(0.5, np.array([NAN, NAN])), (0.5, np.array([NAN, 1.0]))])
    assert sorted(partly, key=math.isnan)[0] == 1.0
    assert np.isnan(partly).sum() == 1


def run_of(tool, target, performance, scores, own=(), drawn=None):
    rankings = [
        ranked(
            dict(zip(performance, values, strict=True)),
            title=title,
            drawn=None if title.startswith("labelled") else [values] * 4,
            needs=("labels",) if title.startswith("labelled") else (),
            failed=[("z", "/home/someone/models/z.onnx: cannot be read")],
        )
        for title, values in scores.items()
    ]
    truth = truth_of(performance, drawn)
    return tool("bank_runs").Run(target, truth, tuple(rankings), frozenset(own))


@pytest.fixture
def runs(tool):
    """Two targets, three models, four estimators."""
    one = {"a": 0.9, "b": 0.6, "c": 0.3}
    two = {"a": 0.2, "b": 0.5, "c": 0.6}
    scores = {
        "cte nhd noise=0.1": (1, 2, 3),
        "cte ei noise=0.1": (3, 2, 1),
        "consensus": (3, 1, 2),
        "labelled_1": (3, 2, 1),
    }
    return [
        run_of(tool, "field", one, scores, own="a"),
        run_of(tool, "forest", two, {t: v[::-1] for t, v in scores.items()}, own="c"),
    ]


def test_over_the_targets(tool, runs):
    found = tool("task_numbers").task_numbers(runs)
    assert found["reference"] == "cte ei noise=0.1"
    best, worst, middle, labelled = (
        found["summary"]["all"]["estimators"][title]
        for title in ("cte ei noise=0.1", "cte nhd noise=0.1", "consensus", "labelled_1")
    )
    assert (best["tau"]["mean"], best["tau"]["std"], worst["tau"]["mean"]) == (1, 0, -1)
    # field: a is above b and c, b below c. forest: c is above a and b, b below a, rightly above.
    each = [found["targets"][t]["all"]["estimators"]["consensus"] for t in ("field", "forest")]
    assert [row["tau"] for row in each] == pytest.approx([1 / 3, 1 / 3])
    assert [row["pairs"] for row in each] == pytest.approx([2 / 3, 2 / 3])
    assert middle["pairs"]["least"] == pytest.approx(2 / 3)
    assert worst["regret"]["mean"] == pytest.approx((0.6 + 0.4) / 2)
    assert worst["regret"]["std"] == pytest.approx(0.2 / math.sqrt(2))
    assert worst["regret"]["greatest"] == pytest.approx(0.6)
    # Nothing changes under the draws: intervals have no width.
    assert worst["tau_interval"] == [-1, -1]
    assert (worst["tau_more"], worst["tau_more_interval"]) == (-2, [-2, -2])
    assert best["pairs_more_interval"] == [0, 0]
    assert labelled["tau_interval"] == labelled["pairs_more_interval"] == [None, None]
    assert labelled["needs"] == ["labels"]


def test_what_needs_no_estimator(tool, runs):
    found = tool("task_numbers").task_numbers(runs)
    field, forest = found["targets"]["field"], found["targets"]["forest"]
    assert field["all"]["random_regret"] == pytest.approx(0.3)
    # Over both, a and b have 0.55 and c 0.45: the first of equals.
    assert [t["all"]["bank_best"] for t in (field, forest)] == ["a", "a"]
    assert found["summary"]["all"]["bank_regret"]["mean"] == pytest.approx(0.2)
    # Elsewhere than at home a has 0.2, b 0.55 and c 0.3.
    assert [t["others"]["bank_best"] for t in (field, forest)] == ["b", "b"]
    assert (field["others"]["models"], field["others"]["pairs"]) == (2, 1)
    assert field["others"]["estimators"]["consensus"]["pairs"] == 0
    assert field["others"]["estimators"]["consensus"]["tau"] is None  # of two models
    assert field["own"] == ["a"]
    assert found["summary"]["others"]["mean_tau_of_chance"] is None


def test_paired_differences_leave_out_what_both_share(tool):
    values = {"a": 0.9, "b": 0.6, "c": 0.3}
    right, wrong = [3, 2, 1], [1, 2, 3]
    swings = [right, wrong] * 40
    run = run_of(tool, "field", values, {"cte x": right, "consensus": right}, drawn=[right] * 80)
    twins = tuple(
        replace(r, drawn=ranked(values, drawn=swings, title=r.title).drawn) for r in run.rankings
    )
    (row,) = (
        tool("task_numbers").task_numbers([replace(run, rankings=twins)])["summary"]["all"][
            "estimators"
        ][title]
        for title in ("consensus",)
    )
    assert row["tau_interval"] == [-1, 1]
    assert row["tau_more_interval"] == [0, 0]


def test_what_cannot_be_compared_is_refused(tool, runs):
    task_numbers = tool("task_numbers").task_numbers
    with pytest.raises(ValueError, match="no target"):
        task_numbers([])
    with pytest.raises(ValueError, match="no estimator 'leep' to compare with"):
        task_numbers(runs, reference="leep")
    assert task_numbers(runs, reference="consensus")["reference"] == "consensus"
    fewer = replace(runs[1], rankings=runs[1].rankings[:2])
    with pytest.raises(ValueError, match="forest: other estimators than on field"):
        task_numbers([runs[0], fewer])
    others = [replace(run, rankings=run.rankings[2:]) for run in runs]
    assert task_numbers(others)["reference"] is None


TABLE = """
[banks.plants]
targets = ["field", "forest"]
[tasks.plants]
bank = "plants"
performance = "f1"
[tasks.weeds]
bank = "plants"
performance = "f1"
"""


@pytest.fixture
def command(tool, runs, tmp_path, monkeypatch):
    """Runs the command with hand-made runs in place of models, and without matplotlib."""
    for target in ("field", "forest"):
        for kind in ("images", "labels"):
            (tmp_path / "data" / target / kind).mkdir(parents=True)
            (tmp_path / "data" / target / kind / "a.png").write_bytes(kind.encode())
    (tmp_path / "table.toml").write_text(TABLE, encoding="utf-8")
    reproduce = tool("reproduce_tables")
    monkeypatch.setattr(reproduce, "runs", lambda *given, **options: iter(runs))
    monkeypatch.setattr(reproduce, "can_draw", lambda: False)
    options = ["--table", str(tmp_path / "table.toml"), "--models", str(tmp_path)]

    def call(*words):
        reproduce.main([str(tmp_path / "data"), str(tmp_path / "results"), *words, *options])
        return tmp_path / "results"

    return call


def test_what_is_written_names_no_folder_of_this_machine(command, tmp_path, capsys):
    out = command("plants")
    assert "no figures: matplotlib is not installed" in capsys.readouterr().err
    document = json.loads((out / "plants.json").read_text())
    assert document["made"]["command"] == (
        "python tools/reproduce_tables.py data results plants --table table.toml --models "
        + tmp_path.name
    )
    failed = document["targets"]["field"]["scores"]["consensus"]["failed"]
    assert failed == [["z", "z.onnx: cannot be read"]]
    files = [path for path in out.iterdir() if path.suffix in (".json", ".md")]
    assert {"plants.json", "plants.md", "README.md"} <= {path.name for path in files}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert "/home/" not in text
        assert str(ROOT) not in text


def test_the_json_says_what_it_was_made_with(command):
    document = json.loads((command("plants") / "plants.json").read_text())
    assert document["targets"]["field"]["images"]["a.png"] == {
        kind: hashlib.sha256(data).hexdigest()
        for kind, data in (("image", b"images"), ("labels", b"labels"))
    }
    assert document["models"]["a"] == {"kind": "zoo", "sha256": "0" * 64}
    assert document["made"]["device"] == "cpu"
    assert document["targets"]["field"]["seconds"] >= 0
    assert document["targets"]["field"]["performance"]["a"]["value"] == 0.9
    assert document["targets"]["field"]["scores"]["consensus"]["values"]["a"] == 3


def cells(page, heading):
    """Rows of the first table below a heading, by their first cell."""
    table = page.split(heading, 1)[1].split("\n| ", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in row.strip("| ").split("|")] for row in table.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_the_page_of_a_task(command):
    page = (command("plants") / "plants.md").read_text(encoding="utf-8")
    rows = cells(page, "### All models")
    titles = list(rows)[2:]
    assert titles[:4] == ["cte ei noise=0.1", "labelled_1", "consensus", "cte nhd noise=0.1"]
    head = rows["estimator"]
    consensus = dict(zip(head, rows["consensus"], strict=True))
    assert (consensus["needs"], consensus["tau"], consensus["pairs"]) == (
        "nothing", "0.33 (0.00)", "0.67",
    )  # fmt: skip
    assert consensus["pairs more"] == "-0.33 [-0.33, -0.33]"
    assert titles[4:] == ["*order at random*", "*model at random*", "*always a*"]
    performance = cells(page, "## Performance")
    assert performance["a"] == ["**0.90**", "0.20"]
    assert performance["*median*"] == ["0.60", "0.50"]
    target = cells(page, "## Target by target")
    assert target["field"][:2] == ["3", "3"]
    assert dict(zip(target["target"], target["field"], strict=True))["labelled_1"] == (
        "1.00 / 1.00 / 0.000"
    )


def test_without_in_domain_models_the_bank_is_without_them(tool, runs):
    field = runs[0]
    title = "consensus"
    # As of the whole bank, b would be below c.
    again = ranked({"b": 3, "c": 1}, title=title, drawn=[(3, 1)] * 4)
    found = tool("task_numbers").task_numbers([replace(field, outside={title: again}), runs[1]])
    assert found["targets"]["field"]["others"]["estimators"][title]["pairs"] == 1
    before = tool("task_numbers").task_numbers(runs)
    assert before["targets"]["field"]["others"]["estimators"][title]["pairs"] == 0
    assert found["targets"]["field"]["all"] == before["targets"]["field"]["all"]


def test_where_all_models_are_in_domain_the_page_says_so(tool, runs):
    own = [replace(run, own=frozenset("abc")) for run in runs]
    found = tool("task_numbers").task_numbers(own)
    assert found["summary"]["others"]["targets"] == 0
    for target in found["targets"].values():
        target["images"] = {}
    task = {"name": "blood", "bank": "blood", "performance": "f1"}
    made = {"command": "x", "split": "test"}
    document = {"task": task, "made": made, "models": {}, **found}
    page = tool("tabulating").task_tables(document)
    assert "All models are in-domain on every target." in page
    assert "## Without" not in tool("tabulating").joint_tables([document])


def test_the_joint_page_is_made_of_the_json_that_is_there(command):
    out = command("weeds", "plants")
    page = (out / "README.md").read_text(encoding="utf-8")
    rows = cells(page, "### Pairs in the right order")
    assert rows["estimator"][-2:] == ["plants", "weeds"]  # in the order of the table
    assert rows["consensus"] == ["nothing", "0.67", "2", "0.67", "0.67"]
    changed = json.loads((out / "weeds.json").read_text())
    estimators = changed["summary"]["all"]["estimators"]
    estimators["labelled_1 map"] = estimators.pop("labelled_1")
    estimators["labelled_1 map"]["pairs"]["mean"] = 0.5
    del estimators["consensus"]
    changed["task"]["performance"] = "map"
    (out / "weeds.json").write_text(json.dumps(changed))
    (out / "plants.md").unlink()
    command("plants", "--redraw")
    assert (out / "plants.md").is_file()
    rows = cells((out / "README.md").read_text(encoding="utf-8"), "### Pairs in the right order")
    assert rows["consensus"] == ["nothing", "0.67", "1", "0.67", "-"]
    assert rows["labelled_1"] == ["labels", "0.75", "2", "1.00", "0.50"]
    regret = cells((out / "README.md").read_text(encoding="utf-8"), "### Top-1 regret")
    assert list(regret)[2:] == [
        "consensus", "cte ei noise=0.1", "labelled_1", "*always the bank's best*",
        "*model at random*", "cte nhd noise=0.1",
    ]  # fmt: skip


def test_a_task_that_fails_does_not_end_the_others(command, tool, monkeypatch, runs, capsys):
    def some(task, *given, **options):
        if task.name == "plants":
            raise oc.CTEError("there is no model to rank")
        return iter(runs)

    monkeypatch.setattr(tool("reproduce_tables"), "runs", some)
    with pytest.raises(SystemExit, match="failed: plants"):
        command()
    assert "plants: there is no model to rank" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no task stones; there is plants, weeds"):
        command("stones")


def test_estimators_are_named_as_on_the_command_line(tool):
    task = tool("bank_runs").Task("t", "b", "map", ("x",))
    texts = ["otce", "labelled_3", "cte:draws=4", "credibility", "credibility:metric=nhd"]
    made = [tool("bank_runs").estimator_of(text, task) for text in texts]
    assert [judge.title for judge in made][1] == "labelled_3 map"
    assert (made[0].pixels, made[2].draws) == (500, 4)
    assert (made[3].metric, made[4].metric) == ("rand_fscore", "nhd")


def test_strengths(tool, runs):
    values = {"noise": (0.1, 0.2), "dropout": (0.5,)}
    titles = ["cte nhd noise=0.1", "cte nhd noise=0.2", "cte nhd dropout=0.5"]
    renamed = [
        replace(run, rankings=tuple(map(lambda r, t: replace(r, title=t), run.rankings, titles)))
        for run in runs
    ]
    found = tool("strength_sweep").strengths_numbers(renamed, values)
    assert found["metric"] == "nhd"
    assert found["targets"]["field"]["noise"] == {"tau": [-1, 1], "score": [2, 2]}
    assert found["targets"]["forest"]["dropout"]["tau"] == pytest.approx([1 / 3])
    with pytest.raises(ValueError, match=re.escape("is not cte at noise=0.3")):
        tool("strength_sweep").strengths_numbers(renamed, {**values, "noise": (0.3, 0.2)})


@pytest.fixture
def figures(tool):
    pytest.importorskip("matplotlib", reason="draws figures: needs matplotlib")
    return tool("figures")


def test_figures_show_every_model_and_are_made_alike(figures, tool, command, monkeypatch, tmp_path):
    monkeypatch.setattr(tool("reproduce_tables"), "can_draw", lambda: True)
    out = command("plants")
    page = (out / "plants.md").read_text(encoding="utf-8")
    assert re.findall(r"!\[(.*?)\]", page) == ["plants_pairs.png", "plants_scores.png"]
    assert "![plants_pairs.png]" in (out / "README.md").read_text(encoding="utf-8")
    assert str(tmp_path) not in (out / "plants_scores.svg").read_text(encoding="utf-8")
    document = json.loads((out / "plants.json").read_text())
    picture, vectors = figures.scores_figure(document, tmp_path / "again")
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = vectors.read_text(encoding="utf-8")
    assert text == (out / "plants_scores.svg").read_text(encoding="utf-8")
    points = [
        style
        for style, uses in re.findall(
            r'<g clip-path="[^"]*" style="([^"]*)">((?:\s*<use [^>]*>)+)', text
        )
        for _ in range(uses.count("<use"))
    ]
    # Three models on two targets, by each of cte nhd noise=0.1, consensus and labelled_1.
    assert len(points) == 3 * 2 * 3
    assert sum("fill-opacity: 0;" not in style for style in points) == 1 * 2 * 3  # in-domain
    assert all("stroke: #" in style for style in points)
    assert "tau 0.33" in text
    bars = (out / "plants_pairs.svg").read_text(encoding="utf-8")
    assert all(title in bars for title in ("consensus", "labelled_1", "cte ei noise=0.1"))


def test_figures_that_would_be_empty_are_not_drawn(figures, tool, runs, tmp_path):
    only = [
        replace(r, rankings=tuple(replace(x, title="own") for x in r.rankings[:1])) for r in runs
    ]
    bare = [replace(run, truth=replace(run.truth, drawn=None, sampled=0)) for run in only]
    document = {"task": {"performance": "f1"}, **tool("task_numbers").task_numbers(bare)}
    assert figures.scores_figure(document, tmp_path / "scores") == []
    assert figures.pairs_figure(document, tmp_path / "pairs") == []


@pytest.mark.slow
def test_from_models_to_pages(tool, tmp_path):
    for target, seed in (("nuc_dsb_fibro", 0), ("nuc_sim", 1)):
        domain = tmp_path / "data" / target
        for kind in ("images", "labels"):
            (domain / kind).mkdir(parents=True)
        rows = ["stem,split"]
        for name, image, labels in oc.simulate_images(6, seed, shape=(96, 96)):
            io.imsave(domain / "images" / f"{name}.png", image, check_contrast=False)
            whole = labels.astype(np.uint16)
            io.imsave(domain / "labels" / f"{name}.png", whole, check_contrast=False)
            rows.append(f"{name},{'train' if name.endswith('0') else 'test'}")
        (domain / "split.csv").write_text("\n".join(rows) + "\n")
    shutil.copytree(ROOT / "models" / "nuclei", tmp_path / "models" / "nuclei")
    (tmp_path / "table.toml").write_text(
        TABLE.replace("plants", "nuclei")
        .replace("field", "nuc_dsb_fibro")
        .replace("forest", "nuc_sim")
    )
    main = tool("reproduce_tables").main
    words = [str(tmp_path / "data"), str(tmp_path / "results"), "nuclei", "--device", "cpu"]
    words += ["--table", str(tmp_path / "table.toml"), "--models", str(tmp_path / "models")]
    main([*words, "--estimator", "cte", "consensus", "leep", "labelled_1", "atc"])
    document = json.loads((tmp_path / "results" / "nuclei.json").read_text())
    fibro, simulated = document["targets"].values()
    assert fibro["own"] == ["fibro"]
    assert (fibro["all"]["models"], fibro["others"]["models"]) == (6, 5)
    assert len(fibro["images"]) == 5
    assert simulated["all"]["draws"] == 200
    assert fibro["scores"]["atc"]["values"].keys() == {"fibro"}  # no other has source images
    consensus = document["summary"]["all"]["estimators"]["consensus"]
    low, high = consensus["tau_interval"]
    assert -1 <= low <= high <= 1
    assert consensus["tau"]["of"] == 2
    assert str(tmp_path) not in (tmp_path / "results" / "nuclei.json").read_text()
    page = (tmp_path / "results" / "nuclei.md").read_text(encoding="utf-8")
    assert "| consensus" in page
    assert "[nuclei](nuclei.md)" in (tmp_path / "results" / "README.md").read_text()
