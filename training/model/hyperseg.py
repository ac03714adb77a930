"""HyperSeg (Nirkin, Wolf, Hassner, CVPR 2021): an encoder that generates its decoder's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from training.model.config import check_size
from training.model.context_head import NestedContextHead, UNetContextHead
from training.model.decoder import Decoder
from training.model.encoders import build_encoder
from training.model.fpn import FpnDecoder

if TYPE_CHECKING:
    from training.model.config import HyperSegConfig


class HyperSeg(nn.Module):
    """Backbone -> context head -> signal -> generated weights -> decoder -> logits.

    Raises:
        OptionError: the configuration names an encoder that does not exist.
        DependencyError: a timm encoder without a working timm.
    """

    def __init__(self, config: HyperSegConfig) -> None:
        super().__init__()
        self.config = config
        encoder = config.encoder
        self.backbone = build_encoder(
            encoder.name,
            width=encoder.width,
            head_channels=encoder.head_channels,
            expansions=encoder.expansions,
        )
        self.reductions = nn.ModuleList(
            nn.Identity() if reduced is None else _reduction(channels, reduced)
            for channels, reduced in zip(self.backbone.channels, encoder.tap_channels, strict=True)
        )
        taps = [
            reduced or channels
            for channels, reduced in zip(self.backbone.channels, encoder.tap_channels, strict=True)
        ]
        head = self.backbone.head_channels
        self.context_head: UNetContextHead | NestedContextHead | None = None
        if config.decoder.weights == "patch":
            make = UNetContextHead if config.context == "unet" else NestedContextHead
            self.context_head = make(head, config.context_levels)
        levels = [*reversed(taps), 3]
        self.decoder: Decoder | FpnDecoder = (
            FpnDecoder(
                levels[: config.decoder.pyramid_taps or len(config.decoder.levels)],
                config.decoder.levels[-1].channels,
                config.num_classes,
            )
            if config.decoder.weights == "fpn"
            else Decoder(config.decoder, levels, head, config.num_classes)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits of a normalised image.

        Args:
            image: (N, 3, H, W) RGB, normalised with the configuration's mean and std.

        Returns:
            (N, num_classes, H, W) raw logits at full resolution.

        Raises:
            OptionError: H or W does not fit (`training.model.config.check_size`).
        """
        height, width = int(image.shape[2]), int(image.shape[3])
        check_size(self.config, height, width)
        taps, head = self.encode(image)
        signal = head if self.context_head is None else self.context_head(head)
        logits: Tensor = self.decoder([*reversed(taps), image], signal)
        if logits.shape[2:] != image.shape[2:]:
            logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        return logits

    def encode(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """The reduced taps, stride 2 first, and the head map at stride 32."""
        features, head = self.backbone(image)
        taps = [reduce(tap) for reduce, tap in zip(self.reductions, features, strict=True)]
        return taps, head


def _reduction(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
    )
