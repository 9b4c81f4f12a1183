"""What a bare ONNX file takes and gives: read from its graph, and where that is silent, tried out.

Everything that is not certain is written down as a note, so that it can be shown and stored.
"""

from pathlib import Path

from onnx_cte.descriptor import ModelDescription, Size, TensorSpec
from onnx_cte.preprocessing import named_steps
from onnx_cte.segmenters.network import require_floats, require_single_input
from onnx_cte.segmenters.trying import first_that_runs, layouts, smallest
from onnx_cte.sessions import Session

HALO = {2: 64, 3: 16}
"""Px, on planes and on volumes, for a network that does not say how far it looks; used only where
tiles meet. (Of a volume, 64 px on every side would be most of a tile.)"""


def describe_bare(
    path: Path, session: Session, *, normalize: str | None, opset: int, axes: str | None = None
) -> ModelDescription:
    """Description of an ONNX file that comes without one.

    Parameters
    ----------
    path : Path
    session : Session
        The file, loaded.
    normalize : str or None
        Normalisation as the user stated it (see `onnx_cte.preprocessing.named_steps`); None
        assumes percentiles, and says so.
    opset : int
        Of the file, for the record.
    axes : str or None
        A letter for each axis of its input, as the user stated it; None reads its shape.

    Returns
    -------
    ModelDescription
        Its roles are provisional: `onnx_cte.segmenters.outputs.settle` judges them.

    Raises
    ------
    GraphError
        If it takes no image, cannot be run at any size tried, or gives no map of an image's size.
    OptionError
        If `axes` do not fit its input.
    """
    require_single_input(session)
    port = session.inputs[0]
    require_floats(path.name, port)
    trial, layout, found = first_that_runs(path, session, layouts(path, port, axes))
    index, space = found.index, layout.space
    raw = trial.outputs[index]
    least = smallest(session, layout, trial.steps)
    sizes = tuple(
        Size(side, 0 if fixed else step)
        for fixed, side, step in zip(layout.sides, least, trial.steps, strict=True)
    )
    halo = tuple(assumed_halo(size, len(space)) for size in sizes)
    notes = [
        f"no description: read from the graph (opset {opset}) and by running it",
        f"input '{port.name}' is {layout.axes}{' (as stated)' if axes else ''}, "
        f"channels: {layout.channels}, "
        + ", ".join(f"{axis}: {size}" for axis, size in zip(space, sizes, strict=True)),
        f"normalised by {normalize or 'percentile'} ({'as stated' if normalize else 'assumed'})",
        f"where tiles meet, {halo[-1]} px are cropped (assumed)",
    ]
    if found.scale > 1:
        notes.append(_coarser_note(found.scale, len(space)))
    notes += [layout.note] if layout.note else []
    if len(session.outputs) > 1:
        names = ", ".join(output.name for output in session.outputs)
        notes.append(f"of the outputs {names}, '{session.outputs[index].name}' is judged")
    channels = raw.shape[found.axes.index("c")] if "c" in found.axes else 1
    return ModelDescription(
        name=path.stem,
        weights=path,
        input=TensorSpec(
            name=port.name,
            axes=layout.axes,
            sizes=tuple(zip(space, sizes, strict=True)),
            channels=layout.channels if "c" in layout.axes else None,
            dtype=str(port.dtype),
            steps=named_steps(normalize or "percentile", space),
        ),
        output=TensorSpec(
            name=session.outputs[index].name,
            axes=found.axes,
            channels=channels,
            channel_names=tuple(f"channel{i}" for i in range(channels)),
            dtype=str(raw.dtype),
            halo=tuple(zip(space, halo, strict=True)),
            border=tuple(zip(space, found.border, strict=True)),
            scale=tuple((axis, found.scale) for axis in space) if found.scale > 1 else (),
            index=index,
        ),
        roles=("foreground", *(f"channel{i}" for i in range(1, channels))),
        origin="bare",
        notes=tuple(notes),
    )


def assumed_halo(size: Size, dimensions: int) -> int:
    """Px to crop where tiles meet, for a network that does not say how far it looks."""
    halo = HALO[dimensions]
    return halo if size.step else min(halo, size.minimum // 8)


def _coarser_note(scale: int, dimensions: int) -> str:
    """What is assumed of an output that is coarser than the image."""
    block = " x ".join([str(scale)] * dimensions)
    return f"its output is {scale} times coarser than the image: each value stands for {block} px"
