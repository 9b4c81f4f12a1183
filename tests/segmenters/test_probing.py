"""Bare ONNX files: what is found out about them, and what is refused."""

from functools import partial

import numpy as np
import pytest
from networks import FLOAT, blur, channels_last, classes, classifier, coarse, save, strided
from onnx import TensorProto, helper

from onnx_cte.errors import GraphError, InferenceError, OptionError
from onnx_cte.needs import Needs
from onnx_cte.segmenters import OnnxModel
from onnx_cte.types import Image

IMAGE = Image("a", (np.add.outer(np.arange(40), np.arange(52)) % 17 * 15).astype(np.uint8), "yx")


def opened(path, **options):
    return OnnxModel(path.stem, path, **options).open("cpu", 1)


def test_a_network_of_any_size(tmp_path):
    found = opened(blur(tmp_path / "net.onnx"))
    spec = found.description.input
    assert spec.axes == "bcyx"
    assert spec.channels == 1
    assert spec.size_along("y").rule == (1, 1)
    assert found.description.roles == ("foreground",)
    text = "\n".join(found.notes)
    assert "normalised by percentile (assumed)" in text
    assert "probabilities" not in text  # the graph ends in a Sigmoid: nothing to assume
    assert found.record["provider"] == "CPUExecutionProvider"


@pytest.mark.parametrize("stride", [2, 8, 32])
def test_the_stride_is_found(tmp_path, stride):
    spec = opened(strided(tmp_path / "net.onnx", stride)).description.input
    assert spec.size_along("y").rule == (stride, stride)
    assert spec.size_along("x").rule == (stride, stride)


def test_fixed_sizes_are_read_from_the_graph(tmp_path):
    found = opened(blur(tmp_path / "net.onnx", sides=(32, 48)))
    assert found.description.input.size_along("y").rule == 32
    assert found.description.input.size_along("x").rule == 48
    seen = found.observe(IMAGE, Needs(), 0)
    assert seen.reference.maps.shape == (1, 40, 52)


def test_logits_get_a_sigmoid(tmp_path):
    logits = opened(blur(tmp_path / "logits.onnx", last=""))
    ready = opened(blur(tmp_path / "ready.onnx"))
    assert "taken as logits, sigmoid added" in "\n".join(logits.notes)
    one, other = (net.observe(IMAGE, Needs(), 0).reference.maps for net in (logits, ready))
    assert np.abs(one - other).max() < 1e-6
    assert one.max() - one.min() > 0.1


def test_channels_last_gives_the_same(tmp_path):
    last = opened(channels_last(tmp_path / "last.onnx"))
    first = opened(blur(tmp_path / "first.onnx"))
    assert last.description.input.axes == "byxc"
    assert last.description.output.axes == "byxc"
    one, other = (net.observe(IMAGE, Needs(), 0).reference.maps for net in (last, first))
    assert np.abs(one - other).max() < 1e-6


def test_convolutions_without_padding(tmp_path):
    found = opened(blur(tmp_path / "net.onnx", pad=False))
    assert found.description.output.border_along("y") == 2
    seen = found.observe(IMAGE, Needs(), 0).reference.maps
    padded = opened(blur(tmp_path / "padded.onnx")).observe(IMAGE, Needs(), 0).reference.maps
    assert seen.shape == (1, 40, 52)
    assert np.abs(seen - padded)[:, 2:-2, 2:-2].max() < 1e-6


@pytest.mark.parametrize("softmax", [True, False])
def test_classes_that_sum_to_one(tmp_path, softmax):
    found = opened(classes(tmp_path / "net.onnx", softmax=softmax))
    assert found.description.roles == ("background", "class1", "class2")
    seen = found.observe(IMAGE, Needs(), 0).reference
    assert seen.exclusive
    assert set(np.unique(seen.classes)) == {0, 1, 2}
    assert np.allclose(seen.maps.sum(axis=0), 1, atol=1e-5)


def test_a_stated_foreground_makes_it_binary(tmp_path):
    found = opened(classes(tmp_path / "net.onnx"), foreground=2, threshold=0.7)
    seen = found.observe(IMAGE, Needs(), 0).reference
    assert not seen.exclusive
    assert seen.threshold == 0.7
    assert (seen.classes == (seen.maps[2] > np.float32(0.7))).all()
    with pytest.raises(OptionError, match="no channel 3 to take as foreground; it has 3"):
        opened(classes(tmp_path / "net.onnx"), foreground=3)


def test_a_stated_normalisation_is_used_and_noted(tmp_path):
    path = blur(tmp_path / "net.onnx")
    plain = opened(path, normalize="none")
    assert "normalised by none (as stated)" in "\n".join(plain.notes)
    bright = Image("a", np.full((16, 16), 0.4, np.float32) + np.eye(16, dtype=np.float32), "yx")
    assert plain.observe(bright, Needs(), 0).reference.maps[0, 3, 12] == pytest.approx(0.5)
    assert plain.identity != opened(path).identity


def test_of_several_outputs_the_first_map_is_judged(tmp_path):
    shape = ["N", 1, "H", "W"]
    path = save(
        tmp_path / "net.onnx",
        [
            helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
            helper.make_node("Sigmoid", ["image"], ["map"]),
        ],
        [("image", FLOAT, shape)],
        [("mean", FLOAT, ["N", 1, 1, 1]), ("map", FLOAT, shape)],
    )
    found = opened(path)
    assert found.description.output.index == 1
    assert "of the outputs mean, map, 'map' is judged" in found.notes


def test_identity_follows_the_file_and_the_options(tmp_path):
    one = opened(blur(tmp_path / "one.onnx")).identity
    assert opened(blur(tmp_path / "same.onnx")).identity == one
    assert opened(blur(tmp_path / "other.onnx", gain=21)).identity != one
    assert opened(tmp_path / "one.onnx", threshold=0.4).identity != one
    assert opened(tmp_path / "one.onnx", tile_limit=512).identity != one


def two_inputs(path):
    shape = ["N", 1, "H", "W"]
    node = helper.make_node("Add", ["a", "b"], ["map"])
    return save(path, [node], [("a", FLOAT, shape), ("b", FLOAT, shape)], [("map", FLOAT, shape)])


def decided(path):
    nodes = [
        helper.make_node("Concat", ["image", "image"], ["c"], axis=1),
        helper.make_node("ArgMax", ["c"], ["map"], axis=1),
    ]
    shape = ["N", 1, "H", "W"]
    return save(
        path,
        nodes,
        [("image", FLOAT, shape)],
        [("map", TensorProto.INT64, ["N", 1, "H", "W"])],
    )


def shaped(*shape):
    def make(path):
        node = helper.make_node("Sigmoid", ["image"], ["map"])
        return save(path, [node], [("image", FLOAT, shape)], [("map", FLOAT, shape)])

    return make


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (classifier, r"no output is a map of the image.*'label' \(1, 3\).*a classifier cannot"),
        (partial(coarse, factor=16), r"one value a pixel, or a block of at most 8 x 8"),
        (two_inputs, r"wants 2 inputs \(a, b\); expected one"),
        (decided, r"output 'map' holds int64, decided classes; probabilities are needed"),
        (shaped("H", "W"), r"has shape \(\?, \?\), expected an image"),
        (shaped(4, 1, "H", "W"), r"takes batches of 4 only"),
        (shaped("N", 64, "H", 32), r"no axis looks like channels \(at most 16\)"),
    ],
)
def test_what_is_no_segmentation_network(tmp_path, make, complaint):
    with pytest.raises(GraphError, match=complaint):
        opened(make(tmp_path / "net.onnx"))


def test_a_map_coarser_than_the_image(tmp_path):
    found = opened(coarse(tmp_path / "net.onnx"))
    assert found.description.output.scale == (("y", 2), ("x", 2))
    assert "its output is 2 times coarser than the image: each value stands for 2 x 2 px" in (
        found.notes
    )
    # Of two maps the one as fine as the image is judged, wherever it stands.
    shape, halved = ["N", 1, "H", "W"], {"kernel_shape": [2, 2], "strides": [2, 2]}
    both = save(
        tmp_path / "both.onnx",
        [
            helper.make_node("AveragePool", ["image"], ["low"], **halved),
            helper.make_node("Sigmoid", ["image"], ["map"]),
        ],
        [("image", FLOAT, shape)],
        [("low", FLOAT, ["N", 1, "h", "w"]), ("map", FLOAT, shape)],
    )
    assert opened(both).description.output.index == 1


@pytest.mark.parametrize(
    ("axes", "shape"), [("bczyx", ["N", 1, "D", "H", "W"]), ("bzyxc", ["N", "D", "H", "W", 1])]
)
def test_a_network_on_volumes(tmp_path, axes, shape):
    found = opened(shaped(*shape)(tmp_path / "net.onnx")).description
    assert found.input.axes == found.output.axes == axes
    assert [axis for axis, _ in found.input.sizes] == ["z", "y", "x"]
    assert {size.rule for _, size in found.input.sizes} == {(1, 1)}


def test_the_stride_of_depth_is_found_on_its_own(tmp_path):
    shape = ["N", 1, "D", "H", "W"]
    pooled = {"kernel_shape": [1, 4, 4], "strides": [1, 4, 4]}
    path = save(
        tmp_path / "net.onnx",
        [
            helper.make_node("AveragePool", ["image"], ["low"], **pooled),
            helper.make_node("Resize", ["low", "", "by"], ["up"], mode="nearest"),
            helper.make_node("Add", ["up", "image"], ["both"]),
            helper.make_node("Sigmoid", ["both"], ["map"]),
        ],
        [("image", FLOAT, shape)],
        [("map", FLOAT, shape)],
        [("by", np.array([1, 1, 1, 4, 4], np.float32))],
    )
    sizes = dict(opened(path).description.input.sizes)
    assert {axis: size.step for axis, size in sizes.items()} == {"z": 1, "y": 4, "x": 4}


def test_a_network_that_never_runs(tmp_path):
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["map"]),
    ]
    path = save(
        tmp_path / "net.onnx",
        nodes,
        [("image", FLOAT, ["N", 1, "H", "W"])],
        [("map", FLOAT, ["N", 1, "H", "W"])],
        [("shape", np.array([1, 1, 7, 11], np.int64))],
    )
    with pytest.raises(GraphError, match=r"cannot be run at any size tried\. net\.onnx: ONNX"):
        opened(path)


def test_values_in_range_without_a_final_activation_are_an_assumption(tmp_path):
    shape = ["N", 1, "H", "W"]
    path = save(
        tmp_path / "net.onnx",
        [
            helper.make_node("Sigmoid", ["image"], ["p"]),
            helper.make_node("Mul", ["p", "half"], ["map"]),
        ],
        [("image", FLOAT, shape)],
        [("map", FLOAT, shape)],
        [("half", np.float32(0.5))],
    )
    text = "output lies in [0, 1] on a trial image: taken as probabilities"
    assert text in opened(path).notes


def beside(path, second):
    """A blurred probability, and a second channel that is none."""
    kernel = np.full((1, 1, 5, 5), 1 / 25, np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["f"], pads=[2] * 4),
        helper.make_node("Sub", ["f", "cut"], ["d"]),
        helper.make_node("Mul", ["d", "gain"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Mul", ["d", "far"], ["distance"]),
        helper.make_node(
            "Concat", ["p", "distance"] if second else ["distance", "p"], ["map"], axis=1
        ),
    ]
    return save(
        path,
        nodes,
        [("image", FLOAT, ["N", 1, "H", "W"])],
        [("map", FLOAT, ["N", 2, "H", "W"])],
        [
            ("kernel", kernel),
            ("cut", np.float32(0.4)),
            ("gain", np.float32(20)),
            ("far", np.float32(50)),
        ],
    )


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("stated", [True, False])
def test_a_distance_beside_a_probability_does_not_spoil_it(tmp_path, second, stated):
    place = 0 if second else 1
    options = {"foreground": place} if stated else {}
    found = opened(beside(tmp_path / "net.onnx", second), **options)
    alone = opened(blur(tmp_path / "alone.onnx"))
    seen, expected = (net.observe(IMAGE, Needs(), 0).reference for net in (found, alone))
    assert not seen.exclusive
    assert np.abs(seen["foreground"] - expected["foreground"]).max() < 1e-6
    assert any(f"channel {place}" in note for note in found.notes)


@pytest.mark.parametrize("stride", [2, 4, 16])
def test_the_stride_is_found_without_skips(tmp_path, stride):
    nodes = [
        helper.make_node(
            "MaxPool", ["image"], ["low"], kernel_shape=[stride] * 2, strides=[stride] * 2
        ),
        helper.make_node("Resize", ["low", "", "scales"], ["up"], mode="nearest"),
        helper.make_node("Sigmoid", ["up"], ["map"]),
    ]
    path = save(
        tmp_path / "net.onnx",
        nodes,
        [("image", FLOAT, ["N", 1, "H", "W"])],
        [("map", FLOAT, ["N", 1, "H", "W"])],
        [("scales", np.array([1, 1, stride, stride], np.float32))],
    )
    found = opened(path)
    assert found.description.input.size_along("y").rule == (stride, stride)
    assert found.observe(IMAGE, Needs(), 0).reference.maps.shape == (1, 40, 52)


def with_end(path, op, **constants):
    end = [helper.make_node(op, ["image", *constants], ["map"])]
    shape = ["N", 1, "H", "W"]
    weights = [(name, np.float32(value)) for name, value in constants.items()]
    return save(path, end, [("image", FLOAT, shape)], [("map", FLOAT, shape)], weights)


def test_what_is_neither_probability_nor_logit_is_refused(tmp_path):
    shape = ["N", 1, "H", "W"]
    path = save(
        tmp_path / "net.onnx",
        [
            helper.make_node("Sigmoid", ["image"], ["p"]),
            helper.make_node("Mul", ["p", "white"], ["map"]),
        ],
        [("image", FLOAT, shape)],
        [("map", FLOAT, shape)],
        [("white", np.float32(255))],
    )
    with pytest.raises(InferenceError, match=r"to 1\d\d on a trial image: neither prob.*scale it"):
        opened(path)


@pytest.mark.parametrize("gain", [1.004, 0.996])
def test_probabilities_a_little_beyond_one_are_no_logits(tmp_path, gain):
    shape = ["N", 1, "H", "W"]
    path = save(
        tmp_path / "net.onnx",
        [
            helper.make_node("Mul", ["image", "steep"], ["s"]),
            helper.make_node("Sigmoid", ["s"], ["q"]),
            helper.make_node("Mul", ["q", "gain"], ["map"]),
        ],
        [("image", FLOAT, shape)],
        [("map", FLOAT, shape)],
        [("gain", np.float32(gain)), ("steep", np.float32(100))],
    )
    found = opened(path)
    assert not any("logits" in note for note in found.notes)
    assert found.description.output.steps == ()
    seen = found.observe(IMAGE, Needs(), 0).reference.maps
    assert seen.max() == pytest.approx(min(gain, 1))


def test_a_tanh_is_moved_into_range(tmp_path):
    found = opened(with_end(tmp_path / "net.onnx", "Tanh"), normalize="none")
    bright = Image("a", np.eye(16, dtype=np.float32), "yx")
    seen = found.observe(bright, Needs(), 0).reference.maps[0]
    assert seen[0, 0] == pytest.approx((np.tanh(1) + 1) / 2)
    assert seen[0, 1] == pytest.approx(0.5)
    assert any("ends in a Tanh" in note for note in found.notes)


def test_integer_inputs_are_refused(tmp_path):
    path = save(
        tmp_path / "net.onnx",
        [
            helper.make_node("Cast", ["image"], ["f"], to=FLOAT),
            helper.make_node("Sigmoid", ["f"], ["map"]),
        ],
        [("image", TensorProto.UINT8, ["N", 1, "H", "W"])],
        [("map", FLOAT, ["N", 1, "H", "W"])],
    )
    with pytest.raises(
        GraphError, match="takes uint8, expected floats: normalising and disturbing"
    ):
        opened(path)


def test_a_stated_threshold_is_noted(tmp_path):
    found = opened(blur(tmp_path / "net.onnx"), threshold=0.3)
    assert "foreground is where its probability exceeds 0.3 (as stated)" in found.notes
    several = opened(classes(tmp_path / "classes.onnx"), threshold=0.3)
    assert "threshold 0.3 is not used: the most probable class wins" in several.notes
