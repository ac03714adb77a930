"""Meta blocks in the deployment form (see `export.deploy`).

A block reads bands (gh, ph, W, C) and puts out patches (P, ph * pw, C), see `export.layout`: what
follows a level can then work on patches before they are put in place. It reads the signal
(1, S, gh, gw) itself and generates its own weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.fold import bn_scale_shift
from export.layout import tile_pixels, to_patches
from training.model.meta_block import MetaConv, MetaInvertedResidual

if TYPE_CHECKING:
    from training.model.meta_block import ChannelBias, MetaBlock
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
        base = generator.conv.bias
        self.base: Tensor | None = None
        if base is not None:
            base = base.detach()[start : start + rows]
            self.base = nn.Parameter(base.clone() if scale is None else base * scale)

    def forward(self, signal: Tensor) -> Tensor:
        """(1, S, gh, gw) -> (P, rows)."""
        share = signal[0, self.offset : self.offset + self.groups * self.width]
        share = share.reshape(self.groups, self.width, -1).transpose(1, 2)  # (G, P, n)
        made = (share @ self.weight).transpose(0, 1)  # (P, G, R / G)
        flat = made.reshape(made.shape[0], -1)
        if self.skip or flat.shape[1] != self.rows:
            flat = flat[:, self.skip : self.skip + self.rows]
        return flat if self.base is None else flat + self.base


class DynamicConv(nn.Module):
    """Kernel-1 level: one matrix product a patch, bias, and ReLU unless it is the last."""

    def __init__(
        self,
        level: MetaConv,
        generator: SignalToWeights,
        start: int,
        grid: tuple[int, int],
        size: tuple[int, int],
    ) -> None:
        """Rewrite a level.

        Args:
            level: the trained one.
            generator: of its weights.
            start: its first row there.
            grid: (gh, gw).
            size: (H, W) of the level's maps.
        """
        super().__init__()
        scale, shift = bn_scale_shift(level.bn)
        self.inputs, self.outputs, self.grid = level.inputs, level.outputs, grid
        self.last = level.last
        self.weights = PatchWeights(
            generator, start, level.num_dynamic_weights, scale.repeat_interleave(level.inputs)
        )
        self.bias: Tensor
        self.register_buffer("bias", _per_pixel(shift, grid, size))

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        """(gh, ph, W, inputs), or patches already, -> (P, ph * pw, outputs)."""
        kernel = self.weights(signal).reshape(-1, self.outputs, self.inputs)
        patches = x if x.dim() == 3 else to_patches(x, self.grid)
        y = patches @ kernel.transpose(1, 2) + self.bias
        return y if self.last else F.relu(y)


class DynamicInvertedResidual(nn.Module):
    """Kernel-3 level: product to channel-major tiles, depthwise, product back to channels-last."""

    def __init__(
        self,
        level: MetaInvertedResidual,
        generator: SignalToWeights,
        start: int,
        grid: tuple[int, int],
        size: tuple[int, int],
    ) -> None:
        """Rewrite a level; the arguments are those of `DynamicConv`."""
        super().__init__()
        self.inputs, self.hidden, self.outputs = level.inputs, level.hidden, level.outputs
        self.halo, self.grid = level.halo, grid
        self.tile_pixels: Tensor
        pixels = tile_pixels(grid, size, in_patches=level.halo == "map")
        self.register_buffer("tile_pixels", pixels)
        expand, depthwise, _ = level.weight_split
        self.bias1: Tensor
        self.bias2: Tensor
        self.bias3: Tensor
        parts, shifts = [], []
        repeats = (level.inputs, 9, level.hidden)
        starts = (start, start + expand, start + expand + depthwise)
        norms = (level.bn1, level.bn2, level.bn3)
        for bn, first, count, repeat in zip(
            norms, starts, level.weight_split, repeats, strict=True
        ):
            scale, shift = bn_scale_shift(bn)
            parts.append(PatchWeights(generator, first, count, scale.repeat_interleave(repeat)))
            shifts.append(shift.detach())
        self.expand, self.depthwise, self.project = parts
        tiles = level.halo == "tile"
        first_bias = shifts[0][:, None].clone() if tiles else _per_pixel(shifts[0], grid, size)
        self.register_buffer("bias1", first_bias)
        # Part of the convolution, so that it and the ReLU6 cost no passes of their own.
        self.register_buffer("bias2", shifts[1].repeat(grid[0] * grid[1]))
        self.register_buffer("bias3", _per_pixel(shifts[2], grid, size))

    def forward(self, x: Tensor, signal: Tensor) -> Tensor:
        """(gh, ph, W, inputs) -> (P, ph * pw, outputs)."""
        ph, pw = int(x.shape[1]), int(x.shape[2]) // self.grid[1]
        patches = self.grid[0] * self.grid[1]
        w1 = self.expand(signal).reshape(patches, self.hidden, self.inputs)
        if self.halo == "tile":
            tiles = self._tiles(x.reshape(-1, self.inputs))
            hidden = F.relu6(w1 @ tiles.transpose(1, 2) + self.bias1)  # (P, hidden, pixels)
        else:
            flat = F.relu6(to_patches(x, self.grid) @ w1.transpose(1, 2) + self.bias1)
            hidden = self._tiles(flat.reshape(-1, self.hidden)).transpose(1, 2)
        groups = patches * self.hidden
        kernel = self.depthwise(signal).reshape(groups, 1, 3, 3)
        hidden = hidden.reshape(1, groups, ph + 2, pw + 2)
        hidden = F.relu6(F.conv2d(hidden, kernel, self.bias2, groups=groups))
        hidden = hidden.reshape(patches, self.hidden, ph * pw)
        w3 = self.project(signal).reshape(patches, self.outputs, self.hidden)
        y: Tensor = hidden.transpose(1, 2) @ w3.transpose(1, 2) + self.bias3
        return y

    def _tiles(self, pixels: Tensor) -> Tensor:
        """(H * W, C) -> (P, (ph + 2) * (pw + 2), C)."""
        tiles = pixels.index_select(0, self.tile_pixels)
        return tiles.reshape(self.grid[0] * self.grid[1], -1, pixels.shape[1])


def _per_pixel(bias: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(C,) -> (ph * pw, C): one long run a patch is added faster than C values at a time."""
    return bias.detach().repeat(size[0] * size[1] // (grid[0] * grid[1]), 1)


class StaticBlock(nn.Module):
    """A level whose weights are learned: ordinary convolutions, channel-major."""

    def __init__(self, level: MetaBlock, weight: Tensor) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        if isinstance(level, MetaConv):
            kernel = weight.reshape(level.outputs, level.inputs, 1, 1)
            self._add(kernel, level.bn, None if level.last else nn.ReLU())
            return
        expand, depthwise, project = torch.split(weight, level.weight_split)
        self._add(expand.reshape(level.hidden, level.inputs, 1, 1), level.bn1, nn.ReLU6())
        self._add(
            depthwise.reshape(level.hidden, 1, 3, 3), level.bn2, nn.ReLU6(), groups=level.hidden
        )
        self._add(project.reshape(level.outputs, level.hidden, 1, 1), level.bn3, None)

    def _add(
        self,
        kernel: Tensor,
        bn: nn.BatchNorm2d | ChannelBias,
        activation: nn.Module | None,
        groups: int = 1,
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
