"""One property, every registered estimator: order must not matter, and silence must not win."""

import math

import numpy as np
import pytest

from onnx_cte import perturbations
from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE, ESTIMATORS, estimator_named
from onnx_cte.estimators.sampling import MOST_BYTES
from onnx_cte.evidence import EvidenceStore
from onnx_cte.features import FeatureMap
from onnx_cte.types import Estimator, Observation, Prediction

ESTIMATOR_CLASSES = {offer.kind.__name__: offer.kind for offer in ESTIMATORS.values()}
SMALLER = {name: {"pixels": 150, "repeats": 2} for name in ("otce", "jc_otce")}
"""Options for tests: transport of two thousand pixels takes seconds."""
MADE = {name: offer(**SMALLER.get(name, {})) for name, offer in ESTIMATORS.items()}
ALL = pytest.mark.parametrize("estimator", MADE.values(), ids=MADE)
OF_FEATURES = {
    "ccfv", "ccfv_released", "contrastive", "gbc", "h_score", "h_score_regularised", "jc_otce",
    "logme", "ncti", "nleep", "otce",
}  # fmt: skip
"""Those that look at features, or weigh pixels by transport, and not at what is decided of them."""


SIDE = 24
MANY = range(14)  # more than the ten labelled images of which one estimator wants to know
SATURATED = {"jc_otce", "ncti", "otce"}
"""With transport, classes that can be told apart at all are coupled without error, however far
apart they lie, those of JC-OTCE with the help of the labels; NCTI scales over three models."""
FITTED_ONCE = ("nleep", "otce")
"""Those that fit something to the whole bank once: draws weigh images by it, and say so."""
QUALITIES = {"good": 0.95, "fair": 0.5, "bad": 0.2}


def prediction(maps):
    return Prediction(np.asarray(maps, np.float32)[None], ("foreground",))


def disc():
    y, x = np.mgrid[:SIDE, :SIDE]
    return (y - 12) ** 2 + (x - 11) ** 2 < 60


def observation(estimator, name, quality, seed, domain="target") -> Observation:
    """A disc, seen well (quality 1) or badly (0), the same disc again under perturbation."""
    # Models err in ways of their own, or the middling one would be nearest to all others.
    rng = np.random.default_rng([seed, int(1000 * quality)])
    truth = disc()

    def seen():
        sure = 0.5 + (truth - 0.5) * (0.2 + 0.75 * quality)
        return prediction(np.clip(sure + rng.normal(0, 0.3 * (1 - quality), truth.shape), 0, 1))

    # Images differ around the disc, and as wholes; a bad model's features are those of noise.
    around = np.random.default_rng(seed).normal(0, 2, (4, 1, 1)) * ~truth

    def mapped():
        """Features that tell the disc from what is around it, and images from each other."""
        signs = np.array([1, -1, 0.5, 2])[:, None, None] * (truth - 0.5) * 4
        noise = rng.normal(0, 0.2 + 3 * (1 - quality), (4, SIDE, SIDE))
        shift = rng.normal(0, 2 * (1 - quality), (4, 1, 1))
        values = quality * (signs + around) + noise + shift
        return FeatureMap.of(values.astype(np.float32), (SIDE, SIDE))

    needs = estimator.needs
    return Observation(
        name,
        truth * 1.0 + np.random.default_rng(seed).normal(0, 0.05, truth.shape),
        seen(),
        {p.name: seen() for p in needs.perturbations},
        truth.astype(np.int32),
        {tap: mapped() for tap in needs.taps},
        {v.perturbation.name: {tap: mapped() for tap in v.taps} for v in needs.views},
        domain,
    )


def blank(estimator: Estimator, name: str) -> Observation:
    nothing = prediction(np.zeros((SIDE, SIDE)))
    needs = estimator.needs
    y, x = np.mgrid[:SIDE, :SIDE]
    dull = FeatureMap.of(
        np.random.default_rng(9).normal(0, 1, (4, SIDE, SIDE)).astype(np.float32), (SIDE, SIDE)
    )
    return Observation(
        name,
        x * 1.0,
        nothing,
        {p.name: nothing for p in needs.perturbations},
        ((y + x) < 9).astype(np.int32),
        dict.fromkeys(needs.taps, dull),
        {v.perturbation.name: dict.fromkeys(v.taps, dull) for v in needs.views},
    )


def source_of(estimator, models):
    """What models of these qualities do on their own training domain; or nothing, if unasked."""
    if not estimator.needs.source:
        return {}
    return {
        model: [
            estimator.measure(observation(estimator, f"s{i}", quality, 50 + i, "source"))
            for i in range(3)
        ]
        for model, quality in models.items()
    }


def rows_of(estimator, order, models=QUALITIES):
    return {
        model: [estimator.measure(observation(estimator, str(i), quality, i)) for i in order]
        for model, quality in models.items()
    }


def bank_of(estimator, order, extra=None):
    models = {**QUALITIES, **dict.fromkeys(extra or {}, 0.9)}
    rows = {**rows_of(estimator, order), **(extra or {})}
    return Bank(rows, source_of(estimator, models))


def alike(found, expected):
    assert dict(found) == pytest.approx(dict(expected), rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", sorted(MADE.keys() - SATURATED))
def test_better_models_score_higher(name):
    estimator = MADE[name]
    scores = estimator.score(bank_of(estimator, MANY))
    sign = 1 if estimator.greater_is_better else -1
    assert sign * scores["good"] > sign * scores["fair"] > sign * scores["bad"]


@pytest.mark.parametrize("name", sorted(SATURATED - {"jc_otce"}))
def test_the_best_model_scores_higher_than_the_worst(name):
    scores = MADE[name].score(bank_of(MADE[name], MANY))
    assert scores["good"] > scores["bad"]


@ALL
def test_order_of_images_and_of_models_does_not_matter(estimator):
    bank = bank_of(estimator, MANY)
    scores = estimator.score(bank)
    alike(estimator.score(bank_of(estimator, np.random.default_rng(1).permutation(MANY))), scores)
    turned = dict(reversed(list(bank.items())))
    alike(estimator.score(Bank(turned, bank.source)), scores)


@ALL
def test_a_draw_is_the_bank_of_the_drawn_images(estimator):
    bank = bank_of(estimator, MANY)
    picked = [0, 0, 3, *range(5, 14)]
    spelled = Bank({m: [row[i] for i in picked] for m, row in bank.items()}, bank.source)
    drawn, again = estimator.score(bank.draw(picked)), estimator.score(spelled)
    if estimator.name in FITTED_ONCE:
        assert drawn.keys() == again.keys()
        assert np.isfinite([*drawn.values(), *again.values()]).all()
        return
    alike(drawn, again)


@ALL
def test_drawing_every_image_once_changes_nothing(estimator):
    bank = bank_of(estimator, MANY)
    alike(estimator.score(bank.draw(range(len(MANY)))), estimator.score(bank))


@ALL
def test_images_without_evidence_are_left_out(estimator):
    bank = bank_of(estimator, MANY)
    with_gaps = Bank({model: [*row, None] for model, row in bank.items()}, bank.source)
    alike(estimator.score(with_gaps), estimator.score(bank))


@ALL
def test_a_model_without_evidence_is_undefined(estimator):
    scores = estimator.score(bank_of(estimator, MANY, {"absent": [None] * len(MANY)}))
    assert math.isnan(scores["absent"])
    assert not math.isnan(scores["good"])


@pytest.mark.parametrize("name", sorted(MADE.keys() - OF_FEATURES))
def test_a_silent_model_ranks_last(name):
    estimator = MADE[name]
    # It answers one easy image perfectly, and sees nothing on the others.
    silent = [
        estimator.measure(observation(estimator, "0", 1.0, 0)),
        *(estimator.measure(blank(estimator, str(i))) for i in MANY[1:]),
    ]
    scores = estimator.score(bank_of(estimator, MANY, {"silent": silent}))
    sign = 1 if estimator.greater_is_better else -1
    others = [sign * scores[other] for other in QUALITIES]
    if math.isnan(scores["silent"]):  # undefined ranks last
        assert not any(map(math.isnan, others))
        return
    assert all(sign * scores["silent"] < other for other in others)


@ALL
def test_evidence_is_small_and_survives_the_store(estimator, tmp_path):
    seen = observation(estimator, "a", 0.95, 0)
    evidence = estimator.measure(seen)
    with EvidenceStore(tmp_path / "evidence.sqlite") as store:
        store.put({"key": evidence})
        kept = store.get("key")
    assert kept.keys() == evidence.keys()
    size = 0
    for name, value in evidence.items():
        assert isinstance(value, float | str | np.ndarray | np.generic | int), name
        np.testing.assert_array_equal(kept[name], value)
        size += np.asarray(value).nbytes
    assert size <= MOST_BYTES


@ALL
def test_it_does_not_change_what_it_sees(estimator):
    seen, untouched = (observation(estimator, "a", 0.95, 0) for _ in range(2))
    first = estimator.measure(seen)
    again = estimator.measure(seen)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert np.array_equal(seen.reference.maps, untouched.reference.maps)
    assert np.array_equal(seen.pixels, untouched.pixels)
    assert np.array_equal(seen.truth, untouched.truth)


@ALL
def test_one_image_gives_a_number_or_nothing(estimator):
    for model, score in estimator.score(bank_of(estimator, [0])).items():
        assert isinstance(score, float), model


@ALL
def test_blank_models_and_no_image_at_all_give_no_warning(estimator):
    rows = {m: [estimator.measure(blank(estimator, str(i))) for i in range(3)] for m in "abc"}
    assert set(estimator.score(Bank(rows, source_of(estimator, dict.fromkeys("abc", 0.5))))) == {
        "a", "b", "c",
    }  # fmt: skip
    nothing = estimator.score(Bank({"a": [None], "b": [None]}))
    assert all(math.isnan(score) for score in nothing.values())


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


@pytest.mark.parametrize("name", ESTIMATORS)
def test_it_says_what_it_is(name):
    estimator = estimator_named(name)
    assert type(estimator) is ESTIMATORS[name].kind
    assert estimator.title
    summary = ESTIMATORS[name].summary
    assert summary
    assert "\n" not in summary
    assert isinstance(estimator.greater_is_better, bool)


def test_unknown_estimators_and_options():
    with pytest.raises(OptionError, match="unknown estimator 'ctee': did you mean 'cte'"):
        estimator_named("ctee")
    with pytest.raises(OptionError, match=r"estimator 'cte' does not take these options: .*colour"):
        estimator_named("cte", colour="red")
