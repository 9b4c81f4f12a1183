"""Estimators by name, by text, and with some of their options set."""

import dataclasses
import re
from typing import ClassVar

import pytest

from onnx_cte.errors import OptionError
from onnx_cte.estimators import (
    CTE,
    ESTIMATORS,
    Confidence,
    Offer,
    estimator_named,
    known_estimators,
    parse_estimator,
)
from onnx_cte.perturbations import Gamma


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("confidence", Confidence()),
        ("entropy", Confidence("entropy")),
        ("confidence:kind=entropy", Confidence("entropy")),
        ("entropy:kind=confidence", Confidence()),
        (" cte : metric = ei :draws=4", CTE("ei", draws=4)),
    ],
)
def test_texts(text, expected):
    assert parse_estimator(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ctee", "unknown estimator 'ctee': did you mean 'cte'"),
        ("", "unknown estimator ''"),
        ("cte:metrc=ei", "unknown option of estimator cte 'metrc': did you mean 'metric'"),
        ("cte:draws=two", "estimator 'cte': cannot read draws=two, expected a whole number; write "
         "for example cte:draws=2"),
        ("cte:draws=0", "draws is an integer of at least 1, not 0"),
        ("confidence:kind=entropie", "unknown kind of estimator confidence 'entropie': did "
         "you mean"),
        ("cte:perturbations=noise", "perturbations cannot be stated as a text"),
        ("cte:", "expected OPTION=VALUE after a colon, found ''"),
        ("cte:metric=ei:metric=nhd", "'metric' is there twice"),
    ],
)  # fmt: skip
def test_texts_that_are_none(text, told):
    with pytest.raises(OptionError, match=re.escape(told)):
        parse_estimator(text)


def test_options_stated_beside_the_text():
    assert parse_estimator("cte:draws=3", perturbations=Gamma()) == CTE("nhd", Gamma(), 3)
    with pytest.raises(OptionError, match="'cte:draws=3': 'draws' is stated here and by an option"):
        parse_estimator("cte:draws=3", draws=4)


def test_one_class_under_several_names(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Few:
        k: int = 1
        draws: int = 5
        summary: ClassVar[str] = "of a few"

    monkeypatch.setitem(ESTIMATORS, "few_1", Offer(Few))
    monkeypatch.setitem(ESTIMATORS, "few_3", Offer(Few, {"k": 3}, "of three"))
    assert estimator_named("few_3") == Few(3)
    assert estimator_named("few_3", draws=9) == parse_estimator("few_3:draws=9") == Few(3, 9)
    assert estimator_named("few_3", k=4) == Few(4)
    known = known_estimators()
    assert (known["few_1"], known["few_3"]) == ("of a few", "of three")


def test_every_name_of_ours_says_what_it_does_in_a_line():
    for name, summary in known_estimators().items():
        assert summary
        assert "\n" not in summary
        assert parse_estimator(name) == estimator_named(name)
