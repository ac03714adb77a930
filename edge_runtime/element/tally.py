"""What the element says of itself: frames by fate, durations, and the latency it declares."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from edge_runtime.timing import Series, nearest_rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.element.schedule import Fate

WINDOW = 64
"""Inferences whose 95th percentile is the latency declared to the pipeline."""
MATERIAL_SHARE, MATERIAL_NS = 0.2, 2_000_000
"""A declared latency is corrected when it is off by more than both of these."""
REST_NS = 1_000_000_000
"""Shortest time between two corrections: each makes the whole pipeline ask for latencies anew."""


class DeclaredLatency:
    """The latency the element declares: the recent p95, corrected only when it is clearly off.

    Args:
        clock: CLOCK_MONOTONIC nanoseconds.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.declared_ns = 0
        self._recent: deque[int] = deque(maxlen=WINDOW)
        self._clock = clock
        self._corrected_ns: int | None = None

    def assume(self, duration_ns: int) -> None:
        """Declare this until there are inferences of the stream."""
        self.declared_ns = duration_ns

    def add(self, duration_ns: int) -> bool:
        """Count one inference; True says that `declared_ns` has changed and must be told."""
        self._recent.append(duration_ns)
        if len(self._recent) < WINDOW // 8:
            return False
        now = self._clock()
        if self._corrected_ns is not None and now - self._corrected_ns < REST_NS:
            return False
        measured = sorted(self._recent)[nearest_rank(len(self._recent), 950)]
        off = abs(measured - self.declared_ns)
        if off <= max(MATERIAL_NS, self.declared_ns * MATERIAL_SHARE):
            return False
        self.declared_ns, self._corrected_ns = measured, now
        return True


class Tally:
    """Frames by fate and how long the inferred ones took; read and written by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fates: dict[Fate, int] = {"infer": 0, "interval": 0, "late": 0}
        self._last_ns: int | None = None
        self._series = Series()

    def count(self, fate: Fate, duration_ns: int | None = None) -> None:
        """Count one frame; `duration_ns` is how long it took if it was inferred."""
        with self._lock:
            self._fates[fate] += 1
            if duration_ns is not None:
                self._last_ns = duration_ns
                self._series.add_ns(duration_ns)

    def fate(self, fate: Fate) -> int:
        """How many frames had this fate."""
        with self._lock:
            return self._fates[fate]

    def figures(self) -> dict[str, int | float]:
        """The figures by name, ``..-ms`` in milliseconds.

        ``frames = inferred + passed + dropped``: `passed` were skipped by ``interval``, `dropped`
        were late; both went on without a mask. A percentile is left out while there are too few
        inferences for it.
        """
        with self._lock:
            inferred, passed, late = (self._fates[f] for f in ("infer", "interval", "late"))
            found: dict[str, int | float] = {
                "frames": inferred + passed + late,
                "inferred": inferred,
                "passed": passed,
                "dropped": late,
            }
            durations = {
                "p50-ms": self._series.percentile_ms("p50"),
                "p99-ms": self._series.percentile_ms("p99"),
                "last-ms": None if self._last_ns is None else self._last_ns * 1e-6,
            }
        found.update({name: value for name, value in durations.items() if value is not None})
        return found
