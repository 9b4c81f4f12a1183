"""Nuclear norm of the prediction matrix: sure and diverse predictions, without labels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.estimators.sampling import check_vectors, decided_positions, distribution
from onnx_cte.estimators.silence import median_of_images, seen_by, with_silence
from onnx_cte.estimators.titles import titled
from onnx_cte.needs import Needs
from onnx_cte.types import Observation


def nuclear_norm(probabilities: NDArray[np.floating]) -> float:
    """Sum of the singular values of a prediction matrix, over the most it can be [1]_.

    Parameters
    ----------
    probabilities : ndarray of float, shape (N, K)
        A distribution over the classes in each row.

    Returns
    -------
    float
        In [0, 1]; 1 if all are certain and the classes equally frequent. NaN of no rows.

    Raises
    ------
    ValueError
        If it is no matrix.

    References
    ----------
    .. [1] Deng, W., Suh, Y., Gould, S. and Zheng, L. (2023), Confidence and dispersity speak, ICML,
       arXiv:2302.01094.

    Examples
    --------
    >>> nuclear_norm(np.array([[1.0, 0.0], [0.0, 1.0]]))
    1.0
    """
    if probabilities.ndim != 2:
        raise ValueError(f"a prediction matrix is (N, K), not {probabilities.shape}")
    if not probabilities.size:
        return math.nan
    found = np.linalg.svd(probabilities.astype(np.float64), compute_uv=False).sum()
    return min(1.0, float(found / math.sqrt(min(probabilities.shape) * len(probabilities))))


@dataclass(frozen=True)
class NuclearNorm:
    """How sure a model is of its decisions, and how diverse these are [1]_.

    Of an image: the normalised nuclear norm of the predicted distributions at pixels, as many of
    each class that the model decides for as there are, at most `vectors`, so that the background
    does not swamp the rest; of a model: the median over the images, where the paper takes one
    matrix of the whole test set. A network that gives a foreground alone has two classes.

    A model that decides for one class everywhere has a matrix near rank one: no more than the root
    of 1 / K if it is sure. If that class is the background it gets 0 where at least half of the
    other models see something, and is undefined elsewhere (`onnx_cte.estimators.silence`).

    Parameters
    ----------
    vectors : int, >= 1
        Pixels of each class drawn of an image.

    References
    ----------
    .. [1] Deng, W., Suh, Y., Gould, S. and Zheng, L. (2023), Confidence and dispersity speak, ICML,
       arXiv:2302.01094.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.NuclearNorm())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    vectors: int = 1000

    name: ClassVar[str] = "nuclear_norm"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "confidence and diversity of predictions (nuclear norm)"

    def __post_init__(self) -> None:
        check_vectors("NuclearNorm", self.vectors)

    @property
    def title(self) -> str:
        return titled(self, self.name, vectors="{} px")

    @property
    def needs(self) -> Needs:
        return Needs()

    def measure(self, seen: Observation) -> Evidence:
        share = seen_by(seen.reference)
        value = math.nan
        if share["foreground"] > 0:
            positions, _ = decided_positions(seen, self.vectors)
            value = nuclear_norm(distribution(seen.reference, positions))
        return {"value": value, **share}

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_of_images(bank, with_silence(bank))
