"""How like a model's prediction is to those of the others: a soft vote, everybody's alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.estimators.likeness import likeness, packed_regions
from onnx_cte.estimators.packed import few_models
from onnx_cte.estimators.sampling import check_flag
from onnx_cte.estimators.silence import median_of_images, seen_by, silenced
from onnx_cte.estimators.titles import titled
from onnx_cte.needs import Needs
from onnx_cte.types import Observation


@dataclass(frozen=True)
class Vote:
    """Mean likeness of a model's prediction to those of the other models of the bank.

    Of an image, as `onnx_cte.estimators.likeness` has it: Dice of all classes but the background
    together, or F1 of objects at an intersection over union of 0.5. That is the soft counterpart of
    `Consensus`, and of any number of classes, and of objects. Of a model: the median over the
    images; silence counts as for `CTE`. Undefined in a bank of one model.

    A bank of similar wrong models wins: it measures how usual a model is in its bank.

    Parameters
    ----------
    objects : bool
        Whether objects are compared, and not classes.

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
    >>> ranking = oc.rank(models, oc.Images.from_arrays(discs), oc.Vote())
    >>> [(score.model, round(score.value, 2)) for score in ranking]
    [('above 0.5', 0.23), ('above 0.9', 0.15), ('above 0.0', 0.11)]
    """

    objects: bool = False

    name: ClassVar[str] = "vote"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "mean likeness to the other models of the bank, classes or objects"

    def __post_init__(self) -> None:
        check_flag("vote: objects", self.objects)

    @property
    def title(self) -> str:
        return titled(self, self.name, objects="of objects")

    @property
    def needs(self) -> Needs:
        return Needs(instances=self.objects)

    def measure(self, seen: Observation) -> Evidence:
        return {
            **packed_regions(seen, objects=self.objects),
            **seen_by(seen.reference, instances=self.objects),
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_of_images(bank, self._values(bank))

    def agreed_by_image(self, bank: Bank) -> Mapping[str, Sequence[float]]:
        """What `score` has the median of, by model, in the order of the images."""
        return dict(zip(bank, self._values(bank).tolist(), strict=True))

    def _values(self, bank: Bank) -> NDArray[np.float64]:
        """Mean likeness to the others, (models, images)."""
        alike = likeness(bank, objects=self.objects)[bank.indices]
        known = ~np.isnan(alike)
        counts = np.count_nonzero(known, axis=2)
        values = np.where(known, alike, 0).sum(axis=2) / np.maximum(counts, 1)
        foreground = bank.column("foreground")
        values = np.where((counts > 0) & (foreground.T > 0), values, np.nan)
        return silenced(values.T, foreground)

    def remarks(self, bank: Bank) -> tuple[str, ...]:
        """Whether there are enough models for them to say anything of each other."""
        return few_models(bank)
