"""A ranking as rows, as a data frame, and as a notebook shows it."""

import math
import sys
from html.parser import HTMLParser

import pytest

from onnx_cte.errors import NotInstalled
from onnx_cte.ranking import COLUMNS, Ranking, Score

NAN = math.nan
EVIL = "<img src=x onerror=alert(1)>"


def ranking():
    scores = (
        Score("a", 0.9, (0.8, 0.95), (1, 2), 7, 1, 0.875, (("x.png", "too small"),)),
        Score("b", 0.5, (0.4, 0.85), (1, 2), 8, 0, 1.0, parts={"consistency": 0.4}),
        Score("c", NAN, (NAN, NAN), (3, 3), 0, 8, 0.0),
    )
    return Ranking(
        scores,
        "CTE()",
        "cte",
        undecided=(("a", "b"),),
        failed=(("d", "is broken"),),
        skipped=(("z.png", "unreadable"),),
    )


def test_rows_have_the_columns_of_the_file():
    first, second, third = ranking().to_rows()
    assert first == {
        "rank": 1,
        "model": "a",
        "score": 0.9,
        "low": 0.8,
        "high": 0.95,
        "rank_low": 1,
        "rank_high": 2,
        "images": 7,
        "empty": 1,
        "skipped": 2,
        "coverage": 0.875,
        "foreground": pytest.approx(NAN, nan_ok=True),
        "objects": pytest.approx(NAN, nan_ok=True),
        "undecided_with": ["b"],
        "consistency": pytest.approx(NAN, nan_ok=True),
    }
    assert second["consistency"] == 0.4
    assert third["rank"] == 3
    assert math.isnan(third["score"])
    assert Ranking((), "CTE()").to_rows() == []


def test_a_data_frame():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = ranking().to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.index) == [1, 2, 3]
    assert frame.loc[1, "model"] == "a"
    assert frame["score"].isna().tolist() == [False, False, True]
    assert frame.loc[2, "consistency"] == 0.4
    nothing = Ranking((), "CTE()").to_frame()
    assert list(nothing.columns) == list(COLUMNS[1:])
    assert len(nothing) == 0


def test_without_pandas_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(NotInstalled, match=r"pip install 'onnx-cte\[pandas\]'; .*to_rows\(\)"):
        ranking().to_frame()


class Seen(HTMLParser):
    """Tags that are open, all that were there, and the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_a_notebook_shows_the_table_and_what_to_know():
    seen = Seen(ranking()._repr_html_())
    assert seen.open == []
    cells = [cell for line in str(ranking()).splitlines()[2:] for cell in line.split()]
    shown = " ".join(seen.text)
    for cell in (*cells, "ranked by cte", "a, b", "z.png: unreadable", "x.png: too small"):
        assert cell in shown
    assert "d: is broken" in shown
    assert seen.tags.count("tr") == 4


def test_names_are_shown_and_never_run():
    bad = Score(EVIL, 0.9, (0.8, 1.0), (1, 1), 7, 0, 1.0, ((EVIL, EVIL),), parts={EVIL: 1.0})
    text = Ranking(
        (bad,),
        "CTE()",
        EVIL,
        undecided=((EVIL, EVIL),),
        failed=((EVIL, EVIL),),
        skipped=((EVIL, EVIL),),
        remarks=(EVIL,),
    )._repr_html_()
    seen = Seen(text)
    assert set(seen.tags) == {"p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    assert "".join(seen.text).count(EVIL) == 12
