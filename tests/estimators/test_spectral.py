"""The spectral meta-learner: skills by hand, simulated raters, and another way to the same."""

import math

import numpy as np
import pytest
from mask_banks import bank_of

from onnx_cte.bank import Bank
from onnx_cte.estimators.spectral import Spectral, pooled_covariance, skill


def test_three_models_by_hand():
    # v1 = sqrt(Q12 Q13 / Q23) and so on; the diagonal does not matter.
    covariance = np.array([[0.9, 0.12, 0.18], [0.12, 0.7, 0.24], [0.18, 0.24, 0.8]])
    expected = [math.sqrt(0.12 * 0.18 / 0.24), math.sqrt(0.16), math.sqrt(0.36)]
    assert skill(covariance) == pytest.approx(expected, abs=1e-9)
    assert expected == pytest.approx([0.3, 0.4, 0.6])


def test_the_sign_is_that_of_most():
    truth = np.array([0.6, 0.5, 0.3, -0.2])
    covariance = np.outer(truth, truth) + 0.1 * np.eye(4)
    assert skill(covariance) == pytest.approx(truth, abs=1e-9)
    assert skill(covariance[::-1, ::-1]) == pytest.approx(truth[::-1], abs=1e-9)
    even = np.array([0.6, 0.5, -0.3, -0.2])
    assert skill(np.outer(even, even) + 0.1 * np.eye(4)) == pytest.approx(even, abs=1e-9)


def test_another_way_to_complete_the_diagonal():
    """Eigenvectors of the matrix with the diagonal that the last one implies, until it stays."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 0.8, 12)
    noise = rng.normal(0, 0.01, (12, 12))
    covariance = np.outer(truth, truth) + noise + noise.T
    np.fill_diagonal(covariance, 0.95)
    matrix = covariance.copy()
    for _ in range(2000):
        values, vectors = np.linalg.eigh(matrix)
        leading = vectors[:, -1] * math.sqrt(values[-1])
        np.fill_diagonal(matrix, leading**2)
    assert skill(covariance) == pytest.approx(np.abs(leading), abs=1e-8)


def test_covariance_is_numpy_s_over_the_pixels_of_all_images():
    rng = np.random.default_rng(1)
    names = list("abcd")
    masks = {name: [rng.random(shape) < 0.4 for shape in [(4, 5), (3, 3)]] for name in names}
    covariance, together = pooled_covariance(bank_of(masks))
    pooled = np.array([np.concatenate([m.ravel() for m in masks[name]]) for name in names])
    assert covariance == pytest.approx(np.cov(2.0 * pooled - 1, bias=True), abs=1e-12)
    assert (together == 29).all()


def test_covariance_of_a_pair_is_over_the_images_of_both():
    rng = np.random.default_rng(2)
    masks = {name: [rng.random((4, 5)) < 0.4 for _ in range(3)] for name in "abc"}
    masks["a"][0] = masks["b"][2] = None
    covariance, together = pooled_covariance(bank_of(masks))
    a, b, c = (2.0 * np.array([x for x in masks[n] if x is not None]) - 1 for n in "abc")
    assert covariance[0, 1] == pytest.approx(np.cov(a[0].ravel(), b[1].ravel(), bias=True)[0, 1])
    assert covariance[1, 2] == pytest.approx(np.cov(b.ravel(), c[:2].ravel(), bias=True)[0, 1])
    assert together.tolist() == [[40, 20, 40], [20, 40, 40], [40, 40, 60]]


def test_balanced_accuracies_are_recovered():
    rng = np.random.default_rng(0)
    truth = rng.random((4, 150, 150)) < 0.3
    balance = 2 * truth.mean() - 1
    rates = [(0.95, 0.9), (0.8, 0.9), (0.7, 0.7), (0.5, 0.9), (0.5, 0.5)]
    masks = {
        f"{p}-{q}": list(np.where(truth, rng.random(truth.shape) < p, rng.random(truth.shape) > q))
        for p, q in rates
    }
    scores = Spectral().score(bank_of(masks))
    expected = [math.sqrt(1 - balance**2) * (p + q - 1) for p, q in rates]
    assert list(scores.values()) == pytest.approx(expected, abs=0.02)


def test_a_drawn_image_counts_as_often_as_drawn():
    rng = np.random.default_rng(3)
    bank = bank_of({n: [rng.random((5, 5)) < 0.5 for _ in range(3)] for n in "abcd"})
    drawn, _ = pooled_covariance(bank.draw([1, 1, 2]))
    spelled = Bank({model: [row[1], row[1], row[2]] for model, row in bank.items()})
    assert (drawn == pooled_covariance(spelled)[0]).all()


def test_models_that_do_not_vary_are_at_chance():
    rng = np.random.default_rng(4)
    truth = rng.random((30, 30)) < 0.4
    good = [truth ^ (rng.random(truth.shape) < 0.1) for _ in range(3)]
    masks = dict(zip("abc", ([mask] for mask in good), strict=True))
    masks |= {"silent": [np.zeros((30, 30))], "full": [np.ones((30, 30))]}
    scores = Spectral().score(bank_of(masks))
    assert scores["silent"] == scores["full"] == 0
    assert all(scores[name] > 0.5 for name in "abc")


def test_fewer_than_three_that_vary_are_undefined():
    one, two = [[[1, 0, 0, 1]], [[1, 1, 0, 0]]]
    for masks in ({"a": [one], "b": [two]}, {"a": [one], "b": [two], "c": [[[0, 0, 0, 0]]]}):
        assert all(map(math.isnan, Spectral().score(bank_of(masks)).values()))


def test_models_without_common_images_are_left_out():
    rng = np.random.default_rng(5)
    truth = rng.random((2, 20, 20)) < 0.4
    seen = {n: list(truth ^ (rng.random(truth.shape) < 0.2)) for n in "abcde"}
    whole = Spectral().score(bank_of({n: seen[n] for n in "abc"}))
    # d never ran where e did, and e lacks as many as d: of equals, the first by name goes.
    seen["d"][0] = seen["e"][1] = None
    scores = Spectral().score(bank_of(seen))
    assert math.isnan(scores["d"])
    assert not any(math.isnan(scores[n]) for n in "abce")
    seen["e"][0] = None
    scores = Spectral().score(bank_of(seen))
    assert math.isnan(scores["e"])
    assert not any(math.isnan(scores[n]) for n in "abcd")
    seen["d"][1] = None
    assert {n: Spectral().score(bank_of(seen))[n] for n in "abc"} == whole


def test_uncorrelated_models_end_at_zero():
    assert skill(np.eye(4)).tolist() == [0, 0, 0, 0]
