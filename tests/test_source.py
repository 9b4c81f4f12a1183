"""Estimators that compare with images of a model's own training domain."""

import math

import comparing
import numpy as np
import pytest
from comparing import Nearness, Share, arrange
from PIL import Image as Picture
from test_runner import but_for_times, count_observed, discs, write_images

from onnx_cte.errors import ImageError, NothingToRank, NotOffered, OptionError
from onnx_cte.images import Images
from onnx_cte.runner import rank, rank_each
from onnx_cte.segmenters import BlackBox, open_models
from onnx_cte.types import Image


@pytest.fixture
def place(tmp_path):
    return arrange(tmp_path)


@pytest.fixture(autouse=True)
def measured():
    comparing.MEASURED.clear()
    return comparing.MEASURED


@pytest.fixture
def own(place):
    write_images(place / "own", 3)
    for i in range(3):
        pixels, labels = discs(i + 50)
        Picture.fromarray(pixels).save(place / "own" / "images" / f"{i}.png")
        Picture.fromarray(labels.astype(np.uint16)).save(place / "own" / "labels" / f"{i}.png")
    return place


def source(place, *models):
    images = Images(place / "own" / "images", place / "own" / "labels")
    return dict.fromkeys(models, images)


def ranked(place, estimators, given, **options):
    models, images = open_models(place / "models"), Images(place / "images")
    return rank_each(models, images, estimators, source=given, jobs=1, **options)


def test_source_images_are_measured_with_their_labels_beside_the_target(own, measured):
    (found,) = ranked(own, [Nearness()], source(own, "steady", "sharp", "jumpy"))
    assert found.needs == ("source",)
    assert [entry for entry in measured if entry[1] == "0.png"] == [
        ("nearness", "0.png", "source"),
        ("nearness", "0.png", "target"),
    ] * 3
    assert len(measured) == 3 * (3 + 6)
    labelled = np.mean([(discs(i + 50)[1] > 0).mean() for i in range(3)])
    for score in found:
        here = np.mean(list(score.by_image.values()))
        assert score.value == pytest.approx(1 - abs(labelled - here))
        assert score.images == 6
    assert "3 from 3 files" in found.provenance["source_domains"]["sharp"]


def test_a_model_without_source_fails_for_that_estimator_alone(own):
    share, near = ranked(own, [Share(), Nearness()], source(own, "steady"))
    assert len(share) == 3
    assert [score.model for score in near] == ["steady"]
    failed = dict(near.failed)
    assert set(failed) == {"jumpy", "sharp"}
    assert failed["sharp"].startswith(
        "it needs the model's own source images and labels: --source MODEL=IMAGES:LABELS, or "
        "source={'MODEL': Images(...)} in Python; without them leep or nce"
    )
    share, near = ranked(own, [Share(), Nearness()], None)
    assert near.scores == ()
    with pytest.raises(NothingToRank, match="jumpy, sharp, steady: it needs the model's own"):
        ranked(own, [Nearness()], {})
    with pytest.raises(NotOffered, match="jumpy: estimator 'nearness': it needs the model's own"):
        ranked(own, [Nearness()], source(own, "steady"), strict=True)


def test_a_model_that_serves_nothing_is_not_even_opened(own):
    class Closed(BlackBox):
        def open(self, device, threads):
            pytest.fail("opened for nothing")

    boxes = [Closed("closed", lambda t: t), BlackBox("box", lambda t: t.clip(0, 1))]
    (found,) = rank_each(boxes, Images(own / "images"), [Nearness()], source=source(own, "box"))
    assert [score.model for score in found] == ["box"]


def test_evidence_of_the_source_is_stored_apart(own, monkeypatch):
    store, models = own / "e.sqlite", ("steady", "sharp", "jumpy")
    # The source is the target: the same files, measured in two domains.
    same = dict.fromkeys(models, Images(own / "images", own / "labels"))
    images = Images(own / "images", own / "labels")
    first = rank(open_models(own / "models"), images, Nearness(), source=same, evidence=store)
    seen = count_observed(monkeypatch)
    again = rank(open_models(own / "models"), images, Nearness(), source=same, evidence=store)
    assert seen == []
    assert but_for_times(again) == but_for_times(first)
    assert math.isnan(again.seconds)
    Picture.fromarray(discs(80)[1].astype(np.uint16)).save(own / "own" / "labels" / "1.png")
    other = rank(
        open_models(own / "models"), images, Nearness(), source=source(own, *models), evidence=store
    )
    assert len(seen) == 3 * 3
    assert dict(other.values) != dict(first.values)


def test_order_of_source_images_does_not_matter(own):
    refs = list(source(own, "steady")["steady"])
    one, other = (ranked(own, [Nearness()], {"steady": given})[0] for given in (refs, refs[::-1]))
    assert but_for_times(one) == but_for_times(other)


def test_source_images_that_cannot_be_used_are_noted(own):
    (own / "own" / "images" / "1.png").write_bytes(b"torn")
    share, near = ranked(own, [Share(), Nearness()], source(own, "steady", "sharp"))
    noted = [note for note in near[0].notes if note.startswith("source image skipped: 1.png: ")]
    assert len(noted) == 1
    assert [score.images for score in near] == [6, 6]
    # Once, however many look at the source.
    near, _ = ranked(own, [Nearness(), Nearness(label="other")], source(own, "steady"))
    assert [note for note in near[0].notes if note.startswith("source")] == noted
    for i in range(3):
        (own / "own" / "images" / f"{i}.png").write_bytes(b"torn")
    share, near = ranked(own, [Share(), Nearness()], source(own, "steady", "sharp"))
    assert len(share) == 3
    assert dict(near.failed)["sharp"].startswith("none of its 3 source images can be used; 0.png: ")
    assert not any("source" in note for score in share for note in score.notes)
    with pytest.raises(ImageError, match=r"0\.png"):
        ranked(own, [Nearness()], source(own, "jumpy", "sharp", "steady"), strict=True)


def test_source_images_in_memory_need_labels(own):
    planes = [Image(str(i), discs(i)[0], "yx", truth=discs(i)[1]) for i in range(2)]
    bare = Image("2", discs(2)[0], "yx")
    (near,) = ranked(own, [Nearness()], {"steady": [*planes, bare]})
    assert "source image skipped: 2: it has no labels, which source images need" in near[0].notes
    assert near.provenance["source_domains"] == {"steady": "in memory"}
    with pytest.raises(
        NothingToRank, match="none of its 1 source images can be used; 2: it has no"
    ):
        ranked(own, [Nearness()], {"steady": [bare]})


def test_what_is_no_source(own):
    good = source(own, "steady")["steady"]
    for given, told in [
        ({"stedy": good}, "unknown model of source images 'stedy': did you mean 'steady'"),
        ({"steady": "own/images"}, r"'steady' are a path, 'own/images': pass Images\('own/images'"),
        ({"steady": Images(own / "own" / "images")}, "'steady' come without labels: Images"),
        ({"steady": []}, "the source of 'steady' holds no image"),
        ({"steady": [*good, *good]}, r"source image \(of 'steady'\) names must be unique; '0.png'"),
    ]:
        with pytest.raises(OptionError, match=told):
            ranked(own, [Nearness()], given)
    with pytest.raises(OptionError, match=r"none of the estimators looks at them \(share\)"):
        ranked(own, [Share()], {"steady": good})
