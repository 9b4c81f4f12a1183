import math
from dataclasses import replace

import numpy as np
import pytest

from onnx_cte.agreement import Agreement, agreement
from onnx_cte.correlation import correlations
from onnx_cte.errors import OptionError
from onnx_cte.ranking import Ranking, Score

NAN = math.nan


def ranked(greater_is_better=True, failed=(), **values):
    """A Ranking of these values, in whatever order."""
    rest = {"interval": (0, 1), "rank_interval": (1, 1), "images": 1, "empty": 0, "coverage": 1.0}
    scores = tuple(Score(model=m, value=v, **rest) for m, v in values.items())
    return Ranking(scores, "by hand", greater_is_better=greater_is_better, failed=tuple(failed))


def named(values):
    return {f"m{i:02d}": float(v) for i, v in enumerate(values)}


def test_the_margin_is_checked():
    for margin in (-0.1, NAN, math.inf):
        with pytest.raises(OptionError, match=f"margin is {margin}, expected a finite number"):
            agreement(ranked(a=1), ranked(a=1), margin=margin)


def test_regret_and_pairs_by_hand():
    # Performances .9 .8 .79 .5: five of six pairs differ by .05; c over b is no error, and the
    # scores have a over b, a over d, b over d, c over d right, c over a wrong.
    found = agreement(ranked(a=3, b=2, c=4, d=1), ranked(a=0.9, b=0.8, c=0.79, d=0.5))
    assert found.models == 4
    assert found.pairs_counted == 5
    assert found.pairs_right == 4 / 5
    assert (found.chosen, found.best) == ("c", "a")
    assert found.regret == pytest.approx(0.11)
    # Without a margin c over b counts, and is wrong.
    without = agreement(ranked(a=3, b=2, c=4, d=1), ranked(a=0.9, b=0.8, c=0.79, d=0.5), margin=0)
    assert (without.pairs_counted, without.pairs_right) == (6, 4 / 6)


def test_a_difference_of_the_margin_counts_in_spite_of_rounding():
    assert 0.85 - 0.8 < 0.05
    assert agreement(ranked(a=2, b=1), ranked(a=0.85, b=0.8)).pairs_counted == 1
    assert agreement(ranked(a=2, b=1), ranked(a=0.849, b=0.8)).pairs_counted == 0


def test_tied_scores_count_half_and_equal_performances_not_at_all():
    found = agreement(ranked(a=1, b=1, c=0), ranked(a=0.9, b=0.7, c=0.7), margin=0)
    assert (found.pairs_counted, found.pairs_right) == (2, 0.75)
    nothing = agreement(ranked(a=2, b=1), ranked(a=0.9, b=0.88))
    assert nothing.pairs_counted == 0
    assert math.isnan(nothing.pairs_right)


def test_of_equals_the_first_by_name_is_chosen_and_is_best_if_it_is_as_good():
    tied = agreement(ranked(b=1, a=1, c=0), ranked(a=0.5, b=0.9, c=0.9))
    assert (tied.chosen, tied.best) == ("a", "b")
    assert tied.regret == pytest.approx(0.4)
    as_good = agreement(ranked(a=0, b=1), ranked(a=0.9, b=0.9))
    assert (as_good.chosen, as_good.best, as_good.regret) == ("b", "b", 0)


@pytest.mark.parametrize(
    ("up", "true_up"), [(True, True), (True, False), (False, True), (False, False)]
)
def test_direction(up, true_up):
    scores, performances = {"a": 4, "b": 3, "c": 1, "d": 2}, {"a": 0.6, "b": 0.9, "c": 0.1, "d": 0}
    plain = agreement(ranked(**scores), ranked(**performances))
    assert plain.kendall > 0
    turned = agreement(
        ranked(up, **{m: v if up else -v for m, v in scores.items()}),
        ranked(true_up, **{m: v if true_up else 5 - v for m, v in performances.items()}),
    )
    assert turned.kendall == plain.kendall
    assert turned.pearson == pytest.approx(plain.pearson)
    assert (turned.chosen, turned.best) == ("a", "b")
    assert turned.regret == pytest.approx(0.3)
    assert turned.pairs_right == plain.pairs_right == 4 / 6


def test_models_without_a_value_are_left_out_with_the_reason():
    found = agreement(
        ranked(failed=[("f", "no such file"), ("g", "broken")], a=1, b=2, c=NAN, d=3, e=4, i=1),
        ranked(failed=[("g", "broken too"), ("i", "out of memory")], a=1, b=2, c=NAN, d=NAN, f=3,
               h=math.inf),
    )  # fmt: skip
    assert found.models == 2
    assert found.left_out == (
        ("c", "nan in the ranking; nan in the truth"),
        ("d", "nan in the truth"),
        ("e", "not in the truth"),
        ("f", "failed in the ranking: no such file"),
        ("g", "failed in the ranking: broken; failed in the truth: broken too"),
        ("h", "not in the ranking; inf in the truth"),
        ("i", "failed in the truth: out of memory"),
    )
    assert (found.chosen, found.best, found.regret) == ("b", "b", 0)
    assert math.isnan(found.kendall)


def test_left_out_models_change_nothing():
    rng = np.random.default_rng(5)
    scores, performances = named(rng.random(9)), named(rng.random(9))
    alone = agreement(ranked(**scores), ranked(**performances), permutations=200)
    more = agreement(ranked(**scores, x=NAN), ranked(x=1, y=2, **performances), permutations=200)
    assert [name for name, _ in more.left_out] == ["x", "y"]
    assert _without_left_out(more) == _without_left_out(alone)


def test_order_of_models_does_not_matter():
    rng = np.random.default_rng(6)
    scores, performances = named(rng.random(10)), named(rng.random(10))
    turned = dict(reversed(scores.items()))
    first = agreement(ranked(**scores), ranked(**performances), permutations=200)
    assert agreement(ranked(**turned), ranked(**performances), permutations=200) == first


def _without_left_out(found: Agreement):
    return [getattr(found, name) for name in found.__slots__ if name != "left_out"]


def test_options_reach_the_permutations():
    rng = np.random.default_rng(7)
    x, y = rng.random((2, 9))
    found = agreement(ranked(**named(x)), ranked(**named(y)), permutations=50, seed=4)
    direct = correlations(x, y, permutations=50, seed=4)
    assert (found.kendall_p, found.spearman_p, found.pearson_p) == (
        direct.kendall_p,
        direct.spearman_p,
        direct.pearson_p,
    )


def test_nothing_in_common_names_both_lists():
    with pytest.raises(OptionError, match=r"the ranking has a, b; the truth has c, d\. Rank the"):
        agreement(ranked(b=1, a=2), ranked(c=1, d=2))
    with pytest.raises(OptionError, match="the ranking has no model; the truth has a"):
        agreement(ranked(), ranked(a=1))


def test_a_ranking_in_which_all_failed_is_undefined_not_an_error():
    # It has no scores, but it names the models: this is no mistake in their names.
    nothing = ranked(failed=[("a", "no bottleneck"), ("b", "no bottleneck")])
    found = agreement(nothing, ranked(a=1, b=2))
    assert (found.models, found.pairs_counted, found.best, found.chosen) == (0, 0, "", "")
    assert all(map(math.isnan, (found.kendall, found.spearman_p, found.pairs_right, found.regret)))
    assert dict(found.left_out)["a"] == "failed in the ranking: no bottleneck"
    turned = agreement(ranked(a=1, b=2), nothing)
    assert dict(turned.left_out)["b"] == "failed in the truth: no bottleneck"
    with pytest.raises(OptionError, match="the ranking has a, b; the truth has c"):
        agreement(nothing, ranked(c=1))


def test_no_value_in_common_is_undefined_not_an_error():
    found = agreement(ranked(a=NAN, b=1), ranked(a=1, b=NAN))
    assert (found.models, found.pairs_counted, found.best, found.chosen) == (0, 0, "", "")
    assert all(map(math.isnan, (found.kendall, found.pearson_p, found.pairs_right, found.regret)))
    assert dict(found.left_out) == {"a": "nan in the ranking", "b": "nan in the truth"}
    assert "left out: a (nan in the ranking)" in str(found)


def test_a_model_named_twice_is_refused():
    twice = Ranking((*ranked(a=1, b=2), *ranked(a=3)), "by hand")
    with pytest.raises(OptionError, match="the ranking names a more than once"):
        agreement(twice, ranked(a=1))
    with pytest.raises(OptionError, match="the truth names a more than once"):
        agreement(ranked(a=1), twice)


def test_text():
    found = agreement(
        ranked(a=0.9, b=0.8, c=0.8, d=0.5), ranked(a=0.9, b=0.7, c=0.6, d=0.5, e=0.1), margin=0.1
    )
    assert str(found).splitlines() == [
        "4 models       value       p",
        "-------------  -----  ------",
        "Kendall tau-b  0.913  0.1667",
        "Spearman       0.949  0.1667",
        "Pearson        0.845  0.2500",
        "pairs in the right order: 0.917 of 6 that differ by 0.1 or more",
        "chosen: a; best: a; regret: 0.0000",
        "left out: e (not in the ranking)",
    ]
    assert str(agreement(ranked(a=1), ranked(a=1))).splitlines()[2:] == [
        "Kendall tau-b      -  -",
        "Spearman           -  -",
        "Pearson            -  -",
        "pairs in the right order: - of 0 that differ by 0.05 or more",
        "chosen: a; best: a; regret: 0.0000",
    ]


def test_alternatives_are_compared_one_by_one_and_averaged():
    truth = ranked(a=0.9, b=0.7, c=0.5)
    right, wrong = {"a": 3, "b": 2, "c": 1}, {"a": 1, "b": 2, "c": 3}
    found = agreement(replace(ranked(a=2, b=2, c=2), by_draw=(right, right, wrong)), truth)
    assert found.kendall == pytest.approx(1 / 3)
    assert found.spearman == pytest.approx(1 / 3)
    assert found.pairs_right == pytest.approx(2 / 3)
    assert found.regret == pytest.approx(0.4 / 3)
    assert (found.chosen, found.best) == ("a", "a")
    assert (found.models, found.pairs_counted, found.draws) == (3, 3, 3)
    assert all(map(math.isnan, (found.kendall_p, found.spearman_p, found.pearson_p)))
    assert "mean over 3 draws" in str(found)
    # One draw alone is what it says, but for its p-values.
    alone = agreement(replace(ranked(a=2, b=1, c=3), by_draw=(right,)), truth)
    plain = agreement(ranked(**right), truth)
    assert _values(alone) == pytest.approx(_values(plain))
    assert plain.draws == 0


def _values(found):
    return [getattr(found, n) for n in ("kendall", "spearman", "pearson", "pairs_right", "regret")]


def test_alternatives_that_leave_models_undefined():
    truth = ranked(a=0.9, b=0.7, c=0.5)
    draws = ({"a": 2, "b": 1, "c": NAN}, {"a": NAN, "b": NAN, "c": NAN}, {"a": 1, "b": 2, "c": 3})
    found = agreement(replace(ranked(a=3, b=2, c=1), by_draw=draws), truth)
    # The first has two models and no correlation, but a pair; the second has nothing.
    assert found.kendall == -1
    assert found.pairs_right == pytest.approx((1 + 0) / 2)
    assert found.regret == pytest.approx((0 + 0.4) / 2)
    assert found.chosen == "a"  # as often as c, and first by name
    nothing = agreement(replace(ranked(a=3, b=2, c=1), by_draw=draws[1:2]), truth)
    assert (nothing.chosen, nothing.draws) == ("", 1)
    assert all(map(math.isnan, _values(nothing)))


def test_alternatives_are_turned_as_their_ranking_is():
    truth = ranked(a=0.9, b=0.7, c=0.5)
    low = replace(ranked(False, a=1, b=2, c=3), by_draw=({"a": 1, "b": 2, "c": 3},))
    assert agreement(low, truth).kendall == 1
    # Those of the truth are no matter.
    assert agreement(ranked(a=3, b=2, c=1), replace(truth, by_draw=low.by_draw)).draws == 0
