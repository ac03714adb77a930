"""Which frames to calibrate on: different from each other, and covering what there is.

A frame is described by its thumbnail, its brightness and contrast and, where labels exist, its
classes. Near-duplicates are left out; then, from a seeded start, the frame farthest from all chosen
ones is chosen again and again (greedy k-centre). Same frames, same seed: same choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THUMBNAIL = (12, 16)
"""(height, width) in pixels."""
DUPLICATE = 2.0
"""Mean difference of two thumbnails, in grey levels of 255, below which frames are the same."""
MAX_CANDIDATES = 20_000
"""Distinct frames looked at; a longer stream is cut there."""


class Candidates:
    """The distinct frames seen so far, as features alone: under 1 kB each."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        """Of the distinct frames, in the order of the stream."""
        self.seen = 0
        self._grey = np.zeros((64, THUMBNAIL[0] * THUMBNAIL[1]), np.float32)
        self._features: list[NDArray[np.float32]] = []

    def offer(self, frame: NDArray[np.uint8], labels: NDArray[np.uint8] | None = None) -> bool:
        """Look at the next frame; whether it is distinct from all before.

        Args:
            frame: (H, W, 3) uint8.
            labels: (H, W) uint8 train ids, if there are any.
        """
        number, count = self.seen, len(self.numbers)
        self.seen += 1
        thumbnail = _thumbnail(frame)
        grey = thumbnail.mean(axis=2).ravel()
        if count and np.abs(self._grey[:count] - grey).mean(axis=1).min() < DUPLICATE:
            return False
        if count == len(self._grey):
            self._grey = np.concatenate((self._grey, np.zeros_like(self._grey)))
        self._grey[count] = grey
        self.numbers.append(number)
        self._features.append(_features(thumbnail, labels))
        return True

    @property
    def full(self) -> bool:
        """Whether no more are looked at."""
        return len(self.numbers) >= MAX_CANDIDATES

    def choose(self, count: int, seed: int) -> list[int]:
        """Numbers of up to `count` frames, sorted."""
        if count >= len(self.numbers):
            return list(self.numbers)
        features = np.stack(self._features)
        chosen = [int(np.random.default_rng(seed).integers(len(features)))]
        distance = _distances(features, chosen[0])
        while len(chosen) < count:
            chosen.append(int(distance.argmax()))
            distance = np.minimum(distance, _distances(features, chosen[-1]))
        return sorted(self.numbers[index] for index in chosen)


def _distances(features: NDArray[np.float32], index: int) -> NDArray[np.float32]:
    return np.asarray(((features - features[index]) ** 2).sum(axis=1), np.float32)


def _thumbnail(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    height, width = THUMBNAIL
    small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _features(
    thumbnail: NDArray[np.float32], labels: NDArray[np.uint8] | None
) -> NDArray[np.float32]:
    """Scene, light and classes, each part scaled so that none decides alone."""
    scene = thumbnail.ravel() / (255.0 * np.sqrt(thumbnail.size))
    light = np.array([thumbnail.mean(), thumbnail.std()]) / 255.0
    parts = [scene, light]
    if labels is not None:
        shares = np.bincount(labels.ravel(), minlength=256)[:255] / labels.size
        # The root lifts rare classes: a pedestrian's 1 % counts as much as ten times more road.
        parts.append(np.sqrt(shares))
    return np.concatenate(parts).astype(np.float32)
