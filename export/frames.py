"""Frames to compare graphs on where none are given: drawn, the same ones every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def sample_frames(
    mean: Sequence[float], std: Sequence[float], size: tuple[int, int], count: int
) -> list[NDArray[np.uint8]]:
    """Smooth noise and street scenes by turns, (H, W, 3) uint8 RGB.

    The noise has the mean and deviation the network's normalisation takes out, so that even a
    network that never saw a picture meets values of unit scale.

    Args:
        mean: of the normalisation, on values 0..1.
        std: likewise.
        size: (H, W).
        count: how many frames.
    """
    from edge_runtime.street import StreetCamera, StreetOptions

    frames = []
    for seed in range(count):
        if seed % 2:
            scene, _ = StreetCamera(StreetOptions(size=size, seed=seed)).frame(0)
            frames.append(np.ascontiguousarray(scene[..., ::-1]))
            continue
        rng = np.random.default_rng(seed)
        coarse = rng.standard_normal((size[0] // 16, size[1] // 16, 3))
        blobs = coarse.repeat(16, 0).repeat(16, 1) + 0.3 * rng.standard_normal((*size, 3))
        value = 255.0 * (np.array(mean) + np.array(std) * blobs)
        frames.append(value.clip(0, 255).astype(np.uint8))
    return frames
