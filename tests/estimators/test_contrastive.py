"""Contrastive robustness: the worked hinge, who is compared with whom, and distances."""

import itertools
import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators.contrastive import (
    VIEWS,
    Contrastive,
    feature_distances,
    triplet_losses,
)
from onnx_cte.estimators.sampling import MOST_BYTES
from onnx_cte.evidence import EvidenceStore
from onnx_cte.features import FeatureMap
from onnx_cte.perturbations.jitter import Jitter
from onnx_cte.types import Observation, Prediction


def shown(image, first, second, shape=(8, 8)):
    """Feature maps of both views; one-dimensional features are those of every position."""
    views = {}
    for jitter, values in zip(VIEWS, (first, second), strict=True):
        values = np.asarray(values, np.float32)
        if values.ndim == 1:
            values = np.broadcast_to(values[:, None, None], (len(values), 4, 4))
        views[jitter.name] = {"bottleneck": FeatureMap.of(values, shape)}
    blank = np.zeros(shape, np.float32)
    return Observation(image, blank, Prediction(blank[None], ("foreground",)), views=views)


def bank_of(estimator, images):
    return Bank({"model": [estimator.measure(seen) for seen in images]})


def score(estimator, images):
    return estimator.score(bank_of(estimator, images))["model"]


def random_images(count, seed=0, channels=6):
    rng = np.random.default_rng(seed)
    return [
        shown(f"image {number:03d}", *rng.normal(size=(2, channels))) for number in range(count)
    ]


def test_the_worked_hinge():
    distances = feature_distances(np.eye(2), np.array([[1.0, 1], [-1, 1]]), "cosine")
    assert triplet_losses(distances, 0.5) == pytest.approx([0, 0.5], abs=1e-12)
    images = [shown("a", [1, 0], [1, 1]), shown("b", [0, 1], [-1, 1])]
    assert score(Contrastive(), images) == pytest.approx(0.25, abs=1e-7)


@pytest.mark.parametrize("count", range(2, 12))
def test_no_image_is_its_own_negative_and_each_is_one_once(count):
    # The distance of i to j is a number that tells i and j.
    table = -np.arange(count * count, dtype=float).reshape(count, count)
    losses = triplet_losses(table, 1e6)
    other = [round(-(table[i, i] - losses[i] + 1e6) - i * count) for i in range(count)]
    assert sorted(other) == list(range(count))
    assert all(i != j for i, j in enumerate(other))


@pytest.mark.parametrize("distance", ["cosine", "l2", "pearson"])
def test_distances_are_what_numpy_says(distance):
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 2, (4, 9)), rng.normal(-1, 1, (5, 9))
    due = {
        "cosine": lambda u, v: 1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v),
        "l2": lambda u, v: ((u - v) ** 2).mean(),
        "pearson": lambda u, v: 1 - np.corrcoef(u, v)[0, 1],
    }[distance]
    found = feature_distances(one, other, distance)
    assert found == pytest.approx(np.array([[due(u, v) for v in other] for u in one]), rel=1e-9)
    assert feature_distances(one, one, distance).diagonal() == pytest.approx(np.zeros(4), abs=1e-12)


@pytest.mark.parametrize("distance", ["cosine", "l2", "pearson"])
@pytest.mark.parametrize("vector", [[0, 0, 0], [0.1, 0.1, 0.1], [1, 2, 3]])
def test_features_that_ignore_the_image_lose_the_margin(distance, vector):
    images = [shown(name, vector, vector) for name in "abc"]
    estimator = Contrastive(distance=distance, margin=0.75)
    assert score(estimator, images) == pytest.approx(0.75, abs=1e-6)


def test_zeros_have_a_cosine_of_zero_and_constants_no_correlation():
    zeros, some = np.zeros((1, 3)), np.array([[1.0, 2, 4]])
    assert feature_distances(zeros, some, "cosine") == 1
    assert feature_distances(zeros + 0.1, some, "pearson") == 1
    assert feature_distances(np.ones((1, 1)), np.ones((1, 1)), "pearson") == 1


@pytest.mark.parametrize("count", [2, 3, 6, 7])
def test_it_is_what_plain_sums_give(count):
    images = random_images(count)
    means = [[seen.views[jitter.name]["bottleneck"].mean() for seen in images] for jitter in VIEWS]
    for margin, distance in itertools.product((0, 0.5), ("l2", "cosine")):
        table = feature_distances(*map(np.array, means), distance)
        losses = [
            max(0, table[i, i] - table[i, (i + count // 2) % count] + margin) for i in range(count)
        ]
        found = score(Contrastive(margin=margin, distance=distance), images)
        assert found == pytest.approx(np.mean(losses), abs=1e-6)


def test_features_that_hold_still_lose_less():
    rng = np.random.default_rng(3)
    own = rng.normal(size=(8, 20))
    losses = []
    for noise in (0.05, 0.7, 3):
        images = [
            shown(str(i), vector, vector + noise * rng.normal(size=20))
            for i, vector in enumerate(own)
        ]
        losses.append(score(Contrastive(margin=1), images))
    assert losses[0] < losses[1] < losses[2]
    assert not Contrastive.greater_is_better


@pytest.mark.parametrize("pooling", ["mean", "grid"])
def test_draws_orders_and_gaps(pooling):
    estimator = Contrastive(pooling=pooling, distance="l2")
    bank = bank_of(estimator, random_images(7))
    whole = estimator.score(bank)["model"]
    assert estimator.score(bank.draw(range(7)))["model"] == pytest.approx(whole, rel=1e-12)
    for drawn in ([0, 0, 3], [6, 1, 1, 5, 0], [4, 2], [5, 5], [3]):
        spelled = Bank({"model": [bank["model"][i] for i in drawn]})
        found = estimator.score(bank.draw(drawn))["model"]
        assert found == pytest.approx(estimator.score(spelled)["model"], rel=1e-9, nan_ok=True)
        assert math.isnan(found) is (len(set(drawn)) < 2)
    turned = Bank({"model": [bank["model"][i] for i in (3, 5, 0, 4, 1, 2, 6)]})
    assert estimator.score(turned)["model"] == pytest.approx(whole, rel=1e-9)
    gaps = Bank({"model": [None, *bank["model"]], "absent": [None] * 8})
    assert estimator.score(gaps)["model"] == pytest.approx(whole, rel=1e-12)
    assert math.isnan(estimator.score(gaps)["absent"])


def test_an_image_counts_as_often_as_it_was_drawn():
    estimator = Contrastive()
    bank = bank_of(estimator, [shown("a", [1, 0], [1, 1]), shown("b", [0, 1], [-1, 1])])
    # Their losses are 0 and 0.5.
    assert estimator.score(bank.draw([1, 0, 1]))["model"] == pytest.approx(1 / 3, abs=1e-7)
    assert estimator.score(bank.draw([0, 0, 0, 1]))["model"] == pytest.approx(1 / 8, abs=1e-7)


def test_one_image_is_undefined():
    assert math.isnan(score(Contrastive(), random_images(1)))
    assert math.isnan(score(Contrastive(), []))


def test_a_grid_reads_positions_that_are_spread_evenly():
    y, x = np.mgrid[:16, :24]
    image = shown("a", [y, x], [y, x], shape=(16, 24))
    evidence = Contrastive(pooling="grid").measure(image)
    grid = evidence["query"].reshape(64, 2)
    assert np.unique(grid[:, 0]).tolist() == [1, 3, 5, 7, 9, 11, 13, 15]
    assert np.unique(grid[:, 1]).tolist() == [1, 4, 7, 10, 13, 16, 19, 22]
    mean = Contrastive().measure(image)
    assert mean["query"].tolist() == [7.5, 11.5]
    assert mean["query"].dtype == evidence["query"].dtype == np.float32


def test_images_of_any_size_and_volumes_have_grids_of_one_size():
    rng = np.random.default_rng(0)
    estimator = Contrastive(pooling="grid")
    for shapes, length in ((((8, 8), (31, 6)), 64), (((4, 8, 8), (9, 5, 20)), 64)):
        images = [
            shown(str(shape), *rng.normal(size=(2, 3, *[2] * len(shape))), shape=shape)
            for shape in shapes
        ]
        assert {len(estimator.measure(seen)["key"]) for seen in images} == {3 * length}
        assert math.isfinite(score(estimator, images))


@pytest.mark.parametrize(("channels", "side"), [(2000, 8), (2100, 7), (60_000, 1)])
def test_evidence_stays_small(channels, side):
    values = np.ones((channels, 2, 2))
    evidence = Contrastive(pooling="grid").measure(shown("a", values, values))
    assert len(evidence["query"]) == channels * side**2
    assert evidence["query"].nbytes + evidence["key"].nbytes <= MOST_BYTES


def test_evidence_survives_the_file(tmp_path):
    estimator = Contrastive()
    bank = bank_of(estimator, random_images(3))
    with EvidenceStore(tmp_path / "evidence.sqlite") as store:
        store.put({str(i): seen for i, seen in enumerate(bank["model"])})
        again = Bank({"model": [store.get(str(i)) for i in range(3)]})
    assert estimator.score(again) == estimator.score(bank)


def test_what_it_asks_for():
    needs = Contrastive(level="encoder#1").needs
    assert [view.perturbation for view in needs.views] == [Jitter(number=0), Jitter(number=1)]
    assert {view.taps for view in needs.views} == {("encoder#1",)}
    asked = (needs.truth, needs.source, needs.perturbations, needs.taps)
    assert asked == (False, False, (), ())
    # Margins and distances share what was measured.
    assert Contrastive(margin=0, distance="l2").measures == Contrastive().measures
    assert Contrastive(pooling="grid").measures != Contrastive().measures


def test_margins_share_a_bank():
    bank = bank_of(Contrastive(), random_images(5))
    together = [Contrastive(margin=m, distance=d).score(bank) for m, d in ((0, "l2"), (1, "l2"))]
    alone = bank_of(Contrastive(), random_images(5))
    assert Contrastive(margin=1, distance="l2").score(alone) == together[1]
    assert together[0]["model"] < together[1]["model"]
    assert Contrastive(margin=1).score(bank) != together[1]


def test_what_it_says_of_itself():
    assert Contrastive().title == "contrastive"
    made = Contrastive("skip/1", "l2", 0.25, "grid")
    assert made.title == "contrastive l2 grid margin 0.25 @skip/1"
    assert eval(repr(made), {"Contrastive": Contrastive}) == made
    assert "experimental" in Contrastive.summary
    assert "Experimental" in Contrastive.__doc__


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"level": ""}, "contrastive: level is the name of a tap, not ''"),
        ({"distance": "cosin"}, "unknown distance of features 'cosin': did you mean 'cosine'"),
        ({"pooling": "max"}, r"unknown pooling of features 'max'\. There are: grid, mean"),
        ({"margin": -1}, "margin is a finite number of at least 0, not -1"),
        ({"margin": math.nan}, "margin is a finite number of at least 0, not nan"),
    ],
)
def test_options_that_mean_nothing(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        Contrastive(**options)


def test_features_that_are_not_finite_are_named():
    with pytest.raises(ModelError, match="a: features at 'bottleneck' hold NaN or infinity"):
        Contrastive().measure(shown("a", [1, 2], [1, np.inf]))
