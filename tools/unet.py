"""A small 2-D U-Net with channel dropout at its bottleneck."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class UNet(nn.Module):
    """Encoder and decoder joined by skips; one level per entry of `features`.

    Each level holds two 3x3 convolutions, each without bias and followed by batch normalisation
    and ReLU; levels are joined by 2x2 max-pooling on the way down and by nearest up-sampling and
    concatenation on the way up. The lowest level, the bottleneck, ends in `Dropout2d`, so that the
    decoder learns to do without whole channels.

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

    Raises
    ------
    ValueError
        If there are fewer than two levels, or a number is out of range.
    """

    def __init__(
        self, channels: int, features: Sequence[int], dropout: float, outputs: int = 1
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
        self.multiple = 2 ** (len(features) - 1)
        widths = [channels, *features]
        self.down = nn.ModuleList(
            _double_conv(above, here) for above, here in zip(widths, features, strict=False)
        )
        self.drop = nn.Dropout2d(dropout)
        self.up = nn.ModuleList(
            _double_conv(below + here, here)
            for below, here in zip(features[:0:-1], features[-2::-1], strict=True)
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
        for level, skip in zip(self.up, reversed(skips), strict=True):
            value = nn.functional.interpolate(value, scale_factor=2.0, mode="nearest")
            value = level(torch.cat([value, skip], dim=1))
        return self.head(value)


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
