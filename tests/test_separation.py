import math
import random

import pytest

from onnx_cte.separation import Separation, doubt_about, separation

NAN = math.nan


def around(values, half):
    return {model: (value - half, value + half) for model, value in values.items()}


def measured(values, half=0.05, undecided=(), by_draw=()):
    return separation(values, around(values, half), undecided, by_draw)


def test_by_hand():
    # 0.9, 0.8, 0.4: mean 0.7, squares 0.04 + 0.01 + 0.09 = 0.14, over 2: the root of 0.07.
    values = {"a": 0.9, "b": 0.8, "c": 0.4}
    intervals = {"a": (0.88, 0.96), "b": (0.7, 0.9), "c": (0.39, 0.41)}
    found = separation(values, intervals, [("b", "a")], [values, {"a": 0.7, "b": 0.8, "c": 0.4}])
    assert found.spread == pytest.approx(math.sqrt(0.07))
    assert found.width == pytest.approx(0.04)  # of 0.04, 0.1 and 0.01
    assert found.ratio == pytest.approx(math.sqrt(0.07) / 0.04)
    assert (found.pairs, found.decided) == (3, 2)
    assert found.stability == pytest.approx(1 / 3)  # two of three pairs in the same order
    assert found.draws == 2


def test_stability_is_the_mean_over_all_pairs_of_draws():
    up, swapped, down = (
        {"a": 1, "b": 2, "c": 3},
        {"a": 1, "b": 3, "c": 2},
        {"a": 3, "b": 2, "c": 1},
    )
    found = measured(up, by_draw=[up, swapped, down])
    assert found.stability == pytest.approx((1 / 3 - 1 - 1 / 3) / 3)
    assert found.draws == 3


def test_undefined_scores_are_left_out_pairwise():
    # In the first pair a and c remain, in the second b and c, in the third c alone: undefined.
    draws = [
        {"a": 1, "b": 2, "c": 3, "d": NAN},
        {"a": 1, "b": NAN, "c": 3, "d": NAN},
        {"a": NAN, "b": 4, "c": 3, "d": 9},
    ]
    assert measured({"a": 1, "b": 2}, by_draw=draws).stability == pytest.approx((1 - 1) / 2)
    values = {"a": 0.5, "b": NAN, "c": 0.7}
    found = separation(values, {**around(values, 0.1), "b": (NAN, NAN)}, [])
    assert found.spread == pytest.approx(math.sqrt(0.02))
    assert (found.pairs, found.decided) == (1, 1)
    assert found.width == pytest.approx(0.1)


def test_ties_count_as_in_tau_b():
    found = measured({"a": 1, "b": 2, "c": 3}, by_draw=[dict(a=1, b=1, c=2), dict(a=1, b=2, c=3)])
    assert found.stability == pytest.approx(2 / math.sqrt(6))
    tied = [dict(a=1, b=1, c=1), dict(a=1, b=2, c=3)]
    assert math.isnan(measured({"a": 1, "b": 2, "c": 3}, by_draw=tied).stability)


def test_what_was_drawn():
    values = {"a": 0.1, "b": 0.2}
    assert separation(values, around(values, 0.1), []).draws == 0
    assert measured(values, by_draw=()).draws == 1
    assert measured(values, by_draw=[values]).draws == 1
    assert measured(values, by_draw=[values] * 4).draws == 4
    assert math.isnan(measured(values, by_draw=[values]).stability)


def test_too_little_to_measure():
    nothing = separation({}, {}, [])
    assert math.isnan(nothing.spread)
    assert math.isnan(nothing.width)
    assert math.isnan(nothing.ratio)
    assert (nothing.pairs, nothing.decided) == (0, 0)
    assert str(nothing) == "fewer than two models have a score"
    few = separation({"a": 0.9, "b": 0.1}, {"a": (NAN, NAN), "b": (NAN, NAN)}, [("a", "b")])
    assert math.isnan(few.width)
    assert math.isnan(few.ratio)
    assert str(few) == (
        "0 of 1 pairs of models told apart; scores spread 0.566, of too few images for an interval"
    )


def test_ratio_at_the_edges():
    assert Separation(0.1, 0.0, 1, 1, NAN, 1).ratio == math.inf
    assert math.isnan(Separation(0.0, 0.0, 1, 0, NAN, 1).ratio)
    assert Separation(0.0, 0.1, 1, 0, NAN, 1).ratio == 0
    assert "ratio" not in str(Separation(0.1, 0.0, 1, 1, NAN, 1))
    # Rounding must not make a spread of equal scores.
    assert math.isnan(measured(dict.fromkeys("abc", 0.1), half=0.0).ratio)


def test_contrast_is_the_median_over_pairs():
    values = {"a": 0.9, "b": 0.8, "c": 0.4}
    found = separation(values, around(values, 0.1), [], contrasts=[2.0, 40.0, 3.0])
    assert found.contrast == 3.0
    assert math.isnan(separation(values, around(values, 0.1), []).contrast)


def test_text_with_a_contrast():
    text = str(Separation(0.087, 0.008, 15, 14, NAN, 1, contrast=6.04))
    apart = "14 of 15 pairs of models told apart"
    assert text.startswith(f"{apart}, a typical one by 6.0 standard errors; scores spread 0.087,")
    assert str(Separation(0.087, 0.008, 15, 14, NAN, 1, math.inf)).startswith(f"{apart}; scores")
    assert ", against the half-width of their intervals (0.000)" in str(
        Separation(0.1, 0.0, 1, 1, NAN, 1)
    )


def test_text():
    assert str(Separation(0.087, 0.008, 15, 14, 0.93, 2)) == (
        "14 of 15 pairs of models told apart; scores spread 0.087, 10.9 times the half-width of "
        "their intervals (0.008); agreement of the orders by each of 2 random draws: tau 0.93 "
        "(1: the same order)"
    )


def test_order_of_models_does_not_matter():
    rng = random.Random(0)
    values = {f"m{i}": rng.random() for i in range(7)}
    draws = [{m: v + rng.gauss(0, 0.2) for m, v in values.items()} for _ in range(3)]
    turned = [dict(reversed(draw.items())) for draw in draws]
    one = measured(values, by_draw=draws)
    other = measured(dict(reversed(values.items())), by_draw=turned)
    assert one.stability == pytest.approx(other.stability)
    assert one.spread == pytest.approx(other.spread)


FINE = dict(spread=0.1, width=0.01, pairs=3, decided=3, stability=1.0, draws=2)
SCORES = (0.9, 0.8, 0.7)


def doubted(scores=SCORES, greater_is_better=True, **changes):
    found = Separation(**{**FINE, **changes})
    return doubt_about(found, scores, greater_is_better=greater_is_better)


def test_no_doubt():
    assert doubted() == ""
    # Half of the pairs, a tau of a half and a narrow ratio with all pairs told apart will do.
    assert doubted(pairs=6, decided=3, scores=(0.9, 0.8, 0.7, 0.6)) == ""
    assert doubted(stability=0.5) == ""
    assert doubted(spread=0.01, width=0.05) == ""
    assert doubted(stability=NAN, draws=1) == ""


def test_pairs_that_images_cannot_tell_apart():
    text = doubted(decided=1, spread=0.004, width=0.02)
    assert text == (
        "the perturbation says little about these models: only 1 of 3 pairs of models can be told "
        "apart (the scores spread 0.004, the half-width of their intervals is 0.020); "
        "try a stronger perturbation, or --perturb auto, or more images"
    )
    # Without a bootstrap nothing is told apart, whatever the perturbation.
    assert doubted(decided=0, width=NAN) == ""


def test_draws_that_disagree():
    assert doubted(stability=0.33, draws=3) == (
        "the perturbation says little about these models: its 3 draws rank the models differently "
        "(Kendall's tau 0.33); try a stronger perturbation, or --perturb auto"
    )


def test_models_that_do_not_answer():
    # All pairs told apart, draws agree, and still nothing but a few pixels changes.
    scores = (1.0, 0.999, 0.991, 0.988, 0.985, 0.98)
    fine = {"pairs": 15, "decided": 15}
    assert doubted(scores, **fine) == (
        "the perturbation says little about these models: all scores lie in 0.980 .. 1.000, where "
        "1 is no answer to it at all, and spread 0.008; try a stronger perturbation, or "
        "--perturb auto"
    )
    assert doubted((*scores[:-1], 0.97), **fine) == ""
    # All of 0.975 or more, but with a spread of 0.0144.
    assert doubted((1.0, 0.975, 0.975, 1.0), **fine) == ""
    # On other scales next to 1 means nothing.
    assert doubted(scores, greater_is_better=False, **fine) == ""
    assert doubted([1 + score for score in scores], **fine) == ""


def test_a_blind_model_does_not_hide_that_the_others_do_not_answer():
    text = doubted((1.0, 0.999, 0.99, 0.0), spread=0.5, pairs=6, decided=6)
    assert "but for those of 0 all scores lie in 0.990 .. 1.000" in text
    assert doubted((1.0, 0.999, 0.0, 0.0), pairs=6, decided=5) == ""
    assert doubted((1.0, 0.999, 0.99, 0.01), pairs=6, decided=6) == ""


def test_the_way_out_of_a_sweep_is_no_sweep():
    found = Separation(**{**FINE, "decided": 1})
    text = doubt_about(found, SCORES, swept=True)
    assert text.endswith(
        "; a sweep found none that says more; try one of the input, as --perturb noise=0.1, or "
        "more images"
    )
    assert doubt_about(Separation(**FINE), SCORES, swept=True) == ""


def test_all_reasons_are_told():
    text = doubted((1.0, 0.999, 0.998), spread=0.001, decided=0, stability=-1.0)
    assert text.count(";") == 3
    for part in ("0.998 .. 1.000", "0 of 3 pairs", "tau -1.00"):
        assert part in text


@pytest.mark.parametrize(
    ("scores", "changes"),
    [((0.9, 0.8), {}), ((0.9, 0.8, NAN), {}), (SCORES, {"draws": 0})],
    ids=["two models", "two scores", "nothing perturbed"],
)
def test_where_a_doubt_has_no_meaning(scores, changes):
    bad = {"decided": 0, "stability": -1.0}
    assert doubted(scores, **bad, **changes) == ""
    assert doubted(**bad) != ""


def test_equal_scores_of_models_that_ignore_the_perturbation():
    values = dict.fromkeys("abcdef", 1.0)
    pairs = [(a, b) for a in "abcdef" for b in "abcdef" if a < b]
    found = separation(values, around(values, 0.0), pairs, [values, values])
    assert math.isnan(found.stability)
    assert "0 of 15 pairs" in doubt_about(found, values.values())
