"""Variance of the predicted probabilities under perturbation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError
from onnx_cte.estimators.cte import CTE, DRAWS
from onnx_cte.estimators.silence import median_of_images, seen_by, with_silence
from onnx_cte.needs import Needs, Perturbation
from onnx_cte.perturbations import is_random
from onnx_cte.types import Observation, Prediction


@dataclass(frozen=True)
class PerturbationVariance:
    """How little the predicted probabilities vary over perturbed predictions [1]_ [2]_.

    Of an image: ``1 - v / (1 - 1 / C)``, with v the variance of the probabilities of the C classes
    over the undisturbed and all perturbed predictions, summed over the classes, averaged over the
    pixels that any of these calls foreground. ``1 - 1 / C`` is the most that v can be, so values
    are in [0, 1]; of a foreground probability p (C = 2) it is ``1 - 4 Var p``. Of a model: the
    median over the images; a model that sees nothing undisturbed where most others see something
    gets 0 there, and is undefined where most see nothing either.

    The papers take the negative variance over draws of dropout; it is scaled here so that silence
    can count as the worst, and the undisturbed prediction takes part, so that one draw suffices.

    Parameters
    ----------
    perturbation : Perturbation
        By default that of `CTE`, whose predictions are then shared. ``Dropout(0.1)`` is that of
        the papers.
    draws : int, >= 1
        How many times it is drawn for each image, if anything in it is random.

    References
    ----------
    .. [1] Gal, Y. and Ghahramani, Z. (2016), Dropout as a Bayesian approximation, arXiv:1506.02142.
    .. [2] Ledda, E., Fumera, G. and Roli, F. (2023), Dropout injection at test time for post hoc
       uncertainty quantification in neural networks, arXiv:2302.02924.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.PerturbationVariance(oc.Dropout(0.1)))
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    perturbation: Perturbation = CTE.perturbations[0]
    draws: int = DRAWS

    name: ClassVar[str] = "variance"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "how little the probabilities vary under perturbation"

    def __post_init__(self) -> None:
        try:
            CTE("nhd", (self.perturbation,), self.draws)
        except OptionError as error:
            raise OptionError(f"variance, perturbed as CTE is: {error}") from None

    @property
    def title(self) -> str:
        times = f" x{self.draws}" if self.draws != DRAWS else ""
        return f"variance {self.perturbation.name}{times}"

    @property
    def needs(self) -> Needs:
        return CTE("nhd", (self.perturbation,), self.draws).needs

    def measure(self, seen: Observation) -> Evidence:
        drawn = [seen.perturbed[p.name] for p in self.needs.perturbations]
        by_draw = {
            column: stillness([seen.reference, one])
            for column, one in zip(self._columns, drawn, strict=False)
        }
        return {
            "value": stillness([seen.reference, *drawn]),
            **seen_by(seen.reference),
            **by_draw,
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_of_images(bank, with_silence(bank))

    def score_by_draw(self, bank: Bank) -> tuple[Mapping[str, float], ...]:
        """Scores had only one draw been made, for each draw; empty if nothing is drawn twice."""
        return tuple(median_of_images(bank, with_silence(bank, name)) for name in self._columns)

    @property
    def _columns(self) -> list[str]:
        """Names, in the evidence, of the value of each draw alone."""
        several = self.draws > 1 and is_random(self.perturbation)
        return [f"draw{number}" for number in range(self.draws)] if several else []


def stillness(predictions: Sequence[Prediction]) -> float:
    """One less the mean variance of predictions over the union of their foregrounds, scaled.

    Parameters
    ----------
    predictions : sequence of Prediction
        Of one image, equal shapes and roles; the first is the undisturbed one.

    Returns
    -------
    float
        In [0, 1], 1 if all are equal; NaN if the first has no foreground.
    """
    masks = [prediction.classes != 0 for prediction in predictions]
    if not masks[0].any():
        return float("nan")
    union = np.logical_or.reduce(masks)
    exclusive = predictions[0].exclusive
    # (T, n) of the foreground, or (T, C, n) of the classes.
    values = np.stack([p.probabilities[..., union] for p in predictions]).astype(np.float64)
    variance: NDArray[np.float64] = values.var(axis=0)
    if exclusive:
        classes = values.shape[1]
        scaled = variance.sum(axis=0) / (1 - 1 / classes) if classes > 1 else variance[0]
    else:
        scaled = 4 * variance
    # Probabilities of a class may exceed 1 by their rounding.
    return float(np.clip(1 - scaled.mean(), 0, 1))
