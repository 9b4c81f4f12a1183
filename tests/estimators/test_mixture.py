import math

import numpy as np
import pytest

from onnx_cte.estimators.mixture import (
    FLOOR,
    Mixture,
    fitted,
    improved,
    maximise,
    spread_centres,
    started,
)

BOTH = pytest.mark.parametrize("covariance", ["full", "diagonal"])


def rng():
    return np.random.default_rng(0)


def blobs(number=300, seed=0):
    """Three Gaussians in the plane, one of them slanted."""
    drawn = np.random.default_rng(seed)
    slant = np.array([[1.0, 0.8], [0.0, 0.3]])
    parts = [
        drawn.normal(size=(number, 2)) @ slant,
        drawn.normal(size=(number, 2)) * 0.5 + [6, 0],
        drawn.normal(loc=[0, 7], size=(number // 2, 2)),
    ]
    return np.concatenate(parts)


def density(point, mean, covariance):
    """Of one Gaussian, by its formula."""
    apart = point - mean
    squared = apart @ np.linalg.inv(covariance) @ apart
    return math.exp(-squared / 2) / math.sqrt(
        (2 * math.pi) ** len(mean) * np.linalg.det(covariance)
    )


def test_by_hand_in_one_dimension():
    """Standard normals around -1 and 1, the second thrice as heavy: at 0 only weights decide."""
    mixture = Mixture(np.array([0.25, 0.75]), np.array([[-1.0], [1.0]]), np.ones((2, 1)))
    assert mixture.posteriors(np.zeros((1, 1))) == pytest.approx(np.array([[0.25, 0.75]]))
    # At 1 the densities are as exp(-2) to 1.
    first = 0.25 * math.exp(-2)
    found = mixture.posteriors(np.array([[1.0]]))[0, 0]
    assert found == pytest.approx(first / (first + 0.75), abs=1e-12)
    expected = math.log(math.exp(-0.5) / math.sqrt(2 * math.pi))
    assert mixture.log_likelihood(np.zeros((1, 1))) == pytest.approx(expected, abs=1e-12)


def test_posteriors_are_those_of_the_formula():
    data = blobs(20)
    mixture = fitted(data, 3, rng())
    for point, found in zip(data, mixture.posteriors(data), strict=True):
        joint = [
            weight * density(point, mean, covariance)
            for weight, mean, covariance in zip(
                mixture.weights, mixture.means, mixture.covariances, strict=True
            )
        ]
        assert found == pytest.approx(np.array(joint) / sum(joint), abs=1e-9)


def test_diagonal_covariances_are_full_ones_with_zeros():
    data = blobs(30)
    diagonal = fitted(data, 3, rng(), "diagonal")
    covariances = np.stack([np.diag(row) for row in diagonal.covariances])
    full = Mixture(diagonal.weights, diagonal.means, covariances)
    assert full.posteriors(data) == pytest.approx(diagonal.posteriors(data), abs=1e-12)
    assert full.log_likelihood(data) == pytest.approx(diagonal.log_likelihood(data), abs=1e-12)


def test_maximise_by_hand():
    data = np.array([[0.0, 0.0], [2.0, 2.0], [5.0, 1.0]])
    shares = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    mixture = maximise(data, shares, "full")
    assert mixture.weights == pytest.approx([2 / 3, 1 / 3])
    assert mixture.means == pytest.approx(np.array([[1, 1], [5, 1]]))
    eye = FLOOR * np.eye(2)
    assert mixture.covariances == pytest.approx(np.array([np.ones((2, 2)) + eye, eye]))
    diagonal = maximise(data, shares, "diagonal")
    assert diagonal.covariances == pytest.approx(np.array([[1, 1], [0, 0]]) + FLOOR)


@BOTH
def test_no_step_lowers_the_likelihood(covariance):
    data = blobs()
    mixture = started(data, 4, rng(), covariance)
    likelihoods = []
    for _ in range(15):
        likelihoods.append(mixture.log_likelihood(data))
        mixture = improved(mixture, data, covariance, 1, 0.0)
    assert (np.diff(likelihoods) > -1e-7).all()
    assert likelihoods[-1] > likelihoods[0]


@BOTH
def test_it_finds_what_was_drawn(covariance):
    mixture = fitted(blobs(), 3, rng(), covariance, tolerance=1e-6)
    order = np.lexsort(mixture.means.T.round())
    # (0, 0), (6, 0), (0, 7) by the second coordinate, then the first.
    assert mixture.means[order] == pytest.approx(np.array([[0, 0], [6, 0], [0, 7]]), abs=0.35)
    assert mixture.weights[order] == pytest.approx([0.4, 0.4, 0.2], abs=0.02)


@BOTH
def test_it_is_deterministic(covariance):
    one, other = (fitted(blobs(), 5, rng(), covariance) for _ in range(2))
    assert np.array_equal(one.means, other.means)
    assert np.array_equal(one.covariances, other.covariances)


def test_centres_are_different_points_far_apart():
    data = np.array([[0.0], [0.0], [0.0], [1e-3], [100.0]])
    centres = spread_centres(data, 2, rng())
    assert abs(centres[0, 0] - centres[1, 0]) > 99
    everything = spread_centres(data, 10, rng())
    assert sorted(everything[:, 0]) == [0, 1e-3, 100]


@BOTH
def test_constant_data_make_one_component(covariance):
    data = np.zeros((6, 1))
    mixture = fitted(data, 4, rng(), covariance)
    assert mixture.weights.tolist() == [1]
    assert mixture.posteriors(data).tolist() == [[1]] * 6


@BOTH
def test_rank_deficient_data(covariance):
    line = np.linspace(0, 1, 50)[:, None] * [1.0, 2.0, 0.0]
    mixture = fitted(line, 4, rng(), covariance)
    shares = mixture.posteriors(line)
    assert np.isfinite(shares).all()
    assert shares.sum(axis=1) == pytest.approx(1)


@BOTH
def test_far_from_everything_there_is_still_a_nearest(covariance):
    mixture = fitted(blobs(), 3, rng(), covariance)
    shares = mixture.posteriors(np.array([[1e6, 0.0]]))
    assert shares.sum() == pytest.approx(1)


def test_an_empty_component_harms_nothing():
    data = blobs(20)
    shares = np.zeros((len(data), 2))
    shares[:, 0] = 1
    mixture = maximise(data, shares, "full")
    assert mixture.weights.sum() == pytest.approx(1)
    assert np.isfinite(mixture.posteriors(data)).all()


@pytest.mark.official
@pytest.mark.parametrize(("ours", "theirs"), [("full", "full"), ("diagonal", "diag")])
def test_parity_with_scikit_learn(ours, theirs):
    """From the same start, the same number of steps."""
    library = pytest.importorskip("sklearn.mixture")
    data = blobs()
    begin = started(data, 5, rng(), ours)
    precisions = np.linalg.inv(begin.covariances) if ours == "full" else 1 / begin.covariances
    reference = library.GaussianMixture(
        5,
        covariance_type=theirs,
        tol=1e-4,
        max_iter=500,
        reg_covar=FLOOR,
        weights_init=begin.weights,
        means_init=begin.means,
        precisions_init=precisions,
    ).fit(data)
    found = improved(begin, data, ours, 500, 1e-4)
    assert found.log_likelihood(data) == pytest.approx(reference.score(data), abs=1e-9)
    assert found.means == pytest.approx(reference.means_, abs=1e-6)
    assert found.covariances == pytest.approx(reference.covariances_, abs=1e-6)
    assert found.posteriors(data) == pytest.approx(reference.predict_proba(data), abs=1e-6)
