"""Meta blocks: decoder blocks whose convolution weights are inputs, not parameters.

Only the batch norms, or biases in their place, are learned, one set for all patches.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.model.patchwise import (
    merge_tiles,
    patchwise_conv,
    patchwise_depthwise,
    split_into_tiles,
    weights_by_tile,
)


class ChannelBias(nn.Module):
    """A learned value for each channel, added to (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x + self.bias[:, None, None]


class MetaConv(nn.Module):
    """Kernel-1 level: patch-wise 1x1 convolution, batch norm, ReLU.

    As the last level its outputs are the logits, and there is no ReLU: it would end the gradient of
    every class that is already unlikely, and leave a tie where all are.
    """

    def __init__(
        self, inputs: int, outputs: int, *, last: bool = False, normalised: bool = True
    ) -> None:
        """One level.

        Args:
            inputs: channels read.
            outputs: channels put out.
            last: whether these are the logits.
            normalised: False puts a learned bias in the place of the batch norm.
        """
        super().__init__()
        self.inputs, self.outputs, self.last = inputs, outputs, last
        self.num_dynamic_weights = inputs * outputs
        self.bn = nn.BatchNorm2d(outputs) if normalised else ChannelBias(outputs)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(N, inputs, H, W) and (N, p, gh, gw) -> (N, outputs, H, W)."""
        grid = (weights.shape[2], weights.shape[3])
        tiles = split_into_tiles(x, grid)
        tiles = patchwise_conv(tiles, weights_by_tile(weights), self.outputs)
        y: Tensor = self.bn(merge_tiles(tiles, grid))
        return y if self.last else F.relu(y)


class MetaInvertedResidual(nn.Module):
    """Kernel-3 level: 1x1, depthwise 3x3, 1x1, with batch norms and ReLU6 between.

    With `halo` ``tile`` the first convolution also runs on the pixels around the patch, with the
    patch's own weights (v1_0); with ``map`` the border of the hidden map is the neighbour's (v0_1).
    """

    def __init__(
        self, inputs: int, outputs: int, *, expansion: int, halo: Literal["tile", "map"]
    ) -> None:
        super().__init__()
        hidden = round(inputs * expansion)
        self.inputs, self.hidden, self.outputs = inputs, hidden, outputs
        self.halo = halo
        self.weight_split = [hidden * inputs, hidden * 9, outputs * hidden]
        self.num_dynamic_weights = sum(self.weight_split)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(N, inputs, H, W) and (N, p, gh, gw) -> (N, outputs, H, W)."""
        grid = (weights.shape[2], weights.shape[3])
        expand, depthwise, project = torch.split(weights_by_tile(weights), self.weight_split, 1)
        tiles = split_into_tiles(x, grid, halo=1 if self.halo == "tile" else 0)
        tiles = F.relu6(self.bn1(patchwise_conv(tiles, expand, self.hidden)))
        if self.halo == "map":
            tiles = split_into_tiles(merge_tiles(tiles, grid), grid, halo=1)
        tiles = F.relu6(self.bn2(patchwise_depthwise(tiles, depthwise)))
        tiles = patchwise_conv(tiles, project, self.outputs)
        y: Tensor = self.bn3(merge_tiles(tiles, grid))
        return y


MetaBlock = MetaConv | MetaInvertedResidual
