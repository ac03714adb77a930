"""Tells a service manager and a health check how a run is doing, from a thread of its own."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_runtime.service.notify import Notifier
from edge_runtime.service.status import CameraStatus, State, Status, write_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edge_runtime.rig.lane import Lane
    from edge_runtime.stop import Stop

TICK_S = 1.0
PINGS_PER_LIMIT = 3
"""How often the watchdog is told within the time it waits."""


class Warden:
    """Reads counters of a run; the loop never waits for it.

    ``READY=1`` follows the first published mask, and is sent until the manager has taken it, which
    kills a service that does not become ready. ``WATCHDOG=1`` is sent while the loop goes round,
    which it does without frames too: a camera that is away is no reason to be killed, an engine or
    output that never returns is.

    Args:
        stop: what the loop looks at.
        status: file for `hyperseg service health`; None writes none.
        notifier: the manager; None tells none.
    """

    def __init__(self, stop: Stop, status: Path | None, notifier: Notifier | None) -> None:
        self._stop, self._status, self._notifier = stop, status, notifier
        self._has_begun = False
        """Whether there was a mask."""
        self._is_ready = False
        """Whether the manager knows."""
        self._is_reloading = False
        self._looks = 0
        self._leaving = threading.Event()

    @contextmanager
    def attend(self, lanes: Sequence[Lane]) -> Iterator[None]:
        """Tell about these lanes until the block is left; then that the run is stopping."""
        if self._notifier is None and self._status is None:
            yield
            return
        thread = threading.Thread(target=self._watch, args=(lanes,), name="warden", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._leaving.set()
            thread.join()
            self._tell("STOPPING=1", "STATUS=completing outputs")
            self._write(lanes, "stopping")

    def reloading(self, busy: bool) -> None:
        """A model begins to be loaded, or no longer is; called from the thread that does it."""
        self._is_reloading = busy
        if not self._is_ready:
            return
        if busy:
            self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        else:
            self._is_ready = self._tell("READY=1")

    def _watch(self, lanes: Sequence[Lane]) -> None:
        limit_s = None if self._notifier is None else self._notifier.watchdog_s
        tick_s = min(TICK_S, limit_s / PINGS_PER_LIMIT) if limit_s else TICK_S
        while True:
            self._look(lanes)
            # The first mask is not to wait for a whole tick.
            if self._leaving.wait(tick_s if self._has_begun else min(tick_s, 0.1)):
                return

    def _look(self, lanes: Sequence[Lane]) -> None:
        self._has_begun = self._has_begun or _published(lanes) > 0
        if self._has_begun and not self._is_ready:
            self._is_ready = self._tell("READY=1")
        looks = self._stop.looks
        if looks != self._looks:
            self._looks = looks
            self._tell("WATCHDOG=1", f"STATUS={_words(lanes)}")
        state: State = "running" if self._has_begun else "starting"
        self._write(lanes, "reloading" if self._is_reloading else state)

    def _tell(self, *lines: str) -> bool:
        """Whether the manager took it, if there is one."""
        return self._notifier is None or self._notifier.tell(*lines)

    def _write(self, lanes: Sequence[Lane], state: State) -> None:
        if self._status is None:
            return
        cameras = tuple(_camera(lane) for lane in lanes)
        status = Status(
            state=state,
            pid=os.getpid(),
            model=lanes[0].engine.network.key,
            published=_published(lanes),
            written_ns=time.monotonic_ns(),
            cameras=cameras,
        )
        write_status(self._status, status)


def _published(lanes: Sequence[Lane]) -> int:
    return sum(lane.recorder.tally.published for lane in lanes)


def _camera(lane: Lane) -> CameraStatus:
    now = lane.snapshot()
    age_s = None if now.age_ms is None else now.age_ms * 1e-3
    return CameraStatus(lane.name, lane.source.state, round(now.fps, 2), age_s)


def _words(lanes: Sequence[Lane]) -> str:
    """One line for ``systemctl status``."""
    cameras = [_camera(lane) for lane in lanes]
    told = [
        " ".join(filter(None, [camera.name, camera.signal, f"{camera.fps:.1f} fps"]))
        for camera in cameras
    ]
    return f"model {lanes[0].engine.network.key}; {'; '.join(told)}"
