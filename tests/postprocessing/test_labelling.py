"""Components, sizes and numbers of label images, on arrays one can count by hand."""

import numpy as np
import pytest

from onnx_cte.postprocessing.labelling import (
    components,
    firsts,
    foreground_mask,
    numbered,
    object_roles,
    sizes,
)
from onnx_cte.types import Prediction

CORNERS = np.array(
    [
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 1, 1],
    ],
    bool,
)


def test_pixels_that_share_a_corner_hang_together_or_not():
    assert components(CORNERS, "full").max() == 1
    assert components(CORNERS, "face").tolist() == [[1, 1, 0, 0], [0, 0, 2, 0], [0, 0, 2, 2]]
    assert components(CORNERS, "face").dtype == np.int32


def test_voxels_that_share_an_edge_or_a_corner_hang_together_or_not():
    volume = np.zeros((3, 3, 3), bool)
    volume[0, 0, 0] = volume[1, 1, 1] = volume[2, 2, 1] = True
    assert components(volume, "full").max() == 1
    assert components(volume, "face").max() == 3


def test_sizes_and_first_pixels():
    labels = np.array([[0, 3, 3], [1, 3, 1]])
    assert sizes(labels).tolist() == [1, 2, 0, 3]
    # Of label 2 there is no pixel.
    assert firsts(labels).tolist() == [0, 3, 6, 1]


def test_first_pixels_agree_with_a_search():
    labels = np.random.default_rng(0).integers(0, 40, (30, 17)).repeat(3, axis=1)
    found = firsts(labels)
    for label in range(40):
        assert found[label] == np.flatnonzero(labels.ravel() == label)[0]


@pytest.mark.parametrize(
    ("min_size", "expected"),
    [
        (0, [[1, 1, 0, 2], [3, 0, 0, 2]]),
        (1, [[1, 1, 0, 2], [3, 0, 0, 2]]),
        (2, [[1, 1, 0, 2], [0, 0, 0, 2]]),
        (3, [[0, 0, 0, 0], [0, 0, 0, 0]]),
    ],
)
def test_numbers_follow_the_first_pixel_and_small_objects_go(min_size, expected):
    labels = np.array([[9, 9, 0, 2], [4, 0, 0, 2]])
    found = numbered(labels, min_size)
    assert found.dtype == np.int32
    assert found.tolist() == expected


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (1, 1), (2, 0, 4)])
def test_nothing_stays_nothing(shape):
    found = numbered(np.zeros(shape, np.int64))
    assert found.shape == shape
    assert found.dtype == np.int32
    assert not found.any()


def test_the_foreground_is_what_the_prediction_says_it_is():
    maps = np.array([[[0.2, 0.5, 0.6]]], np.float32)
    assert foreground_mask(Prediction(maps, ("foreground",))).tolist() == [[False, False, True]]
    stated = Prediction(maps, ("foreground",), threshold=0.1)
    assert foreground_mask(stated).all()
    classes = np.array([[[0.2, 0.4, 0.5]], [[0.6, 0.3, 0.1]], [[0.2, 0.3, 0.4]]], np.float32)
    # The background is the second channel here.
    exclusive = Prediction(classes, ("cell", "background", "foreground"))
    assert foreground_mask(exclusive).tolist() == [[False, True, True]]


def test_roles_of_objects():
    assert object_roles(("boundary", "inside", "background", "cell")) == ("inside", "cell")
