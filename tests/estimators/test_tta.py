"""Agreement under flips and rotations: the same as CTE with these, and nothing else."""

import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE
from onnx_cte.estimators.tta import TestTimeAgreement
from onnx_cte.perturbations import Flip, GaussianNoise, Rotation
from onnx_cte.types import Observation, Prediction

BOTH = (Flip("x"), Rotation(90))


def binary(*values):
    return Prediction(np.array([[values]], np.float32), ("foreground",))


def seen(reference, flipped, turned):
    perturbed = {"flip=x": flipped, "rotation=90": turned}
    return Observation("a", np.zeros((1, 4)), reference, perturbed)


def test_by_hand():
    evidence = TestTimeAgreement(transforms=BOTH).measure(
        seen(binary(0.9, 0.9, 0.1, 0.1), binary(0.9, 0.1, 0.1, 0.1), binary(0.9, 0.9, 0.1, 0.9))
    )
    assert evidence == {"value": pytest.approx((1 / 2 + 2 / 3) / 2), "foreground": 0.5}


def test_confidence_of_the_agreement():
    one = binary(0.9, 0.1, 0.1, 0.1)
    evidence = TestTimeAgreement("ei", BOTH).measure(seen(one, one, binary(0.4, 0.1, 0.1, 0.1)))
    assert evidence["value"] == pytest.approx(0.9 / 2)


def test_two_passes_and_no_more():
    needs = TestTimeAgreement(transforms=BOTH).needs
    assert [p.name for p in needs.perturbations] == ["flip=x", "rotation=90"]
    assert not needs.truth
    assert TestTimeAgreement("rand_fscore").needs.instances


def test_a_model_that_looks_at_pixels_alone_agrees_with_itself():
    rng = np.random.default_rng(0)
    estimator = TestTimeAgreement(transforms=(Flip("x"), Flip("y"), Rotation(90), Rotation(180)))
    tensor = rng.random((1, 1, 8, 8)).astype(np.float32)

    def predicted(network):
        maps = {
            p.name: Prediction(p.restore(network(p.apply(tensor, rng))[0]), ("foreground",))
            for p in estimator.needs.perturbations
        }
        reference = Prediction(network(tensor)[0], ("foreground",))
        return estimator.measure(Observation("a", tensor[0, 0], reference, maps))["value"]

    assert predicted(lambda x: x) == 1
    # One that shifts what it sees does not.
    assert predicted(lambda x: np.roll(x, 1, axis=-1)) < 0.7


def test_silence_and_medians_are_those_of_cte():
    full, none = binary(0.9, 0.9, 0.9, 0.9), binary(0.1, 0.1, 0.1, 0.1)
    estimator = TestTimeAgreement()
    sees, blind = estimator.measure(seen(full, full, full)), estimator.measure(seen(*[none] * 3))
    assert math.isnan(blind["value"])
    bank = Bank({"a": [sees, sees], "b": [sees, None], "blind": [blind, blind]})
    assert estimator.score(bank) == {"a": 1, "b": 1, "blind": 0}
    assert estimator.score(bank) == CTE("nhd", estimator.transforms, 1).score(bank)


def test_options():
    assert TestTimeAgreement(transforms=[Flip("y")]) == TestTimeAgreement(transforms=Flip("y"))
    assert TestTimeAgreement().title == "tta nhd rotation=90"
    assert TestTimeAgreement(transforms=BOTH).title == "tta nhd flip=x+rotation=90"
    with pytest.raises(OptionError, match=r"tta: transforms are flips .* not GaussianNoise"):
        TestTimeAgreement(transforms=GaussianNoise(0.1))
    with pytest.raises(OptionError, match="not 'flip=x'"):
        TestTimeAgreement(transforms="flip=x")
    with pytest.raises(OptionError, match="tta without transforms"):
        TestTimeAgreement(transforms=())
    with pytest.raises(OptionError, match="'f1' measures performance, expected a metric of consi"):
        TestTimeAgreement("f1")
    with pytest.raises(OptionError, match=r"tta, which measures as CTE does: .* twice"):
        TestTimeAgreement(transforms=(Flip("x"), Flip("x")))
