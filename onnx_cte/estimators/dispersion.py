"""Dispersion score: how far apart the features of the predicted classes lie."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.estimators.sampling import (
    TAP,
    check_flag,
    check_tap,
    check_vectors,
    decided_positions,
    feature_map,
)
from onnx_cte.estimators.silence import seen_by, with_silence
from onnx_cte.estimators.titles import titled
from onnx_cte.needs import Needs
from onnx_cte.types import Observation

# Of the sum of squares: less is what rounding leaves of features that do not differ.
_NOTHING = 1e-20


@dataclass(frozen=True, slots=True)
class ClassSums:
    """Features added up by class, of any number of images: what dispersion is made of.

    Attributes
    ----------
    counts : ndarray of float64, shape (K,)
        Features of each class; 0 for a class that is absent.
    sums : ndarray of float64, shape (K, C)
    squares : float
        Of all entries of all features.
    """

    counts: NDArray[np.float64]
    sums: NDArray[np.float64]
    squares: float

    @classmethod
    def of(
        cls, features: NDArray[np.floating], classes: NDArray[np.integer], number: int
    ) -> "ClassSums":
        """Sums of features (N, C), but those not finite, with classes (N,) below `number`."""
        usable = np.isfinite(features).all(axis=1)
        belongs = (classes[usable] == np.arange(number)[:, None]).astype(np.float64)
        values = features[usable].astype(np.float64)
        return cls(belongs.sum(axis=1), belongs @ values, float((values**2).sum()))

    def dispersion(self, *, normalise: bool = False) -> float:
        """As `dispersion`."""
        total = self.counts.sum()
        if len(self.counts) < 2 or not total:
            return math.nan
        middle = self.sums.sum(axis=0) / total
        there = self.counts > 0
        means = self.sums[there] / self.counts[there, None]
        between = float(self.counts[there] @ ((means - middle) ** 2).sum(axis=1))
        if between <= _NOTHING * self.squares:
            return math.nan
        if normalise:
            # At least what lies between, but for rounding.
            between /= max(between, self.squares - total * float(middle @ middle)) / total
        return math.log(between / (len(self.counts) - 1))


def dispersion(
    features: NDArray[np.floating],
    classes: NDArray[np.integer],
    *,
    number: int,
    normalise: bool = False,
) -> float:
    """Log of the scatter of class means about the mean of all, by class size [1]_.

    That is ``log(sum_k n_k |mu_k - mu|^2 / (K - 1))``.

    Parameters
    ----------
    features : ndarray of float, shape (N, C)
        Those not finite are left out.
    classes : ndarray of int, shape (N,)
        In [0, number).
    number : int
        K, the classes there are, present or not.
    normalise : bool
        Whether to measure features in units of their root mean square distance from their mean.

    Returns
    -------
    float
        Greater is farther apart; with `normalise` no more than ``log(N / (K - 1))``. NaN if the
        class means do not differ: one class, no features, or constant ones.

    References
    ----------
    .. [1] Xie, R., Wei, H., Feng, L., Cao, Y. and An, B. (2023), On the importance of feature
       separability in predicting out-of-distribution error, NeurIPS, arXiv:2303.15488.

    Examples
    --------
    >>> features = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 1.0], [6.0, 3.0]])
    >>> round(dispersion(features, np.array([0, 0, 1, 1]), number=2), 6)
    2.995732
    """
    return ClassSums.of(features, classes, number).dispersion(normalise=normalise)


@dataclass(frozen=True)
class Dispersion:
    """How far apart a model's features of its predicted classes lie [1]_.

    Pixels of all images are taken together, of each image as many of each class that the model
    decides for as there are, at most `vectors`. As published, the score depends on the scale of
    the features, which differs between networks, and grows with the number of pixels; `normalise`
    mends the scale.

    A model is undefined if its class means do not differ, as where it decides for one class only.
    One that decides so, or sees nothing, on more than half of the images, where at least half of
    the other models see something (`onnx_cte.estimators.silence`), has minus infinity.

    Parameters
    ----------
    tap : str
        The feature map, as in `Needs`.
    vectors : int, >= 1
        Pixels of each class drawn of an image.
    normalise : bool
        Whether to measure features in units of their root mean square distance from their mean.

    References
    ----------
    .. [1] Xie, R., Wei, H., Feng, L., Cao, Y. and An, B. (2023), On the importance of feature
       separability in predicting out-of-distribution error, NeurIPS, arXiv:2303.15488.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.Dispersion())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    tap: str = TAP
    vectors: int = 1000
    normalise: bool = False

    name: ClassVar[str] = "dispersion"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "distance of the features of predicted classes"

    def __post_init__(self) -> None:
        check_tap("Dispersion", self.tap)
        check_vectors("Dispersion", self.vectors)
        check_flag("Dispersion: normalise", self.normalise)

    @property
    def title(self) -> str:
        return titled(self, "dispersion", normalise="normalised", vectors="{} px", tap="@{}")

    @property
    def needs(self) -> Needs:
        return Needs(taps=(self.tap,))

    def measure(self, seen: Observation) -> Evidence:
        prediction = seen.reference
        positions, classes = decided_positions(seen, self.vectors)
        features = feature_map(seen, self.tap).at(positions)
        number = len(prediction.roles) if prediction.exclusive else 2
        found = ClassSums.of(features, classes, number)
        return {
            "value": found.dispersion(normalise=self.normalise),
            "counts": found.counts,
            "sums": found.sums,
            "squares": found.squares,
            **seen_by(prediction),
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        stacks = bank.derived(f"class sums of {self!r}", _stacked)
        weights = bank.counts
        values = bank.column("value")
        judged = ~np.isnan(bank.column("foreground"))
        # A value of exactly 0 is not blind, so only undefined ones are asked after.
        blind = (np.isnan(values) & (with_silence(bank) == 0)).sum(axis=1)
        scores = {}
        for model, silent, images in zip(bank, blind, judged.sum(axis=1), strict=True):
            found = stacks[model]
            if 2 * silent > images:
                scores[model] = -math.inf
            elif found is None:
                scores[model] = math.nan
            else:
                counts, sums, squares = (np.tensordot(weights, of, 1) for of in found)
                added = ClassSums(counts, sums, float(squares))
                scores[model] = added.dispersion(normalise=self.normalise)
        return scores


def _stacked(bank: Bank) -> dict[str, tuple[NDArray[np.float64], ...] | None]:
    """Counts, sums and squares of every image of each model; 0 where there is no evidence."""
    stacks: dict[str, tuple[NDArray[np.float64], ...] | None] = {}
    for model, row in bank.items():
        known = next((seen for seen in row if seen is not None), None)
        stacks[model] = None
        if known is not None:
            stacks[model] = tuple(
                np.stack([np.zeros(np.shape(known[key])) if e is None else e[key] for e in row])
                for key in ("counts", "sums", "squares")
            )
    return stacks
