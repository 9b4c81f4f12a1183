"""One property, every registered estimator: order must not matter, and silence must not win."""

import math

import numpy as np
import pytest

from onnx_cte import perturbations
from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE, ESTIMATORS, estimator_named
from onnx_cte.types import Estimator, Observation, Prediction

ESTIMATOR_CLASSES = {make.__name__: make for make in ESTIMATORS.values()}
ALL = pytest.mark.parametrize("estimator", [make() for make in ESTIMATORS.values()], ids=ESTIMATORS)


def prediction(maps):
    return Prediction(np.asarray(maps, np.float32)[None], ("foreground",))


def observation(estimator: Estimator, name: str, quality: float, seed: int) -> Observation:
    """A disc, seen well (quality 1) or badly (0), the same disc again under perturbation."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24]
    disc = (y - 12) ** 2 + (x - 11) ** 2 < 60

    def seen():
        sure = 0.5 + (disc - 0.5) * (0.2 + 0.75 * quality)
        return prediction(np.clip(sure + rng.normal(0, 0.3 * (1 - quality), disc.shape), 0, 1))

    perturbed = {p.name: seen() for p in estimator.needs.perturbations}
    return Observation(name, disc * 1.0, seen(), perturbed, disc.astype(np.int32))


def blank(estimator: Estimator, name: str) -> Observation:
    nothing = prediction(np.zeros((24, 24)))
    perturbed = {p.name: nothing for p in estimator.needs.perturbations}
    y, x = np.mgrid[:24, :24]
    return Observation(name, x * 1.0, nothing, perturbed, ((y + x) < 9).astype(np.int32))


def bank_of(estimator, order):
    return Bank(
        {
            model: [estimator.measure(observation(estimator, str(i), quality, i)) for i in order]
            for model, quality in {"good": 0.95, "fair": 0.6, "bad": 0.2}.items()
        }
    )


@ALL
def test_better_models_score_higher(estimator):
    scores = estimator.score(bank_of(estimator, range(5)))
    sign = 1 if estimator.greater_is_better else -1
    assert sign * scores["good"] > sign * scores["fair"] > sign * scores["bad"]


@ALL
def test_order_of_images_and_of_models_does_not_matter(estimator):
    scores = estimator.score(bank_of(estimator, range(5)))
    assert estimator.score(bank_of(estimator, [3, 1, 4, 0, 2])) == scores
    turned = dict(reversed(list(bank_of(estimator, range(5)).items())))
    assert dict(estimator.score(Bank(turned))) == dict(scores)


@ALL
def test_a_draw_is_the_bank_of_the_drawn_images(estimator):
    bank = bank_of(estimator, range(5))
    drawn = bank.draw([0, 0, 3])
    spelled = Bank({model: [row[0], row[0], row[3]] for model, row in bank.items()})
    assert dict(estimator.score(drawn)) == dict(estimator.score(spelled))


@ALL
def test_images_without_evidence_are_left_out(estimator):
    bank = bank_of(estimator, range(3))
    with_gaps = Bank({model: [*row, None] for model, row in bank.items()})
    assert dict(estimator.score(with_gaps)) == dict(estimator.score(bank))


@ALL
def test_a_model_without_evidence_is_undefined(estimator):
    rows = dict(bank_of(estimator, range(3)))
    scores = estimator.score(Bank({**rows, "absent": [None] * 3}))
    assert math.isnan(scores["absent"])
    assert not math.isnan(scores["good"])


@ALL
def test_a_silent_model_ranks_last(estimator):
    rows = dict(bank_of(estimator, range(5)))
    # It answers one easy image perfectly, and sees nothing on the other four.
    rows["silent"] = [
        estimator.measure(observation(estimator, "0", 1.0, 0)),
        *(estimator.measure(blank(estimator, str(i))) for i in range(1, 5)),
    ]
    scores = estimator.score(Bank(rows))
    sign = 1 if estimator.greater_is_better else -1
    assert all(sign * scores["silent"] < sign * scores[other] for other in ("good", "fair", "bad"))


@ALL
def test_repr_makes_it_again(estimator):
    made = eval(repr(estimator), {**vars(perturbations), **ESTIMATOR_CLASSES})
    assert made == estimator
    assert hash(made) == hash(estimator)


@pytest.mark.parametrize(
    "perturbation",
    [make() for make in perturbations.PERTURBATIONS.values()],
    ids=perturbations.PERTURBATIONS,
)
def test_every_perturbation_serves_cte(perturbation):
    cte = CTE("nhd", perturbation, draws=2)
    bank = bank_of(cte, range(5))
    scores = cte.score(bank)
    assert scores["good"] > scores["fair"] > scores["bad"]
    by_draw = cte.score_by_draw(bank)
    assert len(by_draw) == (2 if perturbations.is_random(perturbation) else 0)
    for drawn in by_draw:
        assert drawn["good"] > drawn["fair"] > drawn["bad"]
        assert drawn != scores
    again = bank_of(cte, [3, 1, 4, 0, 2])
    assert cte.score_by_draw(again) == by_draw
    made = eval(repr(cte), {**vars(perturbations), **ESTIMATOR_CLASSES})
    assert made == cte
    assert hash(made) == hash(cte)


@ALL
def test_it_says_what_it_is(estimator):
    assert ESTIMATORS[estimator.name] is type(estimator)
    assert estimator.summary
    assert isinstance(estimator.greater_is_better, bool)


def test_unknown_estimators_and_options():
    with pytest.raises(OptionError, match="unknown estimator 'ctee': did you mean 'cte'"):
        estimator_named("ctee")
    with pytest.raises(OptionError, match=r"estimator 'cte' does not take these options: .*colour"):
        estimator_named("cte", colour="red")
