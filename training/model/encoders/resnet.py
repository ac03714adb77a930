"""ResNet backbones (He et al., CVPR 2016), plain or with pyramid pooling (Zhao et al., CVPR 2017).

The paper's ablation names ResNet18, PSPNet18 and PSPNet50 but no weights or construction were
released: these follow the paper's tables as closely as they say, and are nobody's published models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.model.encoders.base import Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class ResNetConfig:
    """One member of the family."""

    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    bottleneck: bool = False
    pyramid_bins: tuple[int, ...] = ()
    """Grid sizes of the pyramid pooling before the head; empty for none."""
    head_channels: int = 1280


CONFIGS = {
    "resnet18": ResNetConfig(),
    "pspnet18": ResNetConfig(pyramid_bins=(1, 2, 3, 6)),
    "pspnet50": ResNetConfig((3, 4, 6, 3), bottleneck=True, pyramid_bins=(1, 2, 3, 6)),
}


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU; "same" size at stride 1."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or a 1x1-3x3-1x1 bottleneck, with a shortcut."""

    def __init__(self, inputs: int, width: int, *, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * 4 if bottleneck else width
        if bottleneck:
            self.body = nn.Sequential(
                *conv_bn_relu(inputs, width),
                *conv_bn_relu(width, width, 3, stride),
                nn.Conv2d(width, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
        else:
            self.body = nn.Sequential(
                *conv_bn_relu(inputs, width, 3, stride),
                nn.Conv2d(width, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
            )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


class PyramidPooling(nn.Module):
    """Means over coarse grids, reduced, brought back and concatenated: C -> 2C channels."""

    def __init__(self, channels: int, bins: Sequence[int]) -> None:
        super().__init__()
        self.bins = tuple(bins)
        self.reduce = nn.ModuleList(conv_bn_relu(channels, channels // len(bins)) for _ in bins)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 2C, H, W)."""
        maps = [x]
        for bins, reduce in zip(self.bins, self.reduce, strict=True):
            pooled = reduce(F.adaptive_avg_pool2d(x, bins))
            maps.append(F.interpolate(pooled, x.shape[2:], mode="bilinear", align_corners=False))
        return torch.cat(maps, 1)


class ResNet(Encoder):
    """Taps: the stem (stride 2) and the four stages; the head map is the last one, reduced."""

    def __init__(self, config: ResNetConfig) -> None:
        expansion = 4 if config.bottleneck else 1
        widths = (64, 128, 256, 512)
        super().__init__((64, *(width * expansion for width in widths)), config.head_channels)
        self.stem = conv_bn_relu(3, 64, 7, 2)
        stages, inputs = [], 64
        for number, (width, depth) in enumerate(zip(widths, config.depths, strict=True)):
            blocks = []
            for index in range(depth):
                stride = 2 if index == 0 and number > 0 else 1
                blocks.append(
                    ResidualBlock(inputs, width, stride=stride, bottleneck=config.bottleneck)
                )
                inputs = width * expansion
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        pyramid = bool(config.pyramid_bins)
        self.pyramid = PyramidPooling(inputs, config.pyramid_bins) if pyramid else None
        self.head = conv_bn_relu(inputs * 2 if pyramid else inputs, config.head_channels)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """See `Encoder`."""
        x = self.stem(image)
        features = [x]
        x = F.max_pool2d(x, 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        deepest = x if self.pyramid is None else self.pyramid(x)
        return features, self.head(deepest)
