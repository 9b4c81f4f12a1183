"""PyTorch to ONNX: a TorchScript or torch.export file, or the code of a network and its weights.

    python tools/export torch unet.pt unet.onnx --channels 1
    python tools/export torch unet.pt2 unet.onnx --channels 1
    python tools/export torch unet.py:make unet.onnx --weights weights.pth --channels 1

A network without fixed sizes stays so: batch, height and width (and depth) may change.
"""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loading import made
from numpy.typing import NDArray
from parity import Difference, Differs, Run, keep, shapes
from torch import nn

OPSET = 18
_HOLDS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
"""Where training scripts put the weights in a checkpoint that holds more."""


def export(
    network: nn.Module,
    path: Path,
    *,
    channels: int,
    sides: Sequence[int] = (64, 64),
    fixed: bool = False,
    opset: int = OPSET,
    dynamo: bool = False,
) -> dict[tuple[int, ...], Difference]:
    """Write a network as one ONNX file, and prove it.

    Parameters
    ----------
    network : nn.Module
        Put into evaluation mode. Takes (N, C, [D,] H, W) and gives (N, K, [D,] H, W), or a list or
        tuple of which that is the first.
    path : Path
    channels : int
        Of the input.
    sides : sequence of int
        (Depth,) height and width it is traced and proven with; the network has to take them, twice
        and three times as much.
    fixed : bool
        Whether (depth,) height and width stay `sides` for good; the batch may change.
    opset : int
    dynamo : bool
        Use the exporter by torch.export (needs onnxscript) instead of that by tracing. Of the
        two the one that gives a provable file is right. What torch.export wrote needs it.

    Returns
    -------
    dict of shape to Difference
        Differences, as of `parity.differences`; the file is kept only if they are small.

    Raises
    ------
    parity.Differs
        If the file does not give what the network gives.
    """
    dynamo = dynamo or isinstance(network, torch.fx.GraphModule)  # which cannot be traced
    # A script cannot be wrapped for tracing; it is exported as it is.
    network = network if isinstance(network, torch.jit.ScriptModule) else _First(network)
    # What torch.export wrote is in the mode that it was exported in, and cannot be changed.
    with suppress(NotImplementedError):
        network.eval()
    names = ["D", "H", "W"][-len(sides) :]
    free = {0: "N", **({} if fixed else dict(enumerate(names, start=2)))}
    how: dict[str, Any] = {"dynamic_axes": {"image": free, "prediction": free}}
    if dynamo:
        dims = {0: torch.export.Dim.AUTO, **dict.fromkeys(list(free)[1:], torch.export.Dim.AUTO)}
        how = {"dynamic_shapes": ({axis: dims[axis] for axis in free},), "external_data": False}
    partial = path.with_suffix(".partial")
    with warnings.catch_warnings(), torch.no_grad():
        # Notes on tracing and on which exporter is the newer one: the proof below decides.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            # Batch 2: an exporter takes a length of 1 for one that never changes.
            (torch.zeros(2, channels, *sides),),
            str(partial),
            input_names=["image"],
            output_names=["prediction"],
            opset_version=opset,
            dynamo=dynamo,
            **({"verbose": False} if dynamo else {}),
            **how,
        )
    return keep(runner(network), partial, path, shapes(channels, sides, fixed))


def runner(network: nn.Module) -> Run:
    """The network as a function of arrays."""

    def run(image: NDArray[np.float32]) -> NDArray[np.floating]:
        with torch.inference_mode():
            given = network(torch.from_numpy(image))
        if not isinstance(given, torch.Tensor):
            raise Differs(
                f"the script gives {type(given).__name__}, not one map; export the code it was "
                "made of, or a script of the map alone"
            )
        found: NDArray[np.floating] = given.numpy()
        return found

    return run


class _First(nn.Module):
    """The first of the maps of a network that gives several, as for deep supervision."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found = self.network(image)
        if isinstance(found, Mapping):
            found = list(found.values())
        return found[0] if isinstance(found, list | tuple) else found


def load(source: str, weights: Path | None) -> nn.Module:
    """A network as the command line names it.

    Parameters
    ----------
    source : str
        A TorchScript file, what `torch.export.save` wrote (``.pt2``), or ``FILE.py:NAME`` of a
        module or of what makes one.
    weights : Path or None
        A state dict, or a checkpoint that holds one, for the latter.

    Raises
    ------
    SystemExit
        If the file holds weights alone, or the weights do not fit.
    """
    if source.endswith(".pt2"):
        return torch.export.load(source).module()
    if ".py:" not in source:
        try:
            with warnings.catch_warnings():  # TorchScript is deprecated; people have such files.
                warnings.simplefilter("ignore")
                return torch.jit.load(source, map_location="cpu")
        except (RuntimeError, ValueError) as error:
            raise SystemExit(
                f"{source} is no TorchScript file, or not there: perhaps it holds weights alone. "
                f"Name the code of the network too: FILE.py:NAME --weights {source}"
            ) from error
    network = made(source)
    if weights is not None:
        fill(network, torch.load(weights, map_location="cpu", weights_only=True), weights)
    return network


def fill(network: nn.Module, stored: Any, where: Path) -> None:
    """Load a state dict: bare, in a checkpoint, or named as parallel or Lightning training does."""
    held = next((stored[key] for key in _HOLDS if isinstance(stored.get(key), Mapping)), stored)
    wanted = network.state_dict()
    for start in ("", "module.", "model.", "net.", "network."):
        bare = {name.removeprefix(start): value for name, value in held.items()}
        if set(bare) == set(wanted):
            network.load_state_dict(bare)
            return
    missing, left = sorted(set(wanted) - set(held)), sorted(set(held) - set(wanted))
    raise SystemExit(
        f"{where} does not fit the network: {len(missing)} weights are missing, such as "
        f"{missing[:2]}, and {len(left)} unknown, such as {left[:2]}. Is the network made with the "
        "arguments of its training?"
    )
