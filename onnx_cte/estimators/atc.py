"""ATC: accuracy foretold by how many scores exceed a threshold that source images set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import unknown_name
from onnx_cte.estimators.confidence import KINDS
from onnx_cte.estimators.sampling import class_map
from onnx_cte.estimators.silence import median_of_images, seen_by, with_silence
from onnx_cte.estimators.titles import titled
from onnx_cte.needs import Needs
from onnx_cte.types import Observation, Prediction

BINS = 1000
"""Of a score: bin b holds those from 1 - exp(-17 b / 1000) on, so that bins are finer towards 1,
where the scores of most pixels are."""

_LAST = 17.0  # 1 - exp(-17) is the last float32 before 1


def thresholded_confidence(
    source: NDArray[np.floating], error: float, target: NDArray[np.floating]
) -> float:
    """Average thresholded confidence (ATC): the share of the target that exceeds a threshold [1]_.

    The threshold is where the share of the source below it equals the source error. Within a bin
    scores are taken to be spread evenly, so that a source is foretold its own accuracy.

    Parameters
    ----------
    source, target : ndarray of float, shape (B,)
        Histograms of the score over the same bins, lowest score first; any sum above 0.
    error : float, in [0, 1]
        Share of the source that is wrong.

    Returns
    -------
    float
        Accuracy foretold, in [0, 1]. NaN if a histogram is empty, or the error is NaN.

    References
    ----------
    .. [1] Garg, S. et al. (2022), ICLR, arXiv:2201.04234.

    Examples
    --------
    >>> thresholded_confidence(np.array([2, 2, 4]), 0.25, np.array([5, 3, 2]))
    0.5
    """
    if np.isnan(error) or not source.sum() or not target.sum():
        return float("nan")
    below = np.cumsum(source) / source.sum()
    edge = min(int(np.searchsorted(below, error, side="right")), len(source) - 1)
    before = below[edge - 1] if edge else 0.0
    # How much of the bin of the threshold lies below it.
    part = min((error - before) / (below[edge] - before), 1.0) if below[edge] > before else 1.0
    return float(1 - (target[:edge].sum() + part * target[edge]) / target.sum())


def decision_scores(
    prediction: Prediction, score: str
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """How sure a prediction is of each pixel, and whether it takes it for foreground.

    Parameters
    ----------
    prediction : Prediction
    score : {"confidence", "entropy"}
        The probability of the class decided for, or ``1 - H / log C``.

    Returns
    -------
    foreground : ndarray of bool, shape (N,)
    scores : ndarray of float32, shape (N,)
        In [0, 1], 1 is certain.
    """
    classes = prediction.classes.ravel()
    if prediction.exclusive:
        maps = prediction.probabilities.reshape(len(prediction.roles), -1)
    else:
        foreground = prediction.probabilities.reshape(1, -1)
        maps = np.concatenate([1 - foreground, foreground])
    if score == "confidence":
        found = np.take_along_axis(maps, classes[None].astype(np.intp), axis=0)[0]
    else:
        logs = np.log(maps, out=np.zeros_like(maps), where=maps > 0)
        found = 1 + (maps * logs).sum(axis=0) / np.float32(np.log(len(maps)))
    return classes != 0, np.clip(found, 0, 1).astype(np.float32)


def scored_pixels(seen: Observation, score: str) -> Evidence:
    """How sure a model is of the pixels it takes for background and for foreground.

    Parameters
    ----------
    seen : Observation
        Of the source domain, it needs labels (ModelError): foreground is told from background.
    score : {"confidence", "entropy"}
        As `decision_scores` takes it.

    Returns
    -------
    dict
        Of the predicted background and foreground: ``pixels`` and ``scores``, their sum, ndarray of
        float64, shape (2,); ``histogram`` of the scores, ndarray of uint32, shape (2, `BINS`); on a
        source image ``wrong``, ndarray of float64, shape (2,), how many are; and ``foreground``.
    """
    foreground, scores = decision_scores(seen.reference, score)
    fine = -np.log1p(-np.minimum(scores, np.nextafter(np.float32(1), np.float32(0))))
    bins = np.minimum((fine * (BINS / _LAST)).astype(np.intp), BINS - 1)
    histogram = np.bincount(bins + BINS * foreground, minlength=2 * BINS).reshape(2, BINS)
    found = {
        "pixels": histogram.sum(axis=1).astype(np.float64),
        "scores": np.bincount(foreground, scores, 2),
        "histogram": histogram.astype(np.uint32),
        **seen_by(seen.reference),
    }
    if seen.domain == "source":
        wrong = foreground != (class_map(seen, "truth") != 0).ravel()
        found["wrong"] = np.bincount(foreground, wrong, 2)
    return found


def balance(pixels: NDArray[np.floating]) -> NDArray[np.float64]:
    """What a pixel of the predicted background, and of the foreground, weighs: half of 1 together.

    Parameters
    ----------
    pixels : ndarray of float, shape (2,)
        How many there are of background and of foreground.

    Returns
    -------
    ndarray of float64, shape (2,)
        NaN without foreground; without background, the foreground is 1 together.

    Examples
    --------
    >>> balance(np.array([10.0, 5.0])).tolist(), balance(np.array([0.0, 5.0])).tolist()
    ([0.05, 0.1], [0.0, 0.2])
    """
    there = pixels > 0
    if not there[1]:
        return np.full(2, np.nan)
    weights = np.zeros(2)
    weights[there] = 1 / (np.count_nonzero(there) * pixels[there])
    return weights


def by_image(
    bank: Bank, key: str, foretell: Callable[[Mapping[str, NDArray[Any]], Evidence], float]
) -> dict[str, float]:
    """Median over the images of what is foretold of each, silence counted as 0.

    Parameters
    ----------
    bank : Bank
        With the evidence of source images.
    key : str
        Names `foretell`, with all options that it depends on.
    foretell : callable
        Takes what `scored_pixels` keeps, summed over a model's source images, and of a target
        image; gives a number of at least 0, or NaN where it is undefined.

    Returns
    -------
    dict of str to float
        NaN for a model without source images, or which sees no foreground on them.
    """

    def values(whole: Bank) -> Bank:
        found: dict[str, list[Evidence | None]] = {}
        for model, row in whole.items():
            source = _summed(whole.source.get(model, ()))
            found[model] = [
                {"value": foretell(source, seen), "foreground": seen["foreground"]}
                if source and seen is not None
                else None
                for seen in row
            ]
        return Bank(found)

    foretold = bank.derived(key, values)
    shown = foretold if bank.whole is bank else foretold.draw(bank.indices)
    return median_of_images(shown, with_silence(shown))


def _summed(row: Sequence[Evidence | None]) -> dict[str, NDArray[np.float64]]:
    """What `scored_pixels` keeps of source images, summed; empty if none shows foreground."""
    known = [seen for seen in row if seen is not None]
    # Without foreground there is nothing to go by: undefined, rather than silent on the target.
    usable = any(seen["foreground"] for seen in known)
    names = ("pixels", "scores", "histogram", "wrong") if usable else ()
    return {
        name: np.asarray(np.sum([seen[name] for seen in known], axis=0, dtype=np.float64))
        for name in names
    }


@dataclass(frozen=True)
class ATC:
    """Average thresholded confidence [1]_, of pixels: accuracy foretold from source images.

    A threshold is set on a model's own source images, so that the share of pixels with a lower
    score is the share of wrong ones; the accuracy of a target image is foretold to be the share of
    its pixels that reach the threshold. In all these shares the predicted foreground weighs as
    much as the predicted background. Of a model: the median over the target images, which need no
    labels; a model that sees nothing where most others see something gets 0 there
    (`onnx_cte.estimators.silence`). A model without source images, or which sees nothing on them,
    is undefined.

    Parameters
    ----------
    kind : {"confidence", "entropy"}
        The score: the probability of the class decided for, or ``1 - H / log C`` with the entropy H
        of the predicted distribution over C classes.

    References
    ----------
    .. [1] Garg, S. et al. (2022), ICLR, arXiv:2201.04234.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> source = {"fibro": target, "brightfield": target}
    >>> ranking = oc.rank(models, target, oc.ATC(), source=source)
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    kind: Literal["confidence", "entropy"] = "confidence"

    name: ClassVar[str] = "atc"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "accuracy foretold by thresholded confidence (ATC)"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of score", str(self.kind), KINDS)

    @property
    def title(self) -> str:
        return titled(self, "atc", kind="{}")

    @property
    def needs(self) -> Needs:
        return Needs(source=True)

    @property
    def measures(self) -> str:
        return f"scored pixels({self.kind})"

    def measure(self, seen: Observation) -> Evidence:
        return scored_pixels(seen, self.kind)

    def score(self, bank: Bank) -> Mapping[str, float]:
        return by_image(bank, f"atc of {self.measures}", _foretold)


def _foretold(source: Mapping[str, NDArray[Any]], seen: Evidence) -> float:
    weights = balance(source["pixels"])
    return thresholded_confidence(
        weights @ source["histogram"],
        float(weights @ source["wrong"]),
        balance(seen["pixels"]) @ seen["histogram"],
    )
