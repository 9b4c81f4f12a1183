"""Weights are chosen by what they are worth on other targets, and never by the one judged."""

import importlib
import math
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def chooser(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    yield importlib.import_module("choose_weights")
    for name in [
        n for n, m in sys.modules.items() if str(TOOLS) in str(getattr(m, "__file__", ""))
    ]:
        del sys.modules[name]


def found(pairs, regret=0.0, others=None):
    one = {"pairs": pairs, "regret": regret, "tau": 0.0}
    return {"all": one, "out of domain": one if others is None else {**one, "pairs": others}}


def test_worth_by_hand(chooser):
    assert chooser.worth([found(0.9, 0.1), found(0.5)]) == pytest.approx((0.8 + 0.5) / 2)
    assert chooser.worth([found(0.9, others=math.nan)]) == pytest.approx(0.9)
    assert math.isnan(chooser.worth([found(math.nan)]))


def test_a_target_has_no_say_in_its_own_choice(chooser):
    first, second, *rest = grid = [weights for weights in trials(chooser)]
    low = dict.fromkeys(grid, found(0.1))
    trained = {
        ("nuclei", "here"): {**low, first: found(1.0)},
        ("nuclei", "there"): {**low, second: found(0.9)},
        # Another task on the same domain is as good as the target itself.
        ("objects", "here"): {**low, rest[0]: found(1.0)},
    }
    assert chooser.chosen_without("here", trained) == second
    assert chooser.chosen_without("there", trained) in (first, rest[0])


def trials(chooser):
    task = importlib.import_module("bank_runs").Task("t", "b", "f1", ("x",))
    return chooser.weighed(task)


def test_the_default_is_among_what_is_tried(chooser):
    made = trials(chooser)
    assert chooser.by_default() in made
    assert len({judge.measures for judge in made.values()}) == 1
    assert all(judge.resamples == 0 for judge in made.values())


def test_the_page_has_means(chooser):
    numbers = {"pairs": 0.5, "regret": 0.25, "tau": math.nan}
    row = {"task": "nuclei", "target": "here", "weights": (6.0, 1.0, 1.0)}
    other = {**row, "target": "there", "chosen": {**numbers, "pairs": 1.0}, "default": numbers}
    page = chooser.table([{**row, "chosen": numbers, "default": numbers}, other])
    assert "6/1/1" in page
    assert "0.750" in page.splitlines()[-1]
