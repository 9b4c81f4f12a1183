import math

import numpy as np
import pytest

from onnx_cte.errors import OptionError
from onnx_cte.perturbations import (
    PERTURBATIONS,
    Dropout,
    FeatureDrop,
    FeatureNoise,
    generator,
)

FEATURES = {name: make for name, make in PERTURBATIONS.items() if not hasattr(make, "apply")}
ALL = pytest.mark.parametrize("make", FEATURES.values(), ids=FEATURES)


def features(shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def dropped(factor):
    return set(np.flatnonzero(factor == 0).tolist())


def test_the_registry_holds_them():
    assert set(FEATURES) == {"dropout", "feature-drop", "feature-noise"}


@pytest.mark.parametrize(
    ("channels", "rate", "count"),
    [
        (128, 0.05, 7),
        (128, 0.2, 26),
        (256, 0.05, 13),
        (256, 0.5, 128),
        (10, 0.25, 3),
        (100, 0.07, 7),  # in double precision the product is above 7
        (100, 0.3, 31),  # in single precision the product is above 30
        (2, 0.1, 1),
        (1, 0.1, 1),
        (3, 0.9, 3),
    ],
)
def test_dropout_drops_a_fixed_share(channels, rate, count):
    for image in "abcde":
        factor = Dropout(rate).factor((1, channels, 8, 9), None, generator(0, image))
        assert factor.shape == (1, channels, 1, 1)
        assert factor.dtype == np.float32
        assert len(dropped(factor)) == count
        assert set(np.unique(factor)) <= {np.float32(0), np.float32(1 / (1 - rate))}


def test_survivors_keep_their_values_if_unscaled():
    factor = Dropout(0.5, rescale=False).factor((1, 8, 2, 2), None, generator(0))
    assert sorted(factor.ravel().tolist()) == [0.0] * 4 + [1.0] * 4


def test_rescaling_is_by_the_rate_not_by_the_share_that_was_dropped():
    # ceil(0.25 * 10) = 3 are dropped, and 7 / 10 remain; the gain is 1 / 0.75 all the same.
    factor = Dropout(0.25).factor((1, 10, 1, 1), None, generator(0))
    assert factor.max() == np.float32(4 / 3)
    assert factor.sum() == pytest.approx(28 / 3)


def test_bernoulli_drops_each_channel_by_itself():
    drop = Dropout(0.2, "bernoulli")
    counts = [
        len(dropped(drop.factor((1, 100, 4, 4), None, generator(0, str(i))))) for i in range(400)
    ]
    # Binomial: mean 20, standard deviation 4; of 400 draws the mean is off by 0.2.
    assert np.mean(counts) == pytest.approx(20, abs=0.8)
    assert np.std(counts) == pytest.approx(4, abs=0.6)


@pytest.mark.parametrize("law", ["fixed", "bernoulli"])
def test_a_rate_of_zero_changes_nothing(law):
    factor = Dropout(0, law).factor((1, 5, 3, 3), None, generator(0))
    assert factor.ravel().tolist() == [1.0] * 5


@pytest.mark.parametrize("law", ["fixed", "bernoulli"])
def test_models_of_the_same_width_lose_the_same_channels(law):
    drop = Dropout(0.3, law)
    one = drop.factor((1, 64, 4, 4), None, generator(0, "a", drop.name))
    other = drop.factor((1, 64, 32, 17), features((1, 64, 32, 17)), generator(0, "a", drop.name))
    assert (one == other).all()
    volume = drop.factor((1, 64, 5, 6, 7), None, generator(0, "a", drop.name))
    assert volume.shape == (1, 64, 1, 1, 1)
    assert (volume.ravel() == one.ravel()).all()
    elsewhere = drop.factor((1, 64, 4, 4), None, generator(0, "b", drop.name))
    assert (one != elsewhere).any()


def test_every_channel_is_dropped_as_often_as_any():
    drop = Dropout(0.25)
    counts = np.zeros(16)
    for i in range(2000):
        counts += drop.factor((1, 16, 1, 1), None, generator(0, str(i))).ravel() == 0
    # 500 each, with a standard deviation of sqrt(2000 * 0.25 * 0.75) = 19.4.
    assert abs(counts - 500).max() < 90


def test_feature_drop_blanks_what_is_attended_to_most():
    # Channel means: 1, 4, 2, 3; above half of the largest are 4 and 3.
    map_ = np.array([[[0, 4], [2, 6]], [[2, 4], [2, 0]]], np.float32)[None]
    factor = FeatureDrop(0.5, 0.5).factor(map_.shape, map_, generator(0))
    assert factor.shape == (1, 1, 2, 2)
    assert factor[0, 0].tolist() == [[1, 0], [1, 0]]


def test_feature_drop_draws_its_threshold_from_the_range():
    # A ramp from 0 to 1: the share that is kept tells the threshold.
    ramp = np.linspace(0, 1, 1001, dtype=np.float32).reshape(1, 1, 1, -1)
    kept = [
        float(FeatureDrop(0.6, 0.8).factor(ramp.shape, ramp, generator(0, str(i))).mean())
        for i in range(200)
    ]
    assert 0.6 <= min(kept) < 0.61
    assert 0.79 < max(kept) <= 0.801
    assert np.mean(kept) == pytest.approx(0.7, abs=0.015)


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_feature_drop_leaves_a_map_without_attention_alone(level):
    blank = np.full((1, 3, 4, 5), level, np.float32)
    factor = FeatureDrop().factor(blank.shape, blank, generator(0))
    assert factor.tolist() == np.ones((1, 1, 4, 5)).tolist()
    assert factor.dtype == np.float32


def test_feature_drop_blanks_nothing_at_a_threshold_of_one_and_all_that_is_positive_at_zero():
    map_ = features((1, 4, 6, 6)) - np.float32(0.4)
    assert FeatureDrop(1, 1).factor(map_.shape, map_, generator(0)).all()
    kept = FeatureDrop(0, 0).factor(map_.shape, map_, generator(0))
    assert np.array_equal(kept[0, 0] == 1, map_[0].mean(axis=0) <= 0)


def test_feature_drop_has_to_see_the_features():
    assert FeatureDrop().reads_features
    with pytest.raises(ValueError, match=r"'feature-drop=0.7..0.9' has to see the features"):
        FeatureDrop().factor((1, 2, 3, 3), None, generator(0))


def test_feature_noise_is_uniform_and_independent():
    factor = FeatureNoise(0.3).factor((1, 16, 50, 50), None, generator(0))
    assert factor.shape == (1, 16, 50, 50)
    assert 0.7 <= factor.min() < 0.701
    assert 1.299 < factor.max() <= 1.3
    assert factor.mean() == pytest.approx(1, abs=0.005)
    assert factor.std() == pytest.approx(0.3 / math.sqrt(3), rel=0.01)
    flat = factor.reshape(16, -1)
    for one, other in [(flat[0], flat[1]), (flat[:, 1:].ravel(), flat[:, :-1].ravel())]:
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.05


def test_feature_noise_of_nothing_is_one():
    assert (FeatureNoise(0).factor((1, 2, 3, 4), None, generator(0)) == 1).all()


@ALL
@pytest.mark.parametrize("shape", [(1, 6, 5, 7), (1, 6, 3, 5, 7), (1, 6, 1, 1)])
def test_factors_fit_the_map_and_repeat(make, shape):
    perturbation, map_ = make(), features(shape) + np.float32(0.1)
    before = map_.copy()
    one = perturbation.factor(shape, map_, generator(3, "a.png", perturbation.name))
    again = perturbation.factor(shape, map_, generator(3, "a.png", perturbation.name))
    assert (one == again).all()
    assert one.dtype == np.float32
    assert one.ndim == len(shape)
    assert (map_ * one).shape == shape
    assert (map_ == before).all()
    assert np.isfinite(one).all()


@ALL
def test_what_is_not_read_makes_no_difference(make):
    perturbation = make()
    if perturbation.reads_features:
        other = features((1, 6, 5, 7), seed=1)
        found = [
            perturbation.factor(m.shape, m, generator(0)) for m in (features((1, 6, 5, 7)), other)
        ]
        assert not np.array_equal(*found)
    else:
        found = [
            perturbation.factor((1, 6, 5, 7), seen, generator(0))
            for seen in (None, features((1, 6, 5, 7)))
        ]
        assert np.array_equal(*found)


@pytest.mark.parametrize(
    ("perturbation", "random"),
    [
        (Dropout(0.4), True),
        (Dropout(0.4, "bernoulli"), True),
        (Dropout(0), False),
        (FeatureDrop(), True),
        (FeatureDrop(0.5, 0.5), False),
        (FeatureNoise(), True),
        (FeatureNoise(0), False),
    ],
    ids=repr,
)
def test_random_is_what_two_draws_can_tell_apart(perturbation, random):
    assert perturbation.random is random
    map_ = features((1, 12, 8, 8))
    factors = [perturbation.factor(map_.shape, map_, generator(0, str(i))) for i in range(20)]
    assert all(np.array_equal(factors[0], factor) for factor in factors) is not random


@ALL
def test_taps_may_be_a_list_or_a_single_one(make):
    assert make().taps == ("bottleneck",)
    assert make(taps="skips") == make(taps=["skips"]) == make(taps=("skips",))
    assert hash(make(taps=["skips"])) == hash(make(taps=("skips",)))


@ALL
@pytest.mark.parametrize(
    ("taps", "complaint"),
    [
        ((), "no tap is given to disturb; write for example .*@bottleneck"),
        ("", "a tap is a name, not ''"),
        (["skips", ""], "a tap is a name, not ''"),
        ([3], "a tap is a name, not 3"),
        ("a+b", r"'a\+b' is no tap: its name has no blank and none of # \+ , @ in it"),
        ("a,b", "'a,b' is no tap.* flags before the @"),
        ("a#1", "'a#1' is no tap"),
        ("a b", "'a b' is no tap"),
        (["skips", "encoder/1", "skips"], "the same tap twice: skips, encoder/1, skips"),
    ],
)
def test_taps_that_mean_nothing(make, taps, complaint):
    with pytest.raises(OptionError, match=complaint) as error:
        make(taps=taps)
    assert str(error.value).startswith(f"{make().name.partition('=')[0]}: ")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Dropout(1), "at least 0 and below 1, .*, not 1; write for example dropout=0.1"),
        (lambda: Dropout(-0.1), "not -0.1"),
        (lambda: Dropout(math.nan), "not nan"),
        (lambda: Dropout("0.1"), "not '0.1'"),
        (lambda: Dropout(0.1, "bernouli"), "unknown law of dropout 'bernouli': did you mean 'ber"),
        (lambda: FeatureDrop(0.9, 0.7), r"a range within 0..1, not 0.9..0.7; write for example"),
        (lambda: FeatureDrop(0.5, 1.1), r"not 0.5..1.1"),
        (lambda: FeatureDrop(math.nan, 1), r"not nan..1"),
        (lambda: FeatureDrop("0.5"), r"not '0.5'..0.9"),
        (lambda: FeatureNoise(-1), "a finite number of at least 0, not -1; write for example"),
        (lambda: FeatureNoise(math.inf), "not inf"),
    ],
)
def test_strengths_that_mean_nothing(make, complaint):
    with pytest.raises(OptionError, match=complaint):
        make()
