"""All estimators in one pass: each says what it says alone, and every model runs once an image."""

import math
from pathlib import Path

import numpy as np
import pytest

import onnx_cte as oc
from onnx_cte.estimators import ESTIMATORS
from onnx_cte.segmenters.onnx_model import OnnxSegmenter

MODELS = Path(__file__).parents[1] / "models" / "nuclei"
NAMES = ("fibro", "large360", "stain_lilac")
JUDGES = [offer() for name, offer in ESTIMATORS.items() if not offer().needs.source]


def images(count=12):
    made = oc.simulate_images(count, 3, shape=(96, 112))
    return [oc.Image(name, image, "yx", labels, fingerprint=name) for name, image, labels in made]


def models():
    return [model for model in oc.open_models(MODELS) if model.name in NAMES]


def source():
    """Images that stand for each model's own training domain."""
    made = [oc.Image(f"own {i.name}", i.data, i.axes, i.truth) for i in images(3)]
    return dict.fromkeys(NAMES, made)


@pytest.fixture(scope="module")
def together():
    return oc.rank_each(models(), images(), JUDGES, jobs=1)


def numbers(ranking):
    return {**ranking.values, **{s.model + " interval": s.interval for s in ranking}}


@pytest.mark.parametrize("place", range(len(JUDGES)), ids=[judge.title for judge in JUDGES])
def test_every_estimator_has_an_opinion(together, place):
    ranking = together[place]
    assert ranking.failed == ()
    assert {score.model for score in ranking} == set(NAMES)
    assert not any(score.skipped for score in ranking)
    assert not all(math.isnan(score.value) for score in ranking)


# One of each kind of need, and of evidence that is shared.
@pytest.mark.parametrize(
    "name", ["credibility", "cte", "tta", "ccfv", "logme", "nleep", "contrastive", "staple"]
)
def test_alone_it_says_the_same(together, name):
    judge = ESTIMATORS[name]()
    (alone,) = oc.rank_each(models(), images(), [judge], jobs=1)
    wanted = next(r for r in together if r.estimator == repr(judge))
    np.testing.assert_equal(numbers(alone), numbers(wanted))
    np.testing.assert_equal(
        {s.model: s.by_image for s in alone}, {s.model: s.by_image for s in wanted}
    )


def test_order_and_threads_change_nothing(together):
    turned = oc.rank_each(models()[::-1], images()[::-1], JUDGES[::-1], jobs=2)
    for one, other in zip(together, turned[::-1], strict=True):
        assert one.estimator == other.estimator
        for model, value in one.values.items():
            assert other.values[model] == pytest.approx(value, rel=1e-5, abs=1e-6, nan_ok=True)


def test_every_model_runs_once_an_image(monkeypatch):
    seen, real = [], OnnxSegmenter.observe

    def observe(self, image, needs, seed):
        seen.append((self.name, image.name))
        return real(self, image, needs, seed)

    monkeypatch.setattr(OnnxSegmenter, "observe", observe)
    oc.rank_each(models()[:1], images(11), JUDGES, jobs=1)
    assert len(seen) == len(set(seen)) == 11


def test_a_resumed_run_measures_nothing_and_says_the_same(tmp_path, monkeypatch):
    kept = tmp_path / "evidence.sqlite"
    first = oc.rank_each(models()[:2], images(11), JUDGES, jobs=1, evidence=kept)
    monkeypatch.setattr(OnnxSegmenter, "observe", None)
    again = oc.rank_each(models()[:2], images(11), JUDGES, jobs=1, evidence=kept)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_equal(numbers(one), numbers(other))


@pytest.mark.parametrize("name", ["atc", "doc", "otce", "jc_otce"])
def test_those_with_source_images(name):
    if reason := getattr(ESTIMATORS[name](), "unavailable", str)():
        pytest.skip(reason)
    small = {"pixels": 200, "repeats": 2} if "otce" in name else {}
    judge = ESTIMATORS[name](**small)
    (ranking,) = oc.rank_each(models(), images(5), [judge], source=source(), jobs=1)
    assert ranking.failed == ()
    assert np.isfinite(list(ranking.values.values())).all()
    without = oc.rank_each(models(), images(5), [judge, oc.Confidence()], jobs=1)[0]
    assert {model for model, _ in without.failed} == set(NAMES)
    assert all("--source" in reason and "leep" in reason for _, reason in without.failed)
