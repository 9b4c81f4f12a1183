"""What a ranking says of images to come, from evidence made up."""

import math
import zlib
from dataclasses import dataclass, replace

import numpy as np
import pytest

from onnx_cte.needs import Needs
from onnx_cte.runner import rank
from onnx_cte.sample_size import critical_contrast, more_images
from onnx_cte.segmenters import BlackBox
from onnx_cte.types import Image

SHIFTS = {"good": 3.0, "fair": 0.3, "so-so": 0.2, "twin a": 0.0, "twin b": 0.0, "blind": math.nan}


@dataclass(frozen=True)
class MadeUp:
    """The mean of numbers by model and image; twins have the same."""

    name = title = "made up"
    greater_is_better = True
    resamples: int = 400

    @property
    def needs(self):
        return Needs()

    def measure(self, seen):
        # A model says which one it is by its prediction.
        model = list(SHIFTS)[round(10 * float(seen.reference.probabilities.mean()))]
        alike = f"{model.split()[0]} {seen.image}"
        own = np.random.default_rng(zlib.crc32(alike.encode())).normal()
        return {"value": SHIFTS[model] + float(own)}

    def score(self, bank):
        return dict(zip(bank, bank.column("value").mean(axis=1).tolist(), strict=True))


def ranked(count, kind=MadeUp, **options):
    models = [
        BlackBox(name, lambda tensor, place=place: np.full_like(tensor, place / 10))
        for place, name in enumerate(SHIFTS)
    ]
    pixels = np.zeros((8, 8), np.uint8)
    images = [Image(f"{i:02}", pixels, "yx") for i in range(count)]
    return rank(models, images, kind(**options), jobs=1)


@pytest.mark.parametrize("count", [5, 8, 20, 40])
def test_only_what_is_told_apart_has_no_number(count):
    found = ranked(count)
    assert found.sampled == count
    pairs = {(better, worse): more for better, worse, more in found.images_to_tell}
    assert len(pairs) == len(found.images_to_tell)
    # The twins have equal scores, which no number of images tells apart.
    assert set(found.undecided) - pairs.keys() == {("twin a", "twin b")}
    assert pairs.keys() < set(found.undecided)
    place = [score.model for score in found]
    column = {model: place.index(model) for model in place}
    for (better, worse), more in pairs.items():
        error = np.std(found.drawn[:, column[better]] - found.drawn[:, column[worse]], ddof=1)
        contrast = (found.values[better] - found.values[worse]) / error
        assert more == more_images(contrast, count) >= 1
        grown = contrast * math.sqrt((count + more) / count)
        assert grown >= critical_contrast(count + more) * (1 - 1e-9)
    assert "good" not in {model for pair in pairs for model in pair} or count == 5


@dataclass(frozen=True)
class InParts(MadeUp):
    """Says of all but one model what the score is made of."""

    missing: str = "blind"

    def parts(self, bank):
        return {
            model: {"half": value / 2, "none": math.nan}
            for model, value in self.score(bank).items()
            if model != self.missing
        }


def test_scores_are_told_with_what_they_are_made_of():
    found = ranked(6, kind=InParts)
    assert found.parts == ("half", "none")
    for score in found:
        if score.model == "blind":
            assert score.parts == {}
        else:
            assert score.parts["half"] == score.value / 2
            assert math.isnan(score.parts["none"])
    assert ranked(6).parts == ()
    # The rest is as if nothing had been said.
    np.testing.assert_array_equal(found.drawn, ranked(6).drawn)


def test_scores_made_of_parts_are_doubted_by_what_the_estimator_remarks_alone():
    def with_shares(ranking):
        """One model sees a thousandth of what the others do."""
        scores = [replace(s, foreground=0.5 if n else 0.0005) for n, s in enumerate(ranking)]
        return replace(ranking, scores=tuple(scores))

    whole, parts = with_shares(ranked(6)), with_shares(ranked(6, InParts))
    assert any("one side is wrong" in text for text in whole.warnings)
    assert parts.warnings == parts.remarks == ()
    told = replace(parts, remarks=("look at it",))
    assert told.warnings == ("look at it",)


@pytest.mark.parametrize(("count", "resamples"), [(4, 400), (12, 0)])
def test_without_a_bootstrap_no_number_is_given(count, resamples):
    found = ranked(count, resamples=resamples)
    assert len(found) == len(SHIFTS)
    assert (found.sampled, found.images_to_tell) == (0, ())
