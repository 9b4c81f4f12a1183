"""Options as texts, read by the types of a dataclass's fields."""

import re
from dataclasses import dataclass
from typing import Literal

import pytest

from onnx_cte.errors import OptionError
from onnx_cte.stating import Vocabulary, spoken

Sense = Literal["paper", "released"]


@dataclass(frozen=True)
class Thing:
    count: int = 3
    share: float = 0.5
    exact: bool = False
    sense: Sense = "paper"
    name: str = "x"
    levels: tuple[int, ...] = (1, 2)
    span: tuple[float, float] = (0.0, 1.0)
    taps: tuple[str, ...] = ("bottleneck",)
    senses: tuple[Sense, ...] = ("paper",)
    limit: int | None = None
    either: float | int = 1
    inside: object = None


SAID = Vocabulary.of("thing", "it", Thing, ":")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("count=7", 7),
        ("share=1e-3", 1e-3),
        ("exact=yes", True),
        ("exact=FALSE", False),
        ("sense=released", "released"),
        ("name=a=b", "a=b"),
        ("levels=5", (5,)),
        ("levels=1 + 2+3", (1, 2, 3)),
        ("span=0.1+0.2", (0.1, 0.2)),
        ("taps=encoder/1+decoder#-1", ("encoder/1", "decoder#-1")),
        ("senses=released+paper", ("released", "paper")),
        ("limit=none", None),
        ("limit=4", 4),
        ("either=2", 2),
        ("either=2.5", 2.5),
    ],
)
def test_values_by_type(part, value):
    found = SAID.read([part])[part.partition("=")[0]]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("count=3.5", "thing 'it': cannot read count=3.5, expected a whole number; write for "
         "example it:count=3"),
        ("share=much", "cannot read share=much, expected a number; write for example it:share=0.5"),
        ("exact=maybe", "expected yes or no; write for example it:exact=no"),
        ("sense=relased", "unknown sense of thing it 'relased': did you mean 'released'? There "
         "are: paper, released"),
        ("senses=paper+papr", "unknown senses of thing it 'paper+papr': did you mean 'paper'"),
        ("levels=1+two", "expected a whole number, or several joined by +; write for example "
         "it:levels=1+2"),
        ("span=1", "expected 2 values joined by +"),
        ("limit=few", "expected none or a whole number"),
        ("inside=3", "inside cannot be stated as a text"),
        ("cont=3", "unknown option of thing it 'cont': did you mean 'count'"),
        ("count", "expected OPTION=VALUE after a colon, found 'count'; write for example "
         "it:count=3"),
        ("count=", "found 'count='"),
        ("", "found ''"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(part, told):
    with pytest.raises(OptionError, match=re.escape(told)):
        SAID.read([part])


def test_an_option_is_stated_once():
    with pytest.raises(OptionError, match="'it:count=1:count=2': 'count' is there twice"):
        SAID.read(["count=1", "count=2"])


def test_what_takes_no_options_says_so():
    class Plain:
        pass

    with pytest.raises(OptionError, match="thing 'plain' takes no options, and 'a' is one"):
        Vocabulary.of("thing", "plain", Plain).read(["a=1"])


def test_what_stands_elsewhere_is_pointed_to():
    said = Vocabulary.of("thing", "it", Thing, elsewhere={"threshold": "write --threshold"})
    with pytest.raises(OptionError, match="write --threshold"):
        said.read(["threshold=1"])


@pytest.mark.parametrize("option", [o for o in SAID.options if o != "inside"])
def test_a_default_spoken_is_read_again(option):
    shown = spoken(SAID.defaults[option])
    assert SAID.read([f"{option}={shown}"])[option] == SAID.defaults[option]
