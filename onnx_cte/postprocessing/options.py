"""Check the options of decoders, and bring each to one form, since the repr is the identity."""

import math
from numbers import Integral, Real
from typing import Any, Literal, get_args

from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.types import Decoder, Prediction

Connectivity = Literal["full", "face"]


def settle_whole(decoder: Any, option: str, least: int = 0) -> None:
    """Make an option a plain int; OptionError unless it is a whole number of at least `least`."""
    value = getattr(decoder, option)
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise OptionError(
            f"decoder '{decoder.name}': {option} is {value!r}, expected a whole number of at "
            f"least {least}; write for example {decoder.name},{option}={_usual(decoder, option)}"
        )
    object.__setattr__(decoder, option, int(value))


def settle_number(decoder: Any, option: str, low: float, high: float = math.inf) -> None:
    """Make an option a plain float; OptionError unless it is a finite number in [low, high]."""
    value = getattr(decoder, option)
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        end = f"of at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
        raise OptionError(
            f"decoder '{decoder.name}': {option} is {value!r}, expected a number {end}; "
            f"write for example {decoder.name},{option}={_usual(decoder, option)}"
        )
    object.__setattr__(decoder, option, float(value))


def settle_choice(decoder: Any, option: str, choices: Any) -> None:
    """OptionError, with the nearest choice, unless an option is one of a Literal."""
    value = getattr(decoder, option)
    if value not in get_args(choices):
        raise unknown_name(f"{option} of decoder {decoder.name}", str(value), get_args(choices))


def settle_switch(decoder: Any, option: str) -> None:
    """OptionError unless an option is yes (True) or no (False)."""
    value = getattr(decoder, option)
    if not isinstance(value, bool):
        raise OptionError(
            f"decoder '{decoder.name}': {option} is {value!r}, expected yes or no (True or False); "
            f"write for example {decoder.name},{option}=no"
        )


def _usual(decoder: Any, option: str) -> Any:
    """The default, which the class keeps as an attribute."""
    return getattr(type(decoder), option)


def refused_dimensions(dimensions: int) -> str:
    """Why images of so many dimensions cannot be decoded; empty for planes and volumes."""
    if dimensions in (2, 3):
        return ""
    return f"serves planes (2 dimensions) and volumes (3), not images of {dimensions}"


def check_served(decoder: Decoder, prediction: Prediction) -> None:
    """OptionError if a decoder cannot serve the channels of a prediction."""
    if reason := decoder.refuses(prediction.roles, prediction.maps.ndim - 1):
        raise OptionError(
            f"decoder '{decoder.name}' {reason}; the channels are {', '.join(prediction.roles)}"
        )
