"""How a run went over time, in fixed memory: figures by windows that grow with the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

from edge_runtime.timing import nearest_rank

WINDOWS = 120
"""When all are full, every two become one: a window is 1 s at first and 12 min after a day."""
FIRST_NS = 10**9
_SHORTEST_MS, _LONGEST_MS = 0.01, 60_000.0
_STEP = math.log(1.04)
"""A bin is 4 % wide, so a percentile of a window is good to 2 %."""
_OFFSET = math.log(_SHORTEST_MS)
BINS = math.ceil((math.log(_LONGEST_MS) - _OFFSET) / _STEP) + 1
COLUMNS = ("t_s", "frames", "mean_ms", "p50_ms", "p95_ms", "max_ms")


@dataclass(frozen=True)
class LatencyHistory:
    """Capture to publish over the run, the warm-up included."""

    window_s: float
    columns: tuple[str, ...]
    """``t_s`` is the begin of the window, in seconds since the first frame."""
    rows: list[list[float | None]]
    """Windows with frames, in their order; a percentile is null when the sample is too small."""
    bins_ms: list[float]
    """Upper bounds of the bins below, of those only that hold frames."""
    counts: list[int]
    """Frames of the whole run by latency."""


class _Window:
    """Latencies between two moments."""

    __slots__ = ("counts", "highest_ns", "n", "sum_ns")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.n = 0
        self.sum_ns = 0
        self.highest_ns = 0

    def add(self, duration_ns: int) -> None:
        ms = min(max(duration_ns * 1e-6, _SHORTEST_MS), _LONGEST_MS)
        place = int((math.log(ms) - _OFFSET) / _STEP)
        self.counts[place] = self.counts.get(place, 0) + 1
        self.n += 1
        self.sum_ns += duration_ns
        self.highest_ns = max(self.highest_ns, duration_ns)

    def merge(self, other: _Window) -> None:
        for place, count in other.counts.items():
            self.counts[place] = self.counts.get(place, 0) + count
        self.n += other.n
        self.sum_ns += other.sum_ns
        self.highest_ns = max(self.highest_ns, other.highest_ns)

    def percentile_ms(self, permille: int) -> float | None:
        if self.n * (1000 - permille) < 10_000:
            return None
        rank = nearest_rank(self.n, permille)
        places = sorted(self.counts)
        totals = accumulate(self.counts[place] for place in places)
        found = next(place for place, total in zip(places, totals, strict=True) if total > rank)
        return min(math.exp(_OFFSET + (found + 0.5) * _STEP), self.highest_ns * 1e-6)


class History:
    """Latencies by windows of time. The loop adds; a summary is made of it at the end."""

    def __init__(self) -> None:
        self._begin_ns: int | None = None
        self._width_ns = FIRST_NS
        self._windows: list[_Window] = []

    def add(self, duration_ns: int, now_ns: int) -> None:
        """Count a frame that was published now."""
        if self._begin_ns is None:
            self._begin_ns = now_ns
        number = (now_ns - self._begin_ns) // self._width_ns
        while number >= WINDOWS:
            self._halve()
            number = (now_ns - self._begin_ns) // self._width_ns
        while len(self._windows) <= number:
            self._windows.append(_Window())
        self._windows[number].add(duration_ns)

    def _halve(self) -> None:
        for even, odd in zip(self._windows[::2], self._windows[1::2], strict=False):
            even.merge(odd)
        self._windows = self._windows[::2]
        self._width_ns *= 2

    def summary(self, first_ns: int) -> LatencyHistory | None:
        """What a report says; None without frames.

        Args:
            first_ns: what counts as 0 s.
        """
        if self._begin_ns is None:
            return None
        rows: list[list[float | None]] = []
        total = _Window()
        for number, window in enumerate(list(self._windows)):
            if window.n == 0:
                continue
            begin_s = (self._begin_ns + number * self._width_ns - first_ns) * 1e-9
            rows.append(
                [
                    round(begin_s, 3),
                    window.n,
                    _rounded(window.sum_ns / window.n * 1e-6),
                    _rounded(window.percentile_ms(500)),
                    _rounded(window.percentile_ms(950)),
                    _rounded(window.highest_ns * 1e-6),
                ]
            )
            total.merge(window)
        places = sorted(total.counts)
        return LatencyHistory(
            window_s=self._width_ns * 1e-9,
            columns=COLUMNS,
            rows=rows,
            bins_ms=[round(math.exp(_OFFSET + (place + 1) * _STEP), 4) for place in places],
            counts=[total.counts[place] for place in places],
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
