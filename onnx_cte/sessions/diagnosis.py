"""What stands between ONNX Runtime and a GPU: driver, CUDA's libraries, and which it wants."""

import ctypes
import platform
from dataclasses import dataclass
from typing import Any

from onnx_cte.sessions.devices import preload
from onnx_cte.sessions.runtime import onnxruntime

_DRIVERS = {"Linux": "libcuda.so.1", "Windows": "nvcuda.dll"}
_LIBRARIES = {
    "Linux": (
        "libcublasLt.so.{cuda}", "libcublas.so.{cuda}", "libcudart.so.{cuda}", "libcufft.so.{fft}",
        "libcurand.so.10", "libcudnn.so.9",
    ),
    "Windows": (
        "cublasLt64_{cuda}.dll", "cublas64_{cuda}.dll", "cudart64_{cuda}.dll", "cufft64_{fft}.dll",
        "cudnn64_9.dll",
    ),
}  # fmt: skip
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its driver shows it.

    Attributes
    ----------
    name : str
    capability : tuple of two ints
        Compute capability, such as (7, 5).
    """

    name: str
    capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Driver:
    """NVIDIA's driver.

    Attributes
    ----------
    cuda : tuple of two ints
        The newest CUDA that it supports.
    gpus : tuple of Gpu
        Empty if it shows none.
    """

    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]


def cuda_wanted() -> tuple[int, int] | None:
    """The CUDA that this ONNX Runtime was built for; None if it does not say, or for none."""
    onnxruntime()
    from onnxruntime.capi import build_and_package_info as built

    said = str(getattr(built, "cuda_version", ""))
    return _version(said) if said else None


def find_driver() -> Driver | None:
    """NVIDIA's driver, asked by itself; None if there is none."""
    try:
        library = ctypes.CDLL(_DRIVERS.get(platform.system(), ""))
    except (OSError, TypeError):
        return None
    if not hasattr(library, "cuDriverGetVersion"):
        return None  # on a system of which the driver has no name: this process itself
    number = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(number))
    cuda = (number.value // 1000, number.value % 1000 // 10)
    if library.cuInit(0) != 0:
        return Driver(cuda, ())
    library.cuDeviceGetCount(ctypes.byref(number))
    return Driver(cuda, tuple(_gpu(library, index) for index in range(number.value)))


def missing_libraries(cuda: int) -> tuple[str, ...]:
    """Which of CUDA's libraries, and cuDNN 9, cannot be loaded here.

    Parameters
    ----------
    cuda : int
        The major version wanted.

    Returns
    -------
    tuple of str
        Names of files. Empty where nobody knows their names, as on macOS.
    """
    preload()
    fft = 12 if cuda >= 13 else 11
    names = (name.format(cuda=cuda, fft=fft) for name in _LIBRARIES.get(platform.system(), ()))
    return tuple(name for name in names if not _loads(name))


def _gpu(library: Any, index: int) -> Gpu:
    device, text, found = ctypes.c_int(0), ctypes.create_string_buffer(128), ctypes.c_int(0)
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(text, len(text), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        library.cuDeviceGetAttribute(ctypes.byref(found), attribute, device)
        capability.append(found.value)
    return Gpu(text.value.decode(errors="replace"), (capability[0], capability[1]))


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _version(text: str) -> tuple[int, int] | None:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0] or "0"
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
