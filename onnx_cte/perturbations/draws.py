"""Where random numbers come from, and how a perturbation is drawn more than once.

The seed of a draw is made of names, so to draw again is to bear another name.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import OptionError
from onnx_cte.needs import (
    FeaturePerturbation,
    InputPerturbation,
    Perturbation,
    disturbs_features,
    disturbs_input,
)


def generator(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that depend on names, never on order.

    Parameters
    ----------
    seed : int
    *names : str
        Here the image's and the perturbation's name: whatever the order of images, the batch, the
        worker or the model, the same field is drawn.

    Returns
    -------
    numpy.random.Generator

    Examples
    --------
    >>> generator(0, "a.png", "noise").random() == generator(0, "a.png", "noise").random()
    True
    """
    # Each name's length goes in too, so that ("ab", "c") and ("a", "bc") differ.
    words = [
        word
        for name in names
        for word in (len(name), zlib.crc32(name.encode(errors="surrogatepass")))
    ]
    return np.random.default_rng([seed, *words])


def is_random(perturbation: Perturbation) -> bool:
    """Whether two draws of it can differ; one that does not say (``random``) is taken for random.

    Parameters
    ----------
    perturbation : Perturbation

    Returns
    -------
    bool
    """
    return bool(getattr(perturbation, "random", True))


@dataclass(frozen=True)
class InputRedraw:
    """An input perturbation drawn again: all is as before but the name, and so the seed.

    Parameters
    ----------
    perturbation : InputPerturbation
    number : int, >= 1
        Of the draw; the perturbation itself is draw 0.
    """

    perturbation: InputPerturbation
    number: int

    def __post_init__(self) -> None:
        _check_number(self.perturbation, self.number)

    @property
    def name(self) -> str:
        return f"{self.perturbation.name}#{self.number}"

    @property
    def random(self) -> bool:
        return is_random(self.perturbation)

    def apply(self, tensor: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        return self.perturbation.apply(tensor, rng)

    def restore(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.perturbation.restore(maps)


@dataclass(frozen=True)
class FeatureRedraw:
    """A feature perturbation drawn again: all is as before but the name, and so the seed.

    Parameters
    ----------
    perturbation : FeaturePerturbation
    number : int, >= 1
        Of the draw; the perturbation itself is draw 0.
    """

    perturbation: FeaturePerturbation
    number: int

    def __post_init__(self) -> None:
        _check_number(self.perturbation, self.number)

    @property
    def name(self) -> str:
        return f"{self.perturbation.name}#{self.number}"

    @property
    def random(self) -> bool:
        return is_random(self.perturbation)

    @property
    def taps(self) -> tuple[str, ...]:
        return self.perturbation.taps

    @property
    def reads_features(self) -> bool:
        return self.perturbation.reads_features

    def factor(
        self,
        shape: tuple[int, ...],
        features: NDArray[np.float32] | None,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        return self.perturbation.factor(shape, features, rng)


def redraws(perturbation: Perturbation, draws: int) -> tuple[Perturbation, ...]:
    """A perturbation, and itself drawn again.

    Parameters
    ----------
    perturbation : Perturbation
    draws : int, >= 1
        How many draws in all.

    Returns
    -------
    tuple of Perturbation
        So many, the perturbation itself first; only the perturbation itself if nothing in it is
        random.

    Raises
    ------
    OptionError
        Fewer than one draw.

    Examples
    --------
    >>> from onnx_cte.perturbations import Flip, GaussianNoise
    >>> [drawn.name for drawn in redraws(GaussianNoise(0.1), 3)]
    ['noise=0.1', 'noise=0.1#1', 'noise=0.1#2']
    >>> redraws(Flip("x"), 3)
    (Flip(axis='x'),)
    """
    if not isinstance(draws, int) or draws < 1:
        raise OptionError(f"draws is an integer of at least 1, not {draws!r}")
    if not is_random(perturbation):
        return (perturbation,)
    again: list[Perturbation] = []
    for number in range(1, draws):
        if disturbs_input(perturbation):
            again.append(InputRedraw(perturbation, number))
        elif disturbs_features(perturbation):
            again.append(FeatureRedraw(perturbation, number))
    return (perturbation, *again)


def _check_number(perturbation: Perturbation, number: int) -> None:
    if not isinstance(number, int) or number < 1:
        raise OptionError(
            f"'{perturbation.name}' drawn again: the number is an integer of at least 1, "
            f"not {number!r}; draw 0 is the perturbation itself"
        )
