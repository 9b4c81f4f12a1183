"""ONNX Runtime itself: loaded when it is first needed, and what is wrong with its installation."""

import contextlib
import importlib.metadata
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from onnx_cte.errors import DeviceError

WHEELS = ("onnxruntime-gpu", "onnxruntime")
"""They own the same import package: exactly one of them may be installed."""

MEND = (
    "pip uninstall -y onnxruntime onnxruntime-gpu; then install one of them: pip install "
    "onnxruntime-gpu (Linux and Windows on x86-64), pip install onnxruntime (elsewhere)"
)

MORE = "; `onnx-cte doctor` says more"


def onnxruntime() -> Any:
    """The module.

    Raises
    ------
    DeviceError
        If it cannot be loaded, or both wheels have overwritten each other.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise DeviceError(
            f"ONNX Runtime, which runs the models, cannot be loaded: {line_of(error)}{MORE}"
        ) from error
    # What is left of the one wheel when the other was removed is an empty package.
    if not hasattr(onnxruntime, "InferenceSession"):
        raise DeviceError(
            "the installation of ONNX Runtime is broken (onnxruntime and onnxruntime-gpu overwrite "
            f"each other). Mend it: {MEND}"
        )
    return onnxruntime


def installed_wheels() -> Mapping[str, str]:
    """Those of `WHEELS` that are installed, with their versions."""
    found = {}
    for name in WHEELS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep Python code of ONNX Runtime from printing to stdout, which belongs to results."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def line_of(error: BaseException) -> str:
    """Reduce an exception to one line that a person can read."""
    text = " ".join(str(error).split()) or type(error).__name__
    # "[ONNXRuntimeError] : 1 : FAIL : " and "/path/model.cc:256 onnxruntime::Model::Model(...) "
    # are for the developers of ONNX Runtime.
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"/\S+\.(cc|h):\d+ .*?\) (?=[A-Z\[])", " ", text)
    # The beginning says where, the end says why.
    return text if len(text) <= 400 else f"{text[:200]} ... {text[-195:]}"
