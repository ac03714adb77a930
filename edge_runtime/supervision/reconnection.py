"""Closes a lost source and opens it again, beside the loop: either may block for long."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from edge_runtime.errors import SourceError
from edge_runtime.supervision.ladder import PatientLadder

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.supervision.backoff import Backoff
    from edge_runtime.supervision.ladder import Ladder
    from edge_runtime.video import Frame, Source

READ_S = 0.1
"""Longest wait for a first frame before a request to stop is looked at."""

CLOSE_LIMIT_S = 10.0
"""A camera that cannot be closed within this time is wedged in its driver or service."""


class Reopen(Protocol):
    """Makes a source anew."""

    def __call__(self, open_timeout_s: float | None = None) -> Source:
        """A source that is not open yet; its first frame may take `open_timeout_s`."""
        ...


class Reconnection:
    """One outage's work, from closing what was lost to the first new frame.

    Args:
        lost: the source to close.
        reopen: makes it anew.
        backoff: how long to wait between attempts.
        ladder: what else to try.
        open_timeout_s: how long a first frame may take.
        pause: lets so many seconds pass on a virtual clock; None waits in real time.
    """

    def __init__(
        self,
        lost: Source,
        reopen: Reopen,
        backoff: Backoff,
        ladder: Ladder | None = None,
        open_timeout_s: float | None = None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.done = threading.Event()
        self.opened: tuple[Source, Frame] | None = None
        """The open source and its first frame."""
        self.failure: Exception | None = None
        """Why it is given up."""
        self.failed_attempts = 0
        self.reason: str | None = None
        """Why the latest attempt failed."""
        self.progress_at_s = time.monotonic()
        """When the latest step began; a driver may never return from one."""
        self.doing = "closing the camera"
        self.closed = False
        """Whether the lost source is closed."""
        self._lost = lost
        self._reopen = reopen
        self._backoff = backoff
        self._ladder = ladder or PatientLadder()
        self._open_timeout_s = open_timeout_s
        self._stopped = threading.Event()
        self._pause = pause or self._stopped.wait

    def stop(self) -> None:
        """Give up as soon as possible."""
        self._stopped.set()

    def run(self) -> None:
        """Do all of it; in a thread of its own."""
        while not self.done.is_set():
            self.step()

    def step(self) -> None:
        """Close what was lost, or make one attempt."""
        try:
            if self.closed:
                self._attempt()
            else:
                self._close()
        except Exception as error:  # noqa: BLE001  (the reader raises it)
            self.failure = error
        if self.opened or self.failure or self._stopped.is_set():
            self.done.set()

    def _begin(self, doing: str) -> None:
        self.doing, self.progress_at_s = doing, time.monotonic()

    def _close(self) -> None:
        """Close the lost source, in yet another thread: a wedged driver may never return."""
        closer = threading.Thread(target=self._close_lost, name="camera closer", daemon=True)
        closer.start()
        closer.join(CLOSE_LIMIT_S)
        if closer.is_alive() and self._ladder.unblock():
            closer.join(CLOSE_LIMIT_S)
        if closer.is_alive():
            raise SourceError(
                f"{self._lost.info.uri}: the camera cannot be closed, its driver or service is "
                "wedged; end this program, restart the service or plug the camera in anew"
            )
        self.closed = True

    def _close_lost(self) -> None:
        self._lost.__exit__(None, None, None)

    def _attempt(self) -> None:
        self._begin("waiting for the next attempt")
        self._pause(self._backoff.next_s())
        if self._stopped.is_set():
            return
        self._begin("opening the camera")
        self._ladder.climb(self.failed_attempts, self.reason or "no reason is known")
        try:
            self._open()
        except SourceError as error:
            self.failed_attempts += 1
            self.reason = str(error)

    def _open(self) -> None:
        source = self._reopen(self._open_timeout_s)
        source.__enter__()
        try:
            while not self._stopped.is_set():
                frame = source.read(READ_S)
                if frame is not None:
                    self.opened = (source, frame)
                    return
                if source.ended:
                    raise SourceError(f"{source.info.uri} ended without a frame")
        finally:
            if self.opened is None:
                source.__exit__(None, None, None)
