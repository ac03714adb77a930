"""Takes the cameras' frames through the network, one at a time, in fair turns."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.errors import HypersegError, SinkError
from edge_runtime.rig.turns import Turns
from edge_runtime.stop import Stop
from edge_runtime.timing import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.report import Ending
    from edge_runtime.rig.lane import Lane
    from edge_runtime.video import Frame

POLL_S = 0.1
"""Longest single wait for a frame: the delay of Ctrl-C and of noticing a silent source."""

ROOM_S = 0.002
"""The same while a camera that may lose nothing waits for one of its sinks."""


def _nothing(*_: object) -> None:
    return None


@dataclass
class RigOrders:
    """How long a rig runs, and what it tells those who own the cameras."""

    stop: Stop = field(default_factory=Stop)
    duration_s: float | None = None
    """Since the first frame of any camera."""
    clock: Callable[[], int] = time.monotonic_ns
    poll_s: float = 0.0
    """How long one camera's frame may be waited for; 0 where there are others."""
    wait: Callable[[float], object] = _nothing
    """Wait for a frame of any camera, for so many seconds at most."""
    in_rounds: bool = False
    """Take what all cameras have at one time before any takes another turn."""
    halt: Callable[[], object] = _nothing
    """Called once when the whole rig ends early: afterwards no source is read any more."""
    on_end: Callable[[Lane], object] = _nothing
    """Called with each lane that ended or failed while the rig goes on."""


class Rig:
    """One network and the cameras that take turns on it.

    The network never rests while any camera has a frame. Under the policy ``latest`` a frame is
    taken while it is its camera's newest, so its age when published is bounded however many cameras
    there are: for frames at intervals of at most T, delivered d after their capture, and a service
    time of at most S from being taken to being published,

        age <= T + d + S

    What N cameras cost is rate, not age: two results of one camera lie at most
    ``max(S, T) + (N - 1) S`` apart with equal weights, ``max(S, T) + sum(ceil(w_j / w_i)) S`` over
    the others j else. In rounds the frames of a round are taken at one time, and the bound of the
    age is ``T + d + N S``. A camera without frames takes no turn: its faults shorten these times.

    Args:
        lanes: one per camera.
        orders: when to end, and whom to tell.
        weights: one per camera; None is 1 for all.
    """

    def __init__(
        self, lanes: Sequence[Lane], orders: RigOrders, weights: Sequence[float] | None = None
    ) -> None:
        self.lanes = tuple(lanes)
        self.turns = Turns(weights or [1.0] * len(lanes))
        self.service = Series()
        """From taking a frame to its publication, over all cameras."""
        self._orders = orders

    def run(self) -> Ending:
        """Take frames until every camera, the duration or the patience of the user ends.

        A camera that fails ends alone: `Lane.failure` says why.

        Raises:
            BackendError: the engine failed.
        """
        self._orders.stop.awaited = True
        try:
            return self._run()
        finally:
            self._finish_all("error")

    @property
    def first_ns(self) -> int | None:
        """When the first frame of any camera was taken."""
        taken = [lane.first_ns for lane in self.lanes if lane.first_ns is not None]
        return min(taken, default=None)

    def elapsed_s(self) -> float:
        """Seconds since the first frame of any camera; 0 before it."""
        first_ns = self.first_ns
        return 0.0 if first_ns is None else (self._orders.clock() - first_ns) * 1e-9

    def _run(self) -> Ending:
        while any(lane.end is None for lane in self.lanes):
            ending = self._told_to_end()
            if ending is not None:
                self._orders.halt()
                self._finish_all(ending)
                return ending
            if not self._serve():
                waits_for_sink = any(lane.end is None and not lane.has_room for lane in self.lanes)
                self._orders.wait(ROOM_S if waits_for_sink else POLL_S)
        return "end"

    def _told_to_end(self) -> Ending | None:
        orders = self._orders
        orders.stop.looks += 1
        if orders.stop.reason is not None:
            return orders.stop.reason
        is_over = orders.duration_s is not None and self.elapsed_s() >= orders.duration_s
        return "duration" if is_over else None

    def _finish_all(self, ended: Ending) -> None:
        for lane in self.lanes:
            if lane.end is None:
                lane.finish(ended)

    def _serve(self) -> bool:
        """One turn, or one round of them; False if no camera has a frame."""
        taken = []
        for number in self.turns.order():
            frame = self._read(self.lanes[number])
            if frame is not None:
                taken.append((number, frame))
                if not self._orders.in_rounds:
                    break
        for number, frame in taken:
            self._infer(number, frame)
        return bool(taken)

    def _read(self, lane: Lane) -> Frame | None:
        # A camera alone may wait for its own sinks; with others about, it would hold them up.
        if lane.end is not None or (len(self.lanes) > 1 and not lane.has_room):
            return None
        try:
            frame = lane.source.read(self._orders.poll_s)
            if frame is not None:
                return frame
            if not lane.source.ended:
                lane.tell_outage()
                return None
        except HypersegError as error:
            self._end(lane, "error", error)
            return None
        self._end(lane, "end")
        return None

    def _infer(self, number: int, frame: Frame) -> None:
        lane, start_ns = self.lanes[number], self._orders.clock()
        try:
            inferred = lane.take(frame)
        except SinkError as error:
            self._end(lane, "error", error)
            return
        if inferred:
            self.turns.take(number)
            self.service.add_ns(self._orders.clock() - start_ns)

    def _end(self, lane: Lane, ended: Ending, failure: HypersegError | None = None) -> None:
        lane.finish(ended, failure)
        self._orders.on_end(lane)
