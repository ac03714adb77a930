"""What is known of each frame between its arrival and its hand-over: number, stamps, size.

GStreamer's buffers carry no stamps of ours, so the stamps wait here and find their frame again: on
the way through decoder and scaler by its presentation time, or by order where a stream has none; at
the end by the buffer itself, since frames that share a time may follow each other at any moment.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from edge_runtime.video import SourceCounters, TimestampSource

CAPACITY = 256
"""Frames that may be under way at once: far more than any decoder or queue of ours holds."""


@dataclass
class Entry:
    """One frame under way. Stamps are CLOCK_MONOTONIC nanoseconds."""

    index: int
    pts_ns: int | None
    capture_ns: int
    arrival_ns: int
    clock: TimestampSource
    """Where `capture_ns` comes from."""
    ready_ns: int | None = None
    """None until the frame reached the network's appsink."""
    buffer: int | None = None
    """Which buffer reached the appsink with it; known when ready."""
    size: tuple[int, int] = (0, 0)
    """(height, width) before scaling; known when ready."""


class FrameLedger:
    """Frames under way, oldest first. Filled by streaming threads, emptied by the reader."""

    def __init__(self) -> None:
        self.counters = SourceCounters()
        self._entries: deque[Entry] = deque()
        self._lock = threading.Lock()
        self._offset: int | None = None

    def numbered(self, offset: int) -> None:
        """The camera itself numbered the next frame; a gap is what it never delivered."""
        if self._offset is not None and offset > self._offset:
            self.counters.source_gap += offset - self._offset - 1
        self._offset = offset

    def arrived(
        self, pts_ns: int | None, capture_ns: int, arrival_ns: int, clock: TimestampSource
    ) -> None:
        """A frame left its source: it gets the next number."""
        with self._lock:
            self._arrived(pts_ns, capture_ns, arrival_ns, clock)

    def _arrived(
        self, pts_ns: int | None, capture_ns: int, arrival_ns: int, clock: TimestampSource
    ) -> Entry:
        entry = Entry(self.counters.captured, pts_ns, capture_ns, arrival_ns, clock)
        self.counters.captured += 1
        self._entries.append(entry)
        if len(self._entries) > CAPACITY:
            self._entries.popleft()
            self.counters.dropped_queue += 1
        return entry

    def ready(
        self, pts_ns: int | None, ready_ns: int, size: tuple[int, int], *, buffer: int
    ) -> None:
        """A frame reached the network's appsink, decoded, scaled and converted.

        Args:
            pts_ns: its presentation time.
            ready_ns: when.
            size: (height, width) before scaling.
            buffer: different for all buffers that exist at one time; a later one may have it again.
        """
        with self._lock:
            waiting = [entry for entry in self._entries if entry.ready_ns is None]
            same = (entry for entry in waiting if entry.pts_ns == pts_ns)
            # An element on the way may have rewritten the time: then frames pair up by order.
            entry = next(same, None) or next(iter(waiting), None)
            if entry is None:
                entry = self._arrived(pts_ns, ready_ns, ready_ns, "arrival")
            entry.pts_ns, entry.ready_ns, entry.size = pts_ns, ready_ns, size
            entry.buffer = buffer

    def take(self, buffer: int, *, newest: bool) -> Entry | None:
        """The entry of a frame just pulled; older ones were dropped on the way and are counted.

        Args:
            buffer: as given to `ready`, of a buffer that still exists.
            newest: whether the appsink keeps only the newest frame. Then entries of frames that it
                dropped, whose memory went round, may have the same `buffer`, and are older.

        Returns:
            None for a frame that was given up already, and counted then as dropped.
        """
        with self._lock:
            found = [
                position for position, entry in enumerate(self._entries) if entry.buffer == buffer
            ]
            if not found:
                return None
            position = found[-1 if newest else 0]
            for _ in range(position):
                self._entries.popleft()
            self.counters.dropped_queue += position
            return self._entries.popleft()
