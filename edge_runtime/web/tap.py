"""What the frame loop leaves for the page: durations of results, and the newest one to be shown.

The loop calls `Tap.tell` and never waits: it writes into a ring, and while somebody looks it copies
a mask a few times a second. Whatever is slow happens in other threads.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.timing import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_runtime.geometry import FrameGeometry
    from edge_runtime.result import Result

WINDOW = 1024
"""Newest results that live figures are of: enough for a p99, which takes 1,000."""
SHOWN_FPS = 10.0
"""Most pictures a second, for all viewers together."""
_INTERVAL_NS = round(1e9 / SHOWN_FPS)
_TOLERANCE_NS = 5_000_000


@dataclass(frozen=True)
class Shot:
    """One result that is kept: the mask and the very picture it was computed from."""

    index: int
    pts_ns: int | None
    capture_ns: int
    publish_ns: int
    timestamp_source: str
    model: str | None
    late: bool
    geometry: FrameGeometry
    picture: NDArray[np.uint8]
    """(height, width, 3) uint8 BGR at full size."""
    mask: NDArray[np.uint8]
    """(network height, network width) uint8 train ids; a copy."""


class Tap:
    """Between the loop of one camera and its viewers.

    Args:
        wake: called in the loop's thread when there is a new shot; must return at once.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._ring = np.zeros((WINDOW, len(STAGES)), np.int64)
        self._count = 0
        self.wanted = False
        """Whether somebody looks. Unset, nothing is copied."""
        self._wake = wake
        self._lock = threading.Lock()
        self._shot: Shot | None = None
        self._due_ns = 0

    def tell(self, result: Result) -> None:
        """Take note of a published result. Called in the loop's thread."""
        stamps = result.stamps
        if stamps is None:
            return
        # One row, not objects: who sums them up shall not hold the interpreter for a thousand.
        self._ring[self._count % WINDOW] = stamps.stages_ns()
        self._count += 1
        if not self.wanted or result.mask is None or result.picture is None:
            return
        if stamps.publish < self._due_ns - _TOLERANCE_NS:
            return
        # Counted from when it was due, so that 30 frames/s give every third and not every fourth.
        is_steady = stamps.publish - self._due_ns < _INTERVAL_NS
        self._due_ns = (self._due_ns if is_steady else stamps.publish) + _INTERVAL_NS
        shot = Shot(
            index=result.index,
            pts_ns=result.pts_ns,
            capture_ns=result.capture_ns,
            publish_ns=stamps.publish,
            timestamp_source=result.timestamp_source,
            model=result.model,
            late=result.late,
            geometry=result.geometry,
            picture=result.picture,
            mask=result.mask.copy(),
        )
        with self._lock:
            self._shot = shot
        self._wake()

    def durations_ns(self) -> NDArray[np.int64]:
        """(n, stages) int64 in the order of `STAGES`, of the newest results; may be any order."""
        return self._ring[: self._count].copy()

    def take(self) -> Shot | None:
        """The newest shot that was not taken yet; older ones are gone."""
        with self._lock:
            shot, self._shot = self._shot, None
        return shot
