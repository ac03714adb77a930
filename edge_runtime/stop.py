"""How a run learns that it shall end: Ctrl-C and SIGTERM finish the frame instead of cutting it."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

StopReason = Literal["interrupted", "terminated"]


class Stop:
    """A request to end the run after the current frame."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self.awaited = False
        """Whether a loop looks at `reason`. Before, while a model or camera opens, a request must
        raise, or nobody would notice it."""
        self.looks = 0
        """How often a loop has looked at `reason`: it lives while this grows."""

    def requested(self) -> bool:
        """Whether the run shall end."""
        return self.reason is not None

    def interrupt(self) -> None:
        """End as after Ctrl-C; at once, by KeyboardInterrupt, before the loop or a second time."""
        if self.requested() or not self.awaited:
            raise KeyboardInterrupt
        self.reason = "interrupted"

    def terminate(self) -> None:
        """End as after SIGTERM; at once, by SystemExit, before the loop."""
        if not self.awaited:
            raise SystemExit(128 + signal.SIGTERM)
        self.reason = self.reason or "terminated"


@contextmanager
def signals(stop: Stop) -> Iterator[Stop]:
    """Let SIGINT and SIGTERM ask `stop`. In another thread than the main one, change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.interrupt()

    def terminate(number: int, frame: FrameType | None) -> None:
        stop.terminate()

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
        signal.SIGTERM: signal.signal(signal.SIGTERM, terminate),
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def hangups(react: Callable[[], None]) -> Iterator[None]:
    """Let SIGHUP call `react`. In another thread than the main one, change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hangup(number: int, frame: FrameType | None) -> None:
        react()

    before = signal.signal(signal.SIGHUP, hangup)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
