"""OTCE: how well source labels foretell target labels, where transport carries one to the other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import ModelError, OptionError, unknown_name
from onnx_cte.estimators.label_tables import conditional_entropy, label_table
from onnx_cte.estimators.sampling import (
    MOST_BYTES,
    by_name,
    check_flag,
    check_integer,
    class_map,
    distribution,
    feature_map,
    features_at,
)
from onnx_cte.estimators.silence import seen_by
from onnx_cte.estimators.titles import titled
from onnx_cte.estimators.transport import (
    Solver,
    check_solver,
    coupling,
    squared_distances,
    unavailable,
)
from onnx_cte.needs import Needs
from onnx_cte.perturbations import generator
from onnx_cte.perturbations.strengths import is_number
from onnx_cte.types import Observation

Kind = Literal["f_otce", "otce", "jc_otce"]
OUTPUT = "output"
# What a piece of evidence holds beside its arrays' numbers: names and headers.
_OVERHEAD = 1 << 12


@dataclass(frozen=True)
class OTCE:
    """Optimal transport based conditional entropy [1]_ [2]_, over pixels of source and target.

    Pixels are drawn uniformly, without replacement, from the model's own source images and from the
    target images; their vectors are coupled at the least squared Euclidean distance; and the
    coupling says which target labels source labels become. H is the entropy of the target label
    given the source label, in nats. The score is ``-H``, or as `kind` says, averaged over `repeats`
    draws. Labels may be permuted: a model that takes foreground for background scores as well.

    Undefined (NaN) for a model without source images. Where a class is absent from the target,
    less is left to foretell, and H is smaller. Features that are all the same are coupled evenly,
    which makes H the entropy of the target labels. Of features with many equal vectors, as of
    saturated outputs, there are many exact couplings, and one is taken; that of Sinkhorn is unique.

    Couplings are solved once, on all images. A bootstrap draw weighs what each target image
    contributes to them, and solves nothing anew: intervals leave out how the coupling itself would
    change.

    Departures from the papers: 2000 pixels and 5 repeats (there 10,000 and 10, whose matrices take
    800 MB); exact transport, as in the released code; at the output, probabilities instead of
    logits; and every image contributes as many pixels to the pool, whatever its size.

    Parameters
    ----------
    kind : {"f_otce", "otce", "jc_otce"}
        ``f_otce``: -H alone, as [2]_ does for segmentation. ``otce``: ``l1 * W + l2 * H + b`` with
        the cost W of the coupling. ``jc_otce``: -H of a coupling whose cost mixes in the distance
        of the labels: ``gamma * |f - g|^2 + (1 - gamma) * D``, D the cost of coupling the samples
        of the one class with those of the other by themselves.
    weights : tuple of three float, or None
        ``(l1, l2, b)`` of ``otce``, to be fitted to transfers of known success; there are no
        weights that hold for all.
    gamma : float, 0 to 1
        Of ``jc_otce``.
    pixels : int, >= 2
        Drawn for each side of a coupling; all there are if there are fewer.
    repeats : int, >= 1
    solver : {"exact", "sinkhorn"}
    epsilon : float, > 0
        Of Sinkhorn: weight of the entropy, in units of the cost.
    normalise : bool
        Of Sinkhorn: divide the cost by its maximum; `epsilon` is a share of that then.
    labels : {"truth", "classes"}
        Foreground by the labels, or class indices in the labels.
    tap : str
        ``output``: the predicted probabilities of the classes. Or any tap, as "decoder#-1".

    References
    ----------
    .. [1] Tan, Y., Li, Y. and Huang, S.-L. (2021), CVPR, arXiv:2103.13843.
    .. [2] Tan, Y., Li, Y. and Huang, S.-L. (2021), arXiv:2109.15242.

    Examples
    --------
    >>> jc = OTCE("jc_otce", pixels=500)
    >>> jc.title, jc.needs.source, jc.needs.supplied
    ('jc_otce 500 px', True, ('labels', 'source'))
    """

    kind: Kind = "f_otce"
    weights: tuple[float, float, float] | None = None
    gamma: float = 0.5
    pixels: int = 2000
    repeats: int = 5
    solver: Solver = "exact"
    epsilon: float = 0.1
    normalise: bool = False
    labels: Literal["truth", "classes"] = "truth"
    tap: str = OUTPUT

    name: ClassVar[str] = "otce"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "optimal transport from source to target pixels (OTCE)"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise unknown_name("kind of OTCE", str(self.kind), get_args(Kind))
        if self.labels not in ("truth", "classes"):
            raise unknown_name("kind of labels of OTCE", str(self.labels), ("truth", "classes"))
        check_solver(self.solver)
        if self.weights is not None:
            object.__setattr__(self, "weights", _checked_weights(self.weights))
        if (self.kind == "otce") != (self.weights is not None):
            raise OptionError(
                f"OTCE: kind '{self.kind}' takes no weights; leave them out, or take kind='otce'"
                if self.weights is not None
                else "OTCE: kind 'otce' needs weights=(l1, l2, b), fitted to transfers of known "
                "success: none hold for all; without any take kind='f_otce', which is -H alone"
            )
        check_integer("OTCE: pixels", self.pixels, 2)
        check_integer("OTCE: repeats", self.repeats)
        check_flag("OTCE: normalise", self.normalise)
        if not is_number(self.gamma) or not 0 <= self.gamma <= 1:
            raise OptionError(f"OTCE: gamma is a number from 0 to 1, not {self.gamma!r}")
        if not is_number(self.epsilon) or not 0 < self.epsilon < math.inf:
            raise OptionError(f"OTCE: epsilon is a finite number above 0, not {self.epsilon!r}")
        if self.solver == "exact" and (self.normalise or self.epsilon != OTCE.epsilon):
            raise OptionError(
                "OTCE: epsilon and normalise are for Sinkhorn, an exact coupling has neither; "
                "leave them out, or take solver='sinkhorn'"
            )
        if self.kind != "jc_otce" and self.gamma != OTCE.gamma:
            raise OptionError(
                f"OTCE: kind '{self.kind}' has no gamma; leave it out, or take kind='jc_otce'"
            )
        if not isinstance(self.tap, str) or not self.tap:
            raise OptionError(f"OTCE: tap is '{OUTPUT}' or the name of a tap, not {self.tap!r}")

    @property
    def title(self) -> str:
        return titled(
            self,
            self.kind,
            weights="{}",
            gamma="gamma {}",
            solver="{}",
            epsilon="epsilon {}",
            normalise="normalised",
            labels="{}",
            pixels="{} px",
            repeats="x{}",
            tap="@{}",
        )

    @property
    def needs(self) -> Needs:
        return Needs(truth=True, source=True, taps=() if self.tap == OUTPUT else (self.tap,))

    @property
    def measures(self) -> str:
        return f"otce {self.tap} {self.labels} {self.pixels}"

    def unavailable(self) -> str:
        """Why it cannot run here; empty if it can."""
        return unavailable()

    def measure(self, seen: Observation) -> Evidence:
        if reason := unavailable():
            raise ModelError(reason)
        classes = class_map(seen, self.labels)
        if self.tap == OUTPUT:
            width = len(seen.reference.roles) if seen.reference.exclusive else 2
        else:
            width = feature_map(seen, self.tap).channels
        count = min(self.pixels, (MOST_BYTES - _OVERHEAD) // (4 * width + 4), classes.size)
        rng = generator(seen.seed, seen.image, "otce")
        places = np.stack(
            np.unravel_index(rng.choice(classes.size, count, replace=False), classes.shape), axis=-1
        )
        vectors = (
            distribution(seen.reference, places)
            if self.tap == OUTPUT
            else features_at(seen, self.tap, places)
        )
        return {
            "image": seen.image,
            "vectors": vectors.astype(np.float32, copy=False),
            "labels": classes[tuple(places.T)].astype(np.int32),
            **seen_by(seen.reference),
        }

    def score(self, bank: Bank) -> Mapping[str, float]:
        counts = bank.counts
        return {model: self._mean(found, counts) for model, found in self._coupled(bank).items()}

    def remarks(self, bank: Bank) -> tuple[str, ...]:
        """Whether there are fewer pixels than asked for."""
        found = []
        for side, rows in (("target", bank), ("source", bank.source)):
            sizes = [
                sum(len(seen["labels"]) for seen in row if seen is not None)
                for row in rows.values()
            ]
            fewest = min((size for size in sizes if size), default=self.pixels)
            if fewest < self.pixels:
                found.append(
                    f"the {side} images give {fewest} pixels, fewer than the {self.pixels} "
                    "asked for; all are taken"
                )
        return tuple(found)

    def _coupled(self, bank: Bank) -> "dict[str, list[_Coupled]]":
        """Every model's couplings, on the whole bank."""
        return bank.derived(
            repr(self),
            lambda whole: {
                model: self._repeated(whole.source.get(model, ()), row)
                for model, row in whole.items()
            },
        )

    def _repeated(
        self, source: Sequence[Evidence | None], target: Sequence[Evidence | None]
    ) -> "list[_Coupled]":
        here, there = _Pool.of(source), _Pool.of(target)
        if here is None or there is None:
            return []
        # All there are, every time: there is nothing to repeat.
        all_taken = max(len(here.labels), len(there.labels)) <= self.pixels
        return [
            self._couple(
                here.drawn(self.pixels, f"source {repeat}"),
                there.drawn(self.pixels, f"target {repeat}"),
                len(target),
            )
            for repeat in range(1 if all_taken else self.repeats)
        ]

    def _couple(self, source: "_Pool", target: "_Pool", images: int) -> "_Coupled":
        distances = squared_distances(source.vectors, target.vectors)
        cost = distances
        if self.kind == "jc_otce":
            between = self._between_classes(distances, source.labels, target.labels)
            cost = self.gamma * distances + (1 - self.gamma) * between
        plan = coupling(cost, self.solver, self.epsilon, self.normalise)
        shape = int(source.labels.max()) + 1, int(target.labels.max()) + 1
        tables, costs = np.zeros((images, *shape)), np.zeros(images)
        for image in np.unique(target.images):
            own = target.images == image
            tables[image] = label_table(plan[:, own], source.labels, target.labels[own], shape)
            costs[image] = (plan[:, own] * distances[:, own]).sum()
        return _Coupled(tables, costs)

    def _between_classes(
        self,
        distances: NDArray[np.float64],
        source: NDArray[np.integer],
        target: NDArray[np.integer],
    ) -> NDArray[np.float64]:
        """Distance of the labels of each pair of samples, shape (n, m)."""
        found = np.zeros_like(distances)
        for a in np.unique(source):
            for b in np.unique(target):
                block = np.ix_(source == a, target == b)
                plan = coupling(distances[block], self.solver, self.epsilon, self.normalise)
                found[block] = (plan * distances[block]).sum()
        return found

    def _mean(self, couplings: "Sequence[_Coupled]", counts: NDArray[np.float64]) -> float:
        """Score of one model over repeats that hold pixels of these images; NaN without any."""
        found = []
        for coupled in couplings:
            table = np.tensordot(counts, coupled.tables, axes=1)
            mass, entropy = float(table.sum()), conditional_entropy(table)
            if not mass > 0:
                continue
            if self.weights is None:
                found.append(-entropy)
            else:
                carried = float(counts @ coupled.costs) / mass
                first, second, third = self.weights
                found.append(first * carried + second * entropy + third)
        return sum(found) / len(found) + 0.0 if found else math.nan


@dataclass(frozen=True, slots=True)
class _Coupled:
    """What one coupling says, by target image: (images, labels, labels) masses, (images,) costs."""

    tables: NDArray[np.float64]
    costs: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Pool:
    """Samples of one domain: vectors (n, d), labels (n,), and which image each is of (n,)."""

    vectors: NDArray[np.float32]
    labels: NDArray[np.int32]
    images: NDArray[np.intp]

    @classmethod
    def of(cls, row: Sequence[Evidence | None]) -> "_Pool | None":
        """All samples, in the order of the images' names; None if there is none."""
        shown = [(i, seen) for i, seen in by_name(row) if len(seen["labels"])]
        if not shown:
            return None
        return cls(
            np.concatenate([seen["vectors"] for _, seen in shown]),
            np.concatenate([seen["labels"] for _, seen in shown]),
            np.concatenate([np.full(len(seen["labels"]), i) for i, seen in shown]),
        )

    def drawn(self, count: int, name: str) -> "_Pool":
        """So many of them, or all; what is drawn depends on how many there are, and the name."""
        total = len(self.labels)
        taken = generator(0, "otce", name).choice(total, min(count, total), replace=False)
        return _Pool(self.vectors[taken], self.labels[taken], self.images[taken])


def _checked_weights(given: Any) -> tuple[float, ...]:
    """Three finite numbers, or OptionError."""
    try:
        found = tuple(float(weight) for weight in given)
    except (TypeError, ValueError):
        found = ()
    if len(found) != 3 or not all(map(math.isfinite, found)):
        raise OptionError(f"OTCE: weights are three finite numbers (l1, l2, b), not {given!r}")
    return found
