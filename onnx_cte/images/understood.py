"""What files were taken for, in words, to be read before results are believed."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from onnx_cte.images.stored import Layout, Stored

Array = tuple[str, Stored, Layout]
"""Name of the file, an array in it, and how it is taken."""

_WORDS = {"z": "z", "t": "times", "page": "pages", "m": "tiles"}


@dataclass(slots=True)
class Understood:
    """Collects what is understood of arrays, one after the other.

    Parameters
    ----------
    axes : str or None
        What the user says that the dimensions are, if anything.
    """

    axes: str | None = None
    _kinds: dict[tuple[object, ...], list[Array]] = field(default_factory=dict)
    _refused: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, stored: Stored, layout: Layout) -> None:
        """One more array of a file, and how it is taken."""
        kind = (stored.says, _walked(layout), layout.axes, stored.channels, layout.volumes)
        self._kinds.setdefault(kind, []).append((name, stored, layout))

    def refuse(self, name: str, reason: str) -> None:
        """An array that cannot be taken."""
        self._refused.setdefault(reason, []).append(name)

    def lines(self) -> Iterator[str]:
        """One for all arrays of a kind, and one for each reason why some cannot be used."""
        for arrays in self._kinds.values():
            yield self._line(arrays)
        for reason, names in self._refused.items():
            yield f"images: {_such_as(names)} cannot be used: {reason}"

    def _line(self, arrays: list[Array]) -> str:
        _, stored, layout = arrays[0]
        by = f"as you say (axes '{self.axes}')" if self.axes else f"by {stored.says}"
        text = f"images: {_such_as([name for name, _, _ in arrays])}, read {by} as {_sizes(layout)}"
        others = len({layout.shape for _, _, layout in arrays}) - 1
        text += f" (and {others} other size{'s' * (others > 1)})" if others else ""
        walked = [name.rstrip("0123456789") for name, _ in layout.walked]
        if walked:
            each = " and ".join({"t": "time", "m": "tile"}.get(name, name) for name in walked)
            text += f"; every {each} is {'a volume' if layout.volumes else 'a plane'} by itself"
        text += _channels(stored, layout)
        if "page" in walked:
            text += (
                "; nothing says what the pages are: if they are channels, state axes='cyx' "
                "(--axes cyx)"
            )
        return text


def _such_as(names: list[str]) -> str:
    files = list(dict.fromkeys(names))
    return files[0] if len(files) == 1 else f"{len(files)} files such as {files[0]}"


def _walked(layout: Layout) -> tuple[str, ...]:
    return tuple(name for name, _ in layout.walked)


def _sizes(layout: Layout) -> str:
    """Every dimension longer than 1, in the order of the file: "5 z x 512 rows x 512 columns"."""
    kinds = {
        "c": "colours" if layout.colours else "channels",
        "z": "z",
        "y": "rows",
        "x": "columns",
    }
    words = {d: kinds[axis] for d, axis in zip(layout.order, layout.axes, strict=True)}
    words |= {d: _WORDS.get(name.rstrip("0123456789"), name) for name, d in layout.walked}
    # What is fixed and longer than 1 is the channels, one of which was chosen.
    words |= {d: "channels" for d in layout.fixed if layout.shape[d] > 1}
    return " x ".join(f"{layout.shape[d]} {words[d]}" for d in sorted(words))


def _channels(stored: Stored, layout: Layout) -> str:
    """Which channels are taken, and what they are called."""
    chosen = [place for d, place in layout.fixed.items() if layout.shape[d] > 1]
    if chosen:
        name = f" ({stored.channels[chosen[0]]})" if stored.channels else ""
        return f"; channel {chosen[0]}{name} is taken alone"
    named = [f"{place} {name}" for place, name in enumerate(stored.channels)]
    return f"; channels: {', '.join(named)}" if named and "c" in layout.axes else ""
