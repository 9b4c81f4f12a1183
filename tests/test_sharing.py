"""Estimators beside each other in a run: what they share, and what concerns one alone."""

import math

import comparing
import numpy as np
import pytest
from comparing import Failing, Few, Labels, Share, Shared, arrange
from test_runner import but_for_times, count_observed

from onnx_cte.agreement import agreement
from onnx_cte.errors import NothingToRank, OptionError
from onnx_cte.estimators import CTE, Accuracy
from onnx_cte.images import Images
from onnx_cte.report import read_ranking, write_report
from onnx_cte.runner import rank, rank_each
from onnx_cte.segmenters import open_models


@pytest.fixture
def place(tmp_path):
    return arrange(tmp_path)


@pytest.fixture(autouse=True)
def measured():
    comparing.MEASURED.clear()
    return comparing.MEASURED


def ranked(place, estimators, **options):
    images = Images(place / "images", place / "labels")
    return rank_each(open_models(place / "models"), images, estimators, jobs=1, **options)


def test_equal_measures_are_measured_once_and_share_what_is_derived(place, measured):
    one, other, plain = ranked(place, [Shared(), Shared(2.0), Share()])
    assert [name for name, _, _ in measured].count("shared") == 18
    assert [name for name, _, _ in measured].count("share") == 18
    assert [name for name, _, _ in measured].count("derived") == 1
    assert dict(one.values) == pytest.approx(dict(plain.values))
    assert other.values["sharp"] == pytest.approx(2 * plain.values["sharp"])
    assert one.estimator != other.estimator


def test_shared_evidence_is_stored_once_and_serves_other_options(place, measured, monkeypatch):
    store = place / "e.sqlite"
    (first,) = ranked(place, [Shared()], evidence=store)
    seen = count_observed(monkeypatch)
    again, other = ranked(place, [Shared(), Shared(2.0)], evidence=store)
    assert seen == []
    assert [name for name, _, _ in measured].count("shared") == 18
    assert but_for_times(again) == but_for_times(first)
    assert other.values["steady"] == 2 * first.values["steady"]


def test_alone_or_together_they_say_the_same(place):
    judges = [Shared(), Shared(2.0), Labels(), Few()]
    for judge, ranking in zip(judges, ranked(place, judges), strict=True):
        (alone,) = ranked(place, [judge])
        assert but_for_times(ranking) == but_for_times(alone)


def test_an_image_that_one_estimator_fails_on_is_skipped_for_that_one(place):
    share, failing, truth = ranked(place, [Share(), Failing(on=("2.png",)), Accuracy()])
    assert [score.images for score in share] == [score.images for score in truth] == [6, 6, 6]
    assert [score.images for score in failing] == [5, 5, 5]
    reason = "estimator 'failing' failed: ZeroDivisionError: by accident"
    assert failing[0].skipped == (("2.png", reason),)
    assert share[0].skipped == ()
    everything = Failing(on=tuple(f"{i}.png" for i in range(6)))
    share, failing = ranked(place, [Share(), everything])
    assert len(share) == 3
    assert failing.failed[0] == ("jumpy", f"on 6 of 6 images: {reason}")


def test_what_cannot_be_used_here_fails_for_every_model_before_it_is_run(place, measured):
    share, labels = ranked(place, [Share(), Labels(missing="install pot")])
    assert len(share) == 3
    assert labels.scores == ()
    assert labels.failed == tuple((m, "install pot") for m in ("jumpy", "sharp", "steady"))
    assert {name for name, _, _ in measured} == {"share"}
    with pytest.raises(OptionError, match="estimator 'labels' cannot be used: install pot"):
        ranked(place, [Share(), Labels(missing="install pot")], strict=True)
    with pytest.raises(NothingToRank, match="jumpy, sharp, steady: install pot"):
        ranked(place, [Labels(missing="install pot")])


def test_unavailable_has_to_be_a_text(place):
    with pytest.raises(OptionError, match=r"unavailable\(\) gave None, expected a text"):
        ranked(place, [Labels(missing=None)])


def test_seconds_are_of_the_estimator_alone(place):
    store = place / "e.sqlite"
    shared, other, cte = ranked(place, [Shared(), Shared(2.0), CTE()], evidence=store)
    for ranking in (shared, other, cte):
        assert 0 < ranking.seconds < 10
        write_report(ranking, place / "out")
        assert read_ranking(place / "out").seconds == ranking.seconds
    for again in ranked(place, [Shared(), CTE()], evidence=store):
        assert math.isnan(again.seconds)
    # Only what is new is timed.
    old, new = ranked(place, [CTE(), Share()], evidence=store)
    assert math.isnan(old.seconds)
    assert new.seconds > 0


def test_draws_that_are_alternatives(place):
    few, truth = ranked(place, [Few(), Accuracy()])
    assert few.needs == truth.needs == ("labels",)
    assert len(few.by_draw) == 3
    for i, draw in enumerate(few.by_draw):
        assert draw == {score.model: score.by_image[f"{i}.png"] for score in few}
    write_report(few, place / "out")
    assert read_ranking(place / "out").by_draw == few.by_draw
    found = agreement(few, truth)
    assert found.draws == 3
    assert math.isnan(found.kendall_p)
    # Nothing is said of how sure the images are, for they were not drawn again.
    assert few.separation is None
    assert few.undecided == ()
    assert all(np.isnan(score.interval).all() for score in few)
    assert [score.rank_interval for score in few] == [(1, 3)] * 3
    assert few.warnings == ()


def test_alternatives_have_to_be_told(place):
    class Silent(Share):
        judged_by_draw = True

    with pytest.raises(OptionError, match="'share' has judged_by_draw and no score_by_draw"):
        ranked(place, [Silent()])


def test_resamples_have_to_be_a_number(place):
    class Odd(Share):
        resamples = "few"

    with pytest.raises(OptionError, match="'share': resamples is 'few', expected the number of"):
        rank(open_models(place / "models"), Images(place / "images"), Odd())
