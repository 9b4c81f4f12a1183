"""Where numbers lie on an axis."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis between round numbers.

    Attributes
    ----------
    low, high : float
        Its ends; low < high.
    ticks : tuple of float
        Round numbers on it, both ends among them.
    """

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float, width: float = 100.0) -> float:
        """Where a value lies, from 0 to `width`; what lies outside is put at the end.

        Examples
        --------
        >>> scale_of([0.2, 1.0]).at(0.6)
        50.0
        """
        share = (value - self.low) / (self.high - self.low)
        return round(width * min(max(share, 0.0), 1.0), 2)

    def label(self, tick: float) -> str:
        """A tick as text, with as many digits as tell it from its neighbours.

        Examples
        --------
        >>> [scale_of([0.13, 0.2]).label(tick) for tick in scale_of([0.13, 0.2]).ticks]
        ['0.12', '0.14', '0.16', '0.18', '0.20']
        """
        step = self.ticks[1] - self.ticks[0]
        if step < 1e-6 or step >= 1e6:
            largest = max(abs(self.low), abs(self.high))
            return f"{tick:.{max(math.ceil(math.log10(largest / step)) + 2, 2)}g}"
        return f"{tick + 0.0:.{_digits(step)}f}"


def scale_of(values: Iterable[float], most: int = 5) -> Scale:
    """A scale that holds all values; those that are not finite do not count.

    Parameters
    ----------
    values : iterable of float
    most : int, >= 2
        About how many ticks.

    Returns
    -------
    Scale
        From 0 to 1 if there is no value.

    Examples
    --------
    >>> scale_of([0.31, 0.92])
    Scale(low=0.2, high=1.0, ticks=(0.2, 0.4, 0.6, 0.8, 1.0))
    >>> scale_of([0.5]).ticks, scale_of([]).ticks
    ((0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0))
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        # A single value, or equal ones: shares stand on their natural axis, others have some room.
        room = abs(low) / 2 or 1.0
        low, high = (0.0, 1.0) if 0 <= low <= 1 else (low - room, high + room)
    raw = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step for step in _STEPS if step * power >= raw * (1 - 1e-9)) * power
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(float(f"{n * step:.12g}") for n in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def _digits(step: float) -> int:
    digits = 0
    while digits < 6 and not math.isclose(round(step, digits), step, rel_tol=1e-6):
        digits += 1
    return digits
