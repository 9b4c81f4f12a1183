"""OTCE: the worked numbers, parity with SciPy's transport, and what it refuses."""

import math
import sys

import numpy as np
import pytest
from scipy import optimize

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators import transport
from onnx_cte.estimators.label_tables import conditional_entropy, label_table
from onnx_cte.estimators.otce import OTCE
from onnx_cte.estimators.sampling import MOST_BYTES
from onnx_cte.estimators.transport import coupling, squared_distances
from onnx_cte.evidence import EvidenceStore
from onnx_cte.features import FeatureMap
from onnx_cte.types import Observation, Prediction

LINE = ([0, 1, 2, 3], [0.1, 1.1, 2.1, 3.1], [0, 0, 1, 1])
EXAMPLES = {
    "O1": (*LINE, [0, 0, 1, 1], 0.01, 0),
    "O2": (*LINE, [0, 1, 1, 1], 0.01, 0.34657359027997264),
    "O3": (*LINE, [0, 1, 0, 1], 0.01, 0.6931471805599453),
    "O4": (*LINE, [1, 1, 0, 0], 0.01, 0),
    "O5": ([0, 4, 10], [1, 9], [0, 1, 1], [0, 1], 6.333333333333333, 0.37489009641253884),
}
WORKED = pytest.mark.parametrize(
    ("xs", "xt", "ys", "yt", "cost", "entropy"), EXAMPLES.values(), ids=EXAMPLES
)


@pytest.fixture(autouse=True)
def pot():
    pytest.importorskip("ot")


def column(values):
    return np.array(values, float)[:, None]


def entropy_of(plan, source, target):
    shape = source.max() + 1, target.max() + 1
    return conditional_entropy(label_table(plan, source, target, shape))


# Transport.


@WORKED
def test_worked_couplings(xs, xt, ys, yt, cost, entropy):
    distances = squared_distances(column(xs), column(xt))
    plan = coupling(distances)
    assert plan.sum() == pytest.approx(1, abs=1e-12)
    assert (plan * distances).sum() == pytest.approx(cost, abs=1e-9)
    assert entropy_of(plan, np.array(ys), np.array(yt)) == pytest.approx(entropy, abs=1e-9)


def test_the_worked_plan():
    plan = coupling(squared_distances(column([0, 4, 10]), column([1, 9])))
    assert plan == pytest.approx(np.array([[2, 0], [1, 1], [0, 2]]) / 6, abs=1e-12)


@pytest.mark.parametrize(("epsilon", "due"), [(0.1, 0.0004993776), (1.0, 0.5822031089)])
def test_worked_sinkhorn(epsilon, due):
    distances = squared_distances(column([0, 1]), column([0, 1]))
    labels = np.array([0, 1])
    plan = coupling(distances, "sinkhorn", epsilon)
    assert entropy_of(plan, labels, labels) == pytest.approx(due, abs=1e-9)
    # Ten times the cost, divided by its maximum, is the same problem.
    again = coupling(10 * distances, "sinkhorn", epsilon, normalise=True)
    assert again == pytest.approx(plan, abs=1e-9)


def test_exact_coupling_is_scipys_assignment():
    rng = np.random.default_rng(0)
    distances = squared_distances(rng.normal(size=(80, 3)), rng.normal(1, 2, (80, 3)))
    rows, columns = optimize.linear_sum_assignment(distances)
    due = np.zeros_like(distances)
    due[rows, columns] = 1 / 80
    assert coupling(distances) == pytest.approx(due, abs=1e-12)


def test_sinkhorn_tends_to_the_exact_coupling_without_underflow():
    rng = np.random.default_rng(1)
    # Costs of hundreds at an epsilon of 1: exp(-cost) alone would be 0.
    distances = squared_distances(rng.normal(0, 10, (12, 2)), rng.normal(0, 10, (15, 2)))
    exact, soft = coupling(distances), coupling(distances, "sinkhorn", 1.0)
    assert (soft * distances).sum() == pytest.approx((exact * distances).sum(), rel=0.02)
    assert soft.sum(axis=1) == pytest.approx(np.full(12, 1 / 12), abs=1e-4)
    assert soft.sum(axis=0) == pytest.approx(np.full(15, 1 / 15), abs=1e-4)


def test_distances_far_from_zero_keep_their_digits():
    rng = np.random.default_rng(2)
    one, other = rng.normal(1e6, 1, (5, 3)), rng.normal(1e6, 1, (4, 3))
    due = ((one[:, None] - other) ** 2).sum(axis=-1)
    assert squared_distances(one, other) == pytest.approx(due, rel=1e-8)
    assert (np.diag(squared_distances(one, one)) < 1e-9).all()


def test_what_cannot_be_told_apart_is_coupled_evenly():
    assert coupling(np.full((2, 5), 3.0)) == pytest.approx(np.full((2, 5), 0.1))


@pytest.mark.parametrize(
    ("solver", "epsilon", "way"),
    [("sinkhorn", 1e-3, "take a greater epsilon, normalise=True, or solver=exact"),
     ("exact", 0.1, "take solver=sinkhorn, or fewer pixels")],
)  # fmt: skip
def test_a_solver_that_does_not_get_there_says_the_way_out(monkeypatch, solver, epsilon, way):
    monkeypatch.setitem(transport.ITERATIONS, solver, 2)
    rng = np.random.default_rng(3)
    distances = squared_distances(rng.normal(size=(30, 2)), rng.normal(2, 1, (30, 2)))
    with pytest.raises(ModelError, match=f"'{solver}' did not get there in 2 iterations.*{way}"):
        coupling(distances, solver, epsilon)


# The estimator.


def shown(image, vectors, labels, domain="target", seed=0):
    """Features given pixel by pixel: the tap "end", and the first channel as probabilities."""
    values = np.asarray(vectors, np.float32).reshape(len(labels), -1).T[:, None, :]
    labels = np.asarray(labels, np.int32)[None]
    reference = Prediction(np.clip(values[:1], 0, 1), ("foreground",))
    features = {"end": FeatureMap.of(values, labels.shape)}
    return Observation(
        image, values[0], reference, truth=labels, features=features, domain=domain, seed=seed
    )


def bank_of(estimator, target, source, models=("model",)):
    return Bank(
        {model: [estimator.measure(seen) for seen in target] for model in models},
        {model: [estimator.measure(seen) for seen in source] for model in models},
    )


def score(estimator, target, source):
    return estimator.score(bank_of(estimator, target, source))["model"]


@WORKED
def test_worked_scores(xs, xt, ys, yt, cost, entropy):
    images = [shown("t", xt, yt)], [shown("s", xs, ys, "source")]
    assert score(OTCE(tap="end"), *images) == pytest.approx(-entropy, abs=1e-6)
    weighed = OTCE(kind="otce", weights=(-1, -2, 0.5), tap="end")
    assert score(weighed, *images) == pytest.approx(0.5 - cost - 2 * entropy, abs=1e-5)


def test_worked_scores_over_several_images():
    target = [shown("a", [0.1, 2.1], [0, 1]), shown("b", [1.1, 3.1], [1, 1])]
    source = [shown("c", [0, 3], [0, 1]), shown("d", [1, 2], [0, 1])]
    assert score(OTCE(tap="end"), target, source) == pytest.approx(-math.log(2) / 2, abs=1e-6)


def test_joint_costs_by_hand():
    # Labels of one class lie 1 apart from those of the same, and 9 + 1 / 4 from the other's.
    xs, xt, ys, yt = [0, 4], [1, 3], [0, 1], [0, 1]
    images = [shown("t", xt, yt)], [shown("s", xs, ys, "source")]
    assert score(OTCE(kind="jc_otce", tap="end"), *images) == 0
    # Features alone would couple across the classes; their distance as wholes does not.
    xs, ys = [0, 0, 0, 10, 10, 2.0], [0, 0, 0, 1, 1, 1]
    xt, yt = [0.1, 0.1, 2.1, 10.1, 10.1, 0.2], [0, 0, 0, 1, 1, 1]
    images = [shown("t", xt, yt)], [shown("s", xs, ys, "source")]
    alone = score(OTCE(tap="end"), *images)
    assert alone < -0.3
    assert score(OTCE(kind="jc_otce", gamma=0.05, tap="end"), *images) == pytest.approx(0, abs=1e-9)
    assert score(OTCE(kind="jc_otce", gamma=1, tap="end"), *images) == pytest.approx(alone)


def domain(count, quality, seed, kind="target", pixels=40):
    """Images whose features tell the label, if the quality is high."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        labels = rng.integers(0, 2, pixels)
        values = 0.5 + quality * (labels - 0.5) + rng.normal(0, 0.15, pixels)
        images.append(shown(f"{kind} {number}", np.clip(values, 0, 1), labels, kind))
    return images


@pytest.mark.parametrize("options", [{}, {"solver": "sinkhorn", "epsilon": 0.02}])
def test_features_that_tell_the_label_score_higher(options):
    estimator = OTCE(**options)
    scores = [
        score(estimator, domain(4, quality, 1), domain(4, quality, 2, "source"))
        for quality in (0.9, 0.4, 0.0)
    ]
    assert 0 > scores[0] > scores[1] > scores[2]


def test_label_distances_carry_classes_whole():
    images = domain(4, 0.4, 1), domain(4, 0.4, 2, "source")
    # What is left is that source and target have not the same shares of the classes.
    shares = [np.mean([seen.truth for seen in side]) for side in images]
    assert shares[1] > shares[0]
    stays, turns = shares[0], shares[1] - shares[0]
    due = -sum(part * math.log(shares[1] / part) for part in (stays, turns))
    assert score(OTCE(kind="jc_otce"), *images) == pytest.approx(due, abs=1e-9)
    assert score(OTCE(), *images) < due - 0.1


def test_repeats_are_averaged_and_drawn_alike_for_every_model():
    target, source = domain(4, 0.4, 1), domain(4, 0.4, 2, "source")
    once, thrice = OTCE(pixels=50, repeats=1), OTCE(pixels=50, repeats=3)
    bank = bank_of(thrice, target, source, ("one", "two"))
    scores = thrice.score(bank)
    assert scores["one"] == scores["two"]
    assert once.score(bank)["one"] != scores["one"]
    assert thrice.measures == once.measures
    everything = OTCE(pixels=160, repeats=9)
    whole = everything.score(bank_of(everything, target, source))["model"]
    assert scores["one"] == pytest.approx(whole, abs=0.15)
    assert everything.remarks(bank_of(everything, target, source)) == ()
    more = OTCE(pixels=161)
    assert more.score(bank_of(more, target, source))["model"] == pytest.approx(whole, rel=1e-12)
    assert more.remarks(bank_of(more, target, source)) == (
        "the target images give 160 pixels, fewer than the 161 asked for; all are taken",
        "the source images give 160 pixels, fewer than the 161 asked for; all are taken",
    )


def test_orders_and_gaps_do_not_matter():
    estimator = OTCE(pixels=60)
    bank = bank_of(estimator, domain(5, 0.4, 1), domain(3, 0.4, 2, "source"))
    whole = estimator.score(bank)["model"]
    row, source = bank["model"], bank.source["model"]
    turned = Bank({"model": [row[i] for i in (3, 1, 4, 0, 2)]}, {"model": source[::-1]})
    assert estimator.score(turned)["model"] == pytest.approx(whole, rel=1e-9)
    gaps = Bank(
        {"model": [None, *row], "absent": [None] * 6, "sourceless": [None, *row]},
        {"model": [*source, None], "absent": source},
    )
    scores = estimator.score(gaps)
    assert scores["model"] == pytest.approx(whole, rel=1e-9)
    assert math.isnan(scores["absent"])
    assert math.isnan(scores["sourceless"])


def test_a_draw_weighs_the_images_and_solves_nothing(monkeypatch):
    estimator = OTCE(pixels=60, repeats=2)
    bank = bank_of(estimator, domain(4, 0.4, 1), domain(3, 0.4, 2, "source"))
    whole = estimator.score(bank)["model"]
    monkeypatch.setattr(transport.importlib, "import_module", None)
    assert estimator.score(bank.draw(range(4)))["model"] == pytest.approx(whole, rel=1e-12)
    assert estimator.score(bank.draw([3, 1, 0, 2] * 2))["model"] == pytest.approx(whole, rel=1e-9)
    assert estimator.score(bank.draw([2, 0, 0]))["model"] != pytest.approx(whole, rel=1e-3)


def test_the_joint_table_of_a_draw_by_hand():
    # One pixel an image, each carried to the source pixel beside it.
    target = [shown(n, [x], [y]) for n, x, y in (("a", 0, 0), ("b", 0.1, 1), ("c", 1, 1))]
    source = [shown("s", [0, 0.1, 1], [0, 0, 1])]
    estimator = OTCE(tap="end")
    bank = bank_of(estimator, target, source)
    assert estimator.score(bank)["model"] == pytest.approx(-math.log(2) * 2 / 3)
    # Twice "a", once "b": all of the source's 0, a third of it becomes 1.
    due = -(math.log(3) - math.log(2) * 2 / 3)
    assert estimator.score(bank.draw([0, 0, 1]))["model"] == pytest.approx(due)
    assert estimator.score(bank.draw([0, 0, 2]))["model"] == 0


def test_an_image_of_which_no_pixel_was_drawn_has_no_score():
    estimator = OTCE(pixels=2, repeats=1)
    bank = bank_of(estimator, domain(5, 0.4, 1), domain(1, 0.4, 2, "source"))
    scores = [estimator.score(bank.draw([i]))["model"] for i in range(5)]
    assert 3 <= sum(map(math.isnan, scores)) <= 4


def test_constant_features_leave_the_labels_entropy():
    labels = [0, 0, 0, 1]
    target, source = (
        [shown("t", np.full(4, 0.3), labels)],
        [shown("s", np.full(4, 0.3), [0, 1, 1, 1])],
    )
    due = -(0.25 * math.log(4) + 0.75 * math.log(4 / 3))
    for options in ({}, {"solver": "sinkhorn"}, {"solver": "sinkhorn", "normalise": True}):
        assert score(OTCE(**options), target, source) == pytest.approx(due)


def test_a_class_that_is_absent_leaves_nothing_to_foretell():
    source = domain(2, 0.4, 2, "source")
    blank = [shown("t", np.linspace(0, 1, 30), np.zeros(30))]
    assert score(OTCE(), blank, source) == 0
    one_class = [shown("s", np.linspace(0, 1, 30), np.ones(30))]
    labels = np.repeat([0, 1], 15)
    found = score(OTCE(), [shown("t", np.linspace(0, 1, 30), labels)], one_class)
    assert found == pytest.approx(-math.log(2))


def test_classes_are_labels_as_they_are():
    labels = np.array([0, 3, 1, 2] * 5)
    images = [shown("t", labels / 3, labels)], [shown("s", labels / 3, labels)]
    assert score(OTCE(labels="classes"), *images) == pytest.approx(0, abs=1e-12)
    mixed = [shown("t", labels / 3, labels)], [shown("s", labels / 3, np.minimum(labels, 2))]
    assert score(OTCE(labels="classes"), *mixed) == pytest.approx(-math.log(2) / 2)


def test_pixels_are_uniform_bounded_and_the_same_for_every_model():
    labels = np.zeros(50_000)
    labels[:5000] = 1
    places = np.arange(50_000.0)
    one, other, third = (
        OTCE(tap="end").measure(shown("a", values, labels, seed=seed))
        for values, seed in ((places, 0), (places * 2, 0), (places, 1))
    )
    assert len(one["labels"]) == 2000 == len(np.unique(one["vectors"]))
    assert one["labels"].mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_array_equal(other["vectors"], 2 * one["vectors"])
    assert not np.array_equal(third["vectors"], one["vectors"])
    assert one["vectors"].dtype == np.float32
    wide = OTCE(tap="end").measure(shown("a", np.ones((3000, 700)), np.ones(3000)))
    assert 0.9 * MOST_BYTES < sum(wide[name].nbytes for name in ("vectors", "labels")) <= MOST_BYTES


def test_the_output_is_probabilities_of_the_classes():
    seen = shown("a", np.linspace(0, 1, 5), [0, 0, 1, 1, 1])
    evidence = OTCE().measure(seen)
    assert np.sort(evidence["vectors"][:, 1]) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert evidence["vectors"].sum(axis=1) == pytest.approx(np.ones(5))
    assert OTCE().needs.taps == ()
    assert OTCE(tap="end").needs.taps == ("end",)
    assert OTCE().needs.source
    assert OTCE().needs.truth


def test_evidence_survives_the_file(tmp_path):
    estimator = OTCE()
    bank = bank_of(estimator, domain(2, 0.4, 1), domain(2, 0.4, 2, "source"))
    rows = {"t": bank["model"], "s": bank.source["model"]}
    with EvidenceStore(tmp_path / "evidence.sqlite") as store:
        store.put({f"{side}{i}": seen for side, row in rows.items() for i, seen in enumerate(row)})
        again = Bank(*({"model": [store.get(f"{side}{i}") for i in range(2)]} for side in rows))
    assert estimator.score(again) == estimator.score(bank)


def test_without_pot_it_says_so_and_is_still_made(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    way = r'pip install "onnx-cte\[transport\]"'
    assert "optimal transport needs POT" in OTCE().unavailable()
    with pytest.raises(ModelError, match=way):
        OTCE().measure(shown("a", [0.0], [0]))
    with pytest.raises(ModelError, match=way):
        coupling(np.eye(2))
    monkeypatch.undo()
    assert OTCE().unavailable() == ""


def test_what_it_cannot_measure_is_named():
    seen = shown("a", [0.0, np.nan], [0, 1])
    with pytest.raises(ModelError, match="a: features at 'end' hold NaN or infinity"):
        OTCE(tap="end").measure(seen)
    with pytest.raises(ModelError, match="a: labels are needed"):
        OTCE().measure(Observation("a", seen.pixels, seen.reference))


def test_what_it_says_of_itself():
    assert OTCE().title == "f_otce"
    assert OTCE(kind="jc_otce", solver="sinkhorn", tap="end").title == "jc_otce sinkhorn @end"
    made = OTCE(kind="otce", weights=[-1, -2.5, 3])
    assert eval(repr(made), {"OTCE": OTCE}) == made
    assert hash(made) == hash(OTCE(kind="otce", weights=(-1.0, -2.5, 3.0)))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"kind": "otc"}, "unknown kind of OTCE 'otc': did you mean 'otce'"),
        ({"kind": "otce"}, r"needs weights=\(l1, l2, b\).* none hold for all.* kind='f_otce'"),
        ({"weights": (1, 2, 3)}, "kind 'f_otce' takes no weights; leave them out"),
        ({"kind": "otce", "weights": (1, 2)}, r"three finite numbers \(l1, l2, b\), not \(1, 2\)"),
        ({"kind": "otce", "weights": 3}, "three finite numbers"),
        ({"solver": "emd"}, "unknown solver of optimal transport 'emd'"),
        ({"labels": "pseudo"}, "unknown kind of labels of OTCE 'pseudo'"),
        ({"pixels": 1}, "OTCE: pixels is an integer of at least 2, not 1"),
        ({"repeats": True}, "OTCE: repeats is an integer of at least 1, not True"),
        ({"kind": "jc_otce", "gamma": 1.5}, "gamma is a number from 0 to 1, not 1.5"),
        ({"gamma": 0.2}, "kind 'f_otce' has no gamma; leave it out, or take kind='jc_otce'"),
        ({"solver": "sinkhorn", "epsilon": 0}, "epsilon is a finite number above 0, not 0"),
        ({"normalise": "no", "solver": "sinkhorn"}, "OTCE: normalise is True or False, not 'no'"),
        ({"gamma": "half", "kind": "jc_otce"}, "gamma is a number from 0 to 1, not 'half'"),
        ({"epsilon": 0.2}, "epsilon and normalise are for Sinkhorn"),
        ({"normalise": True}, "leave them out, or take solver='sinkhorn'"),
        ({"tap": ""}, "tap is 'output' or the name of a tap, not ''"),
    ],
)
def test_options_that_mean_nothing(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        OTCE(**options)
