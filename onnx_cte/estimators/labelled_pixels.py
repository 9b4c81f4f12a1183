"""Features at labelled pixels, and their moments: what estimators with labels are made of.

Each image gives feature vectors at as many pixels of each class. What estimators need of them are
sums over pixels, so these are added up once an image: a bootstrap draw weighs them by how often it
holds each image, and looks at no pixel again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.estimators.sampling import (
    TAP,
    Labels,
    check_labels,
    check_tap,
    check_vectors,
    feature_map,
    features_at,
    labelled_positions,
)
from onnx_cte.estimators.silence import seen_by
from onnx_cte.estimators.titles import titled
from onnx_cte.needs import Needs
from onnx_cte.types import Observation

RANK = 1e-12
"""Eigenvalues of a covariance below this share of the largest are 0: features are float32."""

MOST_KEPT = 1 << 20
"""Bytes of the squares of one image that are kept for bootstrap draws."""


@dataclass(frozen=True, kw_only=True)
class LabelledPixels:
    """What estimators of features at labelled pixels have in common: which pixels, which labels.

    Those with equal choices share their evidence.

    Parameters
    ----------
    labels : {"truth", "classes", "pseudo"}
        As in `onnx_cte.estimators.sampling.Labels`. With ``pseudo``, a model is judged on those
        images alone on which it sees foreground and background, by whether its own decision can be
        told from its features: one that is wrong throughout may well be.
    tap : str
        Feature map; by default the last one of the decoder.
    vectors : int, >= 1
        Pixels of each class and image, if it has as many; fewer where the evidence would exceed
        `MOST_BYTES`, which wide maps (more than 500 channels, by default) and many classes do.

    Raises
    ------
    OptionError
        If one of them cannot be used.
    """

    labels: Labels = "truth"
    tap: str = TAP
    vectors: int = 256

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_tap(type(self).__name__, self.tap)
        check_vectors(type(self).__name__, self.vectors)

    @property
    def measures(self) -> str:
        """All that `measure` depends on, as the protocol of estimators has it."""
        return f"labelled pixels(labels={self.labels!r}, tap={self.tap!r}, vectors={self.vectors})"

    def told(self, name: str, **forms: str) -> str:
        """Title of an estimator with further options, as `titled` makes it."""
        return titled(self, name, **forms, labels="{}", vectors="{} px", tap="@{}")

    @property
    def needs(self) -> Needs:
        return Needs(truth=self.labels != "pseudo", taps=(self.tap,))

    def measure(self, seen: Observation) -> Evidence:
        """Features and labels of drawn pixels.

        Returns
        -------
        mapping
            ``image``; ``features``, float32 of shape (N, d); ``labels``, unsigned of shape (N,);
            and what `seen_by` tells. N is 0 where the image has fewer than two classes: without
            foreground there is nothing to separate.

        Raises
        ------
        ModelError
            If the feature map or the labels are missing, or features are not finite.
        """
        width = 4 * feature_map(seen, self.tap).channels
        places, labels = labelled_positions(seen, self.labels, self.vectors, width)
        features = features_at(seen, self.tap, places)
        found = {"image": seen.image, "features": features, "labels": labels}
        return {**found, **seen_by(seen.reference)}

    def judged(
        self,
        bank: Bank,
        judge: "Callable[[Moments | None], float]",
        by_class: bool = False,
    ) -> dict[str, float]:
        """What is made of the moments of each model's pixels on all images, None without any."""
        tables, counts = pixel_tables(bank, self.measures, by_class), bank.counts
        return {
            model: judge(tables[model].moments(counts) if model in tables else None)
            for model in bank
        }


@dataclass(frozen=True)
class Moments:
    """Sums over the pixels of one model, all about one fixed vector.

    Attributes
    ----------
    shift : ndarray of float64, shape (d,)
        What was subtracted from all features, for accuracy: their mean over the whole bank.
    counts : ndarray of float64, shape (K,)
        Pixels of each class; 0 for a class that is absent here.
    sums : ndarray of float64, shape (K, d)
        Of x, by class.
    squares : ndarray of float64, shape (K, d, d) or (1, d, d)
        Of x x^T, by class or over all classes.
    cubes : ndarray of float64, shape (d,)
        Of |x|^2 x.
    fourths : float
        Of |x|^4.
    classes : int
        How many have a pixel here.
    """

    shift: NDArray[np.float64]
    counts: NDArray[np.float64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    cubes: NDArray[np.float64]
    fourths: float

    @property
    def classes(self) -> int:
        return int(np.count_nonzero(self.counts))

    @cached_property
    def total(self) -> float:
        return float(self.counts.sum())

    @cached_property
    def priors(self) -> NDArray[np.float64]:
        """Shares of the classes that are present, shape (P,)."""
        return self.counts[self.counts > 0] / self.total

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean of all pixels, about `shift`, shape (d,)."""
        mean: NDArray[np.float64] = self.sums.sum(axis=0) / self.total
        return mean

    @cached_property
    def offsets(self) -> NDArray[np.float64]:
        """Means of the classes that are present, about the mean of all, shape (P, d)."""
        there = self.counts > 0
        offsets: NDArray[np.float64] = self.sums[there] / self.counts[there, None] - self.mean
        return offsets

    @cached_property
    def covariance(self) -> NDArray[np.float64]:
        """Population covariance of all pixels; 0 in channels that are constant, shape (d, d)."""
        second = self.squares.sum(axis=0) / self.total
        found: NDArray[np.float64] = second - np.outer(self.mean, self.mean)
        variance = np.diagonal(found)
        # What is left of a channel that does not vary is rounding, of float32 features or of the
        # subtraction above. It must not be taken for a tiny variance.
        level = np.finfo(np.float32).eps * (self.mean + self.shift)
        still = variance <= level**2 + RANK * np.diagonal(second)
        found[still] = 0
        found[:, still] = 0
        return found


class PixelTable:
    """All labelled pixels of one model on the images of a whole bank.

    Parameters
    ----------
    features : sequence of ndarray, shape (N_i, d)
        Of each image; at least one in all.
    labels : sequence of ndarray of int, shape (N_i,)
    images : sequence of int
        Their places in the bank.
    by_class : bool
        Whether squares are summed by class.

    Attributes
    ----------
    members : list of ndarray of int, shape (N_i,)
        Class of each pixel: 0 for the least label that occurs, and so on.
    """

    def __init__(
        self,
        features: Sequence[NDArray[Any]],
        labels: Sequence[NDArray[np.integer]],
        images: Sequence[int],
        by_class: bool,
    ) -> None:
        self.features, self.images = list(features), np.array(images, dtype=np.intp)
        kinds = np.unique(np.concatenate(labels))
        self.members = [np.searchsorted(kinds, of_image) for of_image in labels]
        self._groups = len(kinds) if by_class else 1
        pixels = sum(map(len, features))
        self._shift = sum(f.sum(axis=0, dtype=np.float64) for f in features) / pixels
        width, classes = len(self._shift), range(len(kinds))
        self._counts = np.array(
            [np.bincount(m, minlength=len(classes)) for m in self.members], float
        )
        self._sums = np.empty((len(features), len(classes), width))
        self._cubes = np.empty((len(features), width))
        self._fourths = np.empty(len(features))
        # Of wide maps they would take more memory than the pixels: there each draw sums anew.
        kept = 8 * self._groups * width**2 <= MOST_KEPT
        self._squares = np.empty((len(features), self._groups, width, width)) if kept else None
        for row, members in enumerate(self.members):
            x = self._shifted(row)
            for kind in classes:
                self._sums[row, kind] = x[members == kind].sum(axis=0)
            norms = np.einsum("nd,nd->n", x, x)
            self._cubes[row] = norms @ x
            self._fourths[row] = norms @ norms
            if self._squares is not None:
                self._squares[row] = self._squared(row)

    def moments(self, counts: NDArray[np.float64]) -> Moments | None:
        """Moments of a draw that holds each image of the bank so often; None without any pixel."""
        weights = counts[self.images]
        return self._weighed(weights) if weights.any() else None

    def _weighed(self, weights: NDArray[np.float64]) -> Moments:
        if self._squares is not None:
            flat = self._squares.reshape(len(weights), -1)
            squares = (weights @ flat).reshape(self._squares.shape[1:])
        else:
            squares = np.zeros((self._groups, *2 * self._shift.shape))
            for row in map(int, np.flatnonzero(weights)):
                squares += weights[row] * self._squared(row)
        return Moments(
            self._shift,
            weights @ self._counts,
            np.tensordot(weights, self._sums, 1),
            squares,
            weights @ self._cubes,
            float(weights @ self._fourths),
        )

    def _shifted(self, row: int) -> NDArray[np.float64]:
        shifted: NDArray[np.float64] = self.features[row].astype(np.float64) - self._shift
        return shifted

    def _squared(self, row: int) -> NDArray[np.float64]:
        x, members = self._shifted(row), self.members[row]
        parts = [x[members == kind] for kind in range(self._groups)] if self._groups > 1 else [x]
        squared: NDArray[np.float64] = np.array([part.T @ part for part in parts])
        return squared


def pixel_tables(bank: Bank, measures: str, by_class: bool = False) -> Mapping[str, PixelTable]:
    """Of each model that has pixels on any image of the whole bank, its table; made once.

    Parameters
    ----------
    bank : Bank
        Evidence as `LabelledPixels.measure` gives it.
    measures : str
        Of these labelled pixels.
    by_class : bool
        Whether squares are summed by class.
    """

    def make(whole: Bank) -> dict[str, PixelTable]:
        found = {}
        for model, row in whole.items():
            some = [(i, seen) for i, seen in enumerate(row) if seen and len(seen["labels"])]
            if some:
                features = [seen["features"] for _, seen in some]
                labels = [seen["labels"] for _, seen in some]
                found[model] = PixelTable(features, labels, [i for i, _ in some], by_class)
        return found

    return bank.derived(f"{measures}, {'classes' if by_class else 'all'}", make)


def one_table(
    features: NDArray[Any], labels: NDArray[np.integer], by_class: bool = False
) -> PixelTable:
    """The table of one set of pixels: for arrays outside any bank.

    Parameters
    ----------
    features : ndarray, shape (N, d), any real dtype
    labels : ndarray of int, shape (N,)
    by_class : bool
        Whether squares are summed by class.

    Raises
    ------
    ValueError
        If the shapes do not go together, there is no pixel, or features are not finite.
    """
    given, classes = np.asarray(features), np.asarray(labels)
    if given.ndim != 2 or classes.shape != given.shape[:1] or not given.size:
        raise ValueError(
            f"features of shape {given.shape} and labels of shape {classes.shape}; expected "
            "(N, d) and (N,), with N and d of at least 1"
        )
    if not np.isfinite(given).all():
        raise ValueError("features hold NaN or infinity; leave these pixels out")
    return PixelTable([given], [classes], [0], by_class)


def moments_of(
    features: NDArray[Any], labels: NDArray[np.integer], by_class: bool = False
) -> Moments:
    """Moments of one set of pixels; see `one_table`."""
    return one_table(features, labels, by_class)._weighed(np.ones(1))
