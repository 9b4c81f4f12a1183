"""Small estimators for tests of what stands around estimators."""

import dataclasses
from typing import ClassVar

import numpy as np
from networks import blur
from test_runner import write_images

from onnx_cte.bank import Bank
from onnx_cte.estimators.silence import seen_by
from onnx_cte.needs import Needs

MEASURED = []  # (estimator, image, domain), as they come


def arrange(folder):
    """Three models of falling steadiness, and six labelled images."""
    for name, options in {
        "steady": {"gain": 20},
        "sharp": {"gain": 60, "width": 3},
        "jumpy": {"gain": 60, "width": 1},
    }.items():
        blur(folder / "models" / f"{name}.onnx", **options)
    write_images(folder)
    return folder


@dataclasses.dataclass(frozen=True)
class Share:
    """The mean share of foreground, by whichever name."""

    times: float = 1.0
    label: str = "share"

    name: ClassVar[str] = "share"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "share of foreground"

    @property
    def title(self):
        return self.label

    @property
    def needs(self):
        return Needs()

    def measure(self, seen):
        MEASURED.append((self.name, seen.image, seen.domain))
        return {"value": float(seen.reference.classes.mean()), **seen_by(seen.reference)}

    def score(self, bank: Bank):
        values = bank.column("value")
        return {m: self.times * float(np.nanmean(row)) for m, row in zip(bank, values, strict=True)}


@dataclasses.dataclass(frozen=True)
class Shared(Share):
    """The same, whose evidence does not depend on its options."""

    name: ClassVar[str] = "shared"
    measures: ClassVar[str] = "the share of foreground"

    def score(self, bank: Bank):
        made = bank.derived("mean", lambda whole: MEASURED.append(("derived", "", "")) or 1.0)
        return {model: made * value for model, value in super().score(bank).items()}


@dataclasses.dataclass(frozen=True)
class Nearness(Share):
    """How near the share of foreground on the source is to that on the target."""

    name: ClassVar[str] = "nearness"
    summary: ClassVar[str] = "nearness to the source"

    @property
    def needs(self):
        return Needs(source=True)

    def measure(self, seen):
        found = super().measure(seen)
        if seen.domain == "source":
            assert seen.truth is not None
            return {**found, "labelled": float((seen.truth > 0).mean())}
        return found

    def score(self, bank: Bank):
        scores = {}
        for model, row in bank.items():
            own = [found["labelled"] for found in bank.source[model] if found]
            here = [found["value"] for found in row if found]
            scores[model] = 1 - abs(float(np.mean(own)) - float(np.mean(here)))
        return scores


@dataclasses.dataclass(frozen=True)
class Labels(Share):
    """Needs labels, and says that a package is not there if asked to."""

    missing: str = ""

    name: ClassVar[str] = "labels"
    summary: ClassVar[str] = "needs labels"

    @property
    def needs(self):
        return Needs(truth=True)

    def unavailable(self):
        return self.missing

    def measure(self, seen):
        assert seen.truth is not None
        return super().measure(seen)


@dataclasses.dataclass(frozen=True)
class Few(Labels):
    """Scores of draws that are alternatives."""

    name: ClassVar[str] = "few"
    judged_by_draw: ClassVar[bool] = True
    resamples: ClassVar[int] = 0

    def score_by_draw(self, bank: Bank):
        return tuple(
            {m: float(v) for m, v in zip(bank, bank.column("value")[:, i], strict=True)}
            for i in range(3)
        )


@dataclasses.dataclass(frozen=True)
class Failing(Share):
    """Fails on some images."""

    on: tuple[str, ...] = ()
    name: ClassVar[str] = "failing"

    def measure(self, seen):
        if seen.image in self.on:
            raise ZeroDivisionError("by accident")
        return super().measure(seen)
