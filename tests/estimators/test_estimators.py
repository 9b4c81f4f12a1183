import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators import (
    CTE,
    Accuracy,
    Confidence,
    estimator_named,
    known_estimators,
)
from onnx_cte.estimators.silence import median_of_images, with_silence
from onnx_cte.perturbations import Dropout, Flip, Gamma, GaussianNoise, InputRedraw
from onnx_cte.types import Observation, Prediction

NAN = math.nan


def binary(rows, threshold=0.5):
    return Prediction(np.array([rows], np.float32), ("foreground",), threshold)


def test_cte_averages_over_perturbations_before_the_median_over_images():
    cte = CTE("nhd", [GaussianNoise(0.1), Flip("x")], draws=1)
    reference = binary([[0.9, 0.9, 0.1, 0.1]])
    same, half = reference, binary([[0.9, 0.1, 0.1, 0.1]])
    seen = Observation("a", np.ones((1, 4)), reference, {"noise=0.1": same, "flip=x": half})
    evidence = cte.measure(seen)
    assert evidence["value"] == 0.75
    assert evidence["foreground"] == 0.5
    bank = Bank({"m": [{"value": v, "foreground": 0.5} for v in (0.75, 0.1, 0.9, 0.8)]})
    assert cte.score(bank)["m"] == pytest.approx(0.775)  # the mean of the middle two


def test_cte_leaves_undefined_perturbations_out():
    cte = CTE("nhd", [GaussianNoise(0.1), Flip("x")], draws=1)
    empty, spot = binary([[0.1, 0.1]]), binary([[0.9, 0.1]])
    seen = Observation("a", np.ones((1, 2)), empty, {"noise=0.1": empty, "flip=x": spot})
    assert cte.measure(seen)["value"] == 0.0
    seen = Observation("a", np.ones((1, 2)), empty, {"noise=0.1": empty, "flip=x": empty})
    assert math.isnan(cte.measure(seen)["value"])


def test_cte_uses_the_model_s_own_threshold():
    seen = Observation(
        "a",
        np.ones((1, 2)),
        binary([[0.4, 0.4]], threshold=0.3),
        {"noise=0.1": binary([[0.4, 0.2]], threshold=0.3)},
    )
    assert CTE("nhd", draws=1).measure(seen)["value"] == 0.5
    assert CTE("ei", draws=1).measure(seen)["value"] == pytest.approx(0.2)


def test_cte_of_classes_puts_the_background_first():
    roles = ("cell", "background")
    reference = Prediction(np.array([[[0.8, 0.3]], [[0.2, 0.7]]], np.float32), roles)
    perturbed = Prediction(np.array([[[0.6, 0.9]], [[0.4, 0.1]]], np.float32), roles)
    seen = Observation("a", np.ones((1, 2)), reference, {"noise=0.1": perturbed})
    assert CTE("nhd", draws=1).measure(seen)["value"] == 0.5
    assert CTE("ei", draws=1).measure(seen)["value"] == pytest.approx(math.sqrt(0.48) / 2)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"metric": "f1"}, "'f1' measures performance, expected a metric of consistency"),
        ({"perturbations": []}, "CTE without a perturbation"),
        ({"perturbations": [Gamma(), Gamma()]}, "the same perturbation twice: gamma=1.1..1.2"),
        (
            {"perturbations": [Gamma(), InputRedraw(Gamma(), 1)]},
            r"the same perturbation twice: gamma=1.1..1.2, gamma=1.1..1.2#1",
        ),
        ({"draws": 0}, "CTE: draws is an integer of at least 1, not 0"),
        ({"draws": 1.5}, "at least 1, not 1.5"),
    ],
)
def test_cte_options(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        CTE(**options)


def of_four(overlap):
    """Four pixels of which the first `overlap` are foreground."""
    return binary([[0.9] * overlap + [0.1] * (4 - overlap)])


def test_what_is_random_is_drawn_several_times_and_what_is_not_once():
    cte = CTE("nhd", [GaussianNoise(0.1), Flip("x"), Dropout(0.1)], draws=3)
    assert [p.name for p in cte.needs.perturbations] == [
        *("noise=0.1", "noise=0.1#1", "noise=0.1#2"),
        "flip=x",
        *("dropout=0.1", "dropout=0.1#1", "dropout=0.1#2"),
    ]
    assert [p.name for p in cte.needs.features] == ["dropout=0.1", "dropout=0.1#1", "dropout=0.1#2"]
    assert [p.name for p in CTE("nhd", draws=1).needs.perturbations] == ["noise=0.1"]


def test_cte_averages_over_draws_before_perturbations():
    cte = CTE("nhd", [GaussianNoise(0.1), Flip("x")])
    perturbed = {"noise=0.1": of_four(4), "noise=0.1#1": of_four(2), "flip=x": of_four(1)}
    evidence = cte.measure(Observation("a", np.ones((1, 4)), of_four(4), perturbed))
    # Of the draws 1 and 1/2, of the flip 1/4: ((1 + 1/2) / 2 + 1/4) / 2.
    assert evidence["value"] == 0.5
    assert evidence["draw0"] == (1 + 1 / 4) / 2
    assert evidence["draw1"] == (1 / 2 + 1 / 4) / 2
    assert set(evidence) == {"value", "foreground", "draw0", "draw1"}


def test_cte_leaves_undefined_draws_out():
    cte = CTE("nhd", [GaussianNoise(0.1), Dropout(0.1)])
    none, spot = of_four(0), of_four(1)
    perturbed = {"noise=0.1": none, "noise=0.1#1": spot}
    perturbed |= {"dropout=0.1": none, "dropout=0.1#1": none}
    evidence = cte.measure(Observation("a", np.ones((1, 4)), none, perturbed))
    assert evidence["value"] == evidence["draw1"] == 0.0
    assert math.isnan(evidence["draw0"])


@pytest.mark.parametrize(
    "cte", [CTE(draws=1), CTE("nhd", Flip("x")), CTE("nhd", GaussianNoise(0.0), draws=3)], ids=repr
)
def test_without_several_draws_there_is_nothing_to_tell_apart(cte):
    perturbed = {p.name: of_four(2) for p in cte.perturbations}
    evidence = cte.measure(Observation("a", np.ones((1, 4)), of_four(4), perturbed))
    assert evidence == {"value": 0.5, "foreground": 1.0}
    assert cte.score_by_draw(Bank({"m": [evidence]})) == ()


def test_scores_by_draw_are_medians_of_each_draw_with_silence():
    def seen(value, draw0, draw1, foreground=0.1):
        return {"value": value, "foreground": foreground, "draw0": draw0, "draw1": draw1}

    blind = seen(NAN, NAN, NAN, 0.0)
    bank = Bank(
        {
            "a": [seen(0.5, 0.4, 0.6), seen(0.7, 0.6, 0.8), seen(0.9, 0.95, 0.85)],
            "b": [seen(0.8, 0.9, 0.7), blind, None],
            # Its second draw alone saw something, where the undisturbed prediction is blank.
            "c": [seen(0.0, NAN, 0.0, 0.0), seen(0.6, 0.6, 0.6), seen(0.6, 0.6, 0.6)],
        }
    )
    first, second = CTE().score_by_draw(bank)
    assert first == pytest.approx({"a": 0.6, "b": 0.45, "c": 0.6})
    assert second == pytest.approx({"a": 0.8, "b": 0.35, "c": 0.6})
    assert CTE().score(bank) == pytest.approx({"a": 0.7, "b": 0.4, "c": 0.6})


def test_the_title_tells_the_draws_if_they_are_not_the_usual():
    assert CTE().title == "cte nhd noise=0.1"
    assert CTE(draws=5).title == "cte nhd noise=0.1 x5"
    assert CTE("ei", [Dropout(0.2), Flip()], draws=1).title == "cte ei dropout=0.2+flip=x x1"


def row(*pairs):
    return [None if p is None else {"value": p[0], "foreground": p[1]} for p in pairs]


def test_silence_counts_as_zero_where_half_of_the_others_see_something():
    bank = Bank(
        {
            "a": row((0.9, 0.1), (0.9, 0.1), (0.9, 0.1), None),
            "b": row((0.8, 0.1), (NAN, 0.0), (NAN, 0.0), (0.8, 0.1)),
            "c": row((NAN, 0.0), (NAN, 0.0), None, (NAN, 0.0)),
        }
    )
    found = with_silence(bank)
    expected = [
        [0.9, 0.9, 0.9, NAN],  # never silent; the last image gave it no evidence
        [0.8, 0.0, 0.0, 0.8],  # silent where one of two others, then the only other, sees
        [0.0, 0.0, NAN, 0.0],
    ]
    assert np.array_equal(found, expected, equal_nan=True)


def test_slivers_are_silence_too():
    """V^Rand leaves nothing of objects as thin as its border: foreground, and nothing to judge."""
    bank = Bank({"a": row((0.9, 0.1), (0.7, 0.1)), "slivers": row((NAN, 0.3), (0.99, 0.3))})
    assert with_silence(bank).tolist() == [[0.9, 0.7], [0.0, 0.99]]


def test_silence_of_another_column():
    seeing, blind = (0.9, 0.8, 0.1), (0.5, NAN, 0.0)
    names = ("value", "draw0", "foreground")
    bank = Bank({"a": [dict(zip(names, seeing, strict=True))],
                 "b": [dict(zip(names, blind, strict=True))]})  # fmt: skip
    assert with_silence(bank).tolist() == [[0.9], [0.5]]
    assert with_silence(bank, "draw0").tolist() == [[0.8], [0.0]]


def test_an_image_that_most_take_for_empty_stays_undefined():
    bank = Bank(
        {
            "dreamer": row((0.9, 0.1)),
            "a": row((NAN, 0.0)),
            "b": row((NAN, 0.0)),
            "c": row((NAN, 0.0)),
        }
    )
    found = with_silence(bank)
    assert found[0, 0] == 0.9
    assert np.isnan(found[1:]).all()


def test_a_single_silent_model_is_undefined_not_worst():
    assert np.isnan(with_silence(Bank({"a": row((NAN, 0.0))}))).all()


def test_entropy_is_turned_into_certainty():
    seen = Observation("a", np.ones((1, 2)), binary([[0.9, 0.2]]))
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    value = Confidence("entropy").measure(seen)["value"]
    assert value == pytest.approx(1 - entropy / math.log(2), abs=1e-6)
    assert Confidence().measure(seen)["value"] == pytest.approx(0.9)


def test_unknown_kinds_of_confidence():
    with pytest.raises(OptionError, match="did you mean 'entropy'"):
        Confidence("entropie")


def test_accuracy_needs_labels():
    seen = Observation("a", np.ones((1, 2)), binary([[0.9, 0.2]]))
    assert Accuracy().needs.truth
    with pytest.raises(ModelError, match="a: labels are needed"):
        Accuracy().measure(seen)


def test_accuracy_is_the_median_over_images_f1d():
    values = [2 / 3, 1.0, 0.4, NAN]
    bank = Bank({"m": [{"value": value} for value in values]})
    assert Accuracy().score(bank)["m"] == pytest.approx(2 / 3)


def test_the_median_agrees_with_numpy():
    rng = np.random.default_rng(0)
    for images in range(1, 8):
        values = rng.random((5, images))
        values[rng.random(values.shape) < 0.3] = NAN
        values[0] = NAN
        values[1, 0] = 0.5
        names = Bank({str(i): [None] * images for i in range(5)})
        found = median_of_images(names, values)
        for i in range(5):
            if np.isnan(values[i]).all():
                assert math.isnan(found[str(i)])
            else:
                assert found[str(i)] == pytest.approx(np.nanmedian(values[i]), abs=1e-15)


class Point:
    """Stands for an entry point of an installed package."""

    def __init__(self, name, made):
        self.name, self.value, self._made = name, f"somewhere:{name}", made

    def load(self):
        if isinstance(self._made, Exception):
            raise self._made
        return self._made


def test_estimators_of_other_packages(monkeypatch):
    class Theirs:
        """Theirs, in a line."""

    points = [Point("theirs", Theirs), Point("broken", ImportError("no such module")),
              Point("cte", Theirs)]  # fmt: skip
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    assert isinstance(estimator_named("theirs"), Theirs)
    assert estimator_named("cte") == CTE()
    with pytest.raises(
        OptionError, match="'broken' cannot be loaded from somewhere:broken: no such"
    ):
        estimator_named("broken")
    known = known_estimators()
    assert known["theirs"] == "Theirs, in a line."
    assert known["broken"] == "cannot be loaded from somewhere:broken: no such module"
    assert known["cte"] == CTE.summary


def test_a_single_perturbation_will_do():
    assert CTE("nhd", Gamma()) == CTE("nhd", [Gamma()])
    assert CTE("nhd", Dropout()) == CTE("nhd", [Dropout()])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Dropout, r"pass a perturbation, Dropout\(\), not its class"),
        ("dropout=0.1", r"'dropout=0.1' is the text of a perturbation: pass parse_perturbation\("),
        (["dropout=0.1"], "is the text of a perturbation"),
        (None, "None is no perturbation: expected a name, and either apply and restore"),
        ([3], "3 is no perturbation"),
    ],
)
def test_what_is_no_perturbation_is_told(given, told):
    with pytest.raises(OptionError, match=told):
        CTE(perturbations=given)


def test_what_disturbs_features_says_where():
    class Nowhere:
        name, reads_features = "nowhere", False

        def factor(self, shape, features, rng):
            return np.ones((1, 1, 1, 1))

    with pytest.raises(
        OptionError, match="perturbation nowhere disturbs features and has no tuple"
    ):
        CTE(perturbations=Nowhere())
    with pytest.raises(OptionError, match="draws is an integer of at least 1, not True"):
        CTE(draws=True)


def test_labels_that_no_model_agrees_with_are_doubted():
    judge = Accuracy()
    wrong = Bank({"a": [{"value": 0.0}, {"value": float("nan")}], "b": [{"value": 0.0}, None]})
    assert "f1 is 0 for every model on every image: do the labels" in judge.remarks(wrong)[0]
    assert judge.remarks(Bank({"a": [{"value": 0.0}, {"value": 0.1}]})) == ()
    assert judge.remarks(Bank({"a": [{"value": float("nan")}]})) == ()
