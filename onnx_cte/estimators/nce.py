"""Negative conditional entropy of labels given what a model decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError
from onnx_cte.estimators.leep import check_vectors, class_weights, labelled_distributions
from onnx_cte.estimators.sampling import Labels, check_labels
from onnx_cte.needs import Needs
from onnx_cte.types import Observation


def negative_conditional_entropy(table: NDArray[np.floating]) -> float:
    """-H(label | decision) of a joint table, in nats [1]_.

    Parameters
    ----------
    table : ndarray of float, shape (labels, decisions)
        How often each label met each decision: counts, or weights of at least 0.

    Returns
    -------
    float
        At most 0, where the decision settles the label; NaN if the table is empty or all 0.

    References
    ----------
    .. [1] Tran, A. T., Nguyen, C. V. and Hassner, T. (2019), ICCV, arXiv:1908.08142.

    Examples
    --------
    >>> round(negative_conditional_entropy(np.array([[1, 1], [1, 1]])), 6)
    -0.693147
    """
    total = table.sum()
    if not total:
        return float("nan")
    labels, decisions = np.nonzero(table)
    met = table[labels, decisions]
    # Adding 0 turns the -0.0 of a sure label into 0.
    return float((met * np.log(met / table.sum(axis=0)[decisions])).sum() / total) + 0.0


@dataclass(frozen=True)
class NCE:
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
    """

    labels: Labels = "truth"
    vectors: int = 256

    name: ClassVar[str] = "nce"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "conditional entropy of labels given the decision (NCE)"

    def __post_init__(self) -> None:
        check_labels(self.labels)
        if self.labels == "pseudo":
            raise OptionError(
                "NCE: labels='pseudo' are the model's own decisions, given which nothing is left "
                "to know; expected 'truth' or 'classes' (leep takes 'pseudo')"
            )
        check_vectors("NCE", self.vectors)

    @property
    def title(self) -> str:
        return "nce" if self.labels == "truth" else f"nce {self.labels}"

    @property
    def needs(self) -> Needs:
        return Needs(truth=True)

    @property
    def measures(self) -> str:
        # As `LEEP` does, with which it shares its evidence.
        return f"labelled distributions(labels={self.labels!r}, vectors={self.vectors})"

    def measure(self, seen: Observation) -> Evidence:
        return labelled_distributions(seen, self.labels, self.vectors)

    def score(self, bank: Bank) -> Mapping[str, float]:
        tables = bank.derived(f"nce of {self.measures}", _tables)
        counts = bank.counts
        return {
            model: negative_conditional_entropy(np.tensordot(counts, tables[model], 1))
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
