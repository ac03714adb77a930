"""Looks at each frame of a live source: is it whole, is it new, does it follow the last one?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.video import Frame

JUMP_NS = 10**9
"""A presentation time that runs ahead of the arrivals by more than this has jumped."""


class FrameInspector:
    """Decides which frames may be segmented.

    Args:
        note: called with the kind of each irregularity and what exactly it is.
    """

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self.damaged = 0
        self.repeated = 0
        self._note = note
        self._pts_ns: int | None = None
        self._arrival_ns = 0
        self._size: tuple[int, int] | None = None

    def reopened(self) -> None:
        """What comes now has presentation times of its own."""
        self._pts_ns = None

    def accepts(self, frame: Frame) -> bool:
        """Whether the frame is whole and new."""
        if frame.damaged:
            self.damaged += 1
            self._note("damaged", "frames that their decoder marked as damaged were not used")
            return False
        if frame.pts_ns is not None and frame.pts_ns == self._pts_ns:
            self.repeated += 1
            self._note("repeated", "frames with the presentation time of the one before")
            return False
        self._compare(frame)
        self._pts_ns, self._arrival_ns, self._size = frame.pts_ns, frame.arrival_ns, frame.size
        return True

    def _compare(self, frame: Frame) -> None:
        if frame.pts_ns is not None and self._pts_ns is not None:
            # Only ahead: frames that were held up on the way come faster than they were taken.
            step_ns = frame.pts_ns - self._pts_ns
            if step_ns < 0 or step_ns > frame.arrival_ns - self._arrival_ns + JUMP_NS:
                self._note("pts-jump", f"presentation time went by {step_ns * 1e-9:+.3f} s")
        if self._size is not None and frame.size != self._size:
            before, after = ("x".join(map(str, size)) for size in (self._size, frame.size))
            self._note("size-change", f"frames of {before} became {after}")
