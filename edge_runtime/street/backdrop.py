"""What lies behind everything: sky, clouds, and a far line of trees and roofs at the horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from edge_runtime.street.texture import Bgr, fractal, vary

if TYPE_CHECKING:
    from numpy.typing import NDArray

SKY, BUILDING, VEGETATION = 0, 1, 5


class Sky(NamedTuple):
    """One state of the sky, as wide as three views; it repeats after two."""

    image: NDArray[np.uint8]
    horizon: Bgr
    """Mean colour where it meets the ground: the colour of haze."""


class Backdrop:
    """Skies for three kinds of light, and the labels they share.

    Attributes:
        skies: clear, overcast, dusk.
        labels: (height, 3 * width) uint8.
        horizon: row of the horizon in them.
    """

    def __init__(
        self, rng: np.random.Generator, height: int, width: int, horizon: int, sun_side: int
    ) -> None:
        self.horizon = horizon
        self._width = width
        self._height = height
        line, self.labels = self._skyline(rng)
        clear = self._sky(rng, (205, 135, 80), (235, 215, 195), 0.55, (250, 250, 250), sun_side)
        grey = float(rng.uniform(165, 205))
        dull: Bgr = (grey * 0.92, grey * 0.88, grey * 0.86)
        overcast = self._sky(rng, dull, (grey + 12, grey + 10, grey + 8), 1.6, (225, 222, 220), 0)
        dusk = self._sky(rng, (120, 80, 70), (120, 150, 225), 0.9, (120, 115, 150), sun_side)
        self.skies = [self._finish(rng, image, line) for image in (clear, overcast, dusk)]

    def _mirrored(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One view as three: itself, mirrored, itself; seamless when repeated after two."""
        return np.ascontiguousarray(np.concatenate([image, image[:, ::-1], image], axis=1))

    def _sky(
        self, rng: np.random.Generator, zenith: Bgr, low: Bgr, cover: float, cloud: Bgr, sun: int
    ) -> NDArray[np.float32]:
        rows, columns = self._height, self._width
        up = np.clip(1 - np.arange(rows, dtype=np.float32) / self.horizon, 0, 1)[:, None, None]
        bright = float(rng.uniform(0.88, 1.08))
        ends = np.array(vary(rng, zenith, 10)) * bright, np.array(low) * min(bright, 1.03)
        image = (ends[1] + (ends[0] - ends[1]) * up**0.7).astype(np.float32)
        image = np.repeat(image, columns, axis=1)
        veil = _cloudy(rng, rows, columns, columns * 0.35)
        # Clouds lie flatter the closer they are to the horizon.
        thick = np.clip(veil * 0.6 + cover - 0.65 + rng.uniform(-0.25, 0.25), 0, 1)[..., None]
        shade = 1 - 0.22 * np.clip(_cloudy(rng, rows, columns, columns * 0.15), 0, 1)[..., None]
        image += thick * (np.array(cloud, np.float32) * shade - image) * 0.85
        if sun:
            across = np.linspace(-1, 1, columns, dtype=np.float32)[None, :, None]
            glow = np.exp(-((across - 0.8 * sun) ** 2) * 1.5) * np.exp(-((up - 0.35) ** 2) * 6)
            image += glow * np.array((8, 26, 38), np.float32)
        return image

    def _skyline(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Labels of the far line: one view wide, and three views wide."""
        rows, columns, horizon = self._height, self._width, self.horizon
        labels = np.zeros((rows, columns), np.uint8)
        unit = columns / 100
        trees = fractal(rng, 1, columns, 12 * unit, 5)[0] * 1.1 * unit + 2.6 * unit
        at = 0.0
        share = float(rng.uniform(0.0, 0.9))
        while at < columns:
            wide, tall = float(rng.uniform(3, 9)) * unit, float(rng.uniform(2.5, 7.5)) * unit
            if rng.random() < share:
                top = max(horizon - round(tall), 0)
                labels[top:horizon, round(at) : round(at + wide)] = BUILDING
            at += wide
        depth = np.arange(rows)[:, None]
        labels[(depth >= horizon - np.maximum(trees, 0.5)[None, :]) & (depth < horizon)] = (
            VEGETATION
        )
        labels[horizon:] = VEGETATION
        return labels, self._mirrored(labels)

    def _finish(
        self, rng: np.random.Generator, image: NDArray[np.float32], line: NDArray[np.uint8]
    ) -> Sky:
        """Draw the far line in the haze colour of this sky."""
        edge = max(self.horizon - max(self._height // 40, 1), 0)
        low = image[edge : self.horizon + 1].reshape(-1, 3).mean(axis=0)
        speckle = 1 + 0.05 * rng.standard_normal(line.shape, np.float32)[..., None]
        for label, colour in ((BUILDING, (120, 118, 120)), (VEGETATION, (70, 98, 84))):
            tint = (0.45 * low + 0.55 * np.array(colour) * low.mean() / 215).astype(np.float32)
            image = np.where((line == label)[..., None], tint * speckle, image)
        shown = np.asarray(cv2.convertScaleAbs(image), np.uint8)
        horizon: Bgr = (float(low[0]), float(low[1]), float(low[2]))
        return Sky(self._mirrored(shown), horizon)


def _cloudy(rng: np.random.Generator, rows: int, columns: int, cell: float) -> NDArray[np.float32]:
    """Noise without the creases of `fractal`: made small, smoothed, enlarged."""
    small = fractal(rng, max(rows // 4, 8), max(columns // 4, 8), cell / 4, 5)
    smooth = cv2.GaussianBlur(small, (0, 0), max(columns / 400, 0.5))
    noise = cv2.resize(smooth, (columns, rows), interpolation=cv2.INTER_CUBIC)
    return np.asarray(noise, np.float32)
