"""NCTI, against plain linear discriminant analysis, and its scaling over a bank."""

import math

import numpy as np
import pytest
import scipy.linalg

from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.estimators.ncti import NCTI, UNDEFINED, Collapse, neural_collapse, scaled

F = np.array([[0, 0], [2, 0], [4, 1], [6, 3]], float)
Y = np.array([0, 0, 1, 1])


def random(seed, scale=1.0, pixels=300, width=5, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=pixels)
    features = rng.normal(size=(pixels, width)) @ rng.normal(size=(width, width)) / width**0.5
    return scale * (features + rng.normal(size=(classes, width))[labels] + 3), labels


def parts(low, posteriors, labels):
    """The three parts from discriminant features and posteriors of all pixels."""
    root, kinds = math.sqrt(len(labels)), np.unique(labels)
    own = posteriors[np.arange(len(labels)), np.searchsorted(kinds, labels)]
    norms = [np.linalg.norm(posteriors[labels == kind], "nuc") for kind in kinds]
    seli = np.linalg.norm(low - low.mean(axis=0), "nuc") / root
    return Collapse(seli, own.mean(), math.log(sum(norms) / root))


def by_discriminants(features, labels, dimensions=64):
    """Generalised eigenvectors of shrunk scatter, and Gaussian densities pixel by pixel."""
    x = features - features.mean(axis=0)
    axes = np.linalg.svd(x, full_matrices=False)[2][: min(dimensions, x.shape[1])]
    x = x @ axes.T
    n, d = x.shape
    share = math.exp(-np.sort(x.var(axis=0, ddof=1))[::-1][:32].sum())
    share = 0 if share <= 1e-10 else share
    kinds, member = np.unique(labels, return_inverse=True)
    means = np.array([x[labels == kind].mean(axis=0) for kind in kinds])
    priors = np.bincount(member) / n

    def shrunk(matrix):
        return (1 - share) * matrix + share * np.trace(matrix) / d * np.eye(d)

    within = shrunk((x - means[member]).T @ (x - means[member]) / n)
    between = shrunk(x.T @ x / n) - within
    directions = scipy.linalg.eigh(between, within)[1][:, ::-1][:, : len(kinds) - 1]
    inverse = np.linalg.inv(within)
    densities = np.stack(
        [
            prior * np.exp(-0.5 * np.einsum("ni,ij,nj->n", x - mean, inverse, x - mean))
            for mean, prior in zip(means, priors, strict=True)
        ],
        axis=1,
    )
    posteriors = densities / densities.sum(axis=1, keepdims=True)
    return parts(x @ directions, posteriors, labels)


@pytest.mark.parametrize("scale", [0.05, 0.5, 2.0, 30.0])  # from strong shrinkage to none
@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_what_discriminant_analysis_gives(scale, classes):
    features, labels = random(classes, scale, classes=classes)
    assert neural_collapse(features, labels) == pytest.approx(
        by_discriminants(features, labels), rel=1e-8
    )


@pytest.mark.parametrize("scale", [0.05, 30.0])
def test_wide_features_are_projected(scale):
    features, labels = random(7, scale, width=12)
    expected = by_discriminants(features, labels, dimensions=3)
    assert neural_collapse(features, labels, dimensions=3) == pytest.approx(expected, rel=1e-8)
    assert neural_collapse(features, labels) != pytest.approx(expected, rel=1e-2)


def test_fewer_dimensions_than_classes():
    features, labels = random(3, 30.0, width=1, classes=4)
    assert neural_collapse(features, labels)[1:] == pytest.approx(
        by_discriminants(features, labels)[1:], rel=1e-8
    )


@pytest.mark.official
@pytest.mark.parametrize("scale", [0.05, 0.5, 2.0, 30.0])
@pytest.mark.parametrize(("width", "classes"), [(1, 2), (5, 2), (5, 4), (100, 3)])
def test_it_is_what_the_published_recipe_gives_with_scikit_learn(scale, width, classes):
    analysis = pytest.importorskip("sklearn.discriminant_analysis")
    decomposition = pytest.importorskip("sklearn.decomposition")
    features, labels = random(width, scale, width=width, classes=classes)
    components = decomposition.PCA(min(64, width))
    x = components.fit_transform(features)
    share = max(np.exp(-components.explained_variance_[:32].sum()), 1e-10)
    solver = {"solver": "svd"} if share == 1e-10 else {"solver": "eigen", "shrinkage": share}
    lda = analysis.LinearDiscriminantAnalysis(**solver)
    low = lda.fit_transform(x, labels)
    expected = parts(low, lda.predict_proba(x), labels)
    # Until 1.8 the unshrunk covariance was divided by N - K rather than N.
    recent = share > 1e-10 or _divides_by_all()
    found = neural_collapse(features, labels)
    assert found == pytest.approx(expected, rel=1e-8 if recent else 0.02)


def _divides_by_all():
    analysis = pytest.importorskip("sklearn.discriminant_analysis")
    lda = analysis.LinearDiscriminantAnalysis(solver="svd")
    low = lda.fit_transform(np.array([[0.0], [2.0], [9.0], [11.0]]), Y)
    return abs(low[1, 0] - low[0, 0]) == pytest.approx(2)


def test_names_of_classes_do_not_matter():
    features, labels = random(0)
    expected = neural_collapse(features, labels)
    renamed = np.array([9, 4, 7])[labels]
    assert neural_collapse(features, renamed) == pytest.approx(expected, rel=1e-12)


def test_twice_the_same_pixels_are_no_more():
    features, labels = random(0, 30.0)
    twice = neural_collapse(np.tile(features, (2, 1)), np.tile(labels, 2))
    assert twice == pytest.approx(neural_collapse(features, labels), rel=1e-9)


def test_a_copied_channel_is_no_information():
    features, labels = random(0, 30.0)
    copied = np.concatenate([features, features[:, :1]], axis=1)
    assert neural_collapse(copied, labels) == pytest.approx(
        neural_collapse(features, labels), rel=1e-6
    )


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_classes_that_coincide(scale):
    same = scale * np.tile([[0.0, 1.0], [9.0, 3.0]], (40, 1))
    found = neural_collapse(same, np.repeat(np.arange(40) % 2, 2))
    # Any direction is as good: whitened, it has variance 1. All posteriors are one half, so each
    # class has one singular value, sqrt(40 / 2), and sqrt(80) makes the sum 1.
    assert found == pytest.approx((1, 0.5, 0), abs=1e-6)


def test_undefined():
    labels = np.arange(40) % 2
    for nothing_within in (np.zeros((40, 2)), np.full((40, 2), 0.1), np.eye(2)[labels] * 9):
        assert all(map(math.isnan, neural_collapse(nothing_within, labels)))
    assert all(map(math.isnan, neural_collapse(F, np.zeros(4, int))))


def test_scaling():
    found = {
        "a": Collapse(4, 0.9, 1.0),
        "b": Collapse(2, 0.8, 2.0),
        "c": Collapse(3, 0.5, 3.0),
        "none": UNDEFINED,
    }
    scores = scaled(found)
    assert math.isnan(scores.pop("none"))
    assert list(scores) == ["a", "b", "c"]
    assert scores == pytest.approx({"a": 1 + 1 - 0, "b": 0 + 0.75 - 0.5, "c": 0.5 + 0 - 1})


def test_a_part_in_which_all_agree_counts_for_none():
    found = {"a": Collapse(4, 1.0, 1.0), "b": Collapse(2, 1.0 - 1e-13, 2.0)}
    assert scaled(found) == pytest.approx({"a": 1, "b": -1})


def test_one_model_alone_is_undefined():
    assert math.isnan(scaled({"a": Collapse(4, 0.9, 1.0)})["a"])
    assert all(map(math.isnan, scaled({"a": Collapse(4, 0.9, 1.0), "b": UNDEFINED}).values()))
    features, labels = random(0)
    row = {"image": "0", "features": features.astype(np.float32), "labels": labels}
    assert math.isnan(NCTI().score(Bank({"a": [row]}))["a"])
    assert not math.isnan(NCTI().score(Bank({"a": [row], "b": [row]}))["a"])


def test_scores_compare_the_models_of_a_bank():
    def row(seed, apart):
        features, labels = random(seed, 10.0, classes=2)
        features[:, 0] += apart * labels
        return {"image": "0", "features": features.astype(np.float32), "labels": labels}

    bank = Bank({"far": [row(1, 60)], "near": [row(1, 0)], "middle": [row(1, 25)]})
    scores = NCTI().score(bank)
    assert scores["far"] > scores["middle"] > scores["near"]
    pair = NCTI().score(Bank({"far": bank["far"], "middle": bank["middle"]}))
    assert pair["middle"] < scores["middle"]


def test_options():
    with pytest.raises(OptionError, match=r"NCTI: dimensions, .* at least 1, not True"):
        NCTI(dimensions=True)
    assert NCTI(dimensions=8).title == "ncti 8d"
    assert NCTI.resamples == 200


def test_too_few_models_to_scale_over_are_told():
    assert "of which there are two; three or more" in NCTI().remarks(Bank({"a": [], "b": []}))[0]
    assert NCTI().remarks(Bank({"a": [], "b": [], "c": []})) == ()
