"""Banks of other shapes are made of what there is, and every estimator is shown the same."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from onnx_cte.bank import Bank

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    yield importlib.import_module("small_banks")
    for name in [
        n for n, m in sys.modules.items() if str(TOOLS) in str(getattr(m, "__file__", ""))
    ]:
        del sys.modules[name]


class ByValue:
    """Scores a model by its mean value, up or down."""

    def __init__(self, greater_is_better=True):
        self.greater_is_better = greater_is_better
        self.title = "up" if greater_is_better else "down"

    def score(self, bank):
        return dict(zip(bank, bank.column("value").mean(axis=1), strict=True))


REAL = {f"m{n:02}": 1 - n / 20 for n in range(20)}
BANK = Bank({name: [{"value": value}] for name, value in REAL.items()})


def test_shapes(tool):
    drawn = tool.shapes(REAL, np.random.default_rng(0))
    assert [len(drawn[str(size)]) for size in tool.SIZES] == [2, 3, 5, 10]
    assert len(set(drawn["10"])) == 10
    copied = [name for name in set(drawn["copies"]) if drawn["copies"].count(name) > 1]
    assert len(copied) == 1
    assert drawn["copies"].count(copied[0]) == tool.COPIES
    assert REAL[copied[0]] <= 0.5
    good, *bad = drawn["one good"]
    assert REAL[good] >= 0.9
    assert len(bad) == 9
    assert max(REAL[name] for name in bad) <= 0.5


def test_shapes_that_the_models_do_not_allow_are_left_out(tool):
    alike = dict.fromkeys(("a", "b", "c"), 0.8)
    assert set(tool.shapes(alike, np.random.default_rng(0))) == {"2", "3"}


def test_judged_by_hand(tool):
    names = ["m00", "m05", "m10"]
    assert tool.judged(names, ByValue(), BANK, REAL) == (1, 0)
    assert tool.judged(names, ByValue(greater_is_better=False), BANK, REAL) == (0, 0.5)
    # Copies are equally good, so no pair of them counts; of two pairs one is told wrongly.
    odd = Bank({**BANK, "m10": [{"value": 0.9}]})
    assert tool.judged(["m00", "m05", "m10", "m10"], ByValue(), odd, REAL)[0] == pytest.approx(
        3 / 5
    )


def test_every_estimator_is_shown_the_same_banks(tool):
    judges = [ByValue(), ByValue(greater_is_better=False)]
    found = tool.found_on(REAL, judges, [BANK, BANK], 0)
    for shape in ("2", "10", "copies"):
        up, down = (np.array(found[shape, title]) for title in ("up", "down"))
        # Undefined where no two models of a bank differ enough.
        assert np.nanmin(up[:, 0]) == 1
        assert np.nanmax(down[:, 0]) == 0
        assert len(up) == len(down)
    page = tool.table([found], ["up", "down"])
    assert "1.00 / 0.000" in page
