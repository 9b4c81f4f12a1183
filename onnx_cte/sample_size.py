"""How many images a difference takes: few images claim too much, and many would decide more.

A bootstrap of n images finds deviations that are too small by sqrt((n - 1) / n), and they are
compared with the quantiles of a normal distribution where Student's would be in place. Both hardly
matter for dozens of images, and much for five: a 95 % percentile interval of a mean then holds
83 % of the time. So the percentiles are moved outwards by as much as would make the interval of a
mean that of Student's t, the "expanded percentile interval" [1]_.

References
----------
.. [1] Hesterberg, What teachers should know about the bootstrap, The American Statistician 69
   (2015), 371-386.
"""

import math

import scipy  # its parts are imported when first used: slow, and only scoring needs them

TAIL = 0.025
"""Chance, on either side, that a 95 % interval leaves out."""

ROUNDING = 1e-6
"""Standard errors that are no difference."""


def critical_contrast(images: int) -> float:
    """By how many bootstrap standard errors a value must differ from 0 to be told from it.

    Parameters
    ----------
    images : int
        What is drawn, at least 2.

    Returns
    -------
    float
        sqrt(n / (n - 1)) times the 97.5th percentile of Student's t with n - 1 degrees of freedom;
        falls with n, towards 1.96.

    Raises
    ------
    ValueError
        If there are fewer than 2 images.

    Examples
    --------
    >>> [round(critical_contrast(n), 2) for n in (5, 12, 100)]
    [3.1, 2.3, 1.99]
    """
    if images < 2:
        raise ValueError(f"images: found {images}, expected 2 or more to draw from")
    student = float(scipy.special.stdtrit(images - 1, 1 - TAIL))
    return math.sqrt(images / (images - 1)) * student


def interval_percentiles(images: int) -> tuple[float, float]:
    """Percentiles of bootstrap draws between which a 95 % interval lies.

    Parameters
    ----------
    images : int
        What is drawn, at least 2.

    Returns
    -------
    tuple of (float, float)
        In [0, 100], as far from 0 as from 100; near 2.5 and 97.5 with many images.

    Raises
    ------
    ValueError
        If there are fewer than 2 images.

    Examples
    --------
    >>> [f"{low:.2f} .. {high:.2f}" for low, high in map(interval_percentiles, (5, 12, 100))]
    ['0.10 .. 99.90', '1.08 .. 98.92', '2.31 .. 97.69']
    """
    tail = 100 * float(scipy.special.ndtr(-critical_contrast(images)))
    return tail, 100 - tail


def more_images(contrast: float, images: int) -> int | None:
    """How many more images would tell a difference from 0, if it is what it looks like.

    The standard error falls with the square root of the number of images, and so does, a little,
    how many of them it takes (`critical_contrast`). Where the difference stays as it is, that many
    images reach the limit: about half of all such samples then tell it.

    Parameters
    ----------
    contrast : float
        By how many bootstrap standard errors a value differs from 0 on the images there are; at
        least 0.
    images : int
        How many there are, at least 2.

    Returns
    -------
    int or None
        At least 1; asked of what could not be told although the contrast is large, 1 or little
        more. None if no number of images would do, for there is no difference, or one that is but
        rounding; or if the contrast is undefined or infinite.

    Raises
    ------
    ValueError
        If there are fewer than 2 images.

    Examples
    --------
    At one standard error with 10 images it takes 42: sqrt(42 / 10) = 2.05 standard errors, where
    2.04 are needed. (1.96, which holds for many images, would be reached with 39.)

    >>> more_images(1.0, 10)
    32
    """
    if images < 2:
        raise ValueError(f"images: found {images}, expected 2 or more to draw from")
    if not math.isfinite(contrast) or contrast < ROUNDING:
        return None
    limit = -float(scipy.special.ndtri(TAIL))
    needed = max(images + 1, math.ceil((limit / contrast) ** 2 * images))
    while contrast * math.sqrt(needed / images) < critical_contrast(needed):
        needed += 1
    return needed - images
