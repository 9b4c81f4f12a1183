"""Boundary evidence: by hand, against plain loops, and what tells figure from ground."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_gradient_magnitude
from scipy.stats import rankdata

from onnx_cte.metrics.outlines import boundary_rank, outline_of, outline_rank

close = pytest.approx
EDGES = np.repeat([[0, 0, 0, 0, 9, 9, 9, 9]], 4, axis=0)


def spots(side=64, seed=0):
    """Bright discs away from the frame, on noise; and where they are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    mask = np.zeros((side, side), bool)
    for centre in ((16, 16), (16, 46), (46, 30)):
        mask |= (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 50
    return mask + rng.normal(0, 0.1, mask.shape), mask


def by_loops(pixels, regions):
    """Pixel by pixel, neighbour by neighbour; holes by flooding from the frame."""
    steep = gaussian_gradient_magnitude(pixels.astype(float), 1.0)
    ranks = (rankdata(np.round(steep, 12)).reshape(steep.shape) - 0.5) / steep.size
    height, width = pixels.shape
    outside = {
        (y, x)
        for y in range(height)
        for x in range(width)
        if regions[y, x] == 0 and (y in (0, height - 1) or x in (0, width - 1))
    }
    front = list(outside)
    while front:
        y, x = front.pop()
        for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            within = 0 <= near[0] < height and 0 <= near[1] < width
            if within and near not in outside and regions[near] == 0:
                outside.add(near)
                front.append(near)
    total, count = 0.0, 0
    for y in range(height):
        for x in range(width):
            apart, good = False, False
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if not (0 <= near[0] < height and 0 <= near[1] < width):
                    frame = regions[y, x] != 0
                    apart, good = apart or frame, good or frame
                elif regions[near] != regions[y, x]:
                    holes = [p for p in ((y, x), near) if regions[p] == 0 and p not in outside]
                    apart, good = True, good or not holes
            count += apart
            total += ranks[y, x] if good else 0
    return total / count if count else math.nan


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["mask", "classes"])
def test_like_plain_loops(kind, seed):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(14, 17))
    regions = rng.integers(0, 2 if kind == "mask" else 4, image.shape)
    assert boundary_rank(image, regions) == close(by_loops(image, regions), abs=1e-6)


def test_a_step_by_hand():
    # Outline of the right half: columns 3 and 4 of the step (rank 7/8, four pixels each), and the
    # frame: of the last column all (1/8), of the first and last row columns 4 to 7 (7, 5, 3, 1
    # eighths). 4 + 4 + 4 + 2 * 2 pixels; the ends of rows are in there once.
    expected = (8 * 7 + 4 * 1 + 2 * (5 + 3)) / 8 / 16
    assert boundary_rank(EDGES, EDGES > 0) == close(expected, abs=1e-12)


def test_within_the_image_it_is_the_rank_of_the_outline():
    image, mask = spots()
    assert boundary_rank(image, mask) == close(outline_rank(image, mask), abs=1e-12)


def test_the_inverse_of_a_mask_follows_the_image_less():
    image, mask = spots()
    assert outline_rank(image, mask) == close(outline_rank(image, ~mask), abs=1e-12)
    assert boundary_rank(image, mask) > 0.9
    assert boundary_rank(image, ~mask) < 0.3


def test_a_hole_counts_against_a_mask_and_an_opened_one_does_not():
    image, mask = spots()
    ring = mask.copy()
    ring[14:19, 14:19] = False
    opened = ring.copy()
    opened[:16, 16] = False
    assert boundary_rank(image, ring) < boundary_rank(image, opened) < boundary_rank(image, mask)


def test_everything_is_foreground():
    image, _ = spots()
    assert boundary_rank(image, np.ones(image.shape, bool)) == close(0.5, abs=0.15)


def test_touching_objects_have_an_outline_between_them():
    regions = np.array([[0, 0, 0, 0], [1, 1, 2, 2], [0, 0, 0, 0]])
    assert outline_of(regions)[1].all()
    image = np.zeros((9, 12))
    image[:, 6:] = 1.0  # a step between two objects that are as bright as their surroundings
    two = np.zeros((9, 12), int)
    two[2:7, 3:6], two[2:7, 6:9] = 1, 2
    assert boundary_rank(image, two) > boundary_rank(image, two > 0)


@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 6)])
def test_undefined_where_there_is_nothing_to_follow(shape):
    rng = np.random.default_rng(0)
    image, nothing = rng.normal(size=shape), np.zeros(shape, bool)
    assert math.isnan(boundary_rank(image, nothing))
    assert math.isnan(boundary_rank(np.ones(shape), ~nothing))
    assert math.isnan(boundary_rank(np.full(shape, np.nan), ~nothing))
    assert 0 <= boundary_rank(image, ~nothing) <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_blind_to_scale_offset_and_dtype(dtype):
    image = (spots()[0] * 50 + 100).clip(0, 255).round()
    mask = spots()[1]
    assert boundary_rank(image.astype(dtype), mask) == close(boundary_rank(image, mask), abs=1e-6)
    assert boundary_rank(3 * image + 7, mask) == close(boundary_rank(image, mask), abs=1e-6)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shapes differ"):
        boundary_rank(np.zeros((3, 4)), np.zeros((4, 3), bool))
