"""How much: a number, or a range from which one number is drawn for each image."""

from numbers import Real

import numpy as np

from onnx_cte.errors import OptionError

Strength = float | tuple[float, float]


def is_number(value: object) -> bool:
    """Whether it is a real number, of Python or of NumPy."""
    return isinstance(value, Real)


def is_range(strength: Strength) -> bool:
    """Whether numbers drawn from it can differ."""
    return isinstance(strength, tuple) and strength[0] < strength[1]


def draw_strength(strength: Strength, rng: np.random.Generator) -> float:
    """One number from a range, uniformly; a plain number draws nothing."""
    return rng.uniform(*strength) if isinstance(strength, tuple) else strength


def strength_text(strength: Strength) -> str:
    """``0.1`` or ``1.1..1.2``, every digit kept: strengths that differ must not share a name."""
    bounds = strength if isinstance(strength, tuple) else (strength,)
    return "..".join(repr(float(bound)) for bound in bounds)


def check_strength(owner: object, strength: Strength, minimum: float = -np.inf) -> None:
    """Raise OptionError unless it is a finite number of at least `minimum`, or a range of such."""
    bounds = strength if isinstance(strength, tuple) else (strength, strength)
    numbers = len(bounds) == 2 and all(map(is_number, bounds))
    if not numbers or not all(np.isfinite(bounds)) or not minimum <= bounds[0] <= bounds[1]:
        least = f", at least {minimum:g}" if np.isfinite(minimum) else ""
        raise OptionError(
            f"{owner!r}: the strength is a finite number{least}, or a range (low, high) of such"
        )
