"""CCFV: the worked numbers, the square root of covariances, and who is left out."""

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy import linalg

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators import wasserstein as clouds
from onnx_cte.estimators.ccfv import CCFV
from onnx_cte.estimators.sampling import MOST_BYTES
from onnx_cte.estimators.wasserstein import (
    energy_matrix,
    gaussian,
    on_sphere,
    packed,
    packed_size,
    unpacked,
    wasserstein,
    wasserstein_matrix,
)
from onnx_cte.evidence import EvidenceStore
from onnx_cte.features import FeatureMap
from onnx_cte.types import Observation, Prediction

SQUARE = [[0, 0], [2, 0], [0, 2], [2, 2]]
EXAMPLES = {
    "W1": (SQUARE, [[3, 4], [5, 4], [3, 6], [5, 6]], 5),
    "W2": (SQUARE, [[0, 0], [4, 0], [0, 6], [4, 6]], 3.4156502553198664),
    "W3": ([[0, 0], [1, 1], [2, 1], [3, 3]], [[1, 0], [0, 1], [2, 2], [4, 1]], 1.0446711112484903),
    "W4": ([[0, 0], [2, 0]], [[3, 4], [5, 6]], 6),
}


def root(matrix):
    """Symmetric square root, by eigenvalues clipped at 0."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def by_symmetric_root(one, other):
    """The distance as methods are written: through A^1/2 B A^1/2."""
    mean, other_mean = one.mean(axis=0), other.mean(axis=0)
    a, b = np.cov(one.T), np.cov(other.T)
    half = root(a)
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(half @ b @ half), 0)).sum()
    squared = ((mean - other_mean) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * shared
    return math.sqrt(max(squared, 0))


def distance(one, other):
    return wasserstein(gaussian(np.asarray(one)), gaussian(np.asarray(other)))


# Distances.


@pytest.mark.parametrize(("one", "other", "due"), EXAMPLES.values(), ids=EXAMPLES)
def test_worked_distances(one, other, due):
    assert distance(one, other) == pytest.approx(due, abs=1e-9)
    assert distance(other, one) == pytest.approx(due, abs=1e-9)
    one, other = np.array(one, float), np.array(other, float)
    # Its roots lose half the digits of what is 0.
    assert by_symmetric_root(one, other) == pytest.approx(due, abs=1e-6)


@pytest.mark.parametrize("vectors", [3, 20, 40, 90])
def test_the_symmetric_square_root_and_scipys_say_the_same(vectors):
    rng = np.random.default_rng(vectors)
    scales = np.geomspace(1, 1e-3, 40)
    one, other = (rng.normal(rng.normal(), scales, (vectors, 40)) for _ in range(2))
    found = distance(one, other)
    assert found == pytest.approx(by_symmetric_root(one, other), rel=1e-6)
    if vectors == 90:  # of a singular product SciPy's root is not to be trusted
        a, b = np.cov(one.T), np.cov(other.T)
        trace = np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
        moved = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
        assert found == pytest.approx(math.sqrt(moved + trace), rel=1e-9)


def test_singular_values_keep_digits_that_eigenvalues_lose():
    # Diagonal covariances: the distance is known.
    scales, other = np.geomspace(1, 1e-9, 12), np.geomspace(1, 1e-9, 12) * 2
    zero = np.zeros(12)
    due = np.sqrt(((scales - other) ** 2).sum())
    assert wasserstein((zero, np.diag(scales)), (zero, np.diag(other))) == pytest.approx(
        due, rel=1e-13
    )


def exactly(one, other):
    """The distance with singular values, whatever the size."""
    (mean, factor), (other_mean, other_factor) = one, other
    shared = np.linalg.svd(factor @ other_factor.T, compute_uv=False).sum()
    traces = (factor**2).sum() + (other_factor**2).sum()
    return math.sqrt(((mean - other_mean) ** 2).sum() + traces - 2 * shared)


@pytest.mark.parametrize("vectors", [60, 130, 400])
@pytest.mark.parametrize("decay", [1, 1e-3, 1e-7])
@pytest.mark.parametrize("rank", [20, 100, 128])
def test_eigenvalues_of_large_products_are_good_enough(vectors, decay, rank):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(128, 128)))[0][:rank]
    scales = np.geomspace(1, decay, rank)
    one, other = (gaussian(rng.normal(0, scales, (vectors, rank)) @ turn) for _ in range(2))
    traces = (one[1] ** 2).sum() + (other[1] ** 2).sum()
    assert wasserstein(one, other) ** 2 == pytest.approx(
        exactly(one, other) ** 2, abs=1e-8 * traces
    )


def test_nearly_equal_large_covariances_keep_their_digits():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 128))
    one, other = gaussian(vectors), gaussian(vectors * 1.001)
    spread = math.sqrt(np.trace(np.cov(vectors.T))) * 0.001
    due = math.hypot(spread, np.linalg.norm(vectors.mean(axis=0)) * 0.001)
    assert wasserstein(one, other) == pytest.approx(due, rel=1e-6)


@pytest.mark.parametrize("count", [2, 5, 8, 30])
def test_the_factor_is_of_the_covariance_however_many_vectors(count):
    vectors = np.random.default_rng(0).normal(3, 2, (count, 8))
    mean, factor = gaussian(vectors)
    assert factor.shape == (min(count - 1, 8), 8)
    np.testing.assert_allclose(factor.T @ factor, np.cov(vectors.T), atol=1e-12)
    np.testing.assert_allclose(mean, vectors.mean(axis=0), atol=1e-12)
    row = packed(factor)
    assert row.dtype == np.float32
    assert len(row) == packed_size(*factor.shape)
    np.testing.assert_array_equal(unpacked(row, *factor.shape), factor.astype(np.float32))


def test_one_channel():
    one, other = np.array([[1.0], [3.0], [5.0]]), np.array([[2.0], [2.0], [5.0]])
    spreads = one.std(ddof=1), other.std(ddof=1)
    due = math.hypot(one.mean() - other.mean(), spreads[0] - spreads[1])
    assert distance(one, other) == pytest.approx(due, rel=1e-12)


def test_equal_clouds_are_at_zero_and_constant_ones_apart():
    vectors = np.random.default_rng(0).normal(size=(100, 256))
    assert distance(vectors, vectors) == 0
    assert distance(vectors, vectors[np.random.default_rng(1).permutation(100)]) < 1e-9
    assert distance(np.ones((4, 3)), np.ones((9, 3))) == 0
    assert distance(np.ones((4, 3)), np.zeros((4, 3))) == pytest.approx(math.sqrt(3))
    with pytest.raises(ValueError, match="1 vectors have no covariance; give at least 2"):
        gaussian(vectors[:1])


def test_distances_are_a_metric():
    rng = np.random.default_rng(5)
    some = [gaussian(rng.normal(rng.normal(), rng.uniform(0.1, 2), (7, 5))) for _ in range(6)]
    matrix = wasserstein_matrix(some)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert (np.diag(matrix) == 0).all()
    for i, j, k in itertools.permutations(range(6), 3):
        assert matrix[i, j] == pytest.approx(wasserstein(some[i], some[j]), rel=1e-12)
        assert matrix[i, j] <= matrix[i, k] + matrix[k, j] + 1e-9
    assert wasserstein_matrix([]).shape == (0, 0)


@pytest.mark.parametrize(
    ("vectors", "due"),
    [
        ([[0, 0], [3, 4], [6, 8]], 0.1666638334),
        ([[0, 0], [1, 0], [0, 1], [1, 1]], 0.9019769400),
        ([[2, 2], [2, 2]], 31.6227766017),
    ],
)
def test_worked_energies(vectors, due):
    matrix = energy_matrix(np.array(vectors, float))
    assert matrix[np.triu_indices(len(vectors), 1)].mean() == pytest.approx(due, abs=1e-9)


def test_the_sphere():
    found = on_sphere(np.array([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]]))
    assert found == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, -1]]))


# The estimator.


def shown(image, pixels, labels, predicted=None, layers=("bottleneck",), seed=0):
    """An observation whose features are given pixel by pixel, shape (pixels, channels)."""
    labels = np.asarray(labels, np.int32)
    values = np.asarray(pixels, np.float32).T[:, None, :]
    features = dict.fromkeys(layers, FeatureMap.of(values, (1, len(labels))))
    guess = np.asarray(labels != 0 if predicted is None else predicted, np.float32)
    reference = Prediction(guess[None, None], ("foreground",))
    return Observation(
        image, values[0], reference, truth=labels[None], features=features, seed=seed
    )


def one_layer(**options):
    return CCFV(**{"layers": "bottleneck", "vectors": 100, **options})


WORKED = {
    "a": np.array(SQUARE),
    "b": np.add(SQUARE, [3, 4]),
    "c": np.multiply(SQUARE, [2, 3]),
}


def bank_of(estimator, images, model="model"):
    return Bank({model: [estimator.measure(seen) for seen in images]})


def test_the_parts_of_the_worked_score():
    matrix = wasserstein_matrix([gaussian(vectors) for vectors in WORKED.values()])
    upper = np.triu_indices(3, 1)
    assert matrix[upper].sum() == pytest.approx(12.2453586863, abs=1e-9)
    assert matrix[upper].mean() == pytest.approx(4.0817862288, abs=1e-9)
    means = np.array([vectors.mean(axis=0) for vectors in WORKED.values()])
    assert means.tolist() == [[1, 1], [4, 5], [2, 3]]
    assert energy_matrix(means)[upper].mean() == pytest.approx(0.3335653922, abs=1e-9)


def worked(estimator):
    # All of an image is of the class: so the global means are those of the class.
    images = [shown(name, values, np.ones(4)) for name, values in WORKED.items()]
    return estimator.score(bank_of(estimator, images))["model"]


def test_the_worked_scores_in_both_senses():
    # Evidence is in single precision.
    assert worked(one_layer()) == pytest.approx(-0.3086183394, abs=1e-7)
    assert worked(one_layer(sense="released")) == pytest.approx(-3.8037340323, abs=1e-7)


def test_layers_are_averaged_in_the_paper_and_summed_in_the_code():
    names = ("bottleneck", "decoder#1", "decoder#2")
    images = [shown(name, values, np.ones(4), layers=names) for name, values in WORKED.items()]
    for sense, factor in (("paper", 1), ("released", 3)):
        estimator = CCFV(sense=sense)
        found = estimator.score(bank_of(estimator, images))["model"]
        assert found == pytest.approx(factor * worked(one_layer(sense=sense)), rel=1e-9)


def test_the_sphere_changes_the_energy_alone():
    energy = energy_matrix(on_sphere(np.array([[1.0, 1], [4, 5], [2, 3]])))
    due = -math.log(energy[np.triu_indices(3, 1)].mean() * 4.0817862288)
    assert worked(one_layer(sphere=True)) == pytest.approx(due, abs=1e-7)


def random_images(count, classes=2, channels=5, seed=0, pixels=30):
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        labels = rng.integers(0, classes + 1, pixels)
        values = rng.normal(labels[:, None], 1, (pixels, channels)) + rng.normal(0, 0.3, channels)
        images.append(shown(f"image {number}", values, labels))
    return images


def plainly(images, sense, sphere=False):
    """The score without evidence, draws or matrices: all pixels, in double precision."""
    values = [
        np.asarray(seen.features["bottleneck"].pieces[0].values[:, 0].T, float) for seen in images
    ]
    labels = [seen.truth[0] for seen in images]
    means = np.array([v.mean(axis=0) for v in values])
    means = on_sphere(means) if sphere else means
    pairs = list(itertools.combinations(range(len(images)), 2))
    energy = np.mean([(((means[i] - means[j]) ** 2).sum() + 1e-3) ** -0.5 for i, j in pairs])
    classes = sorted({int(c) for row in labels for c in row if c})
    by_class = [
        [
            by_symmetric_root(values[i][labels[i] == c], values[j][labels[j] == c])
            for i, j in pairs
            if min((labels[i] == c).sum(), (labels[j] == c).sum()) >= 2
        ]
        for c in classes
    ]
    if sense == "paper":
        return math.log(1 / energy / np.mean([np.mean(found) for found in by_class if found]))
    total = 0.0
    for found in by_class:
        total += sum(found)
        total += total / (len(images) ** 2 / 2) / len(classes)
    return math.log(energy / total)


@pytest.mark.parametrize("sense", ["paper", "released"])
@pytest.mark.parametrize("classes", [1, 3])
def test_it_is_what_plain_sums_give(sense, classes):
    images = random_images(6, classes)
    estimator = one_layer(sense=sense, labels="classes")
    found = estimator.score(bank_of(estimator, images))["model"]
    assert found == pytest.approx(plainly(images, sense), abs=1e-6)


def test_single_precision_costs_no_rank():
    rng = np.random.default_rng(0)
    scales = np.geomspace(1, 1e-4, 64)
    images = [
        shown(str(i), rng.normal(100, scales, (80, 64)) + rng.normal(0, 0.1, 64), np.ones(80))
        for i in range(4)
    ]
    estimator = one_layer()
    found = estimator.score(bank_of(estimator, images))["model"]
    assert found == pytest.approx(plainly(images, "paper"), abs=1e-5)


@pytest.mark.parametrize("sense", ["paper", "released"])
def test_draws_orders_and_gaps(sense):
    images = random_images(6)
    # One shows a class that no other shows, one no class at all.
    images[2] = shown(
        "odd", np.random.default_rng(1).normal(size=(9, 5)), [0, 0, 3, 3, 3, 1, 1, 1, 0]
    )
    images[4] = shown("empty", np.random.default_rng(2).normal(size=(9, 5)), np.zeros(9))
    estimator = one_layer(sense=sense, labels="classes")
    bank = bank_of(estimator, images)
    whole = estimator.score(bank)["model"]
    assert estimator.score(bank.draw(range(6)))["model"] == pytest.approx(whole, rel=1e-12)
    for drawn in ([0, 0, 3], [5, 1, 1, 5, 0], [4, 4, 0, 1], [2, 2, 1], [2, 2], [4, 3], [3, 3, 3]):
        spelled = Bank({"model": [bank["model"][i] for i in drawn]})
        found = estimator.score(bank.draw(drawn))["model"]
        assert found == pytest.approx(estimator.score(spelled)["model"], rel=1e-9, nan_ok=True)
        assert math.isnan(found) is (len(set(drawn) - {4}) < 2)
    turned = Bank({"model": [bank["model"][i] for i in (3, 5, 0, 4, 1, 2)]})
    assert estimator.score(turned)["model"] == pytest.approx(whole, rel=1e-9)
    gaps = Bank({"model": [None, *bank["model"], None], "absent": [None] * 8})
    assert estimator.score(gaps)["model"] == pytest.approx(whole, rel=1e-12)
    assert math.isnan(estimator.score(gaps)["absent"])


def test_a_class_of_one_pixel_is_left_out_and_no_class_leaves_the_image_out():
    images = random_images(4, 1)
    scores = []
    for labels in ([0, 0, 0, 0], [0, 1, 0, 0]):
        more = shown("small", np.arange(20.0).reshape(4, 5), labels)
        assert not len(one_layer().measure(more)["classes"])
        scores.append(one_layer().score(bank_of(one_layer(), [*images, more]))["model"])
    assert scores == [one_layer().score(bank_of(one_layer(), images))["model"]] * 2


def test_what_is_undefined_is_nan():
    estimator = one_layer()
    one = random_images(1)
    same = [shown(name, WORKED["a"], np.ones(4)) for name in "ab"]
    constant = [shown(name, np.full((6, 3), 0.1), [0, 1, 1, 1, 0, 0]) for name in "abc"]
    blank = [shown(name, WORKED["a"], np.zeros(4)) for name in "abc"]
    for images in ([], one, one * 3, same, constant, blank):
        assert math.isnan(estimator.score(bank_of(estimator, images))["model"])
        assert math.isnan(CCFV(**RELEASED).score(bank_of(estimator, images))["model"])


RELEASED = {"layers": ("bottleneck",), "vectors": (100,), "sense": "released"}


def test_rank_deficient_features():
    rng = np.random.default_rng(0)
    images = [
        shown(name, rng.normal(size=(12, 1)) * [1.0, 2, 0, -1] + rng.normal(), np.ones(12))
        for name in "abcd"
    ]
    found = one_layer().score(bank_of(one_layer(), images))["model"]
    assert found == pytest.approx(plainly(images, "paper"), abs=1e-5)


def test_pseudo_labels_need_no_truth_and_follow_the_prediction():
    images = random_images(4, 1)
    estimator = one_layer(labels="pseudo")
    assert not estimator.needs.truth
    assert one_layer().needs.truth
    guessed = [Observation(s.image, s.pixels, s.reference, features=s.features) for s in images]
    found = estimator.score(bank_of(estimator, guessed))["model"]
    assert found == pytest.approx(one_layer().score(bank_of(one_layer(), images))["model"])
    silent = [shown(s.image, np.eye(30), np.ones(30), np.zeros(30)) for s in images]
    assert math.isnan(estimator.score(bank_of(estimator, silent))["model"])
    with pytest.raises(ModelError, match="image 0: labels are needed"):
        one_layer().measure(guessed[0])


def large(channels, classes=1, seed=0):
    """512 pixels a class, three layers of so many channels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes + 1), 512).astype(np.int32)[None]
    layers = ("bottleneck", "decoder#1", "decoder#2")
    features = {
        layer: FeatureMap.of(
            rng.normal(size=(width, 1, labels.size)).astype(np.float32), labels.shape
        )
        for layer, width in zip(layers, channels, strict=True)
    }
    reference = Prediction((labels != 0).astype(np.float32)[None], ("foreground",))
    return Observation(f"large {seed}", labels, reference, truth=labels, features=features)


def size(evidence):
    return sum(v.nbytes if isinstance(v, np.ndarray) else len(str(v)) for v in evidence.values())


@pytest.mark.parametrize(
    ("channels", "classes", "whole"),
    [((256, 256, 256), 1, True), ((1024, 512, 256), 1, True), ((512, 512, 512), 6, False)],
)
def test_evidence_stays_small_and_says_what_was_left_out(channels, classes, whole):
    estimator = CCFV(labels="classes")
    evidence = estimator.measure(large(channels, classes))
    assert size(evidence) <= MOST_BYTES
    assert (evidence["share"] == 1) is whole
    assert size(evidence) > 0.8 * MOST_BYTES or whole
    remarks = estimator.remarks(Bank({"model": [evidence]}))
    assert bool(remarks) is not whole
    assert whole or "of the vectors asked for were drawn, to keep evidence below 1 MB" in remarks[0]


def test_too_many_classes_are_refused_by_name():
    seen = large((2000, 2000, 2000), 60)
    with pytest.raises(ModelError, match="features of 60 classes at bottleneck, decoder#1, deco"):
        CCFV(labels="classes").measure(seen)


def test_evidence_survives_the_file(tmp_path):
    estimator = CCFV()
    images = [large((6, 4, 3), seed=seed) for seed in range(3)]
    bank = bank_of(estimator, images)
    with EvidenceStore(tmp_path / "evidence.sqlite") as store:
        store.put({str(i): seen for i, seen in enumerate(bank["model"])})
        again = Bank({"model": [store.get(str(i)) for i in range(3)]})
    assert estimator.score(again) == estimator.score(bank)


def test_the_same_pixels_for_every_model_and_others_for_another_seed():
    estimator = one_layer(vectors=5)
    places = np.arange(60.0)[:, None]
    one, other, third = (
        estimator.measure(shown("a", values, np.ones(60), seed=seed))
        for values, seed in ((places, 0), (places * 2, 0), (places, 1))
    )
    assert other["global0"] == pytest.approx(2 * one["global0"])
    assert one["order"] == other["order"] != third["order"]
    assert one["global0"] != third["global0"]


def test_vectors_are_counted_by_class():
    labels = np.repeat([0, 1, 2], [50, 7, 3])
    evidence = one_layer(vectors=5, labels="classes").measure(
        shown("a", np.random.default_rng(0).normal(size=(60, 9)), labels)
    )
    assert evidence["rows0"].tolist() == [4, 2]
    assert evidence["classes"].tolist() == [1, 2]


def test_more_images_than_asked_for_are_drawn_alike():
    images = random_images(8, 1)
    estimator = one_layer(images=4)
    bank = bank_of(estimator, images)
    order = np.argsort([seen["order"] for seen in bank["model"]])
    four = Bank({"model": [bank["model"][i] for i in order[:4]]})
    found = estimator.score(bank)["model"]
    assert found == pytest.approx(one_layer().score(four)["model"], rel=1e-12)
    assert found != pytest.approx(one_layer().score(bank)["model"], rel=1e-3)
    turned = Bank({"model": list(reversed(bank["model"]))})
    assert estimator.score(turned)["model"] == pytest.approx(found, rel=1e-12)
    # An image drawn twice is one image.
    twice = Bank({"model": [*bank["model"], bank["model"][order[0]]]})
    spelled = Bank({"model": [*four["model"], bank["model"][order[0]]]})
    due = one_layer().score(spelled)["model"]
    assert estimator.score(twice)["model"] == pytest.approx(due, rel=1e-12)
    assert estimator.remarks(bank) == (
        "4 of 8 images are compared with each other; more with the option images",
    )
    assert one_layer().remarks(bank) == ()


def test_pairs_are_crossed_once(monkeypatch):
    estimator = one_layer()
    bank = bank_of(estimator, random_images(5, 1))
    calls = []
    monkeypatch.setattr(
        clouds, "wasserstein", lambda one, other: calls.append(1) or wasserstein(one, other)
    )
    for drawn in ([0, 1, 2], [4, 4, 1]):
        estimator.score(bank.draw(drawn))
    CCFV(**RELEASED).score(bank)
    assert len(calls) == 10
    assert estimator.measures == CCFV(**RELEASED).measures != one_layer(vectors=7).measures


def test_what_it_says_of_itself():
    assert CCFV().title == "ccfv"
    assert (
        one_layer(sense="released", labels="pseudo").title
        == "ccfv released pseudo 100 px @bottleneck"
    )
    assert one_layer().needs.taps == ("bottleneck",)
    assert CCFV(layers=["a", "b"], vectors=[2, 3]) == CCFV(layers=("a", "b"), vectors=(2, 3))
    assert eval(repr(one_layer(sphere=True)), {"CCFV": CCFV}) == one_layer(sphere=True)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sense": "papr"}, "unknown sense of CCFV 'papr': did you mean 'paper'"),
        ({"labels": "trut"}, "unknown kind of labels 'trut': did you mean 'truth'"),
        ({"layers": ()}, r"CCFV: layers are tap names, one at least, not \(\)"),
        ({"layers": (1,)}, "layers are tap names"),
        ({"layers": ("a", "a")}, "CCFV got a layer twice: a, a; name each once"),
        ({"layers": ("a", "b")}, "got 2 layers and 3 numbers of vectors; give as many of both"),
        ({"vectors": (1, 2, 3)}, "a covariance needs at least 2 vectors of a class, not 1"),
        ({"vectors": (2.0, 2, 3)}, "vectors are integers, one at least"),
        ({"images": 1}, "images is an integer of at least 2, not 1"),
        ({"sphere": "no"}, "CCFV: sphere is True or False, not 'no'"),
        ({"sense": "released", "sphere": True}, "leave sphere=True out, or take sense='paper'"),
    ],
)
def test_options_that_mean_nothing(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        CCFV(**options)


def test_features_that_are_not_finite_are_named():
    values = np.ones((4, 2))
    values[2, 0] = np.nan
    with pytest.raises(ModelError, match="a: features at 'bottleneck' hold NaN or infinity"):
        one_layer().measure(shown("a", values, np.ones(4)))


def test_volumes():
    rng = np.random.default_rng(0)
    estimator = one_layer()
    images = []
    for name in "ab":
        truth = np.zeros((4, 6, 8), np.int32)
        truth[1:3, 2:5, 3:7] = 7
        values = rng.normal(size=(5, 2, 3, 4)).astype(np.float32)
        reference = Prediction(truth[None].astype(np.float32) / 7, ("foreground",))
        features = {"bottleneck": FeatureMap.of(values, truth.shape)}
        images.append(Observation(name, truth, reference, truth=truth, features=features))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isfinite(estimator.score(bank_of(estimator, images))["model"])
