"""The main job on small networks whose behaviour is known."""

import dataclasses
import math
import os
import threading

import numpy as np
import pytest
import tifffile
from networks import blur, classifier
from PIL import Image as Picture

from onnx_cte.documents import ranking_to_json
from onnx_cte.errors import (
    DeviceError,
    ImageError,
    InferenceError,
    ModelError,
    NothingToRank,
    NotOffered,
    OptionError,
    OutputError,
)
from onnx_cte.estimators import CTE, Accuracy, Confidence
from onnx_cte.images import Images
from onnx_cte.needs import Needs
from onnx_cte.perturbations import Dropout, Flip, Gamma, GaussianNoise
from onnx_cte.report import read_ranking, write_report
from onnx_cte.runner import rank, rank_each
from onnx_cte.segmenters import BlackBox, open_models
from onnx_cte.types import Image


def discs(seed, shape=(48, 56)):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for i in range(1, 6):
        cy, cx, r = rng.integers(8, 40), rng.integers(8, 48), rng.integers(3, 7)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = i
    pixels = 40 + 120 * (labels > 0) + rng.normal(0, 12, shape)
    return pixels.clip(0, 255).astype(np.uint8), labels


def write_images(folder, count=6):
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        pixels, labels = discs(i)
        Picture.fromarray(pixels).save(folder / "images" / f"{i}.png")
        Picture.fromarray(labels.astype(np.uint16)).save(folder / "labels" / f"{i}.png")
    return folder / "images", folder / "labels"


@pytest.fixture
def place(tmp_path):
    """Three models of falling steadiness, and six labelled images."""
    blur(tmp_path / "models" / "steady.onnx", gain=20)
    blur(tmp_path / "models" / "sharp.onnx", gain=60, width=3)
    blur(tmp_path / "models" / "jumpy.onnx", gain=60, width=1)
    write_images(tmp_path)
    return tmp_path


def but_for_times(ranking):
    document = ranking_to_json(ranking)
    document["provenance"].pop("time")
    return document


def ranked(place, estimator=None, **options):
    images = Images(place / "images", place / "labels")
    return rank(open_models(place / "models"), images, estimator or CTE(), jobs=1, **options)


def test_the_steadiest_model_ranks_first_and_is_the_best(place):
    models, images = open_models(place / "models"), Images(place / "images", place / "labels")
    found, truth = rank_each(models, images, [CTE(), Accuracy()], jobs=1)
    assert [score.model for score in found] == ["steady", "sharp", "jumpy"]
    assert found.estimator == repr(CTE("nhd", (GaussianNoise(0.1),), draws=2))
    for score in found:
        assert score.interval[0] <= score.value <= score.interval[1]
        assert score.images == 6
        assert score.coverage == 1
        assert score.skipped == ()
    assert truth[0].value > 0.8
    assert found.values["steady"] > 0.85 > found.values["jumpy"]


def test_values_by_image_make_the_score(place):
    found = ranked(place)
    for score in found:
        assert list(score.by_image) == [f"{i}.png" for i in range(6)]
        assert score.value == pytest.approx(np.median(list(score.by_image.values())))


def test_rank_each_gives_what_rank_gives(place):
    estimators = [CTE("ei", (Gamma(),)), Confidence(), CTE("nhd", (GaussianNoise(), Flip()))]
    images = Images(place / "images", place / "labels")
    together = rank_each(open_models(place / "models"), images, estimators, jobs=1)
    for estimator, ranking in zip(estimators, together, strict=True):
        assert but_for_times(ranking) == but_for_times(ranked(place, estimator))


def test_order_of_models_and_images_does_not_matter(place):
    models = open_models(place / "models")
    refs = list(Images(place / "images"))
    one = rank(models, refs, CTE(), jobs=1)
    other = rank(models[::-1], refs[::-1], CTE(), jobs=1)
    assert but_for_times(one) == but_for_times(other)


def test_a_model_scores_the_same_alone_and_in_company(place):
    whole = ranked(place)
    images = Images(place / "images", place / "labels")
    alone = rank(open_models(place / "models" / "sharp.onnx"), images, CTE(), jobs=1)
    assert alone[0].value == whole.values["sharp"]


def test_threads_do_not_matter(place):
    one, two = (
        rank(open_models(place / "models"), Images(place / "images"), CTE(), jobs=jobs)
        for jobs in (1, 2)
    )
    assert dict(one.values) == pytest.approx(dict(two.values), abs=1e-6)


def test_the_seed_matters(place):
    one, other = ranked(place, seed=0), ranked(place, seed=1)
    assert dict(one.values) != dict(other.values)
    assert (one.seed, other.seed) == (0, 1)


def test_evidence_is_taken_from_the_store(place, monkeypatch):
    store = place / "evidence.sqlite"
    first = ranked(place, evidence=store)
    monkeypatch.setattr(
        "onnx_cte.segmenters.onnx_model.observe", lambda *_: pytest.fail("measured again")
    )
    assert but_for_times(ranked(place, evidence=store)) == but_for_times(first)


def count_observed(monkeypatch):
    from onnx_cte.segmenters import onnx_model

    seen, real = [], onnx_model.observe

    def counted(recipe, network, image, *rest):
        seen.append((network.session.path.stem, image.name))
        return real(recipe, network, image, *rest)

    monkeypatch.setattr(onnx_model, "observe", counted)
    return seen


def change_model(place):
    blur(place / "models" / "sharp.onnx", gain=61, width=3)
    return {("sharp", f"{i}.png") for i in range(6)}


def change_image(place):
    Picture.fromarray(discs(99)[0]).save(place / "images" / "3.png")
    return {(model, "3.png") for model in ("steady", "sharp", "jumpy")}


def change_label(place):
    Picture.fromarray(discs(98)[1].astype(np.uint16)).save(place / "labels" / "2.png")
    return {(model, "2.png") for model in ("steady", "sharp", "jumpy")}


def change_nothing(place):
    return set()


@pytest.mark.parametrize("change", [change_model, change_image, change_label, change_nothing])
def test_only_what_changed_is_measured_afresh(place, monkeypatch, change):
    store = place / "evidence.sqlite"
    ranked(place, evidence=store)
    due = change(place)
    seen = count_observed(monkeypatch)
    again = ranked(place, evidence=store)
    assert set(seen) == due
    monkeypatch.undo()
    assert but_for_times(again) == but_for_times(ranked(place))


def test_a_model_that_sees_nothing_does_not_count_in_the_contrast(place):
    seeing = ranked(place)
    blur(place / "models" / "blind.onnx", cut=5.0)
    beside = ranked(place)
    assert beside.values["blind"] == 0
    assert (beside.separation.pairs, seeing.separation.pairs) == (6, 3)
    assert beside.separation.contrast == seeing.separation.contrast > 0
    assert "a typical one by" in str(beside.separation)
    assert [score.blind for score in beside] == [False, False, False, True]


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1},
        {"estimator": CTE("ei")},
        {"estimator": CTE("nhd", (GaussianNoise(0.2),))},
    ],
    ids=repr,
)
def test_other_options_are_measured_afresh(place, monkeypatch, options):
    store = place / "evidence.sqlite"
    ranked(place, evidence=store)
    seen = count_observed(monkeypatch)
    ranked(place, evidence=store, **options)
    assert len(seen) == 18


def test_only_the_missing_perturbation_is_run_again(place, monkeypatch):
    from onnx_cte.segmenters import onnx_model

    store = place / "evidence.sqlite"
    ranked(place, evidence=store)
    asked, real = set(), onnx_model.observe

    def counted(recipe, network, image, needs, *rest):
        asked.update(perturbation.name for perturbation in needs.perturbations)
        return real(recipe, network, image, needs, *rest)

    monkeypatch.setattr(onnx_model, "observe", counted)
    models, images = open_models(place / "models"), Images(place / "images", place / "labels")
    both = [CTE(), CTE("nhd", (GaussianNoise(0.3),), draws=1)]
    rank_each(models, images, both, device="cpu", evidence=store)
    assert asked == {"noise=0.3"}


def test_an_interrupted_run_goes_on_and_gives_the_same(place, monkeypatch):
    store = place / "evidence.sqlite"
    from onnx_cte.segmenters import onnx_model

    real, calls = onnx_model.observe, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(onnx_model, "observe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ranked(place, evidence=store)
    monkeypatch.undo()
    seen = count_observed(monkeypatch)
    again = ranked(place, evidence=store)
    assert len(seen) == 18 - 7
    monkeypatch.undo()
    assert but_for_times(again) == but_for_times(ranked(place))


def test_what_cannot_be_used_is_listed_and_the_rest_is_ranked(place):
    (place / "models" / "notes.onnx").write_text("no network")
    classifier(place / "models" / "label.onnx")
    blur(place / "models" / "five.onnx", channels=5)
    (place / "images" / "torn.png").write_bytes((place / "images" / "0.png").read_bytes()[:200])
    Picture.fromarray(np.full((48, 56), 7, np.uint8)).save(place / "images" / "flat.png")
    found = rank(open_models(place / "models"), Images(place / "images"), CTE(), jobs=1)
    assert [score.model for score in found] == ["steady", "sharp", "jumpy"]
    failed = dict(found.failed)
    assert set(failed) == {"notes", "label", "five"}
    assert "is no ONNX model" in failed["notes"]
    assert "a classifier cannot be ranked" in failed["label"]
    assert failed["five"] == (
        "on 6 of 8 images: the image has 1 channel, the network takes 5; give it images of 5 "
        "channels"
    )
    assert {name for name, _ in found.skipped} == {"torn.png", "flat.png"}
    plain = rank(open_models(place / "models"), Images(place / "images"), CTE(), jobs=1)
    assert dict(found.values) == dict(plain.values)


def test_an_image_too_small_for_one_model_is_skipped_for_that_model(place):
    blur(place / "models" / "wide.onnx", sides=(128, 128))
    Picture.fromarray(discs(50, (80, 80))[0]).save(place / "images" / "big.png")
    found = rank(open_models(place / "models"), Images(place / "images"), CTE(), jobs=1)
    wide = next(score for score in found if score.model == "wide")
    assert wide.images == 1
    assert wide.coverage == pytest.approx(1 / 7)
    assert len(wide.skipped) == 6
    assert "48 x 56, the network takes at least 128 x 128" in wide.skipped[0][1]
    assert all(score.images == 7 for score in found if score.model != "wide")


def test_strict_raises_the_first_error(place):
    blur(place / "models" / "a_five.onnx", channels=5)
    with pytest.raises(ImageError, match="the network takes 5"):
        ranked(place, strict=True)


class Faulty(BlackBox):
    """Fails on some images, in ways that are not ours."""

    def __init__(self, name, fails):
        self.calls = 0

        def predict(tensor):
            self.calls += 1
            if fails(self.calls):
                raise ZeroDivisionError("by accident")
            return tensor.clip(0, 1)

        super().__init__(name, predict)


def test_a_callable_that_fails_sometimes(place):
    faulty = Faulty("faulty", lambda call: call == 3)  # the perturbed run of the second image
    found = rank([faulty], Images(place / "images"), CTE(draws=1))
    assert found[0].images == 5
    assert found[0].skipped == (("1.png", "ZeroDivisionError: by accident"),)


def test_nothing_left_to_rank(place):
    with pytest.raises(NothingToRank, match="none of 1 models can be used; faulty: on 6 of 6"):
        rank([Faulty("faulty", lambda call: True)], Images(place / "images"), CTE())
    with pytest.raises(NothingToRank, match="there is no model to rank"):
        rank([], Images(place / "images"), CTE())
    with pytest.raises(NothingToRank, match="there is no image to rank"):
        rank(open_models(place / "models"), [], CTE())


def test_no_image_can_be_used(tmp_path):
    blur(tmp_path / "models" / "net.onnx")
    (tmp_path / "images").mkdir()
    Picture.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "images" / "black.png")
    with pytest.raises(NothingToRank, match=r"none of 1 images can be used; black\.png: .*pixel"):
        rank(open_models(tmp_path / "models"), Images(tmp_path / "images"), CTE())


def test_a_silent_model_ranks_last_with_its_coverage(place):
    blur(place / "models" / "blind.onnx", cut=5.0)
    found = ranked(place)
    blind = found[-1]
    assert blind.model == "blind"
    assert blind.value == 0.0
    assert (blind.images, blind.empty, blind.coverage) == (0, 6, 0.0)


def test_a_silent_model_alone_is_undefined(tmp_path):
    images, _ = write_images(tmp_path)
    blur(tmp_path / "models" / "blind.onnx", cut=5.0)
    found = rank(open_models(tmp_path / "models"), Images(images), CTE())
    assert math.isnan(found[0].value)
    assert all(map(math.isnan, found[0].interval))


def test_images_in_memory(place):
    planes = [Image(str(i), discs(i)[0], "yx", truth=discs(i)[1]) for i in range(4)]
    found, truth = rank_each(open_models(place / "models"), planes, [CTE(), Accuracy()], jobs=1)
    assert found[0].images == truth[0].images == 4
    on_disk = ranked(place)
    assert found[0].model == on_disk[0].model


def test_evidence_without_identity_is_not_kept(place):
    box = BlackBox("box", lambda tensor: tensor.clip(0, 1))
    store = place / "evidence.sqlite"
    rank([box], Images(place / "images"), CTE(), evidence=store)
    seen = []
    again = BlackBox("box", lambda tensor: seen.append(1) or tensor.clip(0, 1))
    rank([again], Images(place / "images"), CTE(), evidence=store)
    assert len(seen) == 18  # the reference and two draws of each of 6 images
    named = [
        BlackBox("box", lambda t: seen.append(1) or t.clip(0, 1), identity="1") for _ in range(2)
    ]
    for box in named:
        rank([box], Images(place / "images"), CTE(), evidence=store)
    assert len(seen) == 36


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"jobs": 0}, "jobs is the number of CPU threads, at least 1, not 0"),
        ({"seed": -1}, "the seed is an integer of at least 0"),
    ],
)
def test_options(place, options, complaint):
    with pytest.raises(OptionError, match=complaint):
        rank(open_models(place / "models"), Images(place / "images"), CTE(), **options)


def test_labels_are_asked_for_before_anything_is_run(place):
    with pytest.raises(OptionError, match="estimator 'accuracy' needs labels"):
        rank([Faulty("x", lambda call: True)], Images(place / "images"), Accuracy())


def test_names_must_be_unique(place):
    box = BlackBox("box", lambda tensor: tensor)
    with pytest.raises(OptionError, match="model names must be unique; 'box' is there twice"):
        rank([box, box], Images(place / "images"), CTE())


def test_a_missing_device_ends_the_run(place, monkeypatch):
    monkeypatch.setattr("onnx_cte.sessions.devices.cuda_works", lambda: (False, "none here"))
    with pytest.raises(DeviceError, match="'cuda' was asked for, but only 'cpu' works here"):
        ranked(place, device="cuda")


def test_a_full_disk_ends_the_run(place, monkeypatch):
    def full(self, found):
        raise OutputError("evidence file cannot be written: disk full")

    monkeypatch.setattr("onnx_cte.evidence.EvidenceStore.put", full)
    with pytest.raises(OutputError, match="disk full"):
        ranked(place, evidence=place / "evidence.sqlite")


def test_probabilities_out_of_range_are_refused(place):
    box = BlackBox("box", lambda tensor: tensor * 50, normalize="none")
    with pytest.raises(InferenceError, match=r"reaches from .* expected probabilities in \[0, 1\]"):
        rank([box], Images(place / "images"), CTE(), strict=True)


def test_two_threads_can_rank_at_once(place):
    results = {}

    def work(key):
        results[key] = ranked(place)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert but_for_times(results[0]) == but_for_times(results[1])


def test_a_ranking_is_a_sequence_and_prints_a_table(place):
    found = ranked(place)
    assert len(found) == 3
    assert found[0] == next(iter(found))
    assert found[:2] == found.scores[:2]
    lines = str(found).splitlines()
    assert lines[0].split()[:3] == ["rank", "model", "score"]
    assert lines[2].split()[:2] == ["1", "steady"]
    assert dataclasses.is_dataclass(found)


def test_slices_of_a_stack_are_images_of_one_group(tmp_path):
    blur(tmp_path / "models" / "net.onnx")
    (tmp_path / "images").mkdir()
    for name, count in (("one", 3), ("two", 2), ("three", 2), ("four", 2), ("five", 2)):
        stack = np.stack([discs(len(name) + i)[0] for i in range(count)])
        tifffile.imwrite(
            tmp_path / "images" / f"{name}.tif", stack, metadata={"axes": "ZYX"}, imagej=True
        )
    found = rank(open_models(tmp_path / "models"), Images(tmp_path / "images"), CTE(), jobs=1)
    assert found[0].images == 11
    assert found[0].interval[0] < found[0].interval[1]
    # With a single file there is nothing to draw from, however many slices it has.
    alone = rank(open_models(tmp_path / "models"), Images(tmp_path / "images/one.tif"), CTE())
    assert alone[0].images == 3
    assert math.isnan(alone[0].interval[0])


def test_options_that_would_make_every_model_fail(place):
    models, images = open_models(place / "models"), Images(place / "images")
    for options, complaint in (
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"jobs": 1.5}, r"at least 1, not 1\.5"),
        ({"jobs": 100_000}, r"not 100000: this machine has \d+"),
        ({"seed": 1.5}, r"an integer of at least 0, not 1\.5"),
    ):
        with pytest.raises(OptionError, match=complaint):
            rank(models, images, CTE(), **options)
    with pytest.raises(OptionError, match=r"'models' is a path: pass open_models\('models'\)"):
        rank("models", images, CTE())
    with pytest.raises(OptionError, match=r"'images' is a path: pass Images\('images'\)"):
        rank(models, "images", CTE())
    with pytest.raises(OptionError, match=r"pass an estimator, CTE\(\), not its class"):
        rank(models, images, CTE)


@dataclasses.dataclass(frozen=True)
class Shift:
    """A perturbation whose name does not tell its strength."""

    by: float
    name = "shift"

    def apply(self, tensor, rng):
        return tensor + np.float32(self.by)

    def restore(self, maps):
        return maps


def test_different_perturbations_cannot_share_a_name(place):
    models, images = open_models(place / "models"), Images(place / "images")
    with pytest.raises(OptionError, match="two different perturbations have the name 'shift'"):
        rank_each(models, images, [CTE("nhd", Shift(0.02)), CTE("nhd", Shift(0.3))])
    assert rank_each(models, images, [CTE("nhd", Shift(0.1)), CTE("ei", Shift(0.1))])
    assert GaussianNoise(0.5000001).name != GaussianNoise(0.5000004).name


def test_an_estimator_without_a_repr_of_its_own_is_measured_each_time(place, monkeypatch):
    class Nameless:
        name, title, greater_is_better = "nameless", "nameless", True
        needs = CTE().needs
        measure, score = CTE().measure, CTE().score

    store = place / "evidence.sqlite"
    ranked(place, Nameless(), evidence=store)
    seen = count_observed(monkeypatch)
    ranked(place, Nameless(), evidence=store)
    assert len(seen) == 18


def test_all_reasons_are_told_if_nothing_can_be_ranked(place):
    for path in (place / "models").iterdir():
        path.write_text("no network")
    with pytest.raises(NothingToRank, match=r"jumpy: jumpy\.onnx: .*; sharp: .*; steady: "):
        ranked(place)


def test_failures_are_counted_whatever_they_say(place):
    box = BlackBox("box", lambda tensor: tensor * 50 + 2, normalize="none")
    found = rank([*open_models(place / "models"), box], Images(place / "images"), CTE(), jobs=1)
    (failed,) = found.failed
    assert failed[1].startswith("on 6 of 6 images: the output reaches from")


def test_strict_tells_errors_of_others_as_ours(place):
    faulty = Faulty("faulty", lambda call: True)
    with pytest.raises(ModelError, match="ZeroDivisionError: by accident"):
        rank([faulty], Images(place / "images"), CTE(), strict=True)


def test_names_that_are_no_text(place):
    name = os.fsdecode(b"\xff.png")
    try:
        (place / "images" / name).write_bytes((place / "images" / "0.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes only text for names")
    found = ranked_unlabelled(place)
    assert found[0].images == 7
    write_report(found, place / "out")
    assert read_ranking(place / "out")[0].by_image == found[0].by_image


def ranked_unlabelled(place):
    return rank(open_models(place / "models"), Images(place / "images"), CTE(), jobs=1)


def test_what_is_done_to_images_is_noted_on_resumed_runs_too(place):
    blur(place / "models" / "colour.onnx", channels=3)
    rgb = np.stack([discs(7)[0]] * 3, axis=-1)
    first = ranked_unlabelled(place)
    grey = "grey images are repeated for its 3 channels"
    assert {score.model: grey in score.notes for score in first}["colour"]
    assert sum(grey in score.notes for score in first) == 1
    Picture.fromarray(rgb).save(place / "images" / "rgb.png")
    told = "images of 3 channels are taken for RGB and turned to grey (Rec. 709 luminance)"
    for _ in range(2):
        images = Images(place / "images")
        found = rank(open_models(place / "models"), images, CTE(), evidence=place / "e.sqlite")
        noted = {score.model for score in found if told in score.notes}
        assert noted == {"steady", "sharp", "jumpy"}


def test_every_ranking_tells_how_well_it_separates(place):
    images = Images(place / "images", place / "labels")
    estimators = [CTE(), Confidence(), Accuracy(), CTE("nhd", Flip())]
    found = rank_each(open_models(place / "models"), images, estimators, jobs=1)
    for ranking in found:
        values = list(ranking.values.values())
        halves = sorted((s.interval[1] - s.interval[0]) / 2 for s in ranking)
        assert ranking.separation.spread == pytest.approx(np.std(values, ddof=1))
        assert ranking.separation.width == pytest.approx(halves[1])
        assert ranking.separation.pairs == 3
        assert ranking.separation.decided == 3 - len(ranking.undecided)
    assert [ranking.separation.draws for ranking in found] == [2, 0, 0, 1]
    assert found[0].separation.stability == 1
    assert all(math.isnan(ranking.separation.stability) for ranking in found[1:])


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Scores all models alike, and each draw as it is told to."""

    draws: tuple[str, ...]  # models, the best first
    truth: bool = False
    name, title, greater_is_better = "drawn", "drawn", True

    @property
    def needs(self):
        return Needs(truth=self.truth)

    def measure(self, seen):
        return {"value": 0.99, "foreground": 0.1}

    def score(self, bank):
        return dict.fromkeys(bank, 0.99)

    def score_by_draw(self, bank):
        assert set(bank) == {"jumpy", "sharp", "steady"}
        assert bank.images == 6
        return tuple({m: -draw.split().index(m) for m in bank} for draw in self.draws)


def test_draws_of_an_estimator_from_outside(place):
    models, images = open_models(place / "models"), Images(place / "images", place / "labels")
    draws = ("jumpy sharp steady", "jumpy steady sharp", "steady sharp jumpy")
    estimators = [Drawn(draws), Drawn(draws[:1]), Drawn(()), Drawn(draws, truth=True)]
    many, one, none, truth = rank_each(models, images, estimators, jobs=1)
    assert many.separation.draws == 3
    assert many.separation.stability == pytest.approx((1 / 3 - 1 - 1 / 3) / 3)
    assert (one.separation.draws, none.separation.draws) == (1, 1)
    assert "0 of 3 pairs of models can be told apart" in many.warnings[0]
    assert "its 3 draws rank the models differently (Kendall's tau -0.33)" in many.warnings[0]
    assert "draws" not in none.warnings[0]
    # The truth is not perturbed, whatever it can tell of draws.
    assert truth.separation.draws == 0
    assert truth.warnings == ()


def test_a_perturbation_that_says_nothing_is_noticed(place):
    faint = CTE("nhd", GaussianNoise(1e-6))
    found = ranked(place, faint)
    assert "the perturbation says little about these models" in found.warnings[0]
    assert ranked(place).warnings == ()


class Picky(BlackBox):
    """Cannot be disturbed by gamma; remembers what it was disturbed by."""

    def __init__(self, name="picky", reason="no gamma here", **options):
        super().__init__(name, lambda tensor: tensor.clip(0, 1), **options)
        self.reason, self.seen = reason, []

    def refuses(self, needs):
        return self.reason if any(p.name.startswith("gamma") for p in needs.perturbations) else ""

    def observe(self, image, needs, seed):
        self.seen.append({p.name.partition("=")[0] for p in needs.perturbations})
        return super().observe(image, needs, seed)


def easy(name="easy"):
    return BlackBox(name, lambda tensor: tensor.clip(0, 1) ** 2)


GAMMA, NOISE, INSIDE = CTE("nhd", Gamma(), draws=1), CTE("nhd", draws=1), CTE("nhd", Dropout(0.1))


def test_a_model_fails_only_for_the_estimator_it_cannot_serve(place):
    images, picky = Images(place / "images"), Picky()
    gamma, noise, confidence = rank_each([picky, easy()], images, [GAMMA, NOISE, Confidence()])
    assert gamma.failed == (("picky", "no gamma here"),)
    assert [score.model for score in gamma] == ["easy"]
    assert noise.failed == confidence.failed == ()
    assert set(noise.values) == set(confidence.values) == {"picky", "easy"}
    # What it cannot be disturbed by is not even tried.
    assert picky.seen == [{"noise"}] * 6
    assert but_for_times(noise) == but_for_times(rank([easy(), Picky()], images, NOISE))
    assert but_for_times(gamma) == but_for_times(rank([easy(), Picky()], images, GAMMA))


def test_a_model_from_outside_that_knows_nothing_of_refusing(place):
    class Outside:
        name, identity, notes, record = "outside", "", (), {}
        adapts, observe, close = easy().adapts, easy().observe, easy().close

        def open(self, device, threads):
            return self

    (found,) = rank([Outside()], Images(place / "images"), GAMMA)
    assert found.images == 6


def test_a_ranking_in_which_all_failed_does_not_kill_the_others(place):
    boxes, images = [easy("a"), easy("b")], Images(place / "images", place / "labels")
    inside, noise, truth = rank_each(boxes, images, [INSIDE, NOISE, Accuracy()])
    assert inside.scores == ()
    assert [model for model, _ in inside.failed] == ["a", "b"]
    assert "not at bottleneck; use an input perturbation" in inside.failed[0][1]
    assert inside.title == INSIDE.title
    assert inside.separation is None
    assert inside.warnings == ()
    assert len(noise) == len(truth) == 2
    write_report(inside, place / "out")
    assert read_ranking(place / "out").failed == inside.failed


def test_alone_it_has_nothing_to_rank(place):
    images = Images(place / "images")
    with pytest.raises(NothingToRank, match=r"none of 2 models can be used; a, b: a black "):
        rank([easy("b"), easy("a")], images, INSIDE)
    # Nor if no estimator is served by any; each model is told once, whatever it refuses, and
    # a reason that several share once.
    both = [INSIDE, CTE("ei", Dropout(0.1)), CTE("nhd", Dropout(0.1, taps="skips"))]
    with pytest.raises(NothingToRank) as told:
        rank_each([easy("b"), easy("a")], images, both)
    assert str(told.value).count("a black box can be disturbed") == 1


def test_refused_before_any_image_is_read(place):
    class Unread:
        name = group = "unread"

        def load(self):
            pytest.fail("read for nothing")

    with pytest.raises(NothingToRank, match="none of 1 models can be used; picky: no gamma here"):
        rank([Picky()], [Unread()], GAMMA)


def test_images_that_cannot_be_used_are_found_though_the_first_model_refuses(place):
    Picture.fromarray(np.full((48, 56), 7, np.uint8)).save(place / "images" / "flat.png")
    found = rank([Picky("a"), easy("b")], Images(place / "images"), GAMMA)
    assert [name for name, _ in found.skipped] == ["flat.png"]
    assert (found[0].images, found[0].coverage) == (6, 1.0)
    for path in (place / "images").glob("[0-9].png"):
        path.unlink()
    with pytest.raises(NothingToRank, match=r"none of 1 images can be used; flat\.png: .*pixel"):
        rank([Picky("a"), easy("b")], Images(place / "images"), GAMMA)


def test_a_model_that_cannot_be_opened_fails_for_all(place):
    (place / "models" / "notes.onnx").write_text("no network")
    models = open_models(place / "models")
    for ranking in rank_each(models, Images(place / "images"), [GAMMA, NOISE], jobs=1):
        assert [model for model, _ in ranking.failed] == ["notes"]
        assert len(ranking) == 3


def test_a_model_that_fails_on_all_images_is_listed_once_where_it_served(place):
    class Broken(Picky):
        def observe(self, image, needs, seed):
            raise ModelError("out of order")

    gamma, noise = rank_each([Broken(), easy()], Images(place / "images"), [GAMMA, NOISE])
    assert gamma.failed == (("picky", "no gamma here"),)
    assert noise.failed == (("picky", "on 6 of 6 images: out of order"),)


def test_an_error_while_asked_is_a_reason_too(place):
    class Puzzled(Picky):
        def refuses(self, needs):
            raise ZeroDivisionError("by accident")

    (found,) = rank_each([Puzzled(), easy()], Images(place / "images"), [GAMMA])
    assert found.failed == (("picky", "ZeroDivisionError: by accident"),)
    with pytest.raises(ModelError, match="ZeroDivisionError: by accident"):
        rank([Puzzled()], Images(place / "images"), GAMMA, strict=True)


def test_strict_raises_what_is_not_offered_and_closes_the_model(place):
    closed = []

    class Watched(Picky):
        def close(self):
            closed.append(self.name)

    with pytest.raises(NotOffered, match="picky: no gamma here"):
        rank_each([easy(), Watched()], Images(place / "images"), [NOISE, GAMMA], strict=True)
    assert closed == ["picky"]


def test_what_was_measured_beside_a_refusal_is_taken_from_the_store(place):
    images, store = Images(place / "images"), place / "evidence.sqlite"
    first, again = Picky(identity="1"), Picky(identity="1")
    one = rank_each([first], images, [GAMMA, NOISE], evidence=store)
    other = rank_each([again], images, [NOISE, GAMMA], evidence=store)
    assert (len(first.seen), len(again.seen)) == (6, 0)
    assert [but_for_times(r) for r in one] == [but_for_times(r) for r in other[::-1]]
