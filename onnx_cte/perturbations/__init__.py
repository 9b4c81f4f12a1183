"""Disturb the normalised input of a network, or feature maps inside it.

A perturbation is a value: frozen, comparable, with a ``repr`` one can paste back, and a `name` that
`parse_perturbation` reads back. `PERTURBATIONS` is the registry.
"""

from collections.abc import Callable, Mapping
from typing import Any

from onnx_cte.errors import OptionError, unknown_name
from onnx_cte.needs import Perturbation
from onnx_cte.perturbations.draws import FeatureRedraw, InputRedraw, generator, is_random, redraws
from onnx_cte.perturbations.features import Dropout, FeatureDrop, FeatureNoise
from onnx_cte.perturbations.inputs import (
    Brightness,
    Contrast,
    Flip,
    Gamma,
    GaussianNoise,
    Rotation,
    Tensor,
)
from onnx_cte.perturbations.strengths import Strength

__all__ = [
    "AUTO",
    "FLAGS",
    "PERTURBATIONS",
    "Brightness",
    "Contrast",
    "Dropout",
    "FeatureDrop",
    "FeatureNoise",
    "FeatureRedraw",
    "Flip",
    "Gamma",
    "GaussianNoise",
    "InputRedraw",
    "Rotation",
    "Strength",
    "Tensor",
    "generator",
    "is_random",
    "parse_perturbation",
    "redraws",
]

AUTO = "auto"
"""Where a perturbation is named on the command line: let a sweep choose one."""

PERTURBATIONS: dict[str, Callable[..., Perturbation]] = {
    "brightness": Brightness,
    "contrast": Contrast,
    "dropout": Dropout,
    "feature-drop": FeatureDrop,
    "feature-noise": FeatureNoise,
    "flip": Flip,
    "gamma": Gamma,
    "noise": GaussianNoise,
    "rotation": Rotation,
}
FLAGS: dict[str, Mapping[str, Mapping[str, Any]]] = {
    "dropout": {"bernoulli": {"law": "bernoulli"}, "unscaled": {"rescale": False}},
}
"""What may follow the value, by perturbation, and what it sets."""


def parse_perturbation(text: str) -> Perturbation:
    """A perturbation from ``NAME[=VALUE][,FLAG...][@TAP[+TAP...]]``.

    Parameters
    ----------
    text : str
        ``noise=0.1``, ``gamma=1.1..1.2``, ``flip=x``, ``rotation=90``, ``dropout=0.1``,
        ``dropout=0.1,bernoulli,unscaled@decoder/4+skips``, ``feature-drop=0.7..0.9``; the name
        alone takes the default strength. Only feature perturbations take taps.

    Returns
    -------
    Perturbation
        Its ``name`` is such a text again.

    Raises
    ------
    OptionError
        Unknown name (with a suggestion), ``auto``, which is no perturbation but the choice of one,
        or a value, flag or tap that the perturbation cannot take.

    Examples
    --------
    >>> parse_perturbation("gamma=1.1..1.2")
    Gamma(exponent=(1.1, 1.2))
    >>> parse_perturbation("dropout=0.2,unscaled@skips")
    Dropout(rate=0.2, law='fixed', rescale=False, taps=('skips',))
    """
    head, at, taps = text.partition("@")
    assigned, *flags = head.split(",")
    name, equals, value = assigned.partition("=")
    if name == AUTO:
        raise OptionError(
            f"'{text}' is no perturbation but the choice of one, which takes models and images: "
            "write it alone, as --perturb auto, to rank or evaluate on the command line; in "
            "Python, onnx_cte.sweep(models, images).estimator is what to rank with"
        )
    if name not in PERTURBATIONS:
        raise unknown_name("perturbation", name, PERTURBATIONS)
    make = PERTURBATIONS[name]
    options = _flagged(text, name, assigned, flags)
    if at:
        if hasattr(make, "apply"):
            raise OptionError(
                f"perturbation '{text}': {name} disturbs the input of a network and takes no tap; "
                f"write {head}, or disturb features, as dropout=0.1@{taps or 'bottleneck'}"
            )
        options["taps"] = tuple(taps.split("+")) if taps else ()
    return make(*_values(text, name, value), **options) if equals else make(**options)


def _flagged(text: str, name: str, assigned: str, flags: list[str]) -> dict[str, Any]:
    """Options that flags set."""
    known = FLAGS.get(name, {})
    options: dict[str, Any] = {}
    for flag in flags:
        if flag.isdigit():
            raise OptionError(
                f"perturbation '{text}': numbers are written with a point; write {assigned}.{flag}"
            )
        if not known:
            raise OptionError(
                f"perturbation '{text}': nothing can follow the value of {name} after a comma; "
                f"write {assigned}"
            )
        if flag not in known:
            raise unknown_name(f"flag of {name}", flag, known)
        if flags.count(flag) > 1:
            raise OptionError(f"perturbation '{text}': '{flag}' is there twice; write it once")
        options.update(known[flag])
    return options


def _values(text: str, name: str, value: str) -> tuple[Any, ...]:
    """What the text after the equals sign means to a perturbation's class."""
    if name == "flip":
        return (value,)
    low, dots, high = value.partition("..")
    try:
        if name == "rotation":
            return (int(value),)
        if name == "feature-drop":
            return float(low), float(high)
        if name in ("dropout", "feature-noise"):
            return (float(value),)
        return ((float(low), float(high)) if dots else float(low),)
    except ValueError:
        wanted = "a range" if name == "feature-drop" else "a number"
        raise OptionError(
            f"perturbation '{text}': cannot read '{value}' as {wanted}; "
            f"write for example {PERTURBATIONS[name]().name}"
        ) from None
