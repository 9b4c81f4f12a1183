"""LogME, against the worked example and the marginal likelihood itself."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from onnx_cte.bank import Bank
from onnx_cte.estimators.logme import LogME, log_maximum_evidence

F = np.array([[1, 0], [2, 1], [0, 1], [-1, 2], [-2, 1]], float)
Y = np.array([0, 0, 1, 1, 1])


def largest_evidence(features, target):
    """Maximum of log N(y; 0, 1/beta + F F^T / alpha) a sample, by search from many places."""
    n = len(target)

    def loss(logs):
        alpha, beta = np.exp(np.clip(logs, -60, 60))
        covariance = np.eye(n) / beta + features @ features.T / alpha
        log = np.linalg.slogdet(covariance).logabsdet
        return (target @ np.linalg.solve(covariance, target) + log + n * math.log(2 * math.pi)) / 2

    options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}
    starts = [(0.0, 0.0), (-4.0, 2.0), (6.0, 2.0), (12.0, 1.0)]
    found = [minimize(loss, start, method="Nelder-Mead", options=options) for start in starts]
    return -min(result.fun for result in found) / n


def test_worked_example():
    assert log_maximum_evidence(F, Y) == pytest.approx(-0.8650412968, abs=1e-9)
    assert largest_evidence(F, (Y == 0) * 1.0) == pytest.approx(-0.9140869574, abs=1e-8)
    assert largest_evidence(F, (Y == 1) * 1.0) == pytest.approx(-0.8159956362, abs=1e-8)


def test_names_of_classes_do_not_matter():
    assert log_maximum_evidence(F, np.array([7, 7, 3, 3, 3])) == log_maximum_evidence(F, 1 - Y)


@pytest.mark.parametrize(
    ("pixels", "width", "classes", "signal", "offset"),
    [
        (40, 3, 2, 1.0, 0.0),
        (40, 3, 3, 0.3, 2.0),
        (40, 6, 2, 0.0, 0.0),
        (12, 20, 2, 1.0, 0.0),  # more channels than pixels: F explains all, at a price
        (60, 4, 2, 1.5, 5.0),
    ],
)
def test_it_is_the_maximum_of_the_marginal_likelihood(pixels, width, classes, signal, offset):
    rng = np.random.default_rng(pixels * width)
    labels = np.arange(pixels) % classes
    features = rng.normal(size=(pixels, width)) + offset
    features[:, 0] += signal * labels
    features[:, -1] *= 20
    expected = np.mean([largest_evidence(features, (labels == k) * 1.0) for k in range(classes)])
    found = log_maximum_evidence(features, labels)
    assert found == pytest.approx(expected, abs=1e-6)
    # A search may stop short of the maximum, but never beyond it.
    assert found >= expected - 1e-9


def test_where_it_stands_alpha_and_beta_no_longer_move():
    """The published alternation, run to its end, arrives at the same evidence."""
    rng = np.random.default_rng(4)
    labels = np.arange(80) % 2
    features = rng.normal(size=(80, 5)) + labels[:, None] * [1, 0, 0, 0.5, 0]
    n, d = features.shape
    evidences = []
    for kind in (0, 1):
        y, alpha, beta = (labels == kind) * 1.0, 1.0, 1.0
        values = np.linalg.eigvalsh(features.T @ features)
        for _ in range(3000):
            precision = alpha * np.eye(d) + beta * features.T @ features
            mean = beta * np.linalg.solve(precision, features.T @ y)
            gamma = (beta * values / (alpha + beta * values)).sum()
            alpha = gamma / (mean @ mean)
            beta = (n - gamma) / np.square(y - features @ mean).sum()
        precision = alpha * np.eye(d) + beta * features.T @ features
        mean = beta * np.linalg.solve(precision, features.T @ y)
        evidences.append(
            d / 2 * math.log(alpha)
            + n / 2 * math.log(beta / (2 * math.pi))
            - beta / 2 * np.square(y - features @ mean).sum()
            - alpha / 2 * mean @ mean
            - np.linalg.slogdet(precision).logabsdet / 2
        )
    assert log_maximum_evidence(features, labels) == pytest.approx(np.mean(evidences) / n, abs=1e-9)


def test_a_copied_channel_is_no_information_but_is_defined():
    copied = np.concatenate([F, F[:, :1]], axis=1)
    expected = np.mean([largest_evidence(copied, 1.0 * np.equal(Y, k)) for k in (0, 1)])
    assert log_maximum_evidence(copied, Y) == pytest.approx(expected, abs=1e-7)


def test_features_that_say_nothing_have_the_evidence_of_noise():
    shares = np.array([2 / 5, 3 / 5])
    noise = -(np.log(2 * math.pi * shares) + 1).mean() / 2
    assert log_maximum_evidence(np.zeros((5, 3)), Y) == pytest.approx(noise, abs=1e-12)
    # A constant is a bias, which explains the mean of the labels.
    constant = np.full((5, 1), 0.1)
    expected = np.mean([largest_evidence(constant, 1.0 * np.equal(Y, k)) for k in (0, 1)])
    assert log_maximum_evidence(constant, Y) == pytest.approx(expected, abs=1e-8)


def test_a_perfect_fit_is_bounded():
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 2
    perfect = np.stack([labels, 1 - labels, rng.normal(size=100)], axis=1)
    noisy = perfect + rng.normal(0, 0.05, perfect.shape)
    found = log_maximum_evidence(perfect, labels)
    assert log_maximum_evidence(noisy, labels) < found
    # Residual 1e-9 of y^T y, less what the fit of two weights costs.
    bound = -(math.log(2 * math.pi * 0.5e-9) + 1) / 2
    assert bound - 0.5 < found < bound


def test_the_scale_of_features_is_free():
    rng = np.random.default_rng(2)
    labels = np.arange(50) % 3
    features = rng.normal(size=(50, 4)) + np.eye(4)[labels]
    expected = log_maximum_evidence(features, labels)
    for scale in (1e-8, 1e8):
        assert log_maximum_evidence(scale * features, labels) == pytest.approx(expected, abs=1e-9)


def test_one_class_is_undefined():
    assert math.isnan(log_maximum_evidence(F, np.zeros(5, int)))


def test_it_scores_a_bank():
    row = [{"image": "0", "features": F.astype(np.float32), "labels": Y}]
    assert LogME().score(Bank({"a": row}))["a"] == pytest.approx(-0.8650412968, abs=1e-9)
