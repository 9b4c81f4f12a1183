"""Every model's evidence, image by image: what estimators score and the bootstrap draws from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Evidence = Mapping[str, Any]
"""What an estimator keeps of one image: names to numbers, or to arrays of bounded size."""


T = TypeVar("T")


class Bank(Mapping[str, Sequence[Evidence | None]]):
    """A mapping of model to its evidence, aligned by image; None where an image gave none.

    Parameters
    ----------
    evidence : mapping of str to sequence of (mapping or None)
        All sequences have the same length, in the same order of images.
    source : mapping of str to sequence of (mapping or None), optional
        Evidence of each model on images of its own training domain, with their own number of
        images a model; it is no part of the mapping, and a draw keeps it as it is.

    Raises
    ------
    ValueError
        If the lengths differ.

    Examples
    --------
    >>> bank = Bank({"a": [{"value": 1.0}, None], "b": [{"value": 0.5}, {"value": 0.25}]})
    >>> bank.column("value")
    array([[1.  ,  nan],
           [0.5 , 0.25]])
    >>> bank.draw([1, 1]).column("value")
    array([[ nan,  nan],
           [0.25, 0.25]])
    """

    def __init__(
        self,
        evidence: Mapping[str, Sequence[Evidence | None]],
        source: Mapping[str, Sequence[Evidence | None]] | None = None,
    ) -> None:
        if len({len(row) for row in evidence.values()}) > 1:
            lengths = ", ".join(f"{name}: {len(row)}" for name, row in evidence.items())
            raise ValueError(f"evidence is not aligned by image; lengths are {lengths}")
        self._evidence = {name: tuple(row) for name, row in evidence.items()}
        self.source = {name: tuple(row) for name, row in (source or {}).items()}
        self._columns: dict[str, NDArray[np.float64]] = {}
        self._derived: dict[str, Any] = {}
        self._drawn_from: tuple[Bank, NDArray[np.intp]] | None = None

    def __getitem__(self, model: str) -> Sequence[Evidence | None]:
        if self._drawn_from is None:
            return self._evidence[model]
        whole, drawn = self._drawn_from
        row = whole[model]
        return [row[i] for i in drawn]

    def __iter__(self) -> Iterator[str]:
        return iter(self._evidence)

    def __len__(self) -> int:
        return len(self._evidence)

    @property
    def images(self) -> int:
        """How many images there are."""
        if self._drawn_from is not None:
            return len(self._drawn_from[1])
        return len(next(iter(self._evidence.values()), ()))

    @property
    def whole(self) -> "Bank":
        """The bank that this one was drawn from; itself, if it was not."""
        return self if self._drawn_from is None else self._drawn_from[0]

    @property
    def indices(self) -> NDArray[np.intp]:
        """Which images of the whole bank these are, in order."""
        if self._drawn_from is None:
            return np.arange(self.images)
        return self._drawn_from[1]

    @property
    def counts(self) -> NDArray[np.float64]:
        """How often each image of the whole bank is among these, shape (images of the whole,)."""
        return np.bincount(self.indices, minlength=self.whole.images).astype(np.float64)

    def derived(self, key: str, make: "Callable[[Bank], T]") -> T:
        """What is made of the whole bank once, and kept with it.

        A bootstrap draws a thousand times: what is slow (moments of features, intersections of
        masks) is made here, and each draw only weighs it by `counts` or picks by `indices`.
        Estimators that share their evidence share what is derived from it.

        Parameters
        ----------
        key : str
            Names what is made, with all options it depends on.
        make : callable
            Takes the whole bank.
        """
        whole = self.whole
        if key not in whole._derived:
            whole._derived[key] = make(whole)
        made: T = whole._derived[key]
        return made

    def column(self, name: str) -> NDArray[np.float64]:
        """One number of the evidence of all models and images.

        Parameters
        ----------
        name : str
            Key in the evidence.

        Returns
        -------
        ndarray of float64, shape (models, images)
            In the order of the mapping; NaN where there is no evidence.
        """
        if self._drawn_from is not None:
            # A bootstrap calls this a thousand times: index numbers, not dictionaries.
            whole, drawn = self._drawn_from
            return whole.column(name)[:, drawn]
        if name not in self._columns:
            self._columns[name] = np.array(
                [
                    [np.nan if seen is None else float(seen[name]) for seen in row]
                    for row in self._evidence.values()
                ],
                dtype=np.float64,
            ).reshape(len(self), self.images)
        return self._columns[name]

    def draw(self, images: Sequence[int] | NDArray[np.intp]) -> "Bank":
        """The same models on other images: indices of these images, repetition allowed.

        A draw from a draw is one from the whole bank, and so shares what is derived from it.
        """
        drawn = Bank({}, self.source)
        drawn._evidence = self._evidence
        drawn._drawn_from = (self.whole, self.indices[np.asarray(images, dtype=np.intp)])
        return drawn
