"""Which model to take, in a sentence."""

import math
from dataclasses import replace

import pytest
from rankings import score, three

from onnx_cte.ranking import Ranking
from onnx_cte.verdict import outlook, verdict


def alike(*others, **options):
    """a cannot be told from these."""
    pairs = tuple(("a", other) for other in others)
    return three(undecided=pairs, **options)


@pytest.mark.parametrize(
    ("ranking", "model", "level", "sentence"),
    [
        (
            three(),
            "a",
            "clear",
            "Take a: it ranks first of 3, and these 12 images tell it from each of the others.",
        ),
        (
            alike("b", images_to_tell=(("a", "b", 43),)),
            "a",
            "open",
            "a ranks first of 3 models, but these 12 images cannot tell it from b: about 43 more "
            "would, if their difference is what it looks like.",
        ),
        (
            alike("c", "b", images_to_tell=(("a", "b", 4300),)),
            "a",
            "open",
            "a ranks first of 3 models, but these 12 images cannot tell it from b, c; 20 times as "
            "many would not tell it from b: the two are alike for practical purposes.",
        ),
        (
            alike("c", "b", images_to_tell=(("a", "b", 43), ("a", "c", 9))),
            "a",
            "open",
            "a ranks first of 3 models, but these 12 images cannot tell it from b, c; about 43 "
            "more would tell it from b, if their difference is what it looks like.",
        ),
        (
            alike("b"),
            "a",
            "open",
            "a ranks first of 3 models, but these 12 images cannot tell it from b.",
        ),
        (
            three(sampled=0),
            "a",
            "open",
            "a ranks first of 3 models, and nobody can say how sure that is: scores have no "
            "intervals, which take images from five files or more.",
        ),
        (
            three(remarks=("beware", "of this")),
            "a",
            "doubtful",
            "Take a: it ranks first of 3, and these 12 images tell it from each of the others. "
            "Read the 2 warnings first.",
        ),
        (
            replace(three(), scores=three()[:1], undecided=()),
            "a",
            "doubtful",
            "a is the only model that could be ranked: there is nothing to compare it with.",
        ),
        (
            replace(three(), scores=three()[:2], undecided=()),
            "a",
            "clear",
            "Take a: it ranks first of 2, and these 12 images tell it from the other.",
        ),
        (
            Ranking((), "CTE()", failed=(("a", "broken"), ("b", "broken"))),
            "",
            "none",
            "No model can be recommended: all 2 failed.",
        ),
        (
            Ranking((score("a", math.nan), score("b", 0.0, foreground=0.0)), "CTE()"),
            "",
            "none",
            "No model can be recommended: none of those that could be ranked finds anything on "
            "these images.",
        ),
    ],
)
def test_the_sentence(ranking, model, level, sentence):
    found = verdict(ranking)
    assert (found.model, found.level, found.sentence) == (model, level, sentence)


def test_of_many_alike_the_number_is_told():
    scores = tuple(score(name, 0.9) for name in "abcde")
    pairs = tuple(("a", other) for other in "bcde")
    found = verdict(Ranking(scores, "CTE()", sampled=12, undecided=pairs))
    assert "cannot tell it from b, c and 2 others; 20 times as many would not" in found.sentence


def test_nothing_is_like_the_first():
    assert outlook(three()) is None
