"""Which pixels are looked at: bounded, balanced, and the same for every model."""

import numpy as np
import pytest

from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators import sampling
from onnx_cte.estimators.sampling import (
    by_name,
    check_flag,
    check_integer,
    class_map,
    classes_in,
    decided_positions,
    distribution,
    draw_positions,
    feature_map,
    features_at,
    labelled_positions,
)
from onnx_cte.features import FeatureMap
from onnx_cte.types import Observation, Prediction

TRUTH = np.array([[0, 0, 0, 7], [0, 0, 0, 300], [0, 7, 0, 0]])


def seen(name="a", truth=TRUTH, foreground=None, **given):
    maps = np.zeros(TRUTH.shape) if foreground is None else np.asarray(foreground)
    reference = Prediction(maps.astype(np.float32)[None], ("foreground",))
    return Observation(name, np.zeros(maps.shape), reference, truth=truth, **given)


def test_classes():
    assert class_map(seen(), "truth").tolist() == (TRUTH > 0).astype(int).tolist()
    assert class_map(seen(), "classes").tolist() == TRUTH.tolist()
    assert class_map(seen(foreground=TRUTH == 7), "pseudo").tolist() == (TRUTH == 7).tolist()
    with pytest.raises(ModelError, match="a: labels are needed, and the observation has none"):
        class_map(seen(truth=None), "truth")
    with pytest.raises(ModelError, match="a: labels hold -2, expected class indices from 0 on"):
        class_map(seen(truth=TRUTH - 2), "classes")


@pytest.mark.parametrize("shift", [0, 1 << 20, -5])
def test_classes_there_are(shift):
    found = classes_in(TRUTH.ravel() + shift)
    assert found.tolist() == [shift, 7 + shift, 300 + shift]
    assert not len(classes_in(np.empty(0, int)))


def test_positions_of_each_class():
    places = draw_positions(TRUTH, 2, np.random.default_rng(0))
    assert TRUTH[tuple(places.T)].tolist() == [0, 0, 7, 7, 300]
    assert len(np.unique(places, axis=0)) == 5
    none = draw_positions(np.empty((0, 4), int), 2, np.random.default_rng(0))
    assert none.shape == (0, 2)


def test_every_pixel_of_a_class_is_as_likely():
    rng = np.random.default_rng(0)
    drawn = np.zeros(TRUTH.shape)
    for _ in range(900):
        drawn[tuple(draw_positions(TRUTH, 3, rng).T)] += 1
    assert (drawn[TRUTH > 0] == 900).all()
    assert np.abs(drawn[TRUTH == 0] - 300).max() < 60


def test_labelled_positions_are_those_of_the_image_and_the_seed():
    places, labels = labelled_positions(seen(), "classes", 2, 4)
    assert labels.dtype == np.uint16
    assert labels.tolist() == TRUTH[tuple(places.T)].tolist() == [0, 0, 7, 7, 300]
    again, _ = labelled_positions(seen(foreground=TRUTH > 0), "classes", 2, 4)
    assert np.array_equal(again, places)
    wide = [labelled_positions(one, "truth", 4, 4)[0] for one in (seen(), seen("b"), seen(seed=1))]
    assert not np.array_equal(wide[0], wide[1])
    assert not np.array_equal(wide[0], wide[2])


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_tells_nothing(value):
    places, labels = labelled_positions(seen(truth=np.full((3, 4), value)), "truth", 2, 4)
    assert places.shape == (0, 2)
    assert labels.shape == (0,)


def test_fewer_positions_where_evidence_would_be_large(monkeypatch):
    monkeypatch.setattr(sampling, "MOST_BYTES", 1024 + 4 * 5)
    places, labels = labelled_positions(seen(), "truth", 9, 4)
    assert labels.tolist() == [0, 0, 1, 1]
    assert TRUTH[tuple(places.T)].astype(bool).tolist() == labels.astype(bool).tolist()
    monkeypatch.setattr(sampling, "MOST_BYTES", 1024 + 11)  # not even one of each class
    assert len(labelled_positions(seen(), "classes", 9, 4)[0]) == 1


def test_decided_positions_are_of_the_models_own_classes():
    decided = TRUTH == 7
    places, classes = decided_positions(seen(foreground=decided), 3)
    assert classes.tolist() == [0, 0, 0, 1, 1]
    assert decided[tuple(places.T)].tolist() == [False] * 3 + [True] * 2
    assert decided_positions(seen(), 3)[1].tolist() == [0, 0, 0]


def test_distributions_have_the_background_first():
    places = np.array([[0, 1], [2, 0]])
    foreground = np.full((3, 4), 0.25)
    found = distribution(seen(foreground=foreground).reference, places)
    assert found.tolist() == [[0.75, 0.25]] * 2
    maps = np.arange(36, dtype=np.float32).reshape(3, 3, 4)
    classes = Prediction(maps, ("cell", "background", "wall"))
    assert distribution(classes, places).tolist() == [[13, 1, 25], [20, 8, 32]]


def test_features_at_positions():
    values = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    one = seen(features={"bottleneck": FeatureMap.of(values, (3, 4))})
    places = np.array([[0, 1], [2, 0]])
    assert features_at(one, "bottleneck", places)[:, 0].tolist() == [1, 8]
    with pytest.raises(ModelError, match=r"a: features at 'skip/1' are needed, .* has bottleneck;"):
        feature_map(one, "skip/1")
    with pytest.raises(ModelError, match=r"a: features at 'skip/1' are needed, .* has none;"):
        features_at(seen(), "skip/1", places)
    broken = seen(features={"skip/1": FeatureMap.of(np.full_like(values, np.inf), (3, 4))})
    with pytest.raises(ModelError, match="a: features at 'skip/1' hold NaN or infinity; choose"):
        features_at(broken, "skip/1", places[:1])


def test_evidence_by_name():
    row = [{"image": "b"}, None, {"image": "a"}, {"image": "b", "twice": 1.0}]
    assert by_name(row) == [(2, row[2]), (0, row[0]), (3, row[3])]


@pytest.mark.parametrize("given", [1, 2.0, "3", True, None])
def test_integers(given):
    check_integer("Gauge: width", 2, 2)
    with pytest.raises(OptionError, match="Gauge: width is an integer of at least 2, not "):
        check_integer("Gauge: width", given, 2)


def test_flags():
    check_flag("Gauge: round", False)
    for given in (1, "no", None):
        with pytest.raises(OptionError, match="Gauge: round is True or False, not "):
            check_flag("Gauge: round", given)
