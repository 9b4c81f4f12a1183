"""Seeded growth: by hand, and held against the definition of a watershed."""

import heapq

import numpy as np
import pytest
import scipy.ndimage
import skimage.morphology
import skimage.segmentation

from onnx_cte.postprocessing.growing import grown, grown_within


def row(*values, dtype=np.int32):
    return np.array([values], dtype)


def everywhere(array):
    return np.ones(array.shape, bool)


def test_seeds_meet_at_the_ridge():
    seeds = row(1, 0, 0, 0, 0, 2)
    heights = row(0, 0.2, 0.9, 0.4, 0.2, 0, dtype=np.float32)
    assert grown(seeds, everywhere(seeds), heights, "face")[0].tolist()[:2] == [1, 1]
    assert grown(seeds, everywhere(seeds), heights, "face")[0].tolist()[3:] == [2, 2, 2]


def test_a_plateau_is_shared_fairly():
    seeds = np.zeros((5, 9), np.int32)
    seeds[:, 0], seeds[:, -1] = 3, 1
    found = grown(seeds, everywhere(seeds), np.zeros(seeds.shape, np.float32), "face")
    assert (found[:, :4] == 3).all()
    assert (found[:, 5:] == 1).all()
    assert (found > 0).all()


def test_low_ground_behind_a_ridge_belongs_to_who_climbs_less():
    heights = row(0, 0.3, 0.1, 0.1, 0.1, 0.8, 0, dtype=np.float32)
    for seeds, ridge in ((row(1, 0, 0, 0, 0, 0, 2), (1, 2)), (row(2, 0, 0, 0, 0, 0, 1), (1, 2))):
        found = grown(seeds, everywhere(seeds), heights, "face")[0]
        assert (found[:5] == seeds[0, 0]).all()
        assert found[5] in ridge
        assert found[6] == seeds[0, 6]


def test_growth_ends_at_the_mask_and_seeds_keep_their_pixels():
    seeds = row(1, 0, 0, 0, 2)
    mask = row(0, 1, 0, 1, 0, dtype=bool)
    heights = np.zeros((1, 5), np.float32)
    assert grown(seeds, mask, heights, "face").tolist() == [[1, 1, 0, 2, 2]]
    assert seeds.tolist() == [[1, 0, 0, 0, 2]]


def test_what_no_seed_reaches_stays_free():
    seeds = row(1, 0, 0, 0, 0)
    mask = row(1, 1, 0, 1, 1, dtype=bool)
    assert grown(seeds, mask, np.zeros((1, 5), np.float32), "full").tolist() == [[1, 1, 0, 0, 0]]
    assert not grown(np.zeros_like(seeds), mask, np.zeros((1, 5), np.float32), "full").any()


def test_corners_are_passed_only_if_they_are_to():
    seeds = np.array([[1, 0], [0, 0]], np.int32)
    mask = np.array([[1, 0], [0, 1]], bool)
    heights = np.zeros((2, 2), np.float32)
    assert grown(seeds, mask, heights, "face").tolist() == [[1, 0], [0, 0]]
    assert grown(seeds, mask, heights, "full").tolist() == [[1, 0], [0, 1]]


def lowest_climb(seeds, mask, levels):
    """(labels + 1, pixels) least height at which each pixel is reached from each seed."""
    found = np.full((seeds.max() + 1, *seeds.shape), np.inf)
    for label in range(1, seeds.max() + 1):
        queue = [(-1, tuple(map(int, place))) for place in np.argwhere(seeds == label)]
        for height, place in queue:
            found[(label, *place)] = height
        while queue:
            height, place = heapq.heappop(queue)
            for axis in range(seeds.ndim):
                for step in (-1, 1):
                    there = list(place)
                    there[axis] += step
                    there = tuple(there)
                    if not all(0 <= p < side for p, side in zip(there, seeds.shape, strict=True)):
                        continue
                    if seeds[there] or not mask[there]:
                        continue
                    reached = max(height, int(levels[there]))
                    if reached < found[(label, *there)]:
                        found[(label, *there)] = reached
                        heapq.heappush(queue, (reached, there))
    return found


@pytest.mark.parametrize("shape", [(24, 31), (7, 9, 8), (1, 60)])
def test_every_pixel_goes_to_a_seed_that_climbs_least(shape):
    rng = np.random.default_rng(2)
    heights = scipy.ndimage.gaussian_filter(rng.random(shape), 1).astype(np.float32)
    heights = (heights - heights.min()) / np.ptp(heights)
    seeds = np.zeros(shape, np.int32)
    for label, place in enumerate(rng.integers(0, shape, (5, len(shape))), start=1):
        seeds[tuple(place)] = label
    mask = rng.random(shape) > 0.1
    found = grown(seeds, mask, heights, "face")
    climbs = lowest_climb(seeds, mask, np.minimum(np.floor(heights * 64), 63))
    reached = np.isfinite(climbs.min(axis=0))
    np.testing.assert_array_equal(found > 0, reached)
    own = np.take_along_axis(climbs, found[np.newaxis].astype(int), axis=0)[0]
    np.testing.assert_array_equal(own[reached], climbs.min(axis=0)[reached])


def test_it_agrees_with_the_watershed_of_scikit_image():
    rng = np.random.default_rng(4)
    heights = scipy.ndimage.gaussian_filter(rng.random((256, 256)), 8)
    heights = ((heights - heights.min()) / np.ptp(heights)).astype(np.float32)
    rounded = np.floor(heights * 64)
    # Every basin has a seed: who gets one without is decided by a single pixel of a pass.
    seeds = scipy.ndimage.label(skimage.morphology.local_minima(rounded))[0].astype(np.int32)
    assert seeds.max() > 40
    mask = heights < 0.9
    found = grown(seeds, mask, heights, "face")
    theirs = skimage.segmentation.watershed(rounded, seeds, mask=mask)
    np.testing.assert_array_equal(found > 0, theirs > 0)
    assert (found == theirs).mean() > 0.93
    # Ties move a line between two basins by a pixel or so; away from lines there are none.
    inside = scipy.ndimage.maximum_filter(theirs, 7) == scipy.ndimage.minimum_filter(theirs, 7)
    assert inside.mean() > 0.5
    assert (found == theirs)[inside].mean() > 0.985


def test_seeds_part_a_region_and_what_has_none_stays_whole():
    region = row(1, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, dtype=bool)
    inner = row(1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, dtype=bool)
    heights = row(0, 0.5, 1, 0.5, 0, 0, 0, 0, 0, 0, 0, 0, dtype=np.float32)
    found = grown_within(inner, region, heights, "full", 1)[0]
    assert found[0] == found[1] != found[3] == found[4]
    assert found[2] in (found[0], found[4])
    assert len({*found[[0, 4, 6, 9]].tolist()}) == 4
    assert found[6] == found[7]
    assert found[9] == found[10] == found[11]
    assert found[5] == found[8] == 0


def test_specks_are_no_seeds():
    region = row(1, 1, 1, 1, 1, 1, dtype=bool)
    inner = row(1, 1, 0, 0, 1, 0, dtype=bool)
    heights = np.zeros((1, 6), np.float32)
    assert len(set(grown_within(inner, region, heights, "full", 1)[0].tolist())) == 2
    assert len(set(grown_within(inner, region, heights, "full", 2)[0].tolist())) == 1
    # Nor does a speck alone take from a region that it is one object.
    assert (grown_within(inner, region, heights, "full", 9) > 0).all()
