import itertools
import math
import statistics

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators.accuracy import Accuracy
from onnx_cte.estimators.labelled import Labelled
from onnx_cte.evidence import EvidenceStore
from onnx_cte.perturbations import generator
from onnx_cte.types import Observation, Prediction

NAN = math.nan
NAMES = "abcdefgh"


def observation(name, hard, truth, seed=0):
    maps = np.asarray(hard, np.float32)[None] * 0.9
    return Observation(
        name, maps[0], Prediction(maps, ("foreground",)), truth=np.asarray(truth), seed=seed
    )


def evidence(name, value, draws=100, seed=0):
    """As it is measured, with a value of our own."""
    keys = generator(seed, name, "labelled").random(draws)
    return {"value": value, "keys": keys, "foreground": 0.5}


def bank_of(rows, names=NAMES, **options):
    return Bank(
        {
            model: [
                None if v is None else evidence(n, v, **options)
                for n, v in zip(names, row, strict=True)
            ]
            for model, row in rows.items()
        }
    )


ROWS = {
    "good": [0.9, 0.8, 0.95, 0.7, 0.85, NAN, 0.6, 0.99],
    "bad": [0.1, 0.3, 0.2, 0.0, 0.5, NAN, 0.7, 0.4],
}


def by_loops(rows, names, k, draws, seed=0):
    """Median performance by draw and model, images sorted by their keys."""
    keys = {name: generator(seed, name, "labelled").random(draws) for name in names}
    found = []
    for draw in range(draws):
        picked = sorted(names, key=lambda name, draw=draw: keys[name][draw])[:k]
        medians = {}
        for model, row in rows.items():
            values = [v for n, v in zip(names, row, strict=True) if n in picked and v == v]
            medians[model] = statistics.median(values) if values else NAN
        found.append(medians)
    return found


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
def test_each_draw_is_the_median_over_its_images(k):
    found = Labelled(k, draws=30).score_by_draw(bank_of(ROWS, draws=30))
    assert len(found) == 30
    for one, expected in zip(found, by_loops(ROWS, NAMES, k, 30), strict=True):
        assert one == pytest.approx(expected, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("k", [1, 3])
def test_the_score_is_the_mean_over_draws(k):
    scores = Labelled(k).score(bank_of(ROWS))
    for model in ROWS:
        defined = [m[model] for m in by_loops(ROWS, NAMES, k, 100) if m[model] == m[model]]
        assert k > 1 or len(defined) < 100
        assert scores[model] == pytest.approx(statistics.mean(defined), abs=1e-12)


def test_all_images_give_what_accuracy_gives():
    bank = bank_of(ROWS)
    expected = Accuracy().score(bank)
    assert Labelled(8).score(bank) == pytest.approx(expected, abs=1e-12)


def test_all_images_come_up_and_none_twice_in_a_draw():
    """Powers of two: their sum tells which were picked; of two, the median is half of it."""
    bank = bank_of({"m": [2.0**i for i in range(8)]}, draws=400)
    found = [2 * draw["m"] for draw in Labelled(2, draws=400).score_by_draw(bank)]
    pairs = {2.0**i + 2.0**j for i, j in itertools.combinations(range(8), 2)}
    assert set(found) == pairs


def test_too_few_images_are_undefined():
    bank = bank_of({"m": [0.5, 0.6, None], "other": [0.5, None, None]}, "abc")
    assert math.isnan(Labelled(3).score(bank)["m"])
    drawn = Labelled(3, draws=100).score_by_draw(bank)
    assert len(drawn) == 100
    assert all(math.isnan(value) for draw in drawn for value in draw.values())
    assert Labelled(2).score(bank) == pytest.approx({"m": 0.55, "other": 0.5})
    assert Labelled(1).score(Bank({})) == {}


def test_a_model_without_evidence_is_undefined_and_changes_no_draw():
    bank = bank_of(ROWS)
    more = Bank({**dict(bank), "absent": [None] * 8})
    scores = Labelled().score(more)
    assert math.isnan(scores.pop("absent"))
    assert scores == Labelled().score(bank)


def test_images_without_evidence_are_left_out():
    bank = bank_of(ROWS)
    gaps = Bank({model: [None, *row] for model, row in bank.items()})
    assert Labelled().score(gaps) == Labelled().score(bank)
    without = {model: row[:4] + row[5:] for model, row in ROWS.items()}
    gone = {model: [*row[:4], None, *row[5:]] for model, row in ROWS.items()}
    assert Labelled(3).score(bank_of(gone)) == Labelled(3).score(bank_of(without, "abcdfgh"))


def test_order_and_draws():
    bank = bank_of(ROWS)
    order = [3, 1, 7, 0, 2, 6, 5, 4]
    turned = {model: [row[i] for i in order] for model, row in reversed(ROWS.items())}
    again = bank_of(turned, [NAMES[i] for i in order])
    for k in (1, 4):
        assert Labelled(k).score(again) == Labelled(k).score(bank)
        for one, other in zip(
            Labelled(k).score_by_draw(again), Labelled(k).score_by_draw(bank), strict=True
        ):
            assert one == pytest.approx(other, nan_ok=True, abs=0)
    spelled = Bank({model: [row[0], row[0], row[3]] for model, row in bank.items()})
    for k in (1, 2, 3):
        assert Labelled(k).score(bank.draw([0, 0, 3])) == Labelled(k).score(spelled)


def test_choices_depend_on_the_seed_and_those_of_few_are_among_those_of_many():
    rows = {"m": [2.0**i for i in range(8)]}
    one = Labelled(1).score_by_draw(bank_of(rows))
    assert one != Labelled(1).score_by_draw(bank_of(rows, seed=1))
    two = Labelled(2).score_by_draw(bank_of(rows))
    for single, pair in zip(one, two, strict=True):
        assert int(single["m"]) & int(2 * pair["m"])


def test_more_labelled_images_are_a_surer_guess():
    rng = np.random.default_rng(0)
    names = [f"image{i}" for i in range(40)]
    rows = {"m": rng.uniform(0, 1, 40).tolist()}
    spread = [
        statistics.stdev(d["m"] for d in Labelled(k).score_by_draw(bank_of(rows, names)))
        for k in (1, 5, 20)
    ]
    assert spread[0] > spread[1] > spread[2] > 0


def test_evidence():
    seen = observation("a", [[1, 1, 0, 0]], [[1, 0, 0, 0]], seed=3)
    found = Labelled(draws=7).measure(seen)
    assert found["value"] == pytest.approx(2 / 3)
    assert found["foreground"] == 0.5
    assert np.array_equal(found["keys"], generator(3, "a", "labelled").random(7))
    empty = Labelled().measure(observation("a", [[0, 0]], [[0, 0]]))
    assert math.isnan(empty["value"])
    with EvidenceStore(None) as store:
        store.put({"key": found})
        again = store.get("key")
    assert np.array_equal(again["keys"], found["keys"])


def test_objects():
    labels = np.array([[1, 1, 1, 0, 2, 2, 2]])
    reference = Prediction(
        np.float32(labels > 0)[None], ("foreground",), labels=np.where(labels == 1, 5, 0)
    )
    seen = Observation("a", labels * 1.0, reference, truth=labels)
    estimator = Labelled(metric="f1_50")
    assert estimator.needs.instances
    found = estimator.measure(seen)
    assert found["value"] == pytest.approx(2 / 3)
    assert found["objects"] == 1
    assert not Labelled().needs.instances
    assert Labelled().needs.truth
    with pytest.raises(ModelError, match="a: objects are needed"):
        estimator.measure(observation("a", [[1]], [[1]]))


def test_missing_labels():
    reference = Prediction(np.ones((1, 1, 2), np.float32), ("foreground",))
    with pytest.raises(ModelError, match="a: labels are needed, and the observation has none"):
        Labelled().measure(Observation("a", np.ones((1, 2)), reference))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"k": 0},
            "Labelled: k, the number of labelled images, is an integer of at least 1, not 0",
        ),
        ({"k": 1.0}, "at least 1, not 1.0"),
        (
            {"draws": True},
            "Labelled: draws, the random choices of images, is an integer of at least 1, not True",
        ),
        ({"draws": 100_001}, "Labelled: draws is at most 100000, not 100001"),
        ({"metric": "nhd"}, "'nhd' measures consistency, expected a metric of performance"),
    ],
)
def test_options(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        Labelled(**options)


def test_what_it_says_of_itself():
    assert Labelled().title == "labelled_5"
    assert Labelled(1, "map").title == "labelled_1 map"
    assert Labelled(1).measures == Labelled(10).measures != Labelled(draws=9).measures
    assert Labelled.judged_by_draw
    assert Labelled.resamples == 0


def test_fewer_images_than_asked_for_are_told():
    judge = Labelled(3)
    rows = {"m": [{"value": 0.5, "keys": np.zeros(100), "foreground": 0.1}] * 2 + [None]}
    assert judge.remarks(Bank(rows)) == ("3 labelled images asked for, and there are 2: no score",)
    assert Labelled(2).remarks(Bank(rows)) == ()
