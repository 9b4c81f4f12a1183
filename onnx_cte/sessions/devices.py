"""Which device there is: what ONNX Runtime lists is only what it was compiled with."""

import contextlib
import importlib.metadata
import importlib.util
import os
import re
from typing import Literal

import onnxruntime as ort

from onnx_cte.errors import DeviceError, OptionError

DEVICES = ("auto", "cpu", "cuda")
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
SILENT = 4  # ONNX Runtime's "fatal": what goes wrong reaches the user as our error instead

# The ONNX model y = Identity(x), to ask a provider whether it really works.
_PROBE = (
    b'\x08\x07\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n'
    b"\x08\x08\x01\x12\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"B\x04\n\x00\x10\r"
)


def choose_device(device: str) -> Literal["cpu", "cuda"]:
    """Turn what the user asked for into what there is.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes CUDA if it works here, otherwise the CPU.

    Returns
    -------
    {"cpu", "cuda"}

    Raises
    ------
    OptionError
        If `device` is none of the three.
    DeviceError
        If CUDA is asked for and does not work here; the text lists what is there.
    """
    _check_installation()
    if device not in DEVICES:
        raise OptionError(f"unknown device '{device}'. There are: {', '.join(DEVICES)}")
    if device == "cpu":
        return "cpu"
    works, reason = _cuda_works()
    if works:
        return "cuda"
    if device == "cuda":
        raise DeviceError(
            f"device 'cuda' was asked for, but only 'cpu' works here: {reason}. "
            "Use --device cpu (or auto), or install CUDA's libraries: pip install 'onnx-cte[cuda]'"
        )
    return "cpu"


def line_of(error: BaseException) -> str:
    """Reduce an exception to one line that a person can read."""
    text = " ".join(str(error).split()) or type(error).__name__
    # "[ONNXRuntimeError] : 1 : FAIL : " and "/path/model.cc:256 onnxruntime::Model::Model(...) "
    # are for the developers of ONNX Runtime.
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"/\S+\.(cc|h):\d+ .*?\) (?=[A-Z\[])", " ", text)
    # The beginning says where, the end says why.
    return text if len(text) <= 400 else f"{text[:200]} ... {text[-195:]}"


def _check_installation() -> None:
    """Say what is wrong when both wheels of ONNX Runtime overwrote each other."""
    if hasattr(ort, "InferenceSession"):
        return
    raise DeviceError(
        "the installation of ONNX Runtime is broken (onnxruntime and onnxruntime-gpu overwrite "
        "each other). Mend it: pip uninstall -y onnxruntime onnxruntime-gpu; "
        "pip install onnxruntime-gpu"
    )


def _cuda_works() -> tuple[bool, str]:
    """Whether a session really runs on CUDA; if not, the likely reason."""
    available = ort.get_available_providers()
    if CUDA not in available:
        return False, f"this ONNX Runtime has no CUDA (it has {', '.join(available)})"
    if importlib.util.find_spec("nvidia") is not None and hasattr(ort, "preload_dlls"):
        # It prints what it cannot load to stdout, which belongs to results.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            ort.preload_dlls()
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    ort.set_default_logger_severity(SILENT)
    try:
        session = ort.InferenceSession(_PROBE, options, providers=[CUDA, CPU])
        found = session.get_providers()
    except Exception as error:
        return False, line_of(error)
    finally:
        ort.set_default_logger_severity(2)
    if CUDA in found:
        return True, ""
    both = _installed("onnxruntime") and _installed("onnxruntime-gpu")
    return False, (
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other"
        if both
        else "there is no CUDA device, or CUDA 13 and cuDNN 9 are not found"
    )


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
