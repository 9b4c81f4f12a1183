"""An ONNX file, or a package around one, as a model that can be opened and ranked."""

import hashlib
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnx_cte.descriptor import ModelDescription, describe
from onnx_cte.descriptor.package import read_package
from onnx_cte.errors import DescriptorError, GraphError
from onnx_cte.graph.signature import Signature, read_signature
from onnx_cte.needs import Needs
from onnx_cte.segmenters.bare import probe_side, read_bare, trial
from onnx_cte.segmenters.decoding import Decoding, decoding_of
from onnx_cte.segmenters.grey_box import GreyBox
from onnx_cte.segmenters.network import Network
from onnx_cte.segmenters.outputs import settle
from onnx_cte.segmenters.pipeline import Recipe, adaptation, observe
from onnx_cte.segmenters.probing import assumed_halo
from onnx_cte.segmenters.self_test import self_test
from onnx_cte.sessions import Session, choose_device, cores, runtime_version
from onnx_cte.types import Decoder, Device, Image, Observation

TILE_LIMIT = 1024
"""Longest side of a tile, in px, for networks of free size: bounds memory on large images. Tiles of
volumes have at most twice its square voxels."""


class OnnxModel:
    """A model on disk: a package of the BioImage Model Zoo, or a bare ``.onnx`` file.

    Parameters
    ----------
    name : str
        Unique in its ranking.
    path : Path
        Folder, description, ``.zip`` or ``.onnx``.
    normalize : {"percentile", "zscore", "minmax", "none"} or None
        How a bare file wants its images; a package says so itself.
    foreground : int or None
        For a bare file, the output channel to judge, counted from 0; a package names its channels.
    roles : tuple of str or None
        For a bare file, what each output channel is.
    threshold : float or None
        Foreground is where its probability is strictly greater. None: 0.5, or as described.
    decoder : Decoder or None
        What makes objects of its output. None: as described, else by the channels.
    tile_limit : int
        Longest side of a tile, in px, for networks of free size.
    at : str or None
        Tensor to take for the bottleneck; None looks for it.
    axes : str or None
        For a bare file, a letter for each axis of its input: "bcyx", "byxc", "byx", "bczyx", ...
        None: by its shape.
    activation : {"sigmoid", "softmax", "none"} or None
        For a bare file, what makes probabilities of its output. None: by a trial run.

    Examples
    --------
    >>> from onnx_cte.bundled import bundled_models
    >>> OnnxModel("mine", bundled_models() / "fibro", threshold=0.4).name
    'mine'
    """

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        normalize: str | None = None,
        foreground: int | None = None,
        roles: tuple[str, ...] | None = None,
        threshold: float | None = None,
        decoder: Decoder | None = None,
        tile_limit: int = TILE_LIMIT,
        at: str | None = None,
        axes: str | None = None,
        activation: str | None = None,
    ) -> None:
        self.name, self.path = name, path
        self.normalize, self.foreground, self.roles = normalize, foreground, roles
        self.threshold, self.decoder = threshold, decoder
        self.tile_limit, self.at = tile_limit, at
        self.axes, self.activation = axes, activation

    def __repr__(self) -> str:
        return f"OnnxModel({self.name!r}, {str(self.path)!r})"

    def open(self, device: Device, threads: int | None) -> "OnnxSegmenter":
        """Load it, find out or check what it takes and gives, and run its own test.

        Raises
        ------
        DescriptorError, GraphError, SelfTestFailed, InferenceError
            If it cannot be ranked.
        DeviceError
            If the device asked for is not there.
        """
        chosen = choose_device(device)
        threads = threads or cores()
        held = ExitStack()
        try:
            if self.path.suffix.lower() == ".onnx":
                signature = read_signature(self.path)
                session = Session(self.path, chosen, threads)
                stated = ("normalize", "foreground", "roles", "threshold", "axes", "activation")
                description, network = read_bare(
                    self.path, session, signature, **{name: getattr(self, name) for name in stated}
                )
            else:
                described = read_package(self.path, self._workdir(held))
                signature = read_signature(described.weights)
                session = Session(described.weights, chosen, threads)
                description, network = self._from_package(described, session, signature)
        except BaseException:
            held.close()
            raise
        record = {
            "kind": description.origin,
            "sha256": _sha256(signature),
            "description": description.fingerprint(),
            "opset": signature.opset,
            "provider": session.provider,
            "threads": threads,
            "tile_limit": self.tile_limit,
            "understood": describe(description).splitlines(),
        }
        decoding = decoding_of(description, self.decoder)
        recipe = _recipe(description, self.tile_limit, decoding.decoder)
        grey_box = GreyBox(network, _probe_shape(description), chosen, threads, self.at)
        return OnnxSegmenter(
            self.name, description, network, recipe, decoding, grey_box, record, held
        )

    def _workdir(self, held: ExitStack) -> Path | None:
        """Make a place to unpack a zip into, for as long as the model is open."""
        if not self.path.is_file():
            return None
        folder = tempfile.TemporaryDirectory(prefix="onnx-cte-", ignore_cleanup_errors=True)
        return Path(held.enter_context(folder))

    def _from_package(
        self, described: ModelDescription, session: Session, signature: Signature
    ) -> tuple[ModelDescription, Network]:
        _require_images(described)
        described = _with_halo(described)
        network = Network(session, described.input, described.output)
        expected = self_test(described, network)
        notes = list(described.notes)
        if not expected:
            notes.append("the package has no test tensors: not checked against its authors' run")
        names = ("normalize", "foreground", "roles", "axes", "activation")
        stated = {name: getattr(self, name) for name in names}
        for option, value in stated.items():
            if value is not None:
                shown = ",".join(value) if isinstance(value, tuple) else value
                notes.append(f"--{option} {shown} not used: the package's description says it")
        described = replace(described, notes=tuple(notes))
        raw = trial(described, network)
        final_op = signature.final_ops[described.output.index]
        settled = settle(described, raw, final_op=final_op, threshold=self.threshold)
        return settled, network


class OnnxSegmenter:
    """An opened `OnnxModel`.

    Attributes
    ----------
    description : ModelDescription
        With all that was found out when it was opened.
    decoding : Decoding
        What makes objects of its output.
    network : Network
    grey_box : GreyBox
        Where, and how, it can be disturbed inside.
    """

    def __init__(
        self,
        name: str,
        description: ModelDescription,
        network: Network,
        recipe: Recipe,
        decoding: Decoding,
        grey_box: GreyBox,
        record: Mapping[str, Any],
        held: ExitStack,
    ) -> None:
        self.name, self.description, self.network = name, description, network
        self.grey_box, self.decoding = grey_box, decoding
        self.decoded_by = repr(decoding.decoder)
        self._record = record
        self._objects = False
        self.identity = hashlib.sha256(
            repr(
                (
                    record["sha256"],
                    record["description"],
                    replace(recipe, decoder=None),
                    record["provider"],
                    runtime_version(),
                    *([grey_box.at] if grey_box.at else []),
                )
            ).encode()
        ).hexdigest()
        self._recipe, self._held = recipe, held

    @property
    def notes(self) -> tuple[str, ...]:
        decoded = self.decoding.notes if self._objects else ()
        return (*self.description.notes, *decoded, *self.grey_box.notes)

    @property
    def record(self) -> Mapping[str, Any]:
        inside = self.grey_box.record
        decoded = {"decoder": self.decoded_by} if self._objects else {}
        return {**self._record, **decoded, **({"inside": inside} if inside else {})}

    def refuses(self, needs: Needs) -> str:
        self._objects = self._objects or needs.instances
        if needs.instances and self.decoding.decoder is None:
            return self.decoding.reason
        return self.grey_box.refuses(needs)

    def adapts(self, image: Image) -> str:
        return adaptation(self._recipe, image)

    def observe(self, image: Image, needs: Needs, seed: int) -> Observation:
        return observe(self._recipe, self.network, image, needs, seed, self.grey_box)

    def close(self) -> None:
        self.grey_box.close()
        self.network.session.close()
        self._held.close()


def _probe_shape(description: ModelDescription) -> tuple[int, ...]:
    """An input shape at which to look inside: sides that differ, where they are free."""
    spec = description.input
    lengths = {"b": 1, "c": spec.channels or 1}
    least = probe_side(spec)
    for axis, size in spec.sizes:
        lost = 2 * description.output.border_along(axis) + 1
        start = max(size.minimum, lost)
        wanted = max(least, 2 * size.step)
        steps = -(-max(0, wanted - start) // size.step) if size.step else 0
        lengths[axis] = start + steps * size.step
        least = lengths[axis] + max(size.step, probe_side(spec) // 3)
    return tuple(lengths[axis] for axis in spec.axes)


def _recipe(description: ModelDescription, limit: int, decoder: Decoder | None) -> Recipe:
    spec, out = description.input, description.output
    axes = "zyx" if "z" in spec.axes else "yx"
    rules = tuple(size.rule for axis in axes if (size := spec.size_along(axis)) is not None)
    if len(rules) != len(axes):
        raise DescriptorError(f"{description.name}: its input lacks sizes for {', '.join(axes)}")
    return Recipe(
        channels=spec.channels or 1,
        before=spec.steps,
        after=out.steps,
        roles=description.roles,
        threshold=description.threshold,
        sizes=rules,
        halo=tuple(map(out.halo_along, axes)),
        border=tuple(map(out.border_along, axes)),
        scale=tuple(map(out.scale_along, axes)),
        limit=limit,
        decoder=decoder,
    )


def _with_halo(described: ModelDescription) -> ModelDescription:
    """Assume a halo where a description has none: seams would show otherwise."""
    if described.output.halo:
        return described
    sizes = described.input.sizes
    halo = tuple((axis, assumed_halo(size, len(sizes))) for axis, size in sizes)
    note = f"no halo in the description: where tiles meet, {halo[0][1]} px are cropped (assumed)"
    return replace(
        described,
        output=replace(described.output, halo=halo),
        notes=(*described.notes, note),
    )


def _require_images(description: ModelDescription) -> None:
    space = "zyx" if "z" in description.input.axes else "yx"
    for spec in (description.input, description.output):
        if set(spec.axes) - set("bc") != set(space):
            raise DescriptorError(
                f"{description.name}: tensor '{spec.name}' has the axes {spec.axes}; only networks "
                "from planes to planes (y and x, with b and c), or from volumes to volumes (z too) "
                "can be ranked"
            )


def _sha256(signature: Signature) -> str:
    """Hash of the file and its external data; their names do not matter."""
    whole = hashlib.sha256()
    for path in signature.files:
        try:
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise GraphError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    return whole.hexdigest()
