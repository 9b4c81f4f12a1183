"""Which estimators an evaluation compares: ``--estimator``, and what ``all`` stands for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE, ESTIMATORS, Accuracy, parse_estimator
from onnx_cte.measuring.sharing import unavailable
from onnx_cte.metrics import metric_named
from onnx_cte.types import Estimator

ALL = "all"
BY_DEFAULT = ("credibility", CTE.name, "confidence", "entropy")
_ORDER = ((), ("labels",), ("source",), ("labels", "source"))


@dataclass(frozen=True, slots=True)
class Jury:
    """The estimators of an evaluation.

    Attributes
    ----------
    judges : tuple of Estimator
        Each once.
    left_out : tuple of (name, reason)
        What `ALL` stands for and cannot run here.
    """

    judges: tuple[Estimator, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def names_of(stated: Sequence[str]) -> list[str]:
    """Texts of estimators, whether repeated or separated by commas; the default if there are none.

    Raises
    ------
    OptionError
        If one is empty, or `ALL` is given options.
    """
    names = [name.strip() for text in stated for name in text.split(",")]
    if "" in names:
        raise OptionError(
            f"--estimator {' '.join(stated)}: an estimator is missing at a comma; write for "
            "example --estimator cte,confidence, or --estimator all"
        )
    for name in names:
        if name.startswith(f"{ALL}:"):
            raise OptionError(
                f"--estimator {name}: {ALL} takes no options; state them of one estimator beside "
                f"it, as in --estimator {ALL},leep:labels=pseudo"
            )
    return names or list(BY_DEFAULT)


def refuse_several(stated: str) -> None:
    """OptionError if a text stands for several estimators, where one makes the ranking."""
    if "," in stated or stated.partition(":")[0] == ALL:
        raise OptionError(
            f"--estimator {stated}: a ranking is made by one estimator; several are compared by "
            f"`onnx-cte evaluate MODELS IMAGES LABELS --estimator {stated}`"
        )


def means_cte(names: Sequence[str]) -> bool:
    """Whether CTE is among them with no options of its own, so that those of the command hold."""
    return CTE.name in names or ALL in names


def jury_of(
    names: Sequence[str],
    of_cte: Callable[[], Sequence[Estimator]],
    performance: str,
    *,
    with_source: bool,
) -> Jury:
    """Make the estimators of an evaluation.

    Parameters
    ----------
    names : sequence of str
        Texts as for `parse_estimator`, or `ALL`: every estimator of this package but performance
        itself, in groups by what they need (nothing, labels, source images), by name within.
        Without source images, those that need them are left out, as are those that this
        installation cannot run.
    of_cte : callable
        What plain ``cte`` stands for.
    performance : str
        Metric of performance: for estimators that measure it themselves, unless they state
        another.
    with_source : bool
        Whether there are source images.

    Returns
    -------
    Jury
        In the order of the names.
    """
    judges: list[Estimator] = []
    left_out: list[tuple[str, str]] = []
    for name in names:
        if name != ALL:
            _add(judges, _made(name, of_cte, performance))
            continue
        for one, made in _everything(of_cte, performance):
            if reason := _why_not(made[0], with_source):
                left_out.append((one, reason))
            else:
                _add(judges, made)
    return Jury(tuple(judges), tuple(left_out))


def _add(judges: list[Estimator], made: Sequence[Estimator]) -> None:
    """Take those that are not there yet; what stands for one name may hold equal ones."""
    before = list(judges)
    judges += [judge for judge in made if judge not in before]


def _made(
    text: str, of_cte: Callable[[], Sequence[Estimator]], performance: str
) -> Sequence[Estimator]:
    """What an estimator's text stands for."""
    if text == CTE.name:
        return of_cte()
    name, _, stated = text.partition(":")
    said = {part.partition("=")[0].strip() for part in stated.split(":")}
    unsaid: dict[str, Any] = {}
    if offer := ESTIMATORS.get(name):
        unsaid |= {offer.performance: performance} if offer.performance else {}
        objects = metric_named(performance, "performance").compares == "labels"
        unsaid |= offer.objects if objects else {}
    return [parse_estimator(text, **{o: value for o, value in unsaid.items() if o not in said})]


def _everything(
    of_cte: Callable[[], Sequence[Estimator]], performance: str
) -> list[tuple[str, Sequence[Estimator]]]:
    """Every estimator of ours by name, but performance itself, in groups by what it needs."""
    made = [
        (name, _made(name, of_cte, performance))
        for name in sorted(ESTIMATORS)
        if name != Accuracy.name
    ]
    return sorted(
        ((name, judges) for name, judges in made if judges),
        key=lambda pair: _ORDER.index(pair[1][0].needs.supplied),
    )


def _why_not(judge: Estimator, with_source: bool) -> str:
    """Why an estimator cannot run here; empty if it can."""
    if judge.needs.source and not with_source:
        return "it needs source images and labels: --source MODEL=IMAGES:LABELS"
    return unavailable(judge)
