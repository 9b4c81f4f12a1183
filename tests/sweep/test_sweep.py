"""Sweeps over models whose consistency is prescribed, image by image."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from networks import blur
from test_runner import but_for_times, write_images

from onnx_cte.errors import ImageError, ModelError, NothingToRank, OptionError
from onnx_cte.estimators import CTE
from onnx_cte.images import Images
from onnx_cte.perturbations import Brightness, Dropout, GaussianNoise, parse_perturbation
from onnx_cte.report import read_ranking, write_report
from onnx_cte.runner import rank, rank_each
from onnx_cte.segmenters import BlackBox, open_models
from onnx_cte.sweep import CANDIDATES, Sweep, sweep, sweep_each
from onnx_cte.types import Image, Observation, Prediction

WEAK, MIDDLE, STRONG = Dropout(0.1), Dropout(0.2), Dropout(0.5)
PIXELS = 1000
PLANE = np.zeros((1, PIXELS))


def images(count=8, group=""):
    return [Image(f"{i:02}", PLANE, "yx", group=group) for i in range(count)]


class Scripted:
    """A model whose NHD on image i under a perturbation is the i-th number in `answers`.

    It refuses what it has no answers for.
    """

    notes, identity, record = (), "", {}

    def __init__(self, name, answers, sees=True):
        self.name, self.answers, self.sees = name, answers, sees
        self.seen = Counter()

    def open(self, device, threads):
        return self

    def close(self):
        pass

    def adapts(self, image):
        return ""

    def refuses(self, needs):
        missing = [p.name for p in needs.features if self._key(p) not in self.answers]
        return f"there is no place for {missing[0]}" if missing else ""

    def observe(self, image, needs, seed):
        perturbed = {}
        for perturbation in needs.features:
            self.seen[perturbation.name] += 1
            share = self.answers[self._key(perturbation)][int(image.name)]
            perturbed[perturbation.name] = self._map(share)
        return Observation(image.name, image.data, self._map(1.0), perturbed)

    def _map(self, share):
        maps = np.zeros((1, 1, PIXELS), np.float32)
        maps[..., : round(share * 500) if self.sees else 0] = 1
        return Prediction(maps, ("foreground",))

    def _key(self, perturbation):
        return perturbation.name.partition("#")[0]


def around(mean, noise, seed, count=8):
    return (mean + noise * np.random.default_rng(seed).normal(size=count)).clip(0, 1)


def bank(**candidates):
    """Five models, from the mean scores and the noise of each candidate."""
    named = {"weak": WEAK.name, "middle": MIDDLE.name, "strong": STRONG.name}
    return [
        Scripted(
            f"m{number}",
            {
                named[key]: around(means[number], noise, seed=[number, len(key)])
                for key, (means, noise) in candidates.items()
            },
        )
        for number in range(5)
    ]


def swept(models, candidates=(WEAK, MIDDLE, STRONG), refs=None, **options):
    return sweep(models, images() if refs is None else refs, candidates=candidates, **options)


SAYS_NOTHING = ((0.99, 0.985, 0.98, 0.975, 0.97), 0.0005)
CLEAR = ((0.9, 0.85, 0.8, 0.75, 0.7), 0.01)
VAGUE = ((0.9, 0.8, 0.6, 0.5, 0.4), 0.2)
RUINOUS = ((0.2, 0.15, 0.1, 0.05, 0.01), 0.001)


def test_what_parts_the_models_in_the_window_is_chosen():
    found = swept(bank(weak=SAYS_NOTHING, middle=CLEAR, strong=RUINOUS))
    assert found.chosen == "dropout=0.2"
    assert found.estimator == CTE("nhd", (MIDDLE,), draws=2)
    weak, middle, strong = found.rows
    assert [row.tolerable for row in found.rows] == [False, True, False]
    assert (middle.pairs, middle.decided) == (10, 10)
    assert middle.stability == pytest.approx(1)
    assert middle.median == pytest.approx(0.8, abs=0.01)
    assert weak.contrast > 4
    assert strong.contrast > 4
    assert found.reason.startswith("among the 1 tolerable")
    assert found.images == tuple(f"{i:02}" for i in range(8))
    assert found.left_out == ()


def test_a_wide_spread_that_the_images_do_not_bear_out_is_not():
    found = swept(bank(weak=CLEAR, strong=VAGUE), (WEAK, STRONG))
    clear, vague = found.rows
    assert vague.spread > 2 * clear.spread
    assert clear.contrast > 2 * vague.contrast
    assert found.chosen == "dropout=0.1"


def test_one_bad_model_decides_nothing():
    alike = ((0.8, 0.8, 0.8, 0.8, 0.02), 0.01)
    found = swept(bank(weak=CLEAR, strong=alike), (WEAK, STRONG))
    clear, one_bad = found.rows
    assert one_bad.spread > 2 * clear.spread
    assert one_bad.tolerable
    assert found.chosen == "dropout=0.1"


def test_models_that_see_nothing_do_not_count():
    seeing = bank(weak=SAYS_NOTHING, middle=CLEAR, strong=RUINOUS)
    blind = [Scripted(name, seeing[0].answers, sees=False) for name in ("x", "y", "z")]
    alone, beside = swept(seeing), swept([*seeing, *blind])
    assert [replace(row, stability=0.0) for row in beside.rows] == [
        replace(row, stability=0.0) for row in alone.rows
    ]
    assert beside.chosen == alone.chosen
    with pytest.raises(OptionError, match=r"fewer than two models have a score .* see nothing"):
        swept([seeing[0], *blind])


def test_the_gentlest_of_equals():
    lower = tuple(mean - 0.1 for mean in CLEAR[0])
    models = bank(weak=CLEAR)
    for model, mean in zip(models, lower, strict=True):
        # The same noise, 0.1 lower: the same contrast.
        shift = model.answers["dropout=0.1"] - CLEAR[0][int(model.name[1])] + mean
        model.answers["dropout=0.5"] = shift
    found = swept(models, (STRONG, WEAK))
    strong, weak = found.rows
    assert strong.contrast == pytest.approx(weak.contrast, rel=0.04)
    assert found.chosen == "dropout=0.1"


def test_nothing_tolerable_is_told():
    found = swept(bank(weak=SAYS_NOTHING, strong=RUINOUS), (WEAK, STRONG))
    assert found.chosen == "dropout=0.1"
    assert found.reason.startswith("no tolerable perturbation (median NHD in 0.5 .. 0.95) parts")
    assert found.reason in str(found)


def test_a_candidate_that_some_model_refuses_is_left_out_for_all():
    models = bank(weak=CLEAR, middle=VAGUE)
    del models[1].answers["dropout=0.1"], models[3].answers["dropout=0.1"]
    found = swept(models, (WEAK, MIDDLE))
    assert found.chosen == "dropout=0.2"
    assert [row.perturbation for row in found.rows] == ["dropout=0.2"]
    why = "m1: there is no place for dropout=0.1; m3: there is no place for dropout=0.1"
    assert found.left_out == (("dropout=0.1", why),)
    assert f"left out: dropout=0.1 ({why})" in str(found)
    for model in models[:3]:
        model.answers.pop("dropout=0.2")
    models[1].answers["dropout=0.1"] = around(0.5, 0.1, 0)
    with pytest.raises(OptionError, match=r"each candidate is refused .*--perturb .*\(dropout=0.1"):
        swept(models, (WEAK, MIDDLE))


def test_models_that_offer_nothing_take_no_part():
    models = bank(weak=CLEAR, middle=VAGUE)
    box = BlackBox("box", lambda tensor: tensor)
    assert swept([*models, box], (WEAK, MIDDLE)) == swept(models, (WEAK, MIDDLE))
    with pytest.raises(
        OptionError, match=r"only one model, 'm0', .*--perturb .*\(box: a black box"
    ):
        swept([models[0], box], (WEAK, MIDDLE))
    with pytest.raises(
        NothingToRank, match=r"none of 2 models .*; box: a black box can be .*"
    ) as e:
        swept([Scripted("none", {}), box])
    # Each model once, not once for every candidate.
    assert str(e.value).count("black box") == 1


def test_too_little_to_choose_by():
    models = bank(weak=CLEAR)
    with pytest.raises(
        OptionError, match=r"from 4 files, and fewer than 5 .*; add images, or give"
    ):
        swept(models, (WEAK,), images(4))
    with pytest.raises(OptionError, match="are from 1 file, and fewer than 5"):
        swept(models, (WEAK,), images(8, group="one stack"))
    with pytest.raises(OptionError, match=r"'m0' is the only model: .* such as --perturb dropout="):
        swept(models[:1], (WEAK,))
    with pytest.raises(NothingToRank, match="no image"):
        swept(models, (WEAK,), [])
    with pytest.raises(NothingToRank, match="no model"):
        swept([], (WEAK,))
    assert not any(model.seen for model in models)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"candidates": ()}, "perturbations that differ in name: there is none"),
        ({"candidates": (WEAK, Dropout(0.1))}, "'dropout=0.1' is there twice"),
        ({"sample": 4}, "sample is a number of images, at least 5, not 4"),
        ({"sample": 7.5}, "at least 5, not 7.5"),
        ({"draws": 0}, "draws is an integer of at least 1, not 0"),
        ({"metric": "nhdd"}, "unknown consistency metric 'nhdd': did you mean 'nhd'"),
        ({"seed": -1}, "the seed is an integer of at least 0, not -1"),
        ({"refs": "plate7"}, r"'plate7' is a path: pass Images\('plate7'\)"),
    ],
    ids=str,
)
def test_options_without_a_meaning(options, complaint):
    with pytest.raises(OptionError, match=complaint):
        swept(bank(weak=CLEAR), **{"candidates": (WEAK,), **options})


class Unreadable(Image):
    def load(self):
        raise ImageError(f"{self.name}: is torn")


def test_images_and_models_that_cannot_be_used():
    models = bank(weak=CLEAR)
    torn = [Unreadable(f"torn{i}", PLANE, "yx") for i in range(3)]
    found = swept(models, (WEAK,), [*images(5), *torn])
    assert found.images == tuple(f"{i:02}" for i in range(5))
    with pytest.raises(OptionError, match=r"from 4 files.*--perturb.*\(torn0: is torn; torn1: is"):
        swept(models, (WEAK,), [*images(4), *torn])
    with pytest.raises(ImageError, match="torn0: is torn"):
        swept(models, (WEAK,), [*images(5), *torn], strict=True)

    class Broken(Scripted):
        def open(self, device, threads):
            raise ModelError("out of order")

    broken = [*models, Broken("x", {})]
    assert swept(broken, (WEAK,)) == swept(models, (WEAK,))
    with pytest.raises(ModelError, match="x: out of order"):
        swept(broken, (WEAK,), strict=True)


def test_a_refused_candidate_is_nothing_to_be_strict_about():
    models = bank(weak=CLEAR, middle=VAGUE)
    del models[0].answers["dropout=0.1"]
    assert swept(models, (WEAK, MIDDLE), strict=True) == swept(models, (WEAK, MIDDLE))


def test_order_does_not_matter():
    made = [bank(weak=CLEAR, middle=VAGUE, strong=RUINOUS) for _ in range(2)]
    assert swept(made[0], sample=5) == swept(made[1][::-1], refs=images()[::-1], sample=5)


def test_only_the_sample_is_measured():
    models = bank(weak=CLEAR, middle=VAGUE)
    found = swept(models, (WEAK, MIDDLE), sample=5, draws=3)
    assert found.images == ("00", "02", "04", "05", "07")
    assert found.estimator.draws == 3
    assert models[0].seen == {
        f"dropout={rate}{again}": 5 for rate in (0.1, 0.2) for again in ("", "#1", "#2")
    }


def test_the_rows_are_what_rankings_say():
    models = bank(weak=CLEAR, middle=VAGUE)
    found = swept(models, (WEAK, MIDDLE), seed=3)
    judges = [CTE("nhd", (candidate,)) for candidate in (WEAK, MIDDLE)]
    for row, ranking in zip(found.rows, rank_each(models, images(), judges, seed=3), strict=True):
        assert row.contrast == ranking.separation.contrast
        assert row.median == np.median(list(ranking.values.values()))
        assert (row.spread, row.decided) == (ranking.separation.spread, ranking.separation.decided)


def test_metrics_are_swept_together_and_choose_for_themselves():
    models = bank(weak=CLEAR, middle=VAGUE)
    both = sweep_each(models, images(), ("nhd", "ei"), candidates=(WEAK, MIDDLE))
    assert models[0].seen["dropout=0.1"] == 8
    assert both == tuple(swept(models, (WEAK, MIDDLE), metric=metric) for metric in ("nhd", "ei"))
    assert [found.estimator.metric for found in both] == ["nhd", "ei"]
    # On maps of 0 and 1 the two metrics are the same.
    assert both[0].rows[0].median == pytest.approx(both[1].rows[0].median)


def test_as_json_and_in_a_ranking(tmp_path):
    models = bank(weak=CLEAR, middle=VAGUE)
    del models[0].answers["dropout=0.2"]
    found = swept(models, (WEAK, MIDDLE))
    ranking = found.noted_in(rank(models, images(), found.estimator))
    write_report(ranking, tmp_path)
    kept = read_ranking(tmp_path).provenance["sweep"]
    assert kept == found.to_json() == json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert kept["chosen"] == "dropout=0.1"
    assert kept["estimator"] == repr(found.estimator) == ranking.estimator
    assert kept["rows"][0]["median"] == found.rows[0].median
    assert kept["left_out"] == [["dropout=0.2", "m0: there is no place for dropout=0.2"]]
    assert (kept["window"], kept["tie"]) == ([0.5, 0.95], 0.05)
    endless = replace(found, rows=(replace(found.rows[0], contrast=math.inf, stability=math.nan),))
    (row,) = endless.to_json()["rows"]
    assert row["contrast"] is None
    assert row["stability"] is None


def test_a_doubt_about_what_a_sweep_chose_does_not_send_to_a_sweep():
    models = bank(weak=((1.0, 1.0, 1.0, 1.0, 1.0), 0.0))
    plain = rank(models, images(), CTE("nhd", (WEAK,)))
    assert "or --perturb auto" in plain.doubt
    noted = swept(models, (WEAK,)).noted_in(plain)
    assert "--perturb auto" not in noted.doubt
    assert "a sweep found none that says more; try one of the input, as --perturb n" in noted.doubt


def test_the_table_marks_what_was_chosen():
    found = swept(bank(weak=SAYS_NOTHING, middle=CLEAR, strong=RUINOUS))
    head, columns, rule, *rows, last = str(found).splitlines()
    assert head == "sweep of 3 perturbations on 8 images, cte nhd"
    assert columns.split()[:5] == ["perturbation", "held", "median", "spread", "contrast"]
    assert [line.startswith("->") for line in rows] == [False, True, False]
    assert rows[1].split()[1] == "dropout=0.2"
    assert rows[1].split()[-1] == "yes"
    assert rule.startswith("--")
    assert last == f"chosen without labels: {found.reason}"


def test_the_candidates_are_dropout_at_twenty_places():
    assert len({candidate.name for candidate in CANDIDATES}) == 20
    for candidate in CANDIDATES:
        assert parse_perturbation(candidate.name) == candidate
    taps = Counter(candidate.taps for candidate in CANDIDATES)
    assert taps == {("bottleneck",): 5, ("decoder",): 5, ("skips",): 5, ("decoder", "skips"): 5}


@pytest.fixture
def place(tmp_path):
    blur(tmp_path / "models" / "steady.onnx", gain=20)
    blur(tmp_path / "models" / "sharp.onnx", gain=60, width=3)
    blur(tmp_path / "models" / "jumpy.onnx", gain=60, width=1)
    write_images(tmp_path, count=8)
    return tmp_path


def test_a_ranking_afterwards_measures_only_what_is_missing(place, monkeypatch):
    from onnx_cte.segmenters import onnx_model

    seen, real = [], onnx_model.observe

    def counted(recipe, network, image, needs, seed, *disturb):
        seen.append((network.session.path.stem, image.name))
        return real(recipe, network, image, needs, seed, *disturb)

    monkeypatch.setattr(onnx_model, "observe", counted)
    models, pictures = open_models(place / "models"), Images(place / "images")
    store = place / "evidence.sqlite"
    # Any perturbation can be a candidate; these networks have no bottleneck.
    options = {"candidates": (GaussianNoise(0.05), GaussianNoise(0.1)), "sample": 5}
    found = sweep(models, pictures, **options, evidence=store, jobs=1)
    assert isinstance(found, Sweep)
    assert len(seen) == len(set(seen)) == 15
    measured = set(seen)
    seen.clear()
    full = rank(models, pictures, found.estimator, evidence=store, jobs=1)
    assert len(seen) == 9
    assert not measured & set(seen)
    monkeypatch.undo()
    assert but_for_times(full) == but_for_times(rank(models, pictures, found.estimator, jobs=1))
    assert sweep(models, pictures, **options, evidence=store, jobs=1) == found


def test_what_is_not_random_can_be_swept_too(place):
    models, pictures = open_models(place / "models"), Images(place / "images")
    found = sweep(models, pictures, candidates=(Brightness(0.1), Brightness(0.2)), jobs=1)
    assert all(math.isnan(row.stability) for row in found.rows)
    assert found.to_json()["rows"][0]["stability"] is None


def test_tolerability_goes_by_nhd_whatever_the_metric(place):
    models, pictures = open_models(place / "models"), Images(place / "images")
    found = sweep_each(
        models,
        pictures,
        ("ei", "nhd"),
        candidates=(GaussianNoise(0.1), GaussianNoise(0.3)),
        device="cpu",
    )
    by_ei, by_nhd = found
    assert [row.held for row in by_ei.rows] == [row.held for row in by_nhd.rows]
    assert [row.median for row in by_nhd.rows] == [row.held for row in by_nhd.rows]
    assert all(ei.median < ei.held for ei in by_ei.rows)
