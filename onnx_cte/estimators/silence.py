"""The rule for a model that sees nothing: it must not win by silence.

Consistency and confidence are defined on the foreground a model predicts. A model that predicts
none on an image has no value there, and if such images were only left out, a model blind to all but
the easiest images would be judged on these alone. So an image on which at least half of the *other*
models see foreground counts as the worst value, 0, for a model that sees nothing on it. If most of
the others see nothing either, the image is taken for empty and stays undefined for that model. So
it is for a model whose objects are all so thin that a metric leaves nothing of them to judge.
"""

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError
from onnx_cte.types import Prediction


def seen_by(reference: Prediction, *, instances: bool = False) -> dict[str, float]:
    """How much an undisturbed prediction sees, for the evidence.

    Parameters
    ----------
    reference : Prediction
    instances : bool
        Whether its objects are what is judged. (They may be there for another estimator's sake.)

    Returns
    -------
    dict of str to float
        ``foreground``, the share of pixels that are; and, of objects, ``objects``, their number:
        pixels of no object are then no foreground.
    """
    if not instances or reference.labels is None:
        return {"foreground": float((reference.classes != 0).mean())}
    labels = reference.labels
    dense = not labels.size or labels.max() < labels.size  # as all our decoders number objects
    objects = (
        np.count_nonzero(np.bincount(labels.ravel())[1:])
        if dense
        else len(np.unique(labels[labels != 0]))
    )
    share = np.count_nonzero(labels) / max(1, labels.size)
    return {"foreground": float(share), "objects": float(objects)}


def objects_of(prediction: Prediction, image: str) -> NDArray[np.integer]:
    """Objects that were asked for; ModelError if the model did not give them."""
    if prediction.labels is None:
        raise ModelError(
            f"{image}: objects are needed (Prediction.labels), and the model gave maps alone; it "
            "should refuse needs with instances"
        )
    return prediction.labels


def with_silence(bank: Bank, column: str = "value") -> NDArray[np.float64]:
    """Values of all models on all images, silence counted as 0.

    Parameters
    ----------
    bank : Bank
        Evidence with values (in [0, 1], NaN if undefined) and ``foreground``, the share of pixels
        that the undisturbed prediction calls foreground.
    column : str
        The values' name in the evidence.

    Returns
    -------
    ndarray of float64, shape (models, images)
        NaN where the value is undefined or there is no evidence.

    Examples
    --------
    >>> nan = float("nan")
    >>> seeing, blind = {"value": 0.7, "foreground": 0.2}, {"value": nan, "foreground": 0.0}
    >>> with_silence(Bank({"a": [seeing, seeing], "b": [blind, seeing]}))
    array([[0.7, 0.7],
           [0. , 0.7]])
    """
    return silenced(bank.column(column), bank.column("foreground"))


def silenced(values: NDArray[np.float64], foreground: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `with_silence`, of values and shares of foreground, both (models, images)."""
    judged = ~np.isnan(foreground)
    sees = judged & (foreground > 0)
    others = judged.sum(axis=0) - judged
    others_see = sees.sum(axis=0) - sees
    # Slivers too, of which V^Rand leaves nothing: foreground, and no object to judge.
    blind = judged & np.isnan(values) & (others > 0) & (2 * others_see >= others)
    return np.where(blind, 0.0, values)


def median_of_images(bank: Bank, values: NDArray[np.float64]) -> dict[str, float]:
    """Median over the images of each model, undefined ones left out; NaN if all are undefined."""
    return {model: float(median) for model, median in zip(bank, medians(values), strict=True)}


def medians(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of each row of a matrix over what is defined; NaN if nothing is."""
    # Sorting puts NaN last. (np.nanmedian is twenty times slower on rows this short, and the
    # bootstrap comes here a thousand times.)
    ordered = np.sort(np.hstack([values, np.full((len(values), 1), np.nan)]), axis=1)
    defined = np.count_nonzero(~np.isnan(ordered), axis=1)
    rows = np.arange(len(ordered))
    # Without any defined value both indices fall on a NaN.
    low, high = ordered[rows, np.maximum(defined - 1, 0) // 2], ordered[rows, defined // 2]
    found: NDArray[np.float64] = (low + high) / 2
    return found


def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each row of a matrix over what is defined; NaN if nothing is."""
    defined = ~np.isnan(values)
    counts = defined.sum(axis=1)
    sums = np.where(defined, values, 0).sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(1, counts), np.nan)
