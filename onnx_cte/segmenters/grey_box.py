"""Disturb a network inside: find where, prepare an engine, run perturbations through it."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import GraphError
from onnx_cte.features import FeatureMap
from onnx_cte.graph.anatomy import Anatomy, anatomy
from onnx_cte.graph.editing import in_order, inlined, serialised
from onnx_cte.graph.maps import Probe, Tap, Value
from onnx_cte.graph.signature import load_graph
from onnx_cte.graph.surgery import expose_all
from onnx_cte.graph.writing import is_external, set_aside, tensors_in
from onnx_cte.needs import FeaturePerturbation, Needs
from onnx_cte.perturbations import generator
from onnx_cte.segmenters.engine import Engine, Inside
from onnx_cte.segmenters.factors import checked_factor, drowned, is_pointwise, map_shape
from onnx_cte.segmenters.naming import one_tap, taps_named
from onnx_cte.segmenters.network import Network, arrange
from onnx_cte.segmenters.pipeline import Recipe, judged, stitched
from onnx_cte.segmenters.reading import Reader, read_and_predict, read_maps
from onnx_cte.segmenters.trying import trial_image
from onnx_cte.sessions import seen_values

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
        self._readers: dict[tuple[bool, tuple[str, ...]], Reader] = {}
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
        """Why it cannot be disturbed or looked at as needed; empty if it can. Prepares engines."""
        looked_at = [*needs.taps, *(tap for view in needs.views for tap in view.taps)]
        wanted = [f"disturb by {p.name}" for p in needs.features]
        wanted += [f"look at for '{name}'" for name in looked_at]
        if wanted and self.anatomy.bottleneck is None:
            first = "" if needs.features else looked_at[0]
            return f"no bottleneck to {wanted[0]}: {self._without(first)}"
        for name in looked_at:
            one_tap(self.anatomy, name)
        for perturbation in needs.features:
            taps = self.resolve(perturbation.taps)
            if lost := drowned(self.inside.probe, perturbation, taps):
                return lost
            self._engine(taps, is_pointwise(self.inside.probe, perturbation, taps))
        return ""

    def _without(self, looked_at: str) -> str:
        """Why there is no bottleneck, and what can be done; empty: it was to be disturbed."""
        found = self.anatomy
        named = ", ".join(f"'{tap.tensor}' ({tap.name})" for tap in found.candidates[:5])
        outs = [f"Name a tensor for it by --at MODEL=TENSOR, such as {named}"] if named else []
        if named and looked_at not in ("", "bottleneck"):
            # A tensor that is named stands for the bottleneck, and makes no other tap.
            outs[0] += ", and look at the tap 'bottleneck' instead"
        if not looked_at:
            outs.append("disturb the input, as --perturb noise=0.1 does")
        else:
            outs.append("take an estimator that looks at predictions alone, such as cte or leep")
        return f"{found.reason}. {'; or '.join(outs)}"

    def resolve(self, names: Sequence[str]) -> tuple[Tap, ...]:
        """The taps that names and groups of names stand for; see `naming.taps_named`."""
        return taps_named(self.anatomy, names)

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

    def read(
        self, recipe: Recipe, tensor: NDArray[np.float32], taps: Sequence[str]
    ) -> dict[str, FeatureMap]:
        """Feature maps of a normalised (1, C, H, W) image, by the names asked for."""
        found = self._named(taps)
        return read_maps(self._reader(found.values(), predicts=False), found, recipe, tensor)

    def predicted(
        self, recipe: Recipe, tensor: NDArray[np.float32], taps: Sequence[str]
    ) -> tuple[NDArray[np.float32], dict[str, FeatureMap]]:
        """Probabilities (C', H, W) of a normalised (1, C, H, W) image, and its feature maps."""
        found = self._named(taps)
        reader = self._reader(found.values(), predicts=True)
        return read_and_predict(reader, found, recipe, tensor)

    def _named(self, names: Sequence[str]) -> dict[str, Tap]:
        """The one tap each name stands for."""
        return {name: one_tap(self.anatomy, name) for name in names}

    def _reader(self, taps: Iterable[Tap], *, predicts: bool) -> Reader:
        chosen = sorted({found.tensor: found for found in taps}.values(), key=lambda t: t.tensor)
        key = predicts, tuple(found.tensor for found in chosen)
        if key not in self._readers:
            self._readers[key] = Reader(self.inside, chosen, self._network, predicts=predicts)
        return self._readers[key]

    def rows(
        self,
        engine: Engine,
        perturbations: Sequence[FeaturePerturbation],
        image: str,
        seed: int,
        tile: NDArray[np.float32],
    ) -> NDArray[Any]:
        """Raw outputs for a (1, C, h, w) tile, undisturbed first: (1, (K + 1) C', h', w')."""
        seen: Mapping[str, NDArray[np.float32]] = {}
        if engine.pointwise:
            _, seen = self._reader(engine.taps, predicts=False).run(tile)
        factors = {}
        for tap in engine.taps:
            features = seen[tap.tensor][None] if tap.tensor in seen else None
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
