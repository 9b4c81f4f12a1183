"""JAX and Flax to ONNX: a function of arrays, or the code of a Flax module and its parameters.

    python tools/export flax unet.py:make unet.onnx --weights params.msgpack --channels 1

Needs jax2onnx, which brings the package onnxruntime along: where onnxruntime-gpu is installed, use
an environment of its own (nothing here needs onnx_cte). JAX has channels last; the ONNX file has
them first (bcyx).

jax2onnx (0.17) gets the shapes of pooling wrong where sizes are symbols, and what JAX writes for
TensorFlow (one XlaCallModule) cannot be turned to ONNX any more. So the network is traced at one
size, sizes are freed in the file, and other sizes are proven like any. A network whose graph
depends on the size (`jax.image.resize`) fails that proof: it is written at one size, for one image
at a time, by ``fixed``.
`flax.linen.max_pool` wants its arguments by name: ``window_shape=``, ``strides=``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen, serialization
from jax2onnx import to_onnx
from loading import made
from numpy.typing import NDArray
from parity import Difference, keep, shapes
from ports import name_ports

OPSET = 18
SIDE = 64


def export(
    apply: Callable[[Any], Any],
    path: Path,
    *,
    channels: int,
    sides: Sequence[int] = (SIDE, SIDE),
    fixed: bool = False,
    opset: int = OPSET,
) -> dict[tuple[int, ...], Difference]:
    """Write a network as one ONNX file, and prove it.

    Parameters
    ----------
    apply : callable
        From (N, [D,] H, W, C) to (N, [D,] H, W, K), as for evaluation (no dropout, stored
        statistics): ``lambda x: module.apply(variables, x)``.
    path : Path
        The file takes (N, C, [D,] H, W) and gives (N, K, [D,] H, W).
    channels : int
    sides : sequence of int
        (Depth,) height and width it is traced with.
    fixed : bool
        Whether all sizes stay those of the trace, the batch, of one, too.
    opset : int

    Returns
    -------
    dict of shape to Difference

    Raises
    ------
    parity.Differs
        If the file does not give what the network gives.
    """

    def channels_first(image: Any) -> Any:
        found = apply(jnp.moveaxis(image, 1, -1))
        return jnp.moveaxis(found[0] if isinstance(found, list | tuple) else found, -1, 1)

    partial = path.with_suffix(".partial")
    to_onnx(
        channels_first,
        [(1, channels, *sides)],
        return_mode="file",
        output_path=str(partial),
        opset=opset,
    )
    letters = dict(enumerate("DHW"[-len(sides) :], start=2))
    name_ports(partial, {} if fixed else {0: "N"} | letters)

    def run(image: NDArray[np.float32]) -> NDArray[np.floating]:
        return np.asarray(channels_first(jnp.asarray(image)))

    return keep(run, partial, path, [(1, channels, *sides)] if fixed else shapes(channels, sides))


def load(source: str, weights: Path | None) -> Callable[[Any], Any]:
    """A network as the command line names it, as a function of channels-last arrays.

    Parameters
    ----------
    source : str
        ``FILE.py:NAME`` of a `flax.linen` module or of what makes one; or of what makes a function
        or `flax.nnx` module that has its parameters already.
    weights : Path or None
        Of a linen module: what `flax.serialization.to_bytes` wrote of its variables ("params",
        "batch_stats", ...), or of its parameters alone.

    Raises
    ------
    SystemExit
        If weights are missing, or given to what has them.
    """
    network = made(source)
    if not isinstance(network, linen.Module):
        if weights is not None:
            raise SystemExit(f"{source} is no flax.linen module: it has to bring its own weights")
        if callable(getattr(network, "eval", None)):  # nnx: no dropout, stored statistics
            network.eval()
        return network
    if weights is None:
        raise SystemExit(f"{source}: a flax.linen module has no weights of its own: add --weights")
    variables = serialization.msgpack_restore(weights.read_bytes())
    if "params" not in variables:
        variables = {"params": variables}
    return lambda image: network.apply(variables, image)
