"""Pictures of ranked models: what is seen, and what cannot be."""

import json
import math

import numpy as np
import pytest

from onnx_cte import BlackBox, Image, Picture, rank, take_pictures
from onnx_cte.documents import ranking_to_json
from onnx_cte.errors import DeviceError, ImageError, OptionError, OutputError
from onnx_cte.estimators import CTE, Accuracy, Confidence
from onnx_cte.perturbations import Dropout, GaussianNoise
from onnx_cte.pictures import Drawn, pictures_from_json, pictures_to_json, size_of
from onnx_cte.thumbnails import contour, ground


def field(seed, shape=(24, 32)):
    """A square that is brighter than its ground, and noise."""
    pixels = np.random.default_rng(seed).normal(0.2, 0.1, shape)
    pixels[6:15, 8:20] += 0.5
    return pixels.clip(0, 1).astype(np.float32)


def images(count=6):
    return [Image(f"{n}.png", field(n), "yx") for n in range(count)]


def bright(name, scale=1.0):
    return BlackBox(name, predict=lambda tensor: (scale * tensor).clip(0, 1), normalize="none")


BANK = (bright("one"), bright("two", 0.9), bright("none", 0.0))


@pytest.fixture(scope="module")
def ranking():
    return rank(BANK, images(), CTE())


def test_each_model_on_each_image(ranking):
    found = take_pictures(ranking, BANK, images(), CTE(), count=2)
    assert [len(picture.drawn) for picture in found] == [3, 3]
    for picture in found:
        assert [one.model for one in picture.drawn] == [score.model for score in ranking]
        assert picture.perturbations == ("noise=0.1", "noise=0.1#1")
        assert (picture.width, picture.height, picture.reduced) == (32, 24, 1)
        by_model = {one.model: one for one in picture.drawn}
        # What flips is what the ranking measured there: the same draws were made again.
        for name in ("one", "two"):
            (score,) = (score for score in ranking if score.model == name)
            assert by_model[name].flipped == pytest.approx(1 - score.by_image[picture.image])
            assert 0.1 < by_model[name].foreground < 0.3
        assert by_model["none"].foreground == 0
        assert math.isnan(by_model["none"].flipped)
        assert len({one.flips for one in picture.drawn}) == 3


def test_labels_are_drawn_where_they_are(ranking):
    plain, labelled = images(1), images(1)
    truth = np.zeros((24, 32), np.int32)
    truth[2:5, 2:5] = 1
    labelled = [Image("0.png", plain[0].data, "yx", truth=truth)]
    without = take_pictures(ranking, BANK, plain, CTE(), count=1)
    # A list of images does not say that it has labels; an estimator that needs them does.
    (found,) = take_pictures(ranking, BANK, labelled, Accuracy(), count=1)
    assert (without[0].labelled, found.labelled) == (False, True)
    assert found.drawn[0].contour != without[0].drawn[0].contour


def test_where_nothing_is_disturbed_nothing_flips():
    found = rank(BANK, images(), Confidence())
    (picture,) = take_pictures(found, BANK, images(), Confidence(), count=1)
    assert picture.perturbations == ()
    assert all(one.flips == "" and math.isnan(one.flipped) for one in picture.drawn)
    assert all(one.contour for one in picture.drawn)


class Broken:
    """A model, and an image, that worked once."""

    name = group = "one"

    def __init__(self, error):
        self.error = error

    def open(self, device, threads):
        raise self.error

    load = property(lambda self: self.open(None, None))


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("gone"), "ValueError: gone"), (ImageError("one: is gone"), "is gone")],
)
def test_a_model_that_cannot_be_run_again_is_told_of(ranking, error, told):
    bank = [Broken(error), *BANK[1:]]
    for picture in take_pictures(ranking, bank, images(), CTE(), count=2):
        reasons = {one.model: one.reason for one in picture.drawn}
        assert reasons == {"one": told, "two": "", "none": ""}


@pytest.mark.parametrize("error", [DeviceError("no device"), OutputError("disk full")])
def test_what_ends_a_run_ends_no_report(ranking, error):
    (picture,) = take_pictures(ranking, [Broken(error), *BANK[1:]], images(), CTE(), count=1)
    assert {one.reason for one in picture.drawn if not one.contour} == {str(error)}


def test_an_image_that_is_gone_is_told_of(ranking):
    gone = Broken(ImageError("one: no such file"))
    (picture,) = take_pictures(ranking, BANK, [gone], CTE(), count=1)
    assert (picture.image, picture.ground) == ("one", "")
    assert {one.reason for one in picture.drawn} == {"no such file"}


def test_a_model_that_cannot_be_disturbed_there_is_told_of(ranking):
    found = take_pictures(ranking, BANK, images(), CTE(perturbations=Dropout(0.1)), count=1)
    assert all("can be disturbed at its input only" in one.reason for one in found[0].drawn)


def test_no_pictures_where_none_are_wanted_or_possible(ranking):
    assert take_pictures(ranking, BANK, images(), CTE(), count=0) == ()
    assert take_pictures(ranking, [], images(), CTE()) == ()
    assert take_pictures(ranking, BANK, [], CTE()) == ()
    with pytest.raises(OptionError, match="0 or more, not -1"):
        take_pictures(ranking, BANK, images(), CTE(), count=-1)


def test_the_ranking_stays_as_it_was(ranking):
    before = ranking_to_json(ranking)
    take_pictures(ranking, BANK, images(), CTE(perturbations=GaussianNoise(0.3)), count=1)
    assert ranking_to_json(ranking) == before


def test_json_and_back(ranking):
    found = take_pictures(ranking, [*BANK[:2], Broken(ValueError("x"))], images(), CTE(), count=2)
    document = pictures_to_json(found)
    assert repr(pictures_from_json(document)) == repr(found)  # by repr: NaN is not itself
    weight = len(json.dumps(document))
    assert 0.5 * weight < size_of(found) < weight


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"format": 2}, "pictures of format 2; this version reads format 1"),
        ({"format": 1}, "something missing or misshapen: KeyError"),
        ({"format": 1, "pictures": [{"image": "a"}]}, "something missing or misshapen: KeyError"),
    ],
)
def test_what_is_no_picture(document, told):
    with pytest.raises(OutputError, match=told):
        pictures_from_json(document)


@pytest.mark.parametrize("uri", ["https://example.org/a.png", "data:text/html,hello"])
@pytest.mark.parametrize("place", ["ground", "contour", "flips"])
def test_a_picture_lies_within_the_file(uri, place):
    drawn = Drawn("m", **({place: uri} if place != "ground" else {}))
    picture = Picture(
        "a.png", "typical", drawn=(drawn,), **({"ground": uri} if place == "ground" else {})
    )
    with pytest.raises(OutputError, match=r"pictures of 'a\.png': found '.*', expected a PNG"):
        pictures_from_json(pictures_to_json([picture]))


def test_of_a_volume_one_slice_the_same_for_every_model():
    stack = np.stack([field(n) * (0.1 if n != 2 else 1) for n in range(4)])
    bank = [
        BlackBox(name, predict=lambda t, s=s: (s * t).clip(0, 1), normalize="none", dimensions=3)
        for name, s in (("one", 1.0), ("two", 0.9))
    ]
    volumes = [Image(f"{n}.tif", stack, "zyx") for n in range(3)]
    (picture,) = take_pictures(rank(bank, volumes, CTE()), bank, volumes, CTE(), count=1)
    assert (picture.width, picture.height) == (32, 24)
    assert picture.ground == ground(stack[2])
    for one in picture.drawn:
        assert one.reason == ""
        assert one.contour != contour(np.zeros((24, 32), bool))  # the square is in that slice
