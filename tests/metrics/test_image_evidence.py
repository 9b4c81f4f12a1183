"""Worked by hand first, then identities, then plain loops over pixels as a second opinion."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import rankdata

from onnx_cte.metrics.image_evidence import (
    between_share,
    liu_yang_f,
    region_entropy,
    ring_share,
    zeboudj_contrast,
)
from onnx_cte.metrics.outlines import is_flat, outline_rank

FUNCTIONS = [
    outline_rank,
    between_share,
    ring_share,
    zeboudj_contrast,
    liu_yang_f,
    region_entropy,
]
EACH = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
close = pytest.approx


def scene(shape=(24, 30), seed=0, noise=0.3):
    """Two bright balls on a slope with noise, and a mask that is a little off."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    discs = [
        sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < 25
        for centre in ([8] * len(shape), [16] * len(shape))
    ]
    truth = discs[0] | discs[1]
    image = truth + 0.02 * grid[-1] + rng.normal(0, noise, shape)
    return image, np.roll(truth, 1, axis=-1)


STEP = np.repeat([[0, 0, 0, 0, 9, 9, 9, 9]], 4, axis=0)


def columns(first):
    return np.arange(8) + 0 * STEP >= first


@pytest.mark.parametrize(
    ("first", "expected"),
    # The gradient falls with the distance from the step: of eight columns, two have each value,
    # with the middle ranks 7/8, 5/8, 3/8 and 1/8 from the step outwards.
    [(4, 7 / 8), (3, (7 + 5) / 16), (2, (5 + 3) / 16), (1, (3 + 1) / 16)],
)
def test_outline_rank_of_a_step(first, expected):
    assert outline_rank(STEP, columns(first)) == close(expected, abs=1e-12)


def test_outlines_of_a_mask_and_its_complement_are_the_same():
    image, mask = scene()
    assert outline_rank(image, mask) == outline_rank(image, ~mask)


def test_outline_rank_is_chance_where_the_mask_ignores_the_image():
    rng = np.random.default_rng(1)
    image, _ = scene((64, 64))
    found = [outline_rank(image, rng.random((64, 64)) < 0.2) for _ in range(5)]
    assert np.mean(found) == close(0.5, abs=0.02)


def test_outline_rank_does_not_see_a_hot_pixel():
    image, mask = scene()
    hot = image.copy()
    hot[1, 1] = 1e6
    assert outline_rank(hot, mask) == close(outline_rank(image, mask), abs=0.1)


def test_sigma_is_used():
    image, mask = scene()
    assert outline_rank(image, mask, sigma=3) != outline_rank(image, mask)


@pytest.mark.parametrize(
    ("image", "mask", "expected"),
    [
        ([0, 0, 2, 2, 4, 4], [0, 0, 0, 0, 1, 1], 0.75),  # (1/3)(2/3) 3^2 over 8/3
        ([0, 0, 7, 7], [0, 0, 1, 1], 1.0),
        ([0, 7, 0, 7], [0, 0, 1, 1], 0.0),
        ([5, 5, 1, 1], [0, 0, 2, 3], 1.0),
    ],
)
def test_between_share(image, mask, expected):
    assert between_share(np.array(image), np.array(mask)) == close(expected, abs=1e-12)


def test_ring_share_sees_the_neighbourhood_alone():
    image, mask = np.array([0, 0, 2, 4, 4, 2, 9]), np.array([0, 0, 0, 1, 1, 0, 0])
    assert ring_share(image, mask, width=1) == 1.0
    # With two pixels on each side the means are 4 and 13/4.
    near = np.array([0, 2, 4, 4, 2, 9.0])
    expected = (1 / 3) * (2 / 3) * (4 - 13 / 4) ** 2 / near.var()
    assert ring_share(image, mask, width=2) == close(expected)
    assert ring_share(image, mask, width=99) == close(between_share(image, mask))


def test_ring_share_where_only_the_far_side_of_the_image_varies():
    image, mask = np.array([3, 3, 3, 3, 3, 8]), np.array([0, 1, 0, 0, 0, 0])
    assert ring_share(image, mask, width=2) == 0.0


@pytest.mark.parametrize(
    ("image", "mask", "expected"),
    [
        # Background: steps 1/4 within, 3/4 across: 1 - 1/3. Foreground: 0 within, 3/4 across.
        ([[0, 1, 4, 4]], [[0, 0, 1, 1]], (2 / 3 + 3 / 4) / 2),
        ([[0, 8, 8, 0]], [[0, 0, 1, 1]], 0.0),  # all steps within
        ([[0, 0], [0, 8]], [[0, 0], [0, 1]], 1.0),  # neighbours at a corner count
        # Three regions: 0 0 | 4 | 0 | 8 8, but the background, 0 0 and 0, is one.
        ([[0, 0, 4, 0, 8, 8]], [[0, 0, 1, 0, 1, 1]], (3 * 0.75 + 1 * 0.5 + 2 * 1) / 6),
    ],
)
def test_zeboudj_contrast(image, mask, expected):
    assert zeboudj_contrast(np.array(image), np.array(mask)) == close(expected, abs=1e-12)


def test_liu_yang_f():
    image = np.array([[0, 0, 2, 2, 4, 4]])
    # sqrt(2) (4 / sqrt(4) + 0) over 16 / sqrt(6)
    expected = math.sqrt(2) * 2 / (16 / math.sqrt(6))
    assert liu_yang_f(image, np.array([[0, 0, 0, 0, 1, 1]])) == close(expected)
    assert liu_yang_f(np.array([[1, 1, 5]]), np.array([[0, 0, 1]])) == 0.0
    # Two pieces: sqrt(3) for the number of regions.
    mask = np.array([[1, 0, 0, 0, 1, 1]])
    errors = (4 - 4 / 3) * 1 / math.sqrt(3)  # of 0 2 2: squares 8, less 16/3
    assert liu_yang_f(image, mask) == close(math.sqrt(3) * errors / (16 / math.sqrt(6)))


def test_region_entropy_is_that_of_the_layout_and_of_the_regions():
    image, mask = np.array([[0, 0, 9, 9]]), np.array([[0, 0, 0, 1]])
    layout = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    within = 0.75 * -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    assert region_entropy(image, mask) == close(layout + within)


def test_region_entropy_bins_grey_levels():
    image, mask = np.arange(8.0)[None], np.array([[0] * 4 + [1] * 4])
    assert region_entropy(image, mask, levels=2) == close(math.log(2))
    assert region_entropy(image, mask, levels=4) == close(math.log(4))
    assert region_entropy(image, mask) == close(math.log(8))


def test_region_entropy_counts_and_sorts_alike():
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 9, (40, 40)), rng.random((40, 40)) < 0.3
    few, many = (region_entropy(image, mask, levels=levels) for levels in (9, 9 * 4096))
    assert few == close(many)


@EACH
@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (STEP, STEP * 0),
        (STEP, STEP * 0 + 1),
        (STEP * 0 + 7, columns(4)),
        (np.where(columns(7), np.nan, STEP), columns(4)),
        (np.where(columns(7), np.inf, STEP), columns(4)),
        (np.zeros((0, 4)), np.zeros((0, 4), bool)),
        (np.ones((1, 1)), np.ones((1, 1), bool)),
    ],
    ids=["nothing", "everything", "constant", "nan", "infinite", "no pixels", "one pixel"],
)
def test_nothing_to_compare_is_undefined(function, image, mask):
    assert math.isnan(function(image, mask))


@EACH
def test_shapes_must_agree(function):
    with pytest.raises(ValueError, match=r"shapes differ: \(4, 8\) and \(4, 7\)"):
        function(STEP, columns(4)[:, :7])


@EACH
@pytest.mark.parametrize("shape", [(24, 30), (20, 22, 24)], ids=["plane", "volume"])
def test_neither_scale_nor_offset_nor_the_type_matters(function, shape):
    image, mask = scene(shape)
    levels = np.round(100 * (image - image.min()))
    expected = function(levels, mask)
    for same in (
        levels.astype(np.uint16),
        levels.astype(np.float32),
        levels.astype(np.int64) * 1000 - 12345,
        levels.astype(np.float16),
    ):
        assert function(same, mask.astype(np.uint8) * 3) == close(expected, rel=1e-6)


@EACH
@pytest.mark.parametrize("shape", [(24, 30), (20, 22, 24)], ids=["plane", "volume"])
def test_turning_the_image_turns_nothing(function, shape):
    image, mask = scene(shape)
    turned = function(image.swapaxes(0, -1)[::-1], mask.swapaxes(0, -1)[::-1])
    assert turned == close(function(image, mask), rel=1e-9)


@EACH
def test_the_right_mask_beats_one_elsewhere(function):
    image, mask = scene(noise=0.05)
    right, elsewhere = (np.roll(mask, by, axis=1) for by in (-1, 8))
    better = function(image, right) - function(image, elsewhere)
    # The layout is the same, so that E, too, tells them apart.
    assert better < 0 if function in (liu_yang_f, region_entropy) else better > 0


@EACH
def test_no_image_overflows(function):
    image = np.array([[-1, -1, 1, 1]]) * np.finfo(np.float64).max
    assert math.isfinite(function(image, np.array([[0, 0, 1, 1]])))


def test_truth_and_colour_of_a_bool_image():
    mask = columns(4)
    assert between_share(mask, mask) == 1.0
    assert is_flat(np.zeros((3, 3), bool))
    assert not is_flat(mask)


# A second opinion, pixel by pixel.


def neighbours(at, shape, faces):
    for offset in itertools.product((-1, 0, 1), repeat=len(shape)):
        steps = sum(map(abs, offset))
        there = tuple(a + o for a, o in zip(at, offset, strict=True))
        inside = all(0 <= t < s for t, s in zip(there, shape, strict=True))
        if steps and inside and (steps == 1 or not faces):
            yield there


def regions_of(mask):
    """Label by flooding."""
    labels, count = np.zeros(mask.shape, int), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        count += 1
        waiting = [start]
        labels[start] = count
        while waiting:
            for there in neighbours(waiting.pop(), mask.shape, faces=False):
                if mask[there] and not labels[there]:
                    labels[there] = count
                    waiting.append(there)
    return labels


CASES = pytest.mark.parametrize("shape", [(13, 17), (7, 8, 9)], ids=["plane", "volume"])


def case(shape):
    rng = np.random.default_rng(3)
    return rng.normal(size=shape), rng.random(shape) < 0.12


@CASES
def test_zeboudj_contrast_by_loops(shape):
    image, mask = case(shape)
    labels = regions_of(mask)
    assert labels.max() > 3
    grey = image / (image.max() - image.min())
    total = 0.0
    for label in range(labels.max() + 1):
        within, across = [], []
        for at in zip(*np.nonzero(labels == label), strict=True):
            around = list(neighbours(at, shape, faces=False))
            own = [abs(grey[at] - grey[n]) for n in around if labels[n] == label]
            others = [abs(grey[at] - grey[n]) for n in around if labels[n] != label]
            within.append(max(own, default=0))
            across += [max(others)] if others else []
        inner, outer = np.mean(within), np.mean(across)
        contrast = outer if inner == 0 else 1 - inner / outer if inner < outer else 0
        total += len(within) * contrast / image.size
    assert zeboudj_contrast(image, mask) == close(total)


@CASES
def test_f_and_e_by_loops(shape):
    image, mask = case(shape)
    labels = regions_of(mask)
    numbers = range(labels.max() + 1)
    parts = [image[labels == number] for number in numbers]
    errors = sum(part.var() * len(part) / math.sqrt(len(part)) for part in parts)
    whole = image.var() * image.size / math.sqrt(image.size)
    assert liu_yang_f(image, mask) == close(math.sqrt(len(parts)) * errors / whole)
    edges = np.linspace(image.min(), image.max(), 17)
    entropy = 0.0
    for part in parts:
        share = len(part) / image.size
        levels = np.histogram(part, edges)[0] / len(part)
        levels = levels[levels > 0]
        entropy += -share * math.log(share) - share * (levels * np.log(levels)).sum()
    assert region_entropy(image, mask, levels=16) == close(entropy)


@CASES
def test_outline_and_ring_by_loops(shape):
    image, mask = case(shape)
    along = np.array(
        [
            any(mask[n] != mask[at] for n in neighbours(at, shape, faces=True))
            for at in np.ndindex(*shape)
        ]
    )
    steep = np.linalg.norm(smooth_gradient(image), axis=0)
    ranks = (rankdata(steep) - 0.5) / image.size
    assert outline_rank(image, mask) == close(ranks[along].mean(), abs=1e-9)
    places = np.argwhere(mask)
    near = np.array(
        [np.abs(places - at).max(axis=1).min() <= 2 for at in np.ndindex(*shape)]
    ).reshape(shape)
    inside, levels = mask[near], image[near]
    share = inside.mean()
    step = levels[inside].mean() - levels[~inside].mean()
    expected = share * (1 - share) * step**2 / levels.var()
    assert ring_share(image, mask, width=2) == close(expected)


def smooth_gradient(image):
    """Derivatives of the image under a Gaussian of sigma 1, cut at 4, edges mirrored."""
    reach = np.arange(-4, 5)
    bell = np.exp(-(reach**2) / 2)
    bell /= bell.sum()

    def along(values, axis, weights):
        padded = np.pad(
            values, [(4, 4) if a == axis else (0, 0) for a in range(values.ndim)], "symmetric"
        )
        sides = np.lib.stride_tricks.sliding_window_view(padded, 9, axis)
        return sides @ weights

    found = []
    for axis in range(image.ndim):
        part = image
        for other in range(image.ndim):
            part = along(part, other, bell * (reach if other == axis else 1))
        found.append(part.ravel())
    return np.array(found)
