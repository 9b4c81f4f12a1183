"""A bundled network on simulated images: the objects found are those that are there."""

from functools import cache

import numpy as np
import onnxruntime
import pytest

from onnx_cte.bundled import bundled_models
from onnx_cte.postprocessing import Foreground, Watershed
from onnx_cte.simulation import simulate_images
from onnx_cte.types import Prediction


@cache
def predictions():
    """(prediction, labels) of images in good light, by a network for nuclei."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = bundled_models() / "fibro" / "weights.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = []
    for _, image, labels in simulate_images(6, seed=3, hard=0):
        low, high = np.percentile(image, [1, 99.8])
        tensor = ((image - low) / (high - low)).astype(np.float32)
        (logits,) = session.run(None, {"image": tensor[np.newaxis, np.newaxis]})
        found.append((Prediction(1 / (1 + np.exp(-logits[0])), ("foreground",)), labels))
    return found


def matched(decoder):
    """Mean over true objects of the best IoU; share that is met by 0.5; found over true objects."""
    best, count = [], 0
    for prediction, labels in predictions():
        objects = decoder.decode(prediction)
        count += int(objects.max())
        table = np.zeros((labels.max() + 1, objects.max() + 1))
        np.add.at(table, (labels, objects), 1)
        unions = table.sum(axis=1, keepdims=True) + table.sum(axis=0) - table
        best.append((table / unions)[1:, 1:].max(axis=1))
    best = np.concatenate(best)
    return best.mean(), (best > 0.5).mean(), count / len(best)


def test_there_is_something_to_find():
    assert sum(labels.max() for _, labels in predictions()) > 100


def test_the_watershed_finds_the_nuclei():
    mean, share, count = matched(Watershed())
    assert mean > 0.8
    assert share > 0.9
    assert 0.9 < count < 1.05


def test_touching_nuclei_are_told_apart_by_the_watershed_alone():
    mean, share, count = matched(Foreground())
    parted_mean, parted_share, parted_count = matched(Watershed())
    assert parted_mean > mean + 0.1
    assert parted_share > share + 0.1
    assert parted_count > count


@pytest.mark.parametrize("decoder", [Foreground(), Watershed()])
def test_a_still_prediction_keeps_its_objects(decoder):
    rng = np.random.default_rng(0)
    for prediction, _ in predictions():
        moved = prediction.maps + rng.normal(0, 1e-5, prediction.maps.shape).astype(np.float32)
        one = decoder.decode(prediction)
        other = decoder.decode(Prediction(moved, prediction.roles))
        assert (one != other).mean() < 0.002 or one.max() != other.max()
        assert abs(int(one.max()) - int(other.max())) <= 1
