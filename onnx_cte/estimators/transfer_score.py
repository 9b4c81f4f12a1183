"""Transfer Score: clustered features, sure and diverse predictions, an unbiased last layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy  # its parts are imported when first used
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.estimators.sampling import (
    TAP,
    check_flag,
    check_tap,
    check_vectors,
    decided_positions,
    distribution,
    feature_map,
)
from onnx_cte.estimators.silence import means, median_of_images, seen_by, with_silence
from onnx_cte.estimators.titles import titled
from onnx_cte.needs import Needs
from onnx_cte.perturbations import generator
from onnx_cte.types import Observation

SHARE = 0.05
"""Of the features, what the Hopkins statistic looks at."""
LINEAR = 0.99
"""Explained variance of the logits below which the last layer is not taken for linear."""


def hopkins_statistic(
    features: NDArray[np.floating], rng: np.random.Generator, *, raised: bool = False
) -> float:
    """How clustered features are: distances from random points against distances among them.

    With m points, 5 % of N, drawn uniformly in the box that the features span, and as many drawn of
    the features, it is ``sum(u) / (sum(u) + sum(w))`` where u are the distances of the former, and
    w of the latter, to the nearest feature (for w, the nearest other).

    Parameters
    ----------
    features : ndarray of float, shape (N, C)
    rng : numpy.random.Generator
    raised : bool
        Whether distances are raised to the power C, as in Eq. 3 of [1]_; the code that goes with it
        adds the distances themselves. In many dimensions the power leaves 0 or 1.

    Returns
    -------
    float
        In [0, 1]: about 0.5 for uniform features, near 1 for clusters. 0 if all are the same, as in
        that code. NaN of fewer than two features, or if one is not finite.

    References
    ----------
    .. [1] Yang, J., Qian, H., Xu, Y., Wang, K. and Xie, L. (2024), Can we evaluate domain
       adaptation models without target-domain labels?, ICLR, arXiv:2305.18712.

    Examples
    --------
    >>> two = np.repeat([[0.0, 0.0], [9.0, 9.0]], 50, axis=0)
    >>> hopkins_statistic(two, np.random.default_rng(0))
    1.0
    """
    if len(features) < 2 or not np.isfinite(features).all():
        return math.nan
    known = features.astype(np.float64)
    number = max(1, round(SHARE * len(known)))
    chosen = rng.permutation(len(known))[:number]
    low, high = known.min(axis=0), known.max(axis=0)
    points = low + rng.random((number, known.shape[1])) * (high - low)
    # One after the other: a table of all distances may not fit into memory.
    outside, within = np.empty(number), np.empty(number)
    for i, (point, own) in enumerate(zip(points, chosen, strict=True)):
        outside[i] = scipy.spatial.distance.cdist(point[None], known).min()
        among = scipy.spatial.distance.cdist(known[own][None], known)[0]
        among[own] = np.inf
        within[i] = among.min()
    # Divided by the greatest, no power overflows; those that underflow add nothing.
    greatest = max(outside.max(), within.max())
    if not greatest:
        return 0.0
    power = known.shape[1] if raised else 1
    random, actual = (((d / greatest) ** power).sum() for d in (outside, within))
    return float(random / (random + actual))


def mutual_information(probabilities: NDArray[np.floating]) -> float:
    """Entropy of the mean prediction less the mean entropy of predictions, in nats.

    Parameters
    ----------
    probabilities : ndarray of float, shape (N, K)

    Returns
    -------
    float
        In [0, log K]: high if every prediction is sure and they differ. NaN of no rows.

    Examples
    --------
    >>> round(mutual_information(np.array([[1.0, 0.0], [0.0, 1.0]])), 6)
    0.693147
    """
    if not probabilities.size:
        return math.nan
    rows = probabilities.astype(np.float64)
    return max(0.0, float(_entropy(rows.mean(axis=0)) - _entropy(rows).mean()))


def classifier_uniformity(weights: NDArray[np.floating]) -> float:
    """Mean squared difference of the angles between class weights from their ideal (Eq. 1 of [1]_).

    Parameters
    ----------
    weights : ndarray of float, shape (K, C)
        Of each class, K >= 2. The ideal angle is ``arccos(-1 / (K - 1))``.

    Returns
    -------
    float
        In squared radians, 0 is the least biased. NaN if the weights of a class are all 0.

    References
    ----------
    .. [1] Yang, J., Qian, H., Xu, Y., Wang, K. and Xie, L. (2024), ICLR, arXiv:2305.18712.

    Examples
    --------
    >>> classifier_uniformity(np.array([[1.0, 0.0], [-2.0, 0.0]]))
    0.0
    >>> round(classifier_uniformity(np.array([[1.0, 0.0], [0.0, 1.0]])), 6)
    2.467401
    """
    lengths = np.linalg.norm(weights, axis=1)
    if not lengths.all():
        return math.nan
    unit = weights / lengths[:, None]
    angles = np.arccos(np.clip(unit @ unit.T, -1, 1))
    number = len(weights)
    apart = ~np.eye(number, dtype=bool)
    return float(((angles[apart] - math.acos(-1 / (number - 1))) ** 2).mean())


def recovered_weights(
    features: NDArray[np.floating], probabilities: NDArray[np.floating]
) -> tuple[NDArray[np.float64], float]:
    """Weights of a last layer, by least squares of logits on the features that feed it.

    Where probabilities are the softmax of a linear map of the features, a convolution of size 1
    say, the weights are found as they are, but for what no prediction can tell: a vector common to
    all classes, here taken such that they sum to 0, and directions in which the features do not
    vary, here taken as 0.

    Parameters
    ----------
    features : ndarray of float, shape (N, C)
        Rows that are not finite are left out.
    probabilities : ndarray of float, shape (N, K)
        Rows that hold a 0 are left out.

    Returns
    -------
    weights : ndarray of float64, shape (K, C)
        NaN if fewer than C + 2 rows are left.
    explained : float
        Share of the variance of the logits that the linear map explains; 1 if it is one. NaN if the
        weights are, or the logits do not vary.
    """
    usable = (probabilities > 0).all(axis=1) & np.isfinite(features).all(axis=1)
    channels = features.shape[1]
    if np.count_nonzero(usable) < channels + 2:
        return np.full((probabilities.shape[1], channels), np.nan), math.nan
    logits = np.log(probabilities[usable].astype(np.float64))
    logits -= logits.mean(axis=1, keepdims=True)
    logits -= logits.mean(axis=0)
    inputs = features[usable].astype(np.float64)
    inputs -= inputs.mean(axis=0)
    # The tolerance is that of float32, in which features come.
    weights: NDArray[np.float64] = np.linalg.lstsq(inputs, logits, rcond=1e-7)[0].astype(np.float64)
    varied = float((logits**2).sum())
    missed = float(((logits - inputs @ weights) ** 2).sum())
    return weights.T, 1 - missed / varied if varied else math.nan


@dataclass(frozen=True)
class TransferScore:
    """Transfer Score [1]_: clustered features, sure and diverse predictions, unbiased weights.

    ``-U + H + M / log K``: the uniformity U of the angles between the class weights of the last
    layer (0 is best), the Hopkins statistic H of the features that feed it, the mutual information
    M of input and prediction, K classes. Of an image: H + M / log K at pixels, as many of each
    class that the model decides for as there are, at most `vectors`; of a model: the median over
    the images, less U. The paper takes all samples of a data set together and unbalanced, where
    the background would swamp M.

    U NEEDS WEIGHTS THAT A NETWORK DOES NOT SHOW, and is estimated: with two classes (a foreground
    alone counts as such) it is 0, for of two classes predictions tell only the difference of the
    weights, and such weights are opposite; with more, from weights recovered by least squares of
    the logits on the features (`recovered_weights`), as the mean over the images. These are exact
    if the last layer is a convolution of size 1 on `tap`; `remarks` says where they are not. A
    model of which an image never gives more pixels than features has no U and is undefined; leave
    U out then.

    A model that sees nothing on an image where at least half of the others do gets 0 there, the
    least that H + M / log K can be (`onnx_cte.estimators.silence`).

    Parameters
    ----------
    tap : str
        The feature map that feeds the last layer, as in `Needs`.
    vectors : int, >= 1
        Pixels of each class drawn of an image.
    uniformity : bool
        Whether U is a part of it.
    raised : bool
        As in `hopkins_statistic`.

    References
    ----------
    .. [1] Yang, J., Qian, H., Xu, Y., Wang, K. and Xie, L. (2024), Can we evaluate domain
       adaptation models without target-domain labels?, ICLR, arXiv:2305.18712.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.TransferScore())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    tap: str = TAP
    vectors: int = 500
    uniformity: bool = True
    raised: bool = False

    name: ClassVar[str] = "transfer_score"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "clustered features, sure and diverse predictions"

    def __post_init__(self) -> None:
        check_tap("TransferScore", self.tap)
        check_vectors("TransferScore", self.vectors)
        check_flag("TransferScore: uniformity", self.uniformity)
        check_flag("TransferScore: raised", self.raised)

    @property
    def title(self) -> str:
        return titled(
            self,
            self.name,
            uniformity="(no uniformity)",
            raised="raised",
            vectors="{} px",
            tap="@{}",
        )

    @property
    def needs(self) -> Needs:
        return Needs(taps=(self.tap,))

    def measure(self, seen: Observation) -> Evidence:
        prediction = seen.reference
        positions, _ = decided_positions(seen, self.vectors)
        features = feature_map(seen, self.tap).at(positions)
        probabilities = distribution(prediction, positions)
        share = seen_by(prediction)
        hopkins = information = math.nan
        if share["foreground"] > 0:
            rng = generator(seen.seed, seen.image, "hopkins statistic")
            hopkins = hopkins_statistic(features, rng, raised=self.raised)
            information = mutual_information(probabilities) / math.log(probabilities.shape[1])
        uniformity, explained = 0.0, math.nan
        if self.uniformity and probabilities.shape[1] > 2:
            weights, explained = recovered_weights(features, probabilities)
            uniformity = classifier_uniformity(weights)
        return {
            "value": hopkins + information,
            "hopkins": hopkins,
            "information": information,
            "uniformity": uniformity,
            "explained": explained,
            **share,
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        clear = median_of_images(bank, with_silence(bank))
        biased = means(bank.column("uniformity"))
        return {model: clear[model] - float(u) for model, u in zip(bank, biased, strict=True)}

    def remarks(self, bank: Bank) -> tuple[str, ...]:
        """Which models have no last layer that is linear in the features."""
        return tuple(
            f"{model}: a linear layer on {self.tap} explains {share:.1%} of its logits, so the "
            "uniformity in its transfer score is that of other weights than its own; name the tap "
            "that feeds its last layer, or leave it out with uniformity=False"
            for model, share in zip(bank, means(bank.column("explained")), strict=True)
            if share < LINEAR
        )


def _entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shannon entropy along the last axis, in nats."""
    # p log p tends to 0 with p: certain predictions add nothing.
    terms = probabilities * np.log(np.where(probabilities > 0, probabilities, 1))
    found: NDArray[np.float64] = -terms.sum(axis=-1)
    return found
