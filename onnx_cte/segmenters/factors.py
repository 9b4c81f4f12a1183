"""Factors for feature maps, checked: a perturbation from outside may return anything."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import OptionError
from onnx_cte.graph.maps import Probe, Tap
from onnx_cte.needs import FeaturePerturbation
from onnx_cte.perturbations import generator


def checked_factor(
    perturbation: FeaturePerturbation,
    tap: Tap,
    shape: tuple[int, ...],
    features: NDArray[np.float32] | None,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Draw a perturbation's factor for a map.

    Parameters
    ----------
    perturbation : FeaturePerturbation
    tap : Tap
        Of the map, for errors.
    shape : tuple of int
        Of the map, channels first: (1, C, *sides).
    features : ndarray of float32 or None
        The map, if the perturbation reads it.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (1, C or 1, *(1s or sides))

    Raises
    ------
    OptionError
        If what it returns does not fit the map, or is not finite.
    """
    factor = np.asarray(perturbation.factor(shape, features, rng))
    fits = factor.ndim == len(shape) and all(
        have in (1, wanted) for have, wanted in zip(factor.shape, shape, strict=True)
    )
    if not fits or factor.dtype.kind not in "bfiu" or not np.isfinite(factor).all():
        what = f"a factor of shape {factor.shape}, {factor.dtype}"
        raise OptionError(
            f"perturbation {perturbation.name} returned {what if not fits else 'values'} that "
            f"{'does not fit' if not fits else 'are no finite numbers for'} the {tap.name} "
            f"'{tap.tensor}'; expected finite numbers that broadcast to {shape}"
        )
    channels = shape[1] if not any(side > 1 for side in factor.shape[2:]) else factor.shape[1]
    wide = np.broadcast_to(factor, (1, channels, *factor.shape[2:]))
    return np.ascontiguousarray(wide, dtype=np.float32)


def map_shape(probe: Probe, tap: Tap) -> tuple[int, ...]:
    """Shape of a map at the probe, channels first; only its channels hold at other sizes."""
    shape = list(probe.values[tap.tensor].shape)
    channels = shape.pop(tap.axis)
    return (shape[0], channels, *shape[1:])


def drowned(probe: Probe, perturbation: FeaturePerturbation, taps: Sequence[Tap]) -> str:
    """Say at which tap nothing would be left: too few channels for the rate; empty if at none."""
    for tap in taps:
        # By chance all of a few may be dropped; only what always is, is meant.
        if not any(_trial(probe, perturbation, tap, seed).any() for seed in range(8)):
            return (
                f"{perturbation.name} drops all {tap.channels} channels of the {tap.name} "
                f"'{tap.tensor}', so that any prediction would be lost; name a wider tap, or "
                "another perturbation"
            )
    return ""


def is_pointwise(probe: Probe, perturbation: FeaturePerturbation, taps: Sequence[Tap]) -> bool:
    """Whether factors differ from position to position."""
    return any(side > 1 for tap in taps for side in _trial(probe, perturbation, tap).shape[2:])


def _trial(
    probe: Probe, perturbation: FeaturePerturbation, tap: Tap, seed: int = 0
) -> NDArray[np.float32]:
    """A factor as it is drawn at the probe's size."""
    shape = map_shape(probe, tap)
    features = np.ones(shape, np.float32) if perturbation.reads_features else None
    rng = generator(seed, perturbation.name, tap.name)
    return checked_factor(perturbation, tap, shape, features, rng)
