"""Which device there is: what ONNX Runtime lists is only what it was compiled with."""

import importlib.util
from typing import Literal

from onnx_cte.errors import DeviceError, OptionError
from onnx_cte.sessions.runtime import installed_wheels, line_of, onnxruntime, silenced

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
    onnxruntime()  # or tell that it is broken
    if device not in DEVICES:
        raise OptionError(f"unknown device '{device}'. There are: {', '.join(DEVICES)}")
    if device == "cpu":
        return "cpu"
    works, reason = cuda_works()
    if works:
        return "cuda"
    if device == "cuda":
        raise DeviceError(
            f"device 'cuda' was asked for, but only 'cpu' works here: {reason}. "
            "Use --device cpu (or auto), or install CUDA's libraries: pip install "
            "'onnx-cte[cuda]'; `onnx-cte doctor --device cuda` looks for the cause"
        )
    return "cpu"


def cuda_compiled() -> bool:
    """Whether this ONNX Runtime has CUDA at all; whether it works is another matter."""
    return CUDA in onnxruntime().get_available_providers()


def preload() -> None:
    """Load CUDA's libraries where they were installed as wheels, which nothing else finds."""
    ort = onnxruntime()
    if importlib.util.find_spec("nvidia") is not None and hasattr(ort, "preload_dlls"):
        # It prints what it cannot load.
        with silenced():
            ort.preload_dlls()


def cuda_works() -> tuple[bool, str]:
    """Whether a session really runs on CUDA; if not, the likely reason."""
    ort = onnxruntime()
    if not cuda_compiled():
        available = ", ".join(ort.get_available_providers())
        return False, f"this ONNX Runtime has no CUDA (it has {available})"
    preload()
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    ort.set_default_logger_severity(SILENT)
    try:
        with silenced():
            session = ort.InferenceSession(_PROBE, options, providers=[CUDA, CPU])
        found = session.get_providers()
    except Exception as error:
        return False, line_of(error)
    finally:
        ort.set_default_logger_severity(2)
    if CUDA in found:
        return True, ""
    return False, (
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other"
        if len(installed_wheels()) > 1
        else "there is no CUDA device, or CUDA 13 and cuDNN 9 are not found"
    )
