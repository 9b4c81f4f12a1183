"""Keras and TensorFlow to ONNX: a .keras or .h5 file, or the folder of a SavedModel.

    python tools/export keras unet.keras unet.onnx

Keras has channels last; the ONNX file has them first (bcyx), as PyTorch has, and the converter
removes what transpositions it can. Nothing else is changed.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# The lines that TensorFlow writes about the CPU it finds help nobody here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray
from parity import Difference, keep, shapes
from ports import name_ports

OPSET = 18
"""The newest that tf2onnx writes."""
SIDE = 64


def export(
    model: Callable[[Any], Any],
    path: Path,
    *,
    channels: int,
    sides: Sequence[int | None] = (None, None),
    opset: int = OPSET,
) -> dict[tuple[int, ...], Difference]:
    """Write a model as one ONNX file, and prove it.

    Parameters
    ----------
    model : callable
        A Keras model, or any function of TensorFlow from (N, [D,] H, W, C) to (N, [D,] H, W, K), or
        to several of which that is the first.
    path : Path
        The file takes (N, C, [D,] H, W) and gives (N, K, [D,] H, W).
    channels : int
    sides : sequence of int or None
        (Depth,) height and width of the input where the model was built for one size; None: any,
        and it is proven at 64, 128 and 192.
    opset : int

    Returns
    -------
    dict of shape to Difference

    Raises
    ------
    parity.Differs
        If the file does not give what the model gives.
    """
    dimensions = len(sides)
    last = [0, *range(2, 2 + dimensions), 1]
    first = [0, 1 + dimensions, *range(1, 1 + dimensions)]
    shape = [tf.TensorSpec((None, channels, *sides), tf.float32, name="image")]

    def channels_first(image: Any) -> Any:
        found = model(tf.transpose(image, last))
        if isinstance(found, dict):
            found = list(found.values())
        found = found[0] if isinstance(found, list | tuple) else found
        return tf.transpose(found, first)

    function = tf.function(channels_first, input_signature=shape, autograph=False)
    partial = path.with_suffix(".partial")
    tf2onnx.convert.from_function(
        function, input_signature=shape, opset=opset, output_path=str(partial)
    )
    free = [place for place, side in enumerate(sides, start=2) if side is None]
    letters = dict(enumerate("DHW"[-dimensions:], start=2))
    name_ports(partial, {0: "N"} | {place: letters[place] for place in free})

    def run(image: NDArray[np.float32]) -> NDArray[np.floating]:
        found: NDArray[np.floating] = function(tf.constant(image)).numpy()
        return found

    wanted = shapes(channels, [side or SIDE for side in sides], fixed=None not in sides)
    return keep(run, partial, path, wanted)


def load(source: Path) -> tuple[Callable[[Any], Any], int, list[int | None]]:
    """A model, its channels, and its sides (None: any).

    Parameters
    ----------
    source : Path
        A ``.keras``, ``.h5`` or ``.hdf5`` file, or the folder of a SavedModel.

    Raises
    ------
    SystemExit
        If it is none, if it has several inputs, or channels first.
    """
    if source.is_dir():
        if not (source / "saved_model.pb").is_file():
            raise SystemExit(f"{source} is no SavedModel: there is no saved_model.pb in it")
        whole = tf.saved_model.load(str(source))
        served = whole.signatures["serving_default"]
        ports = served.structured_input_signature[1]
        shape = _only(source, [port.shape.as_list() for port in ports.values()])
        (name,) = ports

        def serve(image: Any) -> Any:
            return served(**{name: image})

        serve.variables = whole  # type: ignore[attr-defined]  # else they are gone with it
        return serve, int(shape[-1]), shape[1:-1]
    loaded = keras.models.load_model(source, compile=False)
    shape = _only(source, [list(port.shape) for port in loaded.inputs])
    return lambda image: loaded(image, training=False), int(shape[-1]), shape[1:-1]


def _only(source: Path, shapes: list[list[int | None]]) -> list[int | None]:
    """The shape of the one input: (N, [D,] H, W, C)."""
    if len(shapes) != 1 or len(shapes[0]) not in (4, 5) or not shapes[0][-1]:
        raise SystemExit(
            f"{source} has the inputs {shapes}; expected one, (N, H, W, C) or (N, D, H, W, C)"
        )
    return shapes[0]
