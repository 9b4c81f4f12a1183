import dataclasses
import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.estimators.transfer_score import (
    TransferScore,
    classifier_uniformity,
    hopkins_statistic,
    mutual_information,
    recovered_weights,
)
from onnx_cte.features import FeatureMap
from onnx_cte.types import Observation, Prediction

close = pytest.approx
TAP = "decoder#-1"
SIDE = 16


def softmax(logits, axis=-1):
    grown = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return grown / grown.sum(axis=axis, keepdims=True)


def seen(name, step=3.0, sees=True):
    """A foreground predicted where two features are larger by `step`."""
    rng = np.random.default_rng([ord(c) for c in name])
    right = np.arange(SIDE) + np.zeros((SIDE, 1)) >= 8
    features = rng.normal(size=(2, SIDE, SIDE)) + step * right
    sure = 0.5 + 0.45 * math.tanh(step)
    maps = np.where(right & sees, sure, 1 - sure)[None].astype(np.float32)
    fmap = FeatureMap.of(features.astype(np.float32), (SIDE, SIDE))
    prediction = Prediction(maps, ("foreground",))
    return Observation(name, np.zeros((SIDE, SIDE)), prediction, features={TAP: fmap})


def with_classes(name, weights, bent=False):
    """Classes predicted by a linear layer of these weights (K, C); or by one that is bent."""
    rng = np.random.default_rng([ord(c) for c in name])
    features = rng.normal(size=(weights.shape[1], SIDE, SIDE)).astype(np.float32)
    logits = np.tensordot(weights, np.abs(features) if bent else features, 1)
    maps = softmax(logits, axis=0).astype(np.float32)
    roles = ("background", *(f"class {k}" for k in range(1, len(weights))))
    fmap = FeatureMap.of(features, (SIDE, SIDE))
    prediction = Prediction(maps, roles)
    return Observation(name, np.zeros((SIDE, SIDE)), prediction, features={TAP: fmap})


WEIGHTS = np.array([[2.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0], [-2.0, -1.0, 0.0, -1.0]])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([[1, 0], [-3, 0]], 0.0),
        ([[1, 0], [0, 1]], (math.pi / 2) ** 2),
        # Three at 120 degrees, of any length, are ideal.
        ([[1, 0], [-1, math.sqrt(3)], [-0.5, -math.sqrt(3) / 2]], 0.0),
        # Angles of 90, 90 and 180 degrees, ideal are 120: (30^2 + 30^2 + 60^2) / 3.
        ([[1, 0], [0, 1], [-1, 0]], 1800 * (math.pi / 180) ** 2),
        ([[1, 0], [0, 0]], math.nan),
    ],
)
def test_classifier_uniformity(weights, expected):
    found = classifier_uniformity(np.array(weights, float))
    assert found == close(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 0], [0, 1]], math.log(2)),
        ([[1, 0], [1, 0]], 0.0),
        ([[0.5, 0.5], [0.5, 0.5]], 0.0),
        (
            [[0.9, 0.1], [0.1, 0.9]],
            math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1),
        ),
        (np.eye(3), math.log(3)),
        (np.zeros((0, 2)), math.nan),
    ],
)
def test_mutual_information(rows, expected):
    assert mutual_information(np.array(rows, float)) == close(expected, abs=1e-12, nan_ok=True)


def test_hopkins_statistic_by_hand():
    # Of two features at 0 and 9, one is looked at: 9 to the other.
    features = np.array([[0.0], [9.0]])
    rng = np.random.default_rng(0)
    rng.permutation(2)
    point = 9 * rng.random()
    u = min(point, 9 - point)
    assert hopkins_statistic(features, np.random.default_rng(0)) == close(u / (u + 9))
    assert hopkins_statistic(features * [1, 0] + 5, np.random.default_rng(0), raised=True) < 0.5


@pytest.mark.parametrize("raised", [False, True])
def test_hopkins_statistic_by_distances(raised):
    features = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)
    found = hopkins_statistic(features, np.random.default_rng(2), raised=raised)
    rng = np.random.default_rng(2)
    chosen = rng.permutation(60)[:3]
    low, high = features.min(axis=0), features.max(axis=0)
    points = low + rng.random((3, 3)) * (high - low)
    u = [np.linalg.norm(features - p, axis=1).min() for p in points]
    w = [np.sort(np.linalg.norm(features - features[c], axis=1))[1] for c in chosen]
    power = 3 if raised else 1
    u, w = np.power(u, power).sum(), np.power(w, power).sum()
    assert found == close(u / (u + w), rel=1e-5)


def test_hopkins_statistic_of_clusters_of_a_cloud_and_of_nothing():
    rng = np.random.default_rng(0)
    cloud = rng.random((2000, 2))
    assert hopkins_statistic(cloud, rng) == close(0.5, abs=0.06)
    clusters = rng.normal(0, 0.01, (2000, 2)) + rng.integers(0, 2, (2000, 1))
    assert hopkins_statistic(clusters, rng) > 0.95
    assert hopkins_statistic(np.ones((50, 3)), rng) == 0.0
    assert math.isnan(hopkins_statistic(np.ones((1, 3)), rng))
    assert math.isnan(hopkins_statistic(np.array([[1.0], [np.nan]]), rng))


def test_hopkins_statistic_does_not_overflow():
    features = 1e30 * np.random.default_rng(0).normal(size=(100, 300)).astype(np.float32)
    assert 0 <= hopkins_statistic(features, np.random.default_rng(0), raised=True) <= 1


def test_weights_are_recovered_up_to_what_is_common_to_all_classes():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 5))
    features = rng.normal(2, 3, (200, 5))
    probabilities = softmax(features @ weights.T + rng.normal(size=3))
    found, explained = recovered_weights(features, probabilities)
    assert found == close(weights - weights.mean(axis=0), abs=1e-9)
    assert explained == close(1.0)


def test_weights_of_features_that_never_vary_are_zero():
    rng = np.random.default_rng(0)
    features = np.column_stack([rng.normal(size=(50, 2)), np.full(50, 7.0)])
    found, explained = recovered_weights(features, softmax(features @ WEIGHTS[:, :3].T))
    assert found[:, 2] == close(np.zeros(3), abs=1e-9)
    assert explained == close(1.0)


def test_weights_need_more_pixels_than_features():
    rng = np.random.default_rng(0)
    features, probabilities = rng.normal(size=(6, 5)), rng.dirichlet([1, 1, 1], 6)
    found, explained = recovered_weights(features, probabilities)
    assert np.isnan(found).all()
    assert math.isnan(explained)
    features, probabilities = rng.normal(size=(7, 5)), rng.dirichlet([1, 1, 1], 7)
    assert np.isfinite(recovered_weights(features, probabilities)[0]).all()
    probabilities[0] = [1, 0, 0]
    assert np.isnan(recovered_weights(features, probabilities)[0]).all()


def test_evidence_of_a_foreground():
    estimator = TransferScore()
    evidence = estimator.measure(seen("a"))
    p = np.float32(0.5 + 0.45 * math.tanh(3.0))
    rows = np.array([[p, 1 - p], [1 - p, p]])
    assert evidence["information"] == close(mutual_information(rows) / math.log(2), rel=1e-5)
    assert 0 < evidence["hopkins"] < 1
    assert evidence["value"] == evidence["hopkins"] + evidence["information"]
    assert evidence["uniformity"] == 0.0
    assert estimator.score(Bank({"m": [evidence]}))["m"] == evidence["value"]


def test_what_is_drawn_depends_on_the_seed_and_the_image_alone():
    one, again = (TransferScore().measure(seen("a")) for _ in range(2))
    assert one["hopkins"] == again["hopkins"]
    other = TransferScore().measure(dataclasses.replace(seen("a"), seed=1))
    assert one["hopkins"] != other["hopkins"]
    renamed = TransferScore().measure(dataclasses.replace(seen("a"), image="b"))
    assert one["hopkins"] != renamed["hopkins"]


def test_uniformity_of_classes():
    estimator = TransferScore()
    evidence = estimator.measure(with_classes("a", WEIGHTS))
    centred = WEIGHTS - WEIGHTS.mean(axis=0)
    assert evidence["uniformity"] == close(classifier_uniformity(centred), abs=1e-3)
    assert evidence["explained"] == close(1.0, abs=1e-6)
    rows = [estimator.measure(with_classes(name, WEIGHTS)) for name in "abc"]
    bank = Bank({"m": [*rows, None]})
    without = TransferScore(uniformity=False)
    bare = without.score(Bank({"m": [without.measure(with_classes(n, WEIGHTS)) for n in "abc"]}))
    assert bare["m"] - estimator.score(bank)["m"] == close(classifier_uniformity(centred), abs=1e-3)
    assert estimator.remarks(bank) == ()


def test_a_last_layer_that_is_not_linear_is_remarked():
    estimator = TransferScore()
    row = [estimator.measure(with_classes(name, WEIGHTS, bent=True)) for name in "ab"]
    (text,) = estimator.remarks(Bank({"bent": row, "absent": [None, None]}))
    assert text.startswith("bent: a linear layer on decoder#-1 explains ")
    assert "uniformity=False" in text


def test_too_few_pixels_for_the_weights():
    estimator = TransferScore(vectors=1)
    evidence = estimator.measure(with_classes("a", WEIGHTS))
    assert math.isnan(evidence["uniformity"])
    assert not math.isnan(evidence["value"])
    assert math.isnan(estimator.score(Bank({"m": [evidence]}))["m"])
    bare = TransferScore(vectors=1, uniformity=False)
    assert not math.isnan(bare.score(Bank({"m": [bare.measure(with_classes("a", WEIGHTS))]}))["m"])


def test_draws_gaps_and_order():
    estimator = TransferScore()
    rows = {
        "clear": [estimator.measure(seen(n, 6.0)) for n in "abc"],
        "dim": [estimator.measure(seen(n, 0.3)) for n in "abc"],
        "classes": [estimator.measure(with_classes(n, WEIGHTS)) for n in "abc"],
    }
    bank = Bank(rows)
    scores = estimator.score(bank)
    assert scores["clear"] > scores["dim"]
    spelled = Bank({model: [row[0], row[0], row[2]] for model, row in rows.items()})
    assert estimator.score(bank.draw([0, 0, 2])) == close(estimator.score(spelled), rel=1e-9)
    turned = Bank({model: row[::-1] for model, row in reversed(list(rows.items()))})
    assert estimator.score(turned) == close(scores, rel=1e-9)
    gaps = {model: [None, *row] for model, row in rows.items()} | {"absent": [None] * 4}
    with_gaps = dict(estimator.score(Bank(gaps)))
    assert math.isnan(with_gaps.pop("absent"))
    assert with_gaps == close(scores)


def test_silence_never_wins():
    estimator = TransferScore()
    rows = {
        "dim": [estimator.measure(seen(n, 0.3)) for n in "abc"],
        "blind": [estimator.measure(seen(n, 9.0, sees=n == "a")) for n in "abc"],
    }
    scores = estimator.score(Bank(rows))
    assert scores["dim"] > scores["blind"] == 0.0
    nobody = estimator.score(Bank({"blind": rows["blind"][1:]}))
    assert math.isnan(nobody["blind"])


def test_constant_features():
    one = seen("a")
    fmap = FeatureMap.of(np.ones((2, SIDE, SIDE), np.float32), (SIDE, SIDE))
    same = Observation("a", one.pixels, one.reference, features={TAP: fmap})
    evidence = TransferScore().measure(same)
    assert evidence["hopkins"] == 0.0
    assert evidence["value"] == evidence["information"]


def test_powers_are_an_option():
    one, other = (TransferScore(raised=raised).measure(seen("a")) for raised in (False, True))
    assert one["hopkins"] != other["hopkins"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"tap": ""}, "TransferScore: tap is the name of a feature map, .* not ''"),
        ({"vectors": -1}, r"TransferScore: vectors.* at least 1, not -1"),
        ({"uniformity": 1}, "TransferScore: uniformity is True or False, not 1"),
        ({"raised": None}, "TransferScore: raised is True or False, not None"),
    ],
)
def test_bad_options(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        TransferScore(**options)


def test_what_it_needs_and_is_called():
    assert TransferScore(tap="bottleneck").needs.taps == ("bottleneck",)
    assert TransferScore().title == "transfer_score"
    assert TransferScore(uniformity=False).title == "transfer_score (no uniformity)"
