"""What a backbone must offer, whatever its family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


class Encoder(nn.Module):
    """An image encoder with five taps and a head map.

    `forward` maps a normalised image (N, 3, H, W) to ``(features, head)``: five maps at strides 2,
    4, 8, 16 and 32 with `channels` channels, and the map (N, head_channels, H/32, W/32) the context
    head reads. H and W must be multiples of 32.
    """

    def __init__(self, channels: Sequence[int], head_channels: int) -> None:
        super().__init__()
        if len(channels) != 5:
            raise ValueError(f"an encoder has taps at five strides, got {len(channels)}")
        self.channels = tuple(channels)
        self.head_channels = head_channels

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """See the class."""
        raise NotImplementedError


def parameter_count(module: nn.Module) -> int:
    """Number of learnable values."""
    return sum(parameter.numel() for parameter in module.parameters())
