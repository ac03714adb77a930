"""Backbones by name: EfficientNet, ResNet and PSPNet of our own, ``timm:<name>`` for the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge_runtime.errors import OptionError
from training.model.encoders import efficientnet, resnet
from training.model.encoders.base import Encoder

ENCODER_NAMES = (*efficientnet.CONFIGS, *resnet.CONFIGS)


def build_encoder(
    name: str,
    *,
    width: float = 1.0,
    head_channels: int | None = None,
    expansions: tuple[int, ...] | None = None,
) -> Encoder:
    """A backbone with random weights.

    Args:
        name: one of `ENCODER_NAMES`, or ``timm:<name>``.
        width: extra multiplier on the channels (EfficientNet only).
        head_channels: channels of the head map before width scaling; None for the usual number.
        expansions: hidden over input channels, by stage (EfficientNet only); None for the usual.

    Raises:
        OptionError: no such encoder, or a width or expansions that it does not have.
        DependencyError: a timm encoder without a working timm.
    """
    extra: dict[str, Any] = {} if head_channels is None else {"head_channels": head_channels}
    if name in efficientnet.CONFIGS:
        base = efficientnet.CONFIGS[name]
        if expansions is not None:
            extra["expansions"] = expansions
        return efficientnet.EfficientNet(replace(base, width=base.width * width, **extra))
    if width != 1.0:
        raise OptionError(f"encoder {name!r} has no width multiplier; got {width}, use 1.0")
    if expansions is not None:
        raise OptionError(f"encoder {name!r} has no expansions; got {expansions}, use None")
    if name in resnet.CONFIGS:
        return resnet.ResNet(replace(resnet.CONFIGS[name], **extra))
    if name.startswith("timm:"):
        from training.model.encoders.timm_adapter import TimmEncoder

        return TimmEncoder(name.removeprefix("timm:"), **extra)
    raise OptionError(
        f"no encoder {name!r}; choose one of {', '.join(ENCODER_NAMES)} or timm:<name>"
    )
