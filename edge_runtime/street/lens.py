"""What optics and sensor do to the picture; labels never pass through here."""

from __future__ import annotations

from math import sin
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.street.plan import Weather

_SPARE = 64  # the noise table is larger than a frame by this, so that frames differ


class Lens:
    """Exposure, white balance, blur and noise of one camera."""

    def __init__(
        self, rng: np.random.Generator, size: tuple[int, int], weather: Weather, strength: float
    ) -> None:
        self._strength = strength
        self._warmth = weather.warmth
        self._phases = rng.uniform(0, 2 * np.pi, 5)
        self._softness = float(rng.uniform(0.0, 0.75))
        self._gamma = float(rng.uniform(0.85, 1.2))
        sigma = float(rng.uniform(1.0, 4.5)) * strength
        table = rng.standard_normal((size[0] + _SPARE, size[1] + _SPARE, 3), np.float32) * sigma
        self._plus = np.clip(table, 0, 60).astype(np.uint8)
        self._minus = np.clip(-table, 0, 60).astype(np.uint8)
        self._noisy = sigma > 0

    def expose(
        self, scene: NDArray[np.uint8], index: int, time_s: float, dusk: float
    ) -> NDArray[np.uint8]:
        """The picture a camera takes of `scene`, (H, W, 3) uint8 BGR, newly allocated."""
        table = self._tone(time_s, dusk)
        image = np.asarray(cv2.LUT(scene, table), np.uint8)
        self._blur(image, time_s)
        if self._noisy:
            height, width = image.shape[:2]
            top, left = index * 37 % _SPARE, index * 23 % _SPARE
            place = (slice(top, top + height), slice(left, left + width))
            cv2.add(image, self._plus[place], image)
            cv2.subtract(image, self._minus[place], image)
        return image

    def _tone(self, time_s: float, dusk: float) -> NDArray[np.uint8]:
        """Exposure, contrast and white balance as a table, (256, 1, 3)."""
        strength, phases = self._strength, self._phases
        exposure = 1.0 + strength * (
            0.12 * sin(0.17 * time_s + phases[0]) + 0.06 * sin(0.71 * time_s + phases[1])
        )
        exposure *= 1.0 + 0.12 * dusk
        warm = self._warmth + 0.03 * sin(0.09 * time_s + phases[2])
        gamma = 1.0 + strength * (self._gamma - 1.0)
        curve = (np.arange(256) / 255.0) ** gamma * 255.0 * exposure
        lift = strength * 5.0 * (1 + sin(0.13 * time_s + phases[3]))
        gains = np.array([1 - strength * warm, 1.0, 1 + strength * warm])
        table = np.clip(curve[:, None] * gains + lift, 0, 255)
        return np.asarray(table[:, None, :], np.uint8)

    def _blur(self, image: NDArray[np.uint8], time_s: float) -> None:
        """Defocus that breathes, and now and then a shake."""
        if self._strength == 0:
            return
        sigma = self._strength * self._softness * (1 + 0.3 * sin(0.4 * time_s + self._phases[4]))
        if sigma > 0.3:
            cv2.GaussianBlur(image, (3, 3), sigma, image)
        shake = sin(2.3 * time_s + self._phases[0]) * sin(0.31 * time_s + self._phases[1])
        if self._strength * shake > 0.75:
            cv2.blur(image, (1, 3), image)
