"""The rule, clause by clause, on rows as a sweep would measure them."""

import math

import pytest

from onnx_cte.errors import OptionError
from onnx_cte.ranking import Ranking, Score
from onnx_cte.separation import Separation
from onnx_cte.sweep.rule import WINDOW, SweepRow, choose, row_of

NAN = math.nan


def row(name, held, contrast, spread=0.1, median=0.7):
    return SweepRow(name, median, spread, contrast, 3, 6, 1.0, held)


def chosen(*rows):
    found, reason = choose(rows)
    assert found.perturbation in reason
    return found.perturbation, reason


def test_only_what_is_tolerable_is_compared():
    name, reason = chosen(row("weak", 0.951, 9.0), row("good", 0.9, 2.0), row("strong", 0.499, 8.0))
    assert name == "good"
    assert reason == (
        "among the 1 tolerable (median NHD in 0.5 .. 0.95) good parts a typical pair of "
        "models by 2.0 standard errors"
    )


@pytest.mark.parametrize("bound", WINDOW)
def test_the_bounds_are_tolerable(bound):
    assert chosen(row("edge", bound, 3.0), row("inside", 0.7, 2.0))[0] == "edge"


def test_contrast_counts_and_not_spread():
    name, reason = chosen(row("wide", 0.8, 2.0, spread=0.3), row("sharp", 0.7, 5.0, spread=0.01))
    assert name == "sharp"
    assert reason == (
        "among the 2 tolerable (median NHD in 0.5 .. 0.95) sharp parts a typical pair of "
        "models by 5.0 standard errors, more than any other"
    )


def test_of_equals_the_gentlest():
    name, reason = chosen(
        row("strong", 0.6, 4.0), row("gentle", 0.9, 3.8), row("between", 0.8, 3.9)
    )
    assert name == "gentle"
    assert reason.endswith(
        "gentle parts a typical pair of models by 3.8 standard errors, within 5 % of the most "
        "(strong: 4.0), and is the gentlest of those"
    )
    # Beyond 5 % gentleness does not count.
    assert chosen(row("strong", 0.6, 4.0), row("gentle", 0.9, 3.79))[0] == "strong"


def test_where_the_tolerable_tell_nothing_all_that_are_sound_are_compared():
    window = "no tolerable perturbation (median NHD in 0.5 .. 0.95) parts a typical pair of models"
    weak, dull, ruin = row("weak", 0.99, 3.0), row("dull", 0.8, 1.95), row("ruin", 0.49, 9.0)
    name, reason = chosen(weak, dull, ruin)
    assert name == "weak"
    assert reason == (
        f"{window} by 1.96 standard errors; among the 2 that leave the predictions sound "
        "weak parts a typical pair of models by 3.0 standard errors, more than any other"
    )
    assert chosen(weak, row("sharp", 0.8, 1.96), ruin)[0] == "sharp"
    assert chosen(weak, ruin)[0] == "weak"


def test_too_little_contrast_is_told():
    told = "; too little to tell such a pair apart"
    name, reason = chosen(row("a", 0.8, 1.9), row("b", 0.99, 1.0))
    assert name == "a"
    assert reason.endswith(f"more than any other{told}")
    assert chosen(row("a", 0.7, 1.9), row("b", 0.8, 1.89))[1].endswith(f"of those{told}")
    assert told not in chosen(row("a", 0.8, 1.96))[1]


def test_equal_in_all_is_the_first():
    assert chosen(row("a", 0.8, 4.0), row("b", 0.8, 4.0))[0] == "a"


def test_contrasts_of_nothing_and_of_infinity():
    assert chosen(row("a", 0.6, 0.0), row("b", 0.8, 0.0))[0] == "b"
    assert chosen(row("a", 0.9, 99.0), row("b", 0.6, math.inf), row("c", 0.8, math.inf))[0] == "c"


def test_if_all_ruin_the_gentlest():
    name, reason = chosen(row("strong", 0.47, 1.0), row("ruin", 0.1, 5.0))
    assert name == "strong"
    assert reason == (
        "all 2 perturbations ruin the predictions (a median NHD below 0.5); strong, with 0.470, is "
        "the gentlest"
    )
    # Of those equally gentle the sharper.
    assert chosen(row("a", 0.3, 0.5), row("b", 0.3, 0.6))[0] == "b"


def test_where_fewer_than_two_models_see():
    assert chosen(row("blind", NAN, NAN), row("seen", 0.8, 1.0))[0] == "seen"
    with pytest.raises(OptionError, match=r"fewer than two models have a score .* --perturb drop"):
        choose([row("a", 0.8, NAN), row("b", NAN, NAN)])


def score(model, value, foreground=0.1):
    return Score(model, value, (NAN, NAN), (1, 1), 6, 0, 1.0, foreground=foreground)


def test_a_row_leaves_out_models_that_see_nothing():
    scores = (
        score("a", 0.9),
        score("b", 0.6),
        score("ruined", 0.0),
        score("blind", 0.0, foreground=0.0),
        score("undefined", NAN, foreground=0.0),
    )
    undecided = (("a", "b"), ("ruined", "blind"), ("blind", "undefined"))
    measured = Separation(0.4, 0.1, 6, 5, 0.5, 2, contrast=3.5)
    ranking = Ranking(scores, "CTE()", undecided=undecided, separation=measured)
    by_nhd = Ranking((score("a", 0.99), score("b", 0.97), score("blind", 0.0, 0.0)), "CTE()")
    found = row_of("p", ranking, by_nhd)
    # A score of 0 of a model that sees is an answer: its predictions do not hold at all.
    assert found == SweepRow("p", 0.6, pytest.approx(math.sqrt(0.21)), 3.5, 2, 3, 0.5, 0.98)
    assert not found.tolerable
    assert row_of("p", ranking, ranking).tolerable


def test_a_row_of_nothing():
    blind = (score("a", 0.0, 0.0), score("b", NAN, 0.0))
    for scores in (blind, (), (score("a", 0.7), *blind[1:])):
        found = row_of("p", *[Ranking(scores, "CTE()")] * 2)
        assert (found.pairs, found.decided) == (0, 0)
        assert math.isnan(found.spread)
        assert math.isnan(found.contrast)
        assert found.tolerable == (len(scores) > 0 and scores[0].value == 0.7)
