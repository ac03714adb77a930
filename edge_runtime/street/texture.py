"""Textures with mip levels, and the noise they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Bgr = tuple[float, float, float]


def fractal(
    rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3
) -> NDArray[np.float32]:
    """Smooth noise, (height, width) float32 around 0 with a deviation of about 0.5.

    Args:
        rng: where it comes from.
        height: pixels.
        width: pixels.
        cell: size of the largest feature, pixels.
        octaves: each further one has half the size and half the weight.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        rows = max(round(height * 2**octave / cell), 2)
        columns = max(round(width * 2**octave / cell), 2)
        grid = rng.standard_normal((min(rows, height), min(columns, width)), np.float32)
        # Linear is several times faster than cubic, and the octaves hide its creases.
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR) * 0.55**octave
    return total


def grain(image: NDArray[np.uint8], noise: NDArray[np.float32], amount: float) -> NDArray[np.uint8]:
    """`image` (H, W, 3) multiplied by ``1 + amount * noise``; noise is (H, W)."""
    factor = cv2.merge([1.0 + amount * noise] * 3)
    return np.asarray(cv2.multiply(image, factor, dtype=cv2.CV_8U), np.uint8)


def vary(rng: np.random.Generator, colour: Bgr, spread: float) -> Bgr:
    """A colour near `colour`: common brightness and a little hue, each about `spread`."""
    near = np.array(colour) + rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
    blue, green, red = (float(channel) for channel in np.clip(near, 5, 250))
    return blue, green, red


def dim(colour: Iterable[float], factor: float, lift: float = 0.0) -> Bgr:
    """``colour * factor + lift``, at most 250 per channel."""
    blue, green, red = (min(channel * factor + lift, 250.0) for channel in colour)
    return blue, green, red


class Texture:
    """A picture with an optional shape, and its mip levels.

    Attributes:
        levels: (bgr (H, W, 3) uint8, mask (H, W) uint8 of 0 or 255, or None) from full size down
            by halves.
    """

    def __init__(self, bgr: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None) -> None:
        self.levels = [(bgr, mask)]
        while min(bgr.shape[:2]) >= 16 and len(self.levels) < 6:
            size = (bgr.shape[1] // 2, bgr.shape[0] // 2)
            bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
            if mask is not None:
                share = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
                mask = np.where(share > 127, 255, 0).astype(np.uint8)
            self.levels.append((bgr, mask))

    def at(self, pixels: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """The level for a picture that is `pixels` high on the screen."""
        shrink = self.levels[0][0].shape[0] / max(pixels, 1.0)
        level = int(np.log2(max(shrink, 1.0)) + 0.4)
        return self.levels[min(level, len(self.levels) - 1)]
