import math

from onnx_cte.agreement import agreement
from onnx_cte.console import agreement_text, ranking_text
from onnx_cte.ranking import Ranking, Score
from onnx_cte.tables import number, span, text_table


def ranking(**changes):
    scores = (
        Score("a", 0.9, (0.8, 0.95), (1, 2), 7, 1, 0.875, (("x.png", "too small"),), ("guess",)),
        Score("b", 0.85, (0.7, 0.9), (1, 2), 8, 0, 1.0, notes=("guess", "other guess")),
        Score("c", math.nan, (math.nan, math.nan), (3, 3), 0, 8, 0.0),
    )
    given = {"title": "cte", "undecided": (("a", "b"),), "seed": 5, **changes}
    return Ranking(scores, "CTE()", **given)


def test_all_one_must_know_is_told():
    text = ranking_text(
        ranking(
            failed=(("d", "is broken"),),
            skipped=(("z.png", "unreadable"),),
            provenance={"models": {"a": {"provider": "CPU"}, "box": {"kind": "black box"}}},
        )
    )
    table, *blocks = text.split("\n\n")
    assert [line.split()[1] for line in table.splitlines()[2:]] == ["a", "b", "c"]
    assert blocks == [
        "these images cannot tell apart\n  a: b\n  b: a",
        "assumed\n  a, b: guess\n  b: other guess",
        "skipped\n  z.png: unreadable\n  x.png: too small (by a)",
        "failed, not ranked\n  d: is broken",
        "run by CPU, seed 5",
    ]


def shares(*values):
    scores = (
        Score(f"m{i}", 0.5, (0.4, 0.6), (1, 1), 7, 0, 1.0, foreground=share)
        for i, share in enumerate(values)
    )
    return Ranking(tuple(scores), "CTE()")


def test_a_model_unlike_the_others_is_pointed_at():
    text = ranking_text(shares(0.1, 0.12, 0.9, 0.0, 0.11))
    assert "warning: m2 calls 90.0% of the pixels foreground, the models' median is 11.0%" in text
    assert "warning: m3 calls 0.0% of the pixels foreground" in text
    assert text.count("warning") == 2


def test_models_alike_or_too_few_are_not():
    assert shares(0.1, 0.2, 0.05, 0.4).warnings == ()
    assert shares(0.1, 0.9).warnings == ()
    assert shares(0.0, 0.0, 0.0).warnings == ()
    assert shares(0.1, math.nan, 0.9).warnings == ()


def test_nothing_to_add():
    plain = Ranking((Score("a", 0.9, (0.8, 0.95), (1, 1), 7, 0, 1.0),), "CTE()")
    assert ranking_text(plain) == str(plain)


def test_an_evaluation_puts_estimators_side_by_side():
    truth = ranking(title="f1")
    compared = [(ranking(), agreement(ranking(), truth))]
    head, _, first, *_ = ranking_text(truth, compared).splitlines()
    assert head.split() == ["model", "f1", "images", "cte"]
    assert first.split() == ["a", "0.900", "7", "0.900"]
    last = agreement_text(compared).splitlines()[-1].split()
    assert last[0] == "cte"
    assert last[-1] == "a"


def test_undefined_is_a_dash_and_nothing_is_minus_zero():
    assert number(math.nan) == "-"
    assert number(-1e-9) == "0.000"
    assert span((math.nan, 1.0)) == "-"


def test_a_table_without_rows():
    assert text_table(["a", "bb"], []) == "a  bb\n-  --"
