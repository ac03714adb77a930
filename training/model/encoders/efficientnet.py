"""EfficientNet and EfficientNet-Lite backbones (Tan and Le, ICML 2019), as HyperSeg uses them.

The TensorFlow originals pad "same", which is asymmetric at stride 2 on even sizes. The published
HyperSeg weights were trained with paddings frozen for the nominal ImageNet size of the variant, not
for the real input, so the padding of a layer is a constant of the architecture here too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_runtime.errors import OptionError
from training.model.depthwise import depthwise_conv2d
from training.model.encoders.base import Encoder

BN_EPS = 1e-3
BN_MOMENTUM = 0.01


# (repeats, kernel, stride of the first block, expansion, in, out), Tan and Le, table 1.
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


@dataclass(frozen=True)
class EfficientNetConfig:
    """One member of the family."""

    width: float = 1.0
    depth: float = 1.0
    nominal_size: int = 240
    """ImageNet size in pixels; only the static paddings depend on it."""
    squeeze_excite: bool = True
    relu6: bool = False
    """ReLU6 instead of swish (EfficientNet-Lite)."""
    fixed_ends: bool = False
    """Stem, head, and the depth of the first and last stage are not scaled (EfficientNet-Lite)."""
    head_channels: int = 1280
    """Before width scaling."""
    dropout: float = 0.2
    """On the head map, while training."""
    expansions: tuple[int, ...] = tuple(stage[3] for stage in STAGES)
    """Hidden over input channels in the blocks of each stage."""

    def __post_init__(self) -> None:
        if len(self.expansions) != len(STAGES) or min(self.expansions) < 1:
            raise OptionError(
                f"expansions needs a whole number of at least 1 for each of {len(STAGES)} stages, "
                f"got {self.expansions}"
            )
        if 1 in self.expansions[1:]:
            raise OptionError(
                f"expansions are {self.expansions}: only the first stage may have 1, which is a "
                "block without its first convolution; give the others at least 2"
            )


CONFIGS = {
    "efficientnet-b1": EfficientNetConfig(depth=1.1, nominal_size=240),
    "efficientnet-b3": EfficientNetConfig(width=1.2, depth=1.4, nominal_size=300, dropout=0.3),
    "efficientnet-lite0": EfficientNetConfig(
        nominal_size=256, squeeze_excite=False, relu6=True, fixed_ends=True
    ),
    "efficientnet-lite1": EfficientNetConfig(
        depth=1.1, nominal_size=256, squeeze_excite=False, relu6=True, fixed_ends=True
    ),
}
"""The variants by name. Lite's padding follows the real (even) size, as any multiple of 32 does."""


def scaled_width(channels: int, width: float) -> int:
    """Channels times the width multiplier, rounded to a multiple of 8, never down by over 10 %."""
    if width == 1.0:
        return channels
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def static_padding(size: int, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Zeros (left, right, top, bottom) that "same" padding adds at input `size` pixels."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2, total // 2, total - total // 2


class PaddedConv(nn.Conv2d):
    """A bias-free convolution with its own zeros per side.

    Equal paddings go into the convolution itself; unequal ones become a pad in front of it.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int, size: int, groups: int = 1
    ) -> None:
        left, right, top, bottom = static_padding(size, kernel, stride)
        symmetric = left == right and top == bottom
        super().__init__(
            inputs, outputs, kernel, stride, padding=(top, left) if symmetric else 0,
            groups=groups, bias=False,
        )  # fmt: skip
        self.side_padding = None if symmetric else (left, right, top, bottom)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        if self.side_padding is not None:
            x = F.pad(x, self.side_padding)
        if self.training and self.groups > 1 and x.device.type == "cpu":
            padding = 0 if self.side_padding else int(self.padding[0])
            return depthwise_conv2d(x, self.weight, stride=self.stride[0], padding=padding)
        return super().forward(x)


class ConvBn(nn.Sequential):
    """Convolution and batch norm, children `conv` and `bn`."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.BatchNorm2d(conv.out_channels, eps=BN_EPS, momentum=BN_MOMENTUM)


class SqueezeExcite(nn.Module):
    """Channel gate from the global mean (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same, every channel scaled by its gate."""
        gate = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(F.silu(self.reduce(gate))))


class MBConv(nn.Module):
    """Inverted residual: expand 1x1, depthwise, squeeze-excite, project 1x1."""

    def __init__(
        self,
        config: EfficientNetConfig,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int,
        expansion: int,
        size: int,
        drop_rate: float,
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvBn(nn.Conv2d(inputs, hidden, 1, bias=False)) if expansion != 1 else None
        self.depthwise = ConvBn(
            PaddedConv(hidden, hidden, kernel, stride=stride, size=size, groups=hidden)
        )
        # The squeezed width comes from the block's input, not from the expanded width.
        squeezed = max(1, inputs // 4)
        self.se = SqueezeExcite(hidden, squeezed) if config.squeeze_excite else None
        self.project = ConvBn(nn.Conv2d(hidden, outputs, 1, bias=False))
        self.activation: nn.Module = nn.ReLU6() if config.relu6 else nn.SiLU()
        self.residual = stride == 1 and inputs == outputs
        self.drop_rate = drop_rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        y = x if self.expand is None else self.activation(self.expand(x))
        y = self.activation(self.depthwise(y))
        if self.se is not None:
            y = self.se(y)
        projected: Tensor = self.project(y)
        if not self.residual:
            return projected
        return x + self._stochastic_depth(projected)

    def _stochastic_depth(self, branch: Tensor) -> Tensor:
        """Drop the computed branch per sample while training; the survivors are scaled up."""
        if not self.training or self.drop_rate == 0.0:
            return branch
        keep = 1.0 - self.drop_rate
        shape = (branch.shape[0], 1, 1, 1)
        alive = torch.rand(shape, dtype=branch.dtype, device=branch.device) < keep
        return branch * alive / keep


class EfficientNet(Encoder):
    """Stem, MBConv stages, and the 1x1 head convolution whose map feeds the context head."""

    def __init__(self, config: EfficientNetConfig) -> None:
        ends_width = 1.0 if config.fixed_ends else config.width
        stem = scaled_width(32, ends_width)
        plan, taps, channels = _block_plan(config, stem)
        super().__init__(channels, scaled_width(config.head_channels, ends_width))
        self.taps = taps
        self.stem = ConvBn(PaddedConv(3, stem, 3, stride=2, size=config.nominal_size))
        self.blocks = nn.ModuleList(MBConv(config, **block) for block in plan)
        self.head = ConvBn(nn.Conv2d(channels[-1], self.head_channels, 1, bias=False))
        self.activation: nn.Module = nn.ReLU6() if config.relu6 else nn.SiLU()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """See `Encoder`."""
        x = self.activation(self.stem(image))
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                features.append(x)
        head = self.dropout(self.activation(self.head(x)))
        return features, head


def _block_plan(
    config: EfficientNetConfig, stem: int
) -> tuple[list[dict[str, Any]], tuple[int, ...], list[int]]:
    """Arguments of every block, the tapped block indices, and the tapped channels."""
    plan: list[dict[str, Any]] = []
    size = math.ceil(config.nominal_size / 2)
    inputs = stem
    for number, (repeats, kernel, first_stride, _, _, base) in enumerate(STAGES):
        end = number in (0, len(STAGES) - 1)
        count = repeats if config.fixed_ends and end else math.ceil(config.depth * repeats)
        outputs = scaled_width(base, config.width)
        for repeat in range(count):
            stride = first_stride if repeat == 0 else 1
            plan.append(
                {"inputs": inputs, "outputs": outputs, "kernel": kernel, "stride": stride,
                 "expansion": config.expansions[number], "size": size}
            )  # fmt: skip
            size = math.ceil(size / stride)
            inputs = outputs
    for index, block in enumerate(plan):
        block["drop_rate"] = 0.2 * index / len(plan)
    # A tap is the last block before the stride increases, and the last block of all.
    taps = tuple(
        index
        for index in range(len(plan))
        if index + 1 == len(plan) or plan[index + 1]["stride"] == 2
    )
    return plan, taps, [plan[index]["outputs"] for index in taps]
