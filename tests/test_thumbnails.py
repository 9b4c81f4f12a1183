"""Small pictures, read back from their data URIs."""

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image as Png

from onnx_cte.overlay import BOTH, FOUND, TRUTH
from onnx_cte.thumbnails import (
    SIDE,
    contour,
    flipped_share,
    flips,
    ground,
    reduced_size,
    telling_slice,
)


def opened(uri, mode):
    head, text = uri.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Png.open(io.BytesIO(base64.b64decode(text))).convert(mode))


def square(side=20, low=5, high=12):
    labels = np.zeros((side, side), np.int32)
    labels[low:high, low:high] = 1
    return labels


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (257, 256), (1000, 731), (2304, 4000)])
def test_pictures_are_bounded_and_of_one_size(shape):
    pixels = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    sizes = {
        opened(ground(pixels), "L").shape,
        opened(contour(pixels > 5), "RGBA").shape[:2],
        opened(flips(pixels > 5, np.zeros(shape, np.float32)), "RGB").shape[:2],
    }
    assert sizes == {reduced_size(shape)}
    assert max(*sizes.pop()) <= SIDE


def test_an_image_is_reduced_to_means():
    pixels = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    pixels[::2] = 200
    shown = opened(ground(pixels), "L")
    assert np.unique(shown).tolist() == [128]  # black and white lines, as grey


def test_outlines_in_their_colours_on_nothing():
    shown = opened(contour(square()), "RGBA")
    assert tuple(shown[5, 8]) == (*FOUND, 255)
    assert tuple(shown[8, 8]) == (0, 0, 0, 0)
    assert 0 < shown[4, 8, 3] < 255  # a shade around, for bright images
    beside = opened(contour(square(), square(low=8, high=12)), "RGBA")
    assert tuple(beside[5, 8, :3]) == FOUND
    assert tuple(beside[8, 9, :3]) == TRUTH
    assert tuple(beside[11, 9, :3]) == BOTH


def test_touching_objects_have_a_line_between_them():
    labels = square()
    labels[5:12, 9:12] = 2
    assert opened(contour(labels), "RGBA")[8, 9, 3] == 255


def test_brighter_is_more_often_flipped():
    share = np.zeros((20, 20), np.float32)
    share[0, :4] = (0.25, 0.5, 0.75, 1.0)
    shown = opened(flips(square() > 0, share), "L").astype(int)
    background, foreground = shown[15, 15], shown[8, 8]
    order = [background, foreground, *shown[0, :4]]
    assert order == sorted(set(order))


def test_a_single_flip_is_seen_in_a_large_image():
    share = np.zeros((2000, 2000), np.float32)
    share[777, 1234] = 1
    shown = opened(flips(np.zeros((2000, 2000), bool), share), "L")
    assert np.count_nonzero(shown) == 1


def test_how_much_flips():
    reference = np.array([1, 1, 0, 0])
    share, flipped = flipped_share(reference, [reference, np.array([1, 0, 1, 0])])
    assert share.tolist() == [0, 0.5, 0.5, 0]
    assert flipped == pytest.approx((0 + 2 / 3) / 2)
    assert type(flipped) is float
    nothing = np.zeros(4, int)
    share, flipped = flipped_share(nothing, [nothing])
    assert (share.sum(), math.isnan(flipped)) == (0, True)
    assert math.isnan(flipped_share(reference, [])[1])


def test_classes_that_change_flip_too():
    assert flipped_share(np.array([1, 2]), [np.array([1, 1])])[1] == 0.5


def test_of_a_volume_the_slice_with_most_to_see():
    volume = np.zeros((4, 8, 8), np.uint8)
    volume[2, :4] = 9
    assert telling_slice(volume) == 2
    assert telling_slice(volume[0]) is None
