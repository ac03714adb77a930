"""Latencies over a run of any length, by parts of it, in memory that is taken once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RELATIVE_ERROR = 0.0025
_SHORTEST_MS, _LONGEST_MS = 0.01, 60_000.0
_STEP = math.log1p(2 * RELATIVE_ERROR)
_OFFSET = math.log(_SHORTEST_MS)
BINS = math.ceil((math.log(_LONGEST_MS) - _OFFSET) / _STEP) + 1

Counts = NDArray[np.uint32]
"""(BINS,) frames by latency, each bin 0.5 % wider than the one before."""


def new_counts() -> Counts:
    """No frames yet, in memory that is really there."""
    counts = np.ones(BINS, np.uint32)
    counts[:] = 0
    return counts


def bin_of(latency_ms: float) -> int:
    """The bin of a latency; those outside 10 us to 60 s are in the first and the last."""
    clamped = min(max(latency_ms, _SHORTEST_MS), _LONGEST_MS)
    return int((math.log(clamped) - _OFFSET) / _STEP)


def quantile_ms(counts: Counts, share: float) -> float | None:
    """The nearest-rank quantile, to 0.25 %; None without frames."""
    total = int(counts.sum())
    if total == 0:
        return None
    rank = max(math.ceil(share * total), 1)
    found = int(np.searchsorted(np.cumsum(counts, dtype=np.int64), rank))
    return math.exp(_OFFSET + (found + 0.5) * _STEP)


@dataclass(frozen=True)
class Part:
    """Some consecutive frames."""

    begin_s: float
    """When the first of them came."""
    counts: Counts

    @property
    def frames(self) -> int:
        """How many."""
        return int(self.counts.sum())


class Latencies:
    """The latencies of one camera: at most `parts` parts of as many frames each.

    Args:
        parts: an even number; when all are full, every two become one.
        frames: of a part at first.
    """

    def __init__(self, parts: int = 48, frames: int = 128) -> None:
        self._counts = np.ones((parts, BINS), np.uint32)
        self._counts[:] = 0
        self._begin_s = np.zeros(parts)
        self._each = frames
        self._part, self._in_part = 0, 0

    def add(self, latency_ms: float, now_s: float) -> None:
        """Count a frame that was published at `now_s`."""
        if self._in_part == self._each:
            self._part, self._in_part = self._part + 1, 0
            if self._part == len(self._counts):
                self._merge()
        if self._in_part == 0:
            self._begin_s[self._part] = now_s
        self._counts[self._part, bin_of(latency_ms)] += 1
        self._in_part += 1

    def parts(self) -> list[Part]:
        """All parts in their order; the last one may have fewer frames."""
        last = self._part + (self._in_part > 0)
        return [Part(float(self._begin_s[i]), self._counts[i]) for i in range(last)]

    def _merge(self) -> None:
        half = len(self._counts) // 2
        # In place, row by row: a second table of this size would be growth that is not the run's.
        for i in range(half):
            np.add(self._counts[2 * i], self._counts[2 * i + 1], out=self._counts[i])
            self._begin_s[i] = self._begin_s[2 * i]
        self._counts[half:] = 0
        self._part, self._each = half, 2 * self._each
