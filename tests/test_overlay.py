"""Pictures of objects over their image."""

import numpy as np
import pytest

from onnx_cte.overlay import BOTH, FOUND, SIDE, TRUTH, overlay

PIXELS = np.linspace(0, 4000, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)


def square(top, left, size, label=1):
    labels = np.zeros(PIXELS.shape, np.int32)
    labels[top : top + size, left : left + size] = label
    return labels


def is_colour(picture, colour):
    return (picture == np.array(colour, np.uint8)).all(axis=2)


def test_the_outline_lies_inside_the_object():
    picture = overlay(PIXELS, square(100, 200, 5))
    expected = square(100, 200, 5).astype(bool) & ~square(101, 201, 3).astype(bool)
    assert (is_colour(picture, FOUND) == expected).all()


def test_touching_objects_have_a_line_between_them():
    labels = square(100, 100, 10) + square(100, 110, 10, label=2)
    line = is_colour(overlay(PIXELS, labels), FOUND)
    assert line[105, 109]
    assert line[105, 110]
    assert not line[105, 105]


def test_truth_beside_and_where_both_agree():
    found, truth = square(100, 100, 10), square(100, 100, 10) + square(300, 300, 4, label=9)
    picture = overlay(np.zeros(PIXELS.shape), found, truth)
    assert is_colour(picture, BOTH).sum() == 36
    assert is_colour(picture, TRUTH).sum() == 12
    assert not is_colour(picture, FOUND).any()


def test_small_images_are_enlarged_and_a_volume_shows_its_fullest_slice():
    stack = np.zeros((3, 64, 64), np.float32)
    labels = np.zeros(stack.shape, np.int64)
    labels[1, 10:20, 10:20] = 4
    labels[2, 5, 5] = 7
    picture = overlay(stack, labels)
    assert picture.shape == (512, 512, 3)
    assert is_colour(picture, FOUND)[80, 80]
    assert not is_colour(picture, FOUND)[40, 40]


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (600, 1)])
def test_any_size(shape):
    picture = overlay(np.ones(shape), np.zeros(shape, int))
    assert picture.dtype == np.uint8
    assert picture.ndim == 3


def test_shapes_that_do_not_go_together():
    with pytest.raises(ValueError, match=r"image \(4, 4\) with labels \(4, 5\): expected equal"):
        overlay(np.zeros((4, 4)), np.zeros((4, 5), int))
    with pytest.raises(ValueError, match="expected equal shapes"):
        overlay(np.zeros((4, 4)), np.zeros((4, 4), int), np.zeros((5, 4), int))
