"""Every model's evidence, image by image: what estimators score and the bootstrap draws from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Evidence = Mapping[str, Any]
"""What an estimator keeps of one image: names to numbers, or to arrays of bounded size."""


class Bank(Mapping[str, Sequence[Evidence | None]]):
    """A mapping of model to its evidence, aligned by image; None where an image gave none.

    Parameters
    ----------
    evidence : mapping of str to sequence of (mapping or None)
        All sequences have the same length, in the same order of images.

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

    def __init__(self, evidence: Mapping[str, Sequence[Evidence | None]]) -> None:
        if len({len(row) for row in evidence.values()}) > 1:
            lengths = ", ".join(f"{name}: {len(row)}" for name, row in evidence.items())
            raise ValueError(f"evidence is not aligned by image; lengths are {lengths}")
        self._evidence = {name: tuple(row) for name, row in evidence.items()}
        self._columns: dict[str, NDArray[np.float64]] = {}
        self._source: tuple[Bank, NDArray[np.intp]] | None = None

    def __getitem__(self, model: str) -> Sequence[Evidence | None]:
        if self._source is None:
            return self._evidence[model]
        whole, drawn = self._source
        row = whole[model]
        return [row[i] for i in drawn]

    def __iter__(self) -> Iterator[str]:
        return iter(self._evidence)

    def __len__(self) -> int:
        return len(self._evidence)

    @property
    def images(self) -> int:
        """How many images there are."""
        if self._source is not None:
            return len(self._source[1])
        return len(next(iter(self._evidence.values()), ()))

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
        if self._source is not None:
            # A bootstrap calls this a thousand times: index numbers, not dictionaries.
            whole, drawn = self._source
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
        """The same models on other images: indices of images, repetition allowed."""
        if self._source is not None:
            raise ValueError("draw from the whole bank, not from a draw")
        drawn = Bank({})
        drawn._evidence = self._evidence
        drawn._source = (self, np.asarray(images, dtype=np.intp))
        return drawn
