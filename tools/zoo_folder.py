"""The folder of one model in the format of the BioImage Model Zoo, and the index of all of them."""

import csv
import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from bioimageio.spec import load_description, save_bioimageio_yaml_only
from bioimageio.spec.model.v0_5 import ModelDescr
from numpy.typing import NDArray
from scipy import ndimage

FORMAT = "0.5.14"
"""Version of the description."""

HALO = 32
"""Border of an output that lacks context, pixels: measured on a network of four levels, what lies
further inside changes by less than 0.02 when more of the image is shown."""

SMALLEST = 2 * HALO + 1
"""Smallest side of an input, pixels, before rounding up to what the network takes: the format
demands more than twice the halo."""

SIDE = 128
"""Side of the simulated test image, pixels."""

INDEX_COLUMNS = ("name", "file", "sha256", "size", "licence", "source")


def read_origin(table: Path, domain: str) -> dict[str, Any]:
    """What is known of the data a model was trained on.

    Raises
    ------
    SystemExit
        If the table does not know the domain.
    """
    origins = tomllib.loads(table.read_text())
    if domain not in origins:
        raise SystemExit(
            f"{table}: no entry [{domain}]; there are: {', '.join(sorted(origins))}. Add one: a "
            "model is not written without the licence and the source of its data"
        )
    return origins[domain]


def simulate(origin: Mapping[str, Any], side: int = SIDE, seed: int = 0) -> NDArray[np.float32]:
    """Blurred ellipses with noise, in the intensities and the size of an origin's objects.

    Parameters
    ----------
    origin : mapping
        With `background`, `object`, `noise` (in [0, 255], one value a channel) and `diameter`.
    side : int
        Height and width in pixels.
    seed : int
        Seeds the only generator.

    Returns
    -------
    ndarray of float32, shape (1, C, side, side)
        Whole numbers in [0, 255], as an 8-bit camera would give.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side].astype(float)
    radius = origin["diameter"] / 2
    covered = np.zeros((side, side))
    for _ in range(max(4, round(0.15 * side**2 / (np.pi * radius**2)))):
        y, x = rng.uniform(0, side, 2)
        angle = rng.uniform(0, np.pi)
        along, across = radius * rng.uniform(1.0, 1.3), radius * rng.uniform(0.7, 1.0)
        u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        ellipse = (u / along) ** 2 + (v / across) ** 2 <= 1
        covered = np.maximum(covered, ellipse * rng.uniform(0.7, 1.0))
    covered = ndimage.gaussian_filter(covered, 1.0)
    background = np.array(origin["background"], float)[:, None, None]
    contrast = np.array(origin["object"], float)[:, None, None] - background
    image = background + contrast * covered
    image += origin["noise"] * rng.standard_normal(image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.float32)[None]


def describe(
    folder: Path,
    name: str,
    origin: Mapping[str, Any],
    *,
    channels: int,
    multiple: int,
    normalisation: Mapping[str, Any],
    opset: int,
    last_in_zoo: bool,
    exclusive: bool = False,
    outputs: Sequence[str] = ("foreground",),
    decoder: Mapping[str, Any] | None = None,
    trained_on: Sequence[str] = (),
) -> None:
    """Write ``bioimageio.yaml`` beside the files it describes, and check it with the zoo's library.

    Parameters
    ----------
    folder : Path
        Holds ``weights.onnx``, ``test_input.npy``, ``test_output.npy`` and ``README.md``.
    name : str
        Short name of the model.
    origin : mapping
        Its entry in ``origins.toml``.
    channels : int
        1 (grey) or 3 (red, green, blue).
    multiple : int
        Sides of the input are a multiple of it.
    normalisation : mapping
        The step of the format that scales the input.
    opset : int
        Of the ONNX file.
    last_in_zoo : bool
        Whether the graph ends in logits and the sigmoid, or softmax, is a postprocessing step.
    exclusive : bool
        Whether the outputs are classes, of which one holds at each pixel: a softmax, no sigmoid.
    outputs : sequence of str
        Names of the output's channels, each a probability; the first names the output.
    decoder : mapping, optional
        What turns them into objects, for the entry ``decoder`` under ``config``.
    trained_on : sequence of str
        Names of the domains, if there are several, for the entry ``trained_on`` under ``config``.

    Raises
    ------
    SystemExit
        If the zoo's library does not accept the description.
    """
    last = {"id": "softmax", "kwargs": {"axis": "channel"}} if exclusive else {"id": "sigmoid"}
    task = "instance-segmentation" if decoder else "semantic-segmentation"
    size = {"min": -(-SMALLEST // multiple) * multiple, "step": multiple}
    content = {
        "format_version": FORMAT,
        "type": "model",
        "name": origin["title"] + (" (objects)" if decoder else ""),
        "description": (
            f"Small 2-D U-Net for the {' and the '.join(outputs)} of {origin['data']}. One of a "
            "bank of models for trying out model ranking; trained on one kind of image only."
        ),
        "authors": [{"name": "The onnx_cte developers"}],
        "cite": [{"text": origin["cite"], **_where_to_find(origin)}],
        **({"license": origin["licence"]} if origin["licence"] else {}),
        "documentation": {"source": "README.md", "sha256": _sha256(folder / "README.md")},
        "tags": ["unet", "2d", task, "pytorch", "onnx", *origin["tags"]],
        "version": "0.1.0",
        "inputs": [
            {
                "id": "image",
                "description": "grey image" if channels == 1 else "red, green and blue",
                "axes": [
                    {"type": "batch"},
                    {
                        "type": "channel",
                        "channel_names": ["grey"] if channels == 1 else ["red", "green", "blue"],
                    },
                    {"type": "space", "id": "y", "size": size},
                    {"type": "space", "id": "x", "size": dict(size)},
                ],
                "test_tensor": _reference(folder / "test_input.npy"),
                "data": {"type": "float32"},
                "preprocessing": [_to_float32(), dict(normalisation), _to_float32()],
            }
        ],
        "outputs": [
            {
                "id": outputs[0],
                "description": f"probability of the {' and of the '.join(outputs)}",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": list(outputs)},
                    *(
                        {
                            "type": "space",
                            "id": axis,
                            "size": {"tensor_id": "image", "axis_id": axis},
                            "halo": HALO,
                        }
                        for axis in "yx"
                    ),
                ],
                "test_tensor": _reference(folder / "test_output.npy"),
                "data": {"type": "float32", "range": [0.0, 1.0]},
                "postprocessing": [
                    *([last] if last_in_zoo else []),
                    _to_float32(),
                ],
            }
        ],
        "weights": {"onnx": {**_reference(folder / "weights.onnx"), "opset_version": opset}},
    }
    config = {"decoder": dict(decoder)} if decoder else {}
    if trained_on:
        config["trained_on"] = list(trained_on)
    if config:
        content["config"] = config
    path = folder / "bioimageio.yaml"
    save_bioimageio_yaml_only(content, path)
    loaded = load_description(folder)
    if not isinstance(loaded, ModelDescr):
        raise SystemExit(f"{path}: not accepted by bioimageio.spec:\n{loaded.validation_summary}")


def update_index(index: Path, folder: Path, name: str, origin: Mapping[str, Any]) -> None:
    """Put the files of one model into the index, in place of what it held of that model.

    Parameters
    ----------
    index : Path
        A CSV file, created if there is none; files are named relative to its folder.
    folder : Path
        The model's folder, below the folder of the index.
    name : str
        Short name of the model.
    origin : mapping
        Its entry in ``origins.toml``.
    """
    rows = []
    if index.is_file():
        with index.open(newline="") as table:
            rows = list(csv.DictReader(table))
    place = folder.resolve().relative_to(index.parent.resolve())
    # By folder: two banks may each have a model of this name.
    rows = [row for row in rows if PurePosixPath(row["file"]).parent != PurePosixPath(place)]
    for path in sorted(folder.iterdir()):
        rows.append(
            {
                "name": name,
                "file": (place / path.name).as_posix(),
                "sha256": _sha256(path),
                "size": str(path.stat().st_size),
                "licence": origin["licence"],
                "source": origin["origin"],
            }
        )
    with index.open("w", newline="") as table:
        writer = csv.DictWriter(table, INDEX_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["file"]))


def _where_to_find(origin: Mapping[str, Any]) -> dict[str, str]:
    """The publication's DOI, or where there is none the address of the data."""
    return {"doi": origin["doi"]} if "doi" in origin else {"url": origin["origin"]}


def _to_float32() -> dict[str, Any]:
    """The step that the format demands first and last; a new one each, lest YAML write aliases."""
    return {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}


def _reference(path: Path) -> dict[str, str]:
    """How the description names a file beside it."""
    return {"source": path.name, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
