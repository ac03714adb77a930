"""Stamps of one frame, the stages between them, and distributions of durations in fixed memory.

All stamps are CLOCK_MONOTONIC nanoseconds. The stages tile the interval from capture to publish:
their sum is the `result` latency exactly, for every frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ddsketch import DDSketch

if TYPE_CHECKING:
    from typing_extensions import Self

STAGES = ("arrival", "queue", "preprocess", "h2d", "infer", "d2h", "postprocess", "publish")
"""Between capture and publish, in this order, without holes."""
DEVICE_COPIES = ("h2d", "d2h")
"""Stages that exist only for a backend with memory of its own."""
LATENCIES = ("result", "pipeline", "engine", "age_at_infer")

RELATIVE_ERROR = 0.001
"""Greatest relative error of a percentile."""
SHORTEST_MS, LONGEST_MS = 0.001, 60_000.0
"""Durations outside are counted at the limit; that bounds a sketch to 8,960 bins (72 kB)."""

PERMILLE = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p999": 999}
"""Percentiles by their name in reports, in thousandths: exact, unlike 0.999."""


@dataclass(slots=True)
class FrameStamps:
    """When one frame passed each boundary. Nanoseconds, in the order of the fields."""

    capture: int
    """Taken, according to the source's `timestamp_source`."""
    arrival: int
    """Left the source element."""
    ready: int
    """Decoded, scaled and converted."""
    dequeue: int
    """Taken by the loop."""
    copy_start: int
    """The copy into the network's input began."""
    infer_enter: int
    """The backend was entered."""
    h2d_end: int
    """The input is where the network computes."""
    infer_end: int
    d2h_end: int
    """The output is back in host memory."""
    post_end: int
    """The mask is complete."""
    publish: int = 0
    """Every sink has the result; the callback is called now."""

    def stages_ns(self) -> tuple[int, ...]:
        """Durations in the order of `STAGES`."""
        return (
            self.arrival - self.capture,
            self.copy_start - self.ready,
            (self.ready - self.arrival) + (self.infer_enter - self.copy_start),
            self.h2d_end - self.infer_enter,
            self.infer_end - self.h2d_end,
            self.d2h_end - self.infer_end,
            self.post_end - self.d2h_end,
            self.publish - self.post_end,
        )

    def latencies_ns(self) -> tuple[int, ...]:
        """Durations in the order of `LATENCIES`."""
        return (
            self.publish - self.capture,
            self.publish - self.arrival,
            self.d2h_end - self.infer_enter,
            self.h2d_end - self.capture,
        )

    @property
    def engine_ns(self) -> int:
        """h2d + infer + d2h."""
        return self.d2h_end - self.infer_enter


@dataclass(frozen=True)
class Distribution:
    """Summary of many durations, in milliseconds; null where the sample is too small."""

    n: int = 0
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None


class Series:
    """Durations of one kind: exact n, mean, std, min and max, percentiles to 0.1 %.

    Memory is fixed by the range of values, not by their number; two series add up without loss.
    """

    __slots__ = ("_highest", "_lowest", "_m2", "_mean", "_sketch", "clamped", "n")

    def __init__(self) -> None:
        self.n = 0
        self.clamped = 0
        """How many lay outside `SHORTEST_MS` to `LONGEST_MS`; zero itself is not counted."""
        self._mean = 0.0
        self._m2 = 0.0
        self._lowest = math.inf
        self._highest = -math.inf
        self._sketch = DDSketch(RELATIVE_ERROR)

    def add_ns(self, duration_ns: int) -> None:
        """Count one duration."""
        value = duration_ns * 1e-6
        self.n += 1
        delta = value - self._mean
        self._mean += delta / self.n
        self._m2 += delta * (value - self._mean)
        if value < self._lowest:
            self._lowest = value
        if value > self._highest:
            self._highest = value
        if not SHORTEST_MS <= value <= LONGEST_MS:
            self.clamped += value != 0.0
            value = min(max(value, SHORTEST_MS), LONGEST_MS)
        self._sketch.add(value)

    def merge(self, other: Self) -> None:
        """Add what `other` has counted."""
        if other.n == 0:
            return
        total = self.n + other.n
        delta = other._mean - self._mean
        self._mean += delta * other.n / total
        self._m2 += other._m2 + delta * delta * self.n * other.n / total
        self.n = total
        self.clamped += other.clamped
        self._lowest = min(self._lowest, other._lowest)
        self._highest = max(self._highest, other._highest)
        self._sketch.merge(other._sketch)

    @property
    def mean_ms(self) -> float | None:
        """Exact mean, or None without values."""
        return self._mean if self.n else None

    @property
    def max_ms(self) -> float | None:
        """Exact maximum, or None without values."""
        return self._highest if self.n else None

    def percentile_ms(self, name: str) -> float | None:
        """The nearest-rank percentile of `PERMILLE`, or None when n < 10 / (1 - p)."""
        permille = PERMILLE[name]
        if self.n * (1000 - permille) < 10_000:
            return None
        rank = nearest_rank(self.n, permille)
        # Half a rank up: a rounding error of the division must not fall to the rank below.
        value = self._sketch.get_quantile_value(min((rank + 0.5) / (self.n - 1), 1.0))
        assert value is not None
        return min(max(value, self._lowest), self._highest)

    def distribution(self) -> Distribution:
        """All figures of a report."""
        if self.n == 0:
            return Distribution()
        return Distribution(
            n=self.n,
            mean=self._mean,
            std=math.sqrt(self._m2 / self.n),
            min=self._lowest,
            max=self._highest,
            **{name: self.percentile_ms(name) for name in PERMILLE},
        )


def nearest_rank(n: int, permille: int) -> int:
    """Index, from 0, of the nearest-rank percentile in `n` sorted values."""
    return max(-(-n * permille // 1000), 1) - 1
