"""Packages made of bare files: what is in them, and that they are read as the files are."""

import json
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
from bioimageio.spec import load_description
from bioimageio.spec.model.v0_5 import ModelDescr
from click.testing import CliRunner
from networks import FLOAT, blur, channels_last, classes, classifier, coarse, save, strided
from onnx import helper
from packages import network, package
from test_runner import write_images

import onnx_cte as oc
from onnx_cte.cli import main
from onnx_cte.descriptor.package import read_package, unpack
from onnx_cte.errors import DescriptorError, GraphError, ImageError, OptionError, OutputError
from onnx_cte.needs import Needs
from onnx_cte.packaging.card import card_of
from onnx_cte.segmenters import OnnxModel
from onnx_cte.types import Image

FILES = ("README.md", "bioimageio.yaml", "test_input.npy", "test_output.npy", "weights.onnx")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blur(tmp_path / "net.onnx")
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def by_the_zoo(folder):
    """The description, as the zoo's library reads it with all its checks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_description(folder)
    assert isinstance(found, ModelDescr), found.validation_summary
    return found


def leftovers(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_what_is_in_a_package(place):
    made = oc.write_package("net.onnx", "out", normalize="zscore")
    assert made.path == Path("out")
    assert made.files == FILES == tuple(sorted(p.name for p in Path("out").iterdir()))
    found = by_the_zoo("out")
    (image,), (maps,) = found.inputs, found.outputs
    assert [a.type for a in image.axes] == ["batch", "channel", "space", "space"]
    assert [str(a.id) for a in image.axes[2:]] == ["y", "x"]
    assert (image.axes[2].size.min, image.axes[2].size.step) == (1, 1)
    cast, step, again = image.preprocessing
    assert (cast.id, again.id) == ("ensure_dtype", "ensure_dtype")  # as the format implies
    assert step.id == "zero_mean_unit_variance"
    assert [str(axis) for axis in step.kwargs.axes] == ["y", "x"]
    assert [str(name) for name in maps.axes[1].channel_names] == ["foreground"]
    assert [step.id for step in maps.postprocessing] == ["ensure_dtype"]
    assert found.weights.onnx.opset_version == 17
    # The network by hand: the mean of 25 px of the normalised image, as a logit 20 (mean - 0.4).
    given, expected = np.load("out/test_input.npy"), np.load("out/test_output.npy")
    assert given.shape == expected.shape == (1, 1, 128, 128)
    assert given.std() > 10
    y = given[0, 0, 10:15, 20:25].astype(np.float64)
    mean = (y.mean() - given.mean(dtype=np.float64)) / (given.std(dtype=np.float64) + 1e-6)
    assert expected[0, 0, 12, 22] == pytest.approx(1 / (1 + np.exp(-20 * (mean - 0.4))), abs=1e-5)
    assert leftovers(place) == []


def grey(path):
    return blur(path)


def colour(path):
    return blur(path, channels=3)


def four(path):
    return blur(path, channels=4)


def logits(path):
    return blur(path, last="")


def tanh(path):
    return blur(path, last="Tanh")


def fixed(path):
    return blur(path, sides=(64, 48))


def shrunk(path):
    return blur(path, pad=False)


def steps_of_8(path):
    return strided(path, 8)


def class_logits(path):
    return classes(path, softmax=False)


def two_classes(path):
    return classes(path, count=2)


def volume(path, *, axes="bczyx"):
    shape = {"b": "N", "c": 1, "z": "D", "y": "H", "x": "W"}
    nodes = [
        helper.make_node("AveragePool", ["image"], ["f"], kernel_shape=[3] * 3, pads=[1] * 6),
        helper.make_node("Sigmoid", ["f"], ["map"]),
    ]
    sides = [shape[axis] for axis in axes]
    return save(path, nodes, [("image", FLOAT, sides)], [("map", FLOAT, sides)])


def without_channels(path):
    nodes = [helper.make_node("Sigmoid", ["image"], ["map"])]
    return save(path, nodes, [("image", FLOAT, [1, 40, 48])], [("map", FLOAT, [1, 40, 48])])


def beside_flows(path):
    """A probability as logit, and two flows."""
    weights = np.array([5, -3, 2], np.float32).reshape(3, 1, 1, 1)
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["s"]),
        helper.make_node("Sub", ["s", "shift"], ["map"]),
    ]
    return save(
        path,
        nodes,
        [("image", FLOAT, [1, 1, "H", "W"])],
        [("map", FLOAT, [1, 3, "H", "W"])],
        [("w", weights), ("shift", np.array([2, -1, 1], np.float32).reshape(1, 3, 1, 1))],
    )


def two_outputs(path):
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["label"]),
        helper.make_node("Sigmoid", ["image"], ["map"]),
    ]
    return save(
        path,
        nodes,
        [("image", FLOAT, ["N", 1, "H", "W"])],
        [("label", FLOAT, ["N", 1, 1, 1]), ("map", FLOAT, ["N", 1, "H", "W"])],
    )


CASES = [
    (grey, {}),
    (grey, {"normalize": "zscore", "threshold": 0.7}),
    (grey, {"normalize": "minmax"}),
    (grey, {"normalize": "none"}),
    (colour, {"normalize": "percentile"}),
    (four, {"normalize": "zscore"}),
    (logits, {}),
    (logits, {"activation": "sigmoid"}),
    (tanh, {}),
    (fixed, {"axes": "bcyx"}),
    (shrunk, {}),
    (steps_of_8, {}),
    (coarse, {"activation": "sigmoid"}),
    (channels_last, {}),
    (channels_last, {"axes": "byxc"}),
    (classes, {}),
    (classes, {"roles": ("background", "foreground", "boundary")}),
    (class_logits, {}),
    (class_logits, {"activation": "softmax", "roles": ("background", "inside", "rim")}),
    (class_logits, {"activation": "sigmoid", "foreground": 2}),
    (two_classes, {"roles": ("foreground", "background")}),
    (volume, {"normalize": "zscore"}),
    (without_channels, {"axes": "byx"}),
    (beside_flows, {"roles": ("prob", "flow_y", "flow_x")}),
    (two_outputs, {}),
]


@pytest.mark.parametrize(
    ("make", "stated"), CASES, ids=[f"{make.__name__}-{'-'.join(s)}" for make, s in CASES]
)
def test_a_package_gives_what_the_file_gives(tmp_path, make, stated):
    path = make(tmp_path / "net.onnx")
    oc.write_package(path, tmp_path / "out", **stated)
    by_the_zoo(tmp_path / "out")
    bare = OnnxModel("net", path, **stated).open("cpu", 1)
    read = OnnxModel("out", tmp_path / "out").open("cpu", 1)
    spec = bare.description.input
    shape = (16, 40, 48) if "z" in spec.axes else (70, 81)
    rng = np.random.default_rng(3)
    for dtype in (np.uint8, np.uint16, np.float32):
        whole = [spec.channels, *shape] if (spec.channels or 1) > 1 else shape
        high = 3 if stated.get("normalize") == "none" else 200
        pixels = (rng.random(whole) * high).astype(dtype)
        image = Image("a", pixels, "c" * (len(whole) - len(shape)) + "zyx"[-len(shape) :])
        one, other = (net.observe(image, Needs(), 0).reference for net in (bare, read))
        assert one.roles == other.roles
        assert one.threshold == other.threshold
        assert np.abs(one.maps - other.maps).max() < 1e-6
        assert np.ptp(other["foreground"] if "foreground" in one.roles else other.maps) > 0
    assert bare.decoding.decoder == read.decoding.decoder
    bare.close()
    read.close()


def test_the_same_ranking_score_to_the_last_digit(place):
    write_images(place)
    stated = {"normalize": "minmax", "threshold": 0.6}
    oc.write_package("net.onnx", "zoo/net.zip", **stated)
    blur(place / "other.onnx", width=3)
    found = []
    for first in ("net.onnx", "zoo/net.zip"):
        bank = oc.open_models([first, "other.onnx"], **stated)
        ranking = oc.rank(bank, oc.Images("images"), oc.Credibility(), jobs=1)
        found.append([(s.model, s.value, s.interval, dict(s.parts)) for s in ranking])
    assert found[0] == found[1]
    assert {model for model, *_ in found[0]} == {"net", "other"}


def test_a_zip(place):
    made = oc.write_package("net.onnx", "deep/net.zip")
    assert made.path == Path("deep/net.zip")
    with zipfile.ZipFile("deep/net.zip") as members:
        assert tuple(sorted(members.namelist())) == FILES
    by_the_zoo(unpack(made.path, place / "unpacked"))
    assert leftovers(place / "deep") == []
    assert [model.name for model in oc.open_models("deep")] == ["net"]


def test_what_is_there_is_not_written_over(place):
    oc.write_package("net.onnx", "out")
    (place / "out" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"'out' is there already; --force replaces it"):
        oc.write_package("net.onnx", "out")
    assert (place / "out" / "notes.txt").exists()
    oc.write_package("net.onnx", "out", normalize="minmax", force=True)
    assert tuple(sorted(p.name for p in Path("out").iterdir())) == FILES
    assert leftovers(place) == []


def test_force_replaces_packages_and_zips_alone(place):
    (place / "home").mkdir()
    (place / "home" / "thesis.txt").write_text("years")
    with pytest.raises(OutputError, match=r"'home' is no package .*, and is not replaced"):
        oc.write_package("net.onnx", "home", force=True)
    (place / "notes.zip").write_text("no zip")
    with pytest.raises(OutputError, match="is no zip, and is not replaced"):
        oc.write_package("net.onnx", "notes.zip", force=True)
    package(place / "mine")
    shutil.copy("net.onnx", "mine/net.onnx")
    with pytest.raises(OutputError, match="'mine' holds the model that is read"):
        oc.write_package("mine/net.onnx", "mine", force=True)
    assert (place / "home" / "thesis.txt").read_text() == "years"
    assert (place / "mine" / "bioimageio.yaml").exists()
    (place / "empty").mkdir()
    oc.write_package("net.onnx", "empty", force=True)


@pytest.mark.parametrize(
    ("stated", "error", "message"),
    [
        ({"license": "my own"}, DescriptorError, "license"),
        ({"name": "net"}, OptionError, "has 3 letters; the zoo's format takes 5 to 128"),
        ({"name": "unet/nuclei"}, OptionError, "has '/' in it"),
        ({"cite": ["Ada 1843"]}, OptionError, "'Ada 1843': expected a DOI"),
        ({"axes": "byxc"}, OptionError, r"axes 'byxc' would give .* a side of 1 px"),
        ({"axes": "cyx"}, OptionError, r"expected one of bcyx, byxc, .*batch \(b\) is first"),
        ({"axes": "bcyxt"}, OptionError, "'t' is none of b, c, z, y, x"),
        ({"axes": "bczyx"}, OptionError, r"are 5, and input 'image' of net.onnx has 4.*bcyx or b"),
        ({"roles": ["a", "b"]}, OptionError, "2 roles are stated .*has 1 channels"),
        ({"activation": "sigmoid"}, OptionError, "its graph ends in a Sigmoid already"),
        ({"activation": "relu"}, OptionError, "unknown activation 'relu'"),
        ({"normalize": "zsore"}, OptionError, "did you mean 'zscore'"),
        ({"decoder": "stardist"}, OptionError, "--decoder stardist: "),
        ({"decoder": "watersheds"}, OptionError, "did you mean 'watershed'"),
        ({"halo": -1}, OptionError, "expected px, 0 or more"),
        ({"channel": 1}, OptionError, "is of a --sample, and there is none"),
        ({"threshold": 1.5}, OptionError, "a probability"),
        ({"sample": "none.png"}, oc.NothingToRank, "none.png"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(place, stated, error, message):
    with pytest.raises(error, match=message):
        oc.write_package("net.onnx", "out/net", **stated)
    assert not (place / "out" / "net").exists()
    assert not (place / "out").exists() or list((place / "out").iterdir()) == []


def test_models_that_are_none(place):
    classifier(place / "label.onnx")
    with pytest.raises(GraphError, match="a classifier cannot be ranked"):
        oc.write_package("label.onnx", "out")
    package(place / "mine")
    with pytest.raises(OptionError, match=r"'mine': expected an \.onnx file"):
        oc.write_package("mine", "out")
    with pytest.raises(GraphError, match="cannot be read"):
        oc.write_package("nowhere.onnx", "out")
    assert not (place / "out").exists()


def test_activation_none_of_logits_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"with activation none its output reaches from -"):
        oc.write_package(logits(tmp_path / "net.onnx"), tmp_path / "out", activation="none")
    classes(tmp_path / "one.onnx", softmax=False, count=1)
    with pytest.raises(OptionError, match="a softmax over its one output channel"):
        oc.write_package(tmp_path / "one.onnx", tmp_path / "out", activation="softmax")


def test_one_of_classes_that_exclude_each_other_wants_all_named(tmp_path):
    with pytest.raises(OptionError, match="as in --roles background,foreground,class2"):
        oc.write_package(classes(tmp_path / "net.onnx"), tmp_path / "out", foreground=1)


def test_shapes_that_a_bare_file_leaves_open_can_be_stated(tmp_path):
    path = without_channels(tmp_path / "net.onnx")
    with pytest.raises(GraphError, match=r"`onnx-cte package MODEL\.onnx --axes LETTERS` makes"):
        OnnxModel("net", path).open("cpu", 1)
    oc.write_package(path, tmp_path / "out", axes="byx")
    OnnxModel("out", tmp_path / "out").open("cpu", 1).close()
    found = by_the_zoo(tmp_path / "out")
    assert [str(axis.id) for axis in found.inputs[0].axes] == ["batch", "y", "x"]
    assert found.inputs[0].axes[0].size == 1


def test_external_data_stay_external(tmp_path):
    network(tmp_path / "net.onnx", maps=1, external="net.bin")
    made = oc.write_package(tmp_path / "net.onnx", tmp_path / "out", normalize="minmax")
    assert "weights.onnx.data" in made.files
    found = by_the_zoo(tmp_path / "out")
    assert str(found.weights.onnx.external_data.source).endswith("weights.onnx.data")
    (tmp_path / "net.onnx").unlink()
    (tmp_path / "net.bin").unlink()
    OnnxModel("out", tmp_path / "out").open("cpu", 1).close()
    with (tmp_path / "out" / "weights.onnx.data").open("r+b") as file:
        file.write(b"\x01")
    with pytest.raises(DescriptorError, match=r"external data of the weights: .* not the file"):
        OnnxModel("out", tmp_path / "out").open("cpu", 1)


def test_of_several_outputs_the_judged_one_is_kept(tmp_path):
    made = oc.write_package(two_outputs(tmp_path / "net.onnx"), tmp_path / "out")
    model = onnx.load(tmp_path / "out" / "weights.onnx")
    assert [value.name for value in model.graph.output] == ["map"]
    assert any("of the outputs label, map, 'map' is judged" in line for line in made.assumed)


def test_a_halo_leaves_room_for_itself(tmp_path):
    path = strided(tmp_path / "net.onnx", 8)
    oc.write_package(path, tmp_path / "out", halo=20)
    found = read_package(tmp_path / "out")
    assert found.output.halo == (("y", 20), ("x", 20))
    assert [(size.minimum, size.step) for _, size in found.input.sizes] == [(48, 8)] * 2
    oc.write_package(path, tmp_path / "none", halo=0)
    assert read_package(tmp_path / "none").output.halo == ()
    with pytest.raises(OptionError, match=r"takes 64 px and no more.*state less than 32"):
        oc.write_package(blur(tmp_path / "b.onnx", sides=(64, 64)), tmp_path / "b", halo=32)
    with pytest.raises(OptionError, match="expected a multiple of 2"):
        oc.write_package(coarse(tmp_path / "c.onnx"), tmp_path / "c", halo=5)
    oc.write_package(tmp_path / "c.onnx", tmp_path / "c", halo=6)
    assert read_package(tmp_path / "c").output.halo == (("y", 6), ("x", 6))


def test_decoder_and_threshold_travel_in_the_config(tmp_path):
    path = blur(tmp_path / "net.onnx")
    oc.write_package(path, tmp_path / "a", decoder="watershed,min_size=50", threshold=0.6)
    oc.write_package(path, tmp_path / "b", threshold=0.6)
    oc.write_package(path, tmp_path / "c", decoder="foreground")
    a, b, c = (read_package(tmp_path / name) for name in "abc")
    assert (a.decoder, a.threshold) == ({"name": "watershed", "min_size": 50}, 0.6)
    assert (b.decoder, b.threshold) == (None, 0.6)
    assert (c.decoder, c.threshold) == ({"name": "foreground"}, 0.5)
    opened = OnnxModel("b", tmp_path / "b").open("cpu", 1)
    assert opened.decoding.decoder == oc.parse_decoder("foreground")
    opened = OnnxModel("a", tmp_path / "a").open("cpu", 1)
    assert opened.decoding.decoder == oc.parse_decoder("watershed,min_size=50")


def test_what_the_format_has_no_word_for_is_told(tmp_path):
    roles = ("prob", "flow_y", "flow_x")
    made = oc.write_package(beside_flows(tmp_path / "net.onnx"), tmp_path / "out", roles=roles)
    assert any("has no word for sigmoid(channels=(0,))" in line for line in made.assumed)
    content = (tmp_path / "out" / "bioimageio.yaml").read_text()
    assert "sigmoid" not in content
    expected = np.load(tmp_path / "out" / "test_output.npy")
    assert expected.min() < 0


def test_a_sample_of_ones_own(place):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4000, (90, 100), dtype=np.uint16)
    tifffile.imwrite("mine.tif", pixels)
    strided(place / "net.onnx", 8)
    made = oc.write_package("net.onnx", "out", sample="mine.tif")
    # 90 x 100 px, cut in the middle to multiples of 8.
    assert np.array_equal(np.load("out/test_input.npy")[0, 0], pixels[1:89, 2:98])
    assert not any("simulated" in line for line in made.assumed)
    assert "on 'mine.tif' it gives what" in made.checked[1]
    tifffile.imwrite("wide.tif", np.stack([pixels, pixels // 2]), metadata={"axes": "CYX"})
    with pytest.raises(ImageError, match=r"sample 'wide\.tif': the image has 2 channels, the net"):
        oc.write_package("net.onnx", "again", sample="wide.tif")
    oc.write_package("net.onnx", "again", sample="wide.tif", channel=1)
    assert np.array_equal(np.load("again/test_input.npy")[0, 0], pixels[1:89, 2:98] // 2)
    blur(place / "large.onnx", sides=(128, 64))
    with pytest.raises(ImageError, match=r"has 90 px along y, the network takes 128; give a larg"):
        oc.write_package("large.onnx", "large", sample="mine.tif")


def test_a_sample_that_is_a_volume(place):
    stack = np.random.default_rng(0).integers(0, 4000, (9, 40, 48), dtype=np.uint16)
    tifffile.imwrite("stack.tif", stack, metadata={"axes": "ZYX"})
    volume(place / "volume.onnx")
    oc.write_package("volume.onnx", "out", sample="stack.tif")
    assert np.array_equal(np.load("out/test_input.npy")[0, 0], stack)


def test_people_s_part(place):
    cite = ["Ronneberger et al., 10.1007/978-3-319-24574-4_28.", "see https://example.com/a"]
    made = oc.write_package(
        "net.onnx", "out", name="Blurred nuclei (2D)", description="A blur.",
        authors=["Ada Lovelace", "Grace Hopper"], license="CC-BY-4.0", cite=cite,
    )  # fmt: skip
    assert not any("--author" in line or "name" in line for line in made.assumed)
    found = by_the_zoo("out")
    assert found.name == "Blurred nuclei (2D)"
    assert [author.name for author in found.authors] == ["Ada Lovelace", "Grace Hopper"]
    assert str(found.license) == "CC-BY-4.0"
    assert str(found.cite[0].doi) == "10.1007/978-3-319-24574-4_28"
    assert str(found.cite[1].url) == "https://example.com/a"
    text = Path("out/README.md").read_text()
    assert text.startswith("# Blurred nuclei (2D)\n\nA blur.\n\nAuthors: Ada Lovelace, Grace Hopp")
    assert "## Validation" in text


def test_nothing_is_asked_of_the_network(place, monkeypatch):
    import socket

    def refuse(*args, **options):
        raise AssertionError("the network was asked")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    cite = ["Ada, 10.1007/978-3-319-24574-4_28", "https://bioimage.io", "https://bioimage.io/docs"]
    oc.write_package("net.onnx", "out", cite=cite, authors=["Ada Lovelace"], license="MIT")


def test_what_is_assumed_and_what_not(place):
    assumed = oc.write_package("net.onnx", "a").assumed
    assert assumed[:2] == (
        "axes bcyx, by the shape of the input; --axes states them",
        "images are normalised by percentiles; --normalize says otherwise",
    )
    stated = {"axes": "bcyx", "normalize": "zscore", "roles": ["nuclei"], "threshold": 0.4}
    people = {"name": "A blur", "description": "d", "authors": ["Ada"], "license": "MIT"}
    people["cite"] = ["https://example.com"]
    picture = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    tifffile.imwrite("a.tif", picture)
    made = oc.write_package("net.onnx", "b", halo=2, sample="a.tif", **stated, **people)
    assert made.assumed == ()


def test_inputs_in_half_precision_are_no_part_of_the_format(place):
    kind, shape = onnx.TensorProto.FLOAT16, ["N", 1, "H", "W"]
    nodes = [helper.make_node("Sigmoid", ["image"], ["map"])]
    save(place / "half.onnx", nodes, [("image", kind, shape)], [("map", kind, shape)])
    with pytest.raises(
        OptionError, match=r"input is float16, and the zoo's format knows float32 a"
    ):
        oc.write_package("half.onnx", "out")
    kind = onnx.TensorProto.DOUBLE
    save(place / "double.onnx", nodes, [("image", kind, shape)], [("map", kind, shape)])
    oc.write_package("double.onnx", "out")
    assert np.load("out/test_input.npy").dtype == np.float64
    assert str(by_the_zoo("out").inputs[0].data.type) == "float64"


def test_a_full_disk_leaves_nothing(place, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OutputError, match="'out' cannot be written: No space left on device"):
        oc.write_package("net.onnx", "out")
    assert not (place / "out").exists()
    assert leftovers(place) == []


def test_names_after_files(place):
    (place / "net.onnx").rename("é!.onnx")
    made = oc.write_package("é!.onnx", "out")
    assert "name 'model', after the file" in made.assumed
    described = OnnxModel("x", Path("é!.onnx")).open("cpu", 1).description
    assert card_of(described).name == "model"
    assert card_of(described, name="a" * 128).name == "a" * 128


def test_a_package_that_would_be_read_otherwise_is_not_written(place, monkeypatch):
    monkeypatch.setattr("onnx_cte.packaging.same_findings", lambda *args: "maps differ by 0.3")
    with pytest.raises(DescriptorError, match=r"is not read as the file is: maps differ by 0\.3"):
        oc.write_package("net.onnx", "out")
    assert not (place / "out").exists()
    assert leftovers(place) == []


def test_findings_that_differ_are_noticed(place):
    from onnx_cte.segmenters.comparing import same_findings

    stated = [{}, {"normalize": "zscore"}, {"threshold": 0.7}]
    plain, other, high = (OnnxModel("n", Path("net.onnx"), **s).open("cpu", 1) for s in stated)
    pixels = np.random.default_rng(0).random((40, 40), np.float32)
    image = Image("a", pixels, "yx")
    assert same_findings(plain, plain, image) == ""
    assert same_findings(plain, other, image).startswith("maps differ by up to 0.")
    assert same_findings(plain, high, image) == "thresholds are 0.5 and 0.7"


def test_the_command(place):
    write_images(place)
    result = call(
        "package", "net.onnx", "--normalize", "minmax", "--roles", "nuclei", "-o", "zoo/a"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("written: zoo/a (README.md, bioimageio.yaml, ")
    for line in (
        "before  scale_range(axes=yx, eps=1e-06, max_percentile=100, min_percentile=0)",
        "read back, it reproduces its test tensors, and on 'simulated' it gives what net.onnx",
        "assumed, to be looked at before anybody else uses it",
        "--license is not stated",
    ):
        assert line in result.stdout
    again = call("package", "net.onnx", "-o", "zoo/a")
    assert again.exit_code == 1
    assert "'zoo/a' is there already; --force replaces it" in again.stderr
    result = call("package", "net.onnx", "-o", "zoo/a", "--force", "--json", "--author", "Ada")
    document = json.loads(result.stdout)
    assert document["path"] == "zoo/a"
    assert document["files"] == list(FILES)
    assert call("package", "net.onnx").exit_code == 0
    assert (place / "net-package" / "bioimageio.yaml").is_file()
    assert call("rank", "zoo", "images", "--pictures", 0).exit_code == 0
    assert call("package", "net.onnx", "--axes", "byxc", "-o", "b").exit_code == 2
