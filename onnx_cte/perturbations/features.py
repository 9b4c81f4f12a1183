"""Disturb feature maps inside a network, each by a factor.

Every one is a multiplication, so a network with a mask as a further input serves them all. Which
maps are meant is said by `taps`: names as ``onnx-cte inspect`` lists them ("bottleneck",
"encoder/2", "decoder/4", "skip/1") or the groups "skips", "encoder" and "decoder". Whether a
network has such a map is known only when it is opened.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.perturbations.strengths import is_number, strength_text

Law = Literal["fixed", "bernoulli"]
Tensor = NDArray[np.float32]

BOTTLENECK = ("bottleneck",)
# These part the taps from each other, from the flags and from the number of a draw.
_RESERVED = frozenset("+@,#")


@dataclass(frozen=True)
class Dropout:
    """Drop whole channels (spatial dropout) [1]_.

    Which ones depends on the number of channels and on the generator alone: models of the same
    width lose the same channels, whatever the size of their maps. Where the rate comes to all
    channels of a narrow map, all of them are dropped.

    Parameters
    ----------
    rate : float, 0 <= rate < 1
        Share of channels to drop; 0 changes nothing.
    law : {"fixed", "bernoulli"}
        Exactly ``ceil(rate * C)`` of C channels, as in the authors' code; or each by itself with
        probability `rate`.
    rescale : bool
        Multiply the others by ``1 / (1 - rate)``, as in training.
    taps : tuple of str

    References
    ----------
    .. [1] Talks, J. and Kreshuk, A. (2025), arXiv:2503.00450.

    Examples
    --------
    >>> Dropout(0.2, taps="decoder").name
    'dropout=0.2@decoder'
    """

    rate: float = 0.1
    law: Law = "fixed"
    rescale: bool = True
    taps: tuple[str, ...] = BOTTLENECK

    def __post_init__(self) -> None:
        _take_taps(self, "dropout")
        if not is_number(self.rate) or not 0 <= self.rate < 1:
            raise OptionError(
                "dropout: the rate is a number of at least 0 and below 1, the share of channels "
                f"to drop, not {self.rate!r}; write for example dropout=0.1"
            )
        if self.law not in get_args(Law):
            raise unknown_name("law of dropout", self.law, get_args(Law))

    @property
    def name(self) -> str:
        flags = ",bernoulli" * (self.law == "bernoulli") + ",unscaled" * (not self.rescale)
        return f"dropout={strength_text(self.rate)}{flags}{_taps_text(self.taps)}"

    @property
    def random(self) -> bool:
        return self.rate > 0

    @property
    def reads_features(self) -> bool:
        return False

    def factor(
        self, shape: tuple[int, ...], features: Tensor | None, rng: np.random.Generator
    ) -> Tensor:
        channels = shape[1]
        keep = np.ones(channels, dtype=bool)
        if self.law == "fixed":
            # In single precision 0.07 of 100 is 7, in double it is above 7 and would drop 8.
            dropped = math.ceil(np.float32(self.rate) * np.float32(channels))
            keep[rng.permutation(channels)[:dropped]] = False
        elif self.rate > 0:  # a draw may be 0 itself
            keep = rng.random(channels) > self.rate
        gain = 1 / (1 - self.rate) if self.rescale else 1.0
        factor: Tensor = keep * np.float32(gain)
        return factor.reshape(1, channels, *[1] * (len(shape) - 2))


@dataclass(frozen=True)
class FeatureDrop:
    """Blank the positions that a network attends to most [1]_.

    These are where the mean over the channels is above a threshold, drawn from a range in units of
    the largest such mean. A map without any positive mean stays as it is.

    Parameters
    ----------
    low, high : float, 0 <= low <= high <= 1
        The range; at a threshold of 1 nothing is blanked.
    taps : tuple of str

    References
    ----------
    .. [1] Ouali, Y., Hudelot, C. and Tami, M. (2020), arXiv:2003.09005: "F-Drop".

    Examples
    --------
    >>> features = np.array([[[[0.0, 1.0], [0.25, 0.75]]]], np.float32)
    >>> rng = np.random.default_rng(0)
    >>> FeatureDrop(0.5, 0.5).factor(features.shape, features, rng)[0, 0].tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """

    low: float = 0.7
    high: float = 0.9
    taps: tuple[str, ...] = BOTTLENECK

    def __post_init__(self) -> None:
        _take_taps(self, "feature-drop")
        numbers = all(map(is_number, (self.low, self.high)))
        if not numbers or not 0 <= self.low <= self.high <= 1:
            raise OptionError(
                "feature-drop: the threshold is drawn from a range within 0..1, not "
                f"{self.low!r}..{self.high!r}; write for example feature-drop=0.7..0.9"
            )

    @property
    def name(self) -> str:
        return f"feature-drop={strength_text((self.low, self.high))}{_taps_text(self.taps)}"

    @property
    def random(self) -> bool:
        return self.low < self.high

    @property
    def reads_features(self) -> bool:
        return True

    def factor(
        self, shape: tuple[int, ...], features: Tensor | None, rng: np.random.Generator
    ) -> Tensor:
        if features is None:
            raise ValueError(f"'{self.name}' has to see the features of a map, and was given none")
        # Drawn even if the map is blank, so that what is drawn next does not depend on it.
        share = np.float32(rng.uniform(self.low, self.high))
        attention: Tensor = features.mean(axis=1, keepdims=True)
        peak = attention.max()
        if not peak > 0:
            return np.ones_like(attention)
        factor: Tensor = (attention <= share * peak).astype(np.float32)
        return factor


@dataclass(frozen=True)
class FeatureNoise:
    """Multiply every activation by ``1 + u``, u uniform in (-amount, amount) [1]_.

    Parameters
    ----------
    amount : float, >= 0
        0 changes nothing; above 1 some activations change their sign.
    taps : tuple of str

    References
    ----------
    .. [1] Ouali, Y., Hudelot, C. and Tami, M. (2020), arXiv:2003.09005: "F-Noise".

    Examples
    --------
    >>> factor = FeatureNoise(0.3).factor((1, 2, 8, 8), None, np.random.default_rng(0))
    >>> factor.shape, bool((abs(factor - 1) <= 0.3).all())
    ((1, 2, 8, 8), True)
    """

    amount: float = 0.3
    taps: tuple[str, ...] = BOTTLENECK

    def __post_init__(self) -> None:
        _take_taps(self, "feature-noise")
        if not is_number(self.amount) or not 0 <= self.amount < math.inf:
            raise OptionError(
                f"feature-noise: the amount is a finite number of at least 0, not {self.amount!r}; "
                "write for example feature-noise=0.3"
            )

    @property
    def name(self) -> str:
        return f"feature-noise={strength_text(self.amount)}{_taps_text(self.taps)}"

    @property
    def random(self) -> bool:
        return self.amount > 0

    @property
    def reads_features(self) -> bool:
        return False

    def factor(
        self, shape: tuple[int, ...], features: Tensor | None, rng: np.random.Generator
    ) -> Tensor:
        field = rng.random((1, *shape[1:]), dtype=np.float32)
        field -= np.float32(0.5)
        field *= np.float32(2 * self.amount)
        field += np.float32(1)
        return field


def _taps_text(taps: tuple[str, ...]) -> str:
    return "" if taps == BOTTLENECK else f"@{'+'.join(taps)}"


def _take_taps(owner: Dropout | FeatureDrop | FeatureNoise, kind: str) -> None:
    """Turn taps given as a list, or as a single name, into a tuple that its name can carry."""
    given: object = owner.taps
    example = f"write for example {kind}@bottleneck or {kind}@decoder/4+skips"
    if not isinstance(given, Iterable):
        raise OptionError(f"{kind}: taps are names, not {given!r}; {example}")
    taps = (given,) if isinstance(given, str) else tuple(given)
    object.__setattr__(owner, "taps", taps)
    if not taps:
        raise OptionError(f"{kind}: no tap is given to disturb; {example}")
    for tap in taps:
        if not isinstance(tap, str) or not tap:
            raise OptionError(f"{kind}: a tap is a name, not {tap!r}; {example}")
        if _RESERVED.intersection(tap) or any(map(str.isspace, tap)):
            raise OptionError(
                f"{kind}: '{tap}' is no tap: its name has no blank and none of "
                f"{' '.join(sorted(_RESERVED))} in it; {example}, flags before the @"
            )
    if len(set(taps)) < len(taps):
        raise OptionError(f"{kind}: the same tap twice: {', '.join(taps)}; name each once")
