"""A Prometheus histogram of durations that costs the frame path one search and two additions."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

BOUNDS_MS = (
    1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0,
    500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0,
)  # fmt: skip
"""Upper bounds of the buckets, 1 ms to 10 s, closest where frame times of cameras lie."""
BOUNDS_NS = tuple(round(bound * 1e6) for bound in BOUNDS_MS)
BOUNDS_LE = (*(str(bound / 1e3) for bound in BOUNDS_MS), "+Inf")
"""The same as label ``le``, in seconds."""


class Histogram:
    """Durations by bucket. One thread adds; others may look, and at worst miss the newest one."""

    __slots__ = ("_counts", "_sum_ns")

    def __init__(self) -> None:
        self._counts = [0] * len(BOUNDS_LE)
        self._sum_ns = 0

    def add_ns(self, duration_ns: int) -> None:
        """Count one duration; a bound belongs to the bucket below it."""
        self._counts[bisect_left(BOUNDS_NS, duration_ns)] += 1
        self._sum_ns += duration_ns

    @property
    def sum_s(self) -> float:
        """All durations together, in seconds."""
        return self._sum_ns * 1e-9

    def cumulative(self) -> list[tuple[str, float]]:
        """(``le``, durations up to it) of every bucket, the last being all of them."""
        return [
            (bound, float(count))
            for bound, count in zip(BOUNDS_LE, accumulate(self._counts), strict=True)
        ]
