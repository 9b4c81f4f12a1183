"""Masks as packed bits, and what is counted on them, beside plain loops over pixels."""

import math

import numpy as np
import pytest
from mask_banks import bank_of, seen

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError
from onnx_cte.estimators import packed
from onnx_cte.estimators.consensus import Consensus
from onnx_cte.estimators.packed import cross, median_score, overlaps_of, packed_mask, placed
from onnx_cte.estimators.pairwise import PairwiseAgreement
from onnx_cte.estimators.sampling import MOST_BYTES
from onnx_cte.estimators.spectral import Spectral
from onnx_cte.estimators.staple import STAPLE
from onnx_cte.evidence import EvidenceStore
from onnx_cte.types import Observation, Prediction


def random_masks(models, shape, seed=0, share=0.4):
    """A shared mask of which each model flips some pixels."""
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < share
    return [truth ^ (rng.random(shape) < 0.1 + 0.2 * rng.random()) for _ in range(models)]


def crossing_of(masks):
    names = [f"{i:03}" for i in range(len(masks))]
    [found] = cross(bank_of({n: [m] for n, m in zip(names, masks, strict=True)}), lambda c: c)
    return found


def test_the_evidence_of_a_mask():
    found = packed_mask(seen([[1, 0, 0], [0, 0.5, 0.6]]))
    assert found["image"] == "a"
    assert found["shape"].tolist() == [2, 3]
    assert found["mask"].dtype == np.uint8
    assert found["foreground"] == 2 / 6
    crossing = crossing_of([[[1, 0, 0], [0, 0.5, 0.6]]] * 2)
    assert crossing.mask(0).tolist() == [1, 0, 0, 0, 0, 1]
    assert crossing.pixels == 6


def test_classes_are_foreground_together():
    maps = np.array([[[0.8, 0.1, 0.2]], [[0.1, 0.7, 0.1]], [[0.1, 0.2, 0.7]]], np.float32)
    prediction = Prediction(maps, ("background", "cell", "rim"))
    evidence = packed_mask(Observation("a", np.zeros((1, 3)), prediction))
    [crossing] = cross(Bank({"a": [evidence], "b": [evidence]}), lambda c: c)
    assert crossing.mask(0).tolist() == [0, 1, 1]


def test_a_mask_of_512_is_a_few_kilobytes():
    y, x = np.mgrid[:512, :512]
    discs = (y % 64 - 32) ** 2 + (x % 64 - 32) ** 2 < 500
    assert packed_mask(seen(discs))["mask"].nbytes < 4000
    noise = np.random.default_rng(0).random((512, 512)) < 0.5
    assert packed_mask(seen(noise))["mask"].nbytes < 34_000


def test_evidence_survives_the_store():
    evidence = packed_mask(seen(random_masks(1, (7, 5))[0]))
    with EvidenceStore(None) as store:
        store.put({"key": evidence})
        again = store.get("key")
    assert again.keys() == evidence.keys()
    [direct] = cross(Bank({"a": [evidence], "b": [evidence]}), lambda c: c.words.tolist())
    [stored] = cross(Bank({"a": [again], "b": [evidence]}), lambda c: c.words.tolist())
    assert direct == stored


@pytest.mark.parametrize("models", [2, 7, 8, 9, 63, 64, 65, 130])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (16, 16), (2, 9, 11)])
def test_counts_are_those_of_plain_loops(models, shape):
    masks = random_masks(models, shape, seed=models)
    crossing = crossing_of(masks)
    flat = np.array(masks).reshape(models, -1).astype(np.int64)
    assert crossing.pixels == flat.shape[1]
    assert (crossing.overlaps() == flat @ flat.T).all()
    assert (crossing.votes() == flat.sum(axis=0)).all()
    where = np.arange(flat.shape[1]) % 3 == 0
    assert (crossing.among(where) == flat[:, where].sum(axis=1)).all()
    votes, counts = crossing.patterns()
    expected = {}
    for column in flat.T:
        expected[tuple(column)] = expected.get(tuple(column), 0) + 1
    found = {tuple(row): count for row, count in zip(votes.tolist(), counts.tolist(), strict=True)}
    assert found == expected
    assert len(votes) == len(expected)


def test_more_votes_than_a_byte_holds():
    crossing = crossing_of([[[1, 0]]] * 300)
    assert crossing.votes().tolist() == [300, 0]


def test_large_masks_are_thinned_alike(monkeypatch):
    monkeypatch.setattr(packed, "MOST_BITS", 64)
    masks = random_masks(3, (17, 14))
    crossing = crossing_of(masks)
    assert crossing.pixels == 9 * 7
    for model, mask in enumerate(masks):
        assert crossing.mask(model).tolist() == mask[::2, ::2].ravel().tolist()
    assert packed_mask(seen(masks[0]))["foreground"] == masks[0].mean()
    assert packed_mask(seen(masks[0]))["shape"].tolist() == [17, 14]


def test_evidence_stays_below_the_limit():
    # The largest planes that are kept in full: sides of 2890 px.
    assert packed.grid_step((2890, 2890), packed.MOST_BITS) == 1
    assert packed.grid_step((2896, 2896), packed.MOST_BITS) == 2
    assert packed.grid_step((4096, 4096), packed.MOST_BITS) == 2
    assert packed.grid_step((64, 512, 512), packed.MOST_BITS) == 2
    # Even of noise, which no compression makes smaller.
    found = packed_mask(seen(np.random.default_rng(0).integers(0, 2, (2890, 2890), np.uint8)))
    assert found["mask"].nbytes > 1e6
    assert sum(np.asarray(value).nbytes for value in found.values()) <= MOST_BYTES


def test_rows_are_in_the_order_of_names_and_missing_ones_are_left_out():
    one, two = [[1, 0]], [[0, 1]]
    bank = bank_of({"c": [one, None, one], "a": [two, two, None], "b": [None, one, None]})
    found = cross(bank, lambda c: (c.image, c.rows.tolist(), c.mask(0).tolist()))
    assert found == [("0", [1, 0], [0, 1]), ("1", [1, 2], [0, 1]), None]
    overlaps = overlaps_of(bank)
    assert overlaps.pixels.tolist() == [2, 2, 0]
    assert overlaps.present.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert overlaps.shared[0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_predictions_of_two_shapes_are_an_error():
    bank = bank_of({"big": [np.ones((2, 3))], "small": [np.ones((2, 2))]})
    with pytest.raises(
        ModelError, match="0: masks cannot be compared: big predicted 2 x 3 px and small 2 x 2 px"
    ):
        overlaps_of(bank)


CROSSING = [PairwiseAgreement(), Consensus(), Spectral(), STAPLE()]
CROSSING += [STAPLE(leave, r) for leave in ("vote", "fit", "none") for r in ("all", "union")]


@pytest.mark.parametrize("estimator", CROSSING, ids=repr)
def test_estimators_share_evidence_and_hold_in_draws(estimator):
    assert estimator.measures == packed.MEASURES
    shapes = [(9, 8), (5, 5), (12, 3), (7, 7)]
    columns = [random_masks(5, shape, seed=i) for i, shape in enumerate(shapes)]
    rows = {f"m{j}": [column[j] for column in columns] for j in range(5)}
    rows["m1"][2] = None
    rows["m3"][0] = np.zeros(shapes[0])
    bank = bank_of(rows)
    whole = estimator.score(bank)
    assert all(-1.5 < value < 1.5 for value in whole.values())
    drawn = estimator.score(bank.draw([0, 0, 3]))
    spelled = Bank({model: [row[0], row[0], row[3]] for model, row in bank.items()})
    assert dict(drawn) == pytest.approx(dict(estimator.score(spelled)), abs=1e-9, nan_ok=True)
    assert dict(drawn) != dict(whole)
    turned = Bank({model: [bank[model][i] for i in (2, 0, 3, 1)] for model in reversed(list(bank))})
    assert dict(estimator.score(turned)) == dict(whole)
    gaps = Bank({model: [*row, None] for model, row in bank.items()})
    assert dict(estimator.score(gaps)) == dict(whole)
    absent = estimator.score(Bank({**bank, "absent": [None] * 4}))
    assert math.isnan(absent.pop("absent"))
    assert absent == pytest.approx(dict(whole), abs=1e-12)


@pytest.mark.parametrize("estimator", CROSSING, ids=repr)
def test_a_single_model_and_empty_masks_are_undefined(estimator):
    alone = estimator.score(bank_of({"a": [np.ones((2, 2))]}))
    assert math.isnan(alone["a"])
    empty = estimator.score(bank_of({name: [np.zeros((2, 2))] for name in "abc"}))
    assert all(map(math.isnan, empty.values()))
    nothing = estimator.score(Bank({"a": [None], "b": [None], "c": [None]}))
    assert all(map(math.isnan, nothing.values()))


@pytest.mark.parametrize("estimator", CROSSING, ids=repr)
def test_many_models_of_one_mind(estimator):
    mask = [[1, 1, 0, 0, 0, 0]]
    scores = estimator.score(bank_of({f"{i:02}": [mask] for i in range(70)}))
    expected = math.sqrt(4 * (2 / 6 - 4 / 36)) if estimator == Spectral() else 1
    assert list(scores.values()) == pytest.approx([expected] * 70, abs=1e-6)


def test_what_is_derived_is_made_once():
    bank = bank_of({name: [[[1, 0]]] for name in "abc"})
    calls = []

    def values(whole):
        calls.append(whole)
        return placed(whole, [(np.array([0, 1, 2]), np.array([0.25, 0.5, 1.0]))])

    for drawn in (bank, bank.draw([0, 0]), bank.draw([0])):
        assert median_score(drawn, "mine", values) == {"a": 0.25, "b": 0.5, "c": 1.0}
    assert calls == [bank]


@pytest.mark.parametrize("make", [PairwiseAgreement, Consensus, STAPLE, Spectral])
def test_too_few_models_to_judge_each_other_are_told(make):
    mask = np.array([[0, 1]])
    one, two, three = (bank_of({f"m{i}": [mask] for i in range(n)}) for n in (1, 2, 3))
    assert "there is one; three or more" in make().remarks(one)[0]
    assert "there are two, each the only judge of the other" in make().remarks(two)[0]
    assert make().remarks(three) == ()
