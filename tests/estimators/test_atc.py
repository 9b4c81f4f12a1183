import math
import statistics

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators.atc import (
    ATC,
    BINS,
    balance,
    decision_scores,
    scored_pixels,
    thresholded_confidence,
)
from onnx_cte.evidence import EvidenceStore
from onnx_cte.types import Observation, Prediction

ROLES = ("cell", "background", "wall")


def observation(name, probabilities, truth=None, domain="target", threshold=0.5):
    maps = np.asarray(probabilities, np.float32)
    reference = Prediction(maps[None], ("foreground",), threshold)
    truth = None if truth is None else np.asarray(truth)
    return Observation(name, maps * 1.0, reference, truth=truth, domain=domain)


def seen(name, blur, domain="target", side=64):
    """A disc: the greater the blur, the less sure and the more often wrong the prediction."""
    rng = np.random.default_rng([sum(map(ord, name)), int(100 * blur)])
    y, x = np.mgrid[:side, :side]
    truth = ((y - side // 2) ** 2 + (x - side // 2) ** 2 < side**2 / 10).astype(np.int32)
    logits = (4 * truth - 2 + 3 * blur * rng.normal(size=truth.shape)) / (0.3 + blur)
    return observation(name, 1 / (1 + np.exp(-logits)), truth, domain)


MODELS = {"good": 0.2, "fair": 0.8, "bad": 1.6}


def bank_of(estimator, names="abcde", models=MODELS):
    return Bank(
        {m: [estimator.measure(seen(n, blur)) for n in names] for m, blur in models.items()},
        {m: [estimator.measure(seen(n, 0.5, "source")) for n in "xyz"] for m in models},
    )


def by_pixels(source, target, *, floor=0.0):
    """ATC of an image, pixel by pixel, classes weighed alike; source is sorted by its scores."""

    def weighed(observations):
        rows = []
        for one in observations:
            maps = one.reference["foreground"].ravel().astype(float)
            truth = None if one.truth is None else one.truth.ravel() != 0
            for i, p in enumerate(maps):
                wrong = truth is not None and (p > 0.5) != truth[i]
                rows.append((max(p, 1 - p), p > 0.5, wrong))
        count = {kind: sum(row[1] == kind for row in rows) for kind in (True, False)}
        kinds = sum(number > 0 for number in count.values())
        return [(score, 1 / kinds / count[kind], wrong) for score, kind, wrong in rows]

    pixels = sorted(weighed(source))
    error = sum(weight for _, weight, wrong in pixels if wrong)
    below, threshold = 0.0, 1.0
    for score, weight, _ in pixels:
        if below + weight > error:
            threshold = score
            break
        below += weight
    return sum(weight for score, weight, _ in weighed([target]) if score >= threshold)


def test_by_hand():
    # A quarter of the source is wrong: the threshold lies between the first and the second bin.
    source = np.array([2, 2, 4])
    assert thresholded_confidence(source, 0.25, np.array([5, 3, 2])) == 0.5
    # An eighth: half of the first bin lies below it.
    assert thresholded_confidence(source, 0.125, np.array([4, 3, 3])) == pytest.approx(0.8)
    # Scores below all of the source's are wrong even if the source has no errors.
    assert thresholded_confidence(np.array([0, 1, 1]), 0.0, np.array([1, 1, 2])) == 0.75
    assert thresholded_confidence(np.array([1, 1, 0]), 1.0, np.array([1, 1, 2])) == 0.0


@pytest.mark.parametrize("error", [0.0, 0.1, 0.37, 0.9, 1.0])
def test_a_source_is_foretold_its_own_accuracy(error):
    histogram = np.random.default_rng(0).integers(0, 9, 50)
    found = thresholded_confidence(histogram, error, histogram)
    assert found == pytest.approx(1 - error, abs=1e-12)


def test_empty_histograms_are_undefined():
    some, none = np.array([1, 2]), np.zeros(2)
    assert math.isnan(thresholded_confidence(none, 0.5, some))
    assert math.isnan(thresholded_confidence(some, 0.5, none))
    assert math.isnan(thresholded_confidence(some, math.nan, some))


def test_scores_of_decisions():
    binary = Prediction(np.array([[[0.9, 0.4, 0.35, 0.1]]], np.float32), ("foreground",), 0.375)
    foreground, scores = decision_scores(binary, "confidence")
    assert foreground.tolist() == [True, True, False, False]
    assert scores == pytest.approx([0.9, 0.4, 0.65, 0.9])
    _, scores = decision_scores(binary, "entropy")
    expected = [
        1 + (p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(2) for p in (0.9, 0.4, 0.35)
    ]
    assert scores[:3] == pytest.approx(expected, abs=1e-6)
    maps = np.array([[0.7, 0.1, 0], [0.2, 0.8, 1], [0.1, 0.1, 0]], np.float32)[:, None]
    classes = Prediction(maps, ROLES)
    foreground, scores = decision_scores(classes, "confidence")
    assert foreground.tolist() == [True, False, False]
    assert scores == pytest.approx([0.7, 0.8, 1])
    _, scores = decision_scores(classes, "entropy")
    first = 0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1)
    assert scores[0] == pytest.approx(1 + first / math.log(3), abs=1e-6)
    assert scores[2] == 1


def test_classes_weigh_alike():
    assert balance(np.array([8.0, 2.0])).tolist() == [1 / 16, 1 / 4]
    assert balance(np.array([0.0, 2.0])).tolist() == [0, 1 / 2]
    assert np.isnan(balance(np.array([3.0, 0.0]))).all()


def test_evidence_by_hand():
    maps, truth = [[0.9, 0.75, 0.25, 0.0]], [[4, 0, 7, 0]]
    found = scored_pixels(observation("a", maps, truth, "source"), "confidence")
    assert found["pixels"].tolist() == [2, 2]
    assert found["scores"] == pytest.approx([1.75, 1.65])
    assert found["wrong"].tolist() == [1, 1]
    assert found["foreground"] == 0.5
    assert found["histogram"].shape == (2, BINS)
    assert found["histogram"].dtype == np.uint32
    assert found["histogram"].sum(axis=1).tolist() == [2, 2]
    # Bin b begins at 1 - exp(-17 b / 1000).
    bins = [int(-math.log(1 - s) * 1000 / 17) for s in (0.9, 0.75)]
    assert np.flatnonzero(found["histogram"][1]).tolist() == sorted(bins)
    assert "wrong" not in scored_pixels(observation("a", maps), "confidence")
    with pytest.raises(ModelError, match="a: labels are needed, and the observation has none"):
        scored_pixels(observation("a", maps, None, "source"), "confidence")


def test_evidence_is_small_and_kept_whole():
    evidence = ATC().measure(seen("a", 0.5, "source"))
    assert sum(v.nbytes for v in evidence.values() if isinstance(v, np.ndarray)) < 10_000
    with EvidenceStore(None) as store:
        store.put({"key": evidence})
        again = store.get("key")
    bank, kept = (Bank({"m": [e]}, {"m": [e]}) for e in (evidence, again))
    assert ATC().score(bank) == ATC().score(kept)


def test_the_score_is_the_median_of_what_single_pixels_foretell():
    source = [seen(n, 0.5, "source", 24) for n in "xyz"]
    targets = [seen(n, 0.9, side=24) for n in "abcd"]
    bank = Bank(
        {"m": [ATC().measure(t) for t in targets]}, {"m": [ATC().measure(s) for s in source]}
    )
    expected = statistics.median(by_pixels(source, target) for target in targets)
    assert ATC().score(bank)["m"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("kind", ["confidence", "entropy"])
def test_less_sure_models_score_lower(kind):
    estimator = ATC(kind)
    scores = estimator.score(bank_of(estimator))
    assert 1 > scores["good"] > scores["fair"] > scores["bad"] > 0


def test_it_foretells_accuracy_on_its_own_source():
    """Source and target alike: the balanced accuracy itself."""
    evidence = ATC().measure(seen("x", 0.5, "source"))
    accuracy = 1 - statistics.mean(evidence["wrong"] / evidence["pixels"])
    found = ATC().score(Bank({"m": [evidence]}, {"m": [evidence]}))
    assert found["m"] == pytest.approx(accuracy, abs=1e-9)


def test_order_draws_and_gaps():
    bank = bank_of(ATC())
    scores = ATC().score(bank)
    assert ATC().score(bank_of(ATC(), "daecb")) == pytest.approx(scores, abs=1e-12)
    turned = Bank(dict(reversed(list(bank.items()))), bank.source)
    assert ATC().score(turned) == pytest.approx(scores, abs=1e-12)
    spelled = Bank({m: [row[0], row[0], row[3]] for m, row in bank.items()}, bank.source)
    drawn = ATC().score(bank.draw([0, 0, 3]))
    assert drawn == pytest.approx(ATC().score(spelled), abs=1e-12)
    source = {m: [None, *reversed(row)] for m, row in bank.source.items()}
    gaps = Bank({m: [None, *row] for m, row in bank.items()}, source)
    assert ATC().score(gaps) == pytest.approx(scores, abs=1e-12)


def test_models_without_source_or_evidence_are_undefined():
    whole = bank_of(ATC())
    blank = ATC().measure(observation("x", np.zeros((4, 4)), np.ones((4, 4)), "source"))
    source = {**whole.source, "blind on its source": [blank], "none": [None]}
    rows = {**whole, "blind on its source": whole["good"], "none": whole["good"]}
    rows |= {"no source": whole["good"], "absent": [None] * 5}
    source["absent"] = whole.source["good"]
    scores = ATC().score(Bank(rows, source))
    for model in ("blind on its source", "none", "no source", "absent"):
        assert math.isnan(scores.pop(model))
    assert scores == pytest.approx(ATC().score(whole), abs=1e-12)


def test_a_silent_model_ranks_last():
    bank = bank_of(ATC())
    blank = [ATC().measure(observation(n, np.zeros((9, 9)))) for n in "bcde"]
    rows = {**bank, "silent": [bank["good"][0], *blank]}
    scores = ATC().score(Bank(rows, {**bank.source, "silent": bank.source["good"]}))
    assert scores["silent"] == 0
    assert min(scores[m] for m in MODELS) > 0


def test_foreground_alone_is_no_trouble():
    full = ATC().measure(observation("a", np.full((4, 4), 0.9), np.ones((4, 4)), "source"))
    assert ATC().score(Bank({"m": [full]}, {"m": [full]}))["m"] == 1


def test_options():
    with pytest.raises(
        OptionError, match="unknown kind of score 'entropi': did you mean 'entropy'"
    ):
        ATC("entropi")
    assert ATC().needs.source
    assert not ATC().needs.truth
    assert (ATC().title, ATC("entropy").title) == ("atc", "atc entropy")
    assert ATC().measures != ATC("entropy").measures
