"""How far a run is: a bar on stderr, or a callable that is told after every image."""

import logging
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, as a callable given as ``progress`` receives it.

    Attributes
    ----------
    model : str
        The model whose turn it is.
    done : int
        Images that are dealt with so far, under all models together: measured, known from an
        earlier run, or left out because they cannot be used.
    total : int
        How many there will be in the end: images times models, source images among them.
    seconds : float
        Since the run began.

    Examples
    --------
    >>> Progress("unet", done=3, total=12, seconds=6.0).remaining
    18.0
    """

    model: str
    done: int
    total: int
    seconds: float

    @property
    def remaining(self) -> float:
        """Seconds still to go, if the rest takes as long as what is done; NaN at the start."""
        return self.seconds / self.done * (self.total - self.done) if self.done else math.nan


Listener = Callable[[Progress], object]
"""What is told of progress; what it returns does not matter, what it raises ends the run."""


class Tally:
    """Counts images, and tells a listener when a model's turn comes and after each image."""

    def __init__(self, total: int, listener: Listener | None) -> None:
        self._total, self._listener = total, listener
        self._model, self._done, self._started = "", 0, time.monotonic()

    def turn_to(self, model: str) -> None:
        """Begin with a model."""
        self._model = model
        self.add(0)

    def add(self, images: int) -> None:
        """Count so many more images."""
        self._done += images
        if self._listener is not None:
            seconds = time.monotonic() - self._started
            self._listener(Progress(self._model, self._done, self._total, seconds))


@contextmanager
def tallied(total: int, progress: bool | Listener) -> Iterator[Tally]:
    """Tell of progress while the context holds.

    Parameters
    ----------
    total : int
        How many images there will be.
    progress : bool or callable
        True: a bar on stderr, if that is a terminal. A callable is given a `Progress`.

    Yields
    ------
    Tally
    """
    if not isinstance(progress, bool):
        yield Tally(total, progress)
        return
    terminal = shutil.get_terminal_size()
    with tqdm(
        total=total,
        unit="image",
        # Some terminals say that they are 0 x 0, and tqdm would show nothing.
        ncols=terminal.columns,
        nrows=terminal.lines,
        disable=None if progress else True,
    ) as bar:

        def show(found: Progress) -> None:
            bar.set_description(found.model, refresh=False)
            bar.update(found.done - bar.n)
            if found.done == 0:
                bar.refresh()

        yield Tally(total, None if bar.disable else show)


class BesideBar(logging.Handler):
    """Writes log records to stderr, above the bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)
