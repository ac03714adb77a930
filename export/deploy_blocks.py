"""Meta blocks in the deployment form (see `export.deploy`).

Shapes: a channels-last map is (1, H, W, C) with H = gh * ph, W = gw * pw; there are P = gh * gw
patches. A deployment block reads the signal (1, S, gh, gw) itself and generates its own weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.fold import bn_scale_shift
from training.model.meta_block import MetaConv, MetaInvertedResidual

if TYPE_CHECKING:
    from training.model.meta_block import MetaBlock
    from training.model.signal_to_weights import SignalToWeights


class PatchWeights(nn.Module):
    """Signal to the weights of one convolution, patch by patch: (1, S, gh, gw) -> (P, rows).

    The grouped 1x1 convolution becomes one product per group, whose result already has the patch
    as its row; only runs of whole groups are moved afterwards.
    """

    def __init__(
        self, generator: SignalToWeights, start: int, rows: int, scale: Tensor | None
    ) -> None:
        """Cut rows `start` to `start + rows` out of a generator.

        Args:
            generator: the trained signal-to-weights convolution.
            start: first row of this convolution's weights.
            rows: how many.
            scale: (rows,) factor per generated weight, a batch norm's scale; None for 1.
        """
        super().__init__()
        weight = generator.conv.weight.detach()[:, :, 0, 0]  # (R, n)
        group_rows = weight.shape[0] // generator.conv.groups
        width = weight.shape[1]
        first, last = start // group_rows, (start + rows - 1) // group_rows
        used = weight[first * group_rows : (last + 1) * group_rows].clone()
        self.skip, self.rows = start - first * group_rows, rows
        if scale is not None:
            used[self.skip : self.skip + rows] *= scale[:, None]
        self.groups = last - first + 1
        self.offset = generator.offset + first * width
        self.width = width
        by_group = used.reshape(self.groups, group_rows, width)
        self.weight = nn.Parameter(by_group.transpose(1, 2).contiguous())  # (G, n, R / G)

    def forward(self, signal: Tensor) -> Tensor:
        """(1, S, gh, gw) -> (P, rows)."""
        share = signal[0, self.offset : self.offset + self.groups * self.width]
        share = share.reshape(self.groups, self.width, -1).transpose(1, 2)  # (G, P, n)
        made = (share @ self.weight).transpose(0, 1)  # (P, G, R / G)
        flat = made.reshape(made.shape[0], -1)
        if self.skip == 0 and flat.shape[1] == self.rows:
            return flat
        return flat[:, self.skip : self.skip + self.rows]


def to_patches(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """(1, H, W, C) -> (P, ph * pw, C)."""
    _, height, width, channels = x.shape
    rows, columns = grid
    if (height, width) == grid:
        return x.reshape(rows * columns, 1, channels)
    x = x.reshape(rows, height // rows, columns, width // columns, channels)
    return x.transpose(1, 2).reshape(rows * columns, -1, channels)


def from_patches(x: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(P, ph * pw, C) -> (1, H, W, C)."""
    rows, columns = grid
    height, width = size
    if size == grid:
        return x.reshape(1, height, width, -1)
    x = x.reshape(rows, columns, height // rows, width // columns, -1)
    return x.transpose(1, 2).reshape(1, height, width, -1)


def to_tiles(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """(1, H, W, C) -> (gh, gw, ph + 2, pw + 2, C): patches with a reflected halo of one pixel.

    First every patch row gets its halo rows, then every patch its halo columns: four slices and
    two concatenations in all.
    """
    _, height, width, channels = x.shape
    rows, columns = grid
    ph, pw = height // rows, width // columns
    body = x.reshape(rows, ph, width, channels)
    above = torch.cat((x[0, 1:2], body[:-1, -1]))[:, None]
    below = torch.cat((body[1:, 0], x[0, -2:-1]))[:, None]
    tall = torch.cat((above, body, below), 1)  # (gh, ph + 2, W, C)
    body = tall.reshape(rows, ph + 2, columns, pw, channels)
    left = torch.cat((tall[:, :, 1:2], body[:, :, :-1, -1]), 2)[:, :, :, None]
    right = torch.cat((body[:, :, 1:, 0], tall[:, :, -2:-1]), 2)[:, :, :, None]
    return torch.cat((left, body, right), 3).transpose(1, 2)


class DynamicConv(nn.Module):
    """Kernel-1 level: one matrix product a patch, bias, ReLU."""

    def __init__(
        self, level: MetaConv, generator: SignalToWeights, start: int, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        scale, shift = bn_scale_shift(level.bn)
        self.inputs, self.outputs, self.grid = level.inputs, level.outputs, grid
        self.weights = PatchWeights(
            generator, start, level.num_dynamic_weights, scale.repeat_interleave(level.inputs)
        )
        self.bias: Tensor
        self.register_buffer("bias", shift.detach().clone())

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        """(1, H, W, inputs) -> (1, H, W, outputs)."""
        size = (int(x.shape[1]), int(x.shape[2]))
        kernel = self.weights(signal).reshape(-1, self.outputs, self.inputs)
        y = to_patches(x, self.grid) @ kernel.transpose(1, 2) + self.bias
        return from_patches(F.relu(y), self.grid, size)


class DynamicInvertedResidual(nn.Module):
    """Kernel-3 level: product to channel-major tiles, depthwise, product back to channels-last."""

    def __init__(
        self,
        level: MetaInvertedResidual,
        generator: SignalToWeights,
        start: int,
        grid: tuple[int, int],
    ) -> None:
        super().__init__()
        self.inputs, self.hidden, self.outputs = level.inputs, level.hidden, level.outputs
        self.halo, self.grid = level.halo, grid
        expand, depthwise, _ = level.weight_split
        self.bias1: Tensor
        self.bias2: Tensor
        self.bias3: Tensor
        parts = []
        repeats = (level.inputs, 9, level.hidden)
        starts = (start, start + expand, start + expand + depthwise)
        norms = (level.bn1, level.bn2, level.bn3)
        for number, (bn, first, count, repeat) in enumerate(
            zip(norms, starts, level.weight_split, repeats, strict=True), 1
        ):
            scale, shift = bn_scale_shift(bn)
            parts.append(PatchWeights(generator, first, count, scale.repeat_interleave(repeat)))
            column = number != 3  # channel-major until the last product
            bias = shift.detach().clone()
            self.register_buffer(f"bias{number}", bias[:, None] if column else bias)
        self.expand, self.depthwise, self.project = parts

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        """(1, H, W, inputs) -> (1, H, W, outputs)."""
        size = (int(x.shape[1]), int(x.shape[2]))
        ph, pw = size[0] // self.grid[0], size[1] // self.grid[1]
        patches = self.grid[0] * self.grid[1]
        w1 = self.expand(signal).reshape(patches, self.hidden, self.inputs)
        if self.halo == "tile":
            tiles = to_tiles(x, self.grid).reshape(patches, (ph + 2) * (pw + 2), self.inputs)
            hidden = F.relu6(w1 @ tiles.transpose(1, 2) + self.bias1)  # (P, hidden, pixels)
        else:
            flat = to_patches(x, self.grid) @ w1.transpose(1, 2) + self.bias1[:, 0]
            whole = from_patches(F.relu6(flat), self.grid, size)
            tiles = to_tiles(whole, self.grid).reshape(patches, -1, self.hidden)
            hidden = tiles.transpose(1, 2)
        groups = patches * self.hidden
        kernel = self.depthwise(signal).reshape(groups, 1, 3, 3)
        hidden = F.conv2d(hidden.reshape(1, groups, ph + 2, pw + 2), kernel, groups=groups)
        hidden = F.relu6(hidden.reshape(patches, self.hidden, ph * pw) + self.bias2)
        w3 = self.project(signal).reshape(patches, self.outputs, self.hidden)
        y = hidden.transpose(1, 2) @ w3.transpose(1, 2) + self.bias3  # (P, pixels, outputs)
        return from_patches(y, self.grid, size)


class StaticBlock(nn.Module):
    """A level whose weights are learned: ordinary convolutions, channel-major."""

    def __init__(self, level: MetaBlock, weight: Tensor) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        if isinstance(level, MetaConv):
            kernel = weight.reshape(level.outputs, level.inputs, 1, 1)
            self._add(kernel, level.bn, nn.ReLU())
            return
        expand, depthwise, project = torch.split(weight, level.weight_split)
        self._add(expand.reshape(level.hidden, level.inputs, 1, 1), level.bn1, nn.ReLU6())
        self._add(
            depthwise.reshape(level.hidden, 1, 3, 3), level.bn2, nn.ReLU6(), groups=level.hidden
        )
        self._add(project.reshape(level.outputs, level.hidden, 1, 1), level.bn3, None)

    def _add(
        self, kernel: Tensor, bn: nn.BatchNorm2d, activation: nn.Module | None, groups: int = 1
    ) -> None:
        scale, shift = bn_scale_shift(bn)
        size = kernel.shape[2]
        conv = nn.Conv2d(
            kernel.shape[1] * groups, kernel.shape[0], size, groups=groups,
            padding=size // 2, padding_mode="reflect" if size > 1 else "zeros",
        )  # fmt: skip
        conv.weight = nn.Parameter(kernel * scale.reshape(-1, 1, 1, 1))
        conv.bias = nn.Parameter(shift)
        self.layers.append(conv)
        if activation is not None:
            self.layers.append(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(1, inputs, H, W) -> (1, outputs, H, W)."""
        y: Tensor = self.layers(x)
        return y
