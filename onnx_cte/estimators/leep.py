"""LEEP: how well labels are foretold through what a model says of labelled pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.estimators.sampling import (
    Labels,
    check_labels,
    check_vectors,
    distribution,
    labelled_positions,
)
from onnx_cte.estimators.silence import seen_by
from onnx_cte.estimators.titles import titled
from onnx_cte.needs import Needs
from onnx_cte.types import Observation

_TINY = np.finfo(np.float64).tiny


Sample = tuple[NDArray[np.floating], NDArray[np.integer], NDArray[np.floating]]
"""Distributions (N, C), labels (N,) and weights (N,) of pixels of an image."""


def leep(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    weights: NDArray[np.floating] | None = None,
) -> float:
    """Log expected empirical prediction: mean over samples of log P(label | distribution) [1]_.

    P(y | z) is the share of label y among what is predicted as class z, by probability; a sample
    with the distribution theta then has its label y with sum_z P(y | z) theta(z) (Eqs. 1 and 2).

    Parameters
    ----------
    probabilities : ndarray of float, shape (N, C)
        A distribution over the model's classes, which need not be those of the labels, in each row.
    labels : ndarray of int, shape (N,)
    weights : ndarray of float, shape (N,), optional
        Of the samples, at least 0, any sum: as if samples were there so often. None: all alike.

    Returns
    -------
    float
        At most 0, greater is better; at least minus the entropy of the labels, in nats, that a
        constant prediction has. NaN of no samples, or where a row is all 0.

    Raises
    ------
    ValueError
        If the shapes do not belong together.

    References
    ----------
    .. [1] Nguyen, C. V. et al. (2020), LEEP, ICML, arXiv:2002.12462.

    Examples
    --------
    >>> round(leep(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([0, 1])), 6)
    -0.405465
    """
    given = np.ones(labels.shape) if weights is None else weights
    if probabilities.ndim != 2 or not labels.shape == given.shape == probabilities.shape[:1]:
        raise ValueError(
            f"distributions of shape {probabilities.shape}, labels of shape {labels.shape} and "
            f"weights of shape {given.shape}; expected (N, C) and twice (N,)"
        )
    return Cooccurrence([(probabilities, labels, given)]).score(np.ones(1))


def class_weights(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Weights of pixels of an image, so that its classes weigh alike, and the image 1 together.

    Parameters
    ----------
    labels : ndarray of int, shape (N,)

    Returns
    -------
    ndarray of float64, shape (N,)

    Examples
    --------
    >>> class_weights(np.array([0, 7, 0, 0, 0])).tolist()
    [0.125, 0.5, 0.125, 0.125, 0.125]
    """
    known, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = (1 / (max(1, len(known)) * counts))[places]
    return weights


NOTHING: Sample = (np.empty((0, 1)), np.empty(0, np.intp), np.empty(0))
"""Of an image without evidence."""


class Cooccurrence:
    """Predictions and labels of many images, of which `leep` is taken image by image often.

    Parameters
    ----------
    images : sequence of Sample
        Of each image; N differs and may be 0, C does not.
    """

    def __init__(self, images: Sequence[Sample]) -> None:
        # Zero images, or none with samples: one class of none.
        filled = [sample for sample in images if len(sample[1])] or [NOTHING]
        parts = [np.concatenate(column) for column in zip(*filled, strict=True)]
        weights = parts[2].astype(np.float64)
        distributions = parts[0].astype(np.float64)
        known, labels = np.unique(parts[1], return_inverse=True)
        owners = np.repeat(np.arange(len(images)), [len(y) for _, y, _ in images])
        # What each draw adds up: of image i, the probability that label y has class z.
        self._tables = np.zeros((len(images), len(known), distributions.shape[1]))
        np.add.at(self._tables, (owners, labels), distributions * weights[:, None])
        order = np.argsort(labels, kind="stable")
        self._owners, self._weights = owners[order], weights[order]
        self._distributions = distributions[order]
        self._bounds = np.searchsorted(labels[order], np.arange(len(known) + 1))

    def score(self, counts: NDArray[np.float64]) -> float:
        """LEEP with every image as often as `counts` says, shape (images,); NaN of no samples."""
        weights = counts[self._owners] * self._weights
        total = weights.sum()
        if not total:
            return float("nan")
        joint = np.tensordot(counts, self._tables, 1)
        by_class = joint.sum(axis=0)
        conditional = np.divide(joint, by_class, out=np.zeros_like(joint), where=by_class > 0)
        expected = np.empty(len(weights))
        for row, low, high in zip(conditional, self._bounds[:-1], self._bounds[1:], strict=True):
            expected[low:high] = self._distributions[low:high] @ row
        if ((expected <= 0) & (weights > 0)).any():
            return float("nan")
        # What is not drawn may well be impossible by what is; it weighs nothing.
        return float(weights @ np.log(np.maximum(expected, _TINY)) / total)


@dataclass(frozen=True)
class LabelledDistributions:
    """What LEEP and NCE have in common: what a model says of pixels of each class.

    Parameters
    ----------
    labels : Labels
    vectors : int, >= 1
        Pixels of each class drawn of an image, or as many as it has; fewer where the evidence would
        exceed `MOST_BYTES`.
    """

    labels: Labels = "truth"
    vectors: int = 256

    def __post_init__(self) -> None:
        check_labels(self.labels)
        check_vectors(type(self).__name__, self.vectors)

    @property
    def needs(self) -> Needs:
        return Needs(truth=self.labels != "pseudo")

    @property
    def measures(self) -> str:
        return f"labelled distributions(labels={self.labels!r}, vectors={self.vectors})"

    def measure(self, seen: Observation) -> Evidence:
        """Distributions and labels of drawn pixels.

        Returns
        -------
        dict
            ``labels``, ndarray of int, shape (N,); ``probabilities``, ndarray of float32, shape
            (N, C), background first; ``decided``, ndarray of int, shape (N,), the class decided
            for; and ``foreground``. N is 0 for an image of fewer than two classes.
        """
        prediction = seen.reference
        channels = len(prediction.roles) if prediction.exclusive else 2
        dtype = np.min_scalar_type(channels - 1)
        size = 4 * channels + dtype.itemsize
        positions, found = labelled_positions(seen, self.labels, self.vectors, size)
        return {
            "labels": found,
            "probabilities": distribution(prediction, positions),
            "decided": prediction.classes[tuple(positions.T)].astype(dtype),
            **seen_by(prediction),
        }


@dataclass(frozen=True)
class LEEP(LabelledDistributions):
    """Log expected empirical prediction [1]_: how likely the labels are, given the predictions.

    Needs labels and no features, so it judges black boxes too. Pixels of each class are drawn of
    every image, and those of all images taken together; images of which the labels hold fewer than
    two classes are left out. The classes of an image weigh alike, however few pixels one of them
    has, and so do the images: of scarce objects, a model could else be silent at little cost. On
    two classes it is close to the likelihood of the labels under the model, recalibrated. A model
    that says the same of every pixel has minus the entropy of the labels; one without an image of
    two classes is undefined.

    Parameters
    ----------
    labels : {"truth", "classes", "pseudo"}
        Foreground or background by the labels; class indices in the labels; or, without labels,
        the model's own decision, by which images that it sees nothing on are left out.
    vectors : int, >= 1
        Pixels of each class drawn of an image, or as many as it has.

    References
    ----------
    .. [1] Nguyen, C. V. et al. (2020), LEEP, ICML, arXiv:2002.12462.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.LEEP())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    name: ClassVar[str] = "leep"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "likelihood of labels given the predictions (LEEP)"
    resamples: ClassVar[int] = 200  # each looks at every pixel

    @property
    def title(self) -> str:
        return titled(self, "leep", labels="{}", vectors="{} px")

    def score(self, bank: Bank) -> Mapping[str, float]:
        pooled = bank.derived(f"leep of {self.measures}", _pooled)
        counts = bank.counts
        return {model: pooled[model].score(counts) for model in bank}


def _pooled(bank: Bank) -> dict[str, Cooccurrence]:
    return {model: Cooccurrence([_sample(seen) for seen in row]) for model, row in bank.items()}


def _sample(seen: Evidence | None) -> Sample:
    if seen is None:
        return NOTHING
    return seen["probabilities"], seen["labels"], class_weights(seen["labels"])
