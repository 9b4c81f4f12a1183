"""Ranking by objects, from files on disk to a ranking, at the command line and in Python."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image as Picture

import onnx_cte as oc
from onnx_cte.cli import main
from onnx_cte.documents import ranking_from_json, ranking_to_json
from onnx_cte.simulation import simulate_images

COUNT = 4
NUCLEI = Path(__file__).parents[1] / "models" / "nuclei"


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A folder of simulated images of nuclei with their labels."""
    folder = tmp_path_factory.mktemp("target")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for name, image, labels in simulate_images(COUNT, 0):
        Picture.fromarray(image).save(folder / "images" / f"{name}.png")
        Picture.fromarray(labels.astype(np.uint16)).save(folder / "labels" / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three of the bundled models; a copy is as good as the folder, and faster than all six."""
    return [NUCLEI / "fibro", NUCLEI / "u2os_dense", NUCLEI / "brightfield"]


def test_ranked_by_objects(target, models):
    images = oc.Images(target / "images", target / "labels")
    judges = [
        oc.CTE("rand_fscore", (oc.GaussianNoise(0.1),)),
        oc.CTE("rand_fscore", (oc.GaussianNoise(0.6),)),
        oc.CTE("rand_fscore", (oc.Dropout(0.2),)),
        oc.CTE("nhd", (oc.GaussianNoise(0.1),)),
        oc.Accuracy("map"),
        oc.Accuracy("f1_50"),
        oc.Confidence(),
    ]
    noise, more, dropout, nhd, precision, matched, confidence = oc.rank_each(
        oc.open_models(models), images, judges
    )
    assert 0 < more.values["fibro"] < noise.values["fibro"] <= 1
    seen = [found for found in oc.predict(oc.open_models(models), images)]
    for model in precision.values:
        found = [f.seen for f in seen if f.model == model]
        counts = np.median([len(np.unique(f.reference.labels)) - 1 for f in found])
        for ranking in (noise, dropout, precision, matched):
            assert {s.model: s.objects for s in ranking}[model] == counts
        for ranking, metric in ((precision, oc.average_precision), (matched, oc.f1_50)):
            values = [metric(f.reference.labels, f.truth) for f in found]
            assert ranking.values[model] == pytest.approx(np.median(values), abs=0.02)
    # Companions that look at objects change nothing for those that look at masks.
    alone = oc.rank_each(oc.open_models(models), images, [judges[3], judges[-1]])
    for together, single in zip((nhd, confidence), alone, strict=True):
        # Rows of dropout are run together with the reference: the last digits may differ.
        assert together.values == pytest.approx(single.values, abs=1e-6)
        assert np.isnan([score.objects for score in together]).all()
        assert [s.foreground for s in together] == [s.foreground for s in single]


def test_objects_are_shown_and_survive_a_file(target, models):
    images = oc.Images(target / "images", limit=2)
    ranking = oc.rank(oc.open_models(models[:2]), images, oc.CTE("rand_fscore"))
    assert " objects " in str(ranking)
    again = ranking_from_json(json.loads(json.dumps(ranking_to_json(ranking))))
    assert [s.objects for s in again] == [s.objects for s in ranking]
    older = ranking_to_json(ranking)
    for row in older["ranking"]:
        del row["objects"]
    assert np.isnan(ranking_from_json(older)[0].objects)


def ran(*words):
    result = CliRunner().invoke(main, [str(word) for word in words])
    return result.exit_code, result.output


def test_at_the_command_line(target, tmp_path):
    out = tmp_path / "out"
    words = [NUCLEI / "fibro", target / "images", "--limit", 2, "--out", out]
    code, text = ran("rank", *words, "--metric", "rand_fscore", "--decoder", "watershed")
    assert code == 0, text
    assert "objects by decoder watershed" in text
    assert "(as stated)" in text
    record = json.loads((out / "ranking.json").read_text())["provenance"]["models"]["fibro"]
    assert record["decoder"].startswith("Watershed(")


def test_evaluate_by_objects_compares_objects(target, tmp_path):
    code, text = ran(
        "evaluate", NUCLEI, target / "images", target / "labels", "--limit", 2,
        "--performance", "map", "--perturb", "noise=0.1", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, text
    titles = [r["title"] for r in json.loads((tmp_path / "out/evaluation.json").read_text())[
        "rankings"]]  # fmt: skip
    assert titles == [
        "credibility rand_fscore",
        "cte rand_fscore noise=0.1",
        "confidence",
        "entropy",
    ]


def test_a_decoder_that_cannot_serve_is_a_row_not_an_end(target, tmp_path):
    words = [NUCLEI / "fibro", target / "images", "--limit", 1, "--out", tmp_path / "out"]
    code, text = ran("rank", *words, "--metric", "rand_fscore", "--decoder", "three_class")
    assert code == 1
    assert "can be served by: foreground, watershed" in text
    words += ["--metric", "rand_fscore"]
    code, text = ran("rank", *words, "--decoder", "watershd")
    assert code == 2
    assert "did you mean 'watershed'" in text


def test_what_models_find_is_written(target, tmp_path):
    out = tmp_path / "out"
    words = ["predict", NUCLEI / "fibro", target / "images", "--limit", 2, "--out", out]
    code, text = ran(*words, "--labels", target / "labels")
    assert code == 0, text
    names = sorted(path.name for path in (out / "fibro").iterdir())
    stems = sorted(path.stem for path in (target / "images").iterdir())[:2]
    endings = ("_labels.tif", "_outlines.png")
    assert names == sorted(f"{stem}{ending}" for stem in stems for ending in endings)
    assert "assumed\n  fibro: " in text
    image = next(iter(oc.Images(out / "fibro" / f"{stems[0]}_labels.tif"))).load()
    assert image.data.dtype == np.uint16
    assert f"{stems[0]}.png" in text
    assert str(len(np.unique(image.data)) - 1) in text
    code, text = ran("predict", NUCLEI / "fibro", target / "nothing")
    assert code == 1


def test_a_decoder_that_nobody_needs_is_refused(target, tmp_path):
    words = [NUCLEI / "fibro", target / "images", "--out", tmp_path, "--decoder", "watershed"]
    code, text = ran("rank", *words, "--metric", "nhd")
    assert code == 2
    assert "nothing that is asked for looks at them: add --metric rand_fscore" in text
    code, text = ran("evaluate", *words[:2], target / "labels", *words[2:])
    assert code == 2
    assert "add --performance map" in text


def test_evidence_of_objects_is_kept_by_decoder(target, tmp_path):
    images = oc.Images(target / "images", limit=2)
    judges = [oc.CTE("rand_fscore"), oc.CTE("nhd")]

    def ranked(min_size):
        models = oc.open_models(NUCLEI / "fibro", decoder=f"foreground,min_size={min_size}")
        return oc.rank_each(models, images, judges, evidence=tmp_path / "evidence.sqlite")

    def stored():
        with closing(sqlite3.connect(tmp_path / "evidence.sqlite")) as store:
            return store.execute("SELECT count(*) FROM evidence").fetchone()[0]

    few, masks = ranked(300)
    assert stored() == 4
    many, again = ranked(0)
    assert stored() == 6  # the masks were measured already
    assert many[0].objects > few[0].objects
    assert masks.values == again.values


def test_a_network_blind_to_boundaries_does_not_win_by_it(target):
    def grid(tensor):
        maps = np.full_like(tensor, 0.1)
        maps[..., ::24, :] = maps[..., ::24] = 0.9
        return maps + 0.3 * (tensor.mean() - tensor)

    models = [
        oc.BlackBox("blind", lambda tensor: 0 * tensor, decoder="boundary"),
        oc.BlackBox("seeing", lambda tensor: grid(tensor).clip(0, 1), decoder="boundary"),
    ]
    ranking = oc.rank(models, oc.Images(target / "images", limit=2), oc.CTE("rand_fscore"))
    assert [score.model for score in ranking] == ["seeing", "blind"]
    assert ranking.values["blind"] == 0


def test_labels_that_are_missing_do_not_keep_from_predicting(target, tmp_path):
    (tmp_path / "labels").mkdir()
    first, second = sorted(path.name for path in (target / "images").iterdir())[:2]
    (tmp_path / "labels" / first).symlink_to(target / "labels" / first)
    words = ["predict", NUCLEI / "fibro", target / "images", "--limit", 2]
    code, text = ran(*words, "--out", tmp_path / "out", "--labels", tmp_path / "labels")
    assert code == 0
    assert f"without labels\n  {second}: no label image found" in text
    code, text = ran(*words[:3], "--out", target / "images" / "below")
    assert code == 2
    assert "lies inside IMAGES" in text


def test_masks_in_place_of_objects_are_told_of(target, tmp_path):
    (tmp_path / "masks").mkdir()
    for path in (target / "labels").iterdir():
        mask = np.asarray(Picture.open(path)) > 0
        Picture.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "masks" / path.name)
    words = ["evaluate", NUCLEI / "fibro", target / "images", tmp_path / "masks"]
    words += ["--perturb", "noise=0.1", "--limit", 2, "--out", tmp_path / "out"]
    code, text = ran(*words, "--performance", "map")
    assert code == 0
    assert "warning: 2 of 2 label images hold a number or two for many separate pieces" in text
    code, text = ran(*words, "--performance", "f1")
    assert "label images hold" not in text


def test_a_stack_is_walked_slice_by_slice_by_networks_on_planes(target, tmp_path):
    planes = [np.asarray(Picture.open(p)) for p in sorted((target / "images").iterdir())[:3]]
    truth = [np.asarray(Picture.open(p)) for p in sorted((target / "labels").iterdir())[:3]]
    for kind, stack in (("images", planes), ("labels", truth)):
        (tmp_path / kind).mkdir()
        options = {"metadata": {"axes": "ZYX"}, "photometric": "minisblack"}
        tifffile.imwrite(tmp_path / kind / "a.tif", np.stack(stack), **options)
    images = oc.Images(tmp_path / "images", tmp_path / "labels")
    judges = [oc.CTE("rand_fscore"), oc.Accuracy("map")]
    models = oc.open_models(NUCLEI / "u2os_dense")
    ranking, performance = oc.rank_each(models, images, judges)
    assert list(ranking[0].by_image) == ["a.tif[z=0]", "a.tif[z=1]", "a.tif[z=2]"]
    one_by_one = oc.Images(target / "images", target / "labels", limit=3)
    apart = oc.rank(models, one_by_one, oc.Accuracy("map"))
    assert list(performance[0].by_image.values()) == list(apart[0].by_image.values())


def test_decoders_are_listed():
    code, text = ran("list", "decoders")
    assert code == 0
    for name in ("foreground", "watershed", "foreground_boundary", "boundary", "stardist", "flows"):
        assert f"\n{name} " in text
