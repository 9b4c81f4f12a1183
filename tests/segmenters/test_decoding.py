"""Which decoder a model gets, and that its objects are those of the whole image."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from networks import FLOAT, blur, classes, save
from onnx import helper
from packages import FORMAT_05, package

from onnx_cte.descriptor import ModelDescription, Size, TensorSpec
from onnx_cte.descriptor.package import read_package
from onnx_cte.errors import InferenceError, OptionError
from onnx_cte.metrics.rand import rand_fscore
from onnx_cte.needs import Needs
from onnx_cte.perturbations import Dropout, Flip, GaussianNoise, Rotation
from onnx_cte.postprocessing import (
    Boundary,
    Foreground,
    ForegroundBoundary,
    Stars,
    ThreeClass,
    Watershed,
    parse_decoder,
)
from onnx_cte.segmenters import BlackBox, OnnxModel, open_models
from onnx_cte.segmenters.decoding import decoding_of
from onnx_cte.types import Image

PIXELS = np.zeros((48, 64), np.float32)
PIXELS[4:14, 4:14] = 1
PIXELS[4:14, 40:60] = 1
PIXELS[30:44, 20:40] = 1
IMAGE = Image("a", PIXELS, "yx")
OBJECTS = Needs(instances=True)


def channels(path, *gains, last="Sigmoid"):
    """Channel k is the logit ``gain * (image - 0.4)``, or that itself where nothing comes last."""
    kernel = np.array(gains, np.float32).reshape(-1, 1, 1, 1)
    nodes = [helper.make_node("Conv", ["image", "kernel", "bias"], ["f"])]
    nodes += [helper.make_node(last, ["f"], ["map"])] if last else []
    shape = ["N", len(gains), "H", "W"]
    return save(
        path,
        nodes,
        [("image", FLOAT, ["N", 1, "H", "W"])],
        [("map" if last else "f", FLOAT, shape)],
        [("kernel", kernel), ("bias", -0.4 * np.array(gains, np.float32))],
    )


def opened(path, **options):
    (model,) = open_models(path, normalize="none", **options)
    return model.open("cpu", 1)


def test_the_only_channel_gives_components(tmp_path):
    net = opened(blur(tmp_path / "net.onnx", width=1))
    assert net.decoding.decoder == Foreground()
    seen = net.observe(IMAGE, OBJECTS, 0)
    assert seen.reference.labels.max() == 3
    assert seen.reference.labels.shape == PIXELS.shape
    assert net.observe(IMAGE, Needs(), 0).reference.labels is None


def test_what_is_stated_wins(tmp_path):
    path = blur(tmp_path / "net.onnx", width=1)
    net = opened(path, decoder="watershed,min_size=150")
    assert net.decoding.decoder == Watershed(min_size=150)
    assert net.observe(IMAGE, OBJECTS, 0).reference.labels.max() == 2
    net.refuses(OBJECTS)
    assert any("as stated" in note for note in net.notes)
    assert "min_size=150" in net.record["decoder"]
    # Masks are the same whatever the decoder, and evidence on them is kept.
    assert opened(path).identity == net.identity
    assert opened(path).decoded_by != net.decoded_by


def test_decoders_are_told_of_only_where_objects_are_judged(tmp_path):
    net = opened(blur(tmp_path / "net.onnx"))
    assert net.refuses(Needs()) == ""
    assert not any("decoder" in note for note in net.notes)
    assert "decoder" not in net.record
    assert net.refuses(OBJECTS) == ""
    assert any("decoder 'foreground'" in note for note in net.notes)


def test_roles_of_a_bare_file(tmp_path):
    path = channels(tmp_path / "net.onnx", 20, -20)
    net = opened(path, roles=["foreground", "boundary"])
    assert net.decoding.decoder == ForegroundBoundary()
    assert net.observe(IMAGE, OBJECTS, 0).reference.roles == ("foreground", "boundary")
    with pytest.raises(OptionError, match=r"3 roles are stated .*has 2 channels"):
        opened(path, roles=["a", "b", "c"])
    with pytest.raises(OptionError, match=r"both foreground \(1\) and roles"):
        open_models(path, foreground=1, roles=["foreground", "boundary"])


@pytest.mark.parametrize(
    ("roles", "complaint"),
    [
        (("forground", "boundary"), "role 'forground': did you mean 'foreground'"),
        (("foreground", ""), "role number 2 of foreground,  is empty"),
        (("boundary", "boundary"), "role number 2 of boundary, boundary is 'boundary' once more"),
    ],
)
def test_roles_that_cannot_be_meant(tmp_path, roles, complaint):
    with pytest.raises(OptionError, match=complaint):
        opened(channels(tmp_path / "net.onnx", 20, -20), roles=roles)


def test_roles_say_more_than_a_sum(tmp_path):
    path = classes(tmp_path / "net.onnx")
    assert opened(path).description.roles == ("background", "class1", "class2")
    named = opened(path, roles=["nucleus", "cytoplasm", "rest"]).description.roles
    assert named == ("foreground", "cytoplasm", "rest")
    three = opened(path, roles=["background", "inside", "edge"])
    assert three.description.roles == ("background", "foreground", "boundary")
    assert three.decoding.decoder == ThreeClass()


@pytest.mark.parametrize("given", [7, Foreground, object()])
def test_what_is_no_decoder(tmp_path, given):
    with pytest.raises(OptionError, match="is no decoder: expected a text such as"):
        open_models(blur(tmp_path / "net.onnx"), decoder=given)
    with pytest.raises(OptionError, match="is no decoder"):
        BlackBox("box", lambda tensor: tensor, decoder=given)
    assert opened(tmp_path / "net.onnx", decoder={"name": "watershed"}).decoding.decoder == (
        Watershed()
    )


def test_what_a_decoder_from_elsewhere_gives_is_checked():
    class Small:
        name = "small"

        def refuses(self, roles, dimensions):
            return ""

        def decode(self, prediction):
            return np.ones((3, 3), np.int32)

    box = BlackBox("box", lambda tensor: tensor.clip(0, 1), normalize="none", decoder=Small())
    with pytest.raises(InferenceError, match=r"gave int32 of shape \(3, 3\), expected integers"):
        box.observe(IMAGE, OBJECTS, 0)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (["watershed", 5], r"a decoder is \['watershed', 5\], expected a text"),
        ({"name": "watershed", "threshold": 2}, "write --threshold, or in a description"),
        ({"min_size": 5}, "expected a 'name' too"),
    ],
)
def test_nonsense_in_a_description_is_told_where_objects_are_asked_for(tmp_path, entry, complaint):
    def change(content):
        content["config"] = {"decoder": entry}

    path = package(tmp_path / "net", FORMAT_05, change)
    found = read_package(path, None)
    assert found.threshold == 0.5
    decoding = decoding_of(found, None)
    assert decoding.decoder is None
    assert re.search(complaint, decoding.reason)
    assert decoding_of(found, Watershed()).decoder == Watershed()


def test_the_decoder_and_the_threshold_of_a_description(tmp_path):
    def change(content):
        content["config"] = {"decoder": {"name": "watershed", "min_size": 7, "threshold": 0.3}}

    path = package(tmp_path / "net", FORMAT_05, change)
    found = read_package(path, None)
    assert found.threshold == 0.3
    decoding = decoding_of(found, None)
    assert decoding.decoder == Watershed(min_size=7)
    assert "(as described)" in decoding.notes[0]


def test_logits_beside_flows_stay_apart(tmp_path):
    net = opened(channels(tmp_path / "net.onnx", 3, 4, 20, last=""), roles=["dy", "dx", "prob"])
    seen = net.observe(IMAGE, Needs(), 0).reference
    assert seen.roles == ("dy", "dx", "foreground")
    inside, outside = seen.maps[:, 5, 5], seen.maps[:, 20, 5]
    assert np.allclose(inside, [1.8, 2.4, 1 / (1 + np.exp(-12))], atol=1e-6)
    assert np.allclose(outside, [-1.2, -1.6, 1 / (1 + np.exp(8))], atol=1e-6)


def test_a_decoder_that_the_channels_cannot_serve_fails_only_where_it_is_needed(tmp_path):
    net = opened(blur(tmp_path / "net.onnx"), decoder="three_class")
    assert net.refuses(Needs()) == ""
    assert net.observe(IMAGE, Needs(), 0).reference.labels is None
    reason = net.refuses(OBJECTS)
    assert "three_class" in reason
    assert "can be served by: foreground, watershed" in reason


def test_an_unknown_decoder(tmp_path):
    path = blur(tmp_path / "net.onnx")
    with pytest.raises(OptionError, match="unknown decoder 'watershd': did you mean 'watershed'"):
        open_models(path, decoder="watershd")


def test_an_object_across_the_border_of_tiles_stays_one(tmp_path):
    bar = np.zeros((40, 300), np.float32)
    bar[15:25, 5:295] = 1
    image = Image("bar", bar, "yx")
    path = blur(tmp_path / "net.onnx")
    whole, tiled = (
        OnnxModel("net", path, normalize="none", tile_limit=limit).open("cpu", 1)
        for limit in (512, 192)
    )
    needs = Needs((GaussianNoise(0.01),), instances=True)
    one, other = (model.observe(image, needs, 3) for model in (whole, tiled))
    assert one.reference.labels.max() == other.reference.labels.max() == 1
    assert (one.reference.labels == other.reference.labels).all()
    assert (one.perturbed["noise=0.01"].labels == other.perturbed["noise=0.01"].labels).all()


def test_objects_of_a_window_are_found_with_its_context():
    image = Image("a", PIXELS, "yx", window=(slice(0, 48), slice(10, 64)))
    box = BlackBox("box", lambda tensor: tensor.clip(0, 1), normalize="none")
    seen = box.observe(image, OBJECTS, 0).reference
    # Four columns of the first square remain: too few to stand alone, had they been cut off.
    assert seen.labels.shape == seen.maps.shape[1:] == (48, 54)
    assert (seen.labels[4:14, :4] == 1).all()


def test_a_black_box_and_its_decoder():
    def halves(tensor):
        return np.concatenate([tensor.clip(0, 1), np.zeros_like(tensor)], axis=1)

    roles = ("foreground", "boundary")
    box = BlackBox("box", halves, roles=roles, normalize="none", decoder="watershed,min_size=0")
    assert box.observe(IMAGE, OBJECTS, 0).reference.labels.max() == 3
    plain = BlackBox("box", halves, roles=roles, normalize="none")
    assert plain.refuses(OBJECTS) == ""
    with pytest.raises(OptionError, match=r"model 'box': .*three_class"):
        BlackBox("box", halves, roles=roles, decoder="three_class")
    with pytest.raises(OptionError, match="unknown decoder"):
        BlackBox("box", halves, decoder=str(parse_decoder("watershed")))


GEOMETRY = [Flip("x"), Flip("y"), Rotation(90), Rotation(180), Rotation(270)]


def star_network(tensor):
    """An equivariant network: of two squares, each pixel's distances to the border, and flows."""
    mask = tensor[0, 0] > 0.5
    rows, columns = np.indices(mask.shape)
    maps = []
    for ray in range(8):
        angle = 2 * np.pi * ray / 8
        reach = np.zeros(mask.shape)
        alive = mask.copy()
        for step in range(1, 40):
            y = np.rint(rows + step * np.sin(angle)).astype(int).clip(0, mask.shape[0] - 1)
            x = np.rint(columns + step * np.cos(angle)).astype(int).clip(0, mask.shape[1] - 1)
            alive &= mask[y, x]
            reach += alive
        maps.append(reach)
    depth = np.minimum.reduce(maps)
    probability = mask * (0.55 + 0.4 * depth / max(depth.max(), 1))
    return np.stack([probability, *maps])[None].astype(np.float32)


def flow_network(tensor):
    mask = tensor[0, 0] > 0.5
    depth = scipy.ndimage.distance_transform_edt(mask)
    flow = np.stack(np.gradient(scipy.ndimage.gaussian_filter(depth, 2)))
    flow *= mask / np.maximum(np.hypot(*flow), 1e-6)
    return np.concatenate([[mask], flow / 5])[None].astype(np.float32)


@pytest.mark.parametrize("perturbation", GEOMETRY, ids=lambda p: p.name)
@pytest.mark.parametrize(
    ("network", "roles", "decoder"),
    [
        (star_network, ("foreground", *(f"ray{i}" for i in range(8))), "stardist"),
        (flow_network, ("foreground", "flow_y", "flow_x"), "flows,flow_threshold=0"),
        (lambda tensor: tensor.clip(0, 1), ("foreground",), "watershed"),
    ],
    ids=["stardist", "flows", "watershed"],
)
def test_objects_of_a_turned_image_are_turned_back(network, roles, decoder, perturbation):
    square = np.zeros((61, 61), np.float32)
    square[8:25, 10:27] = 1
    square[34:50, 30:46] = 1
    box = BlackBox("box", network, roles=roles, decoder=decoder, normalize="none")
    needs = Needs((perturbation,), instances=True)
    seen = box.observe(Image("a", square, "yx"), needs, 0)
    assert seen.reference.labels.max() == 2
    turned = seen.perturbed[perturbation.name].labels
    assert turned.max() == 2
    assert rand_fscore(seen.reference.labels, turned) == 1


def test_only_those_are_decoded_that_somebody_looks_at():
    class Counting:
        name = "counting"
        calls = 0

        def __repr__(self):
            return "Counting()"

        def refuses(self, roles, dimensions):
            return ""

        def decode(self, prediction):
            Counting.calls += 1
            return (prediction.maps[0] > 0.5).astype(np.int32)

    box = BlackBox("box", lambda tensor: tensor.clip(0, 1), normalize="none", decoder=Counting())
    masks = Needs((GaussianNoise(0.1), GaussianNoise(0.2)))
    box.observe(IMAGE, masks, 0)
    assert Counting.calls == 0
    box.observe(IMAGE, masks | Needs(truth=True, instances=True), 0)
    assert Counting.calls == 1
    both = Needs((GaussianNoise(0.1),), instances=True) | masks
    seen = box.observe(IMAGE, both, 0)
    assert Counting.calls == 3
    assert seen.perturbed["noise=0.1"].labels is not None
    assert seen.perturbed["noise=0.2"].labels is None


def test_classes_that_are_stated_are_all_turned_into_probabilities(tmp_path):
    path = channels(tmp_path / "net.onnx", 20, 30, last="")
    net = opened(path, roles=["nuclei", "vessel"], decoder="classes")
    maps = net.observe(IMAGE, Needs(), 0).reference.maps
    assert maps.min() >= 0
    assert maps.max() <= 1


def test_a_flow_that_is_no_number():
    def broken(tensor):
        maps = np.repeat(tensor.clip(0, 1), 3, axis=1)
        maps[0, 1, 5, 5] = np.nan
        return maps

    box = BlackBox("box", broken, roles=("foreground", "flow_y", "flow_x"), normalize="none")
    with pytest.raises(InferenceError, match="NaN or infinite values in its channel 'flow_y'"):
        box.observe(IMAGE, OBJECTS, 0)


def test_the_decoder_of_a_coarse_output_knows_its_grid(tmp_path):
    spec = TensorSpec("out", "bcyx", channel_names=("prob", "ray0", "ray1", "ray2"))
    image = TensorSpec("in", "bcyx", (("y", Size(8, 8)), ("x", Size(8, 8))), 1)
    roles = ("foreground", "ray0", "ray1", "ray2")

    def decoder(*scale, stated=None):
        output = replace(spec, scale=tuple(zip("yx", scale, strict=False)))
        found = decoding_of(ModelDescription("m", tmp_path, image, output, roles=roles), stated)
        return found.decoder

    assert decoder() == Stars()
    assert decoder(2, 2) == Stars(grid=2)
    assert decoder(2) == Stars()  # of one axis alone there is no grid
    assert decoder(2, 2, stated=Stars(grid=4)) == Stars(grid=4)


def test_a_sole_output_without_channels_is_read_by_its_name(tmp_path):
    output = TensorSpec("cell boundaries", "byx")
    image = TensorSpec("in", "byx", (("y", Size(8, 8)), ("x", Size(8, 8))))
    found = decoding_of(ModelDescription("m", tmp_path, image, output), None)
    assert found.decoder == Boundary()


def test_objects_disturbed_inside_and_at_the_input_together():
    net = open_models(Path(__file__).parents[2] / "models/nuclei/fibro")[0].open("cpu", 1)
    needs = Needs((Dropout(0.5), GaussianNoise(0.1)), instances=True)
    seen = net.observe(Image("a", PIXELS * 200, "yx"), needs, 0)
    assert set(seen.perturbed) == {"dropout=0.5", "noise=0.1"}
    for prediction in (seen.reference, *seen.perturbed.values()):
        assert prediction.labels.dtype == np.int32
        again = net.decoding.decoder.decode(prediction)
        assert (again == prediction.labels).all()
