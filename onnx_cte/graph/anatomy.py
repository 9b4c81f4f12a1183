"""Find a network's bottleneck, its skip connections and its taps.

The *bottleneck* is the last activated feature map of the deepest scale before the first
up-sampling: the encoder ends with it, and all its paths to the output belong to the decoder. Found
by data flow alone, whatever the framework: names, layers and modules play no part.
"""

from dataclasses import dataclass
from typing import Any

from onnx_cte.errors import GraphError
from onnx_cte.graph.constants import Constants
from onnx_cte.graph.flow import SHAPE_READERS, Flow, Gates, require_value
from onnx_cte.graph.landmarks import CONTROL_FLOW, MOVES, activated, is_active, up_samplings
from onnx_cte.graph.macs import WEIGHTED, multiply_accumulates
from onnx_cte.graph.maps import FeatureMap, Probe, Tap

# Where one map of the deepest scale leads to another and both are up-sampled, the later one is the
# bottleneck only if a good part of the encoder's work lies between them, as in UNETR, whose skips
# leave the transformer at one scale. A head of a layer or two is decoder, as in a feature pyramid.
_SUBSTANTIAL = 0.05


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What was found.

    Attributes
    ----------
    output : str
        The graph output that is judged.
    bottleneck : Tap or None
    reason : str
        Why there is no bottleneck; empty if there is one.
    taps : tuple of Tap
        Encoder from shallow to deep, bottleneck, decoder from deep to shallow.
    skips : tuple of Tap
        Maps that cross from encoder to decoder, from shallow to deep.
    candidates : tuple of Tap
        Where there is no bottleneck: maps that all paths pass, which could be named as one.
    encoder_macs, decoder_macs : int
        Multiply-accumulates at the probe's size; the decoder is all that depends on the
        bottleneck. Without a bottleneck all are the encoder's.
    probe : tuple of int
        Shape of the image at which the network was looked at.
    """

    output: str
    bottleneck: Tap | None
    reason: str
    taps: tuple[Tap, ...]
    skips: tuple[Tap, ...]
    candidates: tuple[Tap, ...]
    encoder_macs: int
    decoder_macs: int
    probe: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole network, at the probe's size."""
        return self.encoder_macs + self.decoder_macs


def anatomy(model: Any, probe: Probe, output: str, at: str | None = None) -> Anatomy:
    """Find bottleneck, skip connections and taps.

    Parameters
    ----------
    model : onnx.ModelProto
        With or without its external data.
    probe : Probe
        What its values were at one concrete size.
    output : str
        The graph output that is judged.
    at : str or None
        Tensor to take for the bottleneck, for networks that have none to be found.

    Returns
    -------
    Anatomy

    Raises
    ------
    GraphError
        If `at` is no tensor of the graph, no feature map, or has no influence on the output.
    """
    return _Search(model, probe, output).run(at)


class _Search:
    def __init__(self, model: Any, probe: Probe, output: str) -> None:
        self.model, self.probe, self.output = model, probe, output
        self.flow = Flow(model)
        self.gates = Gates(self.flow, probe.source, output)
        self.constants = Constants(model)
        self.whole = self.flow.upstream([output])

    def run(self, at: str | None) -> Anatomy:
        if at is not None:
            tensor, reason = at, ""
            self._check_named(at)
        else:
            tensor, reason = self._bottleneck()
        if not reason and (crossing := self._control_flow(tensor)):
            if at is not None:
                raise GraphError(f"'{at}' cannot be disturbed: {crossing}")
            tensor, reason = "", crossing
        if reason:
            candidates = self._candidates()
            macs = self._macs(self.whole)
            empty: tuple[Tap, ...] = ()
            return Anatomy(
                self.output, None, reason, empty, empty, candidates, macs, 0, self.probe.shape
            )
        bottleneck = self._tap("bottleneck", tensor)
        dependent = self.flow.downstream([tensor])
        decoder = dependent & self.whole
        return Anatomy(
            output=self.output,
            bottleneck=bottleneck,
            reason="",
            taps=(*self._encoder(tensor), bottleneck, *self._decoder(tensor)),
            skips=self._skips(tensor, decoder),
            candidates=(),
            encoder_macs=self._macs(self.whole - decoder),
            decoder_macs=self._macs(decoder),
            probe=self.probe.shape,
        )

    def _bottleneck(self) -> tuple[str, str]:
        """The tensor, or why there is none."""
        ups = up_samplings(self.flow, self.gates.between, self.probe)
        made = [up for up in ups if up.deep in self.flow.producer]
        if not made and any(node.op_type.startswith("QLinear") for node in self.flow.nodes):
            return "", (
                "its maps are 8-bit integers throughout (QLinear operators), which cannot be "
                "scaled, so that no bottleneck can be disturbed; quantise it in the QDQ format"
            )
        if not made:
            return "", (
                "it works at a single scale: nothing is up-sampled, so there is no bottleneck"
            )
        fewest = min(up.positions for up in made)
        depth = {
            up.deep: self.gates.depth[self.flow.producer[up.deep]]
            for up in made
            if up.positions == fewest
        }
        ordered = sorted(depth, key=lambda name: depth[name])
        above = self.flow.upstream(ordered, contents=True)
        again = [up for up in ups if up.node in above]
        if again:
            found = self.flow.nodes[again[0].node]
            return "", (
                f"its deepest maps are computed from up-sampled ones ('{found.output[0]}'): scales "
                "run side by side, as in HRNet, so no single map, no bottleneck, stands between an "
                "encoder and a decoder"
            )
        deep = ordered.pop()
        while ordered:
            earlier = ordered.pop()
            before, now = self.flow.upstream([earlier]), self.flow.upstream([deep])
            enough = _SUBSTANTIAL * self._macs(now)
            if self._leads(earlier, now) and self._macs(now - before) >= enough:
                break
            deep = earlier
        return activated(deep, self.flow, self.probe, self.constants), ""

    def _leads(self, name: str, nodes: set[int]) -> bool:
        """Whether nodes compute with a map, or with the tokens that it merely arranges."""
        index = self.flow.producer.get(name)
        while index not in nodes:
            if index is None or self.flow.nodes[index].op_type not in MOVES:
                return False
            index = self.flow.producer.get(self.flow.nodes[index].input[0])
        return True

    def _check_named(self, name: str) -> None:
        require_value(self.flow, self.model, name)
        if self.probe.feature_map(name) is None:
            seen = self.probe.values.get(name)
            raise GraphError(
                f"tensor '{name}' is no feature map of the image: it is "
                f"{f'{seen.dtype} {seen.shape}' if seen else 'no tensor'} for an image of "
                f"{self.probe.shape}; name a floating-point map with its channels first or last"
            )
        # Not by its maker: a node may have other outputs that lead to the output.
        below = self.flow.downstream([name], contents=True)
        if self.flow.producer[name] not in self.gates.between or below.isdisjoint(
            self.gates.between
        ):
            raise GraphError(
                f"output '{self.output}' does not depend on tensor '{name}': disturbing it would "
                "change nothing; name a map between the image and the output"
            )

    def _control_flow(self, tensor: str) -> str:
        """Say which control flow depends on the bottleneck, if any does."""
        for index in sorted(self.flow.downstream([tensor]) & self.whole):
            node = self.flow.nodes[index]
            if node.op_type in CONTROL_FLOW:
                return (
                    f"control flow across the cut: {node.op_type} '{node.name or node.output[0]}' "
                    f"depends on the bottleneck '{tensor}'; export the network without it, with "
                    "fixed conditions"
                )
        return ""

    def _tap(self, name: str, tensor: str, into: tuple[str, ...] = (), kind: str = "") -> Tap:
        found = self.probe.feature_map(tensor)
        assert found is not None  # only maps are ever asked for
        value = self.probe.values[tensor]
        return Tap(
            name, tensor, found.channels, found.axis, len(value.shape), found.stride, value.dtype,
            into, kind,
        )  # fmt: skip

    def _encoder(self, bottleneck: str) -> list[Tap]:
        """The last activated map of each scale that all paths to the bottleneck pass."""
        chain = self.gates.gates(self.flow.producer[bottleneck])[1:]
        return self._by_scale("encoder", chain, bottleneck)[::-1]

    def _decoder(self, bottleneck: str) -> list[Tap]:
        """The last activated map of each scale that all paths from the bottleneck pass."""
        chain = self.gates.gathers(self.flow.producer[bottleneck])[1:]
        return self._by_scale("decoder", chain[::-1], bottleneck)[::-1]

    def _by_scale(self, part: str, chain: list[int], bottleneck: str) -> list[Tap]:
        """One tap a scale out of a chain of nodes, the last of the network's order first."""
        deepest = self.probe.feature_map(bottleneck)
        assert deepest is not None
        best: dict[tuple[int, ...], tuple[bool, str]] = {}
        for index in chain:
            name = self.flow.nodes[index].output[0]
            found = self.probe.feature_map(name)
            if found is None or found.positions <= deepest.positions:
                continue
            # The image, scaled or clipped, is no feature map; nor is the prediction, however it is
            # turned into probabilities, cast or arranged before it leaves.
            if not self._weighted(self._onward(name) if part == "decoder" else self._before(name)):
                continue
            active = is_active(index, self.flow, self.probe, self.constants)
            if found.stride not in best or (active and not best[found.stride][0]):
                best[found.stride] = active, name
        taken: set[str] = set()
        taps = []
        for stride, (_, name) in best.items():
            taps.append(self._tap(_unique(f"{part}/{max(stride)}", taken), name))
        return taps

    def _onward(self, name: str) -> set[int]:
        return self.flow.downstream([name], contents=True) & self.whole

    def _before(self, name: str) -> set[int]:
        return self.flow.upstream([name], contents=True) & set(self.gates.between)

    def _weighted(self, nodes: set[int]) -> bool:
        """Whether any of the nodes multiplies by weights."""
        return any(self.flow.nodes[index].op_type in WEIGHTED for index in nodes)

    def _skips(self, bottleneck: str, decoder: set[int]) -> tuple[Tap, ...]:
        """Maps that decoder nodes read and that do not depend on the bottleneck."""
        inside = self.flow.outputs_of(self.flow.downstream([bottleneck])) | {bottleneck}
        fed = self.flow.outputs_of(self.flow.downstream([self.probe.source], contents=True))
        fed.add(self.probe.source)
        into: dict[str, list[int]] = {}
        for index in sorted(decoder):
            if self.flow.nodes[index].op_type in SHAPE_READERS:
                continue
            for name in self.flow.reads(index):
                if name in fed and name not in inside and self.probe.feature_map(name):
                    into.setdefault(name, []).append(index)
        found = [(self._layout(name).scale, name, users) for name, users in into.items()]
        taken: set[str] = set()
        taps = []
        for scale, name, users in sorted(found, key=lambda entry: entry[0]):
            outputs = tuple(self.flow.nodes[index].output[0] for index in users)
            kind = _KINDS.get(self.flow.nodes[users[0]].op_type, self.flow.nodes[users[0]].op_type)
            taps.append(self._tap(_unique(f"skip/{scale}", taken), name, outputs, kind))
        return tuple(taps)

    def _layout(self, name: str) -> FeatureMap:
        found = self.probe.feature_map(name)
        assert found is not None
        return found

    def _candidates(self) -> tuple[Tap, ...]:
        """Activated maps that all paths from the image to the output pass, one a scale."""
        if self.output not in self.flow.producer:
            return ()
        # Maps that weights still work on, or, if there are none, any.
        best: dict[bool, dict[tuple[int, ...], str]] = {True: {}, False: {}}
        for index in self.gates.gates(self.flow.producer[self.output])[1:]:
            name = self.flow.nodes[index].output[0]
            found = self.probe.feature_map(name)
            if found and is_active(index, self.flow, self.probe, self.constants):
                best[self._weighted(self._onward(name))].setdefault(found.stride, name)
        chosen = best[True] or best[False]
        return tuple(self._tap(f"stride {max(stride)}", name) for stride, name in chosen.items())

    def _macs(self, nodes: set[int]) -> int:
        def shape_of(name: str) -> tuple[int, ...] | None:
            seen = self.probe.values.get(name)
            return seen.shape if seen else self.constants.shape(name)

        return sum(multiply_accumulates(self.flow.nodes[i], shape_of) for i in nodes)


_KINDS = {"Concat": "concat", "Add": "add", "Sum": "add", "Mul": "gate"}


def _unique(name: str, taken: set[str]) -> str:
    """The name, numbered if it is taken: there may be several skips at a scale."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    taken.add(found)
    return found
