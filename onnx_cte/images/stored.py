"""Which dimensions of a stored array are rows, columns, channels, depth, and which are walked."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import ImageError, OptionError
from onnx_cte.images.chunked import Deferred

LETTERS = "yxczt"
"""What `axes` may be made of: rows, columns, channels, depth, time."""

SHORT = 4
"""An image this narrow that has further dimensions is more likely channels read as columns; so few
pages of unknown meaning may as well be channels."""

UNKNOWN = "iq"
"""Axes, in small letters, that tifffile gives to pages of which the file does not say what they
are."""

MOST = 2**42
"""More numbers than this are not in any file: a broken header, whose planes are not listed."""


Pixels = NDArray[Any] | Deferred
"""Stored pixels: at hand, or read when they are cut."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An array in a file, of which only the header was read.

    Attributes
    ----------
    shape : tuple of int
        Without an alpha channel, which is never read.
    axes : str
        A capital a dimension, as tifffile names them: Y, X, S (samples), C, Z, T, I and Q (pages
        of unknown meaning), ...
    read : callable
        From {dimension: index} to the array without these dimensions, in any byte order: a view
        that must not be written to, of the file itself where it is stored plainly; where it lies
        in chunks, it is not read before it is cut.
    doubt : str
        Why `axes` cannot be trusted; empty: they can.
    says : str
        Who says what `axes` are: "its OME metadata", "its PNG header".
    channels : tuple of str
        Names of the channels, as many as there are; empty: they have none.
    """

    shape: tuple[int, ...]
    axes: str
    read: Callable[[Mapping[int, int]], Pixels]
    doubt: str = ""
    says: str = "its header"
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """How planes, or volumes, are taken from a stored array.

    Attributes
    ----------
    order : tuple of int
        The dimensions that are (channels, depth,) rows and columns.
    walked : tuple of (str, int)
        Name and dimension of what is taken slice by slice, the last one fastest.
    fixed : mapping of int to int
        Dimension to index, the same for all planes: a chosen channel, dimensions of length 1.
    shape : tuple of int
        Of the stored array.
    volumes : bool
        Whether depth is among `order`, not walked.
    colours : bool
        Whether channels are colours (samples of a pixel) to the file; True without channels.
    """

    order: tuple[int, ...]
    walked: tuple[tuple[str, int], ...]
    fixed: Mapping[int, int]
    shape: tuple[int, ...]
    volumes: bool = False
    colours: bool = True

    @property
    def axes(self) -> str:
        """What a plane's dimensions are: "yx" or "cyx"; a volume's: "zyx" or "czyx"."""
        return ("czyx" if self.volumes else "cyx")[-len(self.order) :]

    @property
    def size(self) -> tuple[int, ...]:
        """Rows and columns of a plane; depth, rows and columns of a volume."""
        return tuple(self.shape[dimension] for dimension in self._spatial)

    @property
    def letters(self) -> str:
        """What all dimensions are that are longer than 1 and no channels, as the file has them."""
        named = {dimension: name[0] for name, dimension in self.walked}
        named |= dict(zip(self._spatial, self.axes.removeprefix("c"), strict=True))
        return "".join(named[d] for d in sorted(named) if self.shape[d] > 1)

    @property
    def _spatial(self) -> tuple[int, ...]:
        return self.order[-3:] if self.volumes else self.order[-2:]

    @property
    def slices(self) -> tuple[int, ...]:
        """How many there are along each walked dimension."""
        return tuple(self.shape[dimension] for _, dimension in self.walked)

    def indices(self) -> Iterator[tuple[int, ...]]:
        """Every slice, in the order of the file; one empty index if nothing is walked."""
        return product(*(range(count) for count in self.slices))

    def label(self, index: tuple[int, ...]) -> list[str]:
        """The index as shown in names: ["t=0", "z=3"]."""
        return [f"{name}={i}" for (name, _), i in zip(self.walked, index, strict=True)]

    def plane(self, stored: Stored, index: tuple[int, ...]) -> Pixels:
        """One slice, or volume, in `axes`, read only as far as it must be; not to be written to."""
        if len(index) != len(self.walked):
            raise changed()
        chosen = {dimension: i for (_, dimension), i in zip(self.walked, index, strict=True)}
        array = stored.read({**self.fixed, **chosen})
        left = sorted(self.order)
        return array.transpose([left.index(dimension) for dimension in self.order])


def changed() -> ImageError:
    """Error for a file that no longer holds what was found in it."""
    return ImageError("the file has changed since it was listed; list the images anew")


def stated(axes: str) -> str:
    """The option `axes` in small letters, checked.

    Parameters
    ----------
    axes : str
        Letters of `LETTERS` in any case, none twice, y and x among them.

    Returns
    -------
    str

    Raises
    ------
    OptionError
        If it is anything else.

    Examples
    --------
    >>> stated("ZYXC")
    'zyxc'
    """
    small = axes.lower()
    known = set(small) <= set(LETTERS) and len(set(small)) == len(small)
    if not known or not {"y", "x"} <= set(small):
        raise OptionError(
            f"axes={axes!r}: expected one letter a dimension of the stored array, each of "
            f"{', '.join(LETTERS)} at most once, with y and x, as in axes='zyxc'"
        )
    return small


def lay_out(
    stored: Stored,
    axes: str | None,
    channel: int | str | None = None,
    volumes: bool = False,
    labels: bool = False,
) -> Layout:
    """Decide what each dimension is; stop on doubt.

    Parameters
    ----------
    stored : Stored
    axes : str or None
        What the user says, as returned by `stated`; None: what the file says. Dimensions of
        length 1 may be left out.
    channel : int, str or None
        Take this channel only, by its place or, if the file names its channels, its name; None:
        all.
    volumes : bool
        Keep depth (z) in one piece, instead of walking it. Pages of unknown meaning are no depth.
    labels : bool
        They are labels, which have no channels: a few pages of unknown meaning leave no doubt.

    Returns
    -------
    Layout

    Raises
    ------
    ImageError
        If there are no pixels, or more than `MOST` numbers, if `axes` do not fit the shape, if
        the file's own axes leave a doubt, if there is no such channel, if `volumes` are wanted
        and there is no depth.
    """
    if prod(stored.shape) > MOST:
        raise ImageError(f"its header is broken: it promises an array of shape {stored.shape}")
    if 0 in stored.shape:
        raise ImageError(f"the image is empty: shape {stored.shape}")
    if volumes and len(stored.shape) == 2:
        raise _flat(stored, axes or stored.axes.lower(), [])
    letters = _letters(stored, axes, volumes)
    rows, columns = letters.index("y"), letters.index("x")
    others = [d for d in range(len(letters)) if d not in (rows, columns)]
    fixed = {d: 0 for d in others if stored.shape[d] == 1}
    long = [d for d in others if d not in fixed]
    channels = [d for d in long if letters[d] in "cs"]
    if len(channels) > 1:
        raise ImageError(
            f"{_said(stored, letters)}: both channels (C) and colours (S); "
            f"{_way_out(stored, volumes)}"
        )
    depth = [d for d in long if volumes and letters[d] == "z"]
    walked = [d for d in long if d not in (*channels, *depth)]
    if volumes and not depth:
        raise _flat(stored, letters, walked)
    last = columns == len(letters) - 1
    if axes is None and long and last and stored.shape[columns] <= SHORT:
        raise ImageError(
            f"{_said(stored, letters)}: {prod(stored.shape[d] for d in long)} planes only "
            f"{stored.shape[columns]} pixels wide are rather channels stored last; "
            f"{_way_out(stored, volumes)}"
        )
    few = [d for d in walked if letters[d] in UNKNOWN and axes is None and not labels]
    if few and prod(stored.shape[d] for d in few) <= SHORT:
        raise ImageError(
            f"{_said(stored, letters)}: nothing says whether its "
            f"{prod(stored.shape[d] for d in few)} pages are channels, depth or time; "
            f"{_way_out(stored, volumes, 'cyx' if len(letters) == 3 else '')}"
        )
    if channel is not None:
        count = stored.shape[channels[0]] if channels else 1
        place = _place(channel, count, stored)
        fixed |= dict.fromkeys(channels, place)
    order = (*(d for d in channels if d not in fixed), *depth, rows, columns)
    # Stated axes say c of both; only the file knows.
    colours = all(stored.axes[d].lower() == "s" for d in channels if d not in fixed)
    return Layout(order, _named(letters, walked), fixed, stored.shape, volumes, colours)


def _place(channel: int | str, count: int, stored: Stored) -> int:
    """Which of the channels is meant."""
    # Where the user says which dimension is channels, the names may be of another.
    names = stored.channels if len(stored.channels) == count else ()
    if channel in names:
        return names.index(str(channel))
    if isinstance(channel, str) or channel >= count:
        has = f"{count} channels (0 to {count - 1})" if count > 1 else "one channel (0)"
        if names:
            has += f", named {', '.join(names)}"
        elif stored.channels:
            has += f" as its axes are stated, while its file names {', '.join(stored.channels)}"
        elif isinstance(channel, str):
            has += ", without names" if count > 1 else ", without a name"
        raise ImageError(f"there is no channel {channel}: the image has {has}")
    return channel


def _flat(stored: Stored, letters: str, walked: list[int]) -> ImageError:
    """Error for an array without depth where volumes are wanted."""
    planes = prod(stored.shape[d] for d in walked)
    found = f"{planes} planes, none of its dimensions depth (z)" if walked else "one plane"
    stack = f"give z-stacks, {_way_out(stored, True)}" if walked else "give z-stacks"
    return ImageError(
        f"{_said(stored, letters)}: {found}, but volumes are wanted; {stack}, or take planes, "
        "without volumes=True (--volumes)"
    )


def _letters(stored: Stored, axes: str | None, volumes: bool) -> str:
    """A small letter a dimension; a blank for what the user left out because its length is 1."""
    if axes is None:
        letters = stored.axes.lower()
        if stored.doubt:
            planes = {3: "zyx" if volumes else "cyx", 4: "czyx"} if letters[-2:] == "yx" else {}
            way_out = _way_out(stored, volumes, planes.get(len(letters), ""))
            raise ImageError(f"{_said(stored, letters)}: {stored.doubt}; {way_out}")
        if "y" not in letters or "x" not in letters:
            missing = " and ".join(a for a in "yx" if a not in letters)
            raise ImageError(f"{_said(stored, letters)}: no {missing}; {_way_out(stored, volumes)}")
        return letters
    if len(axes) == len(stored.shape):
        return axes
    long = [d for d, length in enumerate(stored.shape) if length > 1]
    if len(axes) != len(long):
        raise ImageError(
            f"axes='{axes}' has {len(axes)} letters, but the stored array has "
            f"{len(stored.shape)} dimensions: shape {stored.shape}, read as {stored.axes}; state a "
            "letter for each, or for each that is longer than 1"
        )
    given = dict(zip(long, axes, strict=True))
    return "".join(given.get(d, " ") for d in range(len(stored.shape)))


def _named(letters: str, walked: list[int]) -> tuple[tuple[str, int], ...]:
    """Names of the walked dimensions: z, t, ...; what the file does not name is a page."""
    names: list[str] = []
    for dimension in walked:
        name = "page" if letters[dimension] in UNKNOWN else letters[dimension]
        again = sum(n.rstrip("0123456789") == name for n in names)
        names.append(f"{name}{again + 1}" if again else name)
    return tuple(zip(names, walked, strict=True))


def _said(stored: Stored, letters: str) -> str:
    """Shape and axes, for an error."""
    return f"the stored array has shape {stored.shape}, read as {letters.upper()}"


def _way_out(stored: Stored, volumes: bool, likely: str = "") -> str:
    """What the user can say, for an error."""
    example = likely or {2: "yx", 3: "zyx" if volumes else "yxc", 4: "zyxc"}.get(
        len(stored.shape), "tzyxc"
    )
    return f"state what its dimensions are, as in axes='{example}' (--axes {example})"


def native(array: Pixels) -> NDArray[Any]:
    """A plain, contiguous copy in this machine's byte order, which owns its memory."""
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True, subok=False)
