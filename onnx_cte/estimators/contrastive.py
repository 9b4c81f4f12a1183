"""Contrastive robustness: an image's features should stay its own under a little jitter."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.estimators.sampling import MOST_BYTES, check_finite
from onnx_cte.estimators.silence import seen_by
from onnx_cte.estimators.titles import titled
from onnx_cte.estimators.transport import squared_distances
from onnx_cte.estimators.wasserstein import on_sphere
from onnx_cte.features import FeatureMap
from onnx_cte.needs import Needs, View
from onnx_cte.perturbations.jitter import Jitter
from onnx_cte.perturbations.strengths import is_number
from onnx_cte.types import Observation

Distance = Literal["cosine", "l2", "pearson"]
Pooling = Literal["mean", "grid"]
VIEWS = (Jitter(number=0), Jitter(number=1))
# Positions of a grid along each axis, of planes and of volumes.
_SIDE = {2: 8, 3: 4}
# What a piece of evidence holds beside its arrays' numbers: names and headers.
_OVERHEAD = 1 << 12


@dataclass(frozen=True)
class Contrastive:
    """Triplet hinge loss between two jittered views of each image [1]_. Experimental.

    With features q of the first view and k of the second, an image's loss is ``max(0, d(q, k) -
    d(q, k') + margin)``, k' of another image: its own other view should be nearer than another
    image, by the margin. Of a model: the mean over the images; lower is better. Neither labels nor
    predictions are looked at.

    Experimental: [1]_ follows one encoder through its pre-training by it. In the authors' own
    numbers its rank correlation with the Dice coefficient reaches from -0.5 to 0.4 over levels,
    distances and margins, so it is here to be compared with, and not to choose by.

    The other image is the one that lies half the number of images further on, by name, among those
    that are scored: no image is ever its own, whether their number is odd or even (in the released
    code one of an odd number is). A bootstrap draw pairs the images in it anew, and counts each as
    often as it was drawn. Undefined (NaN) of one image. Features that do not depend on the image
    have a loss of the margin.

    Parameters
    ----------
    level : str
        Tap, as ``onnx-cte inspect`` lists them.
    distance : {"cosine", "l2", "pearson"}
        1 - cosine of the angle; mean squared difference; 1 - Pearson's r. The cosine with a vector
        of zeros, and r with a constant one (always, of one channel pooled), counts as 0.
    margin : float, >= 0
    pooling : {"mean", "grid"}
        Of features over space: their mean; or none, at 8 x 8 pixels (4 x 4 x 4 voxels) that are
        spread evenly over the image, for images may differ in size (the released code takes all
        positions, of images of one size). Fewer, where more would not fit into 1 MB an image.

    References
    ----------
    .. [1] Hidy, G., Bakos, B. and Lukács, A. (2024), arXiv:2410.18677.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.Contrastive())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    level: str = "bottleneck"
    distance: Distance = "cosine"
    margin: float = 0.5
    pooling: Pooling = "mean"

    name: ClassVar[str] = "contrastive"
    greater_is_better: ClassVar[bool] = False
    summary: ClassVar[str] = "triplet loss of features under jitter (experimental); lower is better"

    def __post_init__(self) -> None:
        if not isinstance(self.level, str) or not self.level:
            raise OptionError(f"contrastive: level is the name of a tap, not {self.level!r}")
        if self.distance not in get_args(Distance):
            raise unknown_name("distance of features", str(self.distance), get_args(Distance))
        if self.pooling not in get_args(Pooling):
            raise unknown_name("pooling of features", str(self.pooling), get_args(Pooling))
        margin = self.margin
        if not is_number(margin) or not 0 <= margin < math.inf:
            raise OptionError(
                f"contrastive: margin is a finite number of at least 0, not {margin!r}"
            )

    @property
    def title(self) -> str:
        return titled(
            self, "contrastive", distance="{}", pooling="{}", margin="margin {}", level="@{}"
        )

    @property
    def needs(self) -> Needs:
        return Needs(views=tuple(View(jitter, (self.level,)) for jitter in VIEWS))

    @property
    def measures(self) -> str:
        return f"contrastive {self.level} {self.pooling} {[view.name for view in VIEWS]}"

    def measure(self, seen: Observation) -> Evidence:
        query, key = (
            self._pooled(seen.views[jitter.name][self.level]).astype(np.float32) for jitter in VIEWS
        )
        check_finite(seen, self.level, query, key)
        return {"image": seen.image, "query": query, "key": key, **seen_by(seen.reference)}

    def score(self, bank: Bank) -> Mapping[str, float]:
        crossed = bank.derived(
            f"{self.measures} {self.distance}",
            lambda whole: {model: _crossed(whole[model], self.distance) for model in whole},
        )
        counts = bank.counts
        return {model: self._mean(*found, counts) for model, found in crossed.items()}

    def _mean(
        self,
        distances: NDArray[np.float64],
        which: NDArray[np.intp],
        counts: NDArray[np.float64],
    ) -> float:
        """Mean loss of drawn images; NaN if fewer than two different ones are among them."""
        weights = np.bincount(which[which >= 0], counts[which >= 0], minlength=len(distances))
        drawn = np.flatnonzero(weights)
        if len(drawn) < 2:
            return math.nan
        losses = triplet_losses(distances[np.ix_(drawn, drawn)], self.margin)
        return float(losses @ weights[drawn] / weights.sum())

    def _pooled(self, features: FeatureMap) -> NDArray[np.floating]:
        if self.pooling == "mean":
            return features.mean()
        room = (MOST_BYTES - _OVERHEAD) // (8 * features.channels)
        axes = len(features.shape)
        side = max(1, min(_SIDE[axes], int(room ** (1 / axes) + 1e-9)))
        lines = [((np.arange(side) + 0.5) * length / side).astype(int) for length in features.shape]
        grid = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, axes)
        return features.at(grid).ravel()


def triplet_losses(distances: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Loss of each image, from distances of first views (rows) to second views (columns).

    Parameters
    ----------
    distances : ndarray of float, shape (n, n), n >= 2
        Of i's first view to j's second view.
    margin : float

    Returns
    -------
    ndarray of float64, shape (n,)
        The other image of i is ``(i + n // 2) % n``.

    Examples
    --------
    >>> triplet_losses(np.array([[0.0, 1.0], [0.25, 0.5]]), 0.5).tolist()
    [0.0, 0.75]
    """
    count = len(distances)
    own = np.arange(count)
    other = (own + count // 2) % count
    return np.maximum(0.0, distances[own, own] - distances[own, other] + margin)


def feature_distances(
    queries: NDArray[np.floating], keys: NDArray[np.floating], distance: Distance
) -> NDArray[np.float64]:
    """Distance of each row of one matrix (n, d) to each row of another (m, d), shape (n, m)."""
    one, other = queries.astype(np.float64), keys.astype(np.float64)
    if distance == "l2":
        means: NDArray[np.float64] = squared_distances(one, other) / one.shape[1]
        return means
    if distance == "pearson":
        one, other = _centred(one), _centred(other)
    similar: NDArray[np.float64] = on_sphere(one) @ on_sphere(other).T
    return 1 - similar


def _crossed(
    row: Sequence[Evidence | None], distance: Distance
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Distances between different images, by name; and which of them each of the row is, or -1."""
    by_name = {str(seen["image"]): seen for seen in row if seen is not None}
    names = sorted(by_name)
    place = {name: number for number, name in enumerate(names)}
    which = [-1 if seen is None else place[str(seen["image"])] for seen in row]
    if not names:
        return np.empty((0, 0)), np.array(which, np.intp)
    queries = np.stack([by_name[name]["query"] for name in names])
    keys = np.stack([by_name[name]["key"] for name in names])
    return feature_distances(queries, keys, distance), np.array(which, np.intp)


def _centred(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows less their means; what rounding alone leaves of a constant row is 0."""
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    least = 1e-14 * np.abs(vectors).max(axis=1, keepdims=True)
    return np.where(np.abs(centred) > least, centred, 0.0)
