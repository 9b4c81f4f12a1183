"""Objects from the foreground alone: by hand, and on simulated discs and ellipses."""

import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing import Foreground, Watershed
from onnx_cte.types import Prediction

Y, X = np.indices((120, 120)) - 60.0


def seen(mask, threshold=0.5):
    """What a network says that is sure of a mask."""
    return Prediction(np.asarray(mask, np.float32)[np.newaxis], ("foreground",), threshold)


def disc(radius, y=0.0, x=0.0):
    return (Y - y) ** 2 + (X - x) ** 2 < radius**2


def ellipse(radius, ratio, turn=0.0):
    u = X * np.cos(turn) + Y * np.sin(turn)
    v = Y * np.cos(turn) - X * np.sin(turn)
    return (u / ratio) ** 2 + v**2 < radius**2


def test_components_of_what_exceeds_the_threshold():
    maps = [[0.5, 0.6, 0.2, 0.7], [0.1, 0.9, 0.3, 0.1], [0.8, 0.1, 0.1, 0.1]]
    found = Foreground(min_size=0).decode(seen(maps))
    assert found.tolist() == [[0, 1, 0, 2], [0, 1, 0, 0], [1, 0, 0, 0]]
    found = Foreground(min_size=0, connectivity="face").decode(seen(maps))
    assert found.tolist() == [[0, 1, 0, 2], [0, 1, 0, 0], [3, 0, 0, 0]]
    found = Foreground(min_size=2).decode(seen(maps, threshold=0.6))
    # 0.6 does not exceed 0.6: a pair that meets at a corner is left, and one pixel.
    assert found.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    found = Foreground(min_size=0).decode(seen(maps, threshold=0.65))
    assert found.tolist() == [[0, 0, 0, 1], [0, 2, 0, 0], [2, 0, 0, 0]]


@pytest.mark.parametrize("radius", [6, 10, 20])
@pytest.mark.parametrize("apart", [1.4, 1.7])
@pytest.mark.parametrize("turn", [0, 0.5, np.pi / 4, np.pi / 2])
def test_two_overlapping_discs_are_two(radius, apart, turn):
    half = radius * apart / 2
    y, x = half * np.sin(turn), half * np.cos(turn)
    left, right = disc(radius, y, x), disc(radius, -y, -x)
    mask = left | right
    assert Foreground().decode(seen(mask)).max() == 1
    found = Watershed().decode(seen(mask))
    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, mask)
    # The cut runs half way between the two.
    nearer = np.where(Y * y + X * x > 0, 1, 2)
    pairs = np.bincount(found[mask] * 3 + nearer[mask], minlength=9).reshape(3, 3)[1:, 1:]
    assert max(np.trace(pairs), np.trace(pairs[::-1])) > 0.96 * mask.sum()


@pytest.mark.parametrize("radius", [4, 5, 8, 13, 21])
@pytest.mark.parametrize("ratio", [1, 1.5, 2])
@pytest.mark.parametrize("turn", [0, 0.3, 0.6, np.pi / 4, 1.2])
def test_an_ellipse_is_one(radius, ratio, turn):
    mask = ellipse(radius, ratio, turn)
    found = Watershed().decode(seen(mask))
    np.testing.assert_array_equal(found, mask)


def test_three_in_a_row_and_one_apart():
    mask = disc(9, -40, 0) | disc(9, -40, 14) | disc(9, -40, 28) | disc(9, 20, 0)
    found = Watershed().decode(seen(mask))
    assert found.max() == 4
    assert (found[disc(9, 20, 0)] == 4).all()


def test_seed_distance_keeps_near_peaks_together():
    mask = disc(6, 0, -4.5) | disc(6, 0, 4.5)
    assert Watershed().decode(seen(mask)).max() == 2
    assert Watershed(seed_distance=12).decode(seen(mask)).max() == 1


def test_neck_zero_parts_nothing():
    mask = disc(10, 0, -8.5) | disc(10, 0, 8.5)
    assert Watershed(neck=0).decode(seen(mask)).max() == 1


def test_smoothing_takes_away_what_a_bumpy_outline_makes():
    rng = np.random.default_rng(1)
    counts = []
    for _ in range(10):
        mask = ellipse(8 + rng.normal(0, 1, Y.shape), 3)
        counts.append(
            [
                Watershed(smoothing=smoothing, neck=0.95, seed_distance=0).decode(seen(mask)).max()
                for smoothing in (0, 3)
            ]
        )
    plain, smooth = np.sum(counts, axis=0)
    assert smooth < plain


def test_two_touching_balls_are_two():
    z, y, x = np.indices((24, 24, 40)) - np.array([12, 12, 20]).reshape(3, 1, 1, 1)
    balls = (z**2 + y**2 + (x - 7) ** 2 < 81) | (z**2 + y**2 + (x + 7) ** 2 < 81)
    assert Foreground().decode(seen(balls)).max() == 1
    found = Watershed().decode(seen(balls))
    assert found.max() == 2
    assert found[12, 12, 13] == 1
    assert found[12, 12, 27] == 2


def test_small_parts_go():
    mask = disc(12) | disc(4, 0, 15)
    assert Watershed(min_size=0).decode(seen(mask)).max() == 2
    found = Watershed(min_size=60).decode(seen(mask))
    assert found.max() == 1
    assert found[60, 77] == 0


def test_between_classes_all_but_the_background_is_foreground():
    maps = np.zeros((3, 2, 4), np.float32)
    maps[0] = 0.4
    maps[1, 0, 0] = maps[2, 0, 1] = 0.6
    prediction = Prediction(maps, ("background", "nucleus", "cell"), threshold=0.9)
    assert Foreground(min_size=0).decode(prediction).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("decoder", [Foreground, Watershed])
def test_options_are_checked(decoder):
    with pytest.raises(OptionError, match="min_size is -1, expected a whole number of at least 0"):
        decoder(min_size=-1)
    with pytest.raises(OptionError, match=r"min_size is 1\.5"):
        decoder(min_size=1.5)
    with pytest.raises(OptionError, match="min_size is True"):
        decoder(min_size=True)
    with pytest.raises(OptionError, match="did you mean 'face'"):
        decoder(connectivity="faces")


def test_options_of_the_watershed_are_checked():
    with pytest.raises(OptionError, match=r"write for example watershed,neck=0\.9"):
        Watershed(neck=1.5)
    with pytest.raises(OptionError, match="seed_distance is nan, expected a number of at least 0"):
        Watershed(seed_distance=float("nan"))
    with pytest.raises(OptionError, match="smoothing is 'much'"):
        Watershed(smoothing="much")


def test_equal_options_have_one_identity():
    assert repr(Watershed(seed_distance=5)) == repr(Watershed(seed_distance=5.0))
    assert repr(Foreground(min_size=np.int64(3))) == repr(Foreground(min_size=3))
