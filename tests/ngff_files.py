"""OME-Zarr folders as tests need them: arrays by zarr, metadata of OME by hand."""

import json
from pathlib import Path

import zarr

KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


def axes_of(letters):
    return [{"name": one, "type": KINDS[one]} for one in letters]


def multiscales(letters, paths=("0",), **said):
    datasets = [
        {
            "path": path,
            "coordinateTransformations": [{"type": "scale", "scale": [1.0] * len(letters)}],
        }
        for path in paths
    ]
    return [{"axes": axes_of(letters), "datasets": datasets, **said}]


def write_group(folder, version, attributes):
    """A group with metadata of OME, of version 0.4 (Zarr 2) or 0.5 (Zarr 3)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.4":
        (folder / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
        (folder / ".zattrs").write_text(json.dumps(attributes))
    else:
        inner = {"ome": {"version": "0.5", **attributes}} if attributes else {}
        group = {"zarr_format": 3, "node_type": "group", "attributes": inner}
        (folder / "zarr.json").write_text(json.dumps(group))
    return folder


def write_array(folder, version, array, chunks=None, **how):
    """An array as it lies in a group; chunks apart by slashes, as OME has it."""
    two = version == "0.4"
    if two:
        how["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    stored = zarr.create_array(
        store=folder,
        shape=array.shape,
        chunks=chunks or array.shape,
        dtype=array.dtype,
        zarr_format=2 if two else 3,
        **how,
    )
    stored[:] = array


def write_image(folder, version, array, letters, chunks=None, said=None, **how):
    """An image of two resolutions, the second of which is nonsense."""
    group = multiscales(letters, ("0", "1"), **({"version": "0.4"} if version == "0.4" else {}))
    write_group(folder, version, {"multiscales": group, **(said or {})})
    write_array(Path(folder) / "0", version, array, chunks, **how)
    write_array(Path(folder) / "1", version, array[..., ::2, ::2] * 0)
    return Path(folder)
