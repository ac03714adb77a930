"""A fault schedule as it plays: what happens to the frame that comes now.

It knows nothing of pipelines and takes its clock as an argument. So the same schedule drives the
GStreamer element of `edge_runtime.sources.fault_element` and a simulated camera on a virtual clock.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_runtime.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.sources.fault import FaultSchedule, InjectedFault

_LASTING = ("unplug", "eos", "hang")
"""What an opening never gets over, however long ago it happened."""


@dataclass(frozen=True)
class Verdict:
    """What happens to one frame."""

    fate: Literal["pass", "withhold", "lose", "unplug", "end"] = "pass"
    """``withhold``: the camera never took it; ``lose``: it numbered the frame, nobody got it."""
    delay_s: float = 0.0
    pts_shift_s: float = 0.0
    pts: Literal["kept", "repeated", "missing"] = "kept"
    damaged: bool = False
    scale: float = 1.0
    """Of height and width."""


class FaultScript:
    """Plays a schedule; one for all openings of a camera.

    Args:
        schedule: what is to happen.
        clock: seconds.
    """

    def __init__(
        self, schedule: FaultSchedule, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.schedule = schedule
        self._clock = clock
        self._begin_s: float | None = None
        self._faults = schedule.faults()
        self._next = next(self._faults, None)
        self._begun: list[InjectedFault] = []
        self._pts_shift_s = 0.0
        self._rng = random.Random(schedule.seed)
        self._lock = threading.Lock()

    def open(self, uri: str) -> FaultOpening:
        """Open the camera.

        Args:
            uri: its name in messages.

        Raises:
            SourceError: it is unplugged.
        """
        with self._lock:
            now_s = self._advance()
            gone = next((f for f in self._begun if f.kind == "unplug" and f.end_s > now_s), None)
            if gone is not None:
                raise SourceError(
                    f"cannot open {uri}: unplugged by its fault schedule for another "
                    f"{gone.end_s - now_s:.1f} s"
                )
            slow = [f for f in self._begun if f.kind == "slow-start"]
            # What happened before this opening is not its concern; a slow start is used up.
            over = (*_LASTING, "slow-start")
            self._begun = [f for f in self._begun if f.kind not in over]
            return FaultOpening(self, now_s + max((f.duration_s for f in slow), default=0.0))

    def judge(self, silent_until_s: float) -> Verdict:
        """What happens to a frame that comes now.

        Args:
            silent_until_s: how long the current opening delivers nothing.
        """
        with self._lock:
            now_s = self._advance()
            active = {fault.kind: fault for fault in self._begun}
            if "unplug" in active:
                return Verdict("unplug")
            if "eos" in active:
                return Verdict("end")
            if "hang" in active or "stall" in active or now_s < silent_until_s:
                return Verdict("withhold")
            if "drop" in active and self._rng.random() < active["drop"].amount:
                return Verdict("lose")
            return self._alter(active, now_s)

    def _alter(self, active: dict[str, InjectedFault], now_s: float) -> Verdict:
        corrupt, size = active.get("corrupt"), active.get("size")
        return Verdict(
            delay_s=self._delay_s(active, now_s),
            pts_shift_s=self._pts_shift_s,
            pts="missing" if "pts-missing" in active else
                "repeated" if "pts-repeat" in active else "kept",
            damaged=corrupt is not None and self._rng.random() < corrupt.amount,
            scale=1.0 if size is None else size.amount,
        )  # fmt: skip

    def _delay_s(self, active: dict[str, InjectedFault], now_s: float) -> float:
        jitter, burst = active.get("jitter"), active.get("burst")
        delay_s = 0.0 if jitter is None else self._rng.uniform(0.0, jitter.amount)
        if burst is not None and burst.amount:
            # Held back in every other period; in those between, what has piled up comes at once.
            phase_s = (now_s - burst.start_s) % (2 * burst.amount)
            delay_s += max(burst.amount - phase_s, 0.0)
        return delay_s

    def _advance(self) -> float:
        """Take note of what has begun and of what is over; gives the time in the schedule."""
        now = self._clock()
        if self._begin_s is None:
            self._begin_s = now
        now_s = now - self._begin_s
        while self._next is not None and self._next.start_s <= now_s:
            if self._next.kind == "pts-jump":
                self._pts_shift_s += self._next.amount
            else:
                self._begun.append(self._next)
            self._next = next(self._faults, None)
        lasting = (*_LASTING, "slow-start")
        self._begun = [f for f in self._begun if f.end_s > now_s or f.kind in lasting]
        return now_s


class FaultOpening:
    """One opening of a faulty camera."""

    def __init__(self, script: FaultScript, silent_until_s: float) -> None:
        self._script = script
        self._silent_until_s = silent_until_s

    def judge(self) -> Verdict:
        """What happens to a frame that comes now."""
        return self._script.judge(self._silent_until_s)
