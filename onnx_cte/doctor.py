"""Whether this installation is whole and can use the GPU, and what mends it if not."""

import importlib.metadata
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from onnx_cte.errors import CTEError, DeviceError, reason_of
from onnx_cte.provenance import package_version
from onnx_cte.sessions import Session, cores, runtime_version
from onnx_cte.sessions.devices import cuda_compiled, cuda_works
from onnx_cte.sessions.diagnosis import Driver, cuda_wanted, find_driver, missing_libraries
from onnx_cte.sessions.runtime import MEND, MORE, WHEELS, installed_wheels, onnxruntime
from onnx_cte.types import Device

State = Literal["fine", "note", "broken"]

OLDEST_OF_CUDA_13 = (7, 5)
"""Compute capability below which CUDA 13 has no code: Maxwell, Pascal, Volta."""

WINDOWS = (
    "install the Microsoft Visual C++ Redistributable, "
    "https://aka.ms/vs/17/release/vc_redist.x64.exe; if that does not help: "
)


@dataclass(frozen=True, slots=True)
class Extra:
    """Packages that are installed on demand: ``pip install 'onnx-cte[NAME]'``."""

    packages: tuple[str, ...]
    purpose: str


EXTRAS: Mapping[str, Extra] = {
    "formats": Extra(("imagecodecs",), "to read every TIFF compression there is"),
    "zarr": Extra(("zarr",), "to read OME-Zarr"),
    "bioio": Extra(("bioio-nd2", "bioio-lif", "pylibCZIrw"), "to read ND2, LIF and CZI"),
    "transport": Extra(("POT",), "for the estimator otce"),
    "pandas": Extra(("pandas",), "for rankings as data frames, Ranking.to_frame()"),
}
"""Those that users may want; CUDA's libraries are looked for by themselves."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    about : str
    state : {"fine", "note", "broken"}
        ``note``: nothing has to be done, but one may want to.
    found : str
    remedy : str
        What to do; empty if there is nothing.
    """

    about: str
    state: State
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, str]:
        """Return it as JSON values."""
        return asdict(self)


def examine(device: Device = "auto") -> tuple[Finding, ...]:
    """Look at the installation.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        If CUDA does not work, that is broken for ``cuda``, and a note for ``auto``; for ``cpu``
        nobody looks.

    Returns
    -------
    tuple of Finding
        Python, packages, ONNX Runtime, CUDA, a tiny network run on each device that works, extras.
        One that cannot even be looked at is broken, with the reason.
    """
    steps: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("Python", _python),
        ("packages", _packages),
        ("ONNX Runtime", _runtime),
    ]
    if _loads():  # else all that follows would say the same once more
        if device != "cpu":
            steps.append(("CUDA", lambda: [_cuda(asked=device == "cuda")]))
        steps.append(("trial run", lambda: _trials(device)))
    steps.append(("extras", _extras))
    found: list[Finding] = []
    for about, look in steps:
        try:
            found += look()
        except Exception as error:  # a broken installation may fail in any way
            found.append(Finding(about, "broken", reason_of(error)))
    return tuple(found)


def _python() -> list[Finding]:
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    text = (
        f"{platform.python_version()} ({sys.executable}); onnx_cte {package_version()}; {system}; "
        f"{cores()} CPU cores may be used"
    )
    return [Finding("Python", "fine", text)]


def _packages() -> list[Finding]:
    """What every run needs: whether it is there, and new enough."""
    from packaging.requirements import Requirement

    wrong, right = [], []
    for stated in map(Requirement, importlib.metadata.requires("onnx-cte") or ()):
        # ONNX Runtime comes in two wheels, and is looked at by itself.
        aside = stated.marker is not None and not stated.marker.evaluate({"extra": ""})
        if aside or stated.name in WHEELS:
            continue
        version = _version(stated.name)
        if not version:
            wrong.append(f"{stated.name} is missing")
        elif not stated.specifier.contains(version, prereleases=True):
            wrong.append(f"{stated.name} is {version}, but {stated.specifier} is needed")
        else:
            right.append(f"{stated.name} {version}")
    if wrong:
        mend = "pip install --upgrade onnx-cte, in an environment of its own"
        return [Finding("packages", "broken", "; ".join(wrong), mend)]
    return [Finding("packages", "fine", ", ".join(right))]


def _runtime() -> list[Finding]:
    """ONNX Runtime: loadable, and one wheel of it alone."""
    wheels = installed_wheels()
    told = ", ".join(f"{name} {version}" for name, version in wheels.items())
    if len(wheels) > 1:
        both = f"{told} are both installed, and overwrite each other's files"
        return [Finding("ONNX Runtime", "broken", both, MEND)]
    try:
        providers = ", ".join(onnxruntime().get_available_providers())
    except CTEError as error:
        reason, windows = reason_of(error).removesuffix(MORE), platform.system() == "Windows"
        found = f"{reason} ({told or 'neither wheel of it is installed'})"
        return [Finding("ONNX Runtime", "broken", found, WINDOWS * windows + MEND)]
    built = f"{told or runtime_version()}; built with {providers}"
    return [Finding("ONNX Runtime", "fine", built)]


def _loads() -> bool:
    """Whether ONNX Runtime can be used at all."""
    try:
        onnxruntime()
    except DeviceError:
        return False
    return True


def _cuda(*, asked: bool) -> Finding:
    works, reason = cuda_works()
    wanted = cuda_wanted() if cuda_compiled() else None
    driver = find_driver()
    if works:
        names = ", ".join(gpu.name for gpu in driver.gpus) if driver else "a GPU"
        version = f", CUDA {_dotted(wanted)}" if wanted else ""
        return Finding("CUDA", "fine", f"works on {names}{version}")
    missing = missing_libraries(wanted[0]) if wanted else ()
    found, remedy = why_no_cuda(wanted, driver, missing, reason)
    return Finding("CUDA", "broken" if asked else "note", f"does not work: {found}", remedy)


def why_no_cuda(
    wanted: tuple[int, int] | None,
    driver: Driver | None,
    missing: tuple[str, ...],
    reason: str,
) -> tuple[str, str]:
    """The first thing that stands in the way of CUDA, and what to do about it.

    Parameters
    ----------
    wanted : tuple of two ints or None
        The CUDA that ONNX Runtime was built for; None: it has no CUDA.
    driver : Driver or None
    missing : tuple of str
        Libraries that cannot be loaded.
    reason : str
        What ONNX Runtime says.

    Returns
    -------
    found, remedy : str

    Examples
    --------
    >>> found, remedy = why_no_cuda((13, 0), None, (), "")
    >>> print(found)
    there is no NVIDIA driver
    """
    if wanted is None:
        return reason, (
            "without an NVIDIA GPU leave it: models run on the CPU. With one, on Linux or Windows "
            "(x86-64): pip uninstall -y onnxruntime; pip install 'onnx-cte[cuda]'"
        )
    newer = "install a driver of 580 or newer" if wanted[0] >= 13 else "install a newer driver"
    older = ", or take CUDA 12: pip install 'onnx-cte[cuda12]'" if wanted[0] >= 13 else ""
    if driver is None:
        return "there is no NVIDIA driver", (
            "without an NVIDIA GPU leave it: models run on the CPU. With one, "
            f"{newer}{older}; in a container, start it with the GPU (docker run --gpus all)"
        )
    if not driver.gpus:
        return "there is an NVIDIA driver, but it shows no GPU", (
            "look at what nvidia-smi says; in a container, start it with the GPU "
            "(docker run --gpus all); CUDA_VISIBLE_DEVICES may hide it"
        )
    if driver.cuda[0] < wanted[0]:
        return (
            f"the NVIDIA driver is too old: it supports CUDA up to {_dotted(driver.cuda)}, and "
            f"this ONNX Runtime is built for CUDA {_dotted(wanted)}"
        ), newer + older
    best = max(driver.gpus, key=lambda gpu: gpu.capability)
    if wanted[0] >= 13 and best.capability < OLDEST_OF_CUDA_13:
        return (
            f"{best.name} (compute capability {_dotted(best.capability)}) is older than CUDA 13, "
            "for which this ONNX Runtime is built, supports"
        ), "take CUDA 12: pip install 'onnx-cte[cuda12]'"
    if missing:
        extra = "cuda" if wanted[0] >= 13 else "cuda12"
        return (
            f"libraries of CUDA {wanted[0]} or cuDNN 9 are not found: {', '.join(missing)}"
        ), f"pip install 'onnx-cte[{extra}]'"
    return reason, "look at what nvidia-smi says, and whether another program holds the GPU"


def _trials(device: Device) -> list[Finding]:
    """A tiny network on every device that is really used."""
    devices: list[Literal["cpu", "cuda"]] = ["cpu"]
    if device != "cpu" and cuda_works()[0]:
        devices.append("cuda")
    return [_trial(one) for one in devices]


def _trial(device: Literal["cpu", "cuda"]) -> Finding:
    from onnx_cte.graph.trial import NAMES, mean_filter  # slow to import, and may be what is broken

    about = f"trial run on {device.upper()}"
    image = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    padded = np.pad(image, 1)
    rows, columns = image.shape
    expected = sum(padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)) / 9
    started = time.perf_counter()
    try:
        session = Session(Path("mean_filter.onnx"), device, 1, model=mean_filter())
        (found,) = session.run({NAMES[0]: image[None, None]}, [NAMES[1]])
    except CTEError as error:
        return Finding(about, "broken", reason_of(error), _mend_trial(device))
    seconds = time.perf_counter() - started
    off = float(np.abs(found[0, 0] - expected).max())
    if not off < 1e-4:
        wrong = f"{session.provider} gives wrong numbers: off by {off:.2g}, at most 0.0001 expected"
        return Finding(about, "broken", wrong, MEND)
    return Finding(about, "fine", f"{session.provider} computes a convolution ({seconds:.2f} s)")


def _mend_trial(device: str) -> str:
    """What CUDA lacks only shows when a convolution is run: cuDNN is loaded late."""
    wanted = cuda_wanted() if device == "cuda" else None
    missing = missing_libraries(wanted[0]) if wanted else ()
    return why_no_cuda(wanted, find_driver(), missing, "")[1] if missing else MEND


def _extras() -> list[Finding]:
    found = []
    for name, extra in EXTRAS.items():
        lacking = [package for package in extra.packages if not _version(package)]
        if lacking:
            text = f"not installed ({', '.join(lacking)}); {extra.purpose}"
            remedy = f"if wanted: pip install 'onnx-cte[{name}]'"
            found.append(Finding(f"extra {name}", "note", text, remedy))
        else:
            found.append(Finding(f"extra {name}", "fine", f"installed; {extra.purpose}"))
    return found


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _dotted(version: tuple[Any, ...]) -> str:
    return ".".join(map(str, version))
