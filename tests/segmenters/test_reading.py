"""Feature maps that an estimator is shown: those of the network, wherever the image was cut."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
from families.building import built, find

from onnx_cte.errors import NotOffered, OptionError
from onnx_cte.graph.anatomy import Anatomy
from onnx_cte.graph.maps import Tap
from onnx_cte.needs import Needs, View
from onnx_cte.perturbations import Brightness, Dropout, Flip, GaussianNoise
from onnx_cte.segmenters.black_box import BlackBox
from onnx_cte.segmenters.naming import one_tap, taps_named
from onnx_cte.segmenters.onnx_model import OnnxModel
from onnx_cte.segmenters.pipeline import observe
from onnx_cte.segmenters.reading import Reader
from onnx_cte.types import Image

SEVERAL = ("bottleneck", "encoder#1", "decoder#1", "decoder#-1")


def opened(name="unet-transposed", **options):
    return OnnxModel(name, built(find(name)), normalize="none", **options).open("cpu", 1)


def picture(side=96, seed=0):
    return Image("a.png", np.random.default_rng(seed).random((side, side)).astype(np.float32), "yx")


def pixels(side):
    return np.argwhere(np.ones((side, side), bool))


def exposed(path, tensors, image):
    """The tensors, by ONNX Runtime alone."""
    model = onnx.load(path)
    have = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in tensors if name not in have
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(list(tensors), {session.get_inputs()[0].name: image})


@pytest.mark.parametrize("name", ["unet-transposed", "unet-nearest", "unet-bilinear"])
def test_features_are_the_tensors_of_the_graph(name):
    segmenter = opened(name)
    seen = segmenter.observe(picture(), Needs(taps=SEVERAL), seed=0)
    assert list(seen.features) == list(SEVERAL)
    tensors = [one_tap(segmenter.grey_box.anatomy, tap).tensor for tap in SEVERAL]
    wanted = exposed(built(find(name)), tensors, picture().data[None, None])
    for tap, tensor in zip(SEVERAL, wanted, strict=True):
        (piece,) = seen.features[tap].pieces
        assert np.allclose(piece.values, tensor[0], atol=1e-5)
        assert seen.features[tap].shape == (96, 96)


@pytest.mark.parametrize("name", ["unet-transposed", "unet-nearest", "unet-bilinear"])
def test_looking_changes_no_bit_of_the_prediction(name):
    segmenter = opened(name)
    blind = segmenter.observe(picture(), Needs(), seed=0)
    looking = segmenter.observe(picture(), Needs(taps=SEVERAL), seed=0)
    assert np.array_equal(blind.reference.maps, looking.reference.maps)
    (reader,) = segmenter.grey_box._readers.values()
    assert reader.together


def test_where_it_would_features_come_from_a_run_of_their_own(monkeypatch):
    together = opened().observe(picture(), Needs(taps=SEVERAL), seed=0)
    monkeypatch.setattr(Reader, "_changes_nothing", lambda *_: False)
    segmenter = opened()
    apart = segmenter.observe(picture(), Needs(taps=SEVERAL), seed=0)
    (reader,) = segmenter.grey_box._readers.values()
    assert not reader.together
    assert np.array_equal(apart.reference.maps, together.reference.maps)
    for tap in SEVERAL:
        found, wanted = (seen.features[tap].at(pixels(96)) for seen in (apart, together))
        assert np.allclose(found, wanted, atol=1e-6)


def test_features_of_tiles_are_those_of_the_whole():
    # Rows of 250 px do not fit the step of 8: the last tile sees invented pixels.
    whole = opened("unet-nearest").observe(picture(250), Needs(taps=SEVERAL), seed=0)
    tiled = opened("unet-nearest", tile_limit=168).observe(picture(250), Needs(taps=SEVERAL), 0)
    for tap in SEVERAL:
        assert len(whole.features[tap].pieces) == 1 < len(tiled.features[tap].pieces)
        found, wanted = (seen.features[tap].at(pixels(250)) for seen in (tiled, whole))
        assert np.abs(found - wanted).mean() < 0.02 * np.abs(wanted).mean() + 1e-6
        assert np.allclose(tiled.features[tap].mean(), whole.features[tap].mean(), rtol=0.05)


def test_a_window_is_read_within_its_context():
    data = picture(128).data
    inner = (slice(16, 80), slice(32, 96))
    whole = opened().observe(Image("a.png", data, "yx"), Needs(taps=SEVERAL), seed=0)
    part = opened().observe(Image("a.png", data, "yx", window=inner), Needs(taps=SEVERAL), seed=0)
    for tap in SEVERAL:
        assert part.features[tap].shape == (64, 64)
        found = part.features[tap].at(pixels(64))
        wanted = whole.features[tap].at(pixels(64) + np.array([16, 32]))
        assert np.array_equal(found, wanted)


def test_views_show_the_disturbed_input_and_no_prediction():
    segmenter, shift = opened(), Brightness(0.3)
    needs = Needs(views=(View(shift, ("bottleneck", "encoder#-1")),))
    seen = segmenter.observe(picture(), needs, seed=0)
    assert seen.perturbed == {}
    assert seen.features == {}
    brighter = Image("a.png", picture().data + np.float32(0.3), "yx")
    wanted = segmenter.observe(brighter, Needs(taps=("bottleneck", "encoder#-1")), seed=0)
    for tap in ("bottleneck", "encoder#-1"):
        found = seen.views[shift.name][tap].at(pixels(96))
        assert np.allclose(found, wanted.features[tap].at(pixels(96)), atol=1e-5)


def test_what_is_shared_draws_the_same_for_every_image():
    class Shared(GaussianNoise):
        shared = True

    def views(perturbation, name):
        image = Image(name, picture().data, "yx")
        needs = Needs(views=(View(perturbation, ("bottleneck",)),))
        found = opened().observe(image, needs, seed=3)
        return found.views[perturbation.name]["bottleneck"].mean()

    assert np.array_equal(views(Shared(0.2), "a"), views(Shared(0.2), "b"))
    assert not np.array_equal(views(GaussianNoise(0.2), "a"), views(GaussianNoise(0.2), "b"))


def test_features_beside_a_disturbance_inside():
    segmenter = opened()
    both = segmenter.observe(picture(), Needs((Dropout(0.3),), taps=("decoder#1",)), seed=0)
    alone = segmenter.observe(picture(), Needs(taps=("decoder#1",)), seed=0)
    assert set(both.perturbed) == {"dropout=0.3"}
    found, wanted = (s.features["decoder#1"].at(pixels(96)) for s in (both, alone))
    assert np.allclose(found, wanted, atol=1e-6)


def test_the_seed_is_told():
    assert opened().observe(picture(), Needs(), seed=7).seed == 7


def anatomy_with(*names):
    taps = tuple(Tap(name, f"t{i}", 4, 1, 4, (1, 1), "float32") for i, name in enumerate(names))
    return Anatomy("out", None, "", taps, (), (), 0, 0, (1, 1, 8, 8))


def test_places_count_from_either_end():
    found = anatomy_with("encoder/1", "encoder/2", "bottleneck", "decoder/2", "decoder/1")
    names = {
        name: one_tap(found, name).name
        for name in ("encoder#1", "encoder#-1", "decoder#1", "decoder#2", "decoder#-1")
    }
    assert names == {
        "encoder#1": "encoder/1", "encoder#-1": "encoder/2",
        "decoder#1": "decoder/2", "decoder#2": "decoder/1", "decoder#-1": "decoder/1",
    }  # fmt: skip
    assert [tap.name for tap in taps_named(found, ["decoder#1", "decoder/2"])] == ["decoder/2"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("decoder#3", r"no decoder#3: its decoder has 2 feature maps \(decoder/2, decoder/1\)"),
        ("encoder#-2", r"no encoder#-2: its encoder has 1 feature map \(encoder/1\)"),
        ("decoder", "stands for several feature maps.* name one, such as decoder/1, or decoder#-1"),
        ("skips", "stands for several feature maps.* name one, such as skip/1"),
        ("bottlenek", "unknown tap 'bottlenek'.*bottleneck"),
        ("decoder#0", "unknown tap 'decoder#0'"),
    ],
)
def test_names_that_are_none(name, text):
    found = anatomy_with("encoder/1", "bottleneck", "decoder/2", "decoder/1")
    with pytest.raises(OptionError, match=text):
        one_tap(found, name)


def test_networks_without_a_bottleneck_refuse_with_the_way_out():
    segmenter = opened("single-scale")
    reason = segmenter.refuses(Needs(taps=("decoder#-1",)))
    assert "no bottleneck to look at for 'decoder#-1': it works at a single scale" in reason
    assert "take an estimator that looks at predictions alone, such as cte or leep" in reason
    # A tensor named by --at stands for the bottleneck: for another tap it is not enough.
    instead = "by --at MODEL=TENSOR, such as [^;]*, and look at the tap 'bottleneck' instead; or"
    assert re.search(instead, reason)
    reason = segmenter.refuses(Needs(taps=("bottleneck",)))
    assert "by --at MODEL=TENSOR" in reason
    assert "instead" not in reason


def test_black_boxes_show_nothing():
    box = BlackBox("box", lambda tile: tile, normalize="none")
    view = View(Flip("x"), ("encoder#1",))
    reason = box.refuses(Needs(taps=("bottleneck",), views=(view,)))
    assert reason.startswith("a black box shows no feature maps, and bottleneck, encoder#1 would")
    for needs in (Needs(taps=("bottleneck",)), Needs(views=(view,))):
        with pytest.raises(NotOffered, match="is looked at, and this model shows none"):
            observe(box._recipe, lambda tile: tile, picture(), needs, 0)
