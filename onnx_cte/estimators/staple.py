"""STAPLE: truth and the models' sensitivity and specificity, estimated from one another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank
from onnx_cte.errors import unknown_name
from onnx_cte.estimators.packed import Crossing, PackedMasks, cross, median_score, placed

Region = Literal["all", "union"]
LeaveOneOut = Literal["auto", "fit", "vote", "none"]
_FEW = 12  # models, of which fitting anew without each costs little
_START = 0.99999
_CLOSEST = 1e-10  # of a rate to 0 and 1, whose logarithms are taken
_TOLERANCE = 1e-6
_ITERATIONS = 200
_FAR = 600.0  # of log odds: certain, and still far from overflow
# The votes of eight models, by the number that packing makes of them.
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") * 1.0


@dataclass(frozen=True)
class STAPLE(PackedMasks):
    """Dice of a model's foreground with the truth that STAPLE makes of the others' [1]_.

    On each image, expectation maximisation over the pixels estimates each model's sensitivity and
    specificity, from 0.99999 on until none changes by more than 1e-6 (or 200 times), and each
    pixel's probability of being foreground; the prior is the mean share of foreground. The score
    of a model is the soft Dice ``2 sum(W y) / (sum W + sum y)`` of its mask y with the probability
    W; of images, the median. A model that sees nothing where most others see something gets 0
    there, and is undefined where most see nothing either; an image with a single model's evidence
    is left out. The errors of the models are taken to be independent; two others do not determine
    the rates, so that the scores of two or three models say little.

    A bank of similar wrong models wins: models that err together are taken for the best.

    Parameters
    ----------
    leave_one_out : {"auto", "fit", "vote", "none"}
        What a model is compared with. ``fit``: STAPLE of the others, fitted anew without each.
        ``vote``: STAPLE fitted once with all models, and each pixel's probability without the
        model's own vote, which for fifty models is twenty times faster. In simulations the two
        differed by up to 0.1 for three models, where ``fit`` ordered them better, 0.008 for five,
        0.002 for ten and 0.0004 for fifty; so ``auto`` is ``fit`` of up to twelve models on an
        image, and ``vote`` of more. ``none``: probabilities with its own vote.
    region : {"all", "union"}
        Pixels that take part: all, as in [1]_, or those that any model calls foreground, so that
        empty background around the objects changes nothing. With all, wide background makes every
        specificity nearly 1, and few votes then make foreground: of 20 simulated models that err
        in their outlines, the estimate was 1.06 times as large as the true foreground, and 1.35
        times with 24 times the image's area of background around it, while the order of the
        models fell from a tau of 0.95 with the true one to 0.73; with the union it was 0.97 times
        as large and the tau 0.96, whatever the background. But the union leaves out what all take
        for background, so errors in it are no longer independent: the rates of three to five models
        are then often wrong (tau 0.3 to 0.7, 0.8 to 0.9 with all), so it is for larger banks only.

    References
    ----------
    .. [1] Warfield, S., Zou, K. and Wells, W. (2004), Simultaneous truth and performance level
       estimation (STAPLE), IEEE Transactions on Medical Imaging 23(7).

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
    >>> ranking = oc.rank(models, oc.Images.from_arrays(discs), oc.STAPLE())
    >>> [(score.model, round(score.value, 2)) for score in ranking]
    [('above 0.5', 0.2), ('above 0.0', 0.12), ('above 0.9', 0.06)]
    """

    leave_one_out: LeaveOneOut = "auto"
    region: Region = "all"

    name: ClassVar[str] = "staple"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "Dice with STAPLE's estimate of the truth from the other models"

    def __post_init__(self) -> None:
        if self.leave_one_out not in get_args(LeaveOneOut):
            kinds = get_args(LeaveOneOut)
            raise unknown_name("leave_one_out of staple", str(self.leave_one_out), kinds)
        if self.region not in get_args(Region):
            raise unknown_name("region of staple", str(self.region), get_args(Region))

    @property
    def title(self) -> str:
        left = {"auto": "", "none": " with own vote"}
        how = left.get(self.leave_one_out, f" by {self.leave_one_out}")
        return f"staple{how}{' in the union' * (self.region == 'union')}"

    def score(self, bank: Bank) -> Mapping[str, float]:
        return median_score(bank, repr(self), self._values)

    def _values(self, bank: Bank) -> NDArray[np.float64]:
        return placed(bank, cross(bank, lambda crossing: (crossing.rows, self._dice(crossing))))

    def _dice(self, crossing: Crossing) -> NDArray[np.float64]:
        votes, pixels = crossing.patterns()
        counts = pixels.astype(np.float64)
        masks = np.ascontiguousarray(votes.T) > 0
        found = np.full(len(masks), np.nan)
        few = self.leave_one_out == "auto" and len(masks) <= _FEW
        if self.leave_one_out == "fit" or few:
            for model, mask in enumerate(masks):
                fitted = estimate(np.delete(votes, model, axis=1), counts, self.region)
                found[model] = _soft_dice(fitted.truth, mask, counts)
            return found
        fitted = estimate(votes, counts, self.region)
        for model, mask in enumerate(masks):
            truth = fitted.truth if self.leave_one_out == "none" else fitted.without(model, mask)
            found[model] = _soft_dice(truth, mask, counts)
        return found


@dataclass(frozen=True, slots=True)
class Fit:
    """What STAPLE estimates of P patterns of the votes of m models.

    Attributes
    ----------
    sensitivity, specificity : ndarray of float64, shape (m,)
        NaN if no pixel takes part.
    against : ndarray of float64, shape (P,)
        Odds against being foreground; infinite outside the region.
    iterations : int
    """

    sensitivity: NDArray[np.float64]
    specificity: NDArray[np.float64]
    against: NDArray[np.float64]
    iterations: int

    @property
    def truth(self) -> NDArray[np.float64]:
        """Probability of being foreground, shape (P,)."""
        probability: NDArray[np.float64] = 1 / (1 + self.against)
        return probability

    def without(self, model: int, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Probability of being foreground without one model's vote, `mask` (P,); shape (P,)."""
        seen, unseen = _evidence(self.sensitivity[model], self.specificity[model])
        given = np.where(mask, np.exp(seen), np.exp(unseen))
        probability: NDArray[np.float64] = 1 / (1 + self.against * given)
        return probability


def estimate(votes: NDArray[np.uint8], counts: NDArray[np.float64], region: Region = "all") -> Fit:
    """Sensitivity, specificity and truth by expectation maximisation.

    Parameters
    ----------
    votes : ndarray of uint8, shape (P, m)
        0 or 1: patterns of votes, one column a model.
    counts : ndarray of float64, shape (P,)
        Pixels with each pattern.
    region : {"all", "union"}
        As in `STAPLE`.

    Returns
    -------
    Fit
    """
    inside = np.ones(len(votes), bool) if region == "all" else votes.any(axis=1)
    against = np.full(len(votes), np.inf)
    models = votes.shape[1]
    octets = _octets(votes[inside])
    weights = counts[inside]
    pixels = weights.sum()
    if not pixels:
        return Fit(np.full(models, np.nan), np.full(models, np.nan), against, 0)
    sizes = _summed(octets, weights)[:models]
    prior = np.clip(sizes.mean() / pixels, _CLOSEST, 1 - _CLOSEST)
    sensitivity = specificity = np.full(models, _START)
    for iteration in range(1, _ITERATIONS + 1):  # noqa: B007 - told in the result
        odds = _log_odds(octets, prior, sensitivity, specificity)
        background = weights / (1 + np.exp(np.clip(odds, -_FAR, _FAR)))
        empty = background.sum()
        # False positives are counted as such: the difference to all would lose the small ones.
        false = _summed(octets, background)[:models]
        before = sensitivity, specificity
        sensitivity = _rate(sizes - false, pixels - empty, sensitivity)
        specificity = _rate(empty - false, empty, specificity)
        changes = (np.abs(sensitivity - before[0]), np.abs(specificity - before[1]))
        if max(change.max() for change in changes) <= _TOLERANCE:
            break
    odds = _log_odds(octets, prior, sensitivity, specificity)
    against[inside] = np.exp(np.clip(-odds, -_FAR, _FAR))
    return Fit(sensitivity, specificity, against, iteration)


def _octets(votes: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Votes of eight models each as one number, shape (ceil(m / 8), P)."""
    return np.packbits(votes, axis=1, bitorder="little").T.astype(np.intp, order="C")


def _log_odds(
    octets: NDArray[np.intp],
    prior: float,
    sensitivity: NDArray[np.float64],
    specificity: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Of being foreground, for each pattern: the E step, as logarithms, which never underflow."""
    seen, unseen = _evidence(sensitivity, specificity)
    start = float(np.log(prior) - np.log1p(-prior) + unseen.sum())
    weights = np.zeros(8 * len(octets))
    weights[: len(seen)] = seen - unseen
    found = np.full(octets.shape[1], start)
    # The sum over eight models has 256 values: they are looked up.
    for values, codes in zip(weights.reshape(-1, 8) @ _BITS.T, octets, strict=True):
        found += values[codes]
    return found


def _evidence(
    sensitivity: NDArray[np.float64], specificity: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log likelihood ratios of a vote for foreground, and of one for background."""
    return np.log(sensitivity / (1 - specificity)), np.log((1 - sensitivity) / specificity)


def _summed(octets: NDArray[np.intp], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of the patterns in which each model votes foreground, shape (8 ceil(m / 8),)."""
    return np.concatenate([np.bincount(codes, weights, 256) @ _BITS for codes in octets])


def _rate(
    hits: NDArray[np.float64], total: float, before: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of hits, kept off 0 and 1; as before if there is nothing to hit."""
    if total <= 0:
        return before
    return np.clip(hits / total, _CLOSEST, 1 - _CLOSEST)


def _soft_dice(
    truth: NDArray[np.float64], mask: NDArray[np.bool_], counts: NDArray[np.float64]
) -> float:
    """Dice of a mask with probabilities, over patterns; NaN if the mask is empty."""
    size = counts @ mask
    if not size:
        return float("nan")
    weighted = counts * truth
    return float(2 * (weighted @ mask) / (weighted.sum() + size))
