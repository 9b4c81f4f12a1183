"""How values flow through a graph: who makes them, who uses them, what depends on what.

Subgraphs (of ``If``, ``Loop``, ``Scan``) may read values of the graph around them without listing
them as inputs; these implicit uses are uses here.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from onnx_cte.errors import GraphError

SHAPE_READERS = frozenset({"Shape", "Size"})
"""Operators that read how large a value is, and nothing of what it holds."""


class Flow:
    """The main graph of a model as data flow.

    Parameters
    ----------
    model : onnx.ModelProto
        Nodes in topological order, as the format demands.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
    producer : mapping of str to int
        Index of the node that makes a value; graph inputs and initialisers have none.
    users : mapping of str to list of int
        Indices of the nodes that use a value, each once, in order.
    """

    def __init__(self, model: Any) -> None:
        self.nodes: list[Any] = list(model.graph.node)
        self.producer: dict[str, int] = {}
        self.users: dict[str, list[int]] = {}
        self._reads: list[tuple[str, ...]] = []
        for index, node in enumerate(self.nodes):
            reads = tuple(dict.fromkeys(read_by(node)))
            self._reads.append(reads)
            for name in reads:
                self.users.setdefault(name, []).append(index)
            for name in node.output:
                if name:
                    self.producer[name] = index

    def reads(self, index: int) -> tuple[str, ...]:
        """Names a node uses, those of its subgraphs included."""
        return self._reads[index]

    def downstream(self, values: Iterable[str], *, contents: bool = False) -> set[int]:
        """Nodes that depend on any of the values.

        Parameters
        ----------
        values : iterable of str
        contents : bool
            Only by what the values hold: not those that merely ask for their shape.
        """
        known = set(values)
        found = set()
        for index, node in enumerate(self.nodes):
            if contents and node.op_type in SHAPE_READERS:
                continue
            if not known.isdisjoint(self._reads[index]):
                found.add(index)
                known.update(name for name in node.output if name)
        return found

    def upstream(self, values: Iterable[str], *, contents: bool = False) -> set[int]:
        """Nodes that any of the values is computed from; `contents` as in `downstream`."""
        wanted = set(values)
        found = set()
        for index in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[index]
            if contents and node.op_type in SHAPE_READERS:
                continue
            if not wanted.isdisjoint(node.output):
                found.add(index)
                wanted.update(self._reads[index])
        return found

    def outputs_of(self, indices: Iterable[int]) -> set[str]:
        """All values that these nodes make."""
        return {name for index in indices for name in self.nodes[index].output if name}


class Gates:
    """Nodes that every path has to pass: dominators of a data flow from one value to another.

    Only paths that carry contents count. A node *gates* another if no path from the source reaches
    the latter around the former; it *gathers* another if no path from the latter reaches the
    target around it.

    Parameters
    ----------
    flow : Flow
    source, target : str
    """

    def __init__(self, flow: Flow, source: str, target: str) -> None:
        between = flow.downstream([source], contents=True) & flow.upstream([target], contents=True)
        self.between = sorted(between)
        before: dict[int, list[int]] = {i: [] for i in self.between}
        after: dict[int, list[int]] = {i: [] for i in self.between}
        entry, leaving = set(), set()
        for i in self.between:
            for name in flow.reads(i):
                maker = flow.producer.get(name)
                if maker in between:
                    before[i].append(maker)
                    after[maker].append(i)
                elif name == source:
                    entry.add(i)
            if target in flow.nodes[i].output:
                leaving.add(i)
        self._gate = _dominators(self.between, before, entry)
        self._gather = _dominators(self.between[::-1], after, leaving)
        self.depth: dict[int, int] = {}
        for i in self.between:
            self.depth[i] = 1 + max((self.depth[j] for j in before[i]), default=0)

    def gates(self, index: int) -> list[int]:
        """Nodes all paths from the source to a node pass, nearest first, itself included."""
        return _chain(self._gate, index)

    def gathers(self, index: int) -> list[int]:
        """Nodes all paths from a node to the target pass, nearest first, itself included."""
        return _chain(self._gather, index)


def _dominators(
    order: Sequence[int], before: dict[int, list[int]], entry: set[int]
) -> dict[int, int | None]:
    """Immediate dominator of each node, None where only the start itself dominates.

    In topological order one pass is enough: the nearest common dominator of all predecessors
    (Cooper, Harvey and Kennedy 2001, "A Simple, Fast Dominance Algorithm", without iterating).
    """
    place = {index: position for position, index in enumerate(order)}
    immediate: dict[int, int | None] = {}
    for index in order:
        found: int | None = None
        for number, other in enumerate(before[index]):
            found = other if not number else _common(found, other, immediate, place)
        immediate[index] = None if index in entry else found
    return immediate


def _common(
    a: int | None, b: int | None, immediate: dict[int, int | None], place: dict[int, int]
) -> int | None:
    while a != b and a is not None and b is not None:
        if place[a] > place[b]:
            a = immediate[a]
        else:
            b = immediate[b]
    return a if a == b else None


def _chain(immediate: dict[int, int | None], index: int) -> list[int]:
    found = []
    step: int | None = index
    while step is not None:
        found.append(step)
        step = immediate[step]
    return found


def read_by(node: Any) -> list[str]:
    """Names a node uses, implicit uses in its subgraphs included."""
    names = [name for name in node.input if name]
    for graph in subgraphs(node):
        names += implicit(graph)
    return names


def subgraphs(node: Any) -> list[Any]:
    """Graphs among a node's attributes: the branches of an ``If``, the body of a ``Loop``."""
    found = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            found.append(attribute.g)
        found.extend(attribute.graphs)
    return found


def implicit(graph: Any) -> list[str]:
    """Names a subgraph reads from around it."""
    own = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    names = []
    for node in graph.node:
        names += [name for name in read_by(node) if name not in own]
        own.update(node.output)
    return names + [value.name for value in graph.output if value.name not in own]


def require_value(flow: Flow, model: Any, name: str) -> None:
    """Refuse a name that no node makes; the error tells the nearest names there are.

    Raises
    ------
    GraphError
    """
    if name in flow.producer:
        return
    near = difflib.get_close_matches(name, flow.producer, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ";"
    raise GraphError(
        f"graph '{model.graph.name}' has no node that makes '{name}'{hint} "
        "`onnx-cte inspect MODEL` lists the tensors one can disturb"
    )
