"""Which decoder a model gets, and that its objects are those of the whole image."""

import numpy as np
import pytest
from networks import FLOAT, blur, save
from onnx import helper

from onnx_cte.errors import OptionError
from onnx_cte.perturbations import Dropout, GaussianNoise
from onnx_cte.postprocessing import Foreground, ForegroundBoundary, Watershed, parse_decoder
from onnx_cte.segmenters import BlackBox, OnnxModel, open_models
from onnx_cte.types import Image, Needs

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
    assert opened(path).identity != net.identity


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


def test_objects_disturbed_inside_and_at_the_input_together():
    net = open_models("models/nuclei/fibro")[0].open("cpu", 1)
    needs = Needs((Dropout(0.5), GaussianNoise(0.1)), instances=True)
    seen = net.observe(Image("a", PIXELS * 200, "yx"), needs, 0)
    assert set(seen.perturbed) == {"dropout=0.5", "noise=0.1"}
    for prediction in (seen.reference, *seen.perturbed.values()):
        assert prediction.labels.dtype == np.int32
        again = net.decoding.decoder.decode(prediction)
        assert (again == prediction.labels).all()
