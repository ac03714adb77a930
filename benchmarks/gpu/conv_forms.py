"""Ways to compute the dynamic patch-wise convolutions of a decoder, and their sizes by preset.

Shapes: T tiles of C channels and h x w pixels; generated weights have one row a tile. Each form
maps (tiles (T, C, h, w), weights) to (T, O, h', w'), whatever it keeps inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from training.model.hyperseg import HyperSeg
from training.model.meta_block import MetaConv, MetaInvertedResidual
from training.presets import preset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from training.model.decoder import Decoder
    from training.model.signal_to_weights import SignalToWeights

    Form = Callable[[Tensor, Tensor], Tensor]

Kind = Literal["pointwise", "depthwise"]


@dataclass(frozen=True)
class Shape:
    """One convolution of one level; equal ones of several presets are measured once."""

    kind: Kind
    tiles: int
    inputs: int
    outputs: int
    height: int
    """Of a tile, with the halo if it has one."""
    width: int

    @property
    def name(self) -> str:
        """As a table is called."""
        return (
            f"{self.kind} {self.tiles} tiles of {self.inputs}x{self.height}x{self.width} to "
            f"{self.outputs}"
        )

    @property
    def weights(self) -> int:
        """Generated weights of a tile."""
        return self.inputs * (9 if self.kind == "depthwise" else self.outputs)


def shapes_of(name: str) -> list[Shape]:
    """The generated convolutions of a preset at its own size, coarse to fine."""
    found = []
    for level, block, grid, patch in _levels(name):
        tiles = grid[0] * grid[1]
        if isinstance(block, MetaConv):
            found.append(Shape("pointwise", tiles, block.inputs, block.outputs, *patch))
            continue
        assert isinstance(block, MetaInvertedResidual), level
        halo = (patch[0] + 2, patch[1] + 2)
        around = halo if block.halo == "tile" else patch
        found += [
            Shape("pointwise", tiles, block.inputs, block.hidden, *around),
            Shape("depthwise", tiles, block.hidden, block.hidden, *halo),
            Shape("pointwise", tiles, block.hidden, block.outputs, *patch),
        ]
    return found


def _levels(
    name: str,
) -> Iterator[tuple[int, MetaConv | MetaInvertedResidual, tuple[int, int], tuple[int, int]]]:
    """(level, block, patch grid, (height, width) of a patch) of every level."""
    config = preset(name)
    decoder = cast("Decoder", HyperSeg(config).decoder)
    height, width = config.train_size
    side = config.decoder.patch_grid
    grid = (side, side) if side else (height // 32, width // 32)
    for level, block in enumerate(decoder.meta_blocks()):
        stride = config.decoder.strides[level]
        yield level, block, grid, (height // stride // grid[0], width // stride // grid[1])


def grouped(tiles: Tensor, weights: Tensor) -> Tensor:
    """The reference form: all tiles side by side as groups of one 1x1 convolution."""
    count, channels, height, width = tiles.shape
    kernel = weights.reshape(-1, channels, 1, 1)
    flat = F.conv2d(tiles.reshape(1, -1, height, width), kernel, groups=count)
    return flat.reshape(count, -1, height, width)


def batched_matmul(tiles: Tensor, weights: Tensor) -> Tensor:
    """One matrix product a tile, channels before pixels."""
    count, channels, height, width = tiles.shape
    product = torch.bmm(weights.reshape(count, -1, channels), tiles.reshape(count, channels, -1))
    return product.reshape(count, -1, height, width)


def channels_last_matmul(tiles: Tensor, weights: Tensor) -> Tensor:
    """One matrix product a tile, pixels before channels; without a copy for channels-last tiles."""
    count, channels, height, width = tiles.shape
    pixels = tiles.permute(0, 2, 3, 1).reshape(count, -1, channels)
    product = torch.bmm(pixels, weights.reshape(count, -1, channels).transpose(1, 2))
    return product.reshape(count, height, width, -1).permute(0, 3, 1, 2)


def grouped_depthwise(tiles: Tensor, weights: Tensor) -> Tensor:
    """The reference form: every channel of every tile is a group of one 3x3 convolution."""
    count, channels, height, width = tiles.shape
    flat = F.conv2d(
        tiles.reshape(1, -1, height, width), weights.reshape(-1, 1, 3, 3), groups=count * channels
    )
    return flat.reshape(count, channels, height - 2, width - 2)


def shifted_depthwise(tiles: Tensor, weights: Tensor) -> Tensor:
    """Nine shifted views of the tiles, each times its weight."""
    count, channels, height, width = tiles.shape
    taps = weights.reshape(count, channels, 9, 1, 1).unbind(2)
    total = None
    for number, tap in enumerate(taps):
        row, column = divmod(number, 3)
        part = tiles[:, :, row : row + height - 2, column : column + width - 2] * tap
        total = part if total is None else total + part
    return cast("Tensor", total)


FORMS: dict[Kind, dict[str, Form]] = {
    "pointwise": {
        "grouped convolution": grouped,
        "batched matmul": batched_matmul,
        "channels-last matmul": channels_last_matmul,
    },
    "depthwise": {
        "grouped convolution": grouped_depthwise,
        "shifted": shifted_depthwise,
    },
}
"""The first of each kind is the reference form."""
EXACT: dict[Kind, Form] = {"pointwise": batched_matmul, "depthwise": shifted_depthwise}
"""What is computed in float64 to compare with: every device has these operations in it."""


@dataclass(frozen=True)
class GeneratedLevel:
    """A kernel-1 level together with the generation of its weights from the signal."""

    level: int
    tiles: int
    pixels: int
    inputs: int
    outputs: int
    groups: int
    """Of the generation that this level reads; each makes whole rows of output channels."""
    share: int
    """Signal channels a group."""

    @property
    def name(self) -> str:
        """As a table is called."""
        return (
            f"level {self.level} with generation: {self.tiles} tiles of {self.inputs}x{self.pixels}"
            f" to {self.outputs}, {self.groups} groups of {self.share}"
        )

    @property
    def joined_elements(self) -> int:
        """Elements of the product of signal and map that `static_times_signal` forms."""
        return self.groups * self.share * self.inputs * self.tiles * self.pixels


def generated_levels(name: str) -> tuple[list[GeneratedLevel], dict[int, str]]:
    """The kernel-1 levels of a preset, and why others cannot be had in that form, by level."""
    decoder = cast("Decoder", HyperSeg(preset(name)).decoder)
    found, left_out = [], {}
    for level, block, grid, patch in _levels(name):
        if not isinstance(block, MetaConv):
            left_out[level] = "an inverted residual"
            continue
        generator, start = decoder.generator_of(level)
        reason = _unaligned(generator, start, block)
        if reason is not None:
            left_out[level] = reason
            continue
        rows = generator.conv.out_channels // generator.conv.groups
        found.append(
            GeneratedLevel(
                level, grid[0] * grid[1], patch[0] * patch[1], block.inputs, block.outputs,
                block.num_dynamic_weights // rows, generator.channels // generator.conv.groups,
            )
        )  # fmt: skip
    return found, left_out


def _unaligned(generator: SignalToWeights, start: int, block: MetaConv) -> str | None:
    rows = generator.conv.out_channels // generator.conv.groups
    if rows % block.inputs or start % rows or block.num_dynamic_weights % rows:
        return f"a group makes {rows} weights, which is no whole number of rows of {block.inputs}"
    return None


def generate_then_multiply(x: Tensor, signal: Tensor, weight: Tensor) -> Tensor:
    """Make every tile's weights, then one matrix product a tile.

    Args:
        x: (T, C, X) map by tile.
        signal: (G, n, T) share of the signal by group.
        weight: (G, O / G, C, n) learned weights of the generation.

    Returns:
        (T, O, X)
    """
    groups, outputs, channels, share = weight.shape
    rows = weight.reshape(groups, outputs * channels, share)
    made = torch.bmm(rows, signal)  # (G, O / G * C, T)
    kernel = made.permute(2, 0, 1).reshape(-1, groups * outputs, channels)
    return torch.bmm(kernel, x)


def static_times_signal(x: Tensor, signal: Tensor, weight: Tensor) -> Tensor:
    """Multiply signal and map first; what follows are the learned weights alone.

    See `generate_then_multiply` for arguments and result.
    """
    groups, outputs, channels, share = weight.shape
    tiles, _, pixels = x.shape
    joined = torch.einsum("gnt,tcx->gcntx", signal, x)
    joined = joined.reshape(groups, channels * share, tiles * pixels)
    y = torch.bmm(weight.reshape(groups, outputs, channels * share), joined)  # (G, O / G, T * X)
    return y.reshape(groups * outputs, tiles, pixels).transpose(0, 1)


LEVEL_FORMS = {
    "generate, then multiply": generate_then_multiply,
    "static times signal": static_times_signal,
}
"""The first is what all other forms do."""
