"""Whom to believe: by hand, its three kinds of evidence one by one, and where each is blind."""

import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.errors import ModelError, OptionError
from onnx_cte.estimators import CTE, parse_estimator
from onnx_cte.estimators.boundary import Boundary
from onnx_cte.estimators.contradictions import contradictions
from onnx_cte.estimators.credibility import Credibility, believable, consensus_of
from onnx_cte.estimators.likeness import likeness, packed_regions
from onnx_cte.estimators.vote import Vote
from onnx_cte.perturbations import Dropout, Flip, GaussianNoise
from onnx_cte.types import Observation, Prediction

close = pytest.approx
SIDE = 48
STILL = Flip("x")


def foreground(mask):
    return Prediction(np.asarray(mask, np.float32)[None], ("foreground",))


def classes(labels, count):
    maps = (labels[None] == np.arange(count)[:, None, None]).astype(np.float32)
    roles = ("background", *(f"class {n}" for n in range(1, count)))
    return Prediction(maps, roles)


def objects(labels):
    labels = np.asarray(labels, np.int32)
    return Prediction((labels > 0).astype(np.float32)[None], ("foreground",), labels=labels)


def seen(prediction, perturbed=None, pixels=None, image="a"):
    shape = prediction.maps.shape[1:]
    pixels = np.arange(math.prod(shape)).reshape(shape) if pixels is None else pixels
    return Observation(image, pixels, prediction, {STILL.name: perturbed or prediction})


def discs(image, *, shift=0, radius=5, only=4):
    """Masks of a few discs, other ones on each image."""
    rng = np.random.default_rng(image)
    y, x = np.mgrid[:SIDE, :SIDE]
    mask = np.zeros((SIDE, SIDE), bool)
    for place, (cy, cx) in enumerate(((12, 12), (12, 34), (34, 12), (34, 34))):
        dy, dx = rng.integers(-2, 3, 2)
        if place < only:
            mask |= (y - cy - dy - shift) ** 2 + (x - cx - dx) ** 2 < radius**2
    return mask


def picture(image):
    return discs(image) + np.random.default_rng(100 + image).normal(0, 0.05, (SIDE, SIDE))


def bank_of(estimator, models, images=range(5)):
    """Evidence of models, each a function of an image that gives masks: as it is and disturbed."""
    return Bank(
        {
            name: [
                estimator.measure(
                    seen(*(foreground(mask) for mask in model(n)), picture(n), f"image {n}")
                )
                for n in images
            ]
            for name, model in models.items()
        }
    )


def twice(make):
    return lambda n: (make(n), make(n))


RIGHT = {
    "right": twice(discs),
    "nearly": twice(lambda n: discs(n, shift=1)),
    "small": twice(lambda n: discs(n, radius=4)),
}
INVERTED = {f"inverted {n}": twice(lambda i, n=n: ~discs(i, radius=5 + n)) for n in (0, 1, 2, 3)}
STATED = Credibility(perturbations=(STILL,))


class TestLikeness:
    def test_masks_by_hand(self):
        one, other = np.array([[1, 1, 0, 0]]), np.array([[0, 1, 1, 0]])
        rows = [packed_regions(seen(foreground(mask)), objects=False) for mask in (one, other)]
        found = likeness(Bank({"a": rows[:1], "b": rows[1:]}), objects=False)
        assert found.shape == (1, 2, 2)
        assert found[0, 0, 1] == found[0, 1, 0] == close(2 * 1 / 4)
        assert np.isnan(np.diag(found[0])).all()

    def test_classes_by_hand(self):
        one, other = np.array([[1, 1, 2, 0]]), np.array([[1, 2, 2, 2]])
        rows = [packed_regions(seen(classes(mask, 3)), objects=False) for mask in (one, other)]
        # Alike are a 1 and a 2; the one gives three pixels a class, the other four.
        found = likeness(Bank({"a": rows[:1], "b": rows[1:]}), objects=False)
        assert found[0, 0, 1] == close(2 * 2 / (3 + 4))

    def test_a_model_of_fewer_classes_sees_nothing_of_the_others(self):
        labels = np.array([[1, 1, 2, 0]])
        rows = [
            packed_regions(seen(classes(labels, 3)), objects=False),
            packed_regions(seen(classes(np.minimum(labels, 1), 2)), objects=False),
        ]
        found = likeness(Bank({"a": rows[:1], "b": rows[1:]}), objects=False)
        assert found[0, 0, 1] == close(2 * 2 / (3 + 3))

    def test_objects_by_hand(self):
        one = np.array([[1, 1, 0, 2, 2, 0, 0, 3]])
        other = np.array([[5, 5, 0, 0, 7, 7, 7, 0]])
        rows = [packed_regions(seen(objects(labels)), objects=True) for labels in (one, other)]
        # The first match; of the second pair 1 of 4 pixels is shared; one is alone.
        found = likeness(Bank({"a": rows[:1], "b": rows[1:]}), objects=True)
        assert found[0, 0, 1] == close(2 * 1 / (3 + 2))

    def test_nothing_to_compare(self):
        empty = packed_regions(seen(foreground(np.zeros((1, 4)))), objects=False)
        full = packed_regions(seen(foreground(np.ones((1, 4)))), objects=False)
        found = likeness(
            Bank({"a": [empty], "b": [empty], "c": [full], "d": [None]}), objects=False
        )
        assert math.isnan(found[0, 0, 1])
        assert found[0, 0, 2] == 0
        assert np.isnan(found[0, 3]).all()

    @pytest.mark.parametrize("kind", ["objects", "classes"])
    def test_large_predictions_are_thinned_alike_and_stay_small(self, kind):
        rng = np.random.default_rng(0)
        if kind == "objects":
            labels = rng.integers(0, 2**31 - 1, (700, 900)).astype(np.int32)
            made = packed_regions(seen(objects(labels)), objects=True)
        else:
            made = packed_regions(seen(classes(rng.integers(0, 4, (2000, 2500)), 4)), objects=False)
        assert len(made["regions"]) <= 1 << 20
        assert (made["thinned"] < made["sides"]).all()

    def test_sizes_that_differ_are_told(self):
        rows = [packed_regions(seen(foreground(np.ones((2, n)))), objects=False) for n in (3, 4)]
        with pytest.raises(ModelError, match=r"a: .*one gave 2 x 3 px and two 2 x 4 px"):
            likeness(Bank({"one": rows[:1], "two": rows[1:]}), objects=False)


class TestVote:
    def test_by_hand(self):
        masks = {"a": [1, 1, 0, 0], "b": [0, 1, 1, 0], "c": [1, 1, 1, 0]}
        estimator = Vote()
        bank = Bank({name: [estimator.measure(seen(foreground([m])))] for name, m in masks.items()})
        scores = estimator.score(bank)
        assert scores["a"] == close((2 * 1 / 4 + 2 * 2 / 5) / 2)
        assert scores["c"] == close(2 * 2 / 5)
        assert {name: [value] for name, value in scores.items()} == estimator.agreed_by_image(bank)

    def test_silence_among_the_seeing_is_worst(self):
        estimator = Vote()
        made = {"a": discs, "b": discs, "blind": lambda n: np.zeros((SIDE, SIDE))}
        bank = bank_of(estimator, {name: twice(model) for name, model in made.items()})
        assert estimator.score(bank)["blind"] == 0

    def test_one_model_has_nobody_to_agree_with(self):
        bank = bank_of(Vote(), {"a": twice(discs)})
        assert math.isnan(Vote().score(bank)["a"])
        assert "three or more" in Vote().remarks(bank)[0]


class TestBoundary:
    def test_tells_a_mask_from_its_inverse_where_consistency_cannot(self):
        models = {"right": twice(discs), "inverted": twice(lambda n: ~discs(n))}
        still = CTE(perturbations=(STILL,))
        assert len(set(still.score(bank_of(still, models)).values())) == 1
        scores = Boundary().score(bank_of(Boundary(), models))
        assert scores["right"] > 0.9 > 0.5 > scores["inverted"]

    def test_an_image_that_shows_nothing_is_left_out(self):
        estimator = Boundary()
        evidence = [estimator.measure(seen(foreground(discs(n)), None, picture(n))) for n in (0, 1)]
        flat = estimator.measure(seen(foreground(discs(0)), None, np.ones((SIDE, SIDE))))
        bank, longer = Bank({"a": evidence}), Bank({"a": [*evidence, flat]})
        assert estimator.score(bank) == estimator.score(longer)

    def test_objects(self):
        labels = np.zeros((9, 12), int)
        labels[2:7, 3:6], labels[2:7, 6:9] = 1, 2
        image = np.repeat([[0.0] * 6 + [1.0] * 6], 9, axis=0)
        found = seen(objects(labels), None, image)
        assert Boundary(objects=True).measure(found)["value"] > Boundary().measure(found)["value"]
        assert Boundary(objects=True).needs.instances

    def test_a_sigma_of_nothing_is_refused(self):
        with pytest.raises(OptionError, match="sigma"):
            Boundary(sigma=0)


def test_what_outlines_leave_to_believe():
    found = believable(np.array([0.0, 0.2, 0.35, 0.5, 1.0, np.nan]))
    assert found[:5].tolist() == close([0.05, 0.05, 0.5, 1.0, 1.0])
    assert math.isnan(found[5])


class TestConsensus:
    def bank(self, models, images=1):
        return Bank({str(n): [{"foreground": 0.5}] * images for n in range(models)})

    def test_by_hand(self):
        # Two agree to 0.8, a third agrees with them to 0.2; all are as credible at first.
        alike = np.array([[[np.nan, 0.8, 0.2], [0.8, np.nan, 0.2], [0.2, 0.2, np.nan]]])
        held = np.ones(3)
        equal = consensus_of(self.bank(3), alike, held, (0,))
        assert equal.tolist() == close([0.5, 0.5, 0.2])
        # In the end the two have weights 1 and 1 beside (0.2 / v) ** 2 of the third: with
        # v = (0.8 + 0.2 r) / (1 + r) and r = (0.2 / v) ** 2.
        found = consensus_of(self.bank(3), alike, held, (2,))
        ratio = (0.2 / found[0]) ** 2
        assert found[0] == close((0.8 + 0.2 * ratio) / (1 + ratio), abs=1e-6)
        assert found[2] == close(0.2)

    def test_whom_nobody_credits_has_no_vote(self):
        alike = np.array([[[np.nan, 0.8, 0.2], [0.8, np.nan, 0.2], [0.2, 0.2, np.nan]]])
        found = consensus_of(self.bank(3), alike, np.array([1.0, 0.01, 1.0]), (4,))
        assert found[0] == close(0.2, abs=1e-3)

    def test_nobody_is_credible(self):
        alike = np.array([[[np.nan, 0.6], [0.6, np.nan]]])
        assert consensus_of(self.bank(2), alike, np.zeros(2), (4,)).tolist() == close([0.6, 0.6])

    def test_two_camps_settle_by_where_one_starts(self):
        # Two with more evidence of their own against five: everyone agrees within the camp alone.
        alike = np.full((1, 7, 7), 0.1)
        alike[0, :2, :2], alike[0, 2:, 2:] = 0.8, 0.8
        alike[0, range(7), range(7)] = np.nan
        held = np.array([1.0, 1.0, *[0.7] * 5])
        sharp = consensus_of(self.bank(7), alike, held, (6,))
        gentle = consensus_of(self.bank(7), alike, held, (2, 6))
        assert sharp[0] > 0.7 > 0.2 > sharp[2]
        assert gentle[2] > 0.7 > 0.2 > gentle[0]

    def test_alone(self):
        alone = consensus_of(self.bank(1), np.full((1, 1, 1), np.nan), np.ones(1), (4,))
        assert np.isnan(alone).all()


GOOD = {"consistency": 0.9, "boundary": 0.9, "consensus": 0.8}


class TestContradictions:
    def test_nothing_to_say(self):
        assert contradictions({"a": GOOD, "b": GOOD}) == ()
        assert contradictions({}) == ()
        assert contradictions({"a": dict.fromkeys(GOOD, math.nan)}) == ()

    def test_one_that_moves_is_no_contradiction(self):
        moves = {**GOOD, "boundary": 0.3, "consistency": 0.7}
        assert contradictions({"a": GOOD, "b": moves}) == ()

    def test_many_are_counted(self):
        blind = {**GOOD, "boundary": 0.3}
        (told,) = contradictions({"a": GOOD, **{f"b{n}": blind for n in range(6)}})
        assert told.startswith("b0, b1, b2 and 3 others are consistent (0.90), but do not follow")

    def test_no_two_agree(self):
        apart = {**GOOD, "consensus": 0.3}
        (told,) = contradictions({"a": apart, "b": apart})
        assert "hardly agree with each other (at most 0.30)" in told

    def test_one_is_alone(self):
        (told,) = contradictions({"a": GOOD, "b": {**GOOD, "consensus": 0.39}})
        assert told.startswith("b is consistent and follows the image, but the models")


class TestCredibility:
    def test_a_minority_that_follows_the_image_is_believed(self):
        models = {**RIGHT, **INVERTED}
        scores = STATED.score(bank_of(STATED, models))
        assert min(scores[name] for name in RIGHT) > max(scores[name] for name in INVERTED)
        # Votes alone go to the majority, and consistency alone tells nobody apart.
        votes = Vote().score(bank_of(Vote(), models))
        assert max(votes[name] for name in RIGHT) < max(votes[name] for name in INVERTED)
        still = CTE(perturbations=(STILL,))
        assert len(set(still.score(bank_of(still, models)).values())) == 1

    def test_one_that_marks_a_part_follows_the_image_and_is_not_believed(self):
        models = {**RIGHT, "a part": twice(lambda n: discs(n, only=1))}
        edges = Boundary().score(bank_of(Boundary(), models))
        assert edges["a part"] >= edges["nearly"]
        scores = STATED.score(bank_of(STATED, models))
        assert scores["a part"] == min(scores.values())

    def test_one_that_does_not_hold_still_is_heard_less(self):
        # Two camps of equal size and outlines; the one moves when disturbed.
        here = {f"here {n}": twice(lambda i, n=n: discs(i, radius=5 + n % 2)) for n in range(3)}
        there = {
            f"there {n}": lambda i, n=n: (
                np.roll(discs(i, radius=5 + n % 2), 9, 1),
                np.roll(discs(i, radius=5 + n % 2), 14, 1),
            )
            for n in range(3)
        }
        bank = bank_of(STATED, {**here, **there})
        parts = STATED.parts(bank)
        assert all(parts[name]["consistency"] == 1 for name in here)
        assert all(parts[name]["consistency"] < 0.5 for name in there)
        scores = STATED.score(bank)
        assert min(scores[name] for name in here) > max(scores[name] for name in there)

    def test_the_score_is_made_of_its_parts(self):
        bank = bank_of(STATED, {**RIGHT, **INVERTED})
        scores = STATED.score(bank)
        for model, part in STATED.parts(bank).items():
            believed = float(believable(np.array([part["boundary"]]))[0])
            own = part["consistency"] * math.sqrt(part["boundary"])
            assert scores[model] == close(believed**0.25 * part["consensus"] * own**0.02)

    def test_what_is_agreed_on_each_image_has_the_consensus_in_its_middle(self):
        bank = bank_of(STATED, {**RIGHT, **INVERTED})
        agreed = STATED.agreed_by_image(bank)
        for model, part in STATED.parts(bank).items():
            assert len(agreed[model]) == bank.images
            assert np.median(agreed[model]) == close(part["consensus"])
        first = STATED.agreed_by_image(bank.draw([0]))
        whole = STATED._judged(bank.draw([0]), "value")[2]
        assert [value for (value,) in first.values()] == close(whole.tolist())

    def test_images_on_which_the_others_differ_are_agreed_on_least(self):
        apart = {"shifted": lambda n: (discs(n, shift=4 * (n == 1)),) * 2}
        bank = bank_of(STATED, {**RIGHT, **apart})
        agreed = STATED.agreed_by_image(bank)
        assert all(np.argmin(values) == 1 for values in agreed.values())

    def test_a_model_alone_is_judged_by_itself(self):
        bank = bank_of(STATED, {"right": twice(discs)})
        (part,) = STATED.parts(bank).values()
        assert math.isnan(part["consensus"])
        expected = part["consistency"] * (part["consistency"] * part["boundary"] ** 0.5) ** 0.02
        assert STATED.score(bank)["right"] == close(expected)
        assert "three or more" in STATED.remarks(bank)[0]

    def test_of_two_the_one_with_more_evidence_of_its_own_comes_first(self):
        moves = {"a": lambda n: (discs(n), np.roll(discs(n), 2, 1)), "b": twice(discs)}
        bank = bank_of(STATED, moves)
        first, second = (STATED.parts(bank)[name] for name in "ba")
        assert first["consensus"] == second["consensus"]
        assert STATED.score(bank)["b"] > STATED.score(bank)["a"]

    def test_exponents_leave_evidence_out(self):
        models = {**RIGHT, **INVERTED}
        votes = Credibility(perturbations=(STILL,), consistency=0, boundary=0, sharpness=0)
        bank = bank_of(votes, models)
        assert votes.score(bank) == close(Vote().score(bank_of(Vote(), models)))
        assert votes.needs.perturbations == ()
        assert "value" not in bank["right"][0]

    def test_it_is_of_one_mind_whatever_the_order(self):
        models = {**RIGHT, **INVERTED}
        backwards = dict(reversed(models.items()))
        there, back = (STATED.score(bank_of(STATED, m)) for m in (models, backwards))
        assert {name: there[name] for name in back} == close(back, abs=1e-12)

    def test_remarks_name_the_still_that_do_not_follow(self):
        remarks = STATED.remarks(bank_of(STATED, {**RIGHT, **INVERTED}))
        (told,) = [text for text in remarks if "not follow the image" in text]
        assert "inverted 0" in told
        assert not any(name in told for name in RIGHT)

    def test_remarks_name_those_that_are_alone(self):
        models = {**RIGHT, "a part": twice(lambda n: discs(n, only=1))}
        (told,) = STATED.remarks(bank_of(STATED, models))
        assert told.startswith("a part ")
        assert "believed do not agree" in told

    def test_remarks_tell_of_two_camps(self):
        few = {f"few {n}": twice(lambda i, n=n: discs(i, only=1, radius=5)) for n in range(2)}
        rough = {
            f"all {n}": lambda i, n=n: (discs(i, radius=6), np.roll(discs(i, radius=6), 1, 1))
            for n in range(5)
        }
        bank = bank_of(STATED, {**few, **rough})
        scores = STATED.score(bank)
        assert max(scores, key=scores.__getitem__).startswith("few")
        (told,) = [text for text in STATED.remarks(bank) if "camps" in text]
        assert "few 0 is believed for the evidence of its camp, all" in told
        assert not any("camps" in text for text in STATED.remarks(bank_of(STATED, RIGHT)))

    def test_remarks_say_when_nobody_follows(self):
        models = {f"noise {n}": twice(lambda i, n=n: noise(i + 10 * n)) for n in range(3)}
        assert any("none of the models" in text for text in STATED.remarks(bank_of(STATED, models)))

    def test_objects(self):
        estimator = Credibility(perturbations=(STILL,), metric="rand_fscore")
        labels = np.zeros((9, 12), int)
        labels[2:7, 1:5], labels[2:7, 7:11] = 1, 2
        image = (labels > 0) + np.random.default_rng(0).normal(0, 0.05, labels.shape)
        merged = np.where(labels > 0, 1, 0)
        bank = Bank(
            {
                name: [estimator.measure(seen(objects(found), None, image))]
                for name, found in (("a", labels), ("b", labels.T.copy().T), ("merged", merged))
            }
        )
        assert estimator.needs.instances
        assert estimator.score(bank)["merged"] < estimator.score(bank)["a"]

    @pytest.mark.parametrize("option", ["sharpness", "consistency", "boundary"])
    @pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1"])
    def test_exponents_are_checked(self, option, value):
        with pytest.raises(OptionError, match=option):
            Credibility(**{option: value})

    def test_perturbations_are_checked_as_of_cte(self):
        with pytest.raises(OptionError, match="credibility"):
            Credibility(perturbations=())

    def test_titles_and_texts(self):
        assert Credibility().title == "credibility"
        assert Credibility(metric="ei", sharpness=2).title == "credibility ei sharpness=2"
        assert Credibility(perturbations=Dropout(0.1)).title == "credibility dropout=0.1"
        made = parse_estimator("credibility:sharpness=2:metric=rand_fscore")
        assert made == Credibility(sharpness=2, metric="rand_fscore")
        assert made.objects

    def test_weights_share_what_is_measured(self):
        assert Credibility().measures == Credibility(sharpness=1, boundary=0).measures
        assert Credibility().measures != Credibility(consistency=0).measures
        assert Credibility().measures != Credibility(perturbations=GaussianNoise(0.2)).measures


def noise(seed):
    return np.random.default_rng(seed).random((SIDE, SIDE)) < 0.3
