"""Networks on volumes: whole z-stacks, true labels in depth, disturbed outside and inside."""

import numpy as np
import pytest
import tifffile
from networks import FLOAT, blur, save
from onnx import helper

from onnx_cte import (
    CTE,
    Accuracy,
    BlackBox,
    Dropout,
    Flip,
    GaussianNoise,
    Image,
    Images,
    open_models,
    rank_each,
)
from onnx_cte.errors import ImageError, OptionError
from onnx_cte.needs import Needs
from onnx_cte.perturbations import parse_perturbation
from onnx_cte.segmenters import OnnxModel

SHAPE = (24, 40, 48)


def balls():
    """Three bright balls, of which two lie one above the other: one object in a projection."""
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    truth = np.zeros(SHAPE, np.int32)
    for label, (cz, cy, cx) in enumerate([(6, 12, 12), (18, 12, 12), (12, 28, 34)], 1):
        truth[(z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= 16] = label
    noise = np.random.default_rng(0).normal(0, 0.02, SHAPE)
    return ((truth > 0) + noise).astype(np.float32), truth


def network(path, width=4):
    """A network on volumes with a skip: half of what it says comes through a coarser scale."""
    rng = np.random.default_rng(1)
    first = np.zeros((width, 1, 3, 3, 3), np.float32)
    first[:, 0, 1, 1, 1] = rng.uniform(0.8, 1.2, width)
    middle = np.zeros((width, width, 1, 1, 1), np.float32)
    middle[np.arange(width), np.arange(width)] = 1
    last = np.full((1, 2 * width, 1, 1, 1), 10 / width, np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], pads=[1] * 6),
        helper.make_node("Relu", ["a"], ["skip"]),
        helper.make_node("MaxPool", ["skip"], ["low"], kernel_shape=[2] * 3, strides=[2] * 3),
        helper.make_node("Conv", ["low", "middle"], ["b"]),
        helper.make_node("Relu", ["b"], ["deep"]),
        helper.make_node("Resize", ["deep", "", "by"], ["up"], mode="nearest"),
        helper.make_node("Concat", ["up", "skip"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "last", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["map"]),
    ]
    shape = ["N", 1, "D", "H", "W"]
    weights = [("first", first), ("middle", middle), ("last", last)]
    weights += [("bias", np.array([-15], np.float32)), ("by", np.array([1, 1, 2, 2, 2], "f4"))]
    return save(path, nodes, [("image", FLOAT, shape)], [("map", FLOAT, shape)], weights)


def opened(path, **options):
    return OnnxModel("net", path, normalize="minmax", **options).open("cpu", 1)


def test_objects_are_told_apart_in_depth(tmp_path):
    pixels, truth = balls()
    net = opened(network(tmp_path / "net.onnx"))
    assert net.description.input.axes == "bczyx"
    image = Image("a", pixels, "zyx", truth=truth)
    seen = net.observe(image, Needs((GaussianNoise(0.05),), truth=True, instances=True), 0)
    assert seen.reference.maps.shape == (1, *SHAPE)
    assert seen.reference.labels.shape == seen.pixels.shape == SHAPE
    assert seen.reference.labels.max() == 3
    assert seen.perturbed["noise=0.05"].labels.shape == SHAPE


def test_channels_of_a_volume(tmp_path):
    pixels, _ = balls()
    net = opened(network(tmp_path / "net.onnx"))
    colour = Image("a", np.stack([pixels] * 3), "czyx")
    assert "luminance" in net.adapts(colour)
    assert net.observe(colour, Needs(instances=True), 0).reference.labels.max() == 3


def test_a_black_box_on_volumes():
    pixels, _ = balls()
    box = BlackBox("box", lambda tensor: tensor.clip(0, 1), dimensions=3, normalize="minmax")
    seen = box.observe(Image("a", pixels, "zyx"), Needs((Flip("z"),), instances=True), 0)
    assert seen.reference.labels.max() == 3
    assert (seen.perturbed["flip=z"].labels > 0).sum() == (seen.reference.labels > 0).sum()
    with pytest.raises(OptionError, match="dimensions is 4, expected 2"):
        BlackBox("box", lambda tensor: tensor, dimensions=4)


def test_tiles_of_a_volume(tmp_path):
    pixels, _ = balls()
    path = network(tmp_path / "net.onnx")
    tall = np.concatenate([pixels] * 8)  # 192 planes
    image, needs = Image("a", tall, "zyx"), Needs((Dropout(0.25),), instances=True)
    one, other = (opened(path, tile_limit=n).observe(image, needs, 0) for n in (1024, 256))
    assert one.reference.labels.max() == 24
    assert (one.reference.labels == other.reference.labels).all()
    perturbed = [seen.perturbed["dropout=0.25"].maps for seen in (one, other)]
    assert np.abs(perturbed[0] - perturbed[1]).max() < 1e-6


def test_planes_and_volumes_do_not_mix(tmp_path):
    pixels, _ = balls()
    deep, flat = opened(network(tmp_path / "net.onnx")), opened(blur(tmp_path / "flat.onnx"))
    with pytest.raises(ImageError, match=r"a plane, the network takes volumes: .*--volumes"):
        deep.observe(Image("a", pixels[0], "yx"), Needs(), 0)
    with pytest.raises(ImageError, match=r"the network takes planes: .*without --volumes"):
        flat.observe(Image("a", pixels, "zyx"), Needs(), 0)


def test_ranked_by_its_objects_and_judged_by_labels(tmp_path):
    pixels, truth = balls()
    for kind, stack in (("images", pixels), ("labels", truth.astype(np.uint16))):
        (tmp_path / kind).mkdir()
        for name in ("a", "b"):
            path = tmp_path / kind / f"{name}.tif"
            tifffile.imwrite(path, stack, metadata={"axes": "ZYX"}, photometric="minisblack")
    network(tmp_path / "models" / "good.onnx")
    network(tmp_path / "models" / "wider.onnx", width=8)
    images = Images(tmp_path / "images", tmp_path / "labels", volumes=True)
    judges = [
        CTE("rand_fscore", (GaussianNoise(0.05),)),
        CTE("rand_fscore", (Dropout(0.25),)),
        CTE("nhd", (parse_perturbation("dropout=0.75,unscaled"),)),
        Accuracy("map"),
    ]
    models = open_models(tmp_path / "models", normalize="minmax")
    noise, dropout, nhd, truly = rank_each(models, images, judges)
    for ranking in (noise, dropout, truly):
        assert {score.objects for score in ranking} == {3}
        assert not ranking.failed
    assert all(score.value > 0.9 for score in noise)
    assert all(0 <= score.value < 1 for score in nhd)
    assert all(score.value == 1 for score in truly)
