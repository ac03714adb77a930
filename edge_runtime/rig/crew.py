"""The cameras of a run, each in its own thread, and their lanes on the network."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.errors import SourceError
from edge_runtime.redact import redact
from edge_runtime.rig.camera import Camera
from edge_runtime.rig.lane import Lane, LaneOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.errors import HypersegError
    from edge_runtime.result import Result
    from edge_runtime.rig.engine import Engine
    from edge_runtime.rig.parts import CameraParts

QUIET_S = 2.0
"""How long the end of a run waits for the cameras to be read no more."""

CLOSE_S = 45.0
"""How long it waits for them to be closed and their outputs to be complete."""

OPENING_S = 2.0
"""The same for cameras that have not delivered a frame yet."""


@dataclass(frozen=True)
class Member:
    """One camera of a run, and what belongs to it."""

    name: str
    text: str
    """Its source as it was given."""
    parts: CameraParts
    """Not entered."""
    weight: float = 1.0


class Crew:
    """Runs the cameras. A context manager; leaving it closes them all at the same time.

    Args:
        members: the cameras.
        engine: what they share.
        subscriber: called with the name of a camera and its result, in the network's thread.
        say: takes a line about each camera that fails while others go on.
    """

    def __init__(
        self,
        members: Sequence[Member],
        engine: Engine,
        subscriber: Callable[[str, Result], None] | None,
        say: Callable[[str], None],
    ) -> None:
        self._arrived = threading.Event()
        self._say = say
        self.failure: HypersegError | None = None
        """What ended all cameras at once; their outputs are told when the crew is left."""
        self.cameras = [self._camera(member) for member in members]
        self.lanes = [
            Lane(engine, camera, _lane_options(member, subscriber), camera.name)
            for member, camera in zip(members, self.cameras, strict=True)
        ]

    def __enter__(self) -> Self:
        for camera in self.cameras:
            camera.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for lane, camera in zip(self.lanes, self.cameras, strict=True):
            camera.finish(lane.failure or self.failure or error)
        if kind is not None and not issubclass(kind, Exception):
            return  # a second Ctrl-C does not wait
        start_s = time.monotonic()
        for lane, camera in zip(self.lanes, self.cameras, strict=True):
            limit_s = CLOSE_S if lane.first_ns is not None else OPENING_S
            closed = camera.join(max(start_s + limit_s - time.monotonic(), 0.0))
            if not closed and lane.first_ns is not None:
                camera.failure = camera.failure or SourceError(
                    f"camera {camera.name} or its outputs were not closed within {limit_s:g} s, a "
                    "driver or disk hangs; its outputs are incomplete"
                )

    def wait(self, timeout_s: float) -> None:
        """Wait for a frame, a failure or the end of any camera."""
        self._arrived.wait(timeout_s)
        self._arrived.clear()

    def halt(self) -> None:
        """Read no more frames of any camera."""
        for camera in self.cameras:
            camera.stop()
        deadline_s = time.monotonic() + QUIET_S
        for lane, camera in zip(self.lanes, self.cameras, strict=True):
            if lane.first_ns is not None:  # else it may still be opening, and has nothing to lose
                camera.await_quiet(max(deadline_s - time.monotonic(), 0.0))

    def let_go(self, lane: Lane) -> None:
        """A lane has ended while the rig goes on: its camera closes and completes its outputs."""
        self.cameras[self.lanes.index(lane)].finish(lane.failure)
        if lane.failure is not None:
            self._say(f"camera {lane.name} failed: {redact(str(lane.failure))}")

    def _camera(self, member: Member) -> Camera:
        parts = member.parts
        outputs: list[AbstractContextManager[object]] = [parts.outlets]
        if parts.log is not None:
            outputs.insert(0, parts.log)
        return Camera(member.name, parts.source, parts.policy, outputs, self._arrived)


def _lane_options(member: Member, subscriber: Callable[[str, Result], None] | None) -> LaneOptions:
    parts = member.parts

    def tell(result: Result) -> None:
        assert subscriber is not None
        subscriber(member.name, result)

    return LaneOptions(
        policy=parts.policy,
        outlets=parts.outlets,
        on_result=None if subscriber is None else tell,
        log=parts.log,
    )
