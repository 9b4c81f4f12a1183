"""Cells from their membranes: a grid of cells, gaps, faint membranes and the background rule."""

import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing import Boundary
from onnx_cte.postprocessing.membranes import without_background
from onnx_cte.types import Prediction


def grid(cells=3, side=12, wall=0.9, around=True):
    """Square cells of `side` px between walls of one px; with a wall at the edge, or without."""
    count = cells * (side + 1) + 1
    lines = np.arange(count) % (side + 1) == 0
    maps = np.where(lines[:, None] | lines, np.float32(wall), np.float32(0.05))
    return maps if around else maps[1:-1, 1:-1]


def seen(boundary, roles=("boundary",), threshold=0.5):
    return Prediction(np.asarray(boundary, np.float32)[np.newaxis], roles, threshold)


def test_the_cells_of_a_grid_are_found_and_fill_it():
    found = Boundary().decode(seen(grid(around=False)))
    assert found.max() == 9
    assert (found > 0).all()
    for row in range(3):
        for column in range(3):
            inner = found[row * 13 : row * 13 + 12, column * 13 : column * 13 + 12]
            assert (inner == 3 * row + column + 1).all()


def test_without_filling_the_walls_stay():
    boundary = grid()
    found = Boundary(fill=False).decode(seen(boundary))
    assert found.max() == 9
    np.testing.assert_array_equal(found > 0, boundary <= 0.5)


def test_the_threshold_is_the_predictions():
    boundary = grid(wall=0.4)
    assert Boundary(neck=0, background_factor=0).decode(seen(boundary)).max() == 1
    assert Boundary(neck=0).decode(seen(boundary, threshold=0.3)).max() == 9


def test_a_cell_is_cut_where_its_membrane_has_a_gap():
    boundary = grid(cells=2, side=20)
    boundary[8:12, 21] = 0  # four px of the wall between the upper two
    assert Boundary(neck=0).decode(seen(boundary)).max() == 3
    found = Boundary().decode(seen(boundary))
    assert found.max() == 4
    assert (found[2:19, 3:19] == 1).all()
    assert (found[2:19, 24:40] == 2).all()


def test_a_membrane_that_is_too_faint_for_the_threshold_still_parts():
    boundary = grid(cells=2, side=20)
    boundary[1:21, 20:23] = 0.45
    assert Boundary(neck=0, seed_smoothing=0).decode(seen(boundary)).max() == 3
    assert Boundary(neck=0.9, seed_smoothing=0).decode(seen(boundary)).max() >= 4


def test_a_thin_diagonal_membrane_is_closed():
    boundary = np.eye(30)
    assert Boundary(background_factor=0).decode(seen(boundary)).max() == 2


def test_small_cells_go_to_their_neighbours():
    boundary = grid(around=False)
    boundary[3, 3:7] = boundary[6, 3:7] = boundary[3:7, 3] = boundary[3:7, 6] = 1  # 4 px inside
    kept = Boundary(min_size=0).decode(seen(boundary))
    assert kept.max() == 10
    found = Boundary(min_size=40).decode(seen(boundary))
    assert found.max() == 9
    assert (found[:12, :12] == 1).all()
    bare = Boundary(min_size=40, fill=False).decode(seen(boundary))
    assert (bare[4:6, 4:6] == 0).all()


def test_what_is_far_larger_than_the_cells_is_background():
    boundary = np.pad(grid(), 40)
    # 9 cells, and the field around them: 6 times as large as one of them.
    found = Boundary().decode(seen(boundary))
    assert found.max() == 9
    assert found[0, 0] == 0
    assert Boundary(background_factor=0).decode(seen(boundary)).max() == 10
    assert Boundary(background_factor=1000).decode(seen(boundary)).max() == 10


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ([5], [5]),  # the only one stays
        ([1, 100], [1, 100]),  # the median is 50.5
        ([1, 1, 4], [1, 1, 4]),  # four times the median is not more than that
        ([1, 1, 5], [1, 1]),
        ([1, 1, 1, 9, 8], [1, 1, 1]),  # the median stays 1 after the first is gone
        ([2, 2, 2, 9, 8], [2, 2, 2, 8]),  # 8 is four times 2 and stays
        ([], []),
    ],
)
def test_the_rule_of_the_background(counts, kept):
    labels = np.repeat(np.arange(len(counts) + 1), [3, *counts])
    found = without_background(labels, 4)
    assert found.dtype == np.int32
    left = np.unique(found[found > 0], return_counts=True)
    assert left[1].tolist() == kept
    np.testing.assert_array_equal(found[found > 0], labels[found > 0])


def test_one_label_is_left_whatever_the_factor():
    labels = np.repeat([1, 2, 3], [5, 6, 7])
    assert np.unique(without_background(labels, 0)).tolist() == [0, 1]


def test_no_boundary_is_no_cell_and_neither_is_nothing_but_boundary():
    assert not Boundary().decode(seen(np.zeros((9, 9)))).any()
    assert (Boundary(background_factor=0).decode(seen(np.zeros((9, 9)))) == 1).all()
    assert not Boundary().decode(seen(np.ones((9, 9)))).any()


def test_the_channel_of_the_boundary_is_taken():
    maps = np.stack([1 - grid(), grid()])
    found = Boundary().decode(Prediction(maps, ("foreground", "boundary")))
    np.testing.assert_array_equal(found, Boundary().decode(seen(grid())))
    # A sole channel is always called foreground, whatever it holds.
    np.testing.assert_array_equal(found, Boundary().decode(seen(grid(), ("foreground",))))


def test_boxes_in_a_volume():
    boundary = np.full((13, 13, 26), 0.1)
    boundary[:, :, 12] = boundary[6] = 0.9
    found = Boundary().decode(seen(boundary))
    assert found.max() == 4
    assert (found > 0).all()
    assert found[0, 0, 0] == 1
    assert found[-1, -1, -1] == 4


def test_others_are_refused_and_options_checked():
    assert "needs a channel 'boundary'" in Boundary().refuses(("foreground", "channel1"), 2)
    with pytest.raises(OptionError, match="fill is 1, expected yes or no"):
        Boundary(fill=1)
    with pytest.raises(OptionError, match="background_factor is -1"):
        Boundary(background_factor=-1)
