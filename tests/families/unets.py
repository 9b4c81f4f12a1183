"""U-Nets of many kinds, in torch."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVS = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLS = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BATCH = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}
MODES = {("bilinear", 2): "bilinear", ("bilinear", 3): "trilinear"}


@dataclass(frozen=True)
class Plan:
    """What a `UNet` is made of; the bottleneck is the last of `features`."""

    dims: int = 2
    features: tuple[int, ...] = (8, 16, 32, 64)
    classes: int = 1
    block: str = (
        "double"  # "double": conv-norm-activation twice; "bcr": pytorch-3dunet's; "residual"
    )
    norm: str = "none"  # "none", "batch", "instance", "group"
    act: str = "relu"
    down: str = "max"  # "max", "stride"
    up: str = "transposed"  # "transposed", "nearest", "bilinear", "shuffle", "match"
    join: str = "concat"  # "concat", "add"
    squeeze: bool = False
    final: str = "sigmoid"  # "sigmoid", "softmax", "none"
    extra: str = "none"  # second output: "auxiliary", "bottleneck"
    one: bool = False  # reshapes to batch 1 in the decoder


def normalise(plan: Plan, channels: int) -> nn.Module:
    if plan.norm == "batch":
        return BATCH[plan.dims](channels)
    if plan.norm == "instance":
        return INSTANCE[plan.dims](channels, affine=True)
    if plan.norm == "group":
        return nn.GroupNorm(4, channels)
    return nn.Identity()


def double(plan: Plan, old: int, new: int) -> nn.Sequential:
    """Two convolutions, each conv-norm-activation, or norm-conv-activation for "bcr"."""
    parts: list[nn.Module] = []
    for number in (old, new):
        bare = plan.norm != "none"
        conv = CONVS[plan.dims](number, new, 3, padding=1, bias=not bare)
        if plan.block == "bcr":
            parts += [normalise(plan, number), conv]
        else:
            parts += [conv, normalise(plan, new)]
        parts.append(ACTIVATIONS[plan.act]())
    return nn.Sequential(*parts)


class Residual(nn.Module):
    """conv-norm-act, then act(x + conv-norm-act-conv-norm(x)): the block of EM's 3-D U-Nets."""

    def __init__(self, plan: Plan, old: int, new: int):
        super().__init__()
        conv = CONVS[plan.dims]
        self.act = ACTIVATIONS[plan.act]()
        self.first = nn.Sequential(
            conv(old, new, 3, padding=1), normalise(plan, new), ACTIVATIONS[plan.act]()
        )
        self.rest = nn.Sequential(
            conv(new, new, 3, padding=1),
            normalise(plan, new),
            ACTIVATIONS[plan.act](),
            conv(new, new, 3, padding=1),
            normalise(plan, new),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.act(x + self.rest(x))


class Squeeze(nn.Module):
    """Squeeze and excitation: channels weighed by a gate of their own global means."""

    def __init__(self, channels: int):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // 4, 1),
            nn.ReLU(),
            nn.Conv2d(channels // 4, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


def block(plan: Plan, old: int, new: int) -> nn.Module:
    return Residual(plan, old, new) if plan.block == "residual" else double(plan, old, new)


class Up(nn.Module):
    """Twice the size, or the size of `skip`; `new` channels."""

    def __init__(self, plan: Plan, old: int, new: int):
        super().__init__()
        self.plan = plan
        if plan.up == "transposed":
            self.change: nn.Module = TRANSPOSED[plan.dims](old, new, 2, stride=2)
        elif plan.up == "shuffle":
            self.change = nn.Sequential(nn.Conv2d(old, 4 * new, 1), nn.PixelShuffle(2))
        else:
            self.change = CONVS[plan.dims](old, new, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        if self.plan.up == "match":
            x = functional.interpolate(x, size=skip.shape[2:])
        elif self.plan.up == "nearest":
            x = functional.interpolate(x, scale_factor=2)
        elif self.plan.up == "bilinear":
            mode = MODES["bilinear", self.plan.dims]
            x = functional.interpolate(x, scale_factor=2, mode=mode, align_corners=False)
        return self.change(x)


class UNet(nn.Module):
    """A U-Net as `plan` says; stride ``2 ** (len(features) - 1)``."""

    last = "score"

    def __init__(self, plan: Plan):
        super().__init__()
        self.plan = plan
        sizes = plan.features
        pairs = list(zip((1, *sizes[:-1]), sizes, strict=True))
        self.encoders = nn.ModuleList(block(plan, old, new) for old, new in pairs)
        self.squeezes = nn.ModuleList(
            Squeeze(new) if plan.squeeze else nn.Identity() for new in sizes
        )
        self.downs = nn.ModuleList(
            POOLS[plan.dims](2)
            if plan.down == "max"
            else CONVS[plan.dims](new, new, 3, stride=2, padding=1)
            for new in sizes[:-1]
        )
        backwards = list(zip(sizes[:0:-1], sizes[-2::-1], strict=True))
        self.ups = nn.ModuleList(Up(plan, old, new) for old, new in backwards)
        wide = 2 if plan.join == "concat" else 1
        self.decoders = nn.ModuleList(block(plan, wide * new, new) for _, new in backwards)
        self.score = CONVS[plan.dims](sizes[0], plan.classes, 1)
        if plan.extra == "auxiliary":
            self.auxiliary = CONVS[plan.dims](sizes[1], plan.classes, 1)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for level, encoder in enumerate(self.encoders):
            x = self.squeezes[level](encoder(x))
            if level < len(self.downs):
                skips.append(x)
                x = self.downs[level](x)
        return x, skips

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x, skips = self.encode(x)
        bottleneck, coarse = x, x
        if self.plan.one:
            channels, height, width = x.shape[1:]
            x = x.view(1, channels, -1).flip(2).view(1, channels, height, width)
        for up, decoder, skip in zip(self.ups, self.decoders, skips[::-1], strict=True):
            coarse = x
            x = up(x, skip)
            x = decoder(torch.cat([skip, x], 1) if self.plan.join == "concat" else skip + x)
        logits = self.score(x)
        if self.plan.extra == "auxiliary":
            return logits, self.auxiliary(coarse)
        if self.plan.extra == "bottleneck":
            return logits, bottleneck
        if self.plan.final == "sigmoid":
            return torch.sigmoid(logits)
        return torch.softmax(logits, 1) if self.plan.final == "softmax" else logits
