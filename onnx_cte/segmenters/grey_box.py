"""Disturb a network inside: find where, prepare an engine, run perturbations through it."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import GraphError, OptionError, unknown_name
from onnx_cte.graph.anatomy import Anatomy, anatomy
from onnx_cte.graph.editing import in_order, inlined, serialised
from onnx_cte.graph.maps import Probe, Tap, Value
from onnx_cte.graph.signature import load_graph
from onnx_cte.graph.surgery import expose_all, tap_outputs
from onnx_cte.graph.writing import is_external, set_aside, tensors_in
from onnx_cte.needs import FeaturePerturbation, Needs
from onnx_cte.perturbations import generator
from onnx_cte.segmenters.engine import Engine, Inside
from onnx_cte.segmenters.factors import checked_factor, drowned, is_pointwise, map_shape
from onnx_cte.segmenters.network import Network, arrange
from onnx_cte.segmenters.pipeline import Recipe, judged, stitched
from onnx_cte.segmenters.trying import trial_image
from onnx_cte.sessions import Session, seen_values

GROUPS = ("encoder", "decoder", "skips")
"""Names that stand for several taps."""
LARGE = 256 << 20
"""Bytes of a file from which its weights are set aside on disk while it is looked into."""
POINTWISE_ROWS = 1
"""Masks as large as feature maps that are drawn at a time."""


class GreyBox:
    """A network that can be disturbed at its bottleneck, its skips and its other taps.

    Nothing is looked at before it is asked for: black-box runs pay nothing.

    Parameters
    ----------
    network : Network
        The untouched network.
    shape : tuple of int
        Of a probe image that it takes, in its own layout.
    device : {"cpu", "cuda"}
    threads : int
    at : str or None
        Tensor to take for the bottleneck.
    """

    def __init__(
        self,
        network: Network,
        shape: Sequence[int],
        device: Any,
        threads: int,
        at: str | None = None,
    ) -> None:
        self._network, self._shape, self.at = network, tuple(shape), at
        self._device, self._threads = device, threads
        self._engines: dict[tuple[tuple[str, ...], bool], Engine] = {}
        self._readers: dict[tuple[str, ...], Session] = {}
        self._aside: tempfile.TemporaryDirectory[str] | None = None

    @property
    def inside(self) -> Inside:
        """The graph, and its values at the probe.

        Raises
        ------
        GraphError, InferenceError
            If it cannot be run at the probe's size.
        """
        return self._looked[0]

    @property
    def anatomy(self) -> Anatomy:
        """Where it can be disturbed.

        Raises
        ------
        GraphError, InferenceError
            As `inside`, and if the tensor named for the bottleneck is none.
        """
        return self._looked[1]

    @cached_property
    def _looked(self) -> tuple[Inside, Anatomy]:
        """The graph as it is, or, if its bottleneck hides in a local function, inlined."""
        model = in_order(self._loaded())
        trials = [model, in_order(inlined(model))] if model.functions else [model]
        for trial in trials:
            inside = self._inside(trial)
            try:
                found = anatomy(trial, inside.probe, inside.output, self.at)
            except GraphError:
                if trial is trials[-1]:
                    raise
                continue
            if found.bottleneck is not None:
                break
        return inside, found

    def _loaded(self) -> Any:
        """The graph; large weights in it are set aside, for it is going to be copied."""
        path = self._network.session.path
        model = load_graph(path)
        if path.stat().st_size < LARGE or any(map(is_external, tensors_in(model))):
            return model
        self._aside = tempfile.TemporaryDirectory(prefix="onnx-cte-", ignore_cleanup_errors=True)
        set_aside(model, Path(self._aside.name))
        return model

    def _inside(self, model: Any) -> Inside:
        path, source = self._network.session.path, self._network.source
        folder = Path(self._aside.name) if self._aside else path.resolve().parent
        port = self._network.session.inputs[source.index]
        image = trial_image(self._shape, source.axes)
        exposed = serialised(expose_all(model), path.name)
        seen = seen_values(path, exposed, {port.name: image}, folder)
        values = {key: Value(*value) for key, value in seen.items()}
        values[port.name] = Value(self._shape, str(port.dtype))
        result = self._network.result
        return Inside(
            path=path,
            folder=folder,
            model=model,
            output=self._network.session.outputs[result.index].name,
            probe=Probe(port.name, source.axes, self._shape, values),
            image=image,
            device=self._device,
            threads=self._threads,
            batch=result.axes.index("b") if "b" in result.axes else None,
        )

    @property
    def record(self) -> Mapping[str, Any]:
        """What was found and how it is run, for the provenance; empty if nobody asked."""
        if not self._engines:
            return {}
        found = self.anatomy
        return {
            "bottleneck": found.bottleneck.tensor if found.bottleneck else None,
            "engines": {
                "+".join(taps) + ", pointwise" * pointwise: {
                    "mode": engine.mode,
                    "fell back": list(engine.fell_back),
                    "difference": engine.difference,
                    "tensors": [tap.tensor for tap in engine.taps],
                }
                for (taps, pointwise), engine in sorted(self._engines.items())
            },
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the ranking should know."""
        notes = [f"its bottleneck is '{self.at}' (as stated)"] if self.at and self._engines else []
        for (taps, _), engine in sorted(self._engines.items()):
            if engine.fell_back:
                notes.append(
                    f"disturbed at {', '.join(taps)} by the slower engine '{engine.mode}': "
                    f"{'; '.join(engine.fell_back)}"
                )
        return tuple(notes)

    def refuses(self, needs: Needs) -> str:
        """Why it cannot be disturbed as needed; empty if it can. Prepares the engines."""
        for perturbation in needs.features:
            found = self.anatomy
            if found.bottleneck is None:
                named = ", ".join(f"'{tap.tensor}' ({tap.name})" for tap in found.candidates[:5])
                return (
                    f"no bottleneck to disturb by {perturbation.name}: {found.reason}. "
                    + (
                        f"Name a tensor for it by --at MODEL=TENSOR, such as {named}; or "
                        if named
                        else ""
                    )
                    + "disturb the input, as --perturb noise=0.1 does"
                )
            taps = self.resolve(perturbation.taps)
            if lost := drowned(self.inside.probe, perturbation, taps):
                return lost
            self._engine(taps, is_pointwise(self.inside.probe, perturbation, taps))
        return ""

    def resolve(self, names: Sequence[str]) -> tuple[Tap, ...]:
        """The taps that names and groups of names stand for.

        Raises
        ------
        OptionError
            If there is no such tap; the text lists what there is.
        """
        found = self.anatomy
        known = {tap.name: tap for tap in (*found.taps, *found.skips)}
        taps: dict[str, Tap] = {}
        for name in names:
            part = {"skips": "skip/"}.get(name, f"{name}/")
            group = {key: tap for key, tap in known.items() if key.startswith(part)}
            if name in known:
                taps[name] = known[name]
            elif name in GROUPS and group:
                taps |= group
            elif name in GROUPS:
                raise OptionError(f"this network has no {name} to disturb")
            else:
                raise unknown_name("tap", name, [*known, *GROUPS])
        return tuple(taps.values())

    def disturbed(
        self,
        recipe: Recipe,
        tensor: NDArray[np.float32],
        image: str,
        perturbations: Sequence[FeaturePerturbation],
        seed: int,
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Run a normalised image undisturbed and disturbed inside.

        Parameters
        ----------
        recipe : Recipe
        tensor : ndarray of float32, shape (1, C, H, W)
        image : str
            Its name, which with `seed` and the names of perturbation and tap determines all draws.
        perturbations : sequence of FeaturePerturbation
        seed : int

        Returns
        -------
        reference : ndarray of float32, shape (C', H, W)
        perturbed : dict of str to ndarray of float32
            By name of the perturbation.
        """
        reference: NDArray[np.float32] | None = None
        found = {}
        for taps, pointwise, group in self._grouped(perturbations):
            engine = self._engine(taps, pointwise)
            maps = stitched(recipe, partial(self.rows, engine, group, image, seed), tensor)
            parts = np.split(maps, len(group) + 1)
            if reference is None:
                reference = judged(recipe, parts[0])
            for perturbation, part in zip(group, parts[1:], strict=True):
                found[perturbation.name] = judged(recipe, part)
        assert reference is not None  # there is a perturbation at least
        return reference, found

    def close(self) -> None:
        """Free all engines."""
        for engine in self._engines.values():
            engine.close()
        for reader in self._readers.values():
            reader.close()
        self._engines, self._readers = {}, {}
        if self._aside:
            self._aside.cleanup()

    def features(
        self, taps: Sequence[Tap], tile: NDArray[np.float32]
    ) -> Mapping[str, NDArray[np.float32]]:
        """Undisturbed maps of some taps for a (1, C, h, w) tile, each (1, C', *sides)."""
        names = [tap.tensor for tap in taps]
        key = tuple(names)
        if key not in self._readers:
            inside = self.inside
            model = tap_outputs(inside.model, names, inside.probe.values)
            packed = serialised(model, inside.path.name)
            self._readers[key] = Session(
                inside.path, self._device, self._threads, model=packed, folder=inside.folder
            )
        image = arrange(tile, self._network.tile, self._network.source.axes)
        maps = self._readers[key].run({self.inside.probe.source: image}, names)
        return {
            tap.name: np.asarray(np.moveaxis(found, tap.axis, 1), np.float32)
            for tap, found in zip(taps, maps, strict=True)
        }

    def rows(
        self,
        engine: Engine,
        perturbations: Sequence[FeaturePerturbation],
        image: str,
        seed: int,
        tile: NDArray[np.float32],
    ) -> NDArray[Any]:
        """Raw outputs for a (1, C, h, w) tile, undisturbed first: (1, (K + 1) C', h', w')."""
        seen = self.features(engine.taps, tile) if engine.pointwise else {}
        factors = {}
        for tap in engine.taps:
            features = seen.get(tap.name)
            shape = map_shape(self.inside.probe, tap) if features is None else features.shape
            drawn = [
                checked_factor(
                    p,
                    tap,
                    shape,
                    features if p.reads_features else None,
                    generator(seed, image, p.name, tap.name),
                )
                for p in perturbations
            ]
            if any(factor.shape != drawn[0].shape for factor in drawn):
                drawn = [np.broadcast_to(factor, shape) for factor in drawn]
            factors[tap.name] = np.concatenate(drawn).astype(np.float32, copy=False)
        source = arrange(tile, self._network.tile, self._network.source.axes)
        found = engine.run(source, factors)
        return np.concatenate([self._network.arranged(row) for row in found], axis=1)

    def _grouped(
        self, perturbations: Sequence[FeaturePerturbation]
    ) -> Iterator[tuple[tuple[Tap, ...], bool, list[FeaturePerturbation]]]:
        """Perturbations that can share a run: at the same taps, by masks of the same kind."""
        groups: dict[tuple[tuple[Tap, ...], bool], list[FeaturePerturbation]] = {}
        for perturbation in perturbations:
            taps = self.resolve(perturbation.taps)
            key = taps, is_pointwise(self.inside.probe, perturbation, taps)
            groups.setdefault(key, []).append(perturbation)
        for (taps, pointwise), group in groups.items():
            size = POINTWISE_ROWS if pointwise else len(group)
            for start in range(0, len(group), size):
                yield taps, pointwise, group[start : start + size]

    def _engine(self, taps: tuple[Tap, ...], pointwise: bool) -> Engine:
        key = tuple(tap.name for tap in taps), pointwise
        if key not in self._engines:
            self._engines[key] = Engine(
                self.inside, taps, self._network.native, pointwise=pointwise
            )
        return self._engines[key]
