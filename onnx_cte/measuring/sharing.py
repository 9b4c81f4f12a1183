"""Which estimators share their evidence, and what is kept of it under one model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from onnx_cte.bank import Evidence
from onnx_cte.errors import CTEError, ImageError, ModelError, OptionError, reason_of
from onnx_cte.needs import Needs
from onnx_cte.types import Estimator, Image, ImageRef, Observation

Skipped = list[tuple[str, str]]
"""Name and reason of each image that gave nothing."""


@dataclass(frozen=True, slots=True)
class Group:
    """Estimators whose evidence is the same: it is measured and kept once.

    Attributes
    ----------
    measures : str
        All that the evidence depends on, beside the model, the image and the seed.
    estimator : Estimator
        The first of them, which measures for all.
    members : tuple of int
        Their places among the estimators of the run.
    """

    measures: str
    estimator: Estimator
    members: tuple[int, ...]


@dataclass(slots=True)
class Column:
    """The evidence of a group under one model, as it accumulates image by image.

    Attributes
    ----------
    group : Group
    members : tuple of int
        Those of the group that the model serves.
    needs : Needs
        Theirs together.
    found : list of (mapping or None)
        By image; None where there is nothing.
    skipped : list of (image, reason)
    """

    group: Group
    members: tuple[int, ...]
    needs: Needs
    found: list[Evidence | None] = field(default_factory=list)
    skipped: Skipped = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether no image gave anything."""
        return all(evidence is None for evidence in self.found)

    def take(self, image: str, outcome: Evidence | CTEError | None) -> None:
        """Add what an image gave: evidence, a reason why there is none, or nothing to tell."""
        if isinstance(outcome, CTEError):
            self.skipped.append((image, reason_of(outcome)))
        self.found.append(None if isinstance(outcome, CTEError) else outcome)


def grouped(estimators: Sequence[Estimator]) -> tuple[Group, ...]:
    """Estimators by what their evidence depends on: ``measures``, or else their ``repr``."""
    members: dict[str, list[int]] = {}
    for number, estimator in enumerate(estimators):
        # Optional, hence not in the protocol.
        measures = getattr(estimator, "measures", "")
        members.setdefault(measures or repr(estimator), []).append(number)
    return tuple(
        Group(measures, estimators[numbers[0]], tuple(numbers))
        for measures, numbers in members.items()
    )


def columns_of(
    groups: Iterable[Group], estimators: Sequence[Estimator], serves: Iterable[int]
) -> list[Column]:
    """An empty column for each group of which the model serves any estimator."""
    served = set(serves)
    columns = []
    for group in groups:
        if members := tuple(number for number in group.members if number in served):
            needs = united(estimators[number] for number in members)
            columns.append(Column(group, members, needs))
    return columns


def united(estimators: Iterable[Estimator]) -> Needs:
    """The needs of estimators together; OptionError if they do not go together."""
    needs = Needs()
    for estimator in estimators:
        needs |= estimator.needs
    return needs


def unavailable(estimator: Estimator) -> str:
    """Why an estimator cannot be used in this installation; empty if it can."""
    # Optional, hence not in the protocol.
    asked = getattr(estimator, "unavailable", None)
    if asked is None:
        return ""
    reason = asked()
    if not isinstance(reason, str):
        raise OptionError(
            f"estimator '{estimator.name}': unavailable() gave {reason!r}, expected a text: the "
            "reason why it cannot be used, or an empty one"
        )
    return reason


WITHOUT_SOURCE = (
    "it needs the model's own source images and labels: --source MODEL=IMAGES:LABELS, or "
    "source={'MODEL': Images(...)} in Python; without them leep or nce (which take labels) or cte "
    "(which takes none) can be used"
)
"""Why an estimator that compares with source images cannot judge a model that has none."""


def labelled(ref: ImageRef) -> Image:
    """A source image with its labels; ImageError if it has none."""
    image = ref.load()
    if image.truth is None:
        raise ImageError(f"{ref.name}: it has no labels, which source images need")
    return image


def measured(estimator: Estimator, seen: Observation) -> Evidence:
    """What an estimator measures; an error of any kind leaves as one of ours."""
    try:
        return estimator.measure(seen)
    except CTEError:
        raise
    except Exception as error:
        raise ModelError(f"estimator '{estimator.name}' failed: {reason_of(error)}") from error


def ours(error: Exception) -> CTEError:
    """Let an error that is not ours leave as one that is, so that it is told in one line."""
    return error if isinstance(error, CTEError) else ModelError(reason_of(error))
