"""Run a network undisturbed and disturbed inside, together: one graph, one run, K + 1 rows.

The encoder runs once on the image; from the disturbed map on, the batch is one row undisturbed and
one a mask. How much can be shared depends on the graph, so every way is proven on a probe before it
is used, and the next simpler one is taken where it fails.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnx_cte.errors import GraphError, InferenceError
from onnx_cte.graph.editing import serialised
from onnx_cte.graph.flow import Flow
from onnx_cte.graph.maps import Probe, Tap
from onnx_cte.graph.sharing import expand_skips, share_skips
from onnx_cte.graph.surgery import add_mask_input
from onnx_cte.sessions import Session

Mode = Literal["shared", "expanded", "masked"]
"""``shared``: skips' shares computed once; ``expanded``: the encoder once, skips copied to every
row; ``masked``: one whole run a row."""

TOLERANCE = 1e-5
"""Largest difference between engines, relative to the largest output, in single precision."""
COARSE = 1e-2  # in half precision, and where values are rounded to 8 bits
NO_EFFECT = 1e-6  # relative; below, disturbing the map changes nothing
# Bytes of feature maps at once; more rows than fit are run in several batches.
MEMORY = 2 << 30
MIXING = frozenset({"DynamicQuantizeLinear"})
# Times what features are, in a row of the proof that shows what rows do to others of their batch.
_LOUD = 8


@dataclass(frozen=True, slots=True)
class Inside:
    """What an engine is made from.

    Attributes
    ----------
    path : Path
        The file.
    folder : Path
        Where the external data of `model` lies.
    model : onnx.ModelProto
        Without its external data.
    output : str
        The output that is judged.
    probe : Probe
        What its values were at a probe.
    image : ndarray
        The probe image, in the network's own layout.
    device : {"cpu", "cuda"}
    threads : int
    batch : int or None
        The axis of the output along which the batch lies; None if there is none.
    """

    path: Path
    folder: Path
    model: Any
    output: str
    probe: Probe
    image: NDArray[np.float32]
    device: Literal["cpu", "cuda"]
    threads: int
    batch: int | None


@dataclass(frozen=True, slots=True)
class _Proof:
    """An image, masks by tap, what all but the last give alone, and how far ones are off."""

    image: NDArray[np.float32]
    masks: Mapping[str, NDArray[np.float32]]
    rows: Sequence[NDArray[Any]]
    difference: float


class Engine:
    """A network with mask inputs at some taps.

    Parameters
    ----------
    inside : Inside
    taps : sequence of Tap
        Where it can be disturbed; all at once.
    plain : callable
        Runs the untouched network: image to output.
    pointwise : bool
        Masks may differ from position to position.
    modes : sequence of Mode
        Ways to try, in this order; ``masked`` always works.

    Attributes
    ----------
    mode : Mode
        The way that was proven.
    fell_back : tuple of str
        Why others were not taken, one text a mode.
    difference : float
        The largest that was found when it was proven, relative to the largest output: of a mask
        of ones from the untouched network, and of rows run together from rows run by themselves.

    Raises
    ------
    GraphError
        If a mask of ones does not give what the untouched network gives, or disturbing has no
        effect on the output.
    """

    def __init__(
        self,
        inside: Inside,
        taps: Sequence[Tap],
        plain: Callable[[NDArray[np.float32]], NDArray[Any]],
        *,
        pointwise: bool = False,
        modes: Sequence[Mode] = ("shared", "expanded", "masked"),
    ) -> None:
        self.inside, self.taps, self.pointwise = inside, tuple(taps), pointwise
        self._names = {tap.name: f"mask_of_{tap.name}" for tap in self.taps}
        self._row_bytes = _row_bytes(inside)
        masked = self._masked_model()
        reference = self._session(masked)
        proof = self._proof(reference, plain)
        self.difference = proof.difference
        allowed = tolerance(inside)
        self.mode: Mode = "masked"
        self.fell_back: tuple[str, ...] = ()
        if modes[0] != "masked" and (apart := self._keeps_rows_apart(masked)):
            modes, self.fell_back = ("masked",), (f"shared or expanded: {apart}",)
        for mode in modes:
            if mode == "masked":
                break
            try:
                session = self._session(self._rewritten(masked, mode))
                rows = self._feed(session, proof.image, proof.masks)
                # The last row is there to disturb the others, if they can be.
                found = np.split(rows, len(rows))[: len(proof.rows)]
                worst = max(map(relative_difference, found, proof.rows))
                if not worst <= allowed:
                    session.close()
                    raise GraphError(f"differs by {worst:.1e}, more than {allowed:.0e}")
            except (GraphError, InferenceError, ValueError) as error:
                self.fell_back += (f"{mode}: {error}",)
                continue
            reference.close()
            reference, self.mode = session, mode
            self.difference = max(self.difference, worst)
            break
        self._run_rows = reference

    def run(
        self, image: NDArray[np.float32], factors: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[Any]]:
        """Run undisturbed and disturbed.

        Parameters
        ----------
        image : ndarray of float32
            In the network's own layout, a batch of 1.
        factors : mapping of str to ndarray of float32
            By name of the tap, shape (K, C, 1, ..., 1), or, of a pointwise engine, (K, C or 1,
            *sides); the same K for all.

        Returns
        -------
        list of K + 1 ndarrays
            Outputs in the network's own layout, each with a batch of 1; undisturbed first.

        Raises
        ------
        GraphError
            If a factor has another number of channels than its map.
        InferenceError
            If ONNX Runtime fails.
        """
        rows = {}
        for tap in self.taps:
            factor = factors[tap.name]
            self._check_width(tap, factor)
            ones = np.ones((1, *factor.shape[1:]), np.float32)
            rows[tap.name] = np.concatenate([ones, factor])
        count = len(next(iter(rows.values())))
        step = -(-count // self.runs(image, count))
        found: list[NDArray[Any]] = []
        for start in range(0, count, step):
            part = {name: array[start : start + step] for name, array in rows.items()}
            out = self._feed(self._run_rows, image, part)
            found += [out] if self.mode == "masked" else np.split(out, len(out))
        return found

    def runs(self, image: NDArray[np.float32], rows: int) -> int:
        """How many runs so many rows of an image take: one, if they fit the memory."""
        if self.mode == "masked":
            return rows
        larger = image.size / prod(self.inside.probe.shape)
        # Two at least at once, for one would gain nothing.
        return -(-rows // max(2, int(MEMORY / max(1.0, larger * self._row_bytes))))

    @property
    def seconds(self) -> float:
        """Time spent inside ONNX Runtime so far."""
        return self._run_rows.seconds

    def close(self) -> None:
        """Free its session."""
        self._run_rows.close()

    def _masked_model(self) -> Any:
        model = self.inside.model
        # Disturbing a skip concerns one use of a map; it must be there before all uses are renamed.
        for tap in sorted(self.taps, key=lambda tap: not tap.into):
            model = add_mask_input(
                model, tap, self._names[tap.name], default=False, pointwise=self.pointwise
            )
        return model

    def _rewritten(self, masked: Any, mode: Mode) -> Any:
        values, folder = self.inside.probe.values, self.inside.folder
        given = masked, self.inside.output, list(self._names.values()), values, folder
        if mode == "expanded":
            return expand_skips(*given)
        return share_skips(*given, merge=self.inside.device == "cpu")

    def _keeps_rows_apart(self, masked: Any) -> str:
        """Say why rows cannot be one batch, if they cannot."""
        if self.inside.batch != 0:
            return f"output '{self.inside.output}' does not begin with a batch axis"
        flow = Flow(masked)
        for index in sorted(flow.downstream(self._names.values())):
            if flow.nodes[index].op_type in MIXING:
                return f"{flow.nodes[index].op_type} takes its range over all rows of a batch"
        return ""

    def _session(self, model: Any) -> Session:
        inside = self.inside
        packed = serialised(model, inside.path.name)
        return Session(
            inside.path, inside.device, inside.threads, model=packed, folder=inside.folder
        )

    def _feed(
        self, session: Session, image: NDArray[np.float32], rows: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[Any]:
        feeds = {self._names[name]: array for name, array in rows.items()}
        return session.run({self.inside.probe.source: image, **feeds}, [self.inside.output])[0]

    def _proof(
        self, masked: Session, plain: Callable[[NDArray[np.float32]], NDArray[Any]]
    ) -> _Proof:
        """Rows run by themselves, on the first probe image on which the masks have an effect."""
        rng = np.random.default_rng(0)
        masks = {}
        for tap in self.taps:
            shape = (3, tap.channels, *[1] * (tap.rank - 2))
            drawn = (rng.random(shape) < 0.5).astype(np.float32)
            drawn[0, 0], drawn[1:, 0] = 0, 1  # never all alike, however few the channels
            drawn[2] *= _LOUD
            masks[tap.name] = np.concatenate([np.ones_like(drawn[:1]), drawn])
        name = self.inside.path.name
        for image in probe_images(self.inside):
            untouched = np.asarray(plain(image))
            rows = [
                self._feed(masked, image, {tap: m[i : i + 1] for tap, m in masks.items()})
                for i in range(3)
            ]
            changed = relative_difference(rows[0], untouched)
            if not changed <= tolerance(self.inside):
                raise GraphError(
                    f"{name}: with a mask of ones its output differs from the untouched network's "
                    f"by {changed:.1e} of the largest value; the network depends on how it is "
                    "executed"
                )
            if max(relative_difference(row, untouched) for row in rows[1:]) > NO_EFFECT:
                return _Proof(image, masks, rows, changed)
        tensors = ", ".join(f"'{tap.tensor}'" for tap in self.taps)
        raise GraphError(
            f"{name}: output '{self.inside.output}' does not change when {tensors} is disturbed; "
            "name another tensor with --at, or disturb the input"
        )

    def _check_width(self, tap: Tap, factor: NDArray[np.float32]) -> None:
        widths = (tap.channels, 1) if self.pointwise else (tap.channels,)
        if factor.ndim != tap.rank or factor.shape[1] not in widths:
            raise GraphError(
                f"{self.inside.path.name}: a mask of shape {factor.shape} for the {tap.name} "
                f"'{tap.tensor}', which has {tap.channels} channels and {tap.rank} axes; expected "
                f"(K, {tap.channels}, {', '.join(['1'] * (tap.rank - 2))})"
            )


def probe_images(inside: Inside) -> list[NDArray[np.float32]]:
    """Images to prove a network on: the probe, and others for networks that are silent on it.

    A network may see nothing in an image whose intensities are not what it was trained on.
    """
    noise = np.random.default_rng(1).standard_normal(inside.image.shape).astype(np.float32)
    return [inside.image, 10 * inside.image, -3 * inside.image, 3 * noise]


def _row_bytes(inside: Inside) -> float:
    """Bytes of feature maps that a row holds at once, at the probe: about four of the largest."""
    joined = {name for n in inside.model.graph.node if n.op_type == "Concat" for name in n.output}
    sizes = [
        prod(value.shape) * np.dtype(value.dtype).itemsize
        for name, value in inside.probe.values.items()
        if value.floating and name not in joined
    ]
    return 4.0 * max(sizes, default=0)


def tolerance(inside: Inside) -> float:
    """Largest difference, relative to the largest output, that its precision excuses."""
    return TOLERANCE if _single(inside) else COARSE


def _single(inside: Inside) -> bool:
    """Whether it computes in single precision throughout, or in double."""
    rounded = ("QuantizeLinear", "Integer", "QLinear")
    halves = any(value.dtype == "float16" for value in inside.probe.values.values())
    return not halves and not any(
        word in node.op_type for node in inside.model.graph.node for word in rounded
    )


def relative_difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest difference, relative to the largest value expected; NaN counts as infinite."""
    if found.shape != expected.shape:
        return float("inf")
    scale = max(float(np.abs(expected).max(initial=0)), 1e-12)
    worst = float(np.abs(found.astype(np.float64) - expected).max(initial=0)) / scale
    return worst if np.isfinite(worst) else float("inf")
