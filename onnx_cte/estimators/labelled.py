"""Performance on a few labelled images: what labelling them would buy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from onnx_cte.bank import Bank, Evidence
from onnx_cte.errors import OptionError
from onnx_cte.estimators.accuracy import Accuracy
from onnx_cte.estimators.sampling import check_integer
from onnx_cte.estimators.silence import means, medians
from onnx_cte.estimators.titles import titled
from onnx_cte.needs import Needs
from onnx_cte.perturbations import generator
from onnx_cte.types import Observation

MOST_DRAWS = 100_000
"""Of which evidence takes less than 1 MB an image."""


@dataclass(frozen=True)
class Labelled:
    """Performance on `k` labelled images: the honest reference for whatever needs labels.

    Each draw picks `k` different images, the same for every model, and a model's score of the draw
    is its median performance on them, as `Accuracy` has it on all: images on which both labels and
    prediction are empty are left out of the median, which is undefined if nothing is left. With
    fewer than `k` images to pick from, all is undefined. `score_by_draw` is what one who labels
    `k` images gets; `score` is the mean over the draws, undefined ones left out.

    Every image has a random key a draw, from its name and the seed of the run, and those with the
    lowest keys are picked: the picks depend on no order, and those of a smaller `k` are among those
    of a greater one.

    Parameters
    ----------
    k : int, >= 1
        Images labelled.
    metric : str
        A performance metric: ``f1``, or ``f1_classes`` where labels are class indices; ``map`` or
        ``f1_50`` of objects.
    draws : int, from 1 to `MOST_DRAWS`
        Random choices of images.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> models = [
    ...     oc.BlackBox(f"above {level}", lambda x, level=level: (x > level).astype(float))
    ...     for level in (0.0, 0.5, 0.9)
    ... ]
    >>> labelled = oc.Images.from_arrays(discs, truth=[disc > 0.5 for disc in discs])
    >>> ranking = oc.rank(models, labelled, oc.Labelled(k=1))
    >>> [(score.model, round(score.value, 2)) for score in ranking]
    [('above 0.5', 1.0), ('above 0.9', 0.27), ('above 0.0', 0.19)]
    """

    k: int = 5
    metric: str = "f1"
    draws: int = 100

    name: ClassVar[str] = "labelled"
    greater_is_better: ClassVar[bool] = True
    summary: ClassVar[str] = "performance on a few labelled images, mean over random choices"
    judged_by_draw: ClassVar[bool] = True
    resamples: ClassVar[int] = 0

    def __post_init__(self) -> None:
        self._accuracy  # noqa: B018 - its checks
        check_integer("Labelled: k, the number of labelled images,", self.k)
        check_integer("Labelled: draws, the random choices of images,", self.draws)
        if self.draws > MOST_DRAWS:
            raise OptionError(
                f"Labelled: draws is at most {MOST_DRAWS}, not {self.draws}: each leaves a number "
                "an image"
            )

    @property
    def title(self) -> str:
        return titled(self, f"labelled_{self.k}", metric="{}", draws="x{}")

    @property
    def needs(self) -> Needs:
        return self._accuracy.needs

    @property
    def measures(self) -> str:
        # Whatever `k`: several of them are compared.
        return f"labelled(metric={self.metric!r}, draws={self.draws})"

    def measure(self, seen: Observation) -> Evidence:
        keys = generator(seen.seed, seen.image, "labelled").random(self.draws)
        return {**self._accuracy.measure(seen), "keys": keys}

    def score(self, bank: Bank) -> Mapping[str, float]:
        found = means(self._medians(bank))
        return {model: float(mean) for model, mean in zip(bank, found, strict=True)}

    def score_by_draw(self, bank: Bank) -> tuple[Mapping[str, float], ...]:
        """Median performance on the images of each draw.

        Parameters
        ----------
        bank : Bank
            Evidence as `measure` gives it.

        Returns
        -------
        tuple of mapping of str to float
            `draws` of them; NaN for a model without a defined value among the images, or for all
            if there are fewer than `k` images.
        """
        return tuple(
            {model: float(median) for model, median in zip(bank, column, strict=True)}
            for column in self._medians(bank).T
        )

    def remarks(self, bank: Bank) -> tuple[str, ...]:
        """Whether there are as many labelled images as asked for."""
        there = sum(any(row[i] is not None for row in bank.values()) for i in range(bank.images))
        if there >= self.k:
            return ()
        return (f"{self.k} labelled images asked for, and there are {there}: no score",)

    @property
    def _accuracy(self) -> Accuracy:
        return Accuracy(self.metric)

    def _medians(self, bank: Bank) -> NDArray[np.float64]:
        """Of each model in each draw, shape (models, draws)."""
        keys: dict[int, NDArray[np.float64]] = {}
        for row in bank.values():
            for image, seen in enumerate(row):
                if seen is not None:
                    keys.setdefault(image, seen["keys"])
        if len(keys) < self.k:
            return np.full((len(bank), self.draws), np.nan)
        images = np.array(list(keys))
        order = np.argsort(np.stack(list(keys.values())), axis=0, kind="stable")
        picked = bank.column("value")[:, images[order[: self.k].T]]  # (models, draws, k)
        return medians(picked.reshape(-1, self.k)).reshape(len(bank), self.draws)
