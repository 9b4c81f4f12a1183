"""A bare ONNX file, read as its graph shows and as the user states, and tried once."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from onnx_cte.descriptor import ModelDescription, TensorSpec
from onnx_cte.graph.signature import Signature
from onnx_cte.preprocessing import apply_steps
from onnx_cte.segmenters.network import Network
from onnx_cte.segmenters.outputs import settle
from onnx_cte.segmenters.probing import describe_bare
from onnx_cte.segmenters.self_test import read_tensor
from onnx_cte.segmenters.trying import trial_image
from onnx_cte.sessions import Session

# Px, least side of the image at which a network is looked at inside, on planes and on volumes.
_PROBE, _VOLUME_PROBE = 96, 32


def read_bare(
    path: Path,
    session: Session,
    signature: Signature,
    *,
    normalize: str | None = None,
    foreground: int | None = None,
    roles: tuple[str, ...] | None = None,
    threshold: float | None = None,
    axes: str | None = None,
    activation: str | None = None,
) -> tuple[ModelDescription, Network]:
    """Describe an ONNX file that comes without a description, and make a network of it.

    Parameters
    ----------
    path : Path
    session : Session
        The file, loaded.
    signature : Signature
        What it says of itself.
    normalize, foreground, roles, threshold, axes, activation
        As the user states them, see `onnx_cte.segmenters.OnnxModel`; None where nothing is stated.

    Returns
    -------
    description : ModelDescription
        With final roles and all that was assumed.
    network : Network

    Raises
    ------
    GraphError
        If it takes no image, cannot be run at any size tried, or gives no map.
    OptionError
        If what is stated does not fit it.
    InferenceError
        If what it gives is neither probabilities nor logits.
    """
    described = describe_bare(path, session, normalize=normalize, opset=signature.opset, axes=axes)
    network = Network(session, described.input, described.output)
    settled = settle(
        described,
        trial(described, network),
        final_op=signature.final_ops[described.output.index],
        foreground=foreground,
        roles=roles,
        threshold=threshold,
        activation=activation,
    )
    return settled, network


def trial(description: ModelDescription, network: Network) -> NDArray[Any]:
    """Raw (1, C, H, W) output on the test input, or on blobs of a size that the network takes."""
    spec = description.input
    if description.test_input is not None:
        image = apply_steps(read_tensor(description.test_input), spec.axes, spec.steps)
    else:
        lengths = {"b": 1, "c": spec.channels or 1}
        for axis, size in spec.sizes:
            least = max(size.minimum, 2 * description.output.border_along(axis) + 1)
            more = -(-max(0, probe_side(spec) - least) // size.step) * size.step if size.step else 0
            lengths[axis] = least + more
        image = trial_image([lengths[axis] for axis in spec.axes], spec.axes)
    raw = network.native(image)
    return network.arranged(raw)


def probe_side(spec: TensorSpec) -> int:
    """Least side of an image to try the network on."""
    return _VOLUME_PROBE if "z" in spec.axes else _PROBE
