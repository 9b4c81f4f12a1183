"""STAPLE beside a straight loop over pixels, beside SimpleITK, and what it is good for."""

import math

import numpy as np
import pytest
from mask_banks import bank_of

from onnx_cte.errors import OptionError
from onnx_cte.estimators import staple
from onnx_cte.estimators.packed import cross
from onnx_cte.estimators.staple import STAPLE, estimate


def named(masks):
    return {f"m{i:02}": [mask] for i, mask in enumerate(masks)}


def fitted(masks, region="all"):
    """Fit of masks, and the probability at every pixel."""
    [(votes, counts)] = cross(bank_of(named(masks)), lambda crossing: crossing.patterns())
    fit = estimate(votes, counts.astype(float), region)
    place = {tuple(row): i for i, row in enumerate(votes.tolist())}
    flat = np.array(masks).reshape(len(masks), -1).astype(int)
    return fit, np.array([fit.truth[place[tuple(column)]] for column in flat.T.tolist()])


def raters(models, shape, seed=0, share=0.3):
    """A truth, and masks of known sensitivities and specificities."""
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < share
    sensitivity = rng.uniform(0.6, 0.95, models)
    specificity = rng.uniform(0.7, 0.98, models)
    masks = [
        np.where(truth, rng.random(shape) < p, rng.random(shape) > q)
        for p, q in zip(sensitivity, specificity, strict=True)
    ]
    return truth, masks, sensitivity, specificity


def plain_staple(masks, iterations):
    """Expectation maximisation pixel by pixel, by products of probabilities."""
    flat = np.array(masks).reshape(len(masks), -1)
    prior = flat.mean()
    p = q = np.full(len(masks), 0.99999)
    truth = np.zeros(flat.shape[1])
    for _ in range(iterations + 1):
        for i, column in enumerate(flat.T):
            yes, no = prior, 1 - prior
            for k, vote in enumerate(column):
                yes *= p[k] if vote else 1 - p[k]
                no *= 1 - q[k] if vote else q[k]
            truth[i] = yes / (yes + no)
        last = p, q
        p = (flat * truth).sum(axis=1) / truth.sum()
        q = (~flat * (1 - truth)).sum(axis=1) / (1 - truth).sum()
    return last[0], last[1], truth


def test_one_step_by_hand(monkeypatch):
    """Two raters of four pixels that differ on one: one update from 0.99999."""
    monkeypatch.setattr(staple, "_ITERATIONS", 1)
    fit, _ = fitted([[[1, 1, 0, 0]], [[1, 0, 0, 0]]])
    # Prior 3/8. Where they differ a vote each way cancels: the prior stays, 3/8.
    assert fit.iterations == 1
    assert fit.sensitivity == pytest.approx([1, 1 / (1 + 3 / 8)], abs=1e-8)
    assert fit.specificity == pytest.approx([2 / (2 + 5 / 8), 1], abs=1e-8)


@pytest.mark.parametrize("models", [3, 8, 9, 17])
def test_parity_with_a_loop_over_pixels(models):
    _, masks, _, _ = raters(models, (12, 11))
    fit, truth = fitted(masks)
    p, q, expected = plain_staple(masks, fit.iterations)
    assert fit.sensitivity == pytest.approx(p, abs=1e-10)
    assert fit.specificity == pytest.approx(q, abs=1e-10)
    assert truth == pytest.approx(expected, abs=1e-10)


@pytest.mark.official
@pytest.mark.parametrize(("models", "share"), [(3, 0.3), (5, 0.1), (9, 0.5)])
def test_parity_with_simple_itk(models, share):
    sitk = pytest.importorskip("SimpleITK")
    _, masks, _, _ = raters(models, (40, 37), seed=models, share=share)
    theirs = sitk.STAPLEImageFilter()
    theirs.SetForegroundValue(1)
    image = theirs.Execute([sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks])
    fit, truth = fitted(masks)
    assert fit.sensitivity == pytest.approx(np.array(theirs.GetSensitivity()), abs=1e-4)
    assert fit.specificity == pytest.approx(np.array(theirs.GetSpecificity()), abs=1e-4)
    assert truth == pytest.approx(sitk.GetArrayFromImage(image).ravel(), abs=1e-4)


def test_rates_are_recovered():
    _, masks, sensitivity, specificity = raters(9, (150, 150))
    fit, _ = fitted(masks)
    assert fit.sensitivity == pytest.approx(sensitivity, abs=0.03)
    assert fit.specificity == pytest.approx(specificity, abs=0.03)


def test_models_are_ordered_by_what_they_know():
    truth, masks, _, _ = raters(9, (60, 60))
    dice = [2 * (mask & truth).sum() / (mask.sum() + truth.sum()) for mask in masks]
    for leave in ("vote", "fit", "none"):
        scores = list(STAPLE(leave).score(bank_of(named(masks))).values())
        assert np.argmax(scores) == np.argmax(dice)
        assert np.corrcoef(scores, dice)[0, 1] > 0.95


@pytest.mark.parametrize("region", ["all", "union"])
def test_the_fit_of_the_others_is_staple_of_the_others(region):
    _, masks, _, _ = raters(5, (20, 20), seed=3)
    scores = list(STAPLE("fit", region).score(bank_of(named(masks))).values())
    for model, mask in enumerate(masks):
        others = masks[:model] + masks[model + 1 :]
        _, truth = fitted(others, region)
        expected = 2 * truth[mask.ravel()].sum() / (truth.sum() + mask.sum())
        assert scores[model] == pytest.approx(expected, abs=1e-9)


def test_without_its_own_vote():
    _, masks, _, _ = raters(4, (10, 10), seed=1)
    fit, _ = fitted(masks, "union")
    scores = list(STAPLE("vote", "union").score(bank_of(named(masks))).values())
    flat = np.array(masks).reshape(4, -1)
    inside = flat.any(axis=0)
    prior = flat[:, inside].mean()
    for model in range(4):
        yes, no = np.full(flat.shape[1], prior), np.full(flat.shape[1], 1 - prior)
        for k in set(range(4)) - {model}:
            p, q = fit.sensitivity[k], fit.specificity[k]
            yes *= np.where(flat[k], p, 1 - p)
            no *= np.where(flat[k], 1 - q, q)
        truth = np.where(inside, yes / (yes + no), 0)
        expected = 2 * truth[flat[model]].sum() / (truth.sum() + flat[model].sum())
        assert scores[model] == pytest.approx(expected, abs=1e-9)


def test_with_many_models_the_ways_to_leave_one_out_agree():
    _, masks, _, _ = raters(12, (40, 40), seed=5)
    vote, fit, own = (
        np.array(list(STAPLE(leave).score(bank_of(named(masks))).values()))
        for leave in ("vote", "fit", "none")
    )
    assert np.abs(vote - fit).max() < 5e-3
    # One's own vote flatters.
    assert (own > vote).all()


def test_few_models_are_fitted_anew_and_many_once(monkeypatch):
    _, masks, _, _ = raters(5, (20, 20), seed=6)
    auto, fit, vote = (
        STAPLE(leave).score(bank_of(named(masks))) for leave in ("auto", "fit", "vote")
    )
    assert auto == fit != vote
    monkeypatch.setattr(staple, "_FEW", 4)
    assert STAPLE().score(bank_of(named(masks))) == vote


@pytest.mark.parametrize("leave", ["vote", "fit", "none"])
def test_background_around_changes_nothing_in_the_union(leave):
    _, masks, _, _ = raters(5, (12, 12), seed=2)
    padded = [np.pad(mask, 20) for mask in masks]
    near, far = (STAPLE(leave, "union").score(bank_of(named(m))) for m in (masks, padded))
    assert near == pytest.approx(dict(far), abs=1e-9)
    near, far = (STAPLE(leave, "all").score(bank_of(named(m))) for m in (masks, padded))
    assert max(abs(near[name] - far[name]) for name in near) > 0.01


def test_silence_and_dreams():
    something, nothing = [[1, 1, 0, 0, 0]], [[0, 0, 0, 0, 0]]
    for estimator in [
        STAPLE(leave, region) for leave in ("vote", "fit", "none") for region in ("all", "union")
    ]:
        scores = estimator.score(
            bank_of({"a": [something], "b": [something], "c": [something], "silent": [nothing]})
        )
        assert scores["silent"] == 0
        # In the union a single pattern of votes is left, which no rate explains better than the
        # prior: that of three votes in four, or of two in three.
        due = {("vote", "union"): 3 / 4, ("fit", "union"): 2 / 3, ("none", "union"): 3 / 4}
        truth = due.get((estimator.leave_one_out, estimator.region), 1)
        assert scores["a"] == pytest.approx(2 * truth / (truth + 1), abs=1e-6)
        scores = estimator.score(
            bank_of({"dreamer": [something], "b": [nothing], "c": [nothing], "d": [nothing]})
        )
        assert 0 <= scores.pop("dreamer") <= 1
        assert all(map(math.isnan, scores.values()))


@pytest.mark.parametrize("region", ["all", "union"])
@pytest.mark.parametrize("leave", ["vote", "fit", "none"])
@pytest.mark.parametrize("models", [2, 3])
def test_masks_without_background_or_overlap(models, leave, region):
    full = bank_of(named([np.ones((3, 3))] * models))
    assert list(STAPLE(leave, region).score(full).values()) == pytest.approx([1] * models)
    apart = bank_of(named([np.eye(4)[i : i + 1] for i in range(models)]))
    assert all(0 <= v <= 1 for v in STAPLE(leave, region).score(apart).values())


def test_options():
    with pytest.raises(OptionError, match="unknown leave_one_out of staple 'votes': did you mean"):
        STAPLE("votes")
    with pytest.raises(OptionError, match="unknown leave_one_out of staple 'True'"):
        STAPLE(True)
    with pytest.raises(OptionError, match="unknown region of staple 'unions': did you mean"):
        STAPLE(region="unions")
    assert STAPLE().title == "staple"
    assert STAPLE("fit", "union").title == "staple by fit in the union"
    assert STAPLE("none").title == "staple with own vote"
