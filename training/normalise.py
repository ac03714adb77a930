"""From uint8 pictures to the network's float input, on whatever device they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def normalise(
    frames: Tensor, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Pictures as the network wants them: ``(frame / 255 - mean) / std``.

    Args:
        frames: (N, H, W, 3) uint8 RGB.
        mean: per channel, of RGB in 0..1.
        std: per channel, of RGB in 0..1.

    Returns:
        (N, 3, H, W) float32 in channels-last memory, which needs no copy of the frames.
    """
    scale = torch.tensor([1 / (255 * value) for value in std], device=frames.device)
    shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=frames.device)
    return (frames.float() * scale - shift).permute(0, 3, 1, 2)  # (N, H, W, 3) -> (N, 3, H, W)
