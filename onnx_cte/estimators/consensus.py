"""Agreement with the majority of the other models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank
from onnx_cte.estimators.packed import Crossing, PackedMasks, cross, median_score, placed


@dataclass(frozen=True)
class Consensus(PackedMasks):
    """Dice of a model's foreground with the majority vote of the other models.

    The vote of the *others*, or a model would be compared with itself. A pixel on which exactly
    half of the others vote foreground is half foreground: counted as either, it would favour models
    that see too little, or too much. With three models in the bank that is every pixel on which
    the two others differ.

    Of a model: the median over the images. Where a model sees something and the others' majority
    nothing, it gets 0; where it sees nothing and most others something, 0 too; where most others
    see nothing either, the image is undefined for it. An image with a single model's evidence is
    left out, so all scores of a bank of one model are NaN.

    A bank of similar wrong models wins: consensus measures how usual a model is in its bank.

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
    >>> ranking = oc.rank(models, oc.Images.from_arrays(discs), oc.Consensus())
    >>> [(score.model, round(score.value, 2)) for score in ranking]
    [('above 0.5', 0.2), ('above 0.0', 0.12), ('above 0.9', 0.06)]
    """

    name: ClassVar[str] = "consensus"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "Dice with the majority vote of the other models of the bank"

    @property
    def title(self) -> str:
        return self.name

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_score(bank, self.name, _consensus)


def _consensus(bank: Bank) -> NDArray[np.float64]:
    """Dice with the majority of the others, (models, images); NaN where a model sees nothing."""
    return placed(bank, cross(bank, lambda crossing: (crossing.rows, majority_dice(crossing))))


def majority_dice(crossing: Crossing) -> NDArray[np.float64]:
    """Dice of each mask of an image with the majority of the others; a tie is half a pixel.

    Parameters
    ----------
    crossing : Crossing

    Returns
    -------
    ndarray of float64, shape (m,)
        In [0, 1]; NaN for a model without foreground.
    """
    votes = crossing.votes()
    others = len(crossing.words) - 1
    # Twice the majority is (more than half) + (half or more). Where a model votes foreground
    # itself, its own vote has to go.
    more, half = others // 2 + 1, -(-others // 2)
    shared = crossing.among(votes >= more + 1) + crossing.among(votes >= half + 1)
    sizes = crossing.among(votes > 0)
    alone = np.zeros_like(shared)
    for least in (more, half):
        chosen = votes >= least
        alone += np.count_nonzero(chosen) - crossing.among(chosen)
    # In half pixels: 2 |A & B| / (|A| + |B|).
    total = shared + alone + 2 * sizes
    dice = 2 * shared / np.maximum(total, 1)
    return np.where(sizes > 0, dice, np.nan)
