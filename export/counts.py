"""Multiply-accumulates and parameters of a network, in all and by part."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of convolutions and matrix products for one image."""

    total: int
    by_part: dict[str, int]
    """Of the network's direct children, by attribute name."""


def count_macs(net: nn.Module, size: tuple[int, int]) -> Macs:
    """Count without computing: shapes are traced on the meta device.

    Args:
        net: maps (1, 3, H, W) to anything.
        size: (H, W).
    """
    # Not one learnable value: the counter hangs hooks on gradients, which learned decoder weights
    # that are passed on as they are (a static decoder's) do not have.
    shadow = copy.deepcopy(net).to("meta").eval().requires_grad_(False)
    image = torch.zeros(1, 3, *size, device="meta", dtype=next(shadow.parameters()).dtype)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(image)
    root = type(net).__name__
    parts = {
        name: sum(counter.flop_counts.get(f"{root}.{name}", {}).values()) // 2
        for name, _ in net.named_children()
    }
    return Macs(counter.get_total_flops() // 2, {k: v for k, v in parts.items() if v})
