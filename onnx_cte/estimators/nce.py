"""Negative conditional entropy of labels given what a model decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError
from onnx_cte.estimators.label_tables import conditional_entropy
from onnx_cte.estimators.leep import LabelledDistributions, class_weights
from onnx_cte.estimators.titles import titled


@dataclass(frozen=True)
class NCE(LabelledDistributions):
    """Negative conditional entropy of labels given the class that a model decides for [1]_.

    As `LEEP`, of hard decisions, on the same pixels, of which the classes of an image weigh alike,
    and the images too; images of fewer than two classes are left out. A model that decides the same
    everywhere has minus the entropy of the labels; one without an image of two classes is
    undefined.

    Parameters
    ----------
    labels : {"truth", "classes"}
        Foreground or background by the labels, or class indices in the labels. Of the model's own
        decisions ("pseudo") the entropy is 0 whatever the model.
    vectors : int, >= 1
        Pixels of each class drawn of an image, or as many as it has.

    References
    ----------
    .. [1] Tran, A. T., Nguyen, C. V. and Hassner, T. (2019), ICCV, arXiv:1908.08142.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.NCE())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    name: ClassVar[str] = "nce"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "conditional entropy of labels given the decision (NCE)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels == "pseudo":
            raise OptionError(
                "NCE: labels='pseudo' are the model's own decisions, given which nothing is left "
                "to know; expected 'truth' or 'classes' (leep takes 'pseudo')"
            )

    @property
    def title(self) -> str:
        return titled(self, "nce", labels="{}", vectors="{} px")

    def score(self, bank: Bank) -> Mapping[str, float]:
        tables = bank.derived(f"nce of {self.measures}", _tables)
        counts = bank.counts
        return {
            model: 0.0 - conditional_entropy(np.tensordot(counts, tables[model], 1).T)
            for model in bank
        }


def _tables(bank: Bank) -> dict[str, NDArray[np.float64]]:
    """Label against decision of each image, shape (images, labels, decisions) a model."""
    return {model: _tables_of(row) for model, row in bank.items()}


def _tables_of(row: Sequence[Evidence | None]) -> NDArray[np.float64]:
    met = [
        (
            np.full(len(seen["labels"]), image),
            seen["labels"],
            seen["decided"],
            class_weights(seen["labels"]),
        )
        for image, seen in enumerate(row)
        if seen is not None
    ]
    if not met:
        return np.zeros((len(row), 0, 0))
    images, labels, decisions, weights = map(np.concatenate, zip(*met, strict=True))
    # Class indices may have gaps.
    known, labels = np.unique(labels, return_inverse=True)
    tables = np.zeros((len(row), len(known), int(decisions.max(initial=0)) + 1))
    np.add.at(tables, (images, labels, decisions), weights)
    return tables
