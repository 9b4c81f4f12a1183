"""StarDist's decoder and its polygons: by hand, then properties against the plain definition."""

import re

import numpy as np
import pytest
from skimage.draw import polygon2mask

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing import suppression
from onnx_cte.postprocessing.polygons import area, corners, overlap_area, shared_areas
from onnx_cte.postprocessing.stars import Stars
from onnx_cte.postprocessing.suppression import survivors
from onnx_cte.types import Prediction

SQUARE = np.array([[0.0, 0.0], [0.0, 4.0], [4.0, 4.0], [4.0, 0.0]])


def roles(rays):
    return ("foreground", *(f"ray {k}" for k in range(rays)))


def stars(shape, candidates, threshold=0.5):
    """Maps with candidates of (probability, row, column, ray distances), and nothing elsewhere."""
    rays = len(candidates[0][3]) if candidates else 8
    maps = np.zeros((1 + rays, *shape), np.float32)
    for probability, row, column, distances in candidates:
        maps[:, row, column] = [probability, *distances]
    maps.flags.writeable = False
    return Prediction(maps, roles(rays), threshold)


def circle(radius, rays=64):
    return [radius] * rays


def count(labels):
    return len(np.unique(labels)) - 1


# By hand


def test_rays_of_one_length_are_a_disc():
    labels = Stars().decode(stars((40, 50), [(0.9, 20, 22, circle(6.5))]))
    rows, columns = np.mgrid[:40, :50]
    away = np.hypot(rows - 20, columns - 22)
    assert labels.dtype == np.int32
    assert (labels[away < 6.4] == 1).all()
    assert (labels[away > 6.5] == 0).all()


def test_candidates_of_one_nucleus_are_one_object():
    near = [(0.8, 20, 20, circle(6)), (0.9, 21, 22, circle(6)), (0.7, 19, 19, circle(6))]
    labels = Stars().decode(stars((40, 40), near))
    assert np.array_equal(labels, Stars().decode(stars((40, 40), near[1:2])))
    assert labels.max() == 1


def test_far_candidates_are_two_objects_in_c_order():
    labels = Stars().decode(stars((40, 60), [(0.9, 25, 12, circle(6)), (0.6, 12, 42, circle(6))]))
    assert labels[12, 42] == 1
    assert labels[25, 12] == 2
    assert labels.max() == 2


@pytest.mark.parametrize(("nms_threshold", "objects"), [(0.24, 1), (0.26, 2)])
def test_overlap_is_measured_against_the_smaller_one(nms_threshold, objects):
    # Two diamonds of 200 px^2 share one of 50.
    pair = [(0.9, 30, 30, [10] * 4), (0.8, 30, 40, [10] * 4)]
    assert Stars(nms_threshold).decode(stars((60, 70), pair)).max() == objects
    # One of 18 px^2 within one of 200 is suppressed, however little that is of the larger.
    within = [(0.9, 30, 30, [10] * 4), (0.8, 30, 33, [3] * 4)]
    assert Stars(0.99).decode(stars((60, 70), within)).max() == 1


def test_exactly_the_threshold_is_not_suppressed():
    pair = [(0.9, 30, 30, [10] * 4), (0.8, 30, 40, [10] * 4)]
    assert Stars(0.25).decode(stars((60, 70), pair)).max() == 2


def test_the_first_ray_points_right_and_the_next_ones_down():
    right = Stars().decode(stars((41, 41), [(0.9, 20, 20, [15, 2, 2, 2])]))
    assert right[20, 34] == 1
    assert right[34, 20] == right[20, 6] == right[6, 20] == 0
    down = Stars().decode(stars((41, 41), [(0.9, 20, 20, [2, 15, 2, 2])]))
    assert np.array_equal(down, right.T)
    # Three rays: right, down and left, up and left.
    third = Stars().decode(stars((41, 41), [(0.9, 20, 20, [2, 14, 2])]))
    assert third[30, 14] == 1
    assert third[10, 14] == third[30, 26] == 0


def test_an_angle_piece_lands_where_its_rays_point():
    rays = [12, 3, 12, 3, 1, 1, 1, 3]  # arms right and down
    labels = Stars().decode(stars((41, 41), [(0.9, 20, 20, rays)]))
    assert labels[20, 31] == labels[31, 20] == labels[21, 21] == 1
    assert labels[29, 29] == labels[20, 17] == labels[17, 20] == 0


def test_the_more_probable_one_lies_on_top():
    pair = [(0.8, 30, 30, circle(10)), (0.9, 30, 44, circle(10))]
    labels = Stars().decode(stars((60, 80), pair))
    assert labels.max() == 2
    assert labels[30, 37] == labels[30, 44]
    assert labels[30, 20] != labels[30, 37]


def test_of_equally_probable_ones_the_first_in_c_order_is_kept():
    pair = [(0.75, 30, 30, circle(9)), (0.75, 30, 31, circle(9))]
    alone = Stars().decode(stars((60, 80), pair[:1]))
    for both in (pair, pair[::-1]):
        assert np.array_equal(Stars().decode(stars((60, 80), both)), alone)


def test_candidates_are_strictly_above_the_threshold():
    one = [(0.75, 20, 20, circle(5))]
    assert Stars().decode(stars((40, 40), one, threshold=0.75)).max() == 0
    assert Stars().decode(stars((40, 40), one, threshold=0.7)).max() == 1


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (5, 9), (40, 40)])
def test_nothing_found_is_an_image_of_zeros(shape):
    labels = Stars().decode(stars(shape, []))
    assert labels.dtype == np.int32
    assert labels.shape == shape
    assert not labels.any()


def test_an_image_of_one_pixel():
    one = stars((1, 1), [(0.9, 0, 0, circle(3, 8))])
    assert Stars(border=0).decode(one).tolist() == [[1]]
    assert Stars().decode(one).tolist() == [[0]]


def test_candidates_in_the_border_are_left_out_and_outlines_cut_at_it():
    edge = [(0.9, 1, 20, circle(6)), (0.8, 20, 2, circle(6))]
    labels = Stars().decode(stars((40, 40), edge))
    assert labels.max() == labels[20, 0] == 1
    assert labels[:8, 15:26].max() == 0
    assert Stars(border=0).decode(stars((40, 40), edge)).max() == 2
    assert Stars(border=3).decode(stars((40, 40), edge)).max() == 0


def test_all_foreground():
    maps = np.full((9, 40, 50), 5, np.float32)
    maps[0] = 0.9
    labels = Stars().decode(Prediction(maps, roles(8)))
    objects = np.setdiff1d(labels, 0)
    assert np.array_equal(objects, np.arange(1, len(objects) + 1))
    assert len(objects) > 20
    assert (labels[2:-2, 2:-2] > 0).mean() > 0.5


def test_objects_that_are_hidden_or_too_small_have_no_number():
    hidden = [(0.9, 20, 20, circle(8)), (0.8, 20, 22, circle(3)), (0.7, 20, 50, circle(4))]
    labels = Stars(nms_threshold=1).decode(stars((40, 70), hidden))
    assert labels.max() == labels[20, 50] == 2
    size = int((labels == 2).sum())
    assert Stars(1, min_size=size).decode(stars((40, 70), hidden)).max() == 2
    assert Stars(1, min_size=size + 1).decode(stars((40, 70), hidden)).max() == 1


def test_the_grid_is_where_the_network_looked():
    coarse = stars((20, 25), [(0.9, 10, 11, circle(7)), (0.8, 10, 11 + 10, circle(5))])
    repeated = np.repeat(np.repeat(coarse.maps, 2, axis=1), 2, axis=2)[:, :39, :49]
    found = Stars(grid=2).decode(Prediction(repeated, coarse.roles))
    fine = stars((39, 49), [(0.9, 20, 22, circle(7)), (0.8, 20, 22 + 20, circle(5))])
    assert np.array_equal(found, Stars().decode(fine))
    # The border is counted on the grid: 2 there is 4 px.
    inner = [(0.9, 3, 12, circle(3))]
    edge = stars((20, 25), inner)
    repeated = np.repeat(np.repeat(edge.maps, 2, axis=1), 2, axis=2)
    assert Stars(grid=2, border=3).decode(Prediction(repeated, edge.roles)).max() == 1
    assert Stars(grid=2, border=4).decode(Prediction(repeated, edge.roles)).max() == 0


def test_the_probability_may_be_any_channel():
    first = stars((41, 41), [(0.9, 20, 20, [15, 2, 3, 4])])
    order = [1, 2, 0, 3, 4]
    moved = Prediction(first.maps[order], tuple(first.roles[i] for i in order))
    assert np.array_equal(Stars().decode(moved), Stars().decode(first))


def test_negative_rays_are_no_outline():
    assert Stars().decode(stars((20, 20), [(0.9, 10, 10, [-5] * 8)])).sum() <= 1


# Options and channels


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("nms_threshold", -0.1),
        ("nms_threshold", 1.1),
        ("nms_threshold", float("nan")),
        ("grid", 0),
        ("grid", 1.5),
        ("border", -1),
        ("min_size", True),
    ],
)
def test_options_are_checked(option, value):
    with pytest.raises(OptionError, match=f"decoder 'stardist': {option} is {value}, expected"):
        Stars(**{option: value})


@pytest.mark.parametrize(
    ("channels", "dimensions", "reason"),
    [
        (roles(3), 2, ""),
        (roles(2), 2, "needs 3 or more rays beside 'foreground', there are 2"),
        (roles(8), 3, "serves planes"),
        (("a", "b", "c", "d"), 2, "needs a channel 'foreground'"),
        (("background", "foreground", "b", "c"), 2, "one is 'background'"),
    ],
)
def test_what_it_refuses(channels, dimensions, reason):
    said = Stars().refuses(channels, dimensions)
    assert reason in said
    assert bool(said) == bool(reason)
    if said:
        maps = np.zeros((len(channels), *[8] * dimensions), np.float32)
        with pytest.raises(OptionError, match=re.escape(f"decoder 'stardist' {said}")):
            Stars().decode(Prediction(maps, channels))


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (("prob", "dist_0", "dist_1", "dist_2"), True),
        (("foreground", *(f"ray {k}" for k in range(32))), True),
        (("Object Probability", "distance0", "distance1", "distance2"), True),
        (("prob", "distances", "distances", "distances"), True),
        (("dist_0", "dist_1", "dist_2", "prob"), True),
        (("prob", "dist_2", "dist_1", "dist_0"), False),
        (("prob", "dist_0", "dist_1"), False),
        (("foreground", "boundary", "dist_0", "dist_1", "dist_2"), False),
        (("foreground", "boundary"), False),
        (("background", "a", "b", "c"), False),
        ((), False),
    ],
)
def test_which_names_it_recognises(names, known):
    assert Stars.recognises(names) is known


# Polygons


def test_areas_that_squares_share():
    shifts = np.array([(0, 0), (1, 2), (4, 0), (4, 4), (0, 9)])
    moved = [*(SQUARE + shift for shift in shifts), SQUARE / 2]
    assert overlap_area(SQUARE, np.stack(moved)).tolist() == [16, 6, 0, 0, 0, 4]
    assert overlap_area(SQUARE[::-1], np.stack(moved)).tolist() == [16, 6, 0, 0, 0, 4]
    assert overlap_area(SQUARE, np.zeros((0, 4, 2))).tolist() == []
    assert area(np.stack(moved)).tolist() == [16, 16, 16, 16, 16, 4]


def test_an_area_shared_in_two_pieces():
    comb = np.array([[0, 0], [0, 9], [6, 9], [6, 6], [2, 6], [2, 3], [6, 3], [6, 0]], np.float64)
    bar = np.array([[4.0, -1.0], [4.0, 10.0], [5.0, 10.0], [5.0, -1.0]])
    assert overlap_area(comb, bar[np.newaxis]).tolist() == pytest.approx([6])


def test_areas_shared_pair_by_pair():
    ones = np.stack([SQUARE, SQUARE + 7, SQUARE / 2])
    others = np.stack([SQUARE + np.array([1, 2]), SQUARE, SQUARE])
    assert shared_areas(ones, others).tolist() == [6, 0, 4]
    assert shared_areas(np.tile(ones, (100, 1, 1)), np.tile(others, (100, 1, 1))).sum() == 1000
    assert shared_areas(ones[:0], others[:0]).tolist() == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("whole", [False, True])
def test_shared_areas_are_those_of_fine_masks(seed, whole):
    rng = np.random.default_rng(seed)
    distances = rng.uniform(2, 10, (2, rng.integers(3, 40))).astype(np.float32)
    pair = corners(np.array([[13, 13], 13 + rng.integers(-5, 6, 2)]), distances)
    pair = np.trunc(pair) if whole else pair
    fine = 24
    one, other = (polygon2mask((26 * fine, 26 * fine), np.asarray(p) * fine) for p in pair)
    shared = (one & other).sum() / fine**2
    assert overlap_area(pair[0], pair[1:])[0] == pytest.approx(shared, abs=1, rel=0.01)
    assert overlap_area(pair[1], pair[:1])[0] == pytest.approx(overlap_area(pair[0], pair[1:])[0])


def one_by_one(centres, distances, threshold):
    """Greedy suppression by the plain definition, with exact areas only."""
    cut = np.trunc(corners(centres, distances))
    sizes, kept = area(cut), []
    for index in range(len(centres)):
        shared = overlap_area(cut[index], cut[kept]) if kept else np.zeros(0)
        smaller = np.minimum(sizes[index], sizes[kept]) if kept else np.zeros(0)
        if not (shared > threshold * (smaller + 1e-10)).any():
            kept.append(index)
    return kept


def everywhere(seed, side, longest, rays=8):
    """Candidates at every pixel in C order, all of one probability, with rays of any length."""
    rng = np.random.default_rng(seed)
    centres = np.argwhere(np.ones((side, side), bool))
    distances = rng.uniform(1e-3, longest, (len(centres), rays)).astype(np.float32)
    return centres, distances


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread", [0.5, 3, 12])
def test_bounds_never_decide_against_the_exact_areas(seed, spread):
    rng = np.random.default_rng(seed)
    many, rays = 120, int(rng.integers(3, 20))
    centres = rng.integers(10, 60, (many, 2))
    distances = 3 + rng.exponential(spread, (many, rays)).astype(np.float32)
    threshold = rng.uniform(0.1, 0.8)
    kept = one_by_one(centres, distances, threshold)
    assert survivors(centres, distances, threshold).tolist() == kept
    assert 1 < len(kept) < many


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("longest", [1.2, 3, 8])
@pytest.mark.parametrize("mixed", [False, True])
def test_many_decided_together_are_those_that_one_by_one_are(seed, longest, mixed):
    centres, distances = everywhere(seed, 18, longest)
    if mixed:
        order = np.random.default_rng(seed).permutation(len(centres))
        centres, distances = centres[order], distances[order]
    kept = one_by_one(centres, distances, 0.4)
    assert survivors(centres, distances, 0.4).tolist() == kept
    assert 1 < len(kept) < len(centres)


@pytest.mark.parametrize("narrow", [0, 1, 1000])
@pytest.mark.parametrize("together", [(1, 1), (4, 16), (4096, 4096)])
def test_how_many_are_decided_together_does_not_matter(monkeypatch, narrow, together):
    centres, distances = everywhere(0, 16, 4)
    kept = one_by_one(centres, distances, 0.3)
    monkeypatch.setattr(suppression, "_NARROW", narrow)
    monkeypatch.setattr(suppression, "_FEWEST", together[0])
    monkeypatch.setattr(suppression, "_MOST", together[1])
    for name in ("_BLOCK", "_EXACT", "_JUDGED", "_FOUND"):
        monkeypatch.setattr(suppression, name, 50)
    assert survivors(centres, distances, 0.3).tolist() == kept


@pytest.mark.parametrize("threshold", [0, 0.4, 1])
def test_polygons_without_an_area_are_kept_and_suppress_none(threshold):
    centres, distances = everywhere(1, 12, 6)
    flat = np.arange(len(centres)) % 3 == 0
    distances[flat] = [3, 0, 0, 0, 0, 0, 0, 0]  # a line
    flat = area(np.trunc(corners(centres, distances))) == 0
    assert 0.3 < flat.mean() < 1
    found = survivors(centres, distances, threshold)
    others = np.flatnonzero(~flat)
    alone = others[survivors(centres[others], distances[others], threshold)]
    assert found.tolist() == sorted([*np.flatnonzero(flat), *alone])


@pytest.mark.parametrize("mixed", [False, True])
def test_ruined_predictions_cost_few_rounds_and_exact_areas(monkeypatch, mixed):
    centres, distances = everywhere(2, 60, 2, rays=32)
    if mixed:
        order = np.random.default_rng(2).permutation(len(centres))
        centres, distances = centres[order], distances[order]
    calls, pairs = [], []

    def counted(ones, others):
        pairs.append(len(ones))
        return shared_areas(ones, others)

    def batch(*given):
        calls.append(given)
        return kept_of(*given)

    kept_of = suppression._kept_of
    monkeypatch.setattr(suppression, "shared_areas", counted)
    monkeypatch.setattr(suppression, "_kept_of", batch)
    kept = survivors(centres, distances, 0.4)
    assert len(kept) > 1000
    assert len(calls) < len(kept) / 20
    assert len(pairs) < len(kept) / 2
    assert sum(pairs) < 8 * len(centres)


def test_one_huge_polygon_among_small_ones():
    centres = np.array([[500, 500], [500, 502], [500, 900], [10, 10]])
    distances = np.array([[4], [4], [4], [2000]], np.float32) * np.ones((1, 16), np.float32)
    assert survivors(centres, distances, 0.4).tolist() == [0, 2]
    assert survivors(centres[::-1], distances[::-1], 0.4).tolist() == [0]


def test_no_candidates():
    assert survivors(np.zeros((0, 2), int), np.zeros((0, 8), np.float32), 0.4).tolist() == []
