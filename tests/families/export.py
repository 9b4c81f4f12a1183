"""From a torch module to an ONNX file with lively, seeded weights."""

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

AXES = {3: "bcx", 4: "bcyx", 5: "bczyx"}


def liven(module: nn.Module, gain: float = 1.5) -> nn.Module:
    """Give every layer weights that keep the signal's variance, and norms random statistics.

    Draws from torch's global generator, which the caller seeds.
    """
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.modules.conv._ConvNd):
                fan = math.prod(part.kernel_size) * part.in_channels / part.groups
                if part.transposed:
                    fan /= math.prod(part.stride)
                part.weight.normal_(0, gain / math.sqrt(fan))
                if part.bias is not None:
                    part.bias.normal_(0, 0.1)
            elif isinstance(part, nn.Linear):
                part.weight.normal_(0, gain / math.sqrt(part.in_features))
                if part.bias is not None:
                    part.bias.normal_(0, 0.1)
            elif getattr(part, "weight", None) is not None and "Norm" in type(part).__name__:
                part.weight.uniform_(0.5, 1.5)
                part.bias.normal_(0, 0.1)
            if getattr(part, "running_mean", None) is not None:
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 1.5)
    return module


def level(module: nn.Module, probe: Sequence[int], spread: float = 1.5) -> None:
    """Scale the layer named by `module.last` until the deviation of what it gives is `spread`.

    Without that, the sigmoid after it would be 0 or 1 nearly everywhere and hide every change.
    """
    seen = []
    last = module.get_submodule(module.last)
    hook = last.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        module(torch.randn(tuple(probe)))
        last.weight *= spread / seen[0].std()
    hook.remove()


def seeded(
    make: Callable[[], nn.Module], probe: Sequence[int], seed: int = 0, gain: float = 1.5
) -> nn.Module:
    """A module in evaluation mode whose weights depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = liven(make(), gain).eval()
        if hasattr(module, "last"):
            level(module, probe)
        return module


def export(
    make: Callable[[], nn.Module],
    folder: Path,
    probe: Sequence[int],
    *,
    seed: int = 0,
    gain: float = 1.5,
    opset: int = 17,
    outputs: Sequence[str] = ("output",),
    dynamic: str = "",
    dynamo: bool = False,
    kept: bool = False,
    half: bool = False,
    multiple: int = 8,
) -> Path:
    """Write `make()` as ``folder / "model.onnx"``.

    `dynamic` names the axes that may change, among those of ``"bcyx"`` or ``"bczyx"``; with
    `dynamo` its sides are multiples of `multiple`. With `kept`, batch normalisations stay nodes.
    """
    module = seeded(make, probe, seed, gain)
    sample = torch.zeros(tuple(probe))
    if half:
        module, sample = module.half(), sample.half()
    path = folder / "model.onnx"
    axes = AXES[len(probe)]
    options: dict[str, object] = {}
    if dynamo:
        names = {axis: torch.export.Dim(f"{axis}s", min=1, max=4096) for axis in dynamic}
        sizes = {
            axes.index(axis): name if axis == "b" else multiple * name
            for axis, name in names.items()
        }
        options["dynamic_shapes"] = (sizes,)
    else:
        free = {axes.index(axis): axis for axis in dynamic}
        options["dynamic_axes"] = {"input": free} | {
            name: {axis: f"{name}_{free[axis]}" for axis in free} for name in outputs
        }
        if kept:
            options |= {
                "training": torch.onnx.TrainingMode.PRESERVE,
                "do_constant_folding": False,
            }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing and deprecation notes, of no concern here
        torch.onnx.export(
            module,
            (sample,),
            str(path),
            input_names=["input"],
            output_names=list(outputs),
            opset_version=opset,
            dynamo=dynamo,
            **({"verbose": False, "external_data": False} if dynamo else {}),
            **options,
        )
    return path
