"""What a run was made with: enough to repeat it, and to explain why another one differs."""

import importlib.metadata
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# Whichever is installed: on a machine with NVIDIA wheels the first, elsewhere the second.
_RUNTIMES = ("onnxruntime-gpu", "onnxruntime")
_PACKAGES = ("onnx", "numpy", "scipy", "scikit-image")


def package_version() -> str:
    """Version of this package; it is part of the key of all evidence."""
    return importlib.metadata.version("onnx-cte")


def provenance(
    *,
    device: str,
    jobs: int | None,
    source: str,
    images: int,
    models: Mapping[str, Any],
    started: float,
) -> dict[str, Any]:
    """Record a run.

    Parameters
    ----------
    device : str
        As asked for; what executed each model stands in `models`.
    jobs : int or None
        As asked for.
    source : str
        Which images, with the options they were read with.
    images : int
        How many images there were.
    models : mapping of str to JSON values
        By model name: hashes, provider and what else the model recorded.
    started : float
        Seconds since the epoch.

    Returns
    -------
    dict
        JSON values. All that differs between two equal runs stands under ``time``.
    """
    versions = {name: _version(name) for name in (*_RUNTIMES, *_PACKAGES)}
    return {
        "onnx_cte": package_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name, version in versions.items() if version},
        "device": device,
        "jobs": jobs,
        "source": source,
        "images": images,
        "models": dict(models),
        "time": {
            "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - started, 3),
        },
    }


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
