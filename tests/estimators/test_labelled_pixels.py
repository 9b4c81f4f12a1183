"""Evidence of labelled pixels, its moments, and what all estimators made of them have in common."""

import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators.gbc import GBC, bhattacharyya_score
from onnx_cte.estimators.h_score import HScore, h_score
from onnx_cte.estimators.labelled_pixels import (
    LabelledPixels,
    moments_of,
    one_table,
    pixel_tables,
)
from onnx_cte.estimators.logme import LogME, log_maximum_evidence
from onnx_cte.estimators.ncti import NCTI, neural_collapse, scaled
from onnx_cte.estimators.sampling import MOST_BYTES
from onnx_cte.evidence import EvidenceStore
from onnx_cte.features import FeatureMap
from onnx_cte.types import Observation, Prediction

TAP = "decoder#-1"
ESTIMATORS = [
    LogME(),
    GBC(),
    GBC(covariance="full"),
    GBC(dimensions=2),
    HScore(),
    HScore(regularised=True),
    NCTI(),
    NCTI(dimensions=2),
]
EACH = pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)


def observation(name="a.png", *, truth=None, maps=None, features=None, seed=0, **given):
    y, x = np.mgrid[:12, :16]
    disc = ((y - 6) ** 2 + (x - 7) ** 2 < 16).astype(np.int32)
    truth = disc if truth is None else truth
    maps = disc.astype(np.float32)[None] if maps is None else maps
    if features is None:
        features = np.stack([disc, y, x]).astype(np.float32)
    return Observation(
        name,
        disc * 1.0,
        Prediction(maps, ("foreground",)),
        truth=truth,
        features={TAP: FeatureMap.of(features, truth.shape)},
        seed=seed,
        **given,
    )


def evidence(name, quality, seed, *, width=4, pixels=40):
    """Two classes, further apart the better the quality; the noise is the same in all models."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(pixels) >= pixels // 2).astype(np.uint8)
    features = rng.normal(size=(pixels, width)) @ np.linspace(0.2, 1.4, width * width).reshape(
        width, width
    ) + 0.3 * rng.normal(size=(pixels, width))
    features[:, 0] += 3 * quality * labels
    return {
        "image": name,
        "features": (features + 2).astype(np.float32),
        "labels": labels,
        "foreground": 0.3,
    }


QUALITIES = {"good": 2.0, "fair": 1.0, "bad": 0.1}


def bank_of(order=range(5), **given):
    return Bank({m: [evidence(str(i), q, i, **given) for i in order] for m, q in QUALITIES.items()})


# ---- evidence


def test_as_many_pixels_of_each_class():
    found = LabelledPixels(vectors=20).measure(observation())
    assert found["image"] == "a.png"
    assert found["features"].shape == (40, 3)
    assert found["features"].dtype == np.float32
    assert found["labels"].dtype == np.uint8
    assert found["labels"].tolist() == [0] * 20 + [1] * 20
    assert found["foreground"] == pytest.approx(45 / 192)
    # The first channel is the label itself; the others say where the pixels lie.
    assert found["features"][:, 0].tolist() == found["labels"].tolist()
    assert len(np.unique(found["features"][:, 1:], axis=0)) == 40


def test_pixels_depend_on_image_and_seed_but_not_on_the_model():
    pixels = LabelledPixels(vectors=20)
    first = pixels.measure(observation())["features"]
    other = observation(features=observation().features[TAP].pieces[0].values * 2)
    assert np.array_equal(pixels.measure(other)["features"], 2 * first)
    assert not np.array_equal(pixels.measure(observation("b.png"))["features"], first)
    assert not np.array_equal(pixels.measure(observation(seed=1))["features"], first)


def test_fewer_pixels_than_asked():
    found = LabelledPixels().measure(observation())
    assert np.bincount(found["labels"]).tolist() == [192 - 45, 45]


@pytest.mark.parametrize("value", [0, 1])
def test_an_image_of_one_class_gives_no_pixels(value):
    found = LabelledPixels().measure(observation(truth=np.full((12, 16), value, np.int32)))
    assert found["features"].shape == (0, 3)
    assert found["labels"].shape == (0,)


def test_labels_of_classes_and_of_the_model_itself():
    truth = np.zeros((12, 16), np.int32)
    truth[:4], truth[4:8] = 7, 300
    found = LabelledPixels(labels="classes", vectors=5).measure(observation(truth=truth))
    assert found["labels"].dtype == np.uint16
    assert found["labels"].tolist() == [0] * 5 + [7] * 5 + [300] * 5
    masked = LabelledPixels(labels="truth", vectors=5).measure(observation(truth=truth))
    assert masked["labels"].tolist() == [0] * 5 + [1] * 5

    maps = np.zeros((1, 12, 16), np.float32)
    blind = LabelledPixels(labels="pseudo").measure(observation(truth=truth, maps=maps))
    assert not len(blind["labels"])
    maps[0, :, 5] = 0.9
    pseudo = LabelledPixels(labels="pseudo", vectors=9).measure(observation(maps=maps))
    assert (pseudo["features"][9:, 2] == 5).all()
    assert pseudo["labels"].tolist() == [0] * 9 + [1] * 9


@pytest.mark.parametrize("classes", [2, 40, 192])
@pytest.mark.parametrize("width", [64, 1024, 3000])
def test_evidence_stays_small(classes, width):
    truth = np.arange(192 * 400, dtype=np.int32).reshape(192, 400) % classes
    wide = np.ones((width, 3, 4), np.float32)
    pixels = LabelledPixels(labels="classes", vectors=500)
    found = pixels.measure(observation(truth=truth, features=wide))
    size = sum(found[key].nbytes for key in ("features", "labels"))
    assert size <= MOST_BYTES
    # And no room is wasted: one pixel more of each class would be too much, or is not asked for.
    assert size + classes * (4 * width + 1) > 0.99 * MOST_BYTES or len(found["labels"]) == (
        500 * classes
    )
    if classes < MOST_BYTES // (4 * width):
        assert len(set(np.bincount(found["labels"]))) == 1


def test_evidence_survives_the_store():
    found = LabelledPixels().measure(observation())
    with EvidenceStore(None) as store:
        store.put({"key": found})
        again = store.get("key")
    assert list(again) == list(found)
    for key in ("features", "labels"):
        assert np.array_equal(again[key], found[key])
        assert again[key].dtype == found[key].dtype


def test_what_is_missing_is_told():
    with pytest.raises(ModelError, match=r"a.png: features at 'encoder#1' are needed, .* decoder"):
        LabelledPixels(tap="encoder#1").measure(observation())
    unlabelled = Observation(
        "a.png", np.ones((4, 4)), observation().reference, features=observation().features
    )
    with pytest.raises(ModelError, match=r"a.png: labels are needed"):
        LabelledPixels().measure(unlabelled)
    broken = np.full((3, 12, 16), np.nan, np.float32)
    with pytest.raises(ModelError, match=r"a.png: features at 'decoder#-1' hold NaN or infinity"):
        LabelledPixels().measure(observation(features=broken))


def test_options():
    with pytest.raises(OptionError, match="unknown kind of labels 'truht': did you mean 'truth'"):
        LabelledPixels(labels="truht")
    with pytest.raises(
        OptionError, match=r"LabelledPixels: vectors, the pixels of each class .* at least 1, not 0"
    ):
        LabelledPixels(vectors=0)
    with pytest.raises(OptionError, match="at least 1, not True"):
        LabelledPixels(vectors=True)
    with pytest.raises(OptionError, match="tap is the name of a feature map, as 'decoder#-1'"):
        LabelledPixels(tap="")


# ---- moments


def test_moments_are_those_of_the_pixels():
    rng = np.random.default_rng(0)
    # Far from 0, where sums of squares about 0 would lose all digits of the fourth powers.
    x = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 1e4
    labels = rng.choice([2, 5, 9], 60)
    found = moments_of(x, labels, by_class=True)
    assert found.counts.tolist() == [np.sum(labels == k) for k in (2, 5, 9)]
    np.testing.assert_allclose(found.mean + found.shift, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(x.T, ddof=0), rtol=1e-9)
    means = np.array([x[labels == k].mean(axis=0) for k in (2, 5, 9)])
    np.testing.assert_allclose(found.offsets, means - x.mean(axis=0), atol=1e-9)
    centred = x - x.mean(axis=0)
    norms = np.square(centred).sum(axis=1)
    assert found.fourths == pytest.approx(np.square(norms).sum(), rel=1e-9)
    np.testing.assert_allclose(found.cubes, norms @ centred, rtol=1e-7)


@pytest.mark.parametrize("width", [3, 400])  # the wide one is summed anew for each draw
@pytest.mark.parametrize("by_class", [False, True])
def test_moments_of_a_draw_are_those_of_its_pixels(width, by_class):
    bank = bank_of(width=width, pixels=12)
    table = pixel_tables(bank, "these", by_class)["good"]
    drawn = table.moments(bank.draw([0, 3, 3]).counts)
    rows = [bank["good"][i] for i in (0, 3, 3)]
    x = np.concatenate([row["features"] for row in rows]).astype(np.float64)
    labels = np.concatenate([row["labels"] for row in rows])
    plain = moments_of(x, labels, by_class)
    assert drawn.counts.tolist() == plain.counts.tolist()
    np.testing.assert_allclose(drawn.covariance, plain.covariance, atol=1e-9)
    np.testing.assert_allclose(drawn.offsets, plain.offsets, atol=1e-10)
    if by_class:
        about = x - drawn.shift
        for kind in (0, 1):
            part = about[labels == kind]
            np.testing.assert_allclose(drawn.squares[kind], part.T @ part, rtol=1e-9, atol=1e-9)


def test_channels_that_do_not_vary_have_no_variance():
    rng = np.random.default_rng(0)
    x = np.stack([np.full(50, 0.1), rng.normal(size=50), np.full(50, -7e8)], axis=1)
    covariance = moments_of(x, np.arange(50) % 2).covariance
    assert not covariance[[0, 2]].any()
    assert covariance[1, 1] == pytest.approx(x[:, 1].var())
    # Constant on the drawn images alone.
    table = one_table(x, np.arange(50) % 2)
    assert table.moments(np.zeros(1)) is None
    rows = [
        {
            "image": str(i),
            "features": (x + np.array([3.3 * i, 0, 0])).astype(np.float32),
            "labels": y,
        }
        for i, y in enumerate([np.arange(50) % 2] * 3)
    ]
    drawn = pixel_tables(Bank({"a": rows}), "these")["a"].moments(np.array([0.0, 2.0, 0.0]))
    assert not drawn.covariance[0].any()


def test_arrays_that_do_not_go_together():
    with pytest.raises(ValueError, match=r"features of shape \(4, 2\) and labels of shape \(3,\)"):
        one_table(np.ones((4, 2)), np.ones(3, int))
    with pytest.raises(ValueError, match="N and d of at least 1"):
        one_table(np.ones((0, 2)), np.ones(0, int))
    with pytest.raises(ValueError, match="features hold NaN or infinity"):
        one_table(np.array([[1.0], [np.inf]]), np.array([0, 1]))


# ---- estimators


def plain(estimator, rows):
    """What the functions of arrays say of all pixels together."""
    features = np.concatenate([row["features"] for row in rows])
    labels = np.concatenate([row["labels"] for row in rows])
    if isinstance(estimator, LogME):
        return log_maximum_evidence(features, labels)
    if isinstance(estimator, GBC):
        return bhattacharyya_score(
            features,
            labels,
            covariance=estimator.covariance,
            dimensions=estimator.dimensions,
        )
    if isinstance(estimator, HScore):
        return h_score(features, labels, regularised=estimator.regularised)
    return neural_collapse(features, labels, dimensions=estimator.dimensions)


@EACH
@pytest.mark.parametrize("images", [[0, 1, 2, 3, 4], [0, 0, 3], [2]])
def test_scores_are_those_of_the_pooled_pixels(estimator, images):
    bank = bank_of()
    found = {m: plain(estimator, [row[i] for i in images]) for m, row in bank.items()}
    expected = scaled(found) if isinstance(estimator, NCTI) else found
    assert dict(estimator.score(bank.draw(images))) == pytest.approx(expected, abs=1e-9)


# Two principal components need not hold what parts the classes.
@pytest.mark.parametrize("estimator", [e for e in ESTIMATORS if e != GBC(dimensions=2)], ids=repr)
def test_better_features_score_higher(estimator):
    scores = estimator.score(bank_of())
    assert scores["good"] > scores["fair"] > scores["bad"]


@EACH
def test_a_draw_is_the_bank_of_the_drawn_images(estimator):
    bank = bank_of()
    spelled = Bank({m: [row[0], row[0], row[3]] for m, row in bank.items()})
    drawn = estimator.score(bank.draw([0, 0, 3]))
    assert dict(drawn) == pytest.approx(dict(estimator.score(spelled)), abs=1e-9)


@EACH
def test_order_does_not_matter(estimator):
    scores = dict(estimator.score(bank_of()))
    assert dict(estimator.score(bank_of([3, 1, 4, 0, 2]))) == pytest.approx(scores, abs=1e-9)
    turned = Bank(dict(reversed(list(bank_of().items()))))
    assert dict(estimator.score(turned)) == pytest.approx(scores, abs=1e-9)


@EACH
def test_images_without_pixels_are_as_if_absent(estimator):
    bank = bank_of()
    empty = {"image": "e", "features": np.empty((0, 4), np.float32), "labels": np.empty(0, "u1")}
    gaps = Bank({m: [None, *row, empty] for m, row in bank.items()} | {"absent": [None] * 7})
    scores = dict(estimator.score(gaps))
    assert math.isnan(scores.pop("absent"))
    assert scores == pytest.approx(dict(estimator.score(bank)), abs=1e-9)
    # A draw of nothing else is undefined.
    assert all(map(math.isnan, estimator.score(gaps.draw([0, 6, 6])).values()))
    assert all(map(math.isnan, estimator.score(Bank({"a": [], "b": []})).values()))


@EACH
def test_one_class_alone_is_undefined(estimator):
    rows = [{**evidence("0", 1.0, 0), "labels": np.ones(40, np.uint8)}]
    assert all(map(math.isnan, estimator.score(Bank({"a": rows, "b": rows})).values()))


@EACH
def test_a_class_absent_from_a_draw_is_left_out(estimator):
    def three(name, seed, labels):
        row = evidence(name, 2.0, seed)
        return {**row, "labels": np.repeat(np.array(labels, np.uint8), 20)}

    bank = Bank(
        {
            m: [three("0", s, [0, 1]), three("1", s + 1, [0, 2]), three("2", s + 2, [0, 1])]
            for m, s in {"a": 0, "b": 10, "c": 20}.items()
        }
    )
    spelled = Bank({m: [row[0], row[2]] for m, row in bank.items()})
    drawn = dict(estimator.score(bank.draw([0, 2])))
    assert drawn == pytest.approx(dict(estimator.score(spelled)), abs=1e-9)
    assert not any(map(math.isnan, drawn.values()))


@EACH
def test_dependent_and_dead_channels(estimator):
    """A copy, a sum and a constant make the covariance singular; nothing warns or overflows."""

    def spoilt(row):
        f = row["features"]
        more = [f[:, :1], f[:, 1:2] + f[:, 2:3], np.full((len(f), 1), 0.7), np.zeros((len(f), 1))]
        return {**row, "features": np.concatenate([f, *more], axis=1).astype(np.float32)}

    bank = Bank({m: [spoilt(row) for row in rows] for m, rows in bank_of().items()})
    scores = dict(estimator.score(bank))
    assert all(map(math.isfinite, scores.values()))
    assert scores["good"] > scores["bad"]
    spelled = Bank({m: [row[0], row[0], row[3]] for m, row in bank.items()})
    drawn = dict(estimator.score(bank.draw([0, 0, 3])))
    assert drawn == pytest.approx(dict(estimator.score(spelled)), abs=1e-6)


@EACH
def test_features_wider_than_pixels(estimator):
    scores = estimator.score(bank_of([0, 1], width=30, pixels=10))
    assert all(map(math.isfinite, scores.values()))


@EACH
def test_extreme_scales_do_not_warn(estimator):
    for scale in (1e-15, 1e15):
        bank = Bank(
            {
                m: [{**row, "features": row["features"] * np.float32(scale)} for row in rows]
                for m, rows in bank_of().items()
            }
        )
        assert all(map(math.isfinite, estimator.score(bank).values()))


@EACH
def test_it_measures_labelled_pixels(estimator):
    assert estimator.measures == "labelled pixels(labels='truth', tap='decoder#-1', vectors=256)"
    assert estimator.needs.truth
    assert estimator.needs.taps == (TAP,)
    found, expected = estimator.measure(observation()), LabelledPixels().measure(observation())
    assert list(found) == list(expected)
    assert np.array_equal(found["features"], expected["features"])

    other = type(estimator)(labels="pseudo", tap="bottleneck", vectors=8)
    assert other.measures == "labelled pixels(labels='pseudo', tap='bottleneck', vectors=8)"
    assert not other.needs.truth
    assert other.needs.taps == ("bottleneck",)
    assert other.title.endswith(" pseudo 8 px @bottleneck")
    made = eval(repr(other), {type(other).__name__: type(other)})
    assert made == other
    assert hash(made) == hash(other)


@pytest.mark.parametrize("kind", [LogME, GBC, HScore, NCTI])
def test_estimators_refuse_bad_options(kind):
    with pytest.raises(OptionError, match="unknown kind of labels 'tru'"):
        kind(labels="tru")
    with pytest.raises(OptionError, match=rf"{kind.__name__}: vectors, .* not -1"):
        kind(vectors=-1)
    with pytest.raises(OptionError, match="tap is the name"):
        kind(tap=None)
