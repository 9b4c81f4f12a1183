"""Banks of packed masks, for tests of the estimators that cross models."""

import numpy as np

from onnx_cte.bank import Bank
from onnx_cte.estimators.packed import packed_mask
from onnx_cte.types import Observation, Prediction


def seen(mask, image="a"):
    """What is seen of a model that answers with this plane of probabilities, or mask."""
    maps = np.asarray(mask, np.float32)[None]
    return Observation(image, np.zeros(maps.shape[1:]), Prediction(maps, ("foreground",)))


def bank_of(masks):
    """Bank of {model: [mask or None, ...]}."""
    return Bank(
        {
            model: [None if m is None else packed_mask(seen(m, str(i))) for i, m in enumerate(row)]
            for model, row in masks.items()
        }
    )
