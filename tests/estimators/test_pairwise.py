"""Agreement with the other models, worked out by hand and by straight loops."""

import math

import numpy as np
import pytest
from mask_banks import bank_of

from onnx_cte.estimators.pairwise import PairwiseAgreement
from onnx_cte.metrics.masks import normalized_hamming


def test_by_hand():
    # Overlaps over unions: ab 2/4 (N1), ac 1/3, bc 1/3.
    masks = {
        "a": [[[1, 1, 0], [0, 1, 0]]],
        "b": [[[1, 0, 0], [0, 1, 1]]],
        "c": [[[1, 0, 0], [0, 0, 0]]],
    }
    scores = PairwiseAgreement().score(bank_of(masks))
    mean = (1 / 2 + 1 / 3) / 2
    assert scores == pytest.approx({"a": mean, "b": mean, "c": 1 / 3})


def test_the_median_over_images():
    one, two, three = [[1, 0, 0, 0]], [[1, 1, 0, 0]], [[1, 1, 1, 1]]
    bank = bank_of({"a": [one, one, one], "b": [one, two, three]})
    assert PairwiseAgreement().score(bank) == {"a": 0.5, "b": 0.5}
    assert PairwiseAgreement().score(bank.draw([0, 2])) == {"a": 0.625, "b": 0.625}


def test_silence():
    something, nothing = [[1, 0]], [[0, 0]]
    bank = bank_of({"a": [something], "b": [something], "silent": [nothing]})
    # The two that see agree fully with each other and not at all with the third.
    assert PairwiseAgreement().score(bank) == {"a": 0.5, "b": 0.5, "silent": 0.0}
    bank = bank_of({"dreamer": [something], "b": [nothing], "c": [nothing], "d": [nothing]})
    scores = PairwiseAgreement().score(bank)
    assert scores.pop("dreamer") == 0.0
    assert all(map(math.isnan, scores.values()))


def test_a_wrong_majority_wins():
    right, wrong = [[1, 1, 0, 0]], [[0, 0, 1, 1]]
    scores = PairwiseAgreement().score(bank_of({"a": [wrong], "b": [wrong], "right": [right]}))
    assert scores["a"] == scores["b"] == 0.5
    assert scores["right"] == 0


def test_parity_with_straight_loops():
    rng = np.random.default_rng(0)
    names = [f"m{i}" for i in range(7)]
    masks = {name: [rng.random((6, 5)) < 0.3 for _ in range(4)] for name in names}
    masks["m2"][1] = masks["m5"][1] = None
    found = PairwiseAgreement().score(bank_of(masks))
    for name in names:
        values = []
        for image in range(4):
            if masks[name][image] is not None:
                others = [masks[n][image] for n in names if n != name]
                pairs = [normalized_hamming(masks[name][image], o) for o in others if o is not None]
                values.append(np.mean(pairs))
        assert found[name] == pytest.approx(np.median(values), abs=1e-12)
