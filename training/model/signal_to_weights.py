"""From the signal to the decoder's weights: one grouped 1x1 convolution per weight layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from training.model.channel_division import divide_channels, divide_channels_legacy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.model.config import DecoderConfig


class SignalToWeights(nn.Module):
    """Reads `channels` signal channels from `offset` on and generates `num_weights` per patch.

    The convolution's rows are rounded up to a multiple of its groups; surplus rows are dropped.
    """

    def __init__(self, offset: int, channels: int, num_weights: int, groups: int) -> None:
        super().__init__()
        self.offset, self.channels, self.num_weights = offset, channels, num_weights
        rows = -(-num_weights // groups) * groups
        self.conv = nn.Conv2d(channels, rows, 1, groups=groups, bias=False)

    def forward(self, signal: Tensor) -> Tensor:
        """(N, S, gh, gw) signal -> (N, num_weights, gh, gw)."""
        share = signal[:, self.offset : self.offset + self.channels]
        weights: Tensor = self.conv(share)
        return weights[:, : self.num_weights]


class StaticWeights(nn.Module):
    """Ordinary learned weights in place of generated ones: one patch, the same for any image."""

    def __init__(self, fan_ins: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        # He initialisation per convolution, as a static layer of that shape would start.
        pieces = [torch.randn(count) * (2.0 / fan_in) ** 0.5 for count, fan_in in fan_ins]
        self.weight = nn.Parameter(torch.cat(pieces).reshape(1, -1, 1, 1))

    def forward(self, images: int) -> Tensor:
        """(N, p, 1, 1) for `images` = N."""
        return self.weight.expand(images, -1, 1, 1)


def make_generators(
    config: DecoderConfig, signal_channels: int, num_weights: Sequence[int]
) -> nn.ModuleList:
    """One `SignalToWeights` per weight layer, with its share of the signal.

    Args:
        config: the decoder's wiring and weight groups.
        signal_channels: S.
        num_weights: generated weights per level, coarse first.

    Returns:
        As many layers as levels, or fewer where the last levels share a joint one.
    """
    groups = [level.weight_groups for level in config.levels]
    counts = list(num_weights)
    unit = max(groups)
    if config.joint_levels > 1:
        first = len(counts) - config.joint_levels
        counts[first:] = [sum(counts[first:])]
    if config.wiring == "nested":
        rounded = [-(-count // group) * group for count, group in zip(counts, groups, strict=True)]
        shares = divide_channels_legacy(signal_channels, rounded, max(8, unit))
    else:
        shares = divide_channels(signal_channels, counts, unit)
    offsets = [0] * len(shares)
    if config.wiring != "shared":
        offsets = [sum(shares[:index]) for index in range(len(shares))]
    return nn.ModuleList(
        SignalToWeights(offset, share, count, group)
        for offset, share, count, group in zip(offsets, shares, counts, groups, strict=False)
    )
