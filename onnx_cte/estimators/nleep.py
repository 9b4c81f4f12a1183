"""NLEEP: LEEP of the groups into which features fall, whatever the model itself predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import unknown_name
from onnx_cte.estimators.labelled_pixels import LabelledPixels
from onnx_cte.estimators.leep import NOTHING, Cooccurrence, class_weights
from onnx_cte.estimators.mixture import Covariance, fitted
from onnx_cte.estimators.sampling import by_name, check_integer
from onnx_cte.perturbations import generator

VARIANCE = 0.8
"""Share of the features' variance that the principal components keep."""

MOST_FITTED = 20_000
"""Vectors that a mixture is fitted to; more are thinned to these, evenly at random."""

# A standard deviation below this share of a channel's size is rounding in float32.
_CONSTANT = 1e-6


@dataclass(frozen=True)
class NLEEP(LabelledPixels):
    """LEEP with the components of a mixture of Gaussians as the predicted classes [1]_.

    Features at labelled pixels of all images are reduced to the principal components that keep
    80 % of their variance, and a mixture of Gaussians is fitted to them; the posteriors of its
    components are then what LEEP takes for a prediction. Images of which the labels hold fewer than
    two classes are left out. Constant features make one component, which has minus the entropy of
    the labels, the least there is; a model without an image of two classes is undefined, one with
    features that are not finite is refused.

    In LEEP the classes of an image weigh alike, and so do the images; in the fit all vectors do.
    The mixture is fitted once, on all images. Bootstrap draws weigh its posteriors anew and do not
    fit it again: the interval leaves the uncertainty of the fit out, and the score of a draw is not
    that of the drawn images alone. The reduced features are scaled so that the first component has
    unit variance, on which the floor of the variances depends and nothing else. Beyond 20,000
    vectors, the mixture is fitted to as many of them, drawn at random from a fixed seed.

    Parameters
    ----------
    components : int, >= 1
        Gaussians for each class there is.
    covariance : {"full", "diagonal"}
        Of the Gaussians.
    labels, tap, vectors
        As in `LabelledPixels`; by keyword.

    References
    ----------
    .. [1] Li, Y. et al. (2021), Ranking neural checkpoints, CVPR, arXiv:2011.11200.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.NLEEP())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    components: int = 5
    covariance: Covariance = "full"

    name: ClassVar[str] = "nleep"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "LEEP of the groups that features fall into (NLEEP)"
    resamples: ClassVar[int] = 200  # each looks at every pixel

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("NLEEP: components, the Gaussians for each class,", self.components)
        if self.covariance not in get_args(Covariance):
            raise unknown_name("covariance", str(self.covariance), get_args(Covariance))

    @property
    def title(self) -> str:
        return self.told("nleep", components="{} components", covariance="{}")

    def score(self, bank: Bank) -> Mapping[str, float]:
        pooled = bank.derived(f"posteriors of {self!r}", self._pooled)
        counts = bank.counts
        return {model: pooled[model].score(counts) for model in bank}

    def _pooled(self, bank: Bank) -> dict[str, Cooccurrence]:
        return {model: self._posteriors(row) for model, row in bank.items()}

    def _posteriors(self, row: Sequence[Evidence | None]) -> Cooccurrence:
        """P(component | features) at the labelled pixels of a model's images."""
        evidence = [(place, seen) for place, seen in by_name(row) if len(seen["labels"])]
        images = [NOTHING] * len(row)
        if not evidence:
            return Cooccurrence(images)
        data = np.concatenate([seen["features"] for _, seen in evidence]).astype(np.float64)
        classes = np.unique(np.concatenate([seen["labels"] for _, seen in evidence]))
        posteriors = self._groups(reduced(data), self.components * len(classes))
        ends = np.cumsum([len(seen["labels"]) for _, seen in evidence])[:-1]
        for (place, seen), part in zip(evidence, np.split(posteriors, ends), strict=True):
            images[place] = part, seen["labels"], class_weights(seen["labels"])
        return Cooccurrence(images)

    def _groups(self, data: NDArray[np.float64], components: int) -> NDArray[np.float64]:
        rng = generator(0, "nleep")
        fit = data
        if len(data) > MOST_FITTED:
            fit = data[np.sort(rng.choice(len(data), MOST_FITTED, replace=False))]
        return fitted(fit, components, rng, self.covariance).posteriors(data)


def reduced(data: NDArray[np.float64], share: float = VARIANCE) -> NDArray[np.float64]:
    """Principal components that keep a share of the variance, the first of unit variance.

    Parameters
    ----------
    data : ndarray of float, shape (N, d), N >= 1
        Finite.
    share : float, in (0, 1)
        So many components are kept that their variance first exceeds this share of all.

    Returns
    -------
    ndarray of float, shape (N, k)
        Centred; a column of zeros if the data are constant, up to rounding in float32.

    Examples
    --------
    >>> data = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0], [6.0, 5.0]])
    >>> abs(reduced(data)[:, 0]).round(3).tolist()
    [1.342, 0.447, 0.447, 1.342]
    """
    if (data.std(axis=0) <= _CONSTANT * np.abs(data).max(axis=0)).all():
        return np.zeros((len(data), 1))
    centred = data - data.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(data))
    variances, axes = variances[::-1].clip(min=0), axes[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(variances), share * variances.sum(), side="right")) + 1
    projected: NDArray[np.float64] = centred @ axes[:, :kept] / np.sqrt(variances[0])
    return projected
