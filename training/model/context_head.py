"""Context heads: from the encoder's head map to the signal the decoder's weights are made of.

The paper calls it the context head (a U-Net nested in the bottom of the U-Net); its output, the
signal, is one vector per patch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(inputs: int, outputs: int, kernel: int = 1, *, relu: bool = True) -> nn.Sequential:
    """Convolution with stride = kernel and no padding, batch norm, and ReLU unless told not to."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride=kernel, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if relu:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def global_mean(x: Tensor) -> Tensor:
    """Mean over H and W, broadcast back to the same size: (N, C, H, W) -> (N, C, H, W)."""
    return x.mean((2, 3), keepdim=True).expand_as(x)


class UNetContextHead(nn.Module):
    """Generations v1_0 and v1_0_unify: halve the channels, go down, mean, come up, concatenate.

    The signal is (N, C, H/32, W/32), with as many channels as the head map. Its first half is
    `in_conv`'s map, the second half what came back from below.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        half = channels // 2
        self.signal_channels = 2 * half
        self.in_conv = conv_bn(channels, half)
        self.down_blocks = nn.ModuleList(conv_bn(half, half, 2) for _ in range(levels - 1))
        self.up_blocks = nn.ModuleList(conv_bn(2 * half, half) for _ in range(levels - 1))

    def forward(self, head: Tensor) -> Tensor:
        """(N, C, H/32, W/32) head map -> (N, C, H/32, W/32) signal."""
        stored = [self.in_conv(head)]
        for down in self.down_blocks:
            stored.append(down(stored[-1]))
        up = global_mean(stored[-1])
        for index in range(len(self.up_blocks) - 1, -1, -1):
            joined = torch.cat((stored[index + 1], up), 1)
            up = F.interpolate(self.up_blocks[index](joined), scale_factor=2.0, mode="nearest")
        return torch.cat((stored[0], up), 1)


class NestedContextHead(nn.Module):
    """Generation v0_1: full width throughout, the flattening at the top ends at its batch norm."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.signal_channels = channels
        steps = range(levels - 1)
        self.down_blocks = nn.ModuleList(conv_bn(channels, channels, 2) for _ in steps)
        self.flat_blocks = nn.ModuleList(
            conv_bn(2 * channels, channels, relu=index > 0) for index in steps
        )

    def forward(self, head: Tensor) -> Tensor:
        """(N, C, H/32, W/32) head map -> (N, C, H/32, W/32) signal."""
        stored = [head]
        for down in self.down_blocks:
            stored.append(down(stored[-1]))
        up = global_mean(stored[-1])
        for index in range(len(self.flat_blocks) - 1, -1, -1):
            up = F.interpolate(up, scale_factor=2.0, mode="nearest")
            up = self.flat_blocks[index](torch.cat((stored[index], up), 1))
        return up
