"""A plain feature pyramid: under generated levels, or as the head that the hypernetwork must beat.

After Lin et al., CVPR 2017: one 1x1 lateral convolution per stride, summed from coarse to fine, one
3x3 convolution. Ordinary learned weights throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


class FeaturePyramid(nn.Module):
    """Taps of several strides joined into one map at the finest of them.

    Args:
        tap_channels: of the taps from stride 32 to the stride of the map.
        width: channels of the map.
    """

    def __init__(self, tap_channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in tap_channels)
        # They do nothing, and give what an addition reads and makes a name to hang a quantiser on.
        self.resized = nn.ModuleList(nn.Identity() for _ in tap_channels)
        self.sums = nn.ModuleList(nn.Identity() for _ in tap_channels)
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """(N, width, h, w), h and w those of the finest tap read.

        Args:
            taps: features from stride 32 on; those finer than the map are not read.
        """
        out: Tensor | None = None
        modules = zip(taps, self.laterals, self.resized, self.sums, strict=False)
        for tap, lateral, resized, summed in modules:
            x: Tensor = lateral(tap)
            if out is not None:
                size = (int(x.shape[2]), int(x.shape[3]))
                out = F.interpolate(out, size, mode="bilinear", align_corners=False)
                x = summed(x + resized(out))
            out = x
        assert out is not None
        smooth: Tensor = self.smooth(out)
        return smooth


class FpnDecoder(FeaturePyramid):
    """The pyramid and a classifier, in the place of `training.model.decoder.Decoder`.

    Args:
        tap_channels: of the taps from stride 32 to the stride of the logits.
        width: channels of the pyramid.
        num_classes: channels of the logits.
    """

    def __init__(self, tap_channels: Sequence[int], width: int, num_classes: int) -> None:
        super().__init__(tap_channels, width)
        self.classify = nn.Conv2d(width, num_classes, 1)

    def forward(self, taps: Sequence[Tensor], signal: Tensor | None = None) -> Tensor:
        """Logits (N, num_classes, h, w), h and w those of the finest tap read.

        Args:
            taps: features from stride 32 on; those finer than the logits are not read.
            signal: not read.
        """
        logits: Tensor = self.classify(super().forward(taps))
        return logits
