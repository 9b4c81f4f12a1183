"""Objects of several classes: worked out by hand."""

import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing import Classes
from onnx_cte.types import Prediction

LETTERS = {".": "background", "a": "a", "b": "b", "|": "boundary"}


def scene(text, roles):
    rows = np.array([list(line) for line in text.split()])
    maps = [np.where(rows == letter, 0.7, 0.1) for letter in roles]
    return Prediction(np.array(maps, np.float32), tuple(LETTERS[letter] for letter in roles))


@pytest.mark.parametrize("roles", [".ab", "ba.", "a.b"])
def test_classes_never_merge(roles):
    found = Classes(min_size=0).decode(scene("aabb.a a.bb.. ...a.b", roles))
    assert found.dtype == np.int32
    assert found.tolist() == [[1, 1, 2, 2, 0, 3], [1, 0, 2, 2, 0, 0], [0, 0, 0, 4, 0, 5]]


def test_the_boundary_is_no_class():
    found = Classes(min_size=0).decode(scene("aa|a||b", "|.ab"))
    assert found.tolist() == [[1, 1, 0, 2, 0, 0, 3]]


def test_small_objects_of_each_class_go():
    assert Classes(min_size=2).decode(scene("aab.a.bb", ".ab")).tolist() == [
        [1, 1, 0, 0, 0, 0, 2, 2]
    ]


def test_maps_of_their_own_share_pixels_by_probability():
    maps = np.array([[[0.9, 0.6, 0.7, 0.4]], [[0.2, 0.8, 0.7, 0.3]]], np.float32)
    roles = ("foreground", "cell")
    found = Classes(min_size=0).decode(Prediction(maps, roles))
    assert found.tolist() == [[1, 2, 3, 0]]  # equally probable: the earlier channel
    assert Classes(min_size=0).decode(Prediction(maps, roles, 0.75)).tolist() == [[1, 2, 0, 0]]


def test_each_class_may_be_parted():
    y, x = np.indices((40, 60))
    discs = ((y - 20) ** 2 + (x - 15) ** 2 < 100) | ((y - 20) ** 2 + (x - 31) ** 2 < 100)
    other = (y - 20) ** 2 + (x - 50) ** 2 < 64
    other &= ~discs
    maps = np.stack([~(discs | other), discs, other]).astype(np.float32)
    prediction = Prediction(maps, ("background", "a", "b"))
    assert Classes().decode(prediction).max() == 2
    assert Classes(each="watershed").decode(prediction).max() == 3


def test_one_class_is_refused():
    assert "needs two or more channels" in Classes().refuses(("background", "boundary", "a"), 2)
    with pytest.raises(OptionError, match="did you mean 'watershed'"):
        Classes(each="watersheds")
