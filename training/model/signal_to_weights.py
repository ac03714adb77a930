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

    def __init__(
        self,
        offset: int,
        channels: int,
        num_weights: int,
        groups: int,
        base: Tensor | None = None,
    ) -> None:
        """One generator.

        Args:
            offset: first signal channel read.
            channels: signal channels read.
            num_weights: p.
            groups: of the convolution.
            base: (p,) weights that are added to the generated ones and learned, from this start on:
                the convolution's bias, which weight decay spares. The generated ones then start at
                zero. None: no bias.
        """
        super().__init__()
        self.offset, self.channels, self.num_weights = offset, channels, num_weights
        rows = -(-num_weights // groups) * groups
        self.conv = nn.Conv2d(channels, rows, 1, groups=groups, bias=base is not None)
        if base is not None:
            assert self.conv.bias is not None
            with torch.no_grad():
                self.conv.bias.zero_()[:num_weights] = base
                self.conv.weight.zero_()

    def forward(self, signal: Tensor) -> Tensor:
        """(N, S, gh, gw) signal -> (N, num_weights, gh, gw)."""
        share = signal[:, self.offset : self.offset + self.channels]
        weights: Tensor = self.conv(share)
        return weights[:, : self.num_weights]


class StaticWeights(nn.Module):
    """Ordinary learned weights in place of generated ones: one patch, the same for any image."""

    def __init__(self, start: Tensor) -> None:
        """From (p,) weights on."""
        super().__init__()
        self.weight = nn.Parameter(start.reshape(1, -1, 1, 1))

    def forward(self, images: int) -> Tensor:
        """(N, p, 1, 1) for `images` = N."""
        return self.weight.expand(images, -1, 1, 1)


def make_generators(
    config: DecoderConfig,
    signal_channels: int,
    counts: Sequence[int],
    bases: Sequence[Tensor] | None,
) -> nn.ModuleList:
    """One `SignalToWeights` per weight layer, with its share of the signal.

    Args:
        config: the decoder's wiring and weight groups.
        signal_channels: S.
        counts: weights of each level, coarse first.
        bases: as many learned weights of each, to which the generated ones are added; or None.

    Returns:
        As many layers as levels, or fewer where the last levels share a joint one.
    """
    groups = [level.weight_groups for level in config.levels]
    counts = list(counts)
    starts: list[Tensor | None] = [None] * len(counts) if bases is None else list(bases)
    unit = max(groups)
    if config.joint_levels > 1:
        first = len(counts) - config.joint_levels
        counts[first:] = [sum(counts[first:])]
        starts[first:] = [None if bases is None else torch.cat(list(bases[first:]))]
    if config.wiring == "nested":
        rounded = [-(-count // group) * group for count, group in zip(counts, groups, strict=True)]
        shares = divide_channels_legacy(signal_channels, rounded, max(8, unit))
    else:
        shares = divide_channels(signal_channels, counts, unit)
    offsets = [0] * len(shares)
    if config.wiring != "shared":
        offsets = [sum(shares[:index]) for index in range(len(shares))]
    return nn.ModuleList(
        SignalToWeights(offset, share, count, group, base)
        for offset, share, count, group, base in zip(
            offsets, shares, counts, groups, starts, strict=False
        )
    )
