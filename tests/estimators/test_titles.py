"""No two estimators of different options have the same title: tables are read by it."""

import dataclasses
import itertools

import pytest

from onnx_cte.estimators import ESTIMATORS
from onnx_cte.perturbations import Dropout, Flip

CLASSES = {offer.kind.__name__: offer.kind for offer in ESTIMATORS.values()}
OTHERS = {  # values that differ from the defaults, and what else they ask for
    "boundary": [0.25, 0.2500001],
    "components": [3],
    "consistency": [0.5, 0.5000001],
    "covariance": ["full", "diagonal"],
    "dimensions": [7],
    "distance": ["l2", "pearson"],
    "draws": [9],
    "epsilon": [{"epsilon": 0.25, "solver": "sinkhorn"}],
    "gamma": [{"gamma": 0.25, "kind": "jc_otce"}, {"gamma": 0.2500001, "kind": "jc_otce"}],
    "images": [7],
    "k": [1, 2],
    "labels": ["classes", "pseudo"],
    "layers": [{"layers": ("decoder#1",), "vectors": (9,)}],
    "leave_one_out": ["fit", "vote", "none"],
    "level": ["skip/1"],
    "margin": [0.25, 0.2500001],
    "metric": ["ei", "f1_classes", "map"],
    "normalisation": ["softmax", "taylor"],
    "normalise": [True, {"normalise": True, "solver": "sinkhorn"}],
    "objects": [True],
    "perturbation": [Dropout(0.2)],
    "perturbations": [(Dropout(0.2),)],
    "pixels": [9],
    "pooling": ["grid"],
    "raised": [True],
    "region": ["union"],
    "regularised": [True],
    "repeats": [9],
    "sense": ["released"],
    "sharpness": [2.5, 2.5000001],
    "sigma": [2.5, 2.5000001],
    "solver": ["sinkhorn"],
    "sphere": [True],
    "tap": ["bottleneck"],
    "transforms": [(Flip("x"),)],
    "uniformity": [False],
    "vectors": [9, (9, 9, 9)],
    "weights": [{"weights": (-1.0, -1.0, 0.5), "kind": "otce"}],
    "width": [{"width": 3, "kind": "ring"}],
}


def made(kind, options):
    try:
        return [kind(**options)]
    except (ValueError, TypeError):  # no value, or no options, of this estimator
        return []


def variants(kind):
    """The estimator by default, every offer of it, and with each option changed."""
    yield from (offer() for offer in ESTIMATORS.values() if offer.kind is kind)
    for field in dataclasses.fields(kind):
        if field.name == "kind":  # told by the offers
            continue
        found = [
            estimator
            for value in OTHERS[field.name]
            for estimator in made(kind, value if isinstance(value, dict) else {field.name: value})
        ]
        assert found, f"no other value of {kind.__name__}.{field.name} to test with"
        yield from found


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_titles_tell_the_options(kind):
    estimators = dict.fromkeys(variants(kind))
    for one, other in itertools.combinations(estimators, 2):
        assert one.title != other.title, f"{one!r} and {other!r}"


def test_no_two_offers_share_a_title():
    titles = [offer().title for offer in ESTIMATORS.values()]
    assert len(set(titles)) == len(titles)
