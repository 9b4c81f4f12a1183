"""Packages of the zoo's formats 0.4 and 0.5, written by hand, with a tiny network in them."""

import copy
import functools
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import ruyaml
from onnx import TensorProto, helper, numpy_helper

FORMAT_05 = """
format_version: 0.5.4
type: model
name: Tiny network
description: a convolution
authors: [{name: Ada Lovelace}]
cite: [{text: nothing yet, doi: 10.1007/978-3-319-24574-4_28}]
license: MIT
documentation: README.md
inputs:
- id: raw
  axes:
  - {type: batch}
  - {type: channel, channel_names: [intensity]}
  - {type: space, id: y, size: {min: 32, step: 8}}
  - {type: space, id: x, size: {min: 32, step: 16}}
  data: {type: float32}
  test_tensor: {source: test_input.npy}
  preprocessing:
  - id: zero_mean_unit_variance
    kwargs: {axes: [channel, y, x], eps: 1.0e-5}
outputs:
- id: probability
  axes:
  - {type: batch}
  - {type: channel, channel_names: [nuclei, boundary]}
  - {type: space, id: y, size: {tensor_id: raw, axis_id: y}, halo: 12}
  - {type: space, id: x, size: {tensor_id: raw, axis_id: x}}
  data: {type: float32}
  test_tensor: {source: test_output.npy}
  postprocessing:
  - id: sigmoid
weights:
  onnx: {source: weights.onnx, opset_version: 17}
"""

FORMAT_04 = """
format_version: 0.4.9
type: model
name: Tiny network
description: a convolution
authors: [{name: Ada Lovelace}]
maintainers: [{name: Ada Lovelace, github_user: ada}]
cite: [{text: nothing yet, doi: 10.1007/978-3-319-24574-4_28}]
license: MIT
documentation: README.md
tags: [nuclei]
timestamp: "2021-09-12T14:04:52.211533Z"
inputs:
- name: raw
  axes: bcyx
  data_type: float32
  shape: {min: [1, 1, 32, 32], step: [0, 0, 16, 16]}
  preprocessing:
  - name: scale_range
    kwargs: {mode: per_sample, axes: yx, min_percentile: 1, max_percentile: 99.8}
outputs:
- name: probability
  axes: bcyx
  data_type: float32
  halo: [0, 0, 8, 8]
  shape: {reference_tensor: raw, scale: [1, 0, 1, 1], offset: [0, 1, 0, 0]}
  postprocessing:
  - name: sigmoid
test_inputs: [test_input.npy]
test_outputs: [test_output.npy]
weights:
  onnx: {source: weights.onnx, opset_version: 17}
"""


def network(path: Path, *, channels: int = 1, maps: int = 2, external: str | None = None) -> None:
    """A 1x1 convolution as an ONNX file, its weights in a second file if that is named."""
    weights = numpy_helper.from_array(np.ones((maps, channels, 1, 1), np.float32), "kernel")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "kernel"], ["maps"])],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, None, None])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, [1, maps, None, None])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(
        model, path, save_as_external_data=external is not None, location=external, size_threshold=0
    )


def package(
    folder: Path, text: str = FORMAT_05, change: Callable[[dict[str, Any]], object] | None = None
) -> Path:
    """Write a package; `change` may alter the description after the hashes were filled in."""
    folder.mkdir(parents=True, exist_ok=True)
    network(folder / "weights.onnx")
    rng = np.random.default_rng(0)
    np.save(folder / "test_input.npy", rng.random((1, 1, 32, 32), np.float32))
    np.save(folder / "test_output.npy", rng.random((1, 2, 32, 32), np.float32))
    content = copy.deepcopy(_parsed(text))
    content["weights"]["onnx"]["sha256"] = sha256(folder / "weights.onnx")
    for tensor in [*content["inputs"], *content["outputs"]]:
        if "test_tensor" in tensor:
            file = folder / tensor["test_tensor"]["source"]
            tensor["test_tensor"]["sha256"] = sha256(file)
    if change is not None:
        change(content)
    (folder / "bioimageio.yaml").write_text(json.dumps(content))  # JSON is YAML, and fast
    return folder


@functools.cache
def _parsed(text: str) -> dict[str, Any]:
    return ruyaml.YAML(typ="safe").load(text)


def zipped(folder: Path, archive: Path, inside: str = "") -> Path:
    """Put a package into a zip file, in a folder of its own if that is named."""
    with zipfile.ZipFile(archive, "w") as members:
        for file in sorted(folder.iterdir()):
            members.write(file, f"{inside}{file.name}")
    return archive


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
