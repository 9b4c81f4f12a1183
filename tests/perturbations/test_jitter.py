"""Jitter: brightness and contrast at once, the same for all images."""

import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.perturbations import Brightness, Contrast, generator, redraws
from onnx_cte.perturbations.jitter import Jitter

PLANE, VOLUME = (1, 2, 6, 8), (1, 1, 4, 6, 8)


class Fixed:
    """A generator that always draws the same share of a range."""

    def __init__(self, share):
        self.share = share

    def uniform(self, low, high):
        return low + self.share * (high - low)


def test_the_ends_of_the_ranges_by_hand():
    image = np.array([[[[0, 2], [4, 6]]]], np.float32)
    jitter = Jitter(0.5, 0.5)
    high = jitter.apply(image, Fixed(1))  # 3 + 0.5 + 1.5 (x - 3)
    assert high[0, 0].tolist() == [[-1, 2], [5, 8]]
    low = jitter.apply(image, Fixed(0))  # 3 - 0.5 + 0.5 (x - 3)
    assert low[0, 0].tolist() == [[1, 2], [3, 4]]
    np.testing.assert_array_equal(jitter.apply(image, Fixed(0.5)), image)


@pytest.mark.parametrize("shape", [PLANE, VOLUME])
def test_it_is_brightness_and_contrast_in_either_order(shape):
    image = np.random.default_rng(0).normal(2, 1, shape).astype(np.float32)
    found = Jitter(0.2, 0.3).apply(image, Fixed(0.9))
    brightness, contrast = Brightness(0.16), Contrast(1.24)
    one = contrast.apply(brightness.apply(image, generator(0)), generator(0))
    other = brightness.apply(contrast.apply(image, generator(0)), generator(0))
    assert found == pytest.approx(one, abs=1e-5)
    assert found == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("shape", [PLANE, VOLUME])
def test_the_same_numbers_for_every_image_and_the_input_stays(shape):
    rng = np.random.default_rng(0)
    shifts = []
    for _ in range(3):
        image = rng.normal(size=shape).astype(np.float32)
        before = image.copy()
        found = Jitter().apply(image, generator(0, "jitter"))
        np.testing.assert_array_equal(image, before)
        assert found.dtype == np.float32
        assert found.shape == shape
        assert found.flags.c_contiguous
        assert not np.may_share_memory(found, image)
        shifts.append(float(found.mean() - image.mean()))
        np.testing.assert_array_equal(Jitter().restore(found), found)
    assert shifts == pytest.approx([shifts[0]] * 3, abs=1e-5)
    assert Jitter.shared


def test_draws_stay_in_range_and_fill_it():
    image = np.array([[[[-1, 1]]]], np.float32)
    drawn = [Jitter(0.1, 0.05).apply(image, generator(seed))[0, 0, 0] for seed in range(300)]
    shifts = [(low + high) / 2 for low, high in drawn]
    stretches = [(high - low) / 2 for low, high in drawn]
    for values, middle, reach in ((shifts, 0, 0.1), (stretches, 1, 0.05)):
        assert middle - reach - 1e-6 <= min(values) < middle - 0.9 * reach
        assert middle + 0.9 * reach < max(values) <= middle + reach + 1e-6
    assert abs(np.corrcoef(shifts, stretches)[0, 1]) < 0.2


def test_views_and_redraws_have_names_of_their_own():
    made = [Jitter(), Jitter(number=1), Jitter(0.2), Jitter(0.1, 0.2)]
    drawn = [*redraws(Jitter(), 3), *made]
    assert Jitter().name == "jitter=0.1,0.05#0"
    assert Jitter(1, 0, 3).name == "jitter=1.0,0.0#3"
    assert len({perturbation.name for perturbation in drawn}) == len(drawn) - 1
    assert eval(repr(made[1]), {"Jitter": Jitter}) == made[1]


@pytest.mark.parametrize(
    ("jitter", "random"),
    [(Jitter(), True), (Jitter(0, 0), False), (Jitter(0, 0.1), True), (Jitter(0.1, 0), True)],
)
def test_random_is_what_two_draws_can_tell_apart(jitter, random):
    image = np.random.default_rng(0).normal(size=PLANE).astype(np.float32)
    one, other = (jitter.apply(image, generator(0, name)) for name in "ab")
    assert jitter.random is random
    assert np.array_equal(one, other) is not random


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"brightness": -0.1}, "brightness is a finite number of at least 0, not -0.1"),
        ({"brightness": float("nan")}, "brightness is a finite number of at least 0, not nan"),
        ({"contrast": 1.5}, "contrast is a number from 0 to 1, not 1.5"),
        ({"contrast": "much"}, "contrast is a number from 0 to 1, not 'much'"),
        ({"number": -1}, "number is an integer of at least 0, not -1"),
        ({"number": True}, "number is an integer of at least 0, not True"),
    ],
)
def test_strengths_that_mean_nothing(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        Jitter(**options)
