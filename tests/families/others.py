"""Torch networks that are no U-Nets, and some that must be refused."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def layer(old: int, new: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU."""
    conv = nn.Conv2d(old, new, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(new), nn.ReLU())


class FCN(nn.Module):
    """Strided convolutions, 1x1 scores of two classes, one transposed convolution by 8."""

    last = "up"

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            layer(1, 16, 2), layer(16, 32, 2), layer(32, 64, 2), layer(64, 64)
        )
        self.score = nn.Conv2d(64, 2, 1)
        self.up = nn.ConvTranspose2d(2, 2, 16, stride=8, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.up(self.score(self.encoder(x))), 1)


class Autoencoder(nn.Module):
    """A code of 12 channels at stride 4, with no activation between its convolution and Resize."""

    last = "score"

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            layer(1, 16),
            nn.MaxPool2d(2),
            layer(16, 32),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 12, 3, 1, 1),
        )
        self.decoder = nn.Sequential(
            nn.Upsample(scale_factor=2), layer(12, 16), nn.Upsample(scale_factor=2), layer(16, 16)
        )
        self.score = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.score(self.decoder(self.encoder(x))))


class DeepLab(nn.Module):
    """Dilated branches and an image-pooling branch at stride 8, one skip connection at stride 2."""

    last = "score"

    def __init__(self) -> None:
        super().__init__()
        self.shallow = layer(1, 16, 2)
        self.deep = nn.Sequential(layer(16, 32, 2), layer(32, 64, 2))
        self.branches = nn.ModuleList(layer(64, 16, dilation=rate) for rate in (1, 2, 4))
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(64, 16, 1), nn.ReLU())
        self.project = nn.Sequential(
            nn.Conv2d(64, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU()
        )
        self.narrow = nn.Conv2d(16, 8, 1)
        self.decoder = layer(32, 16)
        self.score = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.shallow(x)
        deep = self.deep(shallow)
        pooled = functional.interpolate(self.pooled(deep), size=deep.shape[2:], mode="bilinear")
        y = self.project(torch.cat([branch(deep) for branch in self.branches] + [pooled], 1))
        y = functional.interpolate(y, size=shallow.shape[2:], mode="bilinear")
        y = self.score(self.decoder(torch.cat([self.narrow(shallow), y], 1)))
        return torch.sigmoid(functional.interpolate(y, size=x.shape[2:], mode="bilinear"))


class SingleScale(nn.Module):
    """Five convolutions at full size: nothing is ever made smaller."""

    last = "score"

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(layer(1, 12), *(layer(12, 12) for _ in range(4)))
        self.score = nn.Conv2d(12, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.score(self.body(x)))


class Exchange(nn.Module):
    """Every scale becomes the sum of all scales, sent up or down."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.paths = nn.ModuleList()
        for here, new in enumerate(sizes):
            row = nn.ModuleList()
            for there, old in enumerate(sizes):
                if there < here:
                    steps = [layer(old, old, 2) for _ in range(here - there - 1)]
                    row.append(nn.Sequential(*steps, nn.Conv2d(old, new, 3, 2, 1)))
                elif there == here:
                    row.append(nn.Identity())
                else:
                    up = nn.Upsample(scale_factor=2 ** (there - here))
                    row.append(nn.Sequential(nn.Conv2d(old, new, 1), up))
            self.paths.append(row)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [
            torch.relu(sum(path(x) for path, x in zip(row, maps, strict=True)))
            for row in self.paths
        ]


class HRNet(nn.Module):
    """Three scales side by side, fused up and down three times: no map carries it all."""

    last = "score"

    def __init__(self, sizes: tuple[int, ...] = (8, 16, 32)) -> None:
        super().__init__()
        self.stem = layer(1, sizes[0], 2)
        self.starts = nn.ModuleList(layer(old, new, 2) for old, new in pairwise(sizes))
        self.stages = nn.ModuleList(
            nn.ModuleList(layer(size, size) for size in sizes) for _ in range(3)
        )
        self.fusions = nn.ModuleList(Exchange(sizes) for _ in range(3))
        self.score = nn.Conv2d(sum(sizes), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.stem(x)]
        for start in self.starts:
            maps.append(start(maps[-1]))
        for stage, fusion in zip(self.stages, self.fusions, strict=True):
            maps = fusion([one(y) for one, y in zip(stage, maps, strict=True)])
        full = [functional.interpolate(y, scale_factor=2**k) for k, y in enumerate(maps)]
        y = self.score(torch.cat(full, 1))
        return torch.sigmoid(functional.interpolate(y, scale_factor=2, mode="bilinear"))
