"""What holds for every decoder there is."""

import numpy as np
import pytest
import scipy.ndimage

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing import DECODERS, fitting
from onnx_cte.postprocessing.labelling import firsts, numbered, sizes
from onnx_cte.types import Prediction

RAYS = 16
EACH = pytest.mark.parametrize("name", DECODERS)
SPACES = {2: (60, 80), 3: (14, 40, 44)}
RADIUS = {2: 8, 3: 5}


def truth_of(dimensions):
    """Discs, or balls, on a jittered grid; some touch."""
    rng = np.random.default_rng(11)
    shape, radius = SPACES[dimensions], RADIUS[dimensions]
    grid = np.indices(shape)
    truth = np.zeros(shape, int)
    starts = [range(radius, side, 2 * radius + 1) for side in shape]
    for label, centre in enumerate(
        np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, dimensions), start=1
    ):
        moved = centre + rng.uniform(-1, 1, dimensions)
        truth[sum((g - c) ** 2 for g, c in zip(grid, moved, strict=True)) < radius**2] = label
    return numbered(truth)


def rim_of(truth):
    high, low = (f(truth, 3) for f in (scipy.ndimage.maximum_filter, scipy.ndimage.minimum_filter))
    return high != low


def flows_of(truth):
    """Unit vectors towards the middle of the object, five times as long as Cellpose has them."""
    middles = scipy.ndimage.center_of_mass(truth > 0, truth, np.arange(1, truth.max() + 1))
    middle = np.concatenate([np.zeros((1, truth.ndim)), np.reshape(middles, (-1, truth.ndim))])[
        truth
    ]
    away = np.moveaxis(middle, -1, 0) - np.indices(truth.shape)
    return 5 * away / np.maximum(np.sqrt((away**2).sum(axis=0)), 1e-6) * (truth > 0)


def rays_of(truth):
    """Steps to the end of the object along each ray, for every pixel."""
    found = np.zeros((RAYS, *truth.shape))
    places = np.argwhere(truth > 0)
    for k in range(RAYS):
        way = np.array([np.sin(2 * np.pi * k / RAYS), np.cos(2 * np.pi * k / RAYS)])
        inside = np.ones(len(places), bool)
        for step in np.arange(0.5, 60, 0.5):
            there = np.rint(places + step * way).astype(int)
            valid = ((there >= 0) & (there < truth.shape)).all(axis=1)
            there = np.clip(there, 0, np.array(truth.shape) - 1)
            inside &= valid & (truth[tuple(there.T)] == truth[tuple(places.T)])
            found[k][tuple(places[inside].T)] = step
    return found


def prediction_of(name, truth, rng=None):
    """What a perfect network says, as the decoder of this name wants it; with noise, if asked."""
    objects, rim = truth > 0, rim_of(truth)
    if name in ("foreground", "watershed"):
        maps, roles = [objects], ("foreground",)
    elif name == "foreground_boundary":
        maps, roles = [objects, rim], ("foreground", "boundary")
    elif name == "three_class":
        maps = [~objects, objects & rim, objects & ~rim]
        roles = ("background", "boundary", "inside")
    elif name == "boundary":
        maps, roles = [rim], ("boundary",)
    elif name == "classes":
        odd = truth % 2 == 1
        maps, roles = [~objects, objects & odd, objects & ~odd], ("background", "a", "b")
    elif name == "stardist":
        # Most probable in the middle, as distances to the outline are.
        inner = scipy.ndimage.distance_transform_edt(objects & ~rim) + objects
        maps = [inner / max(inner.max(), 1) * 0.5 + 0.5 * objects, *rays_of(truth)]
        roles = ("foreground", *(f"ray{k}" for k in range(RAYS)))
    elif name == "flows":
        maps = [objects, *flows_of(truth)]
        roles = ("foreground", *(f"flow{k}" for k in range(truth.ndim)))
    maps = np.array(maps, np.float32)
    if rng is not None:
        noise = rng.normal(0, 0.3, maps.shape).astype(np.float32)
        kinds = 1 if name in ("stardist", "flows") else len(maps)
        maps[:kinds] = np.clip(maps[:kinds] + noise[:kinds], 0, 1)
        if "background" in roles:
            maps /= np.maximum(maps.sum(axis=0), 1e-3)
    return Prediction(maps, roles)


def served(name):
    roles = prediction_of(name, np.zeros((8, 8), int)).roles
    found = [2] if not DECODERS[name]().refuses(roles, 2) else []
    volume = prediction_of(name, np.zeros((8, 8, 8), int)).roles if name != "stardist" else roles
    return found + [3] * (not DECODERS[name]().refuses(volume, 3))


CASES = [(name, dimensions) for name in DECODERS for dimensions in served(name)]
CASE = pytest.mark.parametrize(("name", "dimensions"), CASES)


def test_every_decoder_serves_planes_and_most_serve_volumes():
    assert {name for name, dimensions in CASES if dimensions == 2} == set(DECODERS)
    assert {name for name, dimensions in CASES if dimensions == 3} >= set(DECODERS) - {"stardist"}


def check_labels(labels, shape):
    assert labels.dtype == np.int32
    assert labels.shape == shape
    count = int(labels.max(initial=0))
    assert np.unique(labels).tolist() in ([*range(count + 1)], [*range(1, count + 1)])
    first = firsts(labels)[1:]
    assert (np.diff(first) > 0).all()


@CASE
@pytest.mark.parametrize("noisy", [False, True])
def test_objects_are_numbered_densely_by_their_first_pixel(name, dimensions, noisy):
    rng = np.random.default_rng(1) if noisy else None
    prediction = prediction_of(name, truth_of(dimensions), rng)
    labels = DECODERS[name]().decode(prediction)
    check_labels(labels, SPACES[dimensions])
    assert labels.max() > 2


@CASE
def test_the_objects_of_a_perfect_network_are_found(name, dimensions):
    truth = truth_of(dimensions)
    labels = DECODERS[name]().decode(prediction_of(name, truth))
    if name in ("foreground", "classes"):  # touching objects (of a class) are one: by definition
        assert labels.max() <= truth.max()
        np.testing.assert_array_equal(labels > 0, truth > 0)
        return
    matched = 0
    for label in range(1, truth.max() + 1):
        counts = np.bincount(labels[truth == label], minlength=2)
        best = 1 + int(counts[1:].argmax())
        union = (truth == label).sum() + (labels == best).sum() - counts[best]
        matched += counts[best] > 0.5 * union
    assert matched >= 0.9 * truth.max()


@CASE
def test_objects_lie_where_the_prediction_allows_them(name, dimensions):
    prediction = prediction_of(name, truth_of(dimensions), np.random.default_rng(2))
    labels = DECODERS[name]().decode(prediction)
    if name in ("stardist", "boundary", "flows"):
        return  # polygons, filled holes and cells reach over single pixels: see their own tests
    allowed = prediction.classes > 0
    if name == "three_class":
        assert not (labels[~allowed] > 0).any()
    else:
        assert ((labels > 0) <= allowed).all()


@CASE
@pytest.mark.parametrize("min_size", [0, 1, 40, 10**9])
def test_the_least_size_is_kept(name, dimensions, min_size):
    prediction = prediction_of(name, truth_of(dimensions), np.random.default_rng(3))
    labels = DECODERS[name](min_size=min_size).decode(prediction)
    check_labels(labels, SPACES[dimensions])
    assert sizes(labels)[1:].min(initial=10**9) >= min_size
    if min_size == 10**9:
        assert not labels.any()
    else:
        assert labels.any()


@CASE
def test_zero_and_one_keep_the_same(name, dimensions):
    prediction = prediction_of(name, truth_of(dimensions), np.random.default_rng(4))
    found = [DECODERS[name](min_size=size).decode(prediction) for size in (0, 1)]
    np.testing.assert_array_equal(*found)


@CASE
def test_equal_inputs_give_equal_objects_whatever_their_layout(name, dimensions):
    prediction = prediction_of(name, truth_of(dimensions), np.random.default_rng(5))
    maps = prediction.maps
    before = maps.copy()
    decoder = DECODERS[name]()
    first = decoder.decode(prediction)
    wide = np.zeros((*maps.shape[:-1], 2 * maps.shape[-1]), np.float32)
    wide[..., ::2] = maps
    others = [
        maps.copy(),
        np.asfortranarray(maps),
        wide[..., ::2],
        np.ascontiguousarray(maps[..., ::-1])[..., ::-1],
    ]
    locked = maps.copy()
    locked.setflags(write=False)
    for other in (*others, locked):
        again = decoder.decode(Prediction(other, prediction.roles))
        np.testing.assert_array_equal(first, again)
        assert again.flags.c_contiguous
    np.testing.assert_array_equal(maps, before)


@CASE
def test_nothing_is_an_image_of_zeros(name, dimensions):
    truth = np.zeros(SPACES[dimensions], int)
    prediction = prediction_of(name, truth)
    if name == "boundary":  # no boundary is one large cell; all boundary is none
        prediction = Prediction(np.ones_like(prediction.maps), prediction.roles)
    labels = DECODERS[name]().decode(prediction)
    check_labels(labels, SPACES[dimensions])
    assert not labels.any()


@CASE
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_maps_are_decoded(name, dimensions, value):
    prediction = prediction_of(name, np.zeros(SPACES[dimensions], int))
    maps = np.full_like(prediction.maps, value)
    check_labels(DECODERS[name]().decode(Prediction(maps, prediction.roles)), SPACES[dimensions])


@pytest.mark.parametrize("name", ["foreground", "watershed", "foreground_boundary"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_everything_foreground_is_one_object(name, dimensions):
    prediction = prediction_of(name, np.ones(SPACES[dimensions], int))
    assert (DECODERS[name]().decode(prediction) == 1).all()


@EACH
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2), (1, 1, 30), (4, 1, 9)])
def test_thin_images(name, shape):
    dimensions = len(shape)
    if (name, dimensions) not in CASES:
        assert DECODERS[name]().refuses(("foreground",), dimensions)
        return
    truth = np.arange(np.prod(shape)).reshape(shape) // 20 % 2
    for size in (0, 15):
        labels = DECODERS[name](min_size=size).decode(prediction_of(name, truth))
        check_labels(labels, shape)
    one = np.zeros(shape, int)
    one.flat[0] = 1
    check_labels(DECODERS[name](min_size=0).decode(prediction_of(name, one)), shape)


@EACH
def test_channels_that_are_missing_are_told(name):
    # Maps of their own that are called anything are classes, a sole one may be a boundary.
    roles = {"classes": ("x",), "boundary": ("x", "y")}.get(name, ("x", "y"))
    decoder = DECODERS[name]()
    assert "needs" in decoder.refuses(roles, 2)
    assert name not in fitting(roles)
    with pytest.raises(OptionError, match=f"decoder '{name}' needs"):
        decoder.decode(Prediction(np.zeros((len(roles), 8, 8), np.float32), roles))


@EACH
def test_other_dimensions_are_told(name):
    roles = prediction_of(name, np.zeros((8, 8), int)).roles
    for dimensions in (1, 4):
        assert "2" in DECODERS[name]().refuses(roles, dimensions)
    with pytest.raises(OptionError, match=f"decoder '{name}'"):
        DECODERS[name]().decode(Prediction(np.zeros((len(roles), 8), np.float32), roles))


@EACH
def test_what_a_list_shows(name):
    made = DECODERS[name]
    assert made.name == name
    assert 10 < len(made.summary) < 80
    assert not made.summary.endswith(".")
    assert made().__dataclass_params__.frozen
