"""What a run says of its models: scores and a ranking, with how sure the images are of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from statistics import median
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import NotInstalled
from onnx_cte.separation import Separation, doubt_about
from onnx_cte.tables import html_list, html_table, number, score_text, span, text_table

ODDS = 10.0
"""How far from the others' a share of foreground is worth a warning, as a ratio of odds."""

COLUMNS = (
    "rank", "model", "score", "low", "high", "rank_low", "rank_high", "images", "empty", "skipped",
    "coverage", "foreground", "objects", "undecided_with",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Score:
    """What an estimator says of one model.

    Attributes
    ----------
    model : str
    value : float
        NaN: there was nothing to judge on any image.
    interval : tuple of two floats
        95 % of the value when images are drawn anew with replacement.
    rank_interval : tuple of two ints
        95 % of the rank, all models judged on the same draws.
    images : int
        Images that gave a value.
    empty : int
        Images it was run on that gave none, for it saw no foreground. They count as 0 where most
        of the other models see some (`onnx_cte.estimators.silence`), and not at all elsewhere.
    coverage : float
        Share of `images` among all usable images, in [0, 1].
    foreground : float
        Share of pixels that it calls foreground, median over the images; NaN if not measured.
    objects : float
        Objects found on an image, median over the images; NaN if objects are not what is judged.
    by_image : mapping of str to float
        What was measured on each image it was run on, NaN where that is undefined; empty if the
        estimator keeps no single number of an image.
    agreed : mapping of str to float
        How far the other models agree with it on each of these images, NaN where nobody says
        anything; empty if the estimator does not compare models.
    skipped : tuple of (image, reason)
    notes : tuple of str
        What was assumed about the model.
    parts : mapping of str to float
        What the value is made of, by name, of an estimator that says so; NaN where undefined.

    Examples
    --------
    >>> score = Score("unet", 0.93, (0.9, 0.95), (1, 2), images=24, empty=0, coverage=1.0)
    >>> score.value, score.blind
    (0.93, False)
    """

    model: str
    value: float
    interval: tuple[float, float]
    rank_interval: tuple[int, int]
    images: int
    empty: int
    coverage: float
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    foreground: float = math.nan
    objects: float = math.nan
    by_image: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, float] = field(default_factory=dict)
    agreed: Mapping[str, float] = field(default_factory=dict)

    @property
    def blind(self) -> bool:
        """Whether the score says only that the model sees nothing.

        It is undefined, or it is 0 and most undisturbed predictions are without any foreground. A
        score of 0 of a model that sees something is another matter: its predictions do not hold.
        """
        return math.isnan(self.value) or (self.value == 0 and self.foreground == 0)


@dataclass(frozen=True, slots=True)
class Ranking(Sequence[Score]):
    """Models, best first.

    ``print`` shows it as a table, and so does a notebook, with what one must know to read it;
    `to_rows` and `to_frame` give it as data.

    Attributes
    ----------
    scores : tuple of Score
        Best first; undefined scores last; equal scores in the order of names.
    estimator : str
        Its ``repr``: enough to repeat the run.
    title : str
        Its title, for tables.
    greater_is_better : bool
    undecided : tuple of (model, model)
        Pairs that these images cannot tell apart: the 95 % interval of the difference of their
        scores, over paired draws of images, holds 0. Not transitive, hence pairs and no groups.
    failed : tuple of (model, reason)
        Not ranked, not hidden.
    skipped : tuple of (image, reason)
        Images that no model could be judged on.
    seed : int
    provenance : mapping of str to JSON values
        Versions, provider, hashes of the models, times; ``sweep``, if a sweep chose the
        perturbation (`onnx_cte.sweep`).
    remarks : tuple of str
        What the estimator itself warns of; see `warnings`.
    separation : Separation or None
        How far the scores are apart, for what is uncertain about them; None if no model could be
        ranked, or if nobody measured it.
    needs : tuple of str
        What the estimator had to be given beside models and images: "labels", "source" (images and
        labels of each model's own training domain), both or nothing.
    by_draw : tuple of mapping of str to float
        Score by model of each draw, where draws are alternatives to each other rather than parts
        of one score (which few images were labelled, say); mostly empty. `agreement` is the mean
        over them.
    drawn : ndarray of float64, shape (draws, models), or None
        Scores under each bootstrap draw of the images, models in the order of `scores`. Estimators
        of one run share their draws, row by row (one with fewer has the first of them), so that
        differences and agreement can be resampled too. None if nothing was resampled, or if the
        ranking was read from a file: it is not written.
    sampled : int
        How many images the bootstrap draws from, several of one file counting as one; 0 if nothing
        was resampled, as of too few.
    images_to_tell : tuple of (better, worse, more)
        For the undecided pairs, how many more images (or files, see `sampled`) would tell them
        apart if their scores differ as they do on these (`onnx_cte.sample_size.more_images`). Left
        out are pairs that no number would, for their scores are equal or undefined.

    Examples
    --------
    >>> steady = Score("unet", 0.93, (0.9, 0.95), (1, 1), images=24, empty=0, coverage=1.0)
    >>> jumpy = Score("fcn", 0.71, (0.6, 0.8), (2, 2), images=24, empty=0, coverage=1.0)
    >>> ranking = Ranking((steady, jumpy), "CTE()")
    >>> ranking[0].model, len(ranking), ranking.values
    ('unet', 2, {'unet': 0.93, 'fcn': 0.71})
    >>> [(row["rank"], row["model"], row["low"]) for row in ranking.to_rows()]
    [(1, 'unet', 0.9), (2, 'fcn', 0.6)]
    """

    scores: tuple[Score, ...]
    estimator: str
    title: str = ""
    greater_is_better: bool = True
    undecided: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    seed: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    separation: Separation | None = None
    needs: tuple[str, ...] = ()
    by_draw: tuple[Mapping[str, float], ...] = ()
    drawn: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    sampled: int = 0
    images_to_tell: tuple[tuple[str, str, int], ...] = ()

    @overload
    def __getitem__(self, index: int) -> Score: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Score]: ...
    def __getitem__(self, index: int | slice) -> Score | Sequence[Score]:
        return self.scores[index]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def values(self) -> Mapping[str, float]:
        """Score by model, best first."""
        return {score.model: score.value for score in self.scores}

    @property
    def parts(self) -> tuple[str, ...]:
        """What the scores are made of, by name; nothing if their estimator does not say."""
        return tuple(dict.fromkeys(part for score in self.scores for part in score.parts))

    @property
    def seconds(self) -> float:
        """Time of the estimator itself, beyond running the models, as its run recorded it.

        That is to measure what was measured in this run, on all images under all models, and to
        score the whole bank once, without the bootstrap. What estimators share in measuring is
        charged to each of them, what they derive from the bank together to the first. NaN if all
        evidence came from an earlier run, or if nobody took the time.
        """
        taken = self.provenance.get("time", {}).get("estimator_seconds")
        return math.nan if taken is None else float(taken)

    def undecided_with(self, model: str) -> tuple[str, ...]:
        """The models that these images cannot tell from the given one."""
        return tuple(b if a == model else a for a, b in self.undecided if model in (a, b))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What one should look at before trusting the order.

        A perturbation can say little, for no model answers to it or all answer alike: see
        `onnx_cte.separation.doubt_about`.

        A prediction can be stable and wrong: a model that takes the background for foreground, say.
        Named are models whose share of foreground is far from what the models have in the middle,
        by more than a factor of `ODDS` in the odds; with fewer than three models there is none.

        Where scores have parts, the estimator weighs these things itself, and `remarks` tell.
        """
        if self.parts:
            return self.remarks
        doubted = (self.doubt,) if self.doubt else ()
        return (*self.remarks, *doubted, *self._contradicted())

    @property
    def doubt(self) -> str:
        """Why the perturbation says little about these models; empty if it does not.

        Of scores with several parts it says but a part.
        """
        if self.separation is None or self.parts:
            return ""
        return doubt_about(
            self.separation,
            self.values.values(),
            greater_is_better=self.greater_is_better,
            swept="sweep" in self.provenance,
        )

    def _contradicted(self) -> tuple[str, ...]:
        shares = {s.model: s.foreground for s in self.scores if not math.isnan(s.foreground)}
        if len(shares) < 3:
            return ()
        middle = median(shares.values())
        return tuple(
            f"{model} calls {share:.1%} of the pixels foreground, the models' median is "
            f"{middle:.1%}: one side is wrong, look at the predictions"
            for model, share in shares.items()
            if not 1 / ODDS <= _odds(share) / _odds(middle) <= ODDS
        )

    def to_rows(self) -> list[dict[str, Any]]:
        """The models as rows, best first, with the columns of ``ranking.csv``.

        Returns
        -------
        list of dict
            One a ranked model: ``rank``, ``model``, ``score``, ``low`` and ``high`` (95 % interval
            of the score), ``rank_low`` and ``rank_high``, ``images``, ``empty``, ``skipped``,
            ``coverage``, ``foreground``, ``objects``, ``undecided_with`` (a list of models), and
            each of `parts`. What is undefined is NaN. Empty if no model could be ranked.
        """
        rows = []
        for rank, score in enumerate(self.scores, 1):
            skipped = len(score.skipped) + len(self.skipped)
            values = (
                *(rank, score.model, score.value, *score.interval, *score.rank_interval),
                *(score.images, score.empty, skipped, score.coverage),
                *(score.foreground, score.objects, list(self.undecided_with(score.model))),
            )
            parts = {part: score.parts.get(part, math.nan) for part in self.parts}
            rows.append({**dict(zip(COLUMNS, values, strict=True)), **parts})
        return rows

    def to_frame(self) -> Any:
        """The rows of `to_rows` as a pandas DataFrame, its index the rank.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        NotInstalled
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise NotInstalled(
                "a DataFrame needs pandas, which is not installed: pip install 'onnx-cte[pandas]'; "
                "Ranking.to_rows() gives the same as plain rows, without it"
            ) from error
        return pandas.DataFrame(self.to_rows(), columns=[*COLUMNS, *self.parts]).set_index("rank")

    def __str__(self) -> str:
        return text_table(*self._cells(), left=[1])

    def _repr_html_(self) -> str:
        """What a notebook shows: the table, warnings, what is undecided, skipped and failed."""
        apart = [f"{a}, {b}" for a, b in self.undecided]
        skipped = [
            *self.skipped,
            *dict.fromkeys(pair for score in self.scores for pair in score.skipped),
        ]
        parts = [
            f"<p>ranked by {escape(self.title or self.estimator)}</p>",
            html_table(*self._cells(), left=[1]),
            html_list("warnings", self.warnings),
            html_list("these images cannot tell apart", apart),
            html_list("skipped", [f"{image}: {reason}" for image, reason in skipped]),
            html_list("failed, not ranked", [f"{m}: {reason}" for m, reason in self.failed]),
        ]
        return "\n".join(filter(None, parts))

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows of the table that is shown."""
        counted = not all(math.isnan(score.objects) for score in self.scores)
        parts = self.parts
        rows = [
            [
                str(rank),
                score.model,
                score_text(score.value, 4),
                *(number(score.parts.get(part, math.nan)) for part in parts),
                span(score.interval),
                "{} .. {}".format(*score.rank_interval),
                "-" if math.isnan(score.foreground) else f"{score.foreground:.1%}",
                *(["-" if math.isnan(score.objects) else f"{score.objects:g}"] * counted),
                str(score.images),
                str(score.empty),
                str(len(score.skipped) + len(self.skipped)),
            ]
            for rank, score in enumerate(self.scores, 1)
        ]
        head = ["rank", "model", "score", *parts, "95 % interval", "rank 95 %", "foreground"]
        head += [*(["objects"] * counted), "images", "empty", "skipped"]
        return head, rows


def _odds(share: float) -> float:
    """Odds of a share; one pixel in a million keeps all and nothing finite."""
    bounded = min(max(share, 1e-6), 1 - 1e-6)
    return bounded / (1 - bounded)
