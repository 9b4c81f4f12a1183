import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.estimators.dispersion import ClassSums, Dispersion, dispersion
from onnx_cte.evidence import EvidenceStore
from onnx_cte.features import FeatureMap
from onnx_cte.types import Observation, Prediction

close = pytest.approx
FEATURES = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 1.0], [6.0, 3.0]])
CLASSES = np.array([0, 0, 1, 1])
TAP = "decoder#-1"


def seen(name, step=2.0, scale=1.0, sees=True, offset=0.0, roles=("foreground",)):
    """Features that differ by `step` between the halves of an image, under noise of 1."""
    rng = np.random.default_rng([ord(c) for c in name])
    right = np.arange(16) + np.zeros((16, 1)) >= 8
    features = rng.normal(size=(3, 16, 16)) + step * right * np.array([1, 0, 2])[:, None, None]
    features = ((features + offset) * scale).astype(np.float32)
    mask = right & sees
    maps = np.where(mask, 0.9, 0.1)[None] if len(roles) == 1 else np.stack([~mask, mask, mask * 0])
    prediction = Prediction(maps.astype(np.float32), roles)
    fmap = FeatureMap.of(features, (16, 16))
    return Observation(name, np.zeros((16, 16)), prediction, features={TAP: fmap})


def test_worked_example():
    assert dispersion(FEATURES, CLASSES, number=2) == close(2.9957322736, abs=1e-9)


def test_by_hand():
    # Sizes 1 and 3, means 0 and 4, of all 3: 1 * 9 + 3 * 1 = 12.
    features = np.array([[0.0], [3.0], [4.0], [5.0]])
    classes = np.array([0, 2, 2, 2])
    assert dispersion(features, classes, number=2 + 1) == close(math.log(12 / 2))
    # The scatter of all is 12 + 2, so features are in units of sqrt(14 / 4).
    assert dispersion(features, classes, number=3, normalise=True) == close(
        math.log(12 / (14 / 4) / 2)
    )


def test_as_published_it_grows_with_scale_and_not_with_offset():
    base = dispersion(FEATURES, CLASSES, number=2)
    assert dispersion(10 * FEATURES, CLASSES, number=2) == close(base + 2 * math.log(10))
    assert dispersion(FEATURES + 7, CLASSES, number=2) == close(base)
    normalised = dispersion(FEATURES, CLASSES, number=2, normalise=True)
    same = dispersion(10 * FEATURES + 7, CLASSES, number=2, normalise=True)
    assert same == close(normalised)


def test_normalised_it_is_bounded():
    apart = np.array([[0.0], [0.0], [1e9], [1e9]])
    assert dispersion(apart, CLASSES, number=2, normalise=True) == close(math.log(4))


@pytest.mark.parametrize(
    ("features", "classes"),
    [
        (FEATURES, CLASSES * 0),
        (np.full((4, 2), 1 / 3), CLASSES),
        (np.full((4, 2), np.float32(1e30)), CLASSES),
        (np.zeros((4, 2)), CLASSES),
        (np.zeros((0, 2)), CLASSES[:0]),
        (np.full((4, 2), np.nan), CLASSES),
    ],
    ids=["one class", "constant", "constant and large", "zero", "none", "nan"],
)
@pytest.mark.parametrize("normalise", [False, True])
def test_undefined(features, classes, normalise):
    assert math.isnan(dispersion(features, classes, number=2, normalise=normalise))


def test_a_single_class_has_nothing_to_lie_apart_from():
    assert math.isnan(dispersion(FEATURES, CLASSES * 0, number=1))


def test_features_that_are_not_finite_are_left_out():
    features = np.vstack([FEATURES, [[np.inf, 0.0], [0.0, np.nan]]])
    classes = np.array([*CLASSES, 0, 1])
    assert dispersion(features, classes, number=2) == close(2.9957322736, abs=1e-9)


def test_sums_add_up():
    parts = [ClassSums.of(FEATURES[part], CLASSES[part], 2) for part in (slice(3), slice(3, None))]
    added = ClassSums(*(sum(getattr(p, n) for p in parts) for n in ("counts", "sums", "squares")))
    assert added.dispersion() == close(2.9957322736, abs=1e-9)


def test_evidence():
    estimator = Dispersion()
    evidence = estimator.measure(seen("a"))
    assert evidence["counts"].tolist() == [128, 128]
    assert evidence["sums"].shape == (2, 3)
    assert evidence["foreground"] == 0.5
    features = seen("a").features[TAP].at(np.argwhere(np.ones((16, 16))))
    classes = seen("a").reference.classes.ravel().astype(int)
    assert evidence["value"] == close(dispersion(features, classes, number=2), rel=1e-6)
    with EvidenceStore(None) as store:
        store.put({"key": evidence})
        back = store.get("key")
    assert estimator.score(Bank({"m": [back]})) == estimator.score(Bank({"m": [evidence]}))


def test_pixels_are_balanced_and_bounded():
    assert Dispersion(vectors=5).measure(seen("a"))["counts"].tolist() == [5, 5]


def test_classes_that_are_never_predicted_count():
    one = Dispersion().measure(seen("a"))
    three = Dispersion().measure(seen("a", roles=("background", "x", "y")))
    assert three["counts"].tolist() == [128, 128, 0]
    assert three["value"] == close(one["value"] - math.log(2))


@pytest.mark.parametrize("normalise", [False, True])
def test_images_are_taken_together(normalise):
    estimator = Dispersion(normalise=normalise)
    bank = Bank({"m": [estimator.measure(seen(name)) for name in "abc"]})
    everywhere = np.argwhere(np.ones((16, 16)))
    features = np.concatenate([seen(name).features[TAP].at(everywhere) for name in "abc"])
    classes = np.concatenate([seen(name).reference.classes.ravel().astype(int) for name in "abc"])
    expected = dispersion(features, classes, number=2, normalise=normalise)
    assert estimator.score(bank)["m"] == close(expected, rel=1e-9)


@pytest.mark.parametrize("normalise", [False, True])
def test_draws_gaps_and_order(normalise):
    estimator = Dispersion(normalise=normalise)
    rows = {step: [estimator.measure(seen(n, step)) for n in "abc"] for step in (0.5, 1.0, 3.0)}
    bank = Bank({str(step): row for step, row in rows.items()})
    scores = estimator.score(bank)
    assert scores["3.0"] > scores["1.0"] > scores["0.5"]
    spelled = Bank({model: [row[0], row[0], row[2]] for model, row in bank.items()})
    assert estimator.score(bank.draw([0, 0, 2])) == close(estimator.score(spelled), rel=1e-9)
    turned = Bank({model: row[::-1] for model, row in reversed(list(bank.items()))})
    assert estimator.score(turned) == close(scores, rel=1e-9)
    gaps = Bank({m: [None, *row] for m, row in bank.items()} | {"absent": [None] * 4})
    with_gaps = dict(estimator.score(gaps))
    assert math.isnan(with_gaps.pop("absent"))
    assert with_gaps == close(scores, rel=1e-9)
    # Nothing of this model is drawn.
    drawn = estimator.score(gaps.draw([0, 0]))
    assert all(map(math.isnan, drawn.values()))


def test_scale_decides_unless_normalised():
    def scores(estimator):
        rows = {
            "far": [estimator.measure(seen(n, 3.0)) for n in "ab"],
            "near but large": [estimator.measure(seen(n, 1.0, scale=100.0)) for n in "ab"],
        }
        return estimator.score(Bank(rows))

    published, mended = scores(Dispersion()), scores(Dispersion(normalise=True))
    assert published["near but large"] > published["far"]
    assert mended["far"] > mended["near but large"]


def test_silence_never_wins():
    estimator = Dispersion()
    rows = {
        "sees": [estimator.measure(seen(n, 0.5)) for n in "abc"],
        "blind": [estimator.measure(seen(n, 50.0, sees=n == "a")) for n in "abc"],
        "half blind": [estimator.measure(seen(n, 1.0, sees=n != "a")) for n in "abc"],
    }
    scores = estimator.score(Bank(rows))
    assert scores["blind"] == -math.inf
    assert math.isfinite(scores["half blind"])
    alone = estimator.score(Bank({"blind": rows["blind"][1:]}))
    assert math.isnan(alone["blind"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"tap": ""},
            "Dispersion: tap is the name of a feature map, as 'decoder#-1' or 'bottleneck', not ''",
        ),
        ({"tap": 3}, "not 3"),
        ({"vectors": 0}, r"Dispersion: vectors.* at least 1, not 0"),
        ({"normalise": "yes"}, "Dispersion: normalise is True or False, not 'yes'"),
    ],
)
def test_bad_options(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        Dispersion(**options)


def test_what_it_needs_and_is_called():
    assert Dispersion(tap="bottleneck").needs.taps == ("bottleneck",)
    assert Dispersion().title == "dispersion"
    assert Dispersion(normalise=True).title == "dispersion normalised"
