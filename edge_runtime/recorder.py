"""What happened to the frames of one run: fates, latencies after warm-up, and a live window."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from edge_runtime.history import History
from edge_runtime.timing import LATENCIES, STAGES, FrameStamps, Series, nearest_rank

if TYPE_CHECKING:
    from edge_runtime.video import SourceCounters, TimestampSource

WARMUP_FRAMES = 30
WARMUP_TOLERANCE = 0.02
WARMUP_LIMIT_NS = 30 * 10**9
WINDOW_NS = 10 * 10**9
WINDOW_FRAMES = 4096
"""The window is shorter than 10 s above 400 frames/s: memory is fixed."""


@dataclass
class Tally:
    """Frames by fate inside the loop; `SourceCounters` has those before it."""

    read: int = 0
    inferred: int = 0
    published: int = 0
    """Handed to at least one consumer."""
    dropped_stale: int = 0
    """Too old for the deadline before inference started."""
    dropped_sink: int = 0
    """No consumer had room."""
    late: int = 0
    """Published after their deadline."""

    def in_flight(self, source: SourceCounters, *, complete: bool) -> int:
        """Frames that were captured but had no fate when the run ended; both identities hold.

        Args:
            source: the source's counters at the end.
            complete: the stream was read to its end, so nothing may remain.

        Raises:
            RuntimeError: the frames do not add up, which is a defect of ours.
        """
        remainder = source.captured - source.dropped - self.read
        if self.read != self.inferred + self.dropped_stale:
            raise RuntimeError(f"frames read do not add up: {self}")
        if self.inferred != self.published + self.dropped_sink:
            raise RuntimeError(f"frames inferred do not add up: {self}")
        if remainder < 0 or (complete and remainder):
            raise RuntimeError(f"frames captured do not add up: {source}, {self}")
        return remainder


class WarmUp:
    """Decides when latency is stable: medians of 30 frames within 2 % of the 30 before, or 30 s.

    The last 30 frames, which proved it, are not part of the warm-up any more.
    """

    def __init__(self) -> None:
        self.frames = 0
        """Frames in the warm-up."""
        self.first_ns: int | None = None
        """Engine latency of the very first inference."""
        self.converged = False
        self.over = False
        self._recent: deque[int] = deque(maxlen=2 * WARMUP_FRAMES)
        self._start_ns = 0

    def add(self, engine_ns: int, now_ns: int) -> None:
        """Count a frame of the warm-up; `over` says afterwards whether it was the last one."""
        if self.first_ns is None:
            self.first_ns = engine_ns
            self._start_ns = now_ns
        self.frames += 1
        self._recent.append(engine_ns)
        self.converged = self._is_stable()
        self.over = self.converged or now_ns - self._start_ns >= WARMUP_LIMIT_NS
        if self.converged:
            self.frames -= WARMUP_FRAMES

    def _is_stable(self) -> bool:
        if len(self._recent) < 2 * WARMUP_FRAMES:
            return False
        values = list(self._recent)
        before, after = median(values[:WARMUP_FRAMES]), median(values[WARMUP_FRAMES:])
        return abs(after - before) <= WARMUP_TOLERANCE * before


@dataclass(frozen=True)
class Snapshot:
    """The last 10 s, for the live line."""

    fps: float
    p50_ms: float | None
    p95_ms: float | None
    age_ms: float | None
    """From the capture of the newest published frame until now."""
    dropped_stale: int
    dropped_sink: int


class Figures:
    """Distributions of durations that all start from one clock."""

    def __init__(self) -> None:
        self.latencies = tuple(Series() for _ in LATENCIES)
        """In the order of `LATENCIES`."""
        self.stages = tuple(Series() for _ in STAGES)
        """In the order of `STAGES`."""
        self.jitter = Series()
        self._last_publish: int | None = None
        self._last_interval: int | None = None

    def add(self, stamps: FrameStamps) -> None:
        """Count a published frame."""
        for series, value in zip(self.latencies, stamps.latencies_ns(), strict=True):
            series.add_ns(value)
        for series, value in zip(self.stages, stamps.stages_ns(), strict=True):
            series.add_ns(value)
        self._add_jitter(stamps.publish)

    def _add_jitter(self, publish_ns: int) -> None:
        if self._last_publish is not None:
            interval = publish_ns - self._last_publish
            if self._last_interval is not None:
                self.jitter.add_ns(abs(interval - self._last_interval))
            self._last_interval = interval
        self._last_publish = publish_ns

    def rest(self) -> None:
        """What is published next does not follow what was published last."""
        self._last_publish = self._last_interval = None


class Recorder:
    """Collects the figures of one run. The loop records; another thread may take snapshots."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.cost_ns = 0
        """Time spent on recording and logging, all frames together."""
        self.warmup = WarmUp()
        self._clock: TimestampSource | None = None
        self._by_clock: dict[TimestampSource | None, Figures] = {}
        self._histories: dict[TimestampSource | None, History] = {}
        self._stable: deque[FrameStamps] = deque(maxlen=WARMUP_FRAMES)
        self._window: deque[tuple[int, int]] = deque(maxlen=WINDOW_FRAMES)
        self._lock = threading.Lock()
        self._last_capture: int | None = None

    def use(self, clock: TimestampSource) -> None:
        """Durations start from this clock from now on; they are kept apart from those of others."""
        if clock == self._clock:
            return
        with self._lock:
            self._window.clear()
        self._stable.clear()
        self._figures().rest()
        self._clock = clock

    def _figures(self) -> Figures:
        """Those of the clock now in use."""
        found = self._by_clock.get(self._clock)
        if found is None:
            found = self._by_clock[self._clock] = Figures()
        return found

    @property
    def clock(self) -> TimestampSource | None:
        """The clock from which most frames were measured; None before the first."""
        return max(self._by_clock, key=self._count, default=None)

    def _count(self, clock: TimestampSource | None) -> int:
        return self._by_clock[clock].latencies[0].n

    @property
    def figures(self) -> Figures:
        """The durations of `clock`."""
        return self._by_clock.get(self.clock) or Figures()

    @property
    def history(self) -> History:
        """The latencies of `clock` over time, those of the warm-up included."""
        return self._histories.get(self.clock) or History()

    def published(self, stamps: FrameStamps) -> None:
        """Record a published frame.

        Until the warm-up is over the figures hold all frames but the first, so that a run too
        short to warm up still has some; then they start anew, with the frames that proved it.
        """
        with self._lock:
            self.tally.published += 1
            self._last_capture = stamps.capture
            self._add_to_window(stamps)
        history = self._histories.get(self._clock)
        if history is None:
            history = self._histories[self._clock] = History()
        history.add(stamps.publish - stamps.capture, stamps.publish)
        if self.warmup.over:
            self._figures().add(stamps)
        else:
            self._add_during_warmup(stamps)

    def _add_during_warmup(self, stamps: FrameStamps) -> None:
        first = self.warmup.first_ns is None
        self.warmup.add(stamps.engine_ns, stamps.publish)
        self._stable.append(stamps)
        if not self.warmup.over:
            if not first:
                self._figures().add(stamps)
            return
        self._by_clock.clear()
        if self.warmup.converged:
            for proof in self._stable:
                self._figures().add(proof)
        self._stable.clear()

    def _add_to_window(self, stamps: FrameStamps) -> None:
        window = self._window
        window.append((stamps.publish, stamps.publish - stamps.capture))
        while stamps.publish - window[0][0] > WINDOW_NS:
            window.popleft()

    def snapshot(self, now_ns: int) -> Snapshot:
        """The figures of the last 10 s."""
        with self._lock:
            recent = [entry for entry in self._window if now_ns - entry[0] <= WINDOW_NS]
            capture = self._last_capture
            stale, sink = self.tally.dropped_stale, self.tally.dropped_sink
        ordered = sorted(latency for _, latency in recent)
        span_ns = now_ns - recent[0][0] if recent else 0
        return Snapshot(
            fps=len(recent) / (span_ns * 1e-9) if span_ns > 0 else 0.0,
            p50_ms=_percentile_ms(ordered, 500),
            p95_ms=_percentile_ms(ordered, 950),
            age_ms=None if capture is None else (now_ns - capture) * 1e-6,
            dropped_stale=stale,
            dropped_sink=sink,
        )


def _percentile_ms(ordered: list[int], permille: int) -> float | None:
    if len(ordered) * (1000 - permille) < 10_000:
        return None
    return ordered[nearest_rank(len(ordered), permille)] * 1e-6
