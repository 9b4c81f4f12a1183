"""Which images to look at."""

import math
from dataclasses import replace

import pytest
from rankings import score

from onnx_cte.ranking import Ranking
from onnx_cte.telling import telling_images

NAN = math.nan


def ranking(*rows, images="pqrstu", greater_is_better=True):
    scores = tuple(
        score(name, 0.5, by_image=dict(zip(images, row, strict=True)))
        for name, row in zip("abc", rows, strict=False)
    )
    return Ranking(scores, "CTE()", greater_is_better=greater_is_better)


# Middles are 0.5, 0.6 and 0.7. p is as usual; on q only c fares as never; on r all are poor.
FOUND = ranking(
    (0.50, 0.50, 0.20, 0.45, 0.60, 0.55),
    (0.60, 0.60, 0.30, 0.70, 0.50, 0.65),
    (0.70, 0.01, 0.40, 0.75, 0.75, 0.65),
)


def test_each_kind_in_turn():
    found = [(one.image, one.why) for one in telling_images(FOUND, 4)]
    assert found == [
        ("p", "typical"),
        ("q", "most disputed"),
        ("r", "worst"),
        ("s", "worst for the first model"),
    ]


def test_disputed_is_where_the_better_half_is_agreed_with_least():
    """q parts c from the others by consistency; on t it is a and b that do not agree."""
    agreed = ((0.9, 0.9, 0.8, 0.9, 0.3, NAN), (0.9, 0.8, 0.8, 0.9, 0.2, 0.9), (0.0,) * 6)
    scores = tuple(
        replace(one, agreed=dict(zip("pqrstu", row, strict=True)))
        for one, row in zip(FOUND, agreed, strict=True)
    )
    found = {one.why: one.image for one in telling_images(replace(FOUND, scores=scores), 4)}
    assert found["most disputed"] == "t"
    assert found["typical"] == "p"
    # An estimator that keeps no other number of an image is judged by this one.
    alone = tuple(replace(one, by_image={}) for one in scores)
    found = {one.why: one.image for one in telling_images(replace(FOUND, scores=alone), 4)}
    assert found == {
        "typical": "p",
        "most disputed": "t",
        "worst": "u",
        "worst for the first model": "r",
    }


def test_none_twice_and_no_more_than_there_are():
    found = [one.image for one in telling_images(FOUND, 9)]
    assert sorted(found) == list("pqrstu")
    assert telling_images(FOUND, 0) == ()


def test_least_is_worst_only_where_greater_is_better():
    turned = replace(FOUND, greater_is_better=False)
    worst = {one.why: one.image for one in telling_images(turned, 4)}
    assert worst["worst"] == "s"
    assert worst["worst for the first model"] == "t"


def test_of_one_model_nothing_is_disputed():
    alone = replace(FOUND, scores=FOUND[:1])
    assert [one.why for one in telling_images(alone, 3)] == ["typical", "worst", "typical"]


def test_images_that_few_models_see_are_passed_over():
    blind = ranking((0.5, NAN, 0.4), (0.6, NAN, 0.5), (NAN, 0.1, NAN), images="pqr")
    assert {one.image for one in telling_images(blind, 3)} == {"p", "r"}


def test_only_images_that_can_be_had():
    assert {one.image for one in telling_images(FOUND, 9, ["q", "u", "z"])} == {"q", "u"}


@pytest.mark.parametrize("nothing", [ranking(), ranking((NAN,) * 6), Ranking((), "CTE()")])
def test_where_nothing_was_measured_they_are_spread(nothing):
    found = telling_images(nothing, 2, list("pqrstu"))
    assert [(one.image, one.why) for one in found] == [
        ("q", "one of all, evenly spread"),
        ("t", "one of all, evenly spread"),
    ]
    assert telling_images(Ranking((), "CTE()"), 3) == ()
