"""Agreement with the other models of the bank."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank
from onnx_cte.estimators.packed import PackedMasks, median_score, overlaps_of


@dataclass(frozen=True)
class PairwiseAgreement(PackedMasks):
    """How well a model's foreground agrees with that of each other model [1]_ [2]_.

    Of an image: the mean over the other models of the intersection over union (NHD) of the two
    foregrounds, where both empty is left out. Of a model: the median over the images; a model that
    sees nothing where most others see something gets 0 there, and where most see nothing either
    the image is undefined for it. An image with a single model's evidence is left out, so all
    scores of a bank of one model are NaN.

    A bank of similar wrong models wins: agreement measures how usual a model is in its bank.

    References
    ----------
    .. [1] Madani, O., Pennock, D. and Flake, G. (2004), Co-validation, NIPS 17.
    .. [2] Jiang, Y. et al. (2022), Assessing generalization via disagreement, arXiv:2106.13799.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> models = [
    ...     oc.BlackBox(f"above {level}", lambda x, level=level: (x > level).astype(float))
    ...     for level in (0.0, 0.5, 0.9)
    ... ]
    >>> ranking = oc.rank(models, oc.Images.from_arrays(discs), oc.PairwiseAgreement())
    >>> [(score.model, round(score.value, 2)) for score in ranking]
    [('above 0.5', 0.13), ('above 0.9', 0.09), ('above 0.0', 0.06)]
    """

    name: ClassVar[str] = "agreement"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "mean overlap (NHD) with each other model of the bank"

    @property
    def title(self) -> str:
        return self.name

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_score(bank, self.name, _agreement)


def _agreement(bank: Bank) -> NDArray[np.float64]:
    """Mean overlap with the others, (models, images); NaN where a model sees nothing."""
    found = overlaps_of(bank)
    values = np.full((len(bank), bank.images), np.nan)
    for image, (shared, present) in enumerate(zip(found.shared, found.present, strict=True)):
        sizes = np.diag(shared)
        union = sizes[:, None] + sizes - shared
        counted = (union > 0) & (present[:, None] * present > 0)
        np.fill_diagonal(counted, False)
        similar = np.where(counted, shared / np.where(union > 0, union, 1), 0)
        # A model that sees something shares a union with every other.
        sees = (sizes > 0) & counted.any(axis=1)
        # Sorted, so that the sum does not depend on the order of the models.
        total = np.sort(similar, axis=1).sum(axis=1)
        values[sees, image] = total[sees] / np.count_nonzero(counted, axis=1)[sees]
    return values
