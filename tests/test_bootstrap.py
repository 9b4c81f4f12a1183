import itertools
import math

import numpy as np
import pytest

from onnx_cte.bank import Bank
from onnx_cte.bootstrap import DRAWS, Judgement, resamples_of
from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE
from onnx_cte.sample_size import interval_percentiles

NAN = math.nan


def bank(**values):
    return Bank(
        {
            model: [{"value": v, "foreground": 0.1 if v == v else 0.0} for v in row]
            for model, row in values.items()
        }
    )


class Lowest:
    """An estimator for which less is better."""

    name = "lowest"
    greater_is_better = False

    def score(self, bank):
        return {m: float(row.mean()) for m, row in zip(bank, bank.column("value"), strict=True)}


def judged(evidence, groups=None, estimator=None, seed=0):
    groups = groups or [f"g{i}" for i in range(evidence.images)]
    return Judgement(evidence, estimator or CTE(), groups, seed)


def test_best_first_ties_by_name_undefined_last():
    found = judged(bank(c=[0.5] * 4, a=[0.5] * 4, z=[0.9] * 4, n=[NAN] * 4))
    # n is silent where the others see: the worst value, but defined.
    assert found.order == ["z", "a", "c", "n"]
    assert found.values["n"] == 0.0
    alone = judged(Bank({"n": [None] * 3, "a": [{"value": 0.1, "foreground": 0.1}] * 3}))
    assert alone.order == ["a", "n"]
    assert math.isnan(alone.values["n"])
    assert all(math.isnan(bound) for bound in alone.intervals["n"])
    assert alone.undecided == ()


def test_less_can_be_better():
    found = judged(bank(a=[0.9, 0.8, 0.85] * 2, b=[0.1, 0.2, 0.15] * 2), estimator=Lowest())
    assert found.order == ["b", "a"]
    assert found.rank_intervals == {"a": (2, 2), "b": (1, 1)}


def test_interval_is_the_bootstrap_of_the_median():
    values = np.random.default_rng(0).random(40)
    low, high = judged(bank(a=values)).intervals["a"]
    rng = np.random.default_rng(1)
    medians = [np.median(rng.choice(values, 40)) for _ in range(4000)]
    expected = np.percentile(medians, interval_percentiles(40))
    assert (low, high) == pytest.approx(expected, abs=0.03)
    assert low < np.median(values) < high


def test_paired_draws_tell_apart_what_separate_intervals_could_not():
    base = np.random.default_rng(0).random(30) * 0.8
    found = judged(bank(a=base + 0.05, b=base))
    assert found.intervals["a"][0] < found.intervals["b"][1]  # the intervals overlap widely
    assert found.undecided == ()
    assert found.rank_intervals == {"a": (1, 1), "b": (2, 2)}


def test_models_that_cannot_be_told_apart_are_named():
    rng = np.random.default_rng(0)
    found = judged(bank(a=rng.random(20), b=rng.random(20), c=rng.random(20) * 0.01))
    assert [set(pair) for pair in found.undecided] == [{"a", "b"}]
    assert found.rank_intervals["a"] == found.rank_intervals["b"] == (1, 2)
    assert found.rank_intervals["c"] == (3, 3)


@pytest.mark.parametrize("files", [1, 2, 4])
def test_few_files_decide_nothing(files):
    evidence = bank(a=[0.9] * 12, b=[0.1] * 12)
    found = judged(evidence, groups=[f"stack{i % files}" for i in range(12)])
    assert found.order == ["a", "b"]
    assert found.rank_intervals == {"a": (1, 2), "b": (1, 2)}
    assert all(math.isnan(bound) for bound in found.intervals["a"])
    assert found.undecided == (("a", "b"),)


def test_slices_of_one_file_are_drawn_together():
    # Five stacks of eight slices that rise: a draw by file misses whole stretches of them.
    steps = bank(a=np.linspace(0, 1, 40))
    grouped = judged(steps, groups=[f"stack{i // 8}" for i in range(40)]).intervals["a"]
    single = judged(steps).intervals["a"]
    assert grouped[1] - grouped[0] > 1.5 * (single[1] - single[0])


def test_the_seed_decides_the_draws():
    evidence = bank(a=np.random.default_rng(0).random(15))
    same = [judged(evidence, estimator=Lowest(), seed=s).intervals["a"] for s in (1, 1, 2)]
    assert same[0] == same[1]
    assert same[0] != same[2]


def test_a_model_s_interval_does_not_depend_on_the_others():
    values = np.random.default_rng(0).random(15)
    alone = judged(bank(a=values)).intervals["a"]
    beside = judged(bank(b=values[::-1], a=values, c=values / 2)).intervals["a"]
    assert alone == beside


def test_equal_models_share_their_ranks():
    values = np.random.default_rng(0).random(20)
    found = judged(bank(a=values, b=values, c=values / 2))
    assert found.order == ["a", "b", "c"]
    assert found.rank_intervals == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}
    assert found.undecided == (("a", "b"),)


def test_contrast_is_the_difference_in_standard_errors():
    rng = np.random.default_rng(0)
    a, b = 0.8 + 0.05 * rng.normal(size=60), 0.7 + 0.05 * rng.normal(size=60)
    picks = [rng.choice(60, 60) for _ in range(4000)]
    drawn = [a[pick].mean() - b[pick].mean() for pick in picks]
    found = judged(bank(a=a, b=b), estimator=Lowest()).contrasts
    assert list(found) == [("b", "a")]
    expected = (a.mean() - b.mean()) / np.std(drawn, ddof=1)
    assert found["b", "a"] == pytest.approx(expected, rel=0.1)
    # Twice the distance for the same noise is twice the contrast.
    further = judged(bank(a=a + (a.mean() - b.mean()), b=b), estimator=Lowest()).contrasts
    assert further["b", "a"] == pytest.approx(2 * found["b", "a"])


def test_contrast_is_paired():
    # What two models share, image by image, is no error of their difference.
    rng = np.random.default_rng(0)
    base, own = rng.random(40) * 0.6, 0.01 * rng.normal(size=(2, 40))
    paired = judged(bank(a=base + 0.1 + own[0], b=base + own[1])).contrasts["a", "b"]
    apart = judged(bank(a=base + 0.1, b=rng.permutation(base))).contrasts["a", "b"]
    assert paired > 3 * apart


def test_contrasts_at_the_edges():
    values = np.random.default_rng(0).random(20)
    level, low = np.full(20, 0.75), np.full(20, 0.25)
    found = judged(bank(a=values, b=values, c=level, d=low)).contrasts
    assert found["a", "b"] == 0
    assert found["c", "d"] == math.inf
    assert len(found) == 6
    few = judged(bank(a=[0.9] * 4, b=[0.1] * 4))
    assert few.contrasts == {}
    undefined = Bank({"n": [None] * 6, "a": [{"value": 0.1, "foreground": 0.1}] * 6})
    assert judged(undefined).contrasts == {}


def test_infinite_scores_are_borne():
    class Infinite(Lowest):
        def score(self, bank):
            return {**super().score(bank), "b": -np.inf}

    found = judged(bank(a=[0.5] * 6, b=[0.5] * 6), estimator=Infinite())
    assert found.order == ["b", "a"]
    assert found.contrasts == {}
    assert all(map(math.isnan, found.intervals["b"]))


class Slow(Lowest):
    """Counts how often it is asked."""

    def __init__(self, resamples):
        self.resamples, self.asked = resamples, 0

    def score(self, bank):
        self.asked += 1
        return super().score(bank)


def test_an_estimator_may_ask_for_fewer_draws():
    evidence = bank(a=np.linspace(0, 1, 9), b=np.linspace(0, 0.9, 9))
    slow = Slow(50)
    found = judged(evidence, estimator=slow)
    assert slow.asked == 51
    assert found.resampled
    assert found.seconds > 0
    assert found.intervals["a"][0] < found.intervals["a"][1]
    plain = Judgement(evidence, Lowest(), [str(i) for i in range(9)], 0, draws=50)
    assert found.intervals == plain.intervals


def test_without_draws_nothing_is_said_of_how_sure_it_is():
    none = Slow(0)
    found = judged(bank(a=[0.9] * 8, b=[0.1] * 8, c=[NAN] * 8), estimator=none)
    assert none.asked == 1
    assert found.order == ["b", "a", "c"]
    assert not found.resampled
    assert all(math.isnan(bound) for bounds in found.intervals.values() for bound in bounds)
    assert set(found.rank_intervals.values()) == {(1, 3)}
    assert found.undecided == ()
    assert found.contrasts == {}


@pytest.mark.parametrize("wrong", [-1, 1.5, True, None])
def test_resamples_is_a_number_of_draws(wrong):
    assert resamples_of(Lowest()) == DRAWS
    with pytest.raises(OptionError, match=f"estimator 'lowest': resamples is {wrong}, expected"):
        judged(bank(a=[0.5] * 6), estimator=Slow(wrong))


def simulated(spread, images, rng):
    """Scores of six models, some nearly equal, on images that are harder or easier for all."""
    shared, own = rng.normal(size=(1, images)), rng.normal(size=(6, images))
    shift = np.array([0, 0.02, 0.04, 0.06, 0.5, 1.5])[:, None]
    if spread == "skewed":
        return 0.5 * np.exp(shared) + 0.5 * np.exp(own) + shift
    values = 0.7 * shared + 0.7 * own + shift
    return np.round(4 * values) / 4 if spread == "discrete" else values


def named(values):
    return bank(**{f"m{i}": row for i, row in enumerate(values)})


class Median(Lowest):
    name = "median"

    def score(self, bank):
        middles = np.median(bank.column("value"), axis=1)
        return dict(zip(bank, map(float, middles), strict=True))


def test_a_rank_is_what_the_pairs_leave_open():
    rng = np.random.default_rng(4)
    for images in (5, 9, 30):
        found = judged(named(simulated("normal", images, rng)))
        for rank, model in enumerate(found.order, 1):
            # The better one comes first in a pair.
            better = sum(pair[1] == model for pair in found.undecided)
            worse = sum(pair[0] == model for pair in found.undecided)
            assert found.rank_intervals[model] == (rank - better, rank + worse)


def test_few_images_must_differ_by_more():
    # With 200 images the lower tail of a difference is at 2.4 % of the draws, with 5 at 0.1 %: one
    # image of five that speaks against the better model, drawn in 672 of 1000, is enough.
    many = judged(bank(a=[0.6] * 160 + [0.4] * 40, b=[0.5] * 200), estimator=Lowest())
    few = judged(bank(a=[0.6] * 4 + [0.4], b=[0.5] * 5), estimator=Lowest())
    assert many.undecided == ()
    assert few.undecided == (("b", "a"),)
    assert (many.sampled, few.sampled) == (200, 5)


def test_equal_scores_are_never_told_apart():
    # Both medians are 0.5, although b is ahead in almost all draws but a few.
    found = judged(bank(a=[0.5] * 30, b=[0.5] * 16 + [0.9] * 14), estimator=Median())
    assert found.undecided == (("a", "b"),)
    assert found.contrasts["a", "b"] == 0


def test_draws_without_a_score_are_not_ahead():
    class Sometimes(Median):
        """Has no score of `a` unless the first image was drawn."""

        greater_is_better = True

        def score(self, bank):
            there = 0 in bank.indices
            return {"a": 0.9 if there else NAN, "b": 0.1}

    found = judged(bank(a=[0.9] * 8, b=[0.1] * 8), estimator=Sometimes())
    # It is missing from a draw with (7/8)^8 = 34 %.
    assert found.order == ["a", "b"]
    assert found.undecided == (("a", "b"),)
    assert found.rank_intervals == {"a": (1, 2), "b": (1, 2)}


def test_a_sample_of_the_images_is_judged_as_a_bank_of_its_own():
    values = simulated("normal", 12, np.random.default_rng(2))
    picks = [3, 3, 0, 11, 7, 7, 7, 1, 9, 5]
    groups = [str(i) for i in range(len(picks))]
    drawn = Judgement(named(values).draw(picks), Median(), groups, 0)
    alone = Judgement(named(values[:, picks]), Median(), groups, 0)
    assert drawn.values == alone.values
    assert drawn.undecided == alone.undecided
    assert drawn.intervals == alone.intervals
    assert np.array_equal(drawn.drawn, alone.drawn)


@pytest.mark.slow
@pytest.mark.parametrize("images", [5, 8, 12, 30])
@pytest.mark.parametrize("spread", ["normal", "skewed", "discrete"])
@pytest.mark.parametrize("estimator", [Median(), Lowest()], ids=["median", "mean"])
def test_intervals_hold_what_is_true_as_often_as_they_claim(estimator, spread, images):
    rng = np.random.default_rng(images)
    population = simulated(spread, 20_001, rng)
    truth = estimator.score(named(population))
    # Lowest is best; ranks that equals share.
    ranks = {
        model: (
            1 + sum(other < value for other in truth.values()),
            sum(other <= value for other in truth.values()),
        )
        for model, value in truth.items()
    }
    samples, held, scored, wrong, apart = 150, 0, 0, 0, 0
    for _ in range(samples):
        sample = population[:, rng.choice(population.shape[1], images, replace=False)]
        found = Judgement(named(sample), estimator, [str(i) for i in range(images)], 0, 300)
        for model, (first, last) in ranks.items():
            low, high = found.rank_intervals[model]
            held += low <= first and last <= high
            low, high = found.intervals[model]
            scored += low - 1e-9 <= truth[model] <= high + 1e-9
        for a, b in itertools.combinations(found.order, 2):
            if (a, b) not in found.undecided:
                apart += 1
                wrong += truth[a] >= truth[b]
    assert held / (6 * samples) >= 0.95
    # So many of all pairs may be told in the wrong order, and these are no claims out of caution:
    # nine of the fifteen pairs differ by 0.44 or more.
    assert wrong / (15 * samples) <= 0.025
    assert apart / (15 * samples) >= 0.2
    # A sum of few skewed values is skewed itself, which Student's t does not allow for either.
    fewest = 0.94 if estimator.name == "median" else 0.83 if spread == "skewed" else 0.91
    assert fewest <= scored / (6 * samples) <= 0.985
