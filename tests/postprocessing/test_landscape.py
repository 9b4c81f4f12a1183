"""Distances and the parting at necks: by hand, and against SciPy and a slow watershed."""

import numpy as np
import pytest
import scipy.ndimage

from onnx_cte.postprocessing.labelling import components
from onnx_cte.postprocessing.landscape import distances, parted, smoothed


def row(*heights):
    return np.array([heights], np.float32)


def part(heights, *, neck=1.0, seed_distance=0.0, connectivity="full"):
    heights = np.asarray(heights, np.float32)
    return parted(heights > 0, heights, connectivity, seed_distance, neck)


def same_partition(a, b):
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == pairs.shape[1] == len(np.unique(pairs[1]))


def test_distances_by_hand():
    mask = np.ones((3, 5), bool)
    mask[1, 2] = False
    far, near = np.sqrt(5, dtype=np.float32), np.sqrt(2, dtype=np.float32)
    assert distances(mask).tolist() == [
        [far, near, 1, near, far],
        [2, 1, 0, 1, 2],
        [far, near, 1, near, far],
    ]


@pytest.mark.parametrize(
    "shape", [(1, 40), (40, 1), (37, 53), (64, 33), (9, 14, 11), (70, 5, 6), (1, 1, 30)]
)
@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_distances_are_those_of_scipy(shape, share):
    mask = np.random.default_rng(3).random(shape) > share
    mask.flat[-1] = False
    exact = scipy.ndimage.distance_transform_edt(mask)
    np.testing.assert_array_equal(distances(mask), exact.astype(np.float32))


@pytest.mark.parametrize("side", [179, 180, 181, 260])
def test_far_distances_are_those_of_scipy_too(side):
    mask = np.ones((side + 1, 40), bool)
    mask[0] = False
    found = distances(mask)
    assert found.dtype == np.float32
    assert found.max() == side
    np.testing.assert_array_equal(found, scipy.ndimage.distance_transform_edt(mask))


def test_without_an_outside_every_distance_is_one():
    assert (distances(np.ones((4, 3), bool)) == 1).all()
    assert not distances(np.zeros((4, 3), bool)).any()


def test_smoothing_with_zero_changes_nothing():
    heights = np.random.default_rng(0).random((5, 5), np.float32)
    assert smoothed(heights, 0) is heights
    assert smoothed(heights, 2).std() < heights.std()


def test_two_peaks_are_two_parts():
    # The pass is at the third pixel, which goes to its higher neighbour.
    assert part(row(1, 3, 2, 5, 1)).tolist() == [[1, 1, 2, 2, 2]]


@pytest.mark.parametrize(("neck", "parts"), [(0, 1), (0.6, 1), (0.67, 2), (1, 2)])
def test_a_neck_is_measured_by_the_lower_peak(neck, parts):
    # 2 is two thirds of 3, the lower peak.
    assert len(np.unique(part(row(1, 3, 2, 5, 1), neck=neck))) == parts


def test_peaks_that_are_near_are_one_seed():
    heights = row(1, 3, 1, 5, 1, 1, 1, 4, 1)
    assert part(heights, seed_distance=2).max() == 3
    assert len(np.unique(part(heights, seed_distance=2.1))) == 2
    assert len(np.unique(part(heights, seed_distance=4.1))) == 1


def test_what_was_united_counts_with_its_highest_peak():
    # 4 and 3 are united by the pass at 2.9; 2.2 is 0.55 of the 4 that then faces the 9.
    heights = row(4, 2.9, 3, 2.2, 9)
    assert same_partition(part(heights, neck=0.6), np.array([[1, 1, 1, 2, 2]]))
    assert len(np.unique(part(heights, neck=0.5))) == 1


def test_a_plateau_is_one_part():
    assert (part(np.ones((6, 9))) == 1).all()
    assert (part(np.ones((6, 9)), connectivity="face") == 1).all()
    ring = np.ones((7, 7))
    ring[1:-1, 1:-1] = 0
    # Two ends of a plateau meet at a pass that is as high as their peaks.
    assert len(np.unique(part(ring, neck=1.0))) == 2


def test_parts_end_at_the_mask():
    mask = np.array([[1, 1, 0, 1, 1]], bool)
    heights = np.ones((1, 5), np.float32)
    heights[0, 2] = 9
    assert len(np.unique(parted(mask, heights, "full", 100, 0))) == 3


def test_corners_lead_on_only_if_they_are_to():
    heights = np.array([[3, 0], [0, 5]])
    assert len(np.unique(part(heights, neck=0))) == 2
    assert len(np.unique(part(heights, neck=0, connectivity="face"))) == 3


def climbed(heights, connectivity):
    """Basin of each pixel by walking uphill one step at a time."""
    found = np.zeros(heights.shape, int)
    for place in np.argwhere(heights > 0):
        at = tuple(place)
        while True:
            around = []
            for step in np.ndindex(*(3,) * heights.ndim):
                offset = np.array(step) - 1
                if connectivity == "face" and np.abs(offset).sum() > 1:
                    continue
                there = np.array(at) + offset
                if (there >= 0).all() and (there < heights.shape).all():
                    there = tuple(map(int, there))
                    if heights[there] > 0:
                        around.append((-heights[there], there))
            best = min(around)[1]
            if best == at:
                break
            at = best
        found[tuple(place)] = 1 + np.ravel_multi_index(at, heights.shape)
    return found


@pytest.mark.parametrize("connectivity", ["full", "face"])
@pytest.mark.parametrize("shape", [(12, 15), (5, 6, 7)])
@pytest.mark.parametrize("levels", [4, 1000])
def test_basins_are_those_of_a_walk_uphill(shape, connectivity, levels):
    rng = np.random.default_rng(7)
    heights = np.ceil(rng.random(shape) * levels).astype(np.float32) * (rng.random(shape) > 0.2)
    found = part(heights, neck=1.0, connectivity=connectivity)
    walked = climbed(heights, connectivity)
    # On plateaus several ends of walks are one object: it is a union of them.
    assert ((found > 0) == (walked > 0)).all()
    owners = {}
    for basin, label in zip(walked.ravel(), found.ravel(), strict=True):
        assert owners.setdefault(basin, label) == label
    if levels == 1000:
        assert len(np.unique(found)) == len(np.unique(walked))


@pytest.mark.parametrize("connectivity", ["full", "face"])
@pytest.mark.parametrize("neck", [0.0, 0.5, 0.9, 1.0])
def test_every_part_is_one_component(connectivity, neck):
    rng = np.random.default_rng(5)
    heights = scipy.ndimage.gaussian_filter(rng.random((60, 60)), 2).astype(np.float32)
    mask = heights > np.median(heights)
    found = parted(mask, heights, connectivity, 3, neck)
    assert ((found > 0) == mask).all()
    for label in np.unique(found[mask]):
        assert components(found == label, connectivity).max() == 1
    if neck == 0:
        assert same_partition(found, components(mask, connectivity))


def test_a_wider_neck_parts_no_less():
    rng = np.random.default_rng(6)
    heights = scipy.ndimage.gaussian_filter(rng.random((80, 80)), 2).astype(np.float32)
    counts = [len(np.unique(part(heights, neck=neck))) for neck in (0, 0.8, 0.9, 0.95, 1)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
