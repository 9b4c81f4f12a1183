"""ONNX Runtime behind one door: devices, sessions, running.

Nothing else imports onnxruntime. A device that was asked for and is not there is an error; what
ONNX Runtime lists as available says only what it was compiled with, so the truth is read from a
session that was really created.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from onnx_cte.errors import DeviceError, GraphError, InferenceError, OptionError

DEVICES = ("auto", "cpu", "cuda")
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_SILENT = 4  # ONNX Runtime's "fatal": what goes wrong reaches the user as our error instead

# The ONNX model y = Identity(x), to ask a provider whether it really works.
_PROBE = (
    b'\x08\x07\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n'
    b"\x08\x08\x01\x12\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
    b"B\x04\n\x00\x10\r"
)
_DTYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(uint16)": np.uint16,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a session: its name, shape (None where free) and dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


def cores() -> int:
    """CPU cores this process may use (a container or a batch system may allow fewer than exist)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def runtime_version() -> str:
    """Version of ONNX Runtime, for the record."""
    return str(ort.__version__)


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


class Session:
    """One ONNX model, loaded on one device.

    Parameters
    ----------
    path : Path
        The ``.onnx`` file; external data is found beside it.
    device : {"cpu", "cuda"}
        As `choose_device` returned it.
    threads : int
        CPU threads for one run.

    Attributes
    ----------
    inputs, outputs : tuple of Port
    provider : str
        What really executes it, as ONNX Runtime says.
    seconds : float
        Time spent inside ONNX Runtime's ``run`` so far.

    Raises
    ------
    GraphError
        If ONNX Runtime cannot load the file.
    DeviceError
        If the session fell back to the CPU although CUDA was asked for.
    """

    def __init__(self, path: Path, device: Literal["cpu", "cuda"], threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        # An exhaustive search for the fastest convolution is repeated for each new shape and
        # outlasts a short run; TF32 keeps 10 bits, which moves masks away from the CPU's.
        cuda = (_CUDA, {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"})
        providers = [cuda, _CPU] if device == "cuda" else [_CPU]
        self.path = path
        try:
            session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as error:
            raise GraphError(f"{path.name}: ONNX Runtime cannot load it: {_line(error)}") from error
        self.provider = str(session.get_providers()[0])
        if device == "cuda" and self.provider != _CUDA:
            raise DeviceError(
                f"{path.name}: asked for CUDA, ONNX Runtime chose {self.provider}; "
                "use --device cpu, or mend the CUDA installation"
            )
        self._session: Any = session
        self.seconds = 0.0
        self.inputs = tuple(_port(path, node) for node in session.get_inputs())
        self.outputs = tuple(_port(path, node) for node in session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Run the model once.

        Parameters
        ----------
        feeds : mapping of str to ndarray
            By input name; cast to the input's own dtype.
        outputs : sequence of str
            Names of the outputs wanted.

        Returns
        -------
        list of ndarray

        Raises
        ------
        InferenceError
            If ONNX Runtime fails, with its own first line.
        """
        dtypes = {port.name: port.dtype for port in self.inputs}
        ready = {
            name: np.ascontiguousarray(array, dtype=dtypes.get(name, array.dtype))
            for name, array in feeds.items()
        }
        start = time.perf_counter()
        try:
            results: list[NDArray[Any]] = self._session.run(list(outputs), ready)
        except Exception as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in ready.items())
            raise InferenceError(
                f"{self.path.name}: ONNX Runtime failed on {shapes}: {_line(error)}"
            ) from error
        finally:
            self.seconds += time.perf_counter() - start
        return results

    def close(self) -> None:
        """Free the model; ONNX Runtime gives memory back when its session is deleted."""
        self._session = None


def _port(path: Path, node: Any) -> Port:
    """Translate ONNX Runtime's node argument; symbolic sizes are free."""
    if node.type not in _DTYPES:
        raise GraphError(
            f"{path.name}: '{node.name}' is a {node.type}; expected a tensor of one of "
            + ", ".join(sorted(_DTYPES))
        )
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in node.shape)
    return Port(node.name, shape, np.dtype(_DTYPES[node.type]))


def _line(error: BaseException) -> str:
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
    if _CUDA not in available:
        return False, f"this ONNX Runtime has no CUDA (it has {', '.join(available)})"
    if importlib.util.find_spec("nvidia") is not None and hasattr(ort, "preload_dlls"):
        # It prints what it cannot load to stdout, which belongs to results.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            ort.preload_dlls()
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    ort.set_default_logger_severity(_SILENT)
    try:
        session = ort.InferenceSession(_PROBE, options, providers=[_CUDA, _CPU])
        found = session.get_providers()
    except Exception as error:
        return False, _line(error)
    finally:
        ort.set_default_logger_severity(2)
    if _CUDA in found:
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
