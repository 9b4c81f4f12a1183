import math
from dataclasses import replace

import pytest

from onnx_cte.agreement import agreement
from onnx_cte.console import MANY, WIDEST, agreement_text, evaluation_text, ranking_text, told_apart
from onnx_cte.ranking import Ranking, Score
from onnx_cte.separation import Separation
from onnx_cte.tables import number, span, text_table
from onnx_cte.verdict import verdict


def ranking(**changes):
    scores = (
        Score("a", 0.9, (0.8, 0.95), (1, 2), 7, 1, 0.875, (("x.png", "too small"),), ("guess",)),
        Score("b", 0.85, (0.7, 0.9), (1, 2), 8, 0, 1.0, notes=("guess", "other guess")),
        Score("c", math.nan, (math.nan, math.nan), (3, 3), 0, 8, 0.0),
    )
    given = {"scores": scores, "title": "cte", "undecided": (("a", "b"),), "seed": 5, **changes}
    return Ranking(estimator="CTE()", **given)


def test_all_one_must_know_is_told():
    text = ranking_text(
        ranking(
            failed=(("d", "is broken"),),
            skipped=(("z.png", "unreadable"),),
            provenance={"models": {"a": {"provider": "CPU"}, "box": {"kind": "black box"}}},
        )
    )
    table, sentence, *blocks = text.split("\n\n")
    assert sentence == verdict(ranking()).sentence
    assert [line.split()[1] for line in table.splitlines()[2:]] == ["a", "b", "c"]
    assert blocks == [
        "these images cannot tell apart\n  a: b\n  b: a",
        "assumed\n  a, b: guess\n  b: other guess",
        "skipped\n  z.png: unreadable\n  x.png: too small (by a)",
        "failed, not ranked\n  d: is broken",
        "run by CPU, seed 5",
    ]


def of_evaluation(truth):
    """Text of an evaluation; of a ranking by itself, the sentence tells of more images."""
    return ranking_text(truth, [(ranking(), agreement(ranking(), truth))])


def last_of_apart(**changes):
    """The last line of what the images cannot tell apart."""
    (block,) = (b for b in of_evaluation(ranking(**changes)).split("\n\n") if "cannot" in b)
    return block.splitlines()[-1]


@pytest.mark.parametrize(
    ("more", "about"), [(1, "1"), (32, "32"), (131, "130"), (197, "200"), (200, "200")]
)
def test_how_many_more_images_would_tell_the_first(more, about):
    assert last_of_apart(sampled=10, images_to_tell=(("a", "b", more),)) == (
        f"these images cannot tell a from b: about {about} more would, if their difference is "
        "what it looks like"
    )


def test_what_many_more_images_would_not_tell():
    assert last_of_apart(sampled=10, images_to_tell=(("a", "b", 201),)) == (
        "these images cannot tell a from b, nor would 20 times as many: they are alike for "
        "practical purposes"
    )
    # Equal scores have no number.
    equal = tuple(replace(score, value=0.9) for score in ranking()[:2])
    text = of_evaluation(replace(ranking(sampled=10), scores=equal))
    assert "from b, nor would 20 times as many: they are alike" in text


def test_nothing_is_said_of_more_images_where_nobody_knows():
    # Too few files to draw from; no number, though the scores differ; the first is told from all.
    assert last_of_apart() == last_of_apart(sampled=10) == "  b: a"
    others = {"undecided": (("b", "c"),), "sampled": 10, "images_to_tell": (("b", "c", 3),)}
    assert last_of_apart(**others) == "  c: b"


def test_more_images_are_told_of_the_next_that_is_like_the_first():
    scores = tuple(replace(ranking()[1], model=model) for model in "abcd")
    apart = replace(
        ranking(sampled=10),
        scores=scores,
        undecided=(("a", "c"), ("a", "d")),
        images_to_tell=(("a", "d", 50), ("a", "c", 7)),
    )
    text = of_evaluation(apart)
    assert "these images cannot tell a from c: about 7 more would" in text
    assert text.count("more would") == ranking_text(apart).count("more would") == 1


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
    assert text.count("warning:") == 2


def test_models_alike_or_too_few_are_not():
    assert shares(0.1, 0.2, 0.05, 0.4).warnings == ()
    assert shares(0.1, 0.9).warnings == ()
    assert shares(0.0, 0.0, 0.0).warnings == ()
    assert shares(0.1, math.nan, 0.9).warnings == ()


def test_nothing_to_add():
    plain = Ranking((Score("a", 0.9, (0.8, 0.95), (1, 1), 7, 0, 1.0),), "CTE()")
    assert ranking_text(plain) == f"{plain}\n\n{verdict(plain).sentence}"


def test_parts_stand_beside_the_score():
    first, second, third = ranking()
    parts = {"boundary": 0.75, "consensus": math.nan}
    shown = replace(ranking(), scores=(third, replace(first, parts=parts), second))
    head, _, *rows = str(shown).splitlines()
    assert head.split()[:6] == ["rank", "model", "score", "boundary", "consensus", "95"]
    assert [row.split()[1:5] for row in rows] == [
        ["c", "-", "-", "-"],
        ["a", "0.9000", "0.750", "-"],
        ["b", "0.8500", "-", "-"],
    ]
    assert "boundary" not in str(ranking())
    # Of an evaluation, scores alone stand side by side.
    assert "boundary" not in ranking_text(ranking(), [(shown, agreement(shown, ranking()))])


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


APART = Separation(0.087, 0.008, 3, 3, 1.0, 2)
ALIKE = Separation(0.001, 0.008, 3, 1, 0.33, 2)


def test_separation_stands_below_the_table_and_a_doubt_below_it():
    shown = replace(shares(0.1, 0.12, 0.11), separation=APART)
    table, sentence, told = ranking_text(shown).split("\n\n")
    assert table == str(shown)
    assert sentence == verdict(shown).sentence
    assert told == f"separation: {APART}"
    doubted = replace(shares(0.1, 0.12, 0.9), separation=ALIKE)
    first, second = doubted.warnings
    assert first.startswith("the perturbation says little about these models: only 1 of 3 pairs")
    assert second.startswith("m2 calls 90.0%")
    assert f"tau 0.33 (1: the same order)\n\nwarning: {first}\nwarning: {second}" in ranking_text(
        doubted
    )


def test_a_single_model_has_nothing_to_separate_from():
    plain = Ranking(
        (Score("a", 0.9, (0.8, 0.95), (1, 1), 7, 0, 1.0),),
        "CTE()",
        separation=Separation(math.nan, 0.075, 0, 0, math.nan, 2),
    )
    assert "separation" not in ranking_text(plain)


def test_no_doubt_of_what_is_not_perturbed_or_better_if_lower():
    assert replace(shares(0.1, 0.12, 0.11), separation=replace(ALIKE, draws=0)).warnings == ()
    still = replace(
        shares(0.1, 0.12, 0.11),
        scores=tuple(replace(s, value=0.99) for s in shares(0.1, 0.12, 0.11)),
        separation=replace(APART, spread=0.001),
    )
    assert len(still.warnings) == 1
    assert replace(still, greater_is_better=False).warnings == ()
    # Nor of a score that is not the answer to a perturbation alone.
    parts = (replace(score, parts={"boundary": 0.99}) for score in still)
    assert replace(still, scores=tuple(parts)).warnings == ()


def test_an_evaluation_tells_the_separation_and_doubts_of_every_ranking():
    truth = replace(ranking(title="f1"), separation=replace(APART, draws=0, stability=math.nan))
    named = zip(shares(0.1, 0.12, 0.9), "abc", strict=True)
    scores = tuple(replace(score, model=model) for score, model in named)
    doubted = Ranking(scores, "CTE()", "cte", separation=ALIKE)
    assert len(doubted.warnings) == 2
    text = ranking_text(truth, [(doubted, agreement(doubted, truth))])
    _, separations, warnings, *_ = text.split("\n\n")
    assert [line.partition(":")[0] for line in separations.splitlines()] == [
        "separation",
        "  f1",
        "  cte",
    ]
    assert separations.endswith("tau 0.33 (1: the same order)")
    # What a share of foreground gives away is told of the truth, with the same predictions.
    assert warnings.startswith("warning: cte: the perturbation says little")
    assert len(warnings.splitlines()) == 1


def nothing(*failed):
    return Ranking((), "CTE()", "cte", failed=failed, seed=5)


def test_a_ranking_of_no_model_says_so():
    both = nothing(("a", "no bottleneck"), ("b", "no bottleneck"))
    assert ranking_text(both) == (
        "no model could be ranked: all 2 failed\n\n"
        "failed, not ranked\n  a: no bottleneck\n  b: no bottleneck"
    )
    assert "the only one failed" in ranking_text(nothing(("a", "no bottleneck")))


def test_an_evaluation_of_what_no_model_offers_shows_dashes():
    truth = ranking(title="f1", failed=(("d", "is broken"),))
    empty = nothing(*((model, "no bottleneck") for model in "abc"), ("d", "is broken"))
    compared = [(empty, agreement(empty, truth)), (ranking(), agreement(ranking(), truth))]
    text = ranking_text(truth, compared)
    assert [line.split()[-2:] for line in text.splitlines()[2:5]] == [
        ["-", "0.900"],
        ["-", "0.850"],
        ["-", "-"],
    ]
    assert text.endswith(
        "failed, not ranked\n  d: is broken (by f1, cte)\n  a: no bottleneck (by cte)\n"
        "  b: no bottleneck (by cte)\n  c: no bottleneck (by cte)"
    )
    row = agreement_text(compared).splitlines()[2].split()
    assert row == ["cte", "nothing", "0", "-", "0", *["-"] * 7]


def test_agreement_tells_what_each_needs_and_took():
    truth = ranking(title="f1")
    took = {"time": {"estimator_seconds": 1.234}}
    few = ranking(title="few", needs=("labels", "source"), provenance=took)
    compared = [(few, agreement(few, truth)), (ranking(), agreement(ranking(), truth))]
    text = agreement_text(compared, [("otce", "no source"), ("x", "no package")])
    head, _, first, second, *rest = text.splitlines()
    assert " ".join(head.split()) == (
        "estimator needs models pairs right of tau p rho r regret seconds chosen"
    )
    assert first.split() == [
        *("few", "labels,", "source", "2", "1.000", "1", "-", "-", "-", "-", "0.0000", "1.23", "a")
    ]
    assert second.split()[-3:] == ["0.0000", "-", "a"]
    assert second.split()[1] == "nothing"
    assert rest == ["", "left out", "  otce: no source", "  x: no package"]


def test_many_estimators_are_not_shown_side_by_side():
    truth = replace(ranking(title="f1"), separation=APART)
    beside = [replace(ranking(title=f"e{i}"), separation=APART) for i in range(WIDEST + 1)]
    compared = [(r, agreement(r, truth)) for r in beside]
    few = evaluation_text(truth, compared[:-1])
    assert few.startswith("performance against labels (f1), and what each estimator says\n\nmodel")
    assert few.splitlines()[2].split() == ["model", "f1", "images", *(r.title for r in beside[:-1])]
    assert few.count("scores spread") == WIDEST + 1
    many = evaluation_text(truth, compared)
    assert many.startswith(
        f"performance against labels (f1), what {WIDEST + 1} estimators say of each model is in "
        "scores.csv\n\nmodel"
    )
    assert many.splitlines()[2].split() == ["model", "f1", "images"]
    assert many.count("scores spread") == 1
    assert len(agreement_text(compared).splitlines()) == WIDEST + 3


def test_many_models_that_fail_alike_share_a_line():
    alike = [(model, "no bottleneck") for model in "abcd"]
    text = ranking_text(nothing(*alike, ("e", "is broken")))
    assert text.endswith("failed, not ranked\n  a, b, c, d: no bottleneck\n  e: is broken")
    text = ranking_text(nothing(*alike[:3]))
    assert text.endswith("  a: no bottleneck\n  b: no bottleneck\n  c: no bottleneck")


def test_remarks_of_all_estimators_are_told_once_each():
    truth = ranking(title="f1", remarks=("masks, not objects",))
    beside = [
        ranking(title="one", remarks=("few pixels",)),
        ranking(title="two", remarks=("few pixels", "fewer layers")),
    ]
    text = evaluation_text(truth, [(r, agreement(r, truth)) for r in beside])
    told = [line for line in text.splitlines() if line.startswith("warning: ")]
    assert told == [
        "warning: masks, not objects",
        "warning: one, two: few pixels",
        "warning: two: fewer layers",
    ]


def without(title, *models):
    whole = ranking(title=title)
    scores = (replace(s, value=math.nan) if s.model in models else s for s in whole)
    return replace(whole, scores=tuple(scores))


def test_what_has_a_performance_and_no_score_is_told():
    truth = ranking(title="f1")
    beside = [without("one", "a", "b"), ranking(), without("two", "b"), without("three", "a", "b")]
    text = evaluation_text(truth, [(r, agreement(r, truth)) for r in beside])
    assert ("\n\nno score, for it is undefined here\n  one, three: all 2 models\n  two: b") in text
    # A model that failed is told as such, one without a performance has its dash.
    failing = Ranking((), "CTE()", "cte", failed=tuple((m, "is broken") for m in "abc"))
    beside = [ranking(), failing]
    assert "no score" not in evaluation_text(truth, [(r, agreement(r, truth)) for r in beside])
    single = [replace(r, scores=r.scores[:1]) for r in (truth, without("one", "a"))]
    assert "no score, for it is undefined here\n  one: a" in evaluation_text(
        single[0], [(single[1], agreement(single[1], single[0]))]
    )


def test_equal_titles_are_told_apart_by_options_that_differ():
    def titles(*estimators, title="otce"):
        given = [replace(ranking(title=title), estimator=e) for e in estimators]
        return [r.title for r, _ in told_apart([(r, agreement(r, given[0])) for r in given])]

    assert titles("OTCE(kind='f', pixels=200)", "OTCE(kind='f', pixels=2000)") == [
        *("otce pixels=200", "otce pixels=2000")
    ]
    assert titles("A(x=(1, 2), y='s')", "A(x=(1, 2), y='t')", "A(x=(3,), y='t')") == [
        *("otce x=(1, 2) y=s", "otce x=(1, 2) y=t", "otce x=(3,) y=t")
    ]
    assert titles("A(x=1)") == ["otce"]
    assert titles("<A at 0x12>", "A", "1 + (") == ["otce"] * 3
    truth = ranking(title="f1")
    same = [replace(ranking(), estimator=f"CTE(draws={n})") for n in (1, 2)]
    compared = [(r, agreement(r, truth)) for r in same]
    assert "cte draws=1  cte draws=2" in evaluation_text(truth, compared)
    rows = agreement_text(compared).splitlines()[2:]
    assert [row[:11] for row in rows] == ["cte draws=1", "cte draws=2"]


def test_images_that_are_skipped_alike_share_a_line():
    def skipped(count):
        names = [f"{n}.png" for n in range(count)]
        here = tuple((name, f"there are no labels for '{name}'") for name in names)
        small = tuple((name, "too small") for name in names)
        first, second, third = ranking()
        scores = (replace(first, skipped=small), replace(second, skipped=small), third)
        text = ranking_text(ranking(skipped=(("z.png", "unreadable"), *here), scores=scores))
        (block,) = (block for block in text.split("\n\n") if block.startswith("skipped"))
        return block.splitlines()[1:]

    assert skipped(MANY) == [
        "  z.png: unreadable",
        f"  0.png and {MANY - 1} more: there are no labels for '0.png'",
        f"  0.png and {MANY - 1} more: too small (by a, b)",
    ]
    assert len(skipped(MANY - 1)) == 1 + 2 * (MANY - 1)
