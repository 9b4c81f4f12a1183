"""Variance under perturbation: by hand, its scale, and silence."""

import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE
from onnx_cte.estimators.variance import PerturbationVariance, stillness
from onnx_cte.perturbations import Dropout, Flip, GaussianNoise
from onnx_cte.types import Observation, Prediction


def binary(*values, threshold=0.5):
    return Prediction(np.array([[values]], np.float32), ("foreground",), threshold)


def classes(*columns):
    maps = np.array(columns, np.float32).T[:, None]
    return Prediction(maps, ("background", "cell", "rim")[: len(maps)])


def test_by_hand():
    # Union: the first two pixels. Variances of (1, .5, 0) and of (.25, .75, .5): 1/6 and 1/24.
    predictions = [binary(1, 0.25, 0), binary(0.5, 0.75, 0.5), binary(0, 0.5, 0.25)]
    assert stillness(predictions) == pytest.approx(1 - 4 * (1 / 6 + 1 / 24) / 2)


def test_the_scale_ends_at_0_and_1():
    assert stillness([binary(1.0, 0.0), binary(0.0, 1.0)]) == 0
    assert stillness([binary(0.7, 0.2)] * 3) == 1
    one, two, three = np.eye(3)
    assert stillness([classes(two), classes(three), classes(one)]) == pytest.approx(0)


def test_classes_are_summed():
    predictions = [classes([0.2, 0.8, 0], [1, 0, 0]), classes([0.6, 0.2, 0.2], [0.8, 0.2, 0])]
    # Only the first pixel is foreground anywhere: variances .04, .09 and .01 of at most 2/3.
    assert stillness(predictions) == pytest.approx(1 - 0.14 * 1.5, abs=1e-6)


def test_two_classes_are_as_one_foreground():
    rng = np.random.default_rng(0)
    p, q = rng.random((2, 20))
    one = stillness([binary(*p), binary(*q)])
    two = stillness([classes(*np.stack([1 - v, v], axis=1)) for v in (p, q)])
    assert one == pytest.approx(two, abs=1e-6)


def test_thresholds_are_the_model_s_own():
    low = [binary(0.4, 0.1, threshold=0.3), binary(0.2, 0.1, threshold=0.3)]
    assert stillness(low) == pytest.approx(1 - 4 * 0.01, abs=1e-6)
    assert math.isnan(stillness([binary(0.4, 0.1), binary(0.2, 0.1)]))


def test_blindness_does_not_win_though_a_draw_sees():
    assert math.isnan(stillness([binary(0.49, 0.1), binary(0.51, 0.1)]))


def seen(*draws, name="noise=0.1"):
    perturbed = {f"{name}#{i}" if i else name: p for i, p in enumerate(draws[1:])}
    return Observation("a", np.zeros((1, 2)), draws[0], perturbed)


def test_evidence_of_all_draws_and_of_each():
    evidence = PerturbationVariance().measure(seen(binary(1, 0), binary(0.5, 0), binary(0, 0)))
    assert evidence["value"] == pytest.approx(1 - 4 / 6)
    assert evidence["draw0"] == pytest.approx(1 - 4 / 16)
    assert evidence["draw1"] == 0
    assert evidence["foreground"] == 0.5
    bank = Bank({"m": [evidence]})
    assert PerturbationVariance().score(bank) == {"m": evidence["value"]}
    by_draw = PerturbationVariance().score_by_draw(bank)
    assert by_draw == ({"m": evidence["draw0"]}, {"m": evidence["draw1"]})


def test_what_is_not_random_is_taken_once():
    estimator = PerturbationVariance(Flip("x"), draws=3)
    assert [p.name for p in estimator.needs.perturbations] == ["flip=x"]
    evidence = estimator.measure(seen(binary(1, 0), binary(0.5, 0), name="flip=x"))
    assert set(evidence) == {"value", "foreground"}
    assert estimator.score_by_draw(Bank({"m": [evidence]})) == ()


def test_one_pass_with_cte():
    assert PerturbationVariance().needs == CTE().needs
    both = PerturbationVariance().needs | CTE().needs
    assert both.perturbations == CTE().needs.perturbations


def test_silence():
    blind = PerturbationVariance().measure(seen(*[binary(0.1, 0)] * 3))
    still = PerturbationVariance().measure(seen(*[binary(0.9, 0)] * 3))
    assert math.isnan(blind["value"])
    scores = PerturbationVariance().score(Bank({"blind": [blind], "a": [still], "b": [still]}))
    assert scores == {"blind": 0, "a": 1, "b": 1}
    scores = PerturbationVariance().score(Bank({n: [blind] for n in "ab"}))
    assert all(map(math.isnan, scores.values()))


def test_options():
    with pytest.raises(OptionError, match="variance, perturbed as CTE is: CTE: draws is an integ"):
        PerturbationVariance(draws=0)
    with pytest.raises(OptionError, match="'noise' is the text of a perturbation: pass parse_pert"):
        PerturbationVariance("noise")
    assert PerturbationVariance(Dropout(0.2), 5).title == "variance dropout=0.2 x5"
    assert PerturbationVariance().title == "variance noise=0.1"
    assert PerturbationVariance() == PerturbationVariance(GaussianNoise(0.1), 2)
