"""Names of input and output, whatever the exporter calls them."""

from collections.abc import Mapping
from pathlib import Path

import onnx


def name_ports(path: Path, free: Mapping[int, str]) -> None:
    """Call the input "image" and the output "prediction", and let their sizes change.

    Parameters
    ----------
    path : Path
        Of an ONNX file with one input and one output; written anew.
    free : mapping of int to str
        Dimensions of both whose lengths may change, and what to call these. The shapes in between
        are dropped: they may be of the size that was traced. Whether the graph does take other
        sizes is for `parity` to prove.
    """
    model = onnx.load(path)
    graph = model.graph
    names = {graph.input[0].name: "image", graph.output[0].name: "prediction"}
    for node in graph.node:
        for ports in (node.input, node.output):
            ports[:] = [names.get(port, port) for port in ports]
    for port in (graph.input[0], graph.output[0]):
        port.name = names[port.name]
        for place, letter in free.items():
            port.type.tensor_type.shape.dim[place].dim_param = letter
    del graph.value_info[:]
    onnx.save(model, path)
