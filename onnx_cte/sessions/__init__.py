"""ONNX Runtime behind one door: devices, sessions, running.

Nothing else imports onnxruntime. A device that was asked for and is not there is an error; what
ONNX Runtime lists as available says only what it was compiled with, so the truth is read from a
session that was really created.
"""

import functools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import DeviceError, GraphError, InferenceError
from onnx_cte.sessions.devices import CPU, CUDA, DEVICES, SILENT, choose_device
from onnx_cte.sessions.runtime import line_of, onnxruntime, silenced

__all__ = [
    "DEVICES",
    "Port",
    "Session",
    "choose_device",
    "cores",
    "runtime_version",
    "seen_values",
]

_EXTERNAL = "session.model_external_initializers_file_folder_path"

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
    return str(onnxruntime().__version__)


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
    model : bytes or None
        A rewritten graph of that file to load in its place, serialised.
    folder : Path or None
        Where the external data of such a graph lies; None: beside the file.
    bind : bool or None
        Keep inputs and outputs in the device's memory, and reuse what inputs of the same shape
        took. None: on CUDA. On the CPU nothing is gained.

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

    def __init__(
        self,
        path: Path,
        device: Literal["cpu", "cuda"],
        threads: int,
        *,
        model: bytes | None = None,
        folder: Path | None = None,
        bind: bool | None = None,
    ) -> None:
        ort, options = onnxruntime(), _options(path, model, folder)
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # An exhaustive search for the fastest convolution is repeated for each new shape and
        # outlasts a short run; TF32 keeps 10 bits, which moves masks away from the CPU's.
        cuda = (CUDA, {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"})
        providers = [cuda, CPU] if device == "cuda" else [CPU]
        self.path = path
        try:
            with silenced():
                session = ort.InferenceSession(model or str(path), options, providers=providers)
        except Exception as error:
            raise GraphError(
                f"{path.name}: ONNX Runtime cannot load it: {line_of(error)}"
            ) from error
        self.provider = str(session.get_providers()[0])
        if device == "cuda" and self.provider != CUDA:
            raise DeviceError(
                f"{path.name}: asked for CUDA, ONNX Runtime chose {self.provider}; "
                "use --device cpu, or mend the CUDA installation"
            )
        self._session: Any = session
        self._device = device
        self._bind = device == "cuda" if bind is None else bind
        self._held: dict[str, Any] = {}
        self.seconds = 0.0
        self.inputs = tuple(_port(path, node) for node in session.get_inputs())
        self.outputs = tuple(_port(path, node) for node in session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Run the model once.

        Parameters
        ----------
        feeds : mapping of str to ndarray
            By input name; cast to the input's own dtype. Inputs with a default need not be fed.
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
            run = self._run_bound if self._bind else self._session.run
            results: list[NDArray[Any]] = run(list(outputs), ready)
        except Exception as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in ready.items())
            raise InferenceError(
                f"{self.path.name}: ONNX Runtime failed on {shapes}: {line_of(error)}"
            ) from error
        finally:
            self.seconds += time.perf_counter() - start
        return results

    def _run_bound(
        self, outputs: Sequence[str], feeds: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Run with everything in the device's memory: one upload, one run, one download."""
        ort, binding = onnxruntime(), self._session.io_binding()
        for name, array in feeds.items():
            held = self._held.get(name)
            if held is not None and tuple(held.shape()) == array.shape:
                held.update_inplace(array)
            else:
                # On the CPU it would be the caller's own memory, to be overwritten by the next run.
                own = array.copy() if self._device == "cpu" else array
                held = self._held[name] = ort.OrtValue.ortvalue_from_numpy(own, self._device, 0)
            binding.bind_ortvalue_input(name, held)
        for name in outputs:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding)
        results: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
        return results

    def close(self) -> None:
        """Free the model; ONNX Runtime gives memory back when its session is deleted."""
        self._session = None
        self._held = {}


def seen_values(
    path: Path, model: bytes, feeds: Mapping[str, NDArray[Any]], folder: Path | None = None
) -> Mapping[str, tuple[tuple[int, ...], str]]:
    """Run a graph once on the CPU, without optimisations, and look at all its outputs.

    Parameters
    ----------
    path : Path
        The file it comes from.
    model : bytes
        The graph, serialised, with whatever is to be looked at as outputs.
    feeds : mapping of str to ndarray
        Cast to each input's own dtype.
    folder : Path or None
        Where external data lies; None: beside the file.

    Returns
    -------
    mapping of str to (shape, dtype)
        By output; dtype is NumPy's name. What is no tensor is left out.

    Raises
    ------
    GraphError
        If ONNX Runtime cannot load it.
    InferenceError
        If it fails to run.
    """
    ort, options = onnxruntime(), _options(path, model, folder)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(model, options, providers=[CPU])
        types = {node.name: _DTYPES.get(node.type, np.float32) for node in session.get_inputs()}
        names = [node.name for node in session.get_outputs()]
    except Exception as error:
        raise GraphError(f"{path.name}: ONNX Runtime cannot load it: {line_of(error)}") from error
    try:
        ready = {n: np.ascontiguousarray(array, types[n]) for n, array in feeds.items()}
        values = session.run(names, ready)
    except Exception as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in feeds.items())
        raise InferenceError(
            f"{path.name}: ONNX Runtime failed on {shapes}: {line_of(error)}"
        ) from error
    return {
        name: (value.shape, str(value.dtype))
        for name, value in zip(names, values, strict=True)
        if isinstance(value, np.ndarray)
    }


@functools.cache
def _share_memory() -> bool:
    """Let all sessions take their CPU memory from one arena; whether that could be had.

    An arena keeps its peak for as long as it lives. One a session, the peaks of several engines of
    a network add up; of one for all there is the largest only, and speed is the same.
    """
    ort = onnxruntime()
    memory = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    try:
        ort.create_and_register_allocator(memory, None)
    except Exception:  # another part of the program has registered its own: that one is shared
        return False
    return True


def _options(path: Path, model: bytes | None, folder: Path | None) -> Any:
    options = onnxruntime().SessionOptions()
    options.log_severity_level = SILENT
    # Threads that wait by spinning keep the cores from other sessions, and from what is measured
    # meanwhile; a run takes milliseconds at least, and waking a thread microseconds.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if _share_memory():
        options.add_session_config_entry("session.use_env_allocators", "1")
    if model is not None:
        options.add_session_config_entry(_EXTERNAL, str(folder or path.resolve().parent))
    return options


def _port(path: Path, node: Any) -> Port:
    """Translate ONNX Runtime's node argument; symbolic sizes are free."""
    if node.type not in _DTYPES:
        raise GraphError(
            f"{path.name}: '{node.name}' is a {node.type}; expected a tensor of one of "
            + ", ".join(sorted(_DTYPES))
        )
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in node.shape)
    return Port(node.name, shape, np.dtype(_DTYPES[node.type]))
