"""Which decoder channels get, and what is said where one cannot serve them."""

import pytest

from onnx_cte.descriptor import channel_roles
from onnx_cte.errors import OptionError
from onnx_cte.postprocessing import (
    DECODERS,
    Foreground,
    ForegroundBoundary,
    ThreeClass,
    decoder_for,
    fitting,
    refusal,
)

RAYS = [f"dist_{k}" for k in range(32)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["nuclei"], "foreground"),
        (["channel0"], "foreground"),
        (["boundary"], "boundary"),
        (["foreground", "boundary"], "foreground_boundary"),
        (["membrane", "nuclei"], "foreground_boundary"),
        (["background", "nuclei"], "foreground"),
        (["background", "inside", "boundary"], "three_class"),
        (["border", "cell", "background"], "three_class"),
        (["background", "boundary"], "boundary"),
        (["background", "nucleus", "cytoplasm"], "classes"),
        (["background", "nucleus", "cytoplasm", "boundary"], "classes"),
        (["probability", *RAYS], "stardist"),
        (["cellprob", "dy", "dx"], "flows"),
        (["dy", "dx", "cellprob"], "flows"),
        (["foreground", "something", "else"], "foreground"),
    ],
)
def test_channels_by_name(names, expected):
    roles, _ = channel_roles(names)
    decoder, note = decoder_for(roles, tuple(names))
    assert decoder.name == expected
    assert decoder == DECODERS[expected]()
    assert decoder.refuses(roles, 2) == ""
    assert f"decoder '{expected}'" in note
    assert names[0] in note


def test_channels_by_role_alone():
    assert decoder_for(("foreground",))[0] == Foreground()
    assert decoder_for(("boundary",))[0].name == "boundary"
    assert (
        "chosen by the channels 'foreground', 'boundary'"
        in (decoder_for(["foreground", "boundary"])[1])
    )


def test_channels_that_are_ignored_are_said():
    assert "of 'cell', 'x' it is not known" in decoder_for(("foreground", "cell", "x"))[1]
    assert "not known" not in decoder_for(("background", "cell"))[1]


def test_volumes():
    assert decoder_for(("foreground", "boundary"), (), 3)[0].name == "foreground_boundary"
    assert (
        decoder_for(("foreground", "a", "b", "c"), ("cellprob", "dz", "dy", "dx"), 3)[0].name
        == "flows"
    )
    # StarDist's decoder serves planes only.
    roles = ("foreground", *RAYS)
    assert decoder_for(roles, ("prob", *RAYS), 2)[0].name == "stardist"
    assert decoder_for(roles, ("prob", *RAYS), 3)[0].name == "foreground"


def test_what_no_decoder_serves():
    with pytest.raises(OptionError, match="no decoder serves the channels 'foreground' on images"):
        decoder_for(("foreground",), (), 4)
    with pytest.raises(OptionError, match="name the channels in a description"):
        decoder_for(("this",), (), 1)


def test_fitting():
    assert fitting(("foreground",)) == ("foreground", "watershed", "boundary")
    assert fitting(("background", "boundary", "in")) == (
        "foreground",
        "watershed",
        "three_class",
        "boundary",
    )
    assert fitting(("background", "a", "b")) == ("foreground", "watershed", "classes")
    assert "stardist" in fitting(("foreground", *RAYS))
    assert "stardist" not in fitting(("foreground", *RAYS), 3)
    assert fitting(("foreground",), 1) == ()


def test_a_refusal_lists_those_that_could():
    assert refusal(Foreground(), ("foreground",)) == ""
    text = refusal(ForegroundBoundary(), ("foreground",))
    assert text == (
        "decoder 'foreground_boundary' needs a channel 'foreground' and a channel 'boundary' that "
        "are maps of their own; these channels ('foreground') can be served by: foreground, "
        "watershed, boundary"
    )
    assert refusal(Foreground(), ("foreground",), 4).endswith(
        "on images of 4 dimensions can be served by: no decoder"
    )
    long = refusal(ThreeClass(), ("foreground", *RAYS))
    assert "('foreground', 'dist_0', 'dist_1', 'dist_2', ..., 'dist_31')" in long
