"""How images are scaled before a network sees them, and the steps of the zoo's format for it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LOW, HIGH, EPS = 1.0, 99.8, 1e-6
"""Percentiles and guard of the zoo's step ``scale_range``, over all axes of an image."""

NORMALISATIONS = ("percentile", "minmax", "zscore")
"""Percentiles 1 and 99.8 to 0 and 1; least and greatest to 0 and 1; mean 0 and variance 1."""


def normalised(image: NDArray[Any], how: str = "percentile") -> NDArray[np.float32]:
    """One image, scaled over all its channels and pixels together; not clipped.

    Parameters
    ----------
    image : ndarray, any shape, any real dtype
    how : str
        One of `NORMALISATIONS`.

    Returns
    -------
    ndarray of float32

    Raises
    ------
    ValueError
        If there is no such normalisation.
    """
    if how == "percentile":
        return scale_range(image)
    if how == "minmax":
        return scale_range(image, 0.0, 100.0)
    if how == "zscore":
        image = image.astype(np.float32)
        return ((image - image.mean()) / (image.std() + EPS)).astype(np.float32)
    raise ValueError(f"normalisation '{how}': expected one of {', '.join(NORMALISATIONS)}")


def scale_range(
    image: NDArray[Any], low_percentile: float = LOW, high_percentile: float = HIGH
) -> NDArray[np.float32]:
    """The zoo's ``scale_range`` over all axes of one image: not clipped.

    Parameters
    ----------
    image : ndarray, any shape, any real dtype
    low_percentile, high_percentile : float

    Returns
    -------
    ndarray of float32
        ``(image - low) / (high - low + eps)``, low and high being percentiles of the image.
    """
    image = image.astype(np.float32)
    low, high = np.percentile(image, [low_percentile, high_percentile])
    return ((image - low) / (high - low + EPS)).astype(np.float32)


def step_of(how: str) -> dict[str, Any]:
    """The step of the zoo's format that does the same."""
    axes = ["channel", "y", "x"]
    if how == "zscore":
        return {"id": "zero_mean_unit_variance", "kwargs": {"axes": axes, "eps": EPS}}
    low, high = (LOW, HIGH) if how == "percentile" else (0.0, 100.0)
    bounds = {"min_percentile": low, "max_percentile": high}
    return {"id": "scale_range", "kwargs": {"axes": axes, **bounds, "eps": EPS}}


def told(how: str) -> str:
    """What is done to an image, as a sentence."""
    if how == "zscore":
        return (
            "Input: each image is shifted and scaled to mean 0 and variance 1, over all channels "
            "and pixels."
        )
    low, high = (LOW, HIGH) if how == "percentile" else (0.0, 100.0)
    return (
        f"Input: each image is scaled so that its percentiles {low:g} and {high:g} become 0 and 1, "
        "over all channels and pixels, and not clipped."
    )
