"""What a family of networks is, and what its analysis is expected to find."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Family:
    """One architecture as an ONNX file, with what the graph analysis should say of it.

    Weights are random, seeded, and lively: a 0/1 mask on the channels of the bottleneck changes
    the judged output by more than 1e-2 of its largest value, unless `effect` is false.
    """

    name: str
    #: Writes the network (and its external data) into an empty folder; returns the .onnx file.
    build: Callable[[Path], Path]
    #: Full shape of an input at which it runs; two different sides wherever the network allows it.
    probe: tuple[int, ...]
    #: Input pixels per pixel of the bottleneck; None if it must be refused.
    stride: int | None
    #: Channels of the bottleneck; None if not pinned down.
    channels: int | None
    #: How the skip connections enter the decoder ("concat", "add"), from shallow to deep;
    #: () for none, None if not pinned down.
    skips: tuple[str, ...] | None
    #: Packages that must be importable to build it.
    needs: tuple[str, ...] = ("torch",)
    axes: str = "bcyx"
    #: The output to judge if there are several.
    output: str | None = None
    #: A word expected in the refusal, if `stride` is None.
    refused: str | None = None
    #: False where a mask at the bottleneck can change nothing.
    effect: bool = True
    #: Relative to the largest value of the output.
    tolerance: float = 1e-5
    #: Needs more than torch and onnx.
    heavy: bool = False
    #: Takes gigabytes or more than a few seconds.
    slow: bool = False
    #: What is special, or open to choice, in it.
    note: str = ""
