"""``timm:<name>``: any timm network with taps at strides 2 to 32, when timm is installed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_runtime.errors import DependencyError, OptionError
from training.model.encoders.base import Encoder

STRIDES = [2, 4, 8, 16, 32]


class TimmEncoder(Encoder):
    """A timm feature extractor plus a 1x1 head.

    Raises:
        DependencyError: timm, or the torchvision it needs, is missing or broken.
        OptionError: timm knows no such network, or it lacks one of the five strides.
    """

    def __init__(self, name: str, head_channels: int = 1280) -> None:
        try:
            import timm
        except (ImportError, RuntimeError, AttributeError) as error:
            raise DependencyError(
                f"encoder 'timm:{name}' needs timm, which does not import here "
                f"({type(error).__name__}: {error}); install timm with a torchvision built for "
                f"torch {torch.__version__}, or choose a built-in encoder"
            ) from error
        try:
            body = timm.create_model(name, pretrained=False, features_only=True)
        except RuntimeError as error:
            raise OptionError(f"timm cannot make {name!r}: {error}") from error
        found = dict(zip(body.feature_info.reduction(), body.feature_info.channels(), strict=True))
        if missing := [stride for stride in STRIDES if stride not in found]:
            raise OptionError(
                f"timm's {name!r} has features at strides {sorted(found)}; HyperSeg also needs "
                f"{missing}: choose a convolutional network with a stride-2 stem"
            )
        super().__init__([found[stride] for stride in STRIDES], head_channels)
        self.body = body
        self.indices = [list(body.feature_info.reduction()).index(stride) for stride in STRIDES]
        self.head = nn.Sequential(
            nn.Conv2d(self.channels[-1], head_channels, 1, bias=False),
            nn.BatchNorm2d(head_channels),
            nn.ReLU(),
        )

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """See `Encoder`."""
        maps = self.body(image)
        features = [maps[index] for index in self.indices]
        return features, self.head(features[-1])
