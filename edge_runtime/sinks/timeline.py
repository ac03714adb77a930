"""Time in a written video: the source's own, made strictly increasing."""

from __future__ import annotations

from edge_runtime.supervision.inspect import JUMP_NS

DEFAULT_INTERVAL_NS = 33_333_333


class Timeline:
    """Maps the presentation times of a stream to those of a file that starts at 0.

    Intervals are kept, so that the file plays as fast as the source ran. Where the source's time
    stands still, runs backwards, is missing, or jumps ahead of when frames were captured, the frame
    follows one interval after the last: the file has no hole where there was none.
    """

    def __init__(self) -> None:
        self._offset_ns = 0
        self._last_ns: int | None = None
        self._interval_ns = DEFAULT_INTERVAL_NS
        self._ahead_ns: int | None = None
        """Most that the stream's time was ahead of the captures, since it last jumped."""

    def place(self, time_ns: int | None, capture_ns: int | None = None) -> int:
        """Time in the file, nanoseconds.

        Args:
            time_ns: the frame's time in the stream.
            capture_ns: when it was captured, on a clock that does not jump; None where only the
                stream itself can tell, as for a file.
        """
        jumped = self._notes_jump(time_ns, capture_ns)
        if self._last_ns is None:
            placed = 0
            self._offset_ns = -(time_ns or 0)
        elif time_ns is None:
            placed = self._last_ns + self._interval_ns
        else:
            placed = time_ns + self._offset_ns
            if placed > self._last_ns and not jumped:
                self._interval_ns = placed - self._last_ns
            else:
                placed = self._last_ns + self._interval_ns
                self._offset_ns = placed - time_ns
                self._ahead_ns = None if capture_ns is None else time_ns - capture_ns
        self._last_ns = placed
        return placed

    def _notes_jump(self, time_ns: int | None, capture_ns: int | None) -> bool:
        """Whether the stream's time runs further ahead than it may.

        Compared with all frames since the last jump, not with the one before: frames that were held
        up on the way come late and then catch up.
        """
        if time_ns is None or capture_ns is None:
            return False
        ahead_ns, before_ns = time_ns - capture_ns, self._ahead_ns
        self._ahead_ns = ahead_ns if before_ns is None else max(ahead_ns, before_ns)
        return before_ns is not None and ahead_ns > before_ns + JUMP_NS
