"""MaNo: a norm of normalised logits, which says how far predictions are from the borders."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import unknown_name
from onnx_cte.estimators.sampling import check_vectors, decided_positions, distribution
from onnx_cte.estimators.silence import means, median_of_images, seen_by, with_silence
from onnx_cte.estimators.titles import titled
from onnx_cte.needs import Needs
from onnx_cte.types import Observation

NORMALISATIONS = ("auto", "softmax", "taylor")
SURE = 5.0
"""Cross-entropy with the uniform distribution, in nats, above which logits are trusted."""
# Of probabilities: with less, float32 could not tell the other's from 1.
_LEAST = float(np.finfo(np.float32).eps)


def logits_of(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logits that a softmax turns into these probabilities, the least of each row 0.

    Probabilities tell logits up to a constant a row. The softmax does not see it, the Taylor series
    does: it rises where logits are at least 0, so the least likely class gets 0. For a foreground
    alone that is ``|log p - log(1 - p)|`` for the class decided for, and 0 for the other.

    Parameters
    ----------
    probabilities : ndarray of float, shape (N, K)
        Those below 1.2e-7, the precision of float32, are taken for that: logits end at 16.

    Returns
    -------
    ndarray of float64, shape (N, K)

    Examples
    --------
    >>> logits_of(np.array([[0.5, 0.5], [0.2, 0.8]])).round(6).tolist()
    [[0.0, 0.0], [0.0, 1.386294]]
    """
    logs = np.log(np.maximum(probabilities.astype(np.float64), _LEAST))
    found: NDArray[np.float64] = logs - logs.min(axis=1, keepdims=True)
    return found


def uniform_cross_entropy(logits: NDArray[np.floating]) -> float:
    """Mean cross-entropy of a uniform target with the softmax of logits (Phi of [1]_).

    Parameters
    ----------
    logits : ndarray of float, shape (N, K)

    Returns
    -------
    float
        At least log K, in nats, where nothing is certain. NaN of no rows.

    References
    ----------
    .. [1] Xie, R. et al. (2024), MaNo, NeurIPS, arXiv:2405.18979.

    Examples
    --------
    >>> round(uniform_cross_entropy(np.array([[0.0, 0.0]])), 6)
    0.693147
    """
    if not logits.size:
        return math.nan
    high = logits.max(axis=1, keepdims=True)
    log_sum = high + np.log(np.exp(logits - high).sum(axis=1, keepdims=True))
    return float((log_sum - logits).mean())


def mano(
    logits: NDArray[np.floating], *, normalisation: Literal["auto", "softmax", "taylor"] = "auto"
) -> float:
    """Entrywise 4-norm of normalised logits, over the fourth root of their number [1]_.

    Parameters
    ----------
    logits : ndarray of float, shape (N, K)
    normalisation : {"auto", "softmax", "taylor"}
        ``taylor``: ``1 + x + x ** 2 / 2``, over its sum a row. ``auto``: softmax if
        `uniform_cross_entropy` exceeds 5, else Taylor.

    Returns
    -------
    float
        In [0, 1], greater is surer; with K classes no more than the fourth root of 1 / K. NaN of
        no rows.

    Raises
    ------
    OptionError
        Unknown normalisation.

    References
    ----------
    .. [1] Xie, R. et al. (2024), MaNo, NeurIPS, arXiv:2405.18979.

    Examples
    --------
    >>> round(mano(np.array([[2.0, 0.0], [0.0, 1.0]]), normalisation="softmax"), 6)
    0.68737
    """
    if normalisation not in NORMALISATIONS:
        raise unknown_name("normalisation of logits", str(normalisation), NORMALISATIONS)
    if not logits.size:
        return math.nan
    x = logits.astype(np.float64)
    soft = normalisation == "softmax"
    if normalisation == "auto":
        soft = uniform_cross_entropy(x) > SURE
    x = np.exp(x - x.max(axis=1, keepdims=True)) if soft else 1 + x + x**2 / 2
    x /= x.sum(axis=1, keepdims=True)
    return float((x**4).mean() ** 0.25)


@dataclass(frozen=True)
class MaNo:
    """How large a model's logits are, once normalised [1]_: far from its decision borders.

    Of an image: `mano` of the logits at pixels, as many of each class that the model decides for as
    there are, at most `vectors`, so that the background does not swamp the rest; of a model: the
    median over the images, where the paper takes one matrix of the whole test set. Segmenters give
    probabilities: logits are taken back from them, the least likely class at 0 (`logits_of`). The
    normalisation is chosen once a model, by the mean of the criterion over its images. The authors'
    code also subtracts the least entry of each row after the Taylor series, which would turn any
    two classes into 0 and 1, and is left out.

    What is certain of one class everywhere scores like what is certain of many: diversity does not
    count. If that class is the background, a model gets 0 where at least half of the other models
    see something, and is undefined elsewhere (`onnx_cte.estimators.silence`).

    Parameters
    ----------
    normalisation : {"auto", "softmax", "taylor"}
        As in `mano`.
    vectors : int, >= 1
        Pixels of each class drawn of an image.

    References
    ----------
    .. [1] Xie, R. et al. (2024), MaNo, NeurIPS, arXiv:2405.18979.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.MaNo())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    normalisation: Literal["auto", "softmax", "taylor"] = "auto"
    vectors: int = 1000

    name: ClassVar[str] = "mano"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "size of normalised logits (MaNo)"

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise unknown_name("normalisation of logits", str(self.normalisation), NORMALISATIONS)
        check_vectors("MaNo", self.vectors)

    @property
    def title(self) -> str:
        return titled(self, "mano", normalisation="{}", vectors="{} px")

    @property
    def needs(self) -> Needs:
        return Needs()

    def measure(self, seen: Observation) -> Evidence:
        share = seen_by(seen.reference)
        logits = np.empty((0, 1))
        if share["foreground"] > 0:
            positions, _ = decided_positions(seen, self.vectors)
            logits = logits_of(distribution(seen.reference, positions))
        return {
            # For tables; by the criterion of this image alone, where it is to decide.
            "value": mano(logits, normalisation=self.normalisation),
            "softmax": mano(logits, normalisation="softmax"),
            "taylor": mano(logits, normalisation="taylor"),
            "criterion": uniform_cross_entropy(logits),
            **share,
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        scores = {
            kind: median_of_images(bank, with_silence(bank, kind)) for kind in ("softmax", "taylor")
        }
        if self.normalisation != "auto":
            return scores[self.normalisation]
        # NaN without any image that it sees something on, and either gives the same then.
        criteria = means(bank.column("criterion"))
        return {
            model: scores["softmax" if criterion > SURE else "taylor"][model]
            for model, criterion in zip(bank, criteria, strict=True)
        }
