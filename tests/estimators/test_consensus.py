"""Dice with the majority of the others, worked out by hand and by straight loops."""

import math

import numpy as np
import pytest
from mask_banks import bank_of

from onnx_cte.estimators.consensus import Consensus


def test_two_models_are_compared_with_each_other():
    bank = bank_of({"a": [[[1, 1, 0, 1]]], "b": [[[1, 1, 1, 0]]]})
    assert Consensus().score(bank) == pytest.approx({"a": 2 / 3, "b": 2 / 3})


def test_ties_of_two_others_are_half_foreground():
    bank = bank_of({"a": [[[1, 1, 0, 0]]], "b": [[[1, 0, 1, 0]]], "c": [[[1, 1, 1, 0]]]})
    # For a, the others say 1, 1/2, 1: 2 * 1.5 / (2 + 2.5). For c, they say 1, 1/2, 1/2.
    expected = {"a": 3 / 4.5, "b": 3 / 4.5, "c": 4 / 5}
    assert Consensus().score(bank) == pytest.approx(expected)


def test_three_others_have_a_majority():
    bank = bank_of({"a": [[[1, 1, 0]]], "b": [[[1, 0, 0]]], "c": [[[1, 1, 1]]], "d": [[[0, 1, 1]]]})
    # Others of a: 1 1 1; of b: 1 1 1; of c: 1 1 0; of d: 1 1 0.
    expected = {"a": 4 / 5, "b": 2 / 4, "c": 4 / 5, "d": 2 / 4}
    assert Consensus().score(bank) == pytest.approx(expected)


def test_its_own_vote_does_not_count():
    # With its own vote, a would be the majority of three; without, a tie.
    bank = bank_of({"a": [[[1, 0]]], "b": [[[1, 0]]], "c": [[[0, 1]]]})
    assert Consensus().score(bank)["a"] == pytest.approx(2 * 0.5 / (1 + 1))


def test_silence_and_dreams():
    something, nothing = [[1, 0]], [[0, 0]]
    scores = Consensus().score(bank_of({"a": [something], "b": [something], "silent": [nothing]}))
    assert scores["silent"] == 0
    assert scores["a"] == scores["b"] == pytest.approx(2 * 0.5 / 1.5)
    scores = Consensus().score(
        bank_of({"dreamer": [something], "b": [nothing], "c": [nothing], "d": [nothing]})
    )
    assert scores.pop("dreamer") == 0
    assert all(map(math.isnan, scores.values()))


@pytest.mark.parametrize("models", [2, 3, 4, 6, 7])
def test_parity_with_straight_loops(models):
    rng = np.random.default_rng(models)
    names = [f"m{i}" for i in range(models)]
    masks = {name: [rng.random((6, 5)) < 0.4 for _ in range(3)] for name in names}
    found = Consensus().score(bank_of(masks))
    for name in names:
        values = []
        for image in range(3):
            others = [masks[other][image] for other in names if other != name]
            own = vote = both = 0.0
            for place in np.ndindex(6, 5):
                share = sum(bool(mask[place]) for mask in others) / len(others)
                decided = 1.0 if share > 0.5 else 0.5 if share == 0.5 else 0.0
                vote += decided
                if masks[name][image][place]:
                    own += 1
                    both += decided
            values.append(2 * both / (own + vote))
        assert found[name] == pytest.approx(np.median(values), abs=1e-12)
