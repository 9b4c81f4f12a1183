"""Every kind on the same footing: evidence, silence, images without evidence, options."""

import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.estimators.image_evidence import ImageEvidence
from onnx_cte.evidence import EvidenceStore
from onnx_cte.types import Observation, Prediction

KINDS = ["outline", "between", "ring", "zeboudj", "f", "e"]
EACH = pytest.mark.parametrize("kind", KINDS)
close = pytest.approx


def prediction(mask):
    return Prediction(np.where(mask, 0.9, 0.1)[None].astype(np.float32), ("foreground",))


def scene(name, shift=0, shape=(32, 32)):
    """A bright disc under noise, and the disc as a model sees it: too far right by `shift` px."""
    rng = np.random.default_rng([ord(c) for c in name])
    y, x = np.mgrid[: shape[0], : shape[1]]
    disc = (y - 16) ** 2 + (x - 12) ** 2 < 50
    pixels = (100 * disc + rng.normal(50, 5, shape)).astype(np.uint8)
    return Observation(name, pixels, prediction(np.roll(disc, shift, axis=1)))


def nothing(name):
    return Observation(name, scene(name).pixels, prediction(np.zeros((32, 32), bool)))


def everything(name):
    return Observation(name, scene(name).pixels, prediction(np.ones((32, 32), bool)))


def flat(name):
    return Observation(name, np.full((32, 32), 7), scene(name, 3).reference)


def bank_of(estimator, shifts, names="abc"):
    return Bank(
        {
            f"shift {shift}": [estimator.measure(scene(name, shift)) for name in names]
            for shift in shifts
        }
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("outline", 0.75),  # the gradients are 2 3 3 2 from left to right, the outline is 3 3
        ("between", 0.9),  # means 1/2 and 7/2 of 0 1 3 4
        ("ring", 0.9),
        ("zeboudj", 0.5),  # steps 1/4 within, 1/2 across
        ("f", 1 / (1 + math.sqrt(2) * 2 * (0.5 / math.sqrt(2)) / (10 / math.sqrt(4)))),
        ("e", 0.0),  # four pixels, four levels: the most there can be
    ],
)
def test_values_by_hand(kind, expected):
    seen = Observation(
        "a", np.array([[0, 1, 3, 4]]), prediction(np.array([[False, False, True, True]]))
    )
    assert ImageEvidence(kind).measure(seen)["value"] == close(expected, abs=1e-9)


@EACH
def test_evidence(kind):
    evidence = ImageEvidence(kind).measure(scene("a"))
    assert set(evidence) == {"value", "flat", "foreground"}
    assert 0 < evidence["value"] <= 1
    assert evidence["flat"] == 0.0
    assert evidence["foreground"] == scene("a").reference.classes.mean()
    with EvidenceStore(None) as store:
        store.put({"key": evidence})
        assert store.get("key") == evidence


@EACH
def test_what_follows_the_image_scores_higher(kind):
    scores = ImageEvidence(kind).score(bank_of(ImageEvidence(kind), [0, 1, 12]))
    assert scores["shift 0"] > scores["shift 1"] > scores["shift 12"]


@EACH
def test_classes_count_as_foreground(kind):
    pixels, mask = scene("a").pixels, scene("a").reference.classes
    maps = np.stack([np.where(mask, 0.0, 1.0), mask * 0.7, mask * 0.3]).astype(np.float32)
    left = np.arange(32) < 12
    maps[1:] = np.where(left, maps[1:], maps[:0:-1])  # another class on the right
    seen = Observation("a", pixels, Prediction(maps, ("background", "one", "two")))
    assert set(np.unique(seen.reference.classes)) == {0, 1, 2}
    assert ImageEvidence(kind).measure(seen) == ImageEvidence(kind).measure(scene("a"))


@EACH
def test_volumes(kind):
    one = scene("a")
    pixels = np.stack([one.pixels] * 4)
    mask = np.stack([one.reference.classes] * 4)
    seen = Observation("a", pixels, prediction(mask))
    assert 0 < ImageEvidence(kind).measure(seen)["value"] <= 1


@EACH
@pytest.mark.parametrize("blind", [nothing, everything])
def test_seeing_nothing_or_everything_never_wins(kind, blind):
    estimator = ImageEvidence(kind)
    rows = dict(bank_of(estimator, [0, 1]))
    rows["blind"] = [estimator.measure(scene("a")), *(estimator.measure(blind(n)) for n in "bc")]
    scores = estimator.score(Bank(rows))
    assert scores["blind"] == 0.0
    assert min(scores["shift 0"], scores["shift 1"]) > 0


@EACH
def test_an_image_on_which_nobody_sees_anything_is_left_out(kind):
    estimator = ImageEvidence(kind)
    rows = {
        m: [*row, estimator.measure(nothing("d"))] for m, row in bank_of(estimator, [0, 4]).items()
    }
    assert estimator.score(Bank(rows)) == estimator.score(bank_of(estimator, [0, 4]))


@EACH
def test_a_flat_image_is_left_out_for_all(kind):
    estimator = ImageEvidence(kind)
    evidence = estimator.measure(flat("d"))
    assert math.isnan(evidence["value"])
    assert evidence["flat"] == 1.0
    rows = {m: [*row, evidence] for m, row in bank_of(estimator, [0, 4]).items()}
    rows["shift 4"][-1] = estimator.measure(nothing("d")) | {"flat": 1.0}
    assert estimator.score(Bank(rows)) == estimator.score(bank_of(estimator, [0, 4]))


@EACH
def test_draws_gaps_and_order(kind):
    estimator = ImageEvidence(kind)
    bank = bank_of(estimator, [0, 4])
    spelled = {model: [row[0], row[0], row[2]] for model, row in bank.items()}
    assert estimator.score(bank.draw([0, 0, 2])) == estimator.score(Bank(spelled))
    assert estimator.score(bank_of(estimator, [4, 0], "cab")) == estimator.score(bank)
    gaps = {model: [None, *row] for model, row in bank.items()} | {"absent": [None] * 4}
    scores = estimator.score(Bank(gaps))
    assert math.isnan(scores.pop("absent"))
    assert scores == estimator.score(bank)


def test_options_are_used():
    seen = scene("a", 3)
    assert ImageEvidence("outline", sigma=4).measure(seen) != ImageEvidence("outline").measure(seen)
    assert ImageEvidence("outline", sigma=1).measure(seen) == ImageEvidence("outline").measure(seen)
    assert ImageEvidence("ring", width=2).measure(seen) != ImageEvidence("ring").measure(seen)
    assert ImageEvidence("ring", width=5).measure(seen) == ImageEvidence("ring").measure(seen)


def test_titles():
    assert len({ImageEvidence(kind).title for kind in KINDS}) == len(KINDS)
    assert ImageEvidence("ring", width=3).title == "ring 3 px"
    assert ImageEvidence(sigma=1.5).title == "outline 1.5 px"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"kind": "outlin"}, "unknown kind of image evidence 'outlin': did you mean 'outline'"),
        (
            {"kind": "e", "sigma": 2.0},
            "sigma=2.0 is for kind 'outline', and the kind is 'e'; leave",
        ),
        ({"kind": "outline", "width": 2}, "width=2 is for kind 'ring', and the kind is 'outline'"),
        ({"sigma": 0}, "sigma is a finite number of px above 0, not 0"),
        ({"sigma": math.inf}, "above 0, not inf"),
        ({"sigma": math.nan}, "above 0, not nan"),
        ({"sigma": "1"}, "above 0, not '1'"),
        ({"kind": "ring", "width": 0}, "width, in px, is an integer of at least 1, not 0"),
        ({"kind": "ring", "width": 2.0}, "at least 1, not 2.0"),
        ({"kind": "ring", "width": True}, "at least 1, not True"),
    ],
)
def test_bad_options(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        ImageEvidence(**options)


@EACH
def test_a_model_that_calls_everything_foreground_does_not_win_over_blind_ones(kind):
    estimator = ImageEvidence(kind)
    assert estimator.measure(everything("a"))["value"] == 0.0
    assert math.isnan(estimator.measure(nothing("a"))["value"])
    rows = {"all": [estimator.measure(everything(name)) for name in "ab"]}
    for blind in ("blind", "blinder"):
        rows[blind] = [estimator.measure(nothing(name)) for name in "ab"]
    scores = estimator.score(Bank(rows))
    assert scores["all"] == 0.0
    # Half of the others see something: of the whole image, but something.
    assert scores["blind"] == 0.0
