"""Where a network can be disturbed, and that what an estimator sees is what was asked for."""

import numpy as np
import onnx
import pytest
from families.building import built, find
from masked_runs import row_by_row
from onnx import helper

from onnx_cte.errors import NothingToRank, NotOffered, OptionError
from onnx_cte.estimators import CTE
from onnx_cte.needs import Needs
from onnx_cte.perturbations import Dropout, FeatureDrop, FeatureNoise, GaussianNoise, generator
from onnx_cte.runner import rank, rank_each
from onnx_cte.segmenters.black_box import BlackBox
from onnx_cte.segmenters.onnx_model import OnnxModel
from onnx_cte.types import Image


def opened(name, **options):
    return OnnxModel(name, built(find(name)), **options).open("cpu", 1)


def picture(name="a.png", side=96):
    return Image(name, np.random.default_rng(0).random((side, side)).astype(np.float32), "yx")


def test_what_is_seen_is_the_masked_network_with_the_drawn_mask():
    segmenter = opened("unet-transposed", normalize="none")
    dropout = Dropout(0.3)
    seen = segmenter.observe(picture(), Needs((dropout,)), seed=5)
    grey = segmenter.grey_box
    taps = grey.resolve(["bottleneck"])
    mask = dropout.factor((1, 64, 1, 1), None, generator(5, "a.png", "dropout=0.3", "bottleneck"))
    assert (mask == 0).sum() == 20
    plain, masked = row_by_row(grey.inside, taps, picture().data[None, None], {"bottleneck": mask})
    turn = segmenter._recipe.after
    assert [step.name for step in turn] in ([], ["sigmoid"])
    expected = [1 / (1 + np.exp(-row)) if turn else row for row in (plain, masked)]
    np.testing.assert_allclose(seen.reference.maps, expected[0][0], atol=1e-5)
    np.testing.assert_allclose(seen.perturbed["dropout=0.3"].maps, expected[1][0], atol=1e-5)


def test_rates_share_a_run_and_kinds_may_be_mixed():
    segmenter = opened("unet-nearest")
    several = (Dropout(0.1), Dropout(0.5), GaussianNoise(0.1), FeatureNoise(0.3), FeatureDrop())
    together = segmenter.observe(picture(), Needs(several), seed=0)
    assert set(together.perturbed) == {p.name for p in several}
    for perturbation in several:
        alone = segmenter.observe(picture(), Needs((perturbation,)), seed=0)
        found = alone.perturbed[perturbation.name].maps
        np.testing.assert_allclose(found, together.perturbed[perturbation.name].maps, atol=1e-5)
        np.testing.assert_allclose(alone.reference.maps, together.reference.maps, atol=1e-5)
        assert np.abs(found - alone.reference.maps).max() > 1e-4
    engines = segmenter.record["inside"]["engines"]
    assert set(engines) == {"bottleneck", "bottleneck, pointwise"}
    for record in engines.values():
        assert (record["mode"], record["fell back"]) == ("shared", [])
        assert 0 < record["difference"] < 1e-5
        assert record["tensors"] == [segmenter.grey_box.anatomy.bottleneck.tensor]


def test_every_tile_loses_the_same_channels(monkeypatch):
    segmenter = opened("unet-nearest", tile_limit=160)
    grey = segmenter.grey_box
    (engine,) = [grey._engine(grey.resolve(["bottleneck"]), False)]
    seen, real = [], engine.run
    monkeypatch.setattr(
        engine, "run", lambda image, factors: seen.append(factors) or real(image, factors)
    )
    segmenter.observe(picture(side=256), Needs((Dropout(0.3),)), seed=0)
    assert len(seen) > 2
    for factors in seen:
        np.testing.assert_array_equal(factors["bottleneck"], seen[0]["bottleneck"])


def test_taps_by_name_and_by_group():
    grey = opened("unet-nearest").grey_box
    names = [tap.name for tap in grey.resolve(["bottleneck", "decoder", "skips"])]
    assert names == [
        "bottleneck", "decoder/4", "decoder/2", "decoder/1", "skip/1", "skip/2", "skip/4",
    ]  # fmt: skip
    with pytest.raises(OptionError, match="unknown tap 'decoder/3': did you mean 'decoder/"):
        grey.resolve(["decoder/3"])
    with pytest.raises(OptionError, match="this network has no skips to disturb"):
        opened("fcn").grey_box.resolve(["skips"])


def test_a_network_without_bottleneck_says_why_and_takes_one_by_name():
    refusal = opened("hrnet").refuses(CTE(perturbations=Dropout(0.1)).needs)
    assert "no bottleneck to disturb by dropout=0.1" in refusal
    assert "scales run side by side, as in HRNet" in refusal
    assert "Name a tensor for it by --at MODEL=TENSOR, such as '" in refusal
    tensor = opened("hrnet").grey_box.anatomy.candidates[0].tensor
    named = opened("hrnet", at=tensor)
    assert named.refuses(CTE(perturbations=Dropout(0.1)).needs) == ""
    assert f"its bottleneck is '{tensor}' (as stated)" in named.notes
    assert named.identity != opened("hrnet").identity


def test_input_perturbations_need_no_look_inside():
    segmenter = opened("hrnet")
    assert segmenter.refuses(CTE().needs) == ""
    assert "inside" not in segmenter.record
    assert segmenter.notes == segmenter.description.notes


def test_a_fall_back_is_noted():
    segmenter = opened("unet-quantised-dynamic")
    assert segmenter.refuses(CTE(perturbations=Dropout(0.1)).needs) == ""
    assert segmenter.record["inside"]["engines"]["bottleneck"]["mode"] == "masked"
    (note,) = [note for note in segmenter.notes if "engine" in note]
    assert note == (
        "disturbed at bottleneck by the slower engine 'masked': shared or expanded: "
        "DynamicQuantizeLinear takes its range over all rows of a batch"
    )


def test_a_black_box_cannot_be_disturbed_inside():
    box = BlackBox("mine", lambda tensor: tensor.clip(0, 1))
    with pytest.raises(NotOffered, match=r"dropout=0\.1 disturbs feature maps"):
        box.observe(picture(), Needs((Dropout(0.1),)), 0)


def test_models_without_bottleneck_are_listed_not_scored():
    bank = [OnnxModel(name, built(find(name))) for name in ("hrnet", "unet-nearest", "fcn")]
    images = [picture(f"{i}.png") for i in range(2)]
    dropout, noise = CTE(perturbations=Dropout(0.2)), CTE()
    inside, fed = rank_each(bank, images, [dropout, noise], device="cpu", jobs=1)
    assert {score.model for score in inside} == {"unet-nearest", "fcn"}
    assert [model for model, _ in inside.failed] == ["hrnet"]
    assert {score.model for score in fed} == {"hrnet", "unet-nearest", "fcn"}
    assert fed.failed == ()
    with pytest.raises(NothingToRank, match="hrnet: no bottleneck to disturb"):
        rank(bank[:1], images, dropout, device="cpu", jobs=1)


def rewritten(name, path, change):
    model = onnx.load(built(find(name)))
    change(model)
    onnx.save(model, path)
    return OnnxModel(path.stem, path).open("cpu", 1)


def test_a_network_inside_a_local_function_is_looked_into(tmp_path):
    def wrap(model):
        graph = model.graph
        inputs = [graph.input[0].name, *(tensor.name for tensor in graph.initializer)]
        outputs = [value.name for value in graph.output]
        body = helper.make_function(
            "mine", "Net", inputs, outputs, list(graph.node), model.opset_import
        )
        del graph.node[:]
        graph.node.append(helper.make_node("Net", inputs, outputs, domain="mine"))
        model.functions.append(body)
        model.opset_import.append(helper.make_opsetid("mine", 1))

    wrapped = rewritten("hand-channels-last-outer", tmp_path / "wrapped.onnx", wrap)
    needs = Needs((Dropout(0.3),))
    assert wrapped.refuses(needs) == ""
    plain = opened("hand-channels-last-outer")
    found, due = (model.observe(picture(), needs, 0) for model in (wrapped, plain))
    np.testing.assert_allclose(
        found.perturbed["dropout=0.3"].maps, due.perturbed["dropout=0.3"].maps, atol=1e-5
    )


def test_nodes_may_stand_in_any_order(tmp_path):
    def reverse(model):
        nodes = list(model.graph.node)[::-1]
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    reversed_ = rewritten("hand-channels-last-outer", tmp_path / "reversed.onnx", reverse)
    tensor = reversed_.grey_box.anatomy.bottleneck.tensor
    assert tensor == opened("hand-channels-last-outer").grey_box.anatomy.bottleneck.tensor
    assert reversed_.refuses(Needs((Dropout(0.3),))) == ""


def ending_in(op, **attributes):
    """Changes a network that ends in a Sigmoid so that something follows it."""

    def change(model):
        (output,) = model.graph.output
        for node in model.graph.node:
            if node.output[0] == output.name:
                node.output[0] = "probability"
        model.graph.node.append(helper.make_node(op, ["probability"], [output.name], **attributes))

    return change


@pytest.mark.parametrize("end", [("Identity", {}), ("Cast", {"to": 1}), ("Clip", {})])
def test_no_tap_is_the_prediction_itself(tmp_path, end):
    op, attributes = end
    name = "hand-channels-last-outer"
    plain = opened(name).grey_box.anatomy
    ended = rewritten(name, tmp_path / "ended.onnx", ending_in(op, **attributes)).grey_box.anatomy
    assert [tap.tensor for tap in ended.taps] == [tap.tensor for tap in plain.taps]
    assert all(tap.channels > 1 for tap in ended.taps)


def test_no_tap_of_a_quantised_network_is_the_prediction_or_a_scale():
    found = opened("unet-quantised-dynamic").grey_box.anatomy
    due = opened("unet-opset-17").grey_box.anatomy
    assert [(tap.name, tap.channels) for tap in found.taps] == [
        (tap.name, tap.channels) for tap in due.taps
    ]


def test_a_strided_stem_behind_a_clip_is_no_encoder_tap(tmp_path):
    def clip(model):
        name = model.graph.input[0].name
        for node in model.graph.node:
            for place, read in enumerate(node.input):
                if read == name:
                    node.input[place] = "clipped"
        model.graph.node.insert(0, helper.make_node("Clip", [name], ["clipped"]))

    found = rewritten("hand-channels-last-outer", tmp_path / "clipped.onnx", clip).grey_box.anatomy
    assert "clipped" not in [tap.tensor for tap in found.taps]


def test_what_drops_every_channel_is_refused(tmp_path):
    def narrow(model):
        (output,) = model.graph.output
        for node in model.graph.node:
            if node.output[0] == output.name:
                node.input[0], narrow.tensor = node.input[0], node.input[0]

    named = "hand-channels-last-outer"
    segmenter = rewritten(named, tmp_path / "net.onnx", narrow)
    wide = segmenter.grey_box.anatomy.bottleneck
    segmenter.close()
    narrowed = OnnxModel("net", tmp_path / "net.onnx", at=narrow.tensor).open("cpu", 1)
    tap = narrowed.grey_box.anatomy.bottleneck
    assert (wide.channels, tap.channels) == (64, 1)
    assert narrowed.refuses(Needs((Dropout(0.05),))) == (
        f"dropout=0.05 drops all 1 channels of the bottleneck '{tap.tensor}', so that any "
        "prediction would be lost; name a wider tap, or another perturbation"
    )
    assert narrowed.refuses(Needs((Dropout(0.5, law="bernoulli"),))) == ""


class Gain:
    """A perturbation from outside, as wrong as it is told to be."""

    def __init__(self, make, taps=("bottleneck",)):
        self.make, self.taps, self.name, self.reads_features = make, taps, "gain", False

    def factor(self, shape, features, rng):
        return self.make(shape)


def test_a_perturbation_from_outside():
    segmenter = opened("unet-nearest")
    seen = segmenter.observe(picture(), Needs((Gain(lambda s: np.full((1, 1, 1, 1), 0.5)),)), 0)
    assert np.abs(seen.perturbed["gain"].maps - seen.reference.maps).max() > 1e-3


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda s: np.float32(1), r"a factor of shape \(\), float32 that does not fit the bottle"),
        (lambda s: np.ones((1, 7, 1, 1)), r"a factor of shape \(1, 7, 1, 1\), float64 that does"),
        (lambda s: np.ones((5, *s[1:])), r"a factor of shape \(5, 64, "),
        (lambda s: np.full((1, 64, 1, 1), np.nan), "values that are no finite numbers for the bot"),
    ],
)
def test_a_factor_that_does_not_fit_is_told(make, what):
    with pytest.raises(OptionError, match=rf"perturbation gain returned {what}"):
        opened("unet-nearest").refuses(Needs((Gain(make),)))
