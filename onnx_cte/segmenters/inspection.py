"""Say all that can be found out of a model: its file, how it is read, and what is inside."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_cte.descriptor import describe
from onnx_cte.errors import GraphError, InferenceError
from onnx_cte.graph.anatomy import Anatomy
from onnx_cte.graph.maps import Tap
from onnx_cte.graph.signature import read_signature
from onnx_cte.graph.summary import Summary, summary
from onnx_cte.segmenters.decoding import decoding_of, told
from onnx_cte.segmenters.engine import Engine
from onnx_cte.segmenters.grey_box import GreyBox
from onnx_cte.segmenters.network import Network
from onnx_cte.segmenters.subject import Subject, Test, opened

FORMAT = 1
"""Version of the JSON layout; raised when a reader of the old one would misread the new one."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file that a model consists of: its name, its size, its hash in hex."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class MapFacts:
    """A feature map.

    Attributes
    ----------
    name : str
        "bottleneck", "encoder/2", "skip/1": see `onnx_cte.graph.anatomy.Tap`.
    tensor : str
        Its name in the graph.
    channels : int
    stride : tuple of int
        Px of the image per position, along (y, x) or (z, y, x).
    shape : tuple of int
        At the probe, in the graph's own layout.
    dtype : str
    kind : str
        For a skip, how it enters the decoder; else empty.
    """

    name: str
    tensor: str
    channels: int
    stride: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str
    kind: str


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """How disturbances at the bottleneck are run.

    Attributes
    ----------
    mode : str
        "shared", "expanded" or "masked": see `onnx_cte.segmenters.engine.Mode`.
    fell_back : tuple of str
        Why faster ways were not taken.
    difference : float
        Largest that was found when it was proven, relative to the largest output.
    """

    mode: str
    fell_back: tuple[str, ...]
    difference: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found inside a network, looked at with one image.

    Attributes
    ----------
    axes : str
        Layout of the image.
    probe : tuple of int
        Its shape.
    output : str
        The output that is judged.
    bottleneck : MapFacts or None
    reason : str
        Why there is none; else empty.
    skips, taps : tuple of MapFacts
        From shallow to deep; taps go on through the decoder.
    candidates : tuple of MapFacts
        Without a bottleneck: maps that could be named for it.
    encoder_macs, decoder_macs : int
        Multiply-accumulates at the probe's size.
    engine : EngineFacts or None
    undisturbable : str
        Why there is a bottleneck but no engine; else empty.
    """

    axes: str
    probe: tuple[int, ...]
    output: str
    bottleneck: MapFacts | None
    reason: str
    skips: tuple[MapFacts, ...]
    taps: tuple[MapFacts, ...]
    candidates: tuple[MapFacts, ...]
    encoder_macs: int
    decoder_macs: int
    engine: EngineFacts | None
    undisturbable: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that was found out of a model.

    Attributes
    ----------
    name : str
    files : tuple of FileFacts
        The ONNX file, then its external data.
    summary : Summary
        What the file says of itself.
    understood : tuple of str
        How it is read, a line for each thing; empty if that is not known.
    test : {"passed", "none", "failed", "not run"}
        A package's own test tensors.
    refused : str
        Why it cannot be ranked; empty if it can.
    inside : Findings or None
    unseen : str
        Why it was not looked into; else empty.
    """

    name: str
    files: tuple[FileFacts, ...]
    summary: Summary
    understood: tuple[str, ...]
    test: Test
    refused: str
    inside: Findings | None
    unseen: str

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON values."""
        document: dict[str, Any] = _plain(dataclasses.asdict(self))
        document["summary"]["opsets"] = dict(self.summary.opsets)
        return {"format": FORMAT, **document}


def inspect_model(path: str | Path, at: str | None = None) -> Inspection:
    """Inspect one model.

    Parameters
    ----------
    path : str or Path
        An ``.onnx`` file or a package: folder, description or zip.
    at : str or None
        Tensor to take for the bottleneck.

    Returns
    -------
    Inspection
        Also of what cannot be ranked, or has no bottleneck: then it says why.

    Raises
    ------
    CTEError
        As `onnx_cte.segmenters.subject.opened`.
    GraphError
        If `at` is no feature map that can be taken for the bottleneck, or that cannot be told.
    """
    with opened(path, at) as subject:
        inside, unseen = None, subject.unseen
        if subject.grey_box is not None and subject.network is not None:
            try:
                inside = _inside(subject.weights, subject.network, subject.grey_box)
            except (GraphError, InferenceError) as error:
                if at is not None:
                    raise
                unseen = str(error)
        elif at is not None:
            raise GraphError(f"'{at}' cannot be taken for the bottleneck: {unseen}")
        return Inspection(
            name=subject.name,
            files=tuple(map(_facts, read_signature(subject.weights).files)),
            summary=summary(subject.weights),
            understood=_understood(subject),
            test=subject.test,
            refused=subject.refused,
            inside=inside,
            unseen=unseen,
        )


def anatomy_of(weights: Path, grey_box: GreyBox) -> Anatomy:
    """Anatomy of a network, with the file's name in its errors.

    Raises
    ------
    GraphError, InferenceError
    """
    try:
        return grey_box.anatomy
    except GraphError as error:
        if str(error).startswith(f"{weights.name}:"):
            raise
        raise GraphError(f"{weights.name}: {error}") from error


def _inside(weights: Path, network: Network, grey_box: GreyBox) -> Findings:
    found = anatomy_of(weights, grey_box)
    seen = grey_box.inside
    engine, undisturbable = None, ""
    if found.bottleneck is not None:
        try:
            made = Engine(seen, (found.bottleneck,), network.native)
            engine = EngineFacts(made.mode, made.fell_back, made.difference)
            made.close()
        except (GraphError, InferenceError) as error:
            undisturbable = str(error)

    def facts(taps: Sequence[Tap]) -> tuple[MapFacts, ...]:
        return tuple(
            MapFacts(
                tap.name, tap.tensor, tap.channels, tap.stride,
                seen.probe.values[tap.tensor].shape, tap.dtype, tap.kind,
            )
            for tap in taps
        )  # fmt: skip

    return Findings(
        axes=seen.probe.axes,
        probe=found.probe,
        output=found.output,
        bottleneck=facts([found.bottleneck])[0] if found.bottleneck else None,
        reason=found.reason,
        skips=facts(found.skips),
        taps=facts(found.taps),
        candidates=facts(found.candidates),
        encoder_macs=found.encoder_macs,
        decoder_macs=found.decoder_macs,
        engine=engine,
        undisturbable=undisturbable,
    )


def _understood(subject: Subject) -> tuple[str, ...]:
    if subject.description is None:
        return ()
    first, *rest = describe(subject.description).splitlines()
    decoding = decoding_of(subject.description, None)
    objects = told(decoding.decoder) if decoding.decoder else f"none: {decoding.reason}"
    notes = [place for place, line in enumerate(rest) if line.startswith("  note")]
    before = notes[0] if notes else len(rest)
    return (first, *rest[:before], f"  objects {objects}", *rest[before:])


def _facts(path: Path) -> FileFacts:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileFacts(path.name, path.stat().st_size, digest)
    except OSError as error:
        raise GraphError(f"{path.name}: cannot be read: {error.strerror or error}") from error


def _plain(value: Any) -> Any:
    """Tuples as lists, as they come back from JSON."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value
