"""Packages of the BioImage Model Zoo, made of a bare ONNX file and what a user states of it."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx_cte.descriptor import ModelDescription, describe
from onnx_cte.descriptor.writing import FORMAT, write_description
from onnx_cte.errors import DescriptorError, OptionError
from onnx_cte.graph.signature import Signature, load_graph, read_signature
from onnx_cte.graph.writing import write_model
from onnx_cte.packaging.card import Card, card_of
from onnx_cte.packaging.content import tensors_of, unspeakable, whole
from onnx_cte.packaging.example import sample_image
from onnx_cte.packaging.placing import move, refuse_replacing, staged, zipped
from onnx_cte.packaging.settling import as_packaged, decoder_entry
from onnx_cte.packaging.telling import notes_of, readme
from onnx_cte.preprocessing import apply_steps
from onnx_cte.segmenters.comparing import same_findings
from onnx_cte.segmenters.network import arrange
from onnx_cte.segmenters.onnx_model import OnnxModel, OnnxSegmenter
from onnx_cte.types import Image

__all__ = ["Package", "write_package"]

WEIGHTS, README = "weights.onnx", "README.md"
TEST_INPUT, TEST_OUTPUT = "test_input.npy", "test_output.npy"


@dataclass(frozen=True, slots=True)
class Package:
    """A package, as it was written and checked.

    Attributes
    ----------
    path : Path
        The folder, or the zip.
    files : tuple of str
        Their names in it.
    understood : tuple of str
        How the package is read, a line for each thing.
    assumed : tuple of str
        What was not stated: to be looked at before anybody else uses it.
    checked : tuple of str
        What was found to be right.
    """

    path: Path
    files: tuple[str, ...]
    understood: tuple[str, ...]
    assumed: tuple[str, ...]
    checked: tuple[str, ...]


def write_package(
    model: str | Path,
    out: str | Path,
    *,
    axes: str | None = None,
    normalize: str | None = None,
    activation: str | None = None,
    foreground: int | None = None,
    roles: Sequence[str] | None = None,
    threshold: float | None = None,
    decoder: str | None = None,
    halo: int | None = None,
    sample: str | Path | None = None,
    channel: int | str | None = None,
    name: str | None = None,
    description: str | None = None,
    authors: Sequence[str] = (),
    license: str | None = None,
    cite: Sequence[str] = (),
    force: bool = False,
) -> Package:
    """Make a package of the BioImage Model Zoo, format 0.5, of an ``.onnx`` file.

    The package says what a bare file leaves open, so that it is read everywhere as the bare file
    is with the same options here; that is checked before it is put in its place.

    Parameters
    ----------
    model : str or Path
        The ``.onnx`` file; external data is found beside it, and stays external.
    out : str or Path
        Folder to write, or a file that ends in ``.zip``.
    axes : str or None
        A letter for each axis of the network's input: "bcyx", "byxc", "byx", "bczyx", "bzyxc",
        "bzyx". None: by its shape.
    normalize : {"percentile", "zscore", "minmax", "none"} or None
        How it wants its images, as of `onnx_cte.open_models`. None assumes percentiles.
    activation : {"sigmoid", "softmax", "none"} or None
        What makes probabilities of its output. None: by a trial run.
    foreground : int or None
        The output channel to judge, counted from 0.
    roles : sequence of str or None
        What each output channel is.
    threshold : float or None
        Foreground is where its probability is strictly greater. None: 0.5.
    decoder : str or None
        What makes objects of its output, such as "watershed,min_size=50".
    halo : int or None
        Px of the image at the border of a tile that lack context. None leaves it open.
    sample : str, Path or None
        Image to test it with. None simulates one.
    channel : int, str or None
        Of the sample, counted from 0, or by its name in metadata.
    name, description : str or None
        For people. None: after the file, and what the network takes and gives.
    authors : sequence of str
    license : str or None
        Of SPDX, as "CC-BY-4.0".
    cite : sequence of str
        Texts, each with a DOI or an address in it.
    force : bool
        Whether a package, or a zip, of that name is replaced.

    Returns
    -------
    Package

    Raises
    ------
    OptionError
        If what is stated does not fit the network, or the format.
    GraphError, InferenceError
        If it cannot be ranked as a bare file either.
    DescriptorError
        If the package does not pass the zoo's library, or is not read as the file is.
    ImageError
        If the sample cannot be used.
    OutputError
        If it cannot be written, or is there and not to be replaced. In every case nothing is left
        behind, and what was there before is there still.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from onnx_cte.bundled import bundled_models
    >>> weights = bundled_models() / "fibro" / "weights.onnx"
    >>> with TemporaryDirectory() as folder:
    ...     made = write_package(weights, f"{folder}/fibro", axes="bcyx", normalize="zscore")
    >>> print(*made.files)
    README.md bioimageio.yaml test_input.npy test_output.npy weights.onnx
    """
    path, target = Path(model), Path(os.path.normpath(out))
    if path.suffix.lower() != ".onnx":
        raise OptionError(
            f"'{path}': expected an .onnx file; what is a package already can be ranked as it is, "
            "and of other frameworks 'From any framework' in the README says how they become ONNX"
        )
    signature = read_signature(path)
    refuse_replacing(target, signature.files, force)
    bare = OnnxModel(
        path.stem,
        path,
        normalize=normalize,
        foreground=foreground,
        roles=None if roles is None else tuple(roles),
        threshold=threshold,
        axes=axes,
        activation=activation,
    )
    opened = bare.open("cpu", None)
    try:
        entry = decoder_entry(opened.description, decoder)
        final_op = signature.final_ops[opened.description.output.index]
        described = as_packaged(
            opened.description, final_op=final_op, halo=halo, foreground=foreground
        )
        card = card_of(
            described,
            name=name, description=description, authors=authors, license=license, cite=cite,
        )  # fmt: skip
        image = sample_image(described, sample, channel)
        with staged(target) as place:
            folder = place / "package"
            folder.mkdir()
            library = _fill(folder, path, signature, opened, described, image, card, entry)
            made = folder
            if target.suffix.lower() == ".zip":
                made = zipped(folder, place / target.name)
            read = _compared(made, target.name, opened, image)
            files = tuple(sorted(file.name for file in folder.iterdir()))
            move(made, target)
    finally:
        opened.close()
    stated = {"axes": axes, "normalize": normalize, "halo": halo, "sample": sample}
    return Package(
        path=target,
        files=files,
        understood=tuple(describe(read).splitlines()),
        assumed=(*notes_of(described, stated, unspeakable(described)), *card.missing),
        checked=(
            f"valid in format {FORMAT}, with the hashes of its files: {library}",
            f"read back, it reproduces its test tensors, and on '{image.name}' it gives what "
            f"{path.name} gives, in every pixel",
        ),
    )


def _fill(
    folder: Path,
    path: Path,
    signature: Signature,
    opened: OnnxSegmenter,
    described: ModelDescription,
    image: Image,
    card: Card,
    entry: dict[str, Any],
) -> str:
    """Write all files of the package; what checked them comes back."""
    spec, out = described.input, described.output
    model = load_graph(path)
    if len(model.graph.output) > 1:  # the zoo's programs want every output described
        kept = model.graph.output[out.index]
        del model.graph.output[:]
        model.graph.output.append(kept)
    write_model(model, folder / WEIGHTS, path.parent)
    given = arrange(image.data[None], f"b{image.axes}", spec.axes).astype(spec.dtype)
    np.save(folder / TEST_INPUT, given)
    raw = opened.network.native(apply_steps(given, spec.axes, spec.steps))
    told = tuple(step for step in out.steps if step not in unspeakable(described))
    np.save(folder / TEST_OUTPUT, apply_steps(raw, out.axes, told))
    (folder / README).write_text(readme(described, card, image.name), encoding="utf-8")
    shape = signature.inputs[0].shape
    tensors = tensors_of(described, shape[0] if shape else None)
    for kind, file in (("inputs", TEST_INPUT), ("outputs", TEST_OUTPUT)):
        tensors[kind][0]["test_tensor"] = _reference(folder / file)
    weights = {**_reference(folder / WEIGHTS), "opset_version": signature.opset}
    data = folder / f"{WEIGHTS}.data"
    if data.exists():
        weights["external_data"] = _reference(data)
    content = {
        "format_version": FORMAT,
        "type": "model",
        "documentation": _reference(folder / README),
        "tags": ["onnx", "segmentation", "3d" if "z" in spec.axes else "2d"],
        **tensors,
        "weights": {"onnx": weights},
        **({"config": {"decoder": entry}} if entry else {}),
    }
    return write_description(whole(content, card), folder)


def _compared(made: Path, called: str, opened: OnnxSegmenter, image: Image) -> ModelDescription:
    """Open the package as a ranking does, and hold what it finds against the bare file."""
    package = OnnxModel(called, made).open("cpu", None)
    try:
        if difference := same_findings(opened, package, image):
            raise DescriptorError(
                f"the package is not read as the file is: {difference}. Nothing is written; state "
                "--activation and --roles, so that nothing is left to a trial run"
            )
        return package.description
    finally:
        package.close()


def _reference(file: Path) -> dict[str, Any]:
    """How a description names a file beside it."""
    with file.open("rb") as stream:
        return {"source": file.name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
