import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.needs import Needs
from onnx_cte.perturbations import (
    PERTURBATIONS,
    Contrast,
    Dropout,
    FeatureRedraw,
    Flip,
    GaussianNoise,
    InputRedraw,
    generator,
    is_random,
    redraws,
)

ALL = pytest.mark.parametrize("make", PERTURBATIONS.values(), ids=PERTURBATIONS)


def disturbed(perturbation, spatial=(8, 8)):
    """What an engine makes of a perturbation: its name is part of the seed."""
    map_ = np.random.default_rng(0).random((1, 12, *spatial), dtype=np.float32)
    rng = generator(0, "a.png", perturbation.name)
    if hasattr(perturbation, "apply"):
        return perturbation.restore(perturbation.apply(map_, rng)[0])
    return perturbation.factor(map_.shape, map_, rng)


@ALL
def test_a_redraw_is_the_same_perturbation_with_other_numbers(make):
    perturbation = make()
    first, *others = redraws(perturbation, 4)
    assert first is perturbation
    if not perturbation.random:
        assert others == []
        return
    assert [p.name for p in others] == [f"{perturbation.name}#{i}" for i in (1, 2, 3)]
    assert redraws(perturbation, 4)[1:] == tuple(others)
    assert len({hash(p) for p in (first, *others)}) == 4
    assert all(is_random(p) for p in others)
    assert len({disturbed(p).tobytes() for p in (first, *others)}) > 1
    for drawn in others:
        assert disturbed(drawn).shape == disturbed(first).shape
        for name in ("taps", "reads_features"):
            assert getattr(drawn, name, None) == getattr(perturbation, name, None)


@ALL
def test_a_redraw_of_a_volume_is_another_field_of_the_same_shape(make):
    volume = (4, 6, 8)
    drawn = [disturbed(p, volume) for p in redraws(make(), 4)]
    assert len({array.shape for array in drawn}) == 1
    assert len({array.tobytes() for array in drawn}) > 1 or len(drawn) == 1
    if len(drawn[0].shape) == 4:
        assert drawn[0].shape == (12, *volume)
    for perturbation, array in zip(redraws(make(), 4), drawn, strict=True):
        np.testing.assert_array_equal(disturbed(perturbation, volume), array)


@ALL
def test_a_redraw_is_of_the_same_kind(make):
    drawn = [p for p in redraws(make(), 2) if p != make()]
    assert Needs(tuple(drawn)).inputs == tuple(p for p in drawn if hasattr(make, "apply"))
    assert Needs(tuple(drawn)).features == tuple(p for p in drawn if not hasattr(make, "apply"))
    for perturbation in drawn:
        assert hasattr(perturbation, "factor") is not hasattr(perturbation, "apply")
        assert hasattr(perturbation, "restore") is hasattr(perturbation, "apply")


@ALL
def test_one_draw_is_the_perturbation_itself(make):
    assert redraws(make(), 1) == (make(),)


def test_a_redraw_can_be_of_what_is_not_random():
    assert not InputRedraw(Flip("x"), 1).random
    assert redraws(InputRedraw(Flip("x"), 1), 3) == (InputRedraw(Flip("x"), 1),)
    assert not FeatureRedraw(Dropout(0), 1).random


class Theirs:
    """A perturbation from outside, which does not say whether it is random."""

    name = "theirs"

    def apply(self, tensor, rng):
        return tensor * rng.random()

    def restore(self, maps):
        return maps


def test_a_perturbation_that_does_not_say_counts_as_random():
    theirs = Theirs()
    assert is_random(theirs)
    assert redraws(theirs, 2) == (theirs, InputRedraw(theirs, 1))
    assert not np.array_equal(*map(disturbed, redraws(theirs, 2)))


def test_needs_tell_the_kinds_apart_in_order():
    # A contrast has a `factor` too, and it is a number.
    needs = Needs((Dropout(0.1), Contrast(1.2), Dropout(0.2), GaussianNoise()))
    assert needs.inputs == (Contrast(1.2), GaussianNoise())
    assert needs.features == (Dropout(0.1), Dropout(0.2))
    assert Needs().inputs == Needs().features == ()


def test_needs_with_redraws_unite():
    two, three = (Needs(redraws(Dropout(), draws)) for draws in (2, 3))
    assert (two | three).perturbations == redraws(Dropout(), 3)


@pytest.mark.parametrize("draws", [0, -1, 1.5, "2"])
def test_draws_that_mean_nothing(draws):
    with pytest.raises(OptionError, match="draws is an integer of at least 1, not"):
        redraws(GaussianNoise(), draws)


@pytest.mark.parametrize(
    "make", [lambda: InputRedraw(Flip(), 0), lambda: FeatureRedraw(Dropout(), 0)]
)
def test_draw_0_is_the_perturbation_itself(make):
    with pytest.raises(OptionError, match="at least 1, not 0; draw 0 is the perturbation itself"):
        make()
