"""V^Rand: how far two segmentations into objects group the same pixels (the Rand F-score)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnx_cte.errors import OptionError
from onnx_cte.metrics.contingency import Contingency, aligned, contingency, label_images
from onnx_cte.metrics.tallying import BLOCK

Region = Literal["union", "reference", "all"]
Background = Literal["singletons", "segment"]
BEFORE, AFTER = slice(None, -1), slice(1, None)


@dataclass(frozen=True, slots=True)
class RandScores:
    """The Rand F-score and its two halves, each in [0, 1] with 1 the best, or NaN.

    Attributes
    ----------
    fscore : float
        V^Rand: pairs of pixels together in both, over the weighted mean of those together in the
        perturbed and of those together in the reference image.
    merge : float
        Pairs together in both, of those together in the *perturbed* image: precision. Objects
        that have been merged lower it. NaN if the perturbed image holds no pair.
    split : float
        Pairs together in both, of those together in the *reference*: recall. Objects that have
        been split lower it. NaN if the reference holds no pair.

    scikit-image returns the two under each other's name (scikit-image#6485).
    """

    fscore: float
    merge: float
    split: float


def rand_fscore(
    reference: ArrayLike,
    perturbed: ArrayLike,
    *,
    alpha: float = 0.5,
    pairs: bool = True,
    region: Region = "union",
    border: int = 1,
    background: Background = "singletons",
) -> float:
    """Rand F-score V^Rand of two label images (Eq. 6 of [1]_, after [2]_).

    ``sum_ij p_ij^2 / (alpha * sum_k s_k^2 + (1 - alpha) * sum_k t_k^2)``: t are the shares of
    pixels in each segment of the reference, s in each of the perturbed image, p in each overlap.
    Defaults follow the code of [1]_; its formula as printed is ``pairs=False, border=0``.

    Parameters
    ----------
    reference, perturbed : ndarray of int, equal shapes of one or more axes
        Label images without and with perturbation, 0 is background; labels need not correspond.
    alpha : float in [0, 1]
        Weight of the perturbed image: 1 gives `RandScores.merge`, 0 gives `RandScores.split`.
    pairs : bool
        Count pairs of *different* pixels, as scikit-image does: segments of one pixel then count
        nothing. Without it, each pixel is also paired with itself, as the formula has it.
    region : {"union", "reference", "all"}
        Score the pixels in which either image has an object, or the reference has, or all.
    border : int
        Steps to each side of a boundary between labels of the *reference*, those of background
        included, that are left out: pixels with another label that near, counted along axes.
        Objects up to twice as wide vanish. 0 leaves none out.
    background : {"singletons", "segment"}
        Each background pixel is a segment of its own, so that an object that has vanished is an
        object in pieces; or all background of an image is one segment, as in scikit-image, where
        an only object that vanished is still perfectly grouped.

    Returns
    -------
    float
        In [0, 1]; 1 is the same objects, with whatever labels. NaN if the reference has no object
        (even if the perturbed image has), if no pixel is left to score, or, counting pairs, if
        neither image has a segment of two pixels or more. If only the perturbed image has no
        object, 0 (without `pairs`, a little more: single pixels agree with themselves).
        Symmetric for ``alpha=0.5, border=0`` and a region other than the reference's, but for the
        NaN of an empty reference.

    Raises
    ------
    ValueError
        As `contingency`; or if an option (`OptionError`) is out of range or unknown.

    References
    ----------
    .. [1] Talks, J. and Kreshuk, A. (2025), arXiv:2503.00450.
    .. [2] Arganda-Carreras, I. et al. (2015), doi:10.3389/fnana.2015.00142.

    Examples
    --------
    >>> whole, halves = np.full((1, 4), 9), np.array([[1, 1, 2, 2]])
    >>> rand_fscore(whole, halves, border=0)
    0.5
    >>> round(rand_fscore(whole, halves, border=0, pairs=False), 3)
    0.667
    """
    return rand_scores(
        reference,
        perturbed,
        alpha=alpha,
        pairs=pairs,
        region=region,
        border=border,
        background=background,
    ).fscore


def rand_scores(
    reference: ArrayLike,
    perturbed: ArrayLike,
    *,
    alpha: float = 0.5,
    pairs: bool = True,
    region: Region = "union",
    border: int = 1,
    background: Background = "singletons",
) -> RandScores:
    """V^Rand with its merge and split scores; parameters and cases as in `rand_fscore`.

    Examples
    --------
    >>> rand_scores(np.full((1, 4), 9), np.array([[1, 1, 2, 2]]), border=0)
    RandScores(fscore=0.5, merge=1.0, split=0.3333333333333333)
    """
    reference, perturbed = aligned(*label_images(reference, perturbed))
    inside = interior(reference, border) if border else None
    table = contingency(reference, perturbed, where=inside)
    # Objects may all be too thin for the border, which is not the same as none.
    seen = len(table.reference_ids) > 0 or bool(reference.any())
    return _scores(table, seen, alpha, pairs, region, background)


def rand_scores_of(
    table: Contingency,
    *,
    alpha: float = 0.5,
    pairs: bool = True,
    region: Region = "union",
    background: Background = "singletons",
) -> RandScores:
    """V^Rand of a contingency table, which other metrics may share.

    Parameters
    ----------
    table : Contingency
        Of the reference and the perturbed image. What its ``where`` left out (`interior` for the
        border) is not scored, and objects in that alone are as if they were not.
    alpha, pairs, region, background
        As in `rand_fscore`.

    Returns
    -------
    RandScores
        With NaN where `rand_fscore` has it.

    Raises
    ------
    OptionError
        If an option is out of range or unknown.
    """
    return _scores(table, len(table.reference_ids) > 0, alpha, pairs, region, background)


def interior(labels: NDArray[np.integer], border: int) -> NDArray[np.bool_]:
    """Pixels whose label is that of all pixels within `border` steps along axes.

    Where grey dilation and grey erosion of the labels by a cross, `border` times each, agree.

    Parameters
    ----------
    labels : ndarray of int
        Label image of one or more axes; beyond its edges there is nothing that could differ.
    border : int
        0 or more.

    Returns
    -------
    ndarray of bool, same shape

    Raises
    ------
    OptionError
        If `border` is not a whole number, or negative.

    Examples
    --------
    >>> interior(np.array([1, 1, 1, 2, 2]), 1)
    array([ True,  True, False, False,  True])
    """
    if isinstance(border, bool) or not isinstance(border, int | np.integer) or border < 0:
        raise OptionError(f"border is {border!r}: expected a whole number of pixels, 0 or more")
    if not border or not labels.size:
        return np.ones(labels.shape, bool)
    labels = np.ascontiguousarray(labels)
    same = np.empty(labels.shape, bool)
    # In slabs that stay in the processor's cache, with as much around them as they look at.
    height = max(1, BLOCK * len(labels) // labels.size)
    for begin in range(0, len(labels), height):
        first = max(0, begin - border)
        slab = _alike(labels[first : begin + height + border], border)
        same[begin : begin + height] = slab[begin - first :][:height]
    return same


def _alike(labels: NDArray[np.integer], border: int) -> NDArray[np.bool_]:
    same = np.ones(labels.shape, bool)
    kept = same.reshape(-1)
    for step, equal in _neighbours(labels):
        same &= equal
        kept[step:] &= equal.reshape(-1)[:-step]
    # A step more for all that differ so far: whoever has another label at k steps has, on a
    # shortest way there, a pixel within k - 1 steps that has another label beside it.
    for _ in range(border - 1):
        last = same.copy()
        for axis in range(labels.ndim):
            before, after = ((slice(None),) * axis + (part,) for part in (BEFORE, AFTER))
            same[before] &= last[after]
            same[after] &= last[before]
    return same


def _neighbours(labels: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """For each axis, how far the next pixel is in memory, and where it has the same label."""
    flat, step = labels.reshape(-1), 1
    for axis in reversed(range(labels.ndim)):
        equal = np.empty(labels.shape, bool)
        # In one go through memory, twice as fast as row by row; then what has no next pixel.
        np.equal(flat[step:], flat[:-step], out=equal.reshape(-1)[:-step])
        equal[(slice(None),) * axis + (-1,)] = True
        yield step, equal
        step *= labels.shape[axis]


def _scores(
    table: Contingency, seen: bool, alpha: float, pairs: bool, region: str, background: str
) -> RandScores:
    if not 0 <= alpha <= 1:
        raise OptionError(f"alpha is {alpha!r}: expected a weight from 0 to 1")
    if region not in ("union", "reference", "all"):
        raise OptionError(f"region is {region!r}: expected 'union', 'reference' or 'all'")
    if background not in ("singletons", "segment"):
        raise OptionError(f"background is {background!r}: expected 'singletons' or 'segment'")
    # Pixels of objects on the other's background, and background on background.
    lost, gained, neither = table.reference_alone, table.other_alone, table.neither
    areas = table.other_areas
    if region == "reference":
        areas, gained = areas - gained, np.zeros_like(gained)
    if region != "all":
        neither = 0
    vanished, appeared = int(lost.sum()), int(gained.sum())
    together = _squares(table.overlaps)
    referred, perturbed = _squares(table.reference_areas), _squares(areas)
    if background == "singletons":
        together += vanished + appeared + neither
        referred += appeared + neither
        perturbed += vanished + neither
    else:
        together += _squares(lost) + _squares(gained) + neither**2
        referred += (appeared + neither) ** 2
        perturbed += (vanished + neither) ** 2
    if pairs:
        scored = int(table.overlaps.sum()) + vanished + appeared + neither
        together, referred, perturbed = (
            squares - scored for squares in (together, referred, perturbed)
        )
    if not seen:
        return RandScores(math.nan, math.nan, math.nan)
    return RandScores(
        _share(together, alpha * perturbed + (1 - alpha) * referred),
        _share(together, perturbed),
        _share(together, referred),
    )


def _squares(areas: NDArray[np.int64]) -> int:
    """Sum of squares, exactly: of up to 3e9 pixels it is below 2**63, of more Python counts."""
    if int(areas.sum()) ** 2 < 1 << 63:
        return int(np.dot(areas, areas))
    return sum(area * area for area in areas.tolist())


def _share(part: int, whole: float) -> float:
    return float(part / whole) if whole else math.nan
