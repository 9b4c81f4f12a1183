"""Packages of the model zoo, from the folder to the prediction."""

import numpy as np
import pytest
from networks import blur
from packages import FORMAT_04, FORMAT_05, package, sha256, zipped

from onnx_cte.bundled import bundled_models
from onnx_cte.errors import DescriptorError, GraphError, NothingToRank, OptionError, SelfTestFailed
from onnx_cte.needs import Needs
from onnx_cte.perturbations import Flip, GaussianNoise
from onnx_cte.segmenters import OnnxModel, open_models
from onnx_cte.simulation import simulate_images
from onnx_cte.types import Image


def image(seed=0, shape=(40, 50)):
    pixels = np.random.default_rng(seed).integers(0, 200, shape, dtype=np.uint8)
    return Image(f"{seed}.png", pixels, "yx")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def right(folder, text=FORMAT_05, change=lambda content: None):
    """A package whose test output is what its network and steps give, worked out here."""

    def finish(content):
        x = np.load(folder / "test_input.npy").astype(np.float64)
        if text == FORMAT_05:
            x = (x - x.mean()) / (x.std() + 1e-5)
        else:
            low, high = np.percentile(x, (1, 99.8))
            x = (x - low) / (high - low + 1e-6)
        np.save(folder / "test_output.npy", sigmoid(np.repeat(x, 2, 1)).astype(np.float32))
        if text == FORMAT_05:
            content["outputs"][0]["test_tensor"]["sha256"] = sha256(folder / "test_output.npy")
        change(content)

    return package(folder, text, finish)


def opened(path, **options):
    return OnnxModel("net", path, **options).open("cpu", 1)


@pytest.mark.parametrize("text", [FORMAT_04, FORMAT_05], ids=["0.4", "0.5"])
@pytest.mark.parametrize("as_zip", [False, True])
def test_a_package_is_read_checked_and_run(tmp_path, text, as_zip):
    path = right(tmp_path / "net", text)
    if as_zip:
        path = zipped(path, tmp_path / "net.zip")
    net = opened(path)
    seen = net.observe(image(), Needs(), 0).reference
    x = image().data.astype(np.float64)
    if text == FORMAT_05:
        expected = sigmoid((x - x.mean()) / (x.std() + 1e-5))
        assert seen.roles == ("foreground", "boundary")
    else:
        low, high = np.percentile(x, (1, 99.8))
        expected = sigmoid((x - low) / (high - low + 1e-6))
    assert seen.maps.shape == (2, 40, 50)
    assert np.abs(seen["foreground"] - expected).max() < 1e-6
    assert not any("no test tensors" in note for note in net.notes)
    net.close()


def test_a_package_that_does_not_reproduce_its_test_tensors(tmp_path):
    with pytest.raises(SelfTestFailed, match=r"largest difference 0\.\d+, \d+ of 2048 values"):
        opened(package(tmp_path / "net"))


def test_a_test_output_of_another_shape(tmp_path):
    def change(content):
        np.save(tmp_path / "net" / "test_output.npy", np.zeros((1, 2, 30, 32), np.float32))
        content["outputs"][0]["test_tensor"]["sha256"] = sha256(
            tmp_path / "net" / "test_output.npy"
        )

    with pytest.raises(SelfTestFailed, match=r"shape \(1, 2, 30, 32\), running .* \(1, 2, 32, 32"):
        opened(right(tmp_path / "net", change=change))


def test_logits_in_a_package_get_a_sigmoid_and_a_note(tmp_path):
    def change(content):
        content["outputs"][0].pop("postprocessing")
        x = np.load(tmp_path / "net" / "test_input.npy").astype(np.float64)
        x = (x - x.mean()) / (x.std() + 1e-5)
        file = tmp_path / "net" / "test_output.npy"
        np.save(file, np.repeat(x, 2, 1).astype(np.float32))
        content["outputs"][0]["test_tensor"]["sha256"] = sha256(file)

    net = opened(right(tmp_path / "net", change=change))
    assert any("taken as logits, sigmoid added" in note for note in net.notes)
    seen = net.observe(image(), Needs(), 0).reference.maps
    whole = opened(right(tmp_path / "whole")).observe(image(), Needs(), 0).reference.maps
    assert np.abs(seen - whole).max() < 1e-6


def test_options_for_bare_files_are_not_silently_ignored(tmp_path):
    stated = {"normalize": "zscore", "foreground": 1, "axes": "byxc", "activation": "none"}
    net = opened(right(tmp_path / "net"), threshold=0.6, **stated)
    text = "\n".join(net.notes)
    assert "--normalize zscore not used: the package's description says it" in text
    assert "--foreground 1 not used" in text
    assert "--axes byxc not used" in text
    assert "--activation none not used" in text
    assert net.description.threshold == 0.6


def test_a_description_that_does_not_fit_its_network(tmp_path):
    def change(content):
        blur(tmp_path / "net" / "weights.onnx", sides=(32, 32), channels=3)
        content["weights"]["onnx"]["sha256"] = sha256(tmp_path / "net" / "weights.onnx")

    with pytest.raises(DescriptorError, match=r"'image' has 3 channels, the description says 1"):
        opened(right(tmp_path / "net", change=change))


def test_broken_weights_in_a_package(tmp_path):
    def change(content):
        (tmp_path / "net" / "weights.onnx").write_text("not a network")
        content["weights"]["onnx"]["sha256"] = sha256(tmp_path / "net" / "weights.onnx")

    with pytest.raises(GraphError, match="is no ONNX model"):
        opened(right(tmp_path / "net", change=change))


def test_volumes_are_refused(tmp_path):
    def change(content):
        for tensor in (*content["inputs"], *content["outputs"]):
            tensor["axes"].insert(2, {"type": "space", "id": "z", "size": 4})

    with pytest.raises(DescriptorError, match=r"bczyx|z"):
        opened(right(tmp_path / "net", change=change))


def test_a_changed_description_changes_the_identity(tmp_path):
    def wider(content):
        content["outputs"][0]["axes"][2]["halo"] = 4

    one, other = opened(right(tmp_path / "a")), opened(right(tmp_path / "b", change=wider))
    assert one.record["sha256"] == other.record["sha256"]
    assert one.identity != other.identity


def test_large_images_give_in_tiles_what_they_give_whole(tmp_path):
    # Deeper than its receptive field of 2 px, a tile cannot tell that it is one.
    net = blur(tmp_path / "net.onnx")
    needs = Needs((GaussianNoise(0.1), Flip("x")))
    whole = OnnxModel("net", net).open("cpu", 1).observe(image(1, (300, 330)), needs, 0)
    tiled = OnnxModel("net", net, tile_limit=160).open("cpu", 1)
    parts = tiled.observe(image(1, (300, 330)), needs, 0)
    assert np.abs(parts.reference.maps - whole.reference.maps).max() < 1e-6
    for name, prediction in whole.perturbed.items():
        assert np.abs(parts.perturbed[name].maps - prediction.maps).max() < 1e-6
        assert np.abs(prediction.maps - whole.reference.maps).max() > 0.01 or name == "flip=x"


def test_a_window_is_judged_alone_but_sees_its_surroundings(tmp_path):
    net = OnnxModel("net", blur(tmp_path / "net.onnx"), normalize="minmax").open("cpu", 1)
    whole = image(2, (64, 64))
    full = net.observe(whole, Needs(), 0).reference.maps
    part = Image(
        "2.png[part]",
        whole.data[10:50, 20:60],
        "yx",
        window=(slice(8, 28), slice(8, 28)),
        whole=whole.data,
    )
    seen = net.observe(part, Needs(), 0)
    assert seen.reference.maps.shape == (1, 20, 20)
    assert np.abs(seen.reference.maps - full[:, 18:38, 28:48]).max() < 1e-6
    assert (seen.pixels == whole.data[18:38, 28:48]).all()


def test_grey_and_colour_meet(tmp_path):
    grey = OnnxModel("g", blur(tmp_path / "g.onnx"), normalize="none").open("cpu", 1)
    colour = OnnxModel("c", blur(tmp_path / "c.onnx", channels=3), normalize="none").open("cpu", 1)
    rng = np.random.default_rng(0)
    plane = Image("p", rng.random((32, 32), dtype=np.float32), "yx")
    needs = Needs((GaussianNoise(0.1),))
    one, other = (net.observe(plane, needs, 0) for net in (grey, colour))
    assert np.abs(one.reference.maps - other.reference.maps).max() < 1e-5
    # The colour network must not average the noise away.
    for name in one.perturbed:
        assert np.abs(one.perturbed[name].maps - other.perturbed[name].maps).max() < 1e-5
    rgb = Image("r", rng.random((3, 32, 32), dtype=np.float32), "cyx")
    seen = grey.observe(rgb, Needs(), 0)
    luminance = np.tensordot([0.2126, 0.7152, 0.0722], rgb.data, 1)
    assert np.abs(seen.pixels - luminance).max() < 1e-6


def test_open_models_finds_packages_zips_and_files(tmp_path):
    right(tmp_path / "zoo" / "b" / "package")
    right(tmp_path / "packed")
    zipped(tmp_path / "packed", tmp_path / "zoo" / "a.zip")
    blur(tmp_path / "zoo" / "c.onnx")
    blur(tmp_path / "zoo" / "deep" / "er" / "d.onnx")
    blur(tmp_path / "zoo" / ".hidden" / "e.onnx")
    names = [model.name for model in open_models(tmp_path / "zoo")]
    assert names == ["a", "b/package", "c", "deep/er/d"]
    one = [tmp_path / "zoo" / "c.onnx", str(tmp_path / "zoo" / "b" / "package" / "bioimageio.yaml")]
    assert [model.name for model in open_models(one)] == ["c", "package"]
    assert [m.name for m in open_models([one[0], one[0]])] == ["c"]


def test_names_that_collide_stay_apart(tmp_path):
    blur(tmp_path / "a" / "net.onnx")
    blur(tmp_path / "b" / "net.onnx")
    names = [model.name for model in open_models([tmp_path / "a", tmp_path / "b"])]
    assert set(names) == {"net", str(tmp_path / "b" / "net.onnx")}


def test_nothing_to_open(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(NothingToRank, match=r"looked for bioimageio\.yaml .*there are 1 other"):
        open_models(tmp_path)
    with pytest.raises(NothingToRank, match=r"'.*nowhere' does not exist"):
        open_models(tmp_path / "nowhere")
    with pytest.raises(OptionError, match="unknown normalisation 'zsore': did you mean 'zscore'"):
        open_models(tmp_path, normalize="zsore")
    with pytest.raises(OptionError, match=r"in \[0, 1\), not 1.5"):
        open_models(tmp_path, threshold=1.5)


def test_a_package_without_a_halo_gets_one_and_says_so(tmp_path):
    def change(content):
        content["outputs"][0]["axes"][2].pop("halo")

    net = opened(right(tmp_path / "net", change=change))
    assert any("no halo in the description: where tiles meet, 64 px" in n for n in net.notes)
    assert not any("no halo" in n for n in opened(right(tmp_path / "other")).notes)


def test_a_link_to_a_model_is_followed_but_not_in_circles(tmp_path):
    blur(tmp_path / "elsewhere" / "net.onnx")
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "zoo" / "round").symlink_to(tmp_path / "zoo")
    assert [model.name for model in open_models(tmp_path / "zoo")] == ["linked/net"]


def test_a_real_network_gives_in_tiles_what_it_gives_whole():
    path = bundled_models() / "fibro"
    pixels = next(simulate_images(1, 0, shape=(300, 290)))[1]
    field = Image("field", pixels, "yx")
    whole, tiled = (
        OnnxModel("fibro", path, tile_limit=limit).open("cpu", 2).observe(field, Needs(), 0)
        for limit in (1024, 168)
    )
    difference = np.abs(whole.reference.maps - tiled.reference.maps)
    assert 0 < difference.max() < 0.05
    assert (whole.reference.classes == tiled.reference.classes).mean() > 0.9999
