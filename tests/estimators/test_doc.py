import math
import statistics

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.estimators.atc import ATC
from onnx_cte.estimators.doc import DoC, accuracy_by_confidence
from onnx_cte.types import Observation, Prediction


def observation(name, probabilities, truth=None, domain="target"):
    maps = np.asarray(probabilities, np.float32)
    reference = Prediction(maps[None], ("foreground",))
    truth = None if truth is None else np.asarray(truth)
    return Observation(name, maps * 1.0, reference, truth=truth, domain=domain)


def sure(name, confidence, domain="target", wrong=0.1):
    """About half foreground, all as sure as said; of the source a share is wrong."""
    rng = np.random.default_rng(sum(map(ord, name)))
    decided = rng.random((20, 20)) < 0.4
    noise = rng.uniform(-0.02, 0.02, decided.shape)
    maps = np.where(decided, confidence, 1 - confidence) + noise
    return observation(name, maps, decided ^ (rng.random(decided.shape) < wrong), domain)


MODELS = {"good": 0.9, "fair": 0.8, "bad": 0.6}


def bank_of(names="abcde"):
    return Bank(
        {m: [DoC().measure(sure(n, c)) for n in names] for m, c in MODELS.items()},
        {m: [DoC().measure(sure(n, 0.85, "source")) for n in "xyz"] for m in MODELS},
    )


def balanced_confidence(observations):
    """Mean over the predicted classes of the mean of max(p, 1 - p)."""
    of_class = {True: [], False: []}
    for one in observations:
        for p in one.reference["foreground"].ravel().astype(float):
            of_class[p > 0.5].append(max(p, 1 - p))
    return statistics.mean(statistics.mean(values) for values in of_class.values() if values)


def balanced_accuracy(observations):
    of_class = {True: [], False: []}
    for one in observations:
        pairs = zip(one.reference["foreground"].ravel(), one.truth.ravel(), strict=True)
        for p, label in pairs:
            of_class[bool(p > 0.5)].append(float((p > 0.5) == (label != 0)))
    return statistics.mean(statistics.mean(values) for values in of_class.values() if values)


def test_by_hand():
    assert accuracy_by_confidence(0.75, 1.0, 0.5) == 0.25
    assert accuracy_by_confidence(0.9, 0.75, 0.875) == pytest.approx(1.025)
    assert accuracy_by_confidence(0.25, 1.0, 0.5) == 0
    assert math.isnan(accuracy_by_confidence(math.nan, 1.0, 0.5))
    assert math.isnan(accuracy_by_confidence(0.5, 1.0, math.nan))


def test_an_image_by_hand():
    """Of the source 2 of 3 background pixels and the foreground pixel are right: 5/6; its
    confidence is (0.9 + 0.7) / 2, that of the target (0.75 + 0.75) / 2.
    """
    source = DoC().measure(
        observation("x", [[0.1, 0.1, 0.1, 0.7]], [[0, 0, 1, 1]], domain="source")
    )
    target = DoC().measure(observation("a", [[0.25, 0.25, 0.75]]))
    found = DoC().score(Bank({"m": [target]}, {"m": [source]}))
    assert found["m"] == pytest.approx(5 / 6 - (0.8 - 0.75), abs=1e-6)


def test_the_score_is_the_median_of_what_single_pixels_foretell():
    source = [sure(n, 0.85, "source") for n in "xyz"]
    for model, confidence in MODELS.items():
        targets = [sure(n, confidence) for n in "abcde"]
        expected = statistics.median(
            balanced_accuracy(source)
            - (balanced_confidence(source) - balanced_confidence([target]))
            for target in targets
        )
        assert DoC().score(bank_of())[model] == pytest.approx(expected, abs=1e-6)


def test_less_sure_models_score_lower_in_any_order_and_draw():
    bank = bank_of()
    scores = DoC().score(bank)
    assert scores["good"] > scores["fair"] > scores["bad"]
    assert DoC().score(bank_of("daecb")) == pytest.approx(scores, abs=1e-12)
    turned = Bank(dict(reversed(list(bank.items()))), bank.source)
    assert DoC().score(turned) == pytest.approx(scores, abs=1e-12)
    spelled = Bank({m: [row[0], row[0], row[3]] for m, row in bank.items()}, bank.source)
    drawn = DoC().score(bank.draw([0, 0, 3]))
    assert drawn == pytest.approx(DoC().score(spelled), abs=1e-12)
    gaps = Bank({m: [None, *row] for m, row in bank.items()}, bank.source)
    assert DoC().score(gaps) == pytest.approx(scores, abs=1e-12)


def test_undefined_without_source():
    bank = bank_of()
    rows = {**bank, "no source": bank["good"], "absent": [None] * 5}
    source = {**bank.source, "absent": bank.source["good"]}
    scores = DoC().score(Bank(rows, source))
    assert math.isnan(scores.pop("no source"))
    assert math.isnan(scores.pop("absent"))
    assert scores == pytest.approx(DoC().score(bank), abs=1e-12)
    assert all(math.isnan(value) for value in DoC().score(Bank(dict(bank))).values())


def test_a_silent_model_ranks_last():
    bank = bank_of()
    blank = [DoC().measure(observation(n, np.zeros((9, 9)))) for n in "bcde"]
    rows = {**bank, "silent": [bank["good"][0], *blank]}
    scores = DoC().score(Bank(rows, {**bank.source, "silent": bank.source["good"]}))
    assert scores["silent"] == 0 < min(scores[m] for m in MODELS)


def test_it_shares_its_evidence_with_atc():
    assert DoC().measures == ATC().measures
    assert DoC().needs == ATC().needs
    for domain in ("source", "target"):
        one, other = (e.measure(sure("a", 0.7, domain)) for e in (DoC(), ATC()))
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)
    # What is derived from it is each one's own.
    bank = bank_of()
    assert DoC().score(bank) != ATC().score(bank)
    assert DoC().title == "doc"
