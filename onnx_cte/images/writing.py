"""Label images out."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_labels(path: Path, labels: NDArray[np.integer]) -> None:
    """Write a label image as a TIFF that ImageJ and napari open.

    Parameters
    ----------
    path : Path
        Replaced if it is there.
    labels : ndarray of int, shape (H, W) or (D, H, W)
        Not negative. Written as uint16 if that holds them, else as uint32.

    Raises
    ------
    ValueError
        If a label is negative, or larger than uint32 holds.
    OSError
        If the file cannot be written.
    """
    import tifffile  # not before there is something to write

    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint32).max:
        raise ValueError(f"labels reach from {low} to {high}, expected 0 to {2**32 - 1}")
    kind = np.uint16 if high <= np.iinfo(np.uint16).max else np.uint32
    axes = "ZYX" if labels.ndim == 3 else "YX"
    tifffile.imwrite(path, labels.astype(kind), compression="zlib", metadata={"axes": axes})
