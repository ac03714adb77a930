"""The network as it is trained: with an auxiliary head, if asked for, that no artefact has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

TAP = 3
"""Of the encoder's five: stride 16, deep enough to know classes and fine enough to place them."""


class Trainee(nn.Module):
    """A network, and on request a 1x1 classifier on its encoder's features at stride 16.

    Args:
        net: maps (N, 3, h, w) to (N, C, h, w) logits; for an auxiliary head its ``backbone`` is a
            `training.model.encoders.base.Encoder`.
        classes: of the auxiliary head; None for no such head.

    Raises:
        OptionError: an auxiliary head on a network without taps.
    """

    def __init__(self, net: nn.Module, classes: int | None) -> None:
        super().__init__()
        self.net = net
        self.auxiliary: nn.Conv2d | None = None
        self._tap: Tensor | None = None
        if classes is None:
            return
        backbone = getattr(net, "backbone", None)
        channels: Sequence[int] | None = getattr(backbone, "channels", None)
        if not isinstance(backbone, nn.Module) or channels is None:
            raise OptionError(
                f"{type(net).__name__} has no encoder taps for an auxiliary head; leave --aux out"
            )
        self.auxiliary = nn.Conv2d(channels[TAP], classes, 1)
        backbone.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        features, _ = outputs
        self._tap = features[TAP]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (N, C, h, w), and those of the auxiliary head (N, C, h/16, w/16) or None."""
        logits: Tensor = self.net(images)
        if self.auxiliary is None or self._tap is None:
            return logits, None
        tap, self._tap = self._tap, None
        return logits, self.auxiliary(tap)
