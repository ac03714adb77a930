"""Pictures of one camera on their way to all who watch it: encoded once, and only if wanted."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from edge_runtime.web.pictures import overlay, pair, ratios, shown_size
from edge_runtime.web.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.rig.lane import Lane
    from edge_runtime.web.tap import Shot

View = Literal["pair", "overlay"]
_DRAW: dict[View, Callable[..., bytes]] = {"pair": pair, "overlay": overlay}
INTEREST_S = 3.0
"""How long somebody who asked for figures counts as looking."""
BOUNDARY = "hyperseg-picture"
T = TypeVar("T")


class Channel(Generic[T]):
    """The newest value, for any number of readers that each miss what they are too slow for."""

    def __init__(self) -> None:
        self.newest: T | None = None
        self.closed = False
        self._changed = asyncio.Event()

    def publish(self, value: T) -> None:
        """Let all readers go on with this value. In the event loop's thread."""
        self.newest = value
        self._wake()

    def close(self) -> None:
        """Let all readers end."""
        self.closed = True
        self._wake()

    async def after(self, seen: T | None) -> T | None:
        """The newest value that is not `seen`; waits for it. None when there will be none."""
        while not self.closed and (self.newest is None or self.newest is seen):
            await self._changed.wait()
        return None if self.closed else self.newest

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@dataclass(frozen=True)
class Picture:
    """One shot as it is sent."""

    shot: Shot
    views: dict[View, bytes]
    """Part of the stream, of the views that somebody watches."""


class Screen:
    """One camera. All but `develop` is for the event loop's thread.

    Args:
        lane: of the camera.
        wake: called in the frame loop's thread when there is a shot to be developed.
    """

    def __init__(self, lane: Lane, wake: Callable[[], None]) -> None:
        self.lane = lane
        self.tap = Tap(wake)
        self.channel: Channel[Picture] = Channel()
        self.watching: dict[View, int] = dict.fromkeys(_DRAW, 0)
        """Viewers by view."""
        self.waiting = 0
        """Who waits for one shot."""
        self.ratios: Sequence[float] | None = None
        """By class, of the newest shot."""
        self._interest_until = 0.0

    def note_interest(self) -> None:
        """Somebody asked for figures."""
        self._interest_until = time.monotonic() + INTEREST_S
        self.tap.wanted = True

    def review(self) -> None:
        """Whether anybody still looks; without one the loop copies nothing and nothing is kept."""
        viewers = sum(self.watching.values()) + self.waiting
        self.tap.wanted = viewers > 0 or time.monotonic() < self._interest_until
        if not self.tap.wanted:
            self.channel.newest = None
            self.ratios = None

    def develop(self) -> Picture | None:
        """The newest shot as it is sent, if there is a new one. In the darkroom's thread."""
        shot = self.tap.take()
        if shot is None:
            return None
        labels = self.lane.engine.network.manifest.labels
        views = {
            view: _part(shot, _DRAW[view](shot, labels)) for view, n in self.watching.items() if n
        }
        self.ratios = ratios(shot, labels)
        return Picture(shot, views)


class Darkroom:
    """The thread that encodes, so that neither the frame loop nor the event loop does.

    Args:
        lanes: of the run.
        deliver: called in the darkroom's thread with a screen and its newest picture.
    """

    def __init__(self, lanes: Sequence[Lane], deliver: Callable[[Screen, Picture], None]) -> None:
        self._arrived = threading.Event()
        self._over = False
        self._deliver = deliver
        self.screens = [Screen(lane, self._arrived.set) for lane in lanes]
        self._thread = threading.Thread(target=self._work, name="web pictures", daemon=True)

    def start(self) -> None:
        """Begin to listen to the loop."""
        for screen in self.screens:
            screen.lane.observers.append(screen.tap.tell)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more, and let the picture at hand be finished."""
        for screen in self.screens:
            screen.lane.observers.remove(screen.tap.tell)
        self._over = True
        self._arrived.set()
        self._thread.join()

    def _work(self) -> None:
        while True:
            self._arrived.wait()
            self._arrived.clear()
            if self._over:
                return
            for screen in self.screens:
                if (picture := screen.develop()) is not None:
                    self._deliver(screen, picture)


def _part(shot: Shot, jpeg: bytes) -> bytes:
    """What all viewers of a view get, put together once."""
    head = (
        f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n"
        f"X-Index: {shot.index}\r\nX-Capture-Ns: {shot.capture_ns}\r\nX-Late: {int(shot.late)}\r\n"
        f"X-Height: {shown_size(shot)[0]}\r\n\r\n"
    )
    return head.encode() + jpeg + b"\r\n"
