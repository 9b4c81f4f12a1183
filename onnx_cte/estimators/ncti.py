"""NCTI: how near the features are to neural collapse, compared over the models of a bank."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank
from onnx_cte.estimators.labelled_pixels import (
    RANK,
    LabelledPixels,
    Moments,
    PixelTable,
    one_table,
    pixel_tables,
)
from onnx_cte.estimators.sampling import check_integer

DIMENSIONS = 64
SHRINKING = 32  # principal components whose variance decides how much the covariance is shrunk
LEAST = 1e-10  # shrinkage that counts as none
COLLAPSED = 1e-8  # least eigenvalue of the within-class correlation that counts
ALIGNED = 1e-4  # least length of a direction between centres that counts, relative to the longest
EQUAL = 1e-9  # least relative difference of models that is scaled to the full range


@dataclass(frozen=True)
class NCTI(LabelledPixels):
    """Neural collapse transferability index: SELI + NCC - VC, each scaled over the bank [1]_.

    Of a model, after at most `dimensions` principal components and a linear discriminant analysis
    of the pixels of all images together (see `neural_collapse`): how rich the discriminant features
    are (SELI), how surely the nearest class centre is right (NCC), and how much the posteriors
    vary within classes (VC). Each of the three is then scaled to [0, 1] from the lowest to the
    highest of the models; one in which all models agree adds 0 to each. So the index, from -1 to
    2, compares the models of this bank alone; a bootstrap draw is scaled anew.

    NaN for a model alone in its bank, for one whose features do not vary within classes, and where
    the images hold fewer than two classes; such models are left out of the scale.

    Parameters
    ----------
    dimensions : int, >= 1
        Principal components, if there are as many.
    labels, tap, vectors
        As in `LabelledPixels`; by keyword.

    References
    ----------
    .. [1] Wang, Z. et al. (2023), How far pre-trained models are from neural collapse on the target
       dataset informs their transferability, ICCV.

    Examples
    --------
    >>> import onnx_cte as oc
    >>> field = oc.NucleiField((96, 96), nuclei=(3, 5))
    >>> images, labels = zip(*(oc.simulate_nuclei(seed, field) for seed in range(3)), strict=True)
    >>> folder = oc.bundled_models()
    >>> models = oc.open_models([folder / "fibro", folder / "brightfield"])
    >>> target = oc.Images.from_arrays(images, truth=labels)
    >>> ranking = oc.rank(models, target, oc.NCTI())
    >>> [score.model for score in ranking]
    ['fibro', 'brightfield']
    """

    dimensions: int = DIMENSIONS

    name: ClassVar[str] = "ncti"
    greater_is_better: ClassVar[bool] = True
    resamples: ClassVar[int] = 200  # each looks at all pixels again
    summary: ClassVar[str] = "NCTI: nearness of features to neural collapse, scaled over the models"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("NCTI: dimensions, the number of principal components,", self.dimensions)

    @property
    def title(self) -> str:
        return self.told("ncti", dimensions="{}d")

    def remarks(self, bank: Bank) -> tuple[str, ...]:
        """Whether there are enough models to scale over."""
        if len(bank) > 2:
            return ()
        return (
            f"its parts are scaled from the lowest to the highest of the models, of which there "
            f"{'are two' if len(bank) == 2 else 'is one'}; three or more are needed",
        )

    def score(self, bank: Bank) -> Mapping[str, float]:
        tables, counts = pixel_tables(bank, self.measures), bank.counts
        return scaled(
            {
                model: _collapse(tables[model], counts, self.dimensions)
                if model in tables
                else UNDEFINED
                for model in bank
            }
        )


class Collapse(NamedTuple):
    """How near the features of one model are to neural collapse; all NaN if undefined.

    Attributes
    ----------
    seli : float
        Nuclear norm of the centred discriminant features over the square root of their number:
        the higher, the nearer to the simplex-encoded-label interpolation.
    ncc : float
        Mean posterior of a pixel's own class, in [0, 1].
    vc : float
        Logarithm of the sum over classes of the nuclear norm of the posteriors of its pixels, over
        the square root of the number of all: the lower, the less they vary.
    """

    seli: float
    ncc: float
    vc: float


UNDEFINED = Collapse(math.nan, math.nan, math.nan)


def neural_collapse(
    features: NDArray[Any], labels: NDArray[np.integer], *, dimensions: int = DIMENSIONS
) -> Collapse:
    """The three parts of the index of one model, not yet scaled over models.

    Principal components are whitened by the within-class covariance, shrunk towards a multiple of
    the identity by the share ``exp(-v)``, with v the variance of the first 32 components; by none
    if that is less than 1e-10. The posterior of a class is that of Gaussians with this covariance
    and the shares of the classes.

    Parameters
    ----------
    features : ndarray, shape (N, d), any real dtype
    labels : ndarray of int, shape (N,)
    dimensions : int, >= 1

    Returns
    -------
    Collapse
        Undefined if there are fewer than two classes, or nothing varies within them.

    Raises
    ------
    ValueError
        If the shapes do not go together, there is no pixel, or features are not finite.

    Notes
    -----
    As in the published code, but for the divisions by the square root of N, which change nothing
    once scaled over models on the same pixels and make models comparable that miss some images.
    Without shrinkage, the covariance within classes is divided by N, as it is with shrinkage (and
    in recent versions of the library that the published code uses).

    Examples
    --------
    >>> features = np.array([[0, 0], [2, 0], [4, 1], [6, 3]])
    >>> [round(part, 6) for part in neural_collapse(features, np.array([0, 0, 1, 1]))]
    [2.236116, 0.991005, 0.346729]
    """
    return _collapse(one_table(features, labels), np.ones(1), dimensions)


def scaled(found: Mapping[str, Collapse]) -> dict[str, float]:
    """SELI + NCC - VC, each scaled to [0, 1] over the models in which they are defined.

    Parameters
    ----------
    found : mapping of str to Collapse

    Returns
    -------
    dict of str to float
        NaN for models that are undefined, and for one alone.

    Examples
    --------
    >>> scaled({"a": Collapse(2, 0.9, 1), "b": Collapse(1, 0.9, 3), "c": Collapse(1.5, 0.9, 2.5)})
    {'a': 1.0, 'b': -1.0, 'c': -0.25}
    """
    defined = [model for model, parts in found.items() if not math.isnan(parts.seli)]
    if len(defined) < 2:
        return dict.fromkeys(found, math.nan)
    parts = np.array([found[model] for model in defined])
    low, high = parts.min(axis=0), parts.max(axis=0)
    span = high - low
    differ = span > EQUAL * np.abs(parts).max(axis=0)
    places = np.divide(parts - low, span, out=np.zeros_like(parts), where=differ)
    index = dict(zip(defined, (places @ [1, 1, -1]).tolist(), strict=True))
    return {model: index.get(model, math.nan) for model in found}


def _collapse(table: PixelTable, counts: NDArray[np.float64], dimensions: int) -> Collapse:
    moments = table.moments(counts)
    if moments is None or moments.classes < 2:
        return UNDEFINED
    found = _whitening(moments, dimensions)
    if found is None:
        return UNDEFINED
    priors, centres = moments.priors, moments.offsets @ found.components
    project = found.components @ _discriminants(priors[:, None] ** 0.5 * centres, found)
    scatter = project.T @ moments.covariance @ project
    seli = np.sqrt(np.maximum(np.linalg.eigvalsh(scatter), 0)).sum()

    slopes = centres @ found.components.T
    levels = np.log(priors) - np.square(centres).sum(axis=1) / 2
    levels -= slopes @ (moments.mean + moments.shift)
    drawn = np.flatnonzero(counts[table.images])
    logits = np.concatenate([table.features[row] @ slopes.T for row in drawn])
    # Class by class in memory, which is several times faster from here on.
    posteriors = _softmax(np.ascontiguousarray(logits.T) + levels[:, None])
    # A class that is absent here has no centre; no pixel is of it either.
    place = np.cumsum(moments.counts > 0) - 1
    own = place[np.concatenate([table.members[row] for row in drawn])]
    pixels = [len(table.members[row]) for row in drawn]
    weights = np.repeat(counts[table.images[drawn]], pixels)
    ncc = weights @ posteriors[own, np.arange(len(own))] / moments.total
    # Each class by its triangular factor: a Gram matrix would lose half of the digits.
    weighed = np.sqrt(weights) * posteriors
    norms = [
        np.linalg.svd(np.linalg.qr(weighed[:, own == kind].T, mode="r"), compute_uv=False).sum()
        for kind in range(moments.classes)
    ]
    vc = np.log(sum(norms) / math.sqrt(moments.total))
    return Collapse(float(seli), float(ncc), float(vc))


class _Whitening(NamedTuple):
    """Components (d, r) in which the shrunk within-class covariance is the identity.

    In these components the shrunk covariance of the class centres is `scale` times the plain one,
    plus the diagonal matrix of `ridge` (r,).
    """

    components: NDArray[np.float64]
    scale: float
    ridge: NDArray[np.float64]


def _whitening(moments: Moments, dimensions: int) -> _Whitening | None:
    """None if nothing varies within classes."""
    values, vectors = np.linalg.eigh(moments.covariance)
    values, vectors = values[::-1][:dimensions], vectors[:, ::-1][:, :dimensions]
    kept = values > RANK * max(values[0], 0)
    values, basis = values[kept], vectors[:, kept]
    offsets = moments.offsets @ basis
    within = np.diag(values) - (offsets.T * moments.priors) @ offsets
    # What rounding leaves where all variance is between classes.
    collapsed = np.diagonal(within) <= RANK * values
    if collapsed.all():
        return None
    width = len(values)
    variance = values[:SHRINKING].sum() * moments.total / (moments.total - 1)
    share = math.exp(-variance)
    if share > LEAST:
        shrunk = (1 - share) * within + share * np.trace(within) / width * np.eye(width)
        inner, axes = np.linalg.eigh(shrunk)
        unit = np.ones(width)
        enough = inner > RANK * inner[-1]
    else:
        share = 0.0
        within[collapsed] = 0
        within[:, collapsed] = 0
        level = np.diagonal(within)
        unit = np.divide(1, np.sqrt(level), out=np.zeros(width), where=level > 0)
        # Scaled as the within-class correlation, so that one threshold serves all units.
        inner, axes = np.linalg.eigh(within * np.outer(unit, unit))
        enough = inner > COLLAPSED
    components = (basis * unit) @ (axes[:, enough] / np.sqrt(inner[enough]))
    # The covariance of all pixels is shrunk by the same share, so that of the centres is too.
    ridge = share * (values.sum() - np.trace(within)) / width
    return _Whitening(components, 1 - share, ridge / inner[enough])


def _discriminants(spread: NDArray[np.float64], found: _Whitening) -> NDArray[np.float64]:
    """Orthonormal directions (r, q) that part the classes most, of weighted centres (P, r)."""
    most = len(spread) - 1
    if not found.ridge.any():
        _, lengths, axes = np.linalg.svd(spread, full_matrices=False)
        parting: NDArray[np.float64] = axes[:most][lengths[:most] >= ALIGNED * lengths[0]].T
        return parting
    between = found.scale * spread.T @ spread + np.diag(found.ridge)
    directions: NDArray[np.float64] = np.linalg.eigh(between)[1][:, -most:]
    return directions


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over classes, which come first: shape (P, N)."""
    shares: NDArray[np.float64] = np.exp(logits - logits.max(axis=0))
    shares /= shares.sum(axis=0)
    return shares
