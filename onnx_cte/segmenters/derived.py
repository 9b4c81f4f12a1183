"""Write what can be made of a model: one with a mask input, or encoder and decoder apart.

What is written is run before it is put in its place: if it does not give what the model gives,
nothing is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import GraphError, OptionError, OutputError
from onnx_cte.graph.anatomy import Anatomy
from onnx_cte.graph.maps import Tap
from onnx_cte.graph.surgery import MASK, add_mask_input, crossings, split
from onnx_cte.graph.writing import refuse_overwriting, staged, write_model, written_files
from onnx_cte.segmenters.engine import (
    NO_EFFECT,
    Inside,
    probe_images,
    relative_difference,
    tolerance,
)
from onnx_cte.segmenters.grey_box import GreyBox
from onnx_cte.segmenters.inspection import anatomy_of
from onnx_cte.segmenters.network import Network
from onnx_cte.segmenters.subject import Subject, opened
from onnx_cte.sessions import Session, cores

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Masked:
    """A model with a mask input, as it was written and proven.

    Attributes
    ----------
    path : Path
    tap : Tap
        The map that is multiplied by the mask.
    mask : str
        Name of the input.
    shape : tuple of int
        Of one mask: (1, C, 1, 1) or (1, C, 1, 1, 1).
    source, output : str
        Names of the image input and of the output that is judged.
    unchanged : float
        Difference of a mask of ones from the model without one, of all outputs the largest,
        relative to the largest value of the output.
    changed : float
        What a random mask of 0 and 1 changes in the judged output, relative likewise.
    """

    path: Path
    tap: Tap
    mask: str
    shape: tuple[int, ...]
    source: str
    output: str
    unchanged: float
    changed: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """A value that the decoder takes from the encoder: its name, and what it was at the probe."""

    tensor: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Parts:
    """Encoder and decoder of a model, as they were written and proven.

    Attributes
    ----------
    encoder, decoder : Path
    crossing : tuple of Crossing
        The bottleneck first.
    outputs : tuple of str
        Of the decoder, as the model names them.
    probe : tuple of int
        Shape of the image they were compared on.
    difference : float
        Of the two, one after the other, from the whole model: the largest of all outputs,
        relative to the largest value of the output.
    """

    encoder: Path
    decoder: Path
    crossing: tuple[Crossing, ...]
    outputs: tuple[str, ...]
    probe: tuple[int, ...]
    difference: float


def write_masked(
    path: str | Path,
    out: Path,
    *,
    at: str | None = None,
    tap: str = "bottleneck",
    name: str = MASK,
) -> Masked:
    """Write a model with a mask input, whose default of ones leaves it as it was.

    Parameters
    ----------
    path : str or Path
        An ``.onnx`` file or a package, of which the weights are taken.
    out : Path
        The ``.onnx`` file to write.
    at : str or None
        Tensor to take for the bottleneck.
    tap : str
        Name of the map to multiply, as `onnx_cte.segmenters.inspection` lists them.
    name : str
        Of the new input.

    Returns
    -------
    Masked

    Raises
    ------
    OptionError
        If there is no such tap, or the name stands for several.
    GraphError
        If there is no bottleneck, the name is taken, or the proof fails.
    OutputError
        If it cannot be written.
    """
    if out.suffix.lower() != ".onnx" or out.is_dir():
        kind = "a folder" if out.is_dir() else "no name of an ONNX file"
        raise OptionError(f"'{out}' is {kind}; name a file that ends in .onnx with -o")
    if not name:
        raise OptionError("the mask input needs a name")
    with opened(path, at) as subject:
        refuse_overwriting(written_files(out), subject.sources)
        network, grey_box, _ = _looked_into(subject)
        chosen = _resolved(subject.weights, grey_box, tap)
        inside = grey_box.inside
        try:
            model = add_mask_input(inside.model, chosen, name)
        except GraphError as error:
            raise GraphError(f"{subject.weights.name}: {error}") from error
        with staged(out.parent) as place:
            write_model(model, place / out.name, inside.folder)
            proof = _prove_masked(place / out.name, network, inside, chosen, name)
        return Masked(
            out, chosen, name, _mask_shape(chosen), inside.probe.source, inside.output,
            *proof,
        )  # fmt: skip


def write_split(path: str | Path, folder: Path, *, at: str | None = None) -> Parts:
    """Write a model in two, cut at the bottleneck.

    Parameters
    ----------
    path : str or Path
        An ``.onnx`` file or a package, of which the weights are taken.
    folder : Path
        Where ``encoder.onnx`` and ``decoder.onnx`` are written; made if it is not there.
    at : str or None
        Tensor to take for the bottleneck.

    Returns
    -------
    Parts

    Raises
    ------
    GraphError
        If there is no bottleneck, the network cannot be cut there, or the proof fails.
    OutputError
        If they cannot be written.
    """
    if folder.is_file():
        raise OutputError(f"'{folder}' is a file; name a folder for the two parts with -o")
    targets = [folder / ENCODER, folder / DECODER]
    with opened(path, at) as subject:
        for target in targets:
            refuse_overwriting(written_files(target), subject.sources)
        network, grey_box, found = _looked_into(subject)
        inside = grey_box.inside
        assert found.bottleneck is not None
        cut = found.bottleneck.tensor
        names = crossings(inside.model, cut)
        try:
            parts = split(inside.model, cut, names, inside.probe.values)
        except GraphError as error:
            raise GraphError(f"{subject.weights.name}: {error}") from error
        with staged(folder) as place:
            for target, part in zip(targets, parts, strict=True):
                write_model(part, place / target.name, inside.folder)
            difference = _prove_split(place, network, inside)
        values = inside.probe.values
        return Parts(
            encoder=targets[0],
            decoder=targets[1],
            crossing=tuple(Crossing(n, values[n].shape, values[n].dtype) for n in (cut, *names)),
            outputs=tuple(value.name for value in parts[1].graph.output),
            probe=inside.probe.shape,
            difference=difference,
        )


def _looked_into(subject: Subject) -> tuple[Network, GreyBox, Anatomy]:
    """What is needed to take it apart, or the reason why it cannot be."""
    if subject.network is None or subject.grey_box is None:
        raise GraphError(subject.unseen)
    found = anatomy_of(subject.weights, subject.grey_box)
    if found.bottleneck is None:
        named = ", ".join(f"'{tap.tensor}' ({tap.name})" for tap in found.candidates[:5])
        hint = f"; name a tensor for it with --at, such as {named}" if named else ""
        raise GraphError(f"{subject.weights.name}: no bottleneck: {found.reason}{hint}")
    return subject.network, subject.grey_box, found


def _resolved(weights: Path, grey_box: GreyBox, name: str) -> Tap:
    """The one tap of that name."""
    try:
        taps = grey_box.resolve([name])
    except OptionError as error:
        raise OptionError(f"{weights.name}: {error}") from error
    if len(taps) != 1:
        names = ", ".join(tap.name for tap in taps)
        raise OptionError(
            f"{weights.name}: '{name}' stands for {len(taps)} taps; name one of {names}"
        )
    return taps[0]


def _mask_shape(tap: Tap) -> tuple[int, ...]:
    return (1, tap.channels, *[1] * (tap.rank - 2))


def _prove_masked(
    file: Path, network: Network, inside: Inside, tap: Tap, name: str
) -> tuple[float, float]:
    """How little ones change, and how much a random mask does."""
    session = Session(file, "cpu", cores())
    ones = np.ones(_mask_shape(tap), np.float32)
    mask = (np.random.default_rng(0).random(ones.shape) < 0.5).astype(np.float32)
    # However few the channels, never all of them kept.
    mask[0, 0] = 0
    unchanged = changed = 0.0
    for probe in probe_images(inside):
        image = {inside.probe.source: probe}
        whole = _outputs(network.session, image)
        unchanged = max(
            unchanged,
            *(
                _largest(_outputs(session, feeds), whole)
                for feeds in (image, {**image, name: ones})
            ),
        )
        disturbed = _outputs(session, {**image, name: mask})
        changed = relative_difference(disturbed[inside.output], whole[inside.output])
        if changed > NO_EFFECT:
            break
    session.close()
    if not unchanged <= tolerance(inside):
        raise GraphError(
            f"{inside.path.name}: with a mask of ones on '{tap.tensor}' its outputs differ by "
            f"{unchanged:.1e} of their largest value from those without; nothing was written"
        )
    if changed <= NO_EFFECT:
        raise GraphError(
            f"{inside.path.name}: output '{inside.output}' does not change when channels of "
            f"'{tap.tensor}' are dropped; nothing was written. Name another tensor with --at or "
            "--tap"
        )
    return unchanged, changed


def _prove_split(place: Path, network: Network, inside: Inside) -> float:
    """How far the two parts, one after the other, are from the whole."""
    whole = _outputs(network.session, {inside.probe.source: inside.image})
    encoder, decoder = (Session(place / name, "cpu", cores()) for name in (ENCODER, DECODER))
    first = _outputs(encoder, {inside.probe.source: inside.image})
    taken = {port.name: first[port.name] for port in decoder.inputs}
    found = {**first, **_outputs(decoder, taken)}
    encoder.close()
    decoder.close()
    difference = _largest({name: found[name] for name in whole}, whole)
    if not difference <= tolerance(inside):
        raise GraphError(
            f"{inside.path.name}: cut in two it differs by {difference:.1e} of the largest value "
            "from the whole; nothing was written"
        )
    return difference


def _outputs(session: Session, feeds: Mapping[str, NDArray[Any]]) -> Outputs:
    names: Sequence[str] = [port.name for port in session.outputs]
    return dict(zip(names, session.run(feeds, names), strict=True))


def _largest(found: Outputs, expected: Outputs) -> float:
    """Of all outputs; one that is NaN here and there on any image may be so again."""
    return max(
        0.0
        if np.array_equal(found[name], value, equal_nan=True)
        else relative_difference(found[name], value)
        for name, value in expected.items()
    )
