"""What a trained network says of one image, beside the truth; and the scores of many images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from targets import CHANNELS
from unet import UNet

from onnx_cte.metrics import metric_named
from onnx_cte.postprocessing import decoder_of_config
from onnx_cte.types import Prediction

OBJECT_SCORES = ("map", "f1_50")
"""Performance metrics of objects: mean average precision, and F1 at an IoU of 0.5."""

Counts = tuple[int, int, int]
"""True positive, false positive and false negative pixels."""


def probability(
    network: UNet, image: NDArray[np.float32], *, exclusive: bool = False
) -> NDArray[np.float32]:
    """Probabilities (K, H, W) of the outputs for a normalised (C, H, W) image of any size.

    If `exclusive`, of classes that sum to one. The image is mirrored at its lower and right border
    to the next size the network takes.
    """
    height, width = image.shape[-2:]
    pad = [(0, 0), *((0, -side % network.multiple) for side in (height, width))]
    tensor = torch.from_numpy(np.pad(image, pad, mode="reflect"))[None]
    with torch.inference_mode():
        logits = network(tensor)
        maps = torch.softmax(logits, 1) if exclusive else torch.sigmoid(logits)
        return maps[0, :, :height, :width].numpy()


def count(probabilities: NDArray[np.float32], targets: NDArray[np.bool_]) -> list[Counts]:
    """Right and wrong pixels at P > 0.5, of each of the K channels of two (K, H, W) arrays."""
    return [
        (int((found & truth).sum()), int((found & ~truth).sum()), int((~found & truth).sum()))
        for found, truth in zip(probabilities > 0.5, targets, strict=True)
    ]


def compare_objects(
    probabilities: NDArray[np.float32], instances: NDArray[np.integer], decoder: Mapping[str, Any]
) -> dict[str, float]:
    """The scores `OBJECT_SCORES` of one image, its objects being made by a decoder.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (2, H, W)
        In the order of `CHANNELS`.
    instances : ndarray of integers, shape (H, W)
        The truth; 0 is background.
    decoder : mapping
        As it stands in a description under ``config: decoder:``.
    """
    found = decoder_of_config(decoder).decode(Prediction(probabilities, CHANNELS))
    truth = instances.astype(np.int32)
    return {
        name: metric_named(name, "performance").function(found, truth) for name in OBJECT_SCORES
    }


def f1(true_positive: int, false_positive: int, false_negative: int) -> float:
    """Dice coefficient of two masks; NaN if both are empty."""
    total = 2 * true_positive + false_positive + false_negative
    return 2 * true_positive / total if total else float("nan")


def summarise(scores: Mapping[str, Counts]) -> dict[str, float]:
    """Mean and median of the images' F1, and F1 of all pixels pooled; empty images left out."""
    each = [f1(*counts) for counts in scores.values()]
    pooled = f1(*(int(n) for n in np.sum(list(scores.values()), axis=0)))
    return {
        "mean": round(float(np.nanmean(each)), 4),
        "median": round(float(np.nanmedian(each)), 4),
        "pooled": round(pooled, 4),
    }


def mean_scores(scores: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each score over the images, those where it is undefined left out."""
    return {name: round(float(np.nanmean([s[name] for s in scores])), 4) for name in scores[0]}
