"""A package's own proof: its test tensors, run and compared."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.descriptor import ModelDescription
from onnx_cte.errors import DescriptorError, SelfTestFailed
from onnx_cte.preprocessing import apply_steps
from onnx_cte.segmenters.network import Network

# A model reproduces its test tensors if all but so many of a million values are this close: what
# other kinds of processors, and cuDNN, do to the last digits of a float32 network.
ABSOLUTE, RELATIVE, PER_MILLION = 1e-3, 1e-3, 100


def self_test(description: ModelDescription, network: Network) -> bool:
    """Run a package's own test tensors.

    Parameters
    ----------
    description : ModelDescription
    network : Network

    Returns
    -------
    bool
        Whether there were any.

    Raises
    ------
    SelfTestFailed
        If the result differs from the test output; the text has the largest difference.
    """
    if description.test_input is None or description.test_output is None:
        return False
    given, expected = read_tensor(description.test_input), read_tensor(description.test_output)
    tensor = apply_steps(given, description.input.axes, description.input.steps)
    raw = network.native(tensor)
    found = apply_steps(raw, description.output.axes, description.output.steps)
    if found.shape != expected.shape:
        raise SelfTestFailed(
            f"{description.name}: its test output has shape {expected.shape}, "
            f"running its test input gives {found.shape}"
        )
    difference = np.abs(found.astype(np.float64) - expected)
    # Written so that NaN counts as wrong.
    wrong = int(np.count_nonzero(~(difference <= ABSOLUTE + RELATIVE * np.abs(expected))))
    if wrong * 1_000_000 > PER_MILLION * difference.size:
        raise SelfTestFailed(
            f"{description.name}: does not reproduce its own test tensors: largest difference "
            f"{difference.max():.3g}, {wrong} of {difference.size} values differ by more than "
            f"{ABSOLUTE:g} + {RELATIVE:g} of their size; export it again"
        )
    return True


def read_tensor(path: Path) -> NDArray[Any]:
    """Read a test tensor; DescriptorError says why it cannot be."""
    try:
        loaded: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DescriptorError(f"test tensor {path.name} cannot be read: {error}") from error
    return loaded
