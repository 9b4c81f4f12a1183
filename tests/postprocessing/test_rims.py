"""Objects from inside and rim, as maps and as classes: cases worked out by hand."""

import numpy as np
import pytest
import scipy.ndimage

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing import ForegroundBoundary, ThreeClass
from onnx_cte.types import Prediction


def maps_of(foreground, boundary, threshold=0.5):
    maps = np.stack([np.atleast_2d(foreground), np.atleast_2d(boundary)]).astype(np.float32)
    return Prediction(maps, ("foreground", "boundary"), threshold)


def classes_of(text, roles=("background", "foreground", "boundary")):
    """``.`` is background, ``o`` inside, ``b`` boundary; roles in any order."""
    rows = np.array([list(line) for line in text.split()])
    letter = {"background": ".", "boundary": "b"}
    maps = np.stack([np.where(rows == letter.get(role, "o"), 0.8, 0.1) for role in roles])
    return Prediction(maps.astype(np.float32), roles)


def test_a_boundary_parts_two_that_touch():
    foreground = [0, 1, 1, 1, 1, 1, 1, 1, 0]
    boundary = [1, 0.9, 0, 0.4, 0.8, 0.6, 0, 0.9, 1]
    found = ForegroundBoundary(min_size=0, seed_size=1).decode(maps_of(foreground, boundary))
    assert found[0, :4].tolist() == [0, 1, 1, 1]
    assert found[0, 5:].tolist() == [2, 2, 2, 0]
    assert found[0, 4] in (1, 2)


def test_the_outer_side_of_a_rim_is_no_object():
    found = ForegroundBoundary(min_size=0).decode(maps_of([0, 0, 1, 1, 0], [0, 1, 1, 1, 1]))
    # The two pixels are all rim, and one object nevertheless.
    assert found.tolist() == [[0, 0, 1, 1, 0]]


def test_one_seed_takes_its_whole_component_and_specks_are_no_seeds():
    foreground = np.ones((1, 12))
    boundary = [0.9, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.1, 0.9, 0.1, 0.1, 0.9]
    for seed_size, count in ((0, 3), (1, 3), (2, 2), (4, 1), (5, 1)):
        decoder = ForegroundBoundary(min_size=0, seed_size=seed_size)
        found = decoder.decode(maps_of(foreground, boundary))
        assert found.max() == count
        assert (found > 0).all()


def test_the_thresholds():
    foreground, boundary = [0.6, 0.6, 0.6, 0.6, 0.3], [0.2, 0.2, 0.6, 0.2, 0.2]
    decoder = ForegroundBoundary(min_size=0, seed_size=1)
    assert decoder.decode(maps_of(foreground, boundary)).max() == 2
    assert decoder.decode(maps_of(foreground, boundary, 0.6)).max() == 0
    bold = ForegroundBoundary(min_size=0, seed_size=1, boundary_threshold=0.7)
    assert bold.decode(maps_of(foreground, boundary)).tolist() == [[1, 1, 1, 1, 0]]
    assert bold.decode(maps_of(foreground, boundary, 0.2)).tolist() == [[1, 1, 1, 1, 1]]
    # Boundary is where it is at least the threshold.
    assert decoder.decode(maps_of([1, 1, 1], [0, 0.5, 0])).max() == 2


def test_the_cut_follows_the_boundary_not_the_middle():
    foreground = np.ones((9, 21))
    boundary = np.full((9, 21), 0.0)
    boundary[:, 4:17] = 0.6
    boundary[:, 14] = 0.95  # a thick rim whose crest lies to the right
    found = ForegroundBoundary(min_size=0).decode(maps_of(foreground, boundary))
    assert (found[:, :14] == 1).all()
    assert (found[:, 15:] == 2).all()


def ring_scene(shape, centres, radius):
    """Truth, foreground and boundary as a network is trained on them: a rim on both sides."""
    grid = np.indices(shape)
    far = np.stack(
        [
            np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
            for centre in centres
        ]
    )
    truth = np.where(far.min(axis=0) < radius, far.argmin(axis=0) + 1, 0)
    high, low = (f(truth, 3) for f in (scipy.ndimage.maximum_filter, scipy.ndimage.minimum_filter))
    return truth, (truth > 0).astype(np.float32), (high != low).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "centres", "radius"),
    [
        ((40, 60), [(15, 15), (15, 30), (28, 22), (20, 50)], 9),
        ((20, 24, 36), [(10, 11, 10), (10, 12, 24)], 8),
    ],
)
def test_objects_are_found_again_whole(shape, centres, radius):
    truth, foreground, boundary = ring_scene(shape, centres, radius)
    prediction = Prediction(np.stack([boundary, foreground]), ("boundary", "foreground"))
    found = ForegroundBoundary().decode(prediction)
    assert found.max() == len(centres)
    np.testing.assert_array_equal(found > 0, truth > 0)
    for label in range(1, len(centres) + 1):
        counts = np.bincount(found[truth == label])
        assert counts.max() > 0.95 * counts.sum()
    background = 1 - foreground
    inside, rim = foreground * (1 - boundary), foreground * boundary
    classes = Prediction(np.stack([rim, background, inside]), ("boundary", "background", "inside"))
    np.testing.assert_array_equal(ThreeClass().decode(classes) > 0, truth > 0)
    assert ThreeClass().decode(classes).max() == len(centres)


def test_inside_grows_into_the_boundary_class():
    found = ThreeClass(min_size=0, seed_size=1).decode(classes_of(".bobb.. ..bbob. bb....b"))
    assert (found[0, 1:4] == 1).all()
    assert (found[1, 3:6] == 2).all()
    assert found[2].tolist() == [1, 1, 0, 0, 0, 0, 2]
    assert (found > 0).tolist() == [
        [c != "." for c in r] for r in (".bobb..", "..bbob.", "bb....b")
    ]


def test_boundary_without_inside_is_an_object():
    found = ThreeClass(min_size=0).decode(classes_of("bb.oooo bb..bbb"))
    assert found.tolist() == [[1, 1, 0, 2, 2, 2, 2], [1, 1, 0, 0, 2, 2, 2]]


@pytest.mark.parametrize(
    "roles",
    [
        ("background", "foreground", "boundary"),
        ("boundary", "background", "inside"),
        ("inside", "boundary", "background"),
    ],
)
def test_the_order_of_the_channels_does_not_matter(roles):
    found = ThreeClass(min_size=0, seed_size=1).decode(classes_of("oobbo.o .bbob..", roles))
    first = ThreeClass(min_size=0, seed_size=1).decode(classes_of("oobbo.o .bbob.."))
    np.testing.assert_array_equal(found, first)


@pytest.mark.parametrize(
    "roles", [("background", "boundary", "in"), ("in", "boundary", "background")]
)
def test_ties_do_not_depend_on_the_order_of_the_channels(roles):
    values = {
        "background": [0.4, 0.3, 0.2, 1 / 3],
        "boundary": [0.4, 0.3, 0.4, 1 / 3],
        "in": [0.2, 0.4, 0.4, 1 / 3],
    }
    maps = np.array([[values[role]] for role in roles], np.float32)
    found = ThreeClass(min_size=0, seed_size=1).decode(Prediction(maps, roles))
    assert found.tolist() == [[0, 1, 1, 0]]


@pytest.mark.parametrize(
    ("make", "roles"),
    [
        (ForegroundBoundary, ("foreground",)),
        (ForegroundBoundary, ("background", "foreground", "boundary")),
        (ThreeClass, ("foreground", "boundary")),
        (ThreeClass, ("background", "a", "b")),
        (ThreeClass, ("background", "boundary", "a", "b")),
    ],
)
def test_other_channels_are_refused(make, roles):
    assert "needs" in make().refuses(roles, 2)
    with pytest.raises(OptionError, match="needs .*the channels are " + ", ".join(roles)):
        make().decode(Prediction(np.zeros((len(roles), 4, 4), np.float32), roles))


def test_options_are_checked():
    with pytest.raises(OptionError, match="boundary_threshold is 2, expected a number from 0 to 1"):
        ForegroundBoundary(boundary_threshold=2)
    for make in (ForegroundBoundary, ThreeClass):
        with pytest.raises(OptionError, match="seed_size is -4"):
            make(seed_size=-4)
