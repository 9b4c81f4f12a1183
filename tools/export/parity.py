"""Proof that an ONNX file gives what the network gives that it was exported from.

Needs NumPy, ONNX and ONNX Runtime alone, so that it runs in the environment of any framework.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

Run = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""A network of any framework: from (N, C, [D,] H, W) to (N, K, [D,] H, W)."""

TOLERANCE = 1e-4
"""Largest difference, over the largest output, that is put down to rounding."""


class Differs(Exception):
    """The file does not give what the network gives, or nothing shows that it does."""


class Difference(NamedTuple):
    """Largest absolute difference of two outputs, and largest absolute output of the network."""

    absolute: float
    largest: float

    @property
    def relative(self) -> float:
        """Difference over output; NaN where the network gives nothing but 0."""
        return self.absolute / self.largest if self.largest else float("nan")


def shapes(channels: int, sides: Sequence[int], fixed: bool = False) -> list[tuple[int, ...]]:
    """Two sizes, and a batch of two; of a network of one size, that alone.

    Parameters
    ----------
    channels : int
    sides : sequence of int
        Depth, height and width, or height and width, of the smaller size.
    fixed : bool
        Whether it takes no other.

    Returns
    -------
    list of tuple of int
        Shapes (N, C, [D,] H, W); the other size is no square.

    Examples
    --------
    >>> shapes(1, [64, 64])
    [(1, 1, 64, 64), (1, 1, 128, 192), (2, 1, 64, 64)]
    """
    small = tuple(sides)
    large = (*(2 * side for side in small[:-1]), 3 * small[-1])
    other = [] if fixed else [(1, channels, *large)]
    return [(1, channels, *small), *other, (2, channels, *small)]


def differences(
    run: Run, path: Path, wanted: Sequence[tuple[int, ...]], seed: int = 0
) -> dict[tuple[int, ...], Difference]:
    """How far the file's output is from the network's, on noise.

    Parameters
    ----------
    run : callable
    path : Path
        Of an ONNX file with one input and one output; run on the CPU.
    wanted : sequence of tuple of int
        Shapes of the inputs, values of which are uniform in [0, 1).
    seed : int

    Returns
    -------
    dict of shape to Difference

    Raises
    ------
    Differs
        If ONNX Runtime refuses an input, or the outputs have other shapes.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (port,), rng = session.get_inputs(), np.random.default_rng(seed)
    found = {}
    for shape in wanted:
        image = rng.random(shape, dtype=np.float32)
        expected = np.asarray(run(image))
        try:
            (given,) = session.run(None, {port.name: image})
        except Exception as error:  # ONNX Runtime raises kinds of its own
            reason = " ".join(str(error).split())[:200]
            raise Differs(f"the file refuses an input of shape {shape}: {reason}") from error
        if given.shape != expected.shape:
            raise Differs(
                f"the file gives shape {given.shape} for an input of shape {shape}, the network "
                f"{expected.shape}"
            )
        largest = float(np.abs(expected).max())
        found[shape] = Difference(float(np.abs(given - expected).max()), largest)
    return found


def require(
    run: Run, path: Path, wanted: Sequence[tuple[int, ...]], tolerance: float = TOLERANCE
) -> dict[tuple[int, ...], Difference]:
    """`differences`, none of which may exceed the tolerance, relative to the largest output.

    Raises
    ------
    Differs
        If one does (NaN too), if the network gives nothing but 0, of which nothing can be learnt,
        or as `differences` says.
    """
    found = differences(run, path, wanted)
    for shape, difference in found.items():
        if difference.largest == 0:
            raise Differs(
                f"the network gives nothing but 0 for noise of shape {shape}: nothing is proven; "
                "export it without its last activation"
            )
        if not difference.relative <= tolerance:
            raise Differs(
                f"the file differs from the network by {difference.absolute:.1e} at shape {shape}, "
                f"of outputs up to {difference.largest:.1e}; {tolerance:.0e} of these is allowed. "
                "Is the network in evaluation mode (no dropout, stored statistics), and does it "
                "give the same twice?"
            )
    return found


def keep(
    run: Run, partial: Path, path: Path, wanted: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Difference]:
    """Give a proven file its name; one that is not proven is removed.

    Parameters
    ----------
    run : callable
        The network.
    partial : Path
        What an exporter wrote.
    path : Path
        Its name, once it is proven.
    wanted : sequence of tuple of int
        Shapes to prove it at, such as those of `shapes`.

    Returns
    -------
    dict of shape to Difference

    Raises
    ------
    Differs
        If it is not proven, or is no valid ONNX file.
    """
    try:
        try:
            onnx.checker.check_model(partial, full_check=True)
        except onnx.checker.ValidationError as error:
            raise Differs(f"what was exported is no valid ONNX file: {error}") from error
        found = require(run, partial, wanted)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return found


def told(found: Mapping[tuple[int, ...], Difference]) -> str:
    """The differences in words, a line each."""
    return "\n".join(
        f"  {' x '.join(map(str, shape))}: largest difference {difference.absolute:.1e}, of "
        f"outputs up to {difference.largest:.1e}"
        for shape, difference in found.items()
    )
