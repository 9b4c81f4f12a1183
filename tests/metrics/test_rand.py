"""V^Rand: worked examples, pairs of pixels counted one by one, then beside scikit-image."""

import itertools
import math

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import adapted_rand_error

from onnx_cte.errors import OptionError
from onnx_cte.metrics.contingency import contingency
from onnx_cte.metrics.rand import interior, rand_fscore, rand_scores, rand_scores_of

NAN = math.nan


def close(value):
    return pytest.approx(value, abs=1e-12, nan_ok=True)


def labels(rows):
    return np.array(rows, np.int32)


def shifted_border():
    """V7: two objects side by side, and the border between them moved by a pixel."""
    t, s = np.zeros((2, 6, 8), np.int32)
    t[1:5, 1:4], t[1:5, 4:7] = 1, 2
    s[1:5, 1:5], s[1:5, 5:7] = 1, 2
    return t, s


@pytest.mark.parametrize(
    ("t", "s", "paper", "split", "merge", "pairs"),
    [
        pytest.param([[1, 1, 2, 2]], [[5, 5, 3, 3]], 1, 1, 1, 1, id="V1-other-numbers"),
        pytest.param([[1, 1, 2, 2]], [[1, 1, 1, 1]], 2 / 3, 1, 0.5, 0.5, id="V2-merged"),
        pytest.param([[1, 1, 1, 1]], [[1, 1, 2, 2]], 2 / 3, 0.5, 1, 0.5, id="V3-split"),
        pytest.param(
            [[1, 1, 1, 0, 0, 0]], [[0, 1, 1, 1, 0, 0]], 0.6, 0.6, 0.6, 1 / 3, id="V4-moved"
        ),
        pytest.param(
            [[1, 1, 0, 2], [1, 1, 0, 2], [0, 0, 0, 2]],
            [[1, 1, 0, 0], [1, 3, 0, 2], [0, 0, 0, 2]],
            0.75,
            0.6,
            1,
            8 / 13,
            id="V5",
        ),
        pytest.param([[1, 1], [1, 1]], [[0, 0], [0, 0]], 0.4, 0.25, 1, 0, id="V6-vanished"),
        pytest.param([[0, 0], [0, 0]], [[1, 1], [1, 1]], NAN, NAN, NAN, NAN, id="V6b-appeared"),
    ],
)
def test_worked_examples(t, s, paper, split, merge, pairs):
    t, s = labels(t), labels(s)
    assert rand_fscore(t, s, border=0, pairs=False) == close(paper)
    assert rand_fscore(t, s, border=0, pairs=False, alpha=0) == close(split)
    assert rand_fscore(t, s, border=0, pairs=False, alpha=1) == close(merge)
    assert rand_fscore(t, s, border=0) == close(pairs)
    found = rand_scores(t, s, border=0, pairs=False)
    assert (found.fscore, found.split, found.merge) == close((paper, split, merge))


def test_the_border_is_left_out_v7():
    t, s = shifted_border()
    assert rand_fscore(t, s, border=0, pairs=False) == close(0.7368421052631579)
    assert rand_fscore(t, s, border=0) == close(0.7142857142857143)
    assert rand_fscore(t, s) == 1.0
    inside = interior(t, 1) & ((t > 0) | (s > 0))
    assert np.argwhere(inside).tolist() == [[2, 2], [2, 5], [3, 2], [3, 5]]


def test_background_as_one_segment_calls_what_vanished_perfect():
    t, s = np.ones((2, 2), int), np.zeros((2, 2), int)
    assert rand_fscore(t, s, border=0, background="segment") == 1.0
    assert rand_fscore(t, s, border=0) == 0.0


def test_undefined_and_zero():
    nothing, whole = np.zeros((9, 9), int), np.ones((9, 9), int)
    thin, thick = nothing.copy(), nothing.copy()
    thin[4], thick[2:7] = 1, 1
    assert math.isnan(rand_fscore(nothing, nothing))
    assert math.isnan(rand_fscore(nothing, whole)), "the reference is empty"
    assert rand_fscore(whole, nothing) == 0, "the perturbed image is empty"
    assert rand_fscore(thick, nothing) == 0
    assert math.isnan(rand_fscore(thin, thin)), "nothing is left inside the border"
    assert math.isnan(rand_fscore(thin, nothing))
    assert rand_fscore(thin, whole) == 0, "what is left is grouped in the perturbed image alone"
    dots = np.zeros((9, 9), int)
    dots[::2, ::2] = np.arange(25).reshape(5, 5) + 1
    assert math.isnan(rand_fscore(dots, dots, border=0)), "no pair of pixels"
    assert rand_fscore(dots, dots, border=0, pairs=False) == 1
    assert rand_fscore(whole, whole) == 1, "no background"


def test_splitting_lowers_split_and_merging_lowers_merge():
    whole, parts = np.full((12, 12), 4), np.arange(12 * 12).reshape(12, 12) // 36 + 1
    split = rand_scores(whole, parts)
    assert (split.merge, split.split < 1) == (1, True)
    merged = rand_scores(parts, whole, border=0)
    assert (merged.split, merged.merge < 1) == (1, True)
    for one in (split, merged):
        assert min(one.split, one.merge) < one.fscore < 1


def by_pairs(t, s, alpha, pairs, region, background):
    """Eq. 6 by its meaning: every pair of pixels looked at, background pixels first told apart."""
    t, s = t.ravel().tolist(), s.ravel().tolist()
    kept = [i for i in range(len(t)) if region == "all" or t[i] or (region == "union" and s[i])]
    if background == "singletons":
        t = [value or ("alone", i) for i, value in enumerate(t)]
        s = [value or ("alone", i) for i, value in enumerate(s)]
    both = first = second = 0
    for i, j in itertools.product(kept, kept):
        if i == j and pairs:
            continue
        both += t[i] == t[j] and s[i] == s[j]
        first += t[i] == t[j]
        second += s[i] == s[j]
    whole = alpha * second + (1 - alpha) * first
    return [a / b if b else NAN for a, b in ((both, whole), (both, second), (both, first))]


@pytest.mark.parametrize("background", ["singletons", "segment"])
@pytest.mark.parametrize("region", ["union", "reference", "all"])
@pytest.mark.parametrize("pairs", [True, False])
def test_beside_pairs_counted_one_by_one(pairs, region, background):
    rng = np.random.default_rng(0)
    options = {"pairs": pairs, "region": region, "background": background}
    for shape, most, alpha in itertools.product([(3, 4), (2, 2, 3)], [1, 3], [0, 0.3, 0.5, 1]):
        t, s = rng.integers(0, most + 1, (2, *shape))
        t.flat[0] = 1
        expected = by_pairs(t, s, alpha, **options)
        found = rand_scores(t, s, alpha=alpha, border=0, **options)
        assert [found.fscore, found.merge, found.split] == close(expected)
        assert rand_scores_of(contingency(t, s), alpha=alpha, **options) == found
        assert rand_fscore(t, s, alpha=alpha, border=0, **options) == close(expected[0])


@pytest.mark.parametrize("shape", [(40, 30), (8, 12, 10)])
@pytest.mark.parametrize("alpha", [0.5, 0.2, 0.0, 1.0])
def test_beside_scikit_image(shape, alpha):
    rng = np.random.default_rng(1)
    t, s = np.repeat(rng.integers(0, 7, (2, *shape)), 2, 1)
    for region, ignored in (("all", ()), ("reference", (0,))):
        # Its alpha weights the first image, and its precision is of the first as well.
        error, precision, recall = adapted_rand_error(t, s, ignore_labels=ignored, alpha=1 - alpha)
        found = rand_scores(t, s, alpha=alpha, border=0, region=region, background="segment")
        assert (found.fscore, found.merge, found.split) == close((1 - error, recall, precision))


def authors_way(t, s):
    """Union of objects, less the border by grey morphology, every background pixel a segment."""
    cross = ndimage.generate_binary_structure(t.ndim, 1)
    dilated, eroded = (
        change(t, footprint=cross) for change in (ndimage.grey_dilation, ndimage.grey_erosion)
    )
    kept = ((t > 0) | (s > 0)) & ~(dilated - eroded > 0)
    t, s = t[kept], s[kept]
    for flat in (t, s):
        holes = flat == 0
        flat[holes] = flat.max() + 1 + np.arange(np.count_nonzero(holes))
    return 1 - adapted_rand_error(t, s, ignore_labels=())[0]


@pytest.mark.parametrize("shape", [(60, 50), (16, 20, 24)])
def test_defaults_are_the_authors_way(shape):
    rng = np.random.default_rng(2)
    for _ in range(5):
        smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
        t = ndimage.label(smooth > 0.02)[0]
        s = ndimage.label(np.roll(smooth, 1, 0) + 0.03 * rng.standard_normal(shape) > 0.02)[0]
        value = authors_way(t, s)
        assert 0 < value < 1
        assert rand_fscore(t, s) == close(value)


@pytest.mark.parametrize("shape", [(13,), (1, 9), (17, 14), (7, 9, 8), (1, 8, 8)])
@pytest.mark.parametrize("border", [0, 1, 2, 3])
def test_interior_beside_grey_morphology(shape, border, monkeypatch):
    rng = np.random.default_rng(3)
    cross = ndimage.generate_binary_structure(len(shape), 1)
    for repeat, block in itertools.product((1, 3, 5), (16, 1 << 18)):
        monkeypatch.setattr("onnx_cte.metrics.rand.BLOCK", block)
        image = rng.integers(0, 3, shape)
        for axis in range(len(shape)):
            image = np.repeat(image, repeat, axis)
        low = high = image
        for _ in range(border):
            high = ndimage.grey_dilation(high, footprint=cross)
            low = ndimage.grey_erosion(low, footprint=cross)
        np.testing.assert_array_equal(interior(image, border), high == low)


@pytest.mark.parametrize("region", ["union", "reference", "all"])
def test_only_the_border_and_the_reference_s_region_tell_the_two_apart(region):
    rng = np.random.default_rng(6)
    t, s = np.kron(rng.integers(0, 4, (2, 6, 6)), np.ones((4, 4), int))
    swapped = rand_fscore(s, t, border=0, region=region)
    assert (rand_fscore(t, s, border=0, region=region) == swapped) is (region != "reference")
    assert rand_fscore(t, s, region=region) != rand_fscore(s, t, region=region)
    first, second = (rand_scores(*pair, border=0) for pair in ((t, s), (s, t)))
    assert (first.merge, first.split) == (second.split, second.merge)


def test_a_table_with_a_mask_serves_as_well():
    rng = np.random.default_rng(4)
    t, s = np.kron(rng.integers(0, 4, (2, 6, 6)), np.ones((5, 5), int))
    table = contingency(t, s, where=interior(t, 2))
    assert rand_scores_of(table) == rand_scores(t, s, border=2)


def test_volumes_are_more_than_their_slices():
    # One object in both, but cut in two between slices: no slice by itself can tell.
    t, s = np.ones((2, 6, 5, 5), int)
    s[3:] = 2
    assert [rand_fscore(one, other) for one, other in zip(t, s, strict=True)] == [1] * 6
    assert rand_fscore(t, s) < 1


def test_large_sums_are_exact():
    areas = np.array([2**31, 2**32, 1], np.int64)
    table = contingency(np.array([1, 2, 3]), np.array([1, 2, 3]))
    for name in ("reference_areas", "other_areas", "overlaps"):
        getattr(table, name)[:] = areas
    assert rand_scores_of(table).fscore == 1.0
    table.other_areas[:] = areas[::-1]
    object.__setattr__(table, "columns", np.array([2, 1, 0]))
    assert rand_scores_of(table).fscore == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "alpha is 1.5: expected a weight from 0 to 1"),
        ({"alpha": NAN}, "alpha is nan: expected"),
        ({"region": "objects"}, "region is 'objects': expected 'union', 'reference' or 'all'"),
        ({"background": "none"}, "background is 'none': expected 'singletons' or 'segment'"),
        ({"border": -1}, "border is -1: expected a whole number of pixels"),
        ({"border": 1.5}, "border is 1.5: expected a whole number of pixels"),
        ({"border": True}, "border is True: expected a whole number of pixels"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(OptionError, match=message):
        rand_fscore(np.ones((4, 4), int), np.ones((4, 4), int), **options)
