"""Time in a written video: the source's own, made strictly increasing."""

from __future__ import annotations

DEFAULT_INTERVAL_NS = 33_333_333


class Timeline:
    """Maps the presentation times of a stream to those of a file that starts at 0.

    Intervals are kept, so that the file plays as fast as the source ran. Where the source's time
    stands still, runs backwards or is missing, the frame follows one interval after the last.
    """

    def __init__(self) -> None:
        self._offset_ns = 0
        self._last_ns: int | None = None
        self._interval_ns = DEFAULT_INTERVAL_NS

    def place(self, time_ns: int | None) -> int:
        """Time in the file, nanoseconds, for a frame whose time in the stream is `time_ns`."""
        if self._last_ns is None:
            placed = 0
            self._offset_ns = -(time_ns or 0)
        elif time_ns is None:
            placed = self._last_ns + self._interval_ns
        else:
            placed = time_ns + self._offset_ns
            if placed > self._last_ns:
                self._interval_ns = placed - self._last_ns
            else:
                placed = self._last_ns + self._interval_ns
                self._offset_ns = placed - time_ns
        self._last_ns = placed
        return placed
