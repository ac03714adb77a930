"""A camera on a virtual clock that fails by the same schedules as the ``fault:`` source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import SourceEndedError, SourceError
from edge_runtime.sources.fault import parse_schedule
from edge_runtime.sources.fault_script import FaultScript
from edge_runtime.video import Frame, SourceCounters, SourceInfo
from tests.scripted import MS, SIZE, FakeClock

if TYPE_CHECKING:
    from typing_extensions import Self

    from edge_runtime.sources.fault_script import FaultOpening, Verdict


@dataclass
class FaultyWorld:
    """What a schedule does to a camera, over all of its openings; call it to open it anew."""

    clock: FakeClock
    schedule: str
    fps: float = 15.0
    opening_ms: float = 300.0
    """From opening the camera to its first frame."""
    frames: int = 0
    """Painted into the pictures: counts up over all openings."""
    openings: list[FaultyCamera] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.script = FaultScript(parse_schedule(self.schedule), lambda: self.clock() * 1e-9)

    def __call__(self, open_timeout_s: float | None = None) -> FaultyCamera:
        camera = FaultyCamera(self, 10.0 if open_timeout_s is None else open_timeout_s)
        self.openings.append(camera)
        return camera


class FaultyCamera:
    """One opening. It keeps the newest frame only; nothing sleeps."""

    def __init__(self, world: FaultyWorld, open_timeout_s: float) -> None:
        self._world = world
        self._clock = world.clock
        self._open_timeout_ns = round(open_timeout_s * 1e9)
        self._opening: FaultOpening | None = None
        self._counters = SourceCounters()
        self._number = 0
        self._shown = False
        self._pts_ns = 0
        self.opened = self.closed = False

    @property
    def info(self) -> SourceInfo:
        size = (2 * SIZE[0], 2 * SIZE[1])
        return SourceInfo("faulty:", True, size, self._world.fps, "video/x-raw", "arrival")

    @property
    def counters(self) -> SourceCounters:
        return self._counters

    @property
    def ended(self) -> bool:
        return False

    def __enter__(self) -> Self:
        self._opening = self._world.script.open("faulty:")
        self.opened = True
        self._began_ns = self._clock()
        self._next_ns = self._began_ns + round(self._world.opening_ms * MS)
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert not self.closed, "closed twice"
        self.closed = True

    def read(self, timeout_s: float) -> Frame | None:
        assert self._opening is not None
        assert not self.closed, "read after it was closed"
        until_ns = self._clock() + round(timeout_s * 1e9)
        while self._next_ns <= until_ns:
            self._clock.pass_until(self._next_ns)
            taken_ns = self._next_ns
            self._next_ns = max(self._next_ns, self._clock()) + round(1e9 / self._world.fps)
            verdict = self._opening.judge()
            if verdict.fate == "unplug":
                raise SourceError("faulty: the device is gone")
            if verdict.fate == "end":
                raise SourceEndedError("faulty: the sender ended the stream")
            if verdict.fate == "pass":
                self._clock.pass_ms(verdict.delay_s * 1e3)
                return self._frame(taken_ns, verdict)
            if verdict.fate == "lose":
                self._counters.source_gap += 1
        self._clock.pass_until(until_ns)
        if not self._shown and self._clock() - self._began_ns > self._open_timeout_ns:
            raise SourceError("cannot open faulty: no frame in time")
        return None

    def _frame(self, taken_ns: int, verdict: Verdict) -> Frame:
        number, self._number = self._number, self._number + 1
        self._counters.captured += 1
        self._world.frames += 1
        self._shown = True
        if verdict.pts == "kept":
            self._pts_ns = taken_ns - self._began_ns + round(verdict.pts_shift_s * 1e9)
        height, width = (max(round(2 * side * verdict.scale), 1) for side in SIZE)
        value = 255 if verdict.damaged else self._world.frames % 251
        now = self._clock()
        return Frame(
            index=number,
            pts_ns=None if verdict.pts == "missing" else self._pts_ns,
            image=np.full((*SIZE, 3), value, np.uint8),
            size=(height, width),
            capture_ns=taken_ns,
            arrival_ns=taken_ns,
            ready_ns=now,
            dequeue_ns=now,
            damaged=verdict.damaged,
        )
