"""A small 2-D U-Net with channel dropout at its bottleneck, and its common variants."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

UPSAMPLING = ("nearest", "bilinear", "transposed")


class UNet(nn.Module):
    """Encoder and decoder joined by skips; one level per entry of `features`.

    Each level holds two 3x3 convolutions, each without bias and followed by batch normalisation
    and ReLU; levels are joined by 2x2 max-pooling on the way down and by nearest up-sampling and
    concatenation on the way up. The lowest level, the bottleneck, ends in `Dropout2d`, so that the
    decoder learns to do without whole channels. Variants: levels with a shortcut around their
    convolutions, and bilinear or learned up-sampling.

    Parameters
    ----------
    channels : int
        Channels of the input.
    features : sequence of int
        Channels of each level, the full resolution first; two levels or more.
    dropout : float
        Rate of the channel dropout at the bottleneck, in [0, 1).
    outputs : int
        Channels of the output.
    residual : bool
        Add the input of each level, through a 1x1 convolution, to the output of its two.
    upsample : {"nearest", "bilinear", "transposed"}
        How a level is brought to the size of the one above.

    Raises
    ------
    ValueError
        If there are fewer than two levels, or a number is out of range.
    """

    def __init__(
        self,
        channels: int,
        features: Sequence[int],
        dropout: float,
        outputs: int = 1,
        *,
        residual: bool = False,
        upsample: str = "nearest",
    ) -> None:
        super().__init__()
        if len(features) < 2 or min(features) < 1:
            raise ValueError(
                f"features: found {list(features)}, expected two or more positive numbers of "
                "channels, the full resolution first, such as 16 32 64 96"
            )
        if min(channels, outputs) < 1 or not 0 <= dropout < 1:
            raise ValueError(
                f"found channels={channels}, outputs={outputs} and dropout={dropout}, expected "
                "channels >= 1, outputs >= 1 and 0 <= dropout < 1"
            )
        if upsample not in UPSAMPLING:
            raise ValueError(f"upsample: found '{upsample}', expected {', '.join(UPSAMPLING)}")
        self.multiple = 2 ** (len(features) - 1)
        self.upsample = upsample
        level = _Residual if residual else _double_conv
        widths = [channels, *features]
        self.down = nn.ModuleList(
            level(above, here) for above, here in zip(widths, features, strict=False)
        )
        self.drop = nn.Dropout2d(dropout)
        self.up = nn.ModuleList(
            level(below + here, here)
            for below, here in zip(features[:0:-1], features[-2::-1], strict=True)
        )
        if upsample == "transposed":
            self.widen = nn.ModuleList(
                nn.ConvTranspose2d(below, below, 2, stride=2) for below in features[:0:-1]
            )
        self.head = nn.Conv2d(features[0], outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of each output channel: the foreground first.

        Parameters
        ----------
        image : Tensor of float32, shape (N, C, H, W)
            H and W are multiples of `self.multiple`.

        Returns
        -------
        Tensor of float32, shape (N, outputs, H, W)
        """
        skips = []
        value = image
        for level in self.down[:-1]:
            value = level(value)
            skips.append(value)
            value = nn.functional.max_pool2d(value, 2)
        value = self.drop(self.down[-1](value))
        for place, (level, skip) in enumerate(zip(self.up, reversed(skips), strict=True)):
            value = level(torch.cat([self._wider(value, place), skip], dim=1))
        return self.head(value)

    def _wider(self, value: Tensor, place: int) -> Tensor:
        """A map at twice its size."""
        if self.upsample == "transposed":
            return self.widen[place](value)
        if self.upsample == "bilinear":
            return nn.functional.interpolate(
                value, scale_factor=2.0, mode="bilinear", align_corners=False
            )
        return nn.functional.interpolate(value, scale_factor=2.0, mode="nearest")


class _Residual(nn.Module):
    """Two convolutions, and their input added through a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolutions = _double_conv(inputs, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, value: Tensor) -> Tensor:
        return self.convolutions(value) + self.shortcut(value)


def _double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Twice: 3x3 convolution, batch normalisation, ReLU."""
    layers: list[nn.Module] = []
    for source in (inputs, outputs):
        layers += [
            nn.Conv2d(source, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
