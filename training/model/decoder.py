"""The decoder: level by level, each with weights from the signal.

Its levels go from stride 32 up, or stand at one stride behind a feature pyramid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.model.fpn import FeaturePyramid
from training.model.meta_block import ChannelBias, MetaBlock, MetaConv, MetaInvertedResidual
from training.model.signal_to_weights import StaticWeights, make_generators

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.model.config import DecoderConfig
    from training.model.signal_to_weights import SignalToWeights


def coordinates(height: int, width: int, like: Tensor) -> Tensor:
    """Positional channels (1, 2, height, width): x then y, each -1..1 inclusive over its axis.

    Computed in float32 whatever the network's precision, as the published weights were trained.
    """
    x = torch.linspace(-1, 1, width, device=like.device).expand(height, width)
    y = torch.linspace(-1, 1, height, device=like.device)[:, None].expand(height, width)
    return torch.stack((x, y))[None].to(like.dtype)


class Decoder(nn.Module):
    """Meta blocks from coarse to fine, and the layers that generate their weights."""

    def __init__(
        self,
        config: DecoderConfig,
        tap_channels: Sequence[int],
        signal_channels: int,
        num_classes: int,
    ) -> None:
        """Build the blocks.

        Args:
            config: levels, wiring, halo.
            tap_channels: of the taps from stride 32 to stride 2, then 3 for the image.
            signal_channels: S.
            num_classes: output channels of the last level.
        """
        super().__init__()
        self.config = config
        self.pyramid: FeaturePyramid | None = None
        if config.pyramid_taps:
            taps = tap_channels[: config.pyramid_taps]
            self.pyramid = FeaturePyramid(taps, config.pyramid_channels)
            tap_channels = [config.pyramid_channels] + [0] * (len(config.levels) - 1)
        blocks: list[MetaBlock] = []
        previous = 0
        for index, (level, tap) in enumerate(zip(config.levels, tap_channels, strict=False)):
            inputs = tap + previous + (2 if config.coords else 0)
            last = index + 1 == len(config.levels)
            outputs = num_classes if last else level.channels
            identity = config.identity_start and not last and tap + previous == outputs
            normalised = not (config.base_weights and last) and not identity
            blocks.append(
                MetaConv(inputs, outputs, last=last, normalised=normalised)
                if level.kernel == 1
                else MetaInvertedResidual(
                    inputs, outputs, expansion=config.expansion, halo=config.halo
                )
            )
            previous = outputs
        _set_gain(blocks[-1], config.logit_scale)
        self.levels = nn.ModuleList(blocks)
        counts = [block.num_dynamic_weights for block in blocks]
        self.level_weights = counts
        static = config.weights == "static"
        starts = [_start(block) for block in blocks] if static or config.base_weights else None
        self.generators = (
            nn.ModuleList(map(StaticWeights, starts or ()))
            if static
            else make_generators(config, signal_channels, counts, starts)
        )

    def forward(self, taps: Sequence[Tensor], signal: Tensor) -> Tensor:
        """Logits at the stride of the last level.

        Args:
            taps: reduced features from stride 32 to 2, then the image; those that no level and no
                pyramid reads may be missing.
            signal: (N, S, H/32, W/32).

        Returns:
            (N, num_classes, h, w), h and w those of the finest tap read.
        """
        weights = self.generate_weights(signal)
        out: Tensor | None = None
        for level, (block, level_weights) in enumerate(zip(self.levels, weights, strict=True)):
            out = block(self.level_input(level, taps, out), level_weights)
        assert out is not None
        return out

    def generate_weights(self, signal: Tensor) -> list[Tensor]:
        """The weights of every level, coarse to fine, each (N, p, gh, gw)."""
        if self.config.weights == "static":
            return [generator(signal.shape[0]) for generator in self.generators]
        if self.config.patch_grid is not None:
            signal = F.adaptive_avg_pool2d(signal, self.config.patch_grid)
        made = [generator(signal) for generator in self.generators]
        if self.config.joint_levels > 1:
            made[-1:] = made[-1].split(self.level_weights[-self.config.joint_levels :], 1)
        return made

    def meta_blocks(self) -> list[MetaBlock]:
        """The levels, coarse to fine, with their type (which a module list forgets)."""
        return cast("list[MetaBlock]", list(self.levels))

    def generator_of(self, level: int) -> tuple[SignalToWeights, int]:
        """The layer that generates a level's weights, and its first row among that layer's."""
        first_joint = len(self.levels) - max(self.config.joint_levels, 1)
        generator = cast("SignalToWeights", self.generators[min(level, first_joint)])
        return generator, sum(self.level_weights[first_joint:level])

    def level_input(self, level: int, taps: Sequence[Tensor], previous: Tensor | None) -> Tensor:
        """Coordinates, tap and the resized previous output, in this order of channels.

        Behind a pyramid its map is the first level's tap, and the other levels have none.
        """
        tap: Tensor | None = taps[level]
        if self.pyramid is not None:
            tap = self.pyramid(taps) if previous is None else None
        size_of = previous if tap is None else tap
        assert size_of is not None
        height, width = size_of.shape[2:]
        parts = []
        if self.config.coords:
            planes = coordinates(height, width, size_of)
            parts.append(planes.expand(size_of.shape[0], -1, -1, -1))
        if tap is not None:
            parts.append(tap)
        if previous is not None:
            if previous.shape[2:] != (height, width):
                size = (height, width)
                previous = F.interpolate(previous, size, mode="bilinear", align_corners=False)
            parts.append(previous)
        return torch.cat(parts, 1)


def _set_gain(last: MetaBlock, gain: float) -> None:
    """Let the last level's batch norm, if it has one, start at `gain`."""
    norm = last.bn if isinstance(last, MetaConv) else last.bn3
    if isinstance(norm, nn.BatchNorm2d):
        nn.init.constant_(norm.weight, gain)


def _start(block: MetaBlock) -> Tensor:
    """(p,) weights for learned ones to start from: by He's law, or the identity."""
    if isinstance(block, MetaConv):
        if not block.last and isinstance(block.bn, ChannelBias):
            # Of what was read before: coordinates, which come first, are to be learned.
            return torch.eye(block.inputs)[-block.outputs :].flatten()
        fan_ins = [(block.num_dynamic_weights, block.inputs)]
    else:
        counts = block.weight_split
        fan_ins = [(counts[0], block.inputs), (counts[1], 9), (counts[2], block.hidden)]
    return torch.cat([torch.randn(count) * (2.0 / fan_in) ** 0.5 for count, fan_in in fan_ins])
