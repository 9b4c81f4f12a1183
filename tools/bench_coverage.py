"""How often the 95 % intervals of score and rank, and "told apart", are right.

    python tools/bench_coverage.py models/nuclei ../shared/data/nuc_dsb_large360/images \
        --count 8 12 30 --estimator cte confidence outline consensus --evidence coverage.sqlite

All the images (or so many of them, evenly spread) play the population, of which the scores, ranks
and order are known. Of it 200 samples are drawn, with replacement and as many images each (files,
where several images come from one); each is judged as a run would judge it, with a bootstrap of its
own, and its claims are compared with the population. That measures how the intervals are made, on
scores as they really are; whether the images stand for those one has not taken, nobody can measure
by them. A row an estimator and number of images:

* `rank 95 %`: how often the interval of a model's rank holds its rank in the population (all ranks
  that it shares with its equals), mean over the models; `lowest`, of the model with the fewest.
* `if open`: the same over the intervals that hold more than one rank, with their share beside.
  Where models are far apart an interval is a single rank, which is always right.
* `score 95 %`: how often the interval of the score holds the score of the population; `lowest`, of
  the model with the fewest. An interval of one number, without any spread, is no exception.
* `apart`: share of pairs told apart, over all samples; `right`: how many of these have the order of
  the population (equals have none, so telling them apart is wrong). At 95 %, with both ends of an
  interval left out alike, the wrong order may be claimed of 2.5 % of pairs that are all but equal,
  and less of others: `wrong` is their share of all pairs, and should be no more than 2.5 %.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from onnx_cte.bank import Bank
from onnx_cte.bootstrap import Judgement
from onnx_cte.estimators import parse_estimator
from onnx_cte.evidence import EvidenceStore
from onnx_cte.images import Images
from onnx_cte.measuring import Measurements
from onnx_cte.scoring import Banks
from onnx_cte.segmenters import open_models
from onnx_cte.tables import text_table
from onnx_cte.types import Estimator

ROUNDING = 1e-12
"""By so much two sums of the same scores may differ."""


@dataclass(frozen=True)
class Coverage:
    """What was right over all samples.

    Attributes
    ----------
    estimator : str
    images : int
        In the population, and in each sample.
    rank, score : dict of str to float
        By model, share of the samples whose interval holds what is true of the population; a model
        without a score there has none in `score`.
    opened, opened_share : float
        `rank` over the intervals of more than one rank, NaN if there are none; and how many of all
        these are.
    apart, right, wrong : float
        Share of pairs told apart; of these, share in the order of the population, NaN if there are
        none; and share of all pairs told apart in another order.
    """

    estimator: str
    images: int
    rank: dict[str, float]
    score: dict[str, float]
    opened: float
    opened_share: float
    apart: float
    right: float
    wrong: float


def coverage(
    bank: Bank,
    estimator: Estimator,
    groups: Sequence[str],
    *,
    resamplings: int = 200,
    draws: int = 300,
    seed: int = 0,
) -> Coverage:
    """Judge samples of a population, and compare with it.

    Parameters
    ----------
    bank : Bank
        The population; at least one model, and images of at least `onnx_cte.bootstrap.FEWEST`
        groups, for intervals to be there.
    estimator : Estimator
    groups : sequence of str
        For each image, what is drawn together.
    resamplings : int
        Samples, at least 1.
    draws : int
        Bootstrap draws of each.
    seed : int
    """
    members: dict[str, list[int]] = {}
    for image, group in enumerate(groups):
        members.setdefault(group, []).append(image)
    together = [members[group] for group in sorted(members)]
    whole = Judgement(bank, estimator, groups, seed, draws=0)
    places = ranks(whole, greater_is_better=estimator.greater_is_better)
    rng = np.random.default_rng([seed, len(together)])
    held = {model: 0 for model in bank}
    scored = {model: 0 for model in bank if math.isfinite(whole.values[model])}
    opened, opened_held, apart, right = 0, 0, 0, 0
    for number in range(resamplings):
        picks = rng.integers(len(together), size=len(together))
        images = [image for pick in picks for image in together[pick]]
        # A group drawn twice is two of the sample.
        of = [str(place) for place, pick in enumerate(picks) for _ in together[pick]]
        judged = Judgement(bank.draw(images), estimator, of, seed + number, draws)
        for model, (first, last) in places.items():
            low, high = judged.rank_intervals[model]
            holds = low <= first and last <= high
            held[model] += holds
            opened += low < high
            opened_held += holds and low < high
        for model in scored:
            low, high = judged.intervals[model]
            scored[model] += low - ROUNDING <= whole.values[model] <= high + ROUNDING
        undecided = set(judged.undecided)
        for rank, better in enumerate(judged.order):
            for worse in judged.order[rank + 1 :]:
                if (better, worse) not in undecided:
                    apart += 1
                    right += places[better][1] < places[worse][0]
    pairs = resamplings * math.comb(len(bank), 2)
    return Coverage(
        estimator.title,
        len(together),
        {model: count / resamplings for model, count in held.items()},
        {model: count / resamplings for model, count in scored.items()},
        opened_held / opened if opened else math.nan,
        opened / (resamplings * len(bank)),
        apart / pairs if pairs else math.nan,
        right / apart if apart else math.nan,
        (apart - right) / pairs if pairs else math.nan,
    )


def ranks(judged: Judgement, *, greater_is_better: bool) -> dict[str, tuple[int, int]]:
    """First and last rank that each model shares with its equals; undefined ones are last."""
    sign = 1 if greater_is_better else -1
    values = {
        model: -math.inf if math.isnan(value) else sign * value
        for model, value in judged.values.items()
    }
    return {
        model: (
            1 + sum(other > value for other in values.values()),
            sum(other >= value for other in values.values()),
        )
        for model, value in values.items()
    }


def measured(given: argparse.Namespace, estimators: Sequence[Estimator]) -> Measurements:
    """Evidence of all models on all images; what the evidence file holds is not measured again."""
    only = given.only.read_text(encoding="utf-8").split("\n") if given.only else None
    names = None if only is None else [name.strip() for name in only if name.strip()]
    refs = sorted(Images(given.images, only=names), key=lambda ref: ref.name)
    models = sorted(open_models(given.models), key=lambda model: model.name)
    with EvidenceStore(given.evidence) as store, tqdm(unit="image", disable=None) as bar:
        run = Measurements(refs, estimators, given.seed, store, strict=True)
        for model in models:
            run.measure(model, given.device, given.jobs, bar.update)
    return run


def part(groups: Sequence[str], count: int | None) -> list[int]:
    """Images of so many groups, evenly spread; of all, if there are no more or none is asked."""
    names = sorted(set(groups))
    if count is not None and count < len(names):
        names = [names[place * len(names) // count] for place in range(count)]
    return [image for image, group in enumerate(groups) if group in names]


def table(found: Sequence[Coverage]) -> str:
    """A row an estimator and number of images, in per cent."""

    def percent(share: float) -> str:
        return "-" if math.isnan(share) else f"{100 * share:.1f}"

    def mean_and_lowest(shares: dict[str, float]) -> list[str]:
        if not shares:
            return ["-", "-"]
        return [percent(sum(shares.values()) / len(shares)), percent(min(shares.values()))]

    head = ["estimator", "images", "rank 95 %", "lowest", "if open", "(share)", "score 95 %"]
    rows = [
        [
            one.estimator,
            str(one.images),
            *mean_and_lowest(one.rank),
            percent(one.opened),
            percent(one.opened_share),
            *mean_and_lowest(one.score),
            *map(percent, (one.apart, one.right, one.wrong)),
        ]
        for one in found
    ]
    return text_table([*head, "lowest", "apart", "right", "wrong"], rows, left=[0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--only", type=Path, help="file with a name of an image a line")
    parser.add_argument("--estimator", nargs="+", default=["cte"])
    parser.add_argument(
        "--count", nargs="+", type=int, default=[None], help="images (files), instead of all"
    )
    parser.add_argument("--resamplings", type=int, default=200)
    parser.add_argument("--draws", type=int, default=300, help="of each bootstrap")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evidence", type=Path, help="file that keeps what was measured")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--jobs", type=int, help="threads of the networks")
    parser.add_argument("--out", type=Path, help="write the numbers here as JSON as well")
    given = parser.parse_args(arguments)
    estimators = [parse_estimator(text) for text in given.estimator]
    run = measured(given, estimators)
    banks = Banks(run)
    found = []
    for count in given.count:
        chosen = part(banks.groups, count)
        groups = [banks.groups[image] for image in chosen]
        for number, estimator in enumerate(estimators):
            bank = banks.of(number).draw(chosen)
            options = {"resamplings": given.resamplings, "draws": given.draws, "seed": given.seed}
            found.append(coverage(bank, estimator, groups, **options))
    print(f"{given.resamplings} samples, {given.draws} draws each, {len(run.notes)} models, in %")
    print(table(found))
    if given.out:
        settings = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(given).items()
        }
        rows = [
            {
                name: None if isinstance(value, float) and math.isnan(value) else value
                for name, value in asdict(one).items()
            }
            for one in found
        ]
        given.out.write_text(json.dumps({**settings, "coverage": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
