"""Every engine equals the masked network run once a row, and says which way it took."""

import numpy as np
import onnx
import pytest
from families.building import built, find
from masked_runs import row_by_row
from onnx import helper, numpy_helper

from onnx_cte.errors import GraphError
from onnx_cte.segmenters import engine as engines
from onnx_cte.segmenters import grey_box
from onnx_cte.segmenters.engine import Engine
from onnx_cte.segmenters.onnx_model import OnnxModel

MODES = ["shared", "expanded", "masked"]


@pytest.fixture(scope="module")
def opened():
    """Opened families, by name."""
    found = {}

    def open_family(name, **options):
        if name not in found:
            found[name] = OnnxModel(name, built(find(name)), **options).open("cpu", 1)
        return found[name]

    yield open_family
    for segmenter in found.values():
        segmenter.close()


def engine_of(segmenter, taps=("bottleneck",), **options):
    grey = segmenter.grey_box
    return Engine(grey.inside, grey.resolve(taps), segmenter.network.native, **options)


def draw(taps, rows, seed=0):
    rng = np.random.default_rng(seed)
    return {
        tap.name: (rng.random((rows, tap.channels, *[1] * (tap.rank - 2))) > 0.3).astype(np.float32)
        for tap in taps
    }


def image_for(inside, larger=2, seed=3):
    shape = [
        n if a in "bc" else larger * n
        for n, a in zip(inside.probe.shape, inside.probe.axes, strict=True)
    ]
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("taps", [("bottleneck",), ("skips",), ("bottleneck", "decoder", "skips")])
@pytest.mark.parametrize(
    "family", ["unet-nearest", "unet-residual-add", "unet-bcr-kept", "hand-channels-last-outer"]
)
def test_an_engine_equals_one_masked_run_a_row(opened, family, taps, mode):
    segmenter = opened(family)
    made = engine_of(segmenter, taps, modes=(mode, "masked"))
    assert (made.mode, made.fell_back) == (mode, ())
    inside = segmenter.grey_box.inside
    image, factors = image_for(inside), draw(made.taps, 3)
    found = made.run(image, factors)
    expected = row_by_row(inside, made.taps, image, factors)
    scale = np.abs(expected[0]).max()
    assert len(found) == 4
    for row, due in zip(found, expected, strict=True):
        np.testing.assert_allclose(row, due, atol=1e-5 * scale)
    # A wrong mask would be noticed.
    assert np.abs(found[1] - expected[2]).max() > 1e-3 * scale
    made.close()


def test_doubling_is_merged_at_every_level(opened):
    made = engine_of(opened("unet-nearest"))
    rewritten = made._rewritten(made._masked_model(), "shared")
    kinds = [node.op_type for node in rewritten.graph.node]
    assert kinds.count("Reshape") == 3 * 3


def test_a_network_that_mixes_rows_falls_back_to_one_run_a_row(opened):
    segmenter = opened("unet-quantised-dynamic")
    made = engine_of(segmenter)
    assert made.mode == "masked"
    assert made.fell_back == (
        "shared or expanded: DynamicQuantizeLinear takes its range over all rows of a batch",
    )
    inside = segmenter.grey_box.inside
    image, factors = image_for(inside, 1), draw(made.taps, 2)
    for row, due in zip(
        made.run(image, factors), row_by_row(inside, made.taps, image, factors), strict=True
    ):
        np.testing.assert_array_equal(row, due)


def test_the_proof_notices_rows_that_are_mixed_and_what_does_not_run(opened, monkeypatch):
    segmenter = opened("unet-quantised-dynamic")
    monkeypatch.setattr(engines, "MIXING", frozenset())
    shared, expanded = engine_of(segmenter).fell_back
    assert shared.startswith("shared: differs by ")
    assert expanded.startswith("expanded: differs by ")

    def too_large(*_, **__):
        raise GraphError("net.onnx: the rewritten graph is too large")

    segmenter = opened("unet-nearest")
    monkeypatch.setattr(engines, "share_skips", too_large)
    made = engine_of(segmenter)
    assert made.mode == "expanded"
    assert made.fell_back == ("shared: net.onnx: the rewritten graph is too large",)


def test_a_network_that_is_silent_on_the_probe_is_tried_on_others(tmp_path):
    def dim(model):
        # Nothing passes below 5; the probe image reaches about 1.
        model.graph.initializer.append(numpy_helper.from_array(np.float32(5), "floor"))
        for node in model.graph.node:
            for place, name in enumerate(node.input):
                if name == model.graph.input[0].name:
                    node.input[place] = "bright"
        name = model.graph.input[0].name
        model.graph.node.insert(0, helper.make_node("Relu", ["over"], ["bright"]))
        model.graph.node.insert(0, helper.make_node("Sub", [name, "floor"], ["over"]))

    model = onnx.load(built(find("hand-channels-last-outer")))
    dim(model)
    onnx.save(model, tmp_path / "dim.onnx")
    segmenter = OnnxModel("dim", tmp_path / "dim.onnx").open("cpu", 1)
    assert engine_of(segmenter).mode == "shared"


def test_large_weights_are_set_aside(monkeypatch):
    monkeypatch.setattr(grey_box, "LARGE", 0)
    segmenter = OnnxModel("net", built(find("unet-transposed"))).open("cpu", 1)
    inside = segmenter.grey_box.inside
    assert inside.folder != inside.path.parent
    assert inside.model.ByteSize() < 0.5 * inside.path.stat().st_size
    made = engine_of(segmenter)
    assert made.mode == "shared"
    monkeypatch.undo()
    plain = OnnxModel("net", inside.path).open("cpu", 1)
    image, factors = image_for(inside, 1), draw(made.taps, 2)
    found = made.run(image, factors)
    expected = row_by_row(plain.grey_box.inside, made.taps, image, factors)
    for row, due in zip(found, expected, strict=True):
        np.testing.assert_allclose(row, due, atol=1e-5)
    segmenter.close()
    assert not inside.folder.exists()


def test_few_rows_at_a_time_give_the_same(opened, monkeypatch):
    segmenter = opened("unet-transposed")
    made = engine_of(segmenter)
    image = image_for(segmenter.grey_box.inside, 1)
    factors = draw(made.taps, 6)
    whole = made.run(image, factors)
    runs, real = [], made._feed
    monkeypatch.setattr(engines, "MEMORY", 1)
    monkeypatch.setattr(made, "_feed", lambda *given: runs.append(1) or real(*given))
    parts = made.run(image, factors)
    assert len(runs) == 4  # seven rows, two by two
    for row, due in zip(parts, whole, strict=True):
        np.testing.assert_allclose(row, due, atol=1e-6)


def test_a_row_does_not_depend_on_its_company(opened):
    segmenter = opened("unet-nearest")
    made = engine_of(segmenter)
    image, factors = image_for(segmenter.grey_box.inside, 1), draw(made.taps, 4)
    together = made.run(image, factors)
    alone = made.run(image, {"bottleneck": factors["bottleneck"][2:3]})
    np.testing.assert_allclose(alone[1], together[3], atol=1e-6)
    np.testing.assert_allclose(alone[0], together[0], atol=1e-6)


def test_a_mask_of_another_width_is_refused(opened):
    made = engine_of(opened("unet-nearest"))
    image = opened("unet-nearest").grey_box.inside.image
    wrong = {"bottleneck": np.ones((1, 63, 1, 1), np.float32)}
    with pytest.raises(
        GraphError,
        match=r"\.onnx: a mask of shape \(1, 63, 1, 1\) for the bottleneck '.+', which has 64 "
        r"channels and 4 axes; expected \(K, 64, 1, 1\)",
    ):
        made.run(image, wrong)


def test_a_bottleneck_without_effect_is_refused(opened):
    with pytest.raises(
        GraphError, match=r"output '.+' does not change when '.+' is disturbed; name another tensor"
    ):
        engine_of(opened("hand-silenced"))


def test_a_network_that_is_not_what_its_graph_says_is_refused(opened):
    segmenter = opened("unet-nearest")
    grey = segmenter.grey_box
    with pytest.raises(GraphError, match="with a mask of ones its output differs"):
        Engine(grey.inside, grey.resolve(["bottleneck"]), lambda x: segmenter.network.native(x) * 2)


def test_pointwise_masks(opened):
    segmenter = opened("unet-nearest")
    made = engine_of(segmenter, pointwise=True)
    image = segmenter.grey_box.inside.image
    sides = [n // 8 for n in image.shape[2:]]
    left = np.ones((1, 1, *sides), np.float32)
    left[..., : sides[1] // 2] = 0
    undisturbed, disturbed = made.run(image, {"bottleneck": left})
    changed = np.abs(disturbed - undisturbed).max(axis=(0, 1, 2))
    assert changed[0] > 0
    assert changed[-1] == 0  # far from what was blanked


@pytest.mark.gpu
@pytest.mark.parametrize("mode", MODES)
def test_cuda_gives_what_the_cpu_gives(mode):
    path = built(find("unet-nearest"))
    cpu, gpu = (OnnxModel("net", path).open(device, 1) for device in ("cpu", "cuda"))
    image = image_for(cpu.grey_box.inside)
    rows = []
    for segmenter in (cpu, gpu):
        made = engine_of(segmenter, modes=(mode, "masked"))
        assert made.mode == mode
        rows.append(made.run(image, draw(made.taps, 3)))
    for a, b in zip(*rows, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(a).max())
