"""H-score and its regularised form, against worked examples and pseudo-inverses."""

import math

import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.estimators.h_score import HScore, h_score, ledoit_wolf
from onnx_cte.estimators.labelled_pixels import moments_of

F = np.array([[0, 0], [2, 0], [4, 1], [6, 3]], float)
Y = np.array([0, 0, 1, 1])


def by_inverse(features, labels, rcond=1e-12):
    means = np.array([features[labels == kind].mean(axis=0) for kind in labels])
    total, between = (np.atleast_2d(np.cov(x.T, ddof=0)) for x in (features, means))
    return np.trace(np.linalg.pinv(total, rcond=rcond, hermitian=True) @ between)


def shrinkage(features):
    """Ledoit and Wolf's, from the outer product of each pixel."""
    centred = features - features.mean(axis=0)
    n, d = centred.shape
    s = centred.T @ centred / n
    target = np.trace(s) / d * np.eye(d)
    distance = np.linalg.norm(s - target) ** 2
    spread = sum(np.linalg.norm(np.outer(x, x) - s) ** 2 for x in centred) / n**2
    return min(spread, distance) / distance, s, target


def random(seed, pixels=60, width=4, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(pixels) % classes)
    features = rng.normal(size=(pixels, width)) @ rng.normal(size=(width, width)) + 5
    return features + rng.normal(size=(classes, width))[labels], labels


def test_worked_example():
    assert h_score(F, Y) == pytest.approx(0.8, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_trace_with_the_inverse(seed):
    features, labels = random(seed)
    assert h_score(features, labels) == pytest.approx(by_inverse(features, labels), rel=1e-10)


def test_singular_covariances():
    features, labels = random(1)
    copies = np.concatenate([features, features[:, :1], features @ np.ones((4, 1))], axis=1)
    assert h_score(copies, labels) == pytest.approx(by_inverse(copies, labels), rel=1e-8)
    assert h_score(copies, labels) == pytest.approx(h_score(features, labels), rel=1e-8)
    few, of_few = random(2, pixels=8, width=20, classes=2)
    # More channels than pixels part any classes perfectly.
    assert h_score(few, of_few) == pytest.approx(1, abs=1e-9)
    assert by_inverse(few, of_few) == pytest.approx(1, abs=1e-6)


def test_any_linear_map_leaves_it():
    features, labels = random(3)
    expected = h_score(features, labels)
    mapped = features @ np.random.default_rng(0).normal(size=(4, 4)) - 9
    assert h_score(mapped, labels) == pytest.approx(expected, rel=1e-9)
    # Also units so far apart that their squares span more than float64 resolves.
    uneven = features * [1e-9, 1, 1e6, 1e9]
    assert h_score(uneven, labels) == pytest.approx(expected, rel=1e-9)


def test_ends_of_the_range():
    labels = np.arange(40) % 4
    assert h_score(np.eye(4)[labels], labels) == pytest.approx(3, abs=1e-12)
    for regularised in (False, True):
        assert h_score(np.full((40, 3), 0.1), labels, regularised=regularised) == 0
        assert h_score(np.zeros((40, 3)), labels, regularised=regularised) == 0
        assert math.isnan(h_score(F, np.zeros(4, int), regularised=regularised))
    same = np.tile([[0.0, 1.0], [1.0, 3.0]], (40, 1))
    assert h_score(same, np.repeat(labels, 2)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("pixels", "width"), [(60, 4), (10, 30), (200, 2), (7, 7)])
def test_regularised(pixels, width):
    features, labels = random(pixels, pixels=pixels, width=width, classes=2)
    share, s, target = shrinkage(features)
    assert 0 < share < 1
    assert ledoit_wolf(moments_of(features, labels)) == pytest.approx(share, rel=1e-9)
    means = np.array([features[labels == kind].mean(axis=0) for kind in labels])
    shrunk = (1 - share) * s + share * target
    expected = (1 - share) * np.trace(np.linalg.inv(shrunk) @ np.cov(means.T, ddof=0))
    found = h_score(features, labels, regularised=True)
    assert found == pytest.approx(expected, rel=1e-9)
    assert found < h_score(features, labels)


def test_shrinkage_far_from_the_origin():
    features, labels = random(0)
    expected = ledoit_wolf(moments_of(features, labels))
    assert ledoit_wolf(moments_of(features + 1e5, labels)) == pytest.approx(expected, rel=1e-7)


def test_one_channel_is_not_shrunk():
    features, labels = random(0, width=1)
    assert ledoit_wolf(moments_of(features, labels)) == 0
    expected = h_score(features, labels)
    assert h_score(features, labels, regularised=True) == pytest.approx(expected, rel=1e-12)


@pytest.mark.official
@pytest.mark.parametrize(("pixels", "width"), [(60, 4), (10, 30), (500, 64), (30, 1)])
def test_shrinkage_is_that_of_scikit_learn(pixels, width):
    covariance = pytest.importorskip("sklearn.covariance")
    features, labels = random(pixels, pixels=pixels, width=width)
    official = covariance.LedoitWolf().fit(features)
    moments = moments_of(features, labels)
    assert ledoit_wolf(moments) == pytest.approx(official.shrinkage_, rel=1e-9)


def test_options():
    with pytest.raises(OptionError, match="regularised is True or False, not 'yes'"):
        HScore(regularised="yes")
    assert HScore().title == "h_score"
    assert HScore(regularised=True).title == "h_score regularised"
