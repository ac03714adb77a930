"""Histograms of magnitudes that grow with the data, exactly and in constant memory.

The range of a histogram is a power of two. A larger value doubles it: neighbouring bins are added.
So the counts depend on the values alone, not on their order or on where collection was interrupted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 4096
MIN_EXPONENT = -100
"""Of the narrowest range; the width of its bins is still a normal float32."""
FP16_MAX = 65504.0
_PIECE = 1 << 16
"""Values binned at once: their scratch memory stays in the cache."""


@dataclass
class TensorStatistics:
    """What is known of one tensor's values over all frames so far."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """(BINS,) values by magnitude, from 0 to ``2 ** exponent``."""
    exponent: int = MIN_EXPONENT
    largest: float = 0.0
    """Largest finite magnitude."""
    average: float = 0.0
    """Moving average of the frames' largest magnitudes."""
    frames: int = 0
    negatives: int = 0
    """Frames in which a value was below zero."""
    nans: int = 0
    infinities: int = 0
    beyond_fp16: int = 0
    """Values whose magnitude FP16 cannot hold."""

    MOMENTUM = 0.9
    """Of the moving average."""

    @property
    def width(self) -> float:
        """Of one bin."""
        return math.ldexp(1.0, self.exponent) / BINS

    @property
    def all_zero(self) -> bool:
        """Whether no value but zero was ever seen."""
        return self.largest == 0.0

    def coarse(self, bins: int) -> list[int]:
        """Counts of `bins` even steps from 0 to about the largest magnitude, for people."""
        used = min(int(self.largest / self.width) + 1, BINS)
        return [int(piece.sum()) for piece in np.array_split(self.counts[:used], bins)]

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in one frame's values, of any shape."""
        flat = values.reshape(-1)
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            self.nans += int(np.isnan(flat).sum())
            self.infinities += int(np.isinf(flat).sum())
            flat = flat[np.isfinite(flat)]
            low, high = (float(flat.min()), float(flat.max())) if flat.size else (0.0, 0.0)
        amax = max(-low, high)
        self.negatives += low < 0
        self.average = (
            self.MOMENTUM * self.average + (1 - self.MOMENTUM) * amax if self.frames else amax
        )
        self.frames += 1
        self.largest = max(self.largest, amax)
        if amax > FP16_MAX:
            self.beyond_fp16 += int((np.abs(flat) > FP16_MAX).sum())
        if amax == 0.0:
            # Zeros say nothing about the range: they must not widen it.
            self.counts[0] += flat.size
            return
        self._grow(math.frexp(amax)[1])
        factor = np.float32(BINS) * np.float32(math.ldexp(1.0, -self.exponent))
        for start in range(0, flat.size, _PIECE):
            bins = np.abs(flat[start : start + _PIECE])
            bins *= factor
            self.counts += np.bincount(bins.astype(np.intp), minlength=BINS)

    def _grow(self, exponent: int) -> None:
        if exponent <= self.exponent:
            return
        steps = min(exponent - self.exponent, BINS.bit_length())
        self.exponent = exponent
        for _ in range(steps):
            merged = self.counts[0::2] + self.counts[1::2]
            self.counts = np.concatenate((merged, np.zeros_like(merged)))
