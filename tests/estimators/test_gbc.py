"""GBC, against the worked example and straightforward loops."""

import itertools
import math

import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.estimators.gbc import GBC, bhattacharyya_score

F = np.array([[0, 0], [2, 0], [4, 1], [6, 3]], float)
Y = np.array([0, 0, 1, 1])


def by_loops(features, labels, covariance):
    """Full matrices throughout, ordered pairs one by one."""
    gaussians = []
    for kind in np.unique(labels):
        part = features[labels == kind]
        matrix = np.atleast_2d(np.cov(part.T, ddof=0))
        if covariance == "full":
            values, vectors = np.linalg.eigh(matrix)
            matrix = vectors @ np.diag(np.maximum(values, 1e-4)) @ vectors.T
        else:
            variances = np.maximum(np.diag(matrix), 1e-4)
            if covariance == "spherical":
                variances = np.full_like(variances, variances.mean())
            matrix = np.diag(variances)
        gaussians.append((part.mean(axis=0), matrix))
    total = 0.0
    for (m, a), (n, b) in itertools.permutations(gaussians, 2):
        middle = (a + b) / 2
        distance = (m - n) @ np.linalg.inv(middle) @ (m - n) / 8 + 0.5 * math.log(
            np.linalg.det(middle) / math.sqrt(np.linalg.det(a) * np.linalg.det(b))
        )
        total -= math.exp(-distance)
    return total


def test_worked_example():
    assert bhattacharyya_score(F, Y) == pytest.approx(-0.0140826135, abs=1e-9)


@pytest.mark.parametrize("covariance", ["diagonal", "spherical", "full"])
@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_what_loops_give(covariance, classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=90)
    features = rng.normal(size=(90, 3)) @ rng.normal(size=(3, 3))
    features += rng.normal(size=(classes, 3))[labels]
    # Unequal covariances, or the terms of the logarithms could be left out unnoticed.
    features *= 1 + labels[:, None]
    expected = by_loops(features, labels, covariance)
    found = bhattacharyya_score(features, labels, covariance=covariance)
    assert found == pytest.approx(expected, rel=1e-10)


def test_kinds_of_covariance_differ():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 2)) @ np.array([[2, 1.9], [0, 0.3]])
    labels = np.arange(80) % 2
    features[:, 1] += labels
    kinds = ["diagonal", "spherical", "full"]
    found = {k: bhattacharyya_score(features, labels, covariance=k) for k in kinds}
    # The classes lie apart across a strong correlation, which only full covariances see.
    assert found["full"] > found["diagonal"] + 0.2
    assert found["diagonal"] != pytest.approx(found["spherical"], abs=1e-3)


@pytest.mark.parametrize("covariance", ["diagonal", "spherical", "full"])
def test_wide_features_are_projected(covariance):
    rng = np.random.default_rng(5)
    labels = np.arange(120) % 3
    features = rng.normal(size=(120, 6)) @ rng.normal(size=(6, 6)) + 50
    features += 2 * rng.normal(size=(3, 6))[labels]
    axes = np.linalg.svd(features - features.mean(axis=0))[2][:2]
    expected = by_loops(features @ axes.T, labels, covariance)
    found = bhattacharyya_score(features, labels, covariance=covariance, dimensions=2)
    assert found == pytest.approx(expected, rel=1e-9)
    whole = by_loops(features, labels, covariance)
    assert bhattacharyya_score(features, labels, covariance=covariance) == pytest.approx(whole)


@pytest.mark.parametrize("covariance", ["diagonal", "spherical", "full"])
def test_ends_of_the_range(covariance):
    labels = np.arange(30) % 3
    constant = np.full((30, 2), 0.1)
    found = bhattacharyya_score(constant, labels, covariance=covariance)
    assert found == pytest.approx(-6, abs=1e-9)
    apart = np.stack([labels * 1e3, labels * 0], axis=1)
    found = bhattacharyya_score(apart, labels, covariance=covariance)
    assert found == 0
    assert math.copysign(1, found) == 1


def test_variance_of_a_lone_pixel_is_the_floor():
    features, labels = np.array([[0.0], [0.01]]), np.array([0, 1])
    assert bhattacharyya_score(features, labels) == pytest.approx(-2 * math.exp(-1 / 8))


def test_one_class_is_undefined():
    assert math.isnan(bhattacharyya_score(F, np.zeros(4, int)))


def test_options():
    with pytest.raises(OptionError, match="unknown kind of covariance 'diag': did you mean 'diag"):
        GBC(covariance="diag")
    with pytest.raises(OptionError, match="unknown kind of covariance 'none'"):
        bhattacharyya_score(F, Y, covariance="none")
    with pytest.raises(OptionError, match=r"GBC: dimensions, .* at least 1, not 0"):
        GBC(dimensions=0)
    with pytest.raises(OptionError, match=r"not 1\.5"):
        GBC(dimensions=1.5)
    assert GBC(covariance="full", dimensions=16).title == "gbc full 16d"
    assert GBC().title == "gbc"
