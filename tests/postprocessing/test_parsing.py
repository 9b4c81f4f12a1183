"""Decoders from texts, options and descriptions."""

import re

import pytest

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing import (
    DECODERS,
    Boundary,
    Classes,
    Foreground,
    Watershed,
    decoder_named,
    decoder_of_config,
    decoder_text,
    parse_decoder,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("watershed", Watershed()),
        ("watershed,min_size=50,seed_distance=5", Watershed(min_size=50, seed_distance=5)),
        (" watershed , min_size = 50 ", Watershed(min_size=50)),
        ("boundary,fill=no,neck=1e-1", Boundary(fill=False, neck=0.1)),
        ("boundary,fill=True", Boundary(fill=True)),
        ("classes,each=watershed,connectivity=face", Classes(15, "watershed", "face")),
    ],
)
def test_texts(text, expected):
    assert parse_decoder(text) == expected
    assert decoder_of_config(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("watersheds", "unknown decoder 'watersheds': did you mean 'watershed'"),
        ("", "unknown decoder ''"),
        (
            "watershed,minsize=3",
            "unknown option of decoder watershed 'minsize': did you mean 'min_",
        ),
        ("watershed,min_size", "expected OPTION=VALUE after a comma, found 'min_size'"),
        ("watershed,", "expected OPTION=VALUE after a comma, found ''"),
        ("watershed,min_size=", "write for example watershed,min_size=50"),
        ("watershed,min_size=3,min_size=4", "'min_size' is there twice"),
        ("watershed,min_size=3.5", "cannot read min_size=3.5, expected a whole number; write for"),
        ("watershed,neck=wide", "cannot read neck=wide, expected a number"),
        ("watershed,neck=nan", "neck is nan, expected a number from 0 to 1"),
        ("watershed,neck=7", "neck is 7.0, expected a number from 0 to 1"),
        ("watershed,min_size=-2", "min_size is -2, expected a whole number of at least 0"),
        ("watershed,connectivity=edge", "unknown connectivity of decoder watershed 'edge'"),
        (
            "boundary,fill=maybe",
            "cannot read fill=maybe, expected yes or no; write for example bou",
        ),
        ("watershed,name=x", "unknown option of decoder watershed 'name'"),
    ],
)
def test_texts_that_are_none(text, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        parse_decoder(text)


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_survives_its_text_and_its_repr(name):
    decoder = DECODERS[name]()
    assert DECODERS[name].name == name
    assert parse_decoder(name) == decoder
    assert parse_decoder(decoder_text(decoder)) == decoder
    assert repr(parse_decoder(decoder_text(decoder))) == repr(decoder)
    made = eval(repr(decoder), {made.__name__: made for made in DECODERS.values()})
    assert made == decoder
    assert hash(made) == hash(decoder)


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_takes_a_size_as_text_and_refuses_a_negative_one(name):
    decoder = parse_decoder(f"{name},min_size=77")
    assert decoder.min_size == 77
    assert decoder != DECODERS[name]()
    assert "min_size=77" in repr(decoder)
    with pytest.raises(OptionError, match=f"decoder '{name}': min_size is -1"):
        parse_decoder(f"{name},min_size=-1")
    with pytest.raises(OptionError, match=f"unknown option of decoder {name} 'minsize'"):
        decoder_named(name, minsize=1)


def test_names_and_options():
    assert decoder_named("foreground", min_size=3) == Foreground(min_size=3)
    with pytest.raises(OptionError, match="did you mean 'boundary'"):
        decoder_named("boundry")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"name": "watershed"}, Watershed()),
        ({"name": "watershed", "min_size": 50, "neck": 1}, Watershed(min_size=50, neck=1.0)),
        ({"min_size": "50", "name": "boundary", "fill": "no"}, Boundary(min_size=50, fill=False)),
        ({"name": "boundary", "fill": False}, Boundary(fill=False)),
    ],
)
def test_mappings(entry, expected):
    kept = dict(entry)
    assert decoder_of_config(entry) == expected
    assert entry == kept


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "a decoder is None, expected a text such as 'watershed,min_size=50' or a mapping"),
        (["watershed"], "a decoder is ['watershed']"),
        ({}, "described by nothing, expected a 'name' too"),
        ({"min_size": 3}, "described by 'min_size', expected a 'name' too; there are: boundary"),
        ({"name": "foregroun"}, "did you mean 'foreground'"),
        ({"name": "foreground", "size": 3}, "unknown option of decoder foreground 'size'"),
        ({"name": "foreground", "min_size": "few"}, "cannot read min_size=few"),
        ({"name": "foreground", "min_size": None}, "min_size is None"),
        ({"name": "foreground", 5: 3}, "unknown option of decoder foreground '5'"),
        ({"name": ["foreground"]}, "unknown decoder"),
    ],
)
def test_mappings_that_are_none(entry, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        decoder_of_config(entry)
