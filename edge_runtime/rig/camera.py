"""A camera with a thread of its own, in which alone it is opened, read, reopened and closed."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from edge_runtime.rig.slot import Slot
from edge_runtime.video import SourceCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from edge_runtime.policy import Policy
    from edge_runtime.supervision.health import Outage, SignalState
    from edge_runtime.supervision.source import SupervisedSource
    from edge_runtime.video import Frame, SourceInfo

READ_S = 0.1
"""Longest wait for a frame before a request to stop is looked at."""


class Camera:
    """One camera of several: a source that never lets its reader wait for it.

    Its outputs are opened and completed in the same thread, so that neither a slow disk nor a
    wedged driver of one camera holds up another. Implements `edge_runtime.rig.lane.Watched`.

    Args:
        name: of the camera.
        source: not entered.
        policy: None takes what suits the source.
        outputs: entered before the source and left after its last frame was published.
        arrived: set whenever there is something to read or to know.
        clock: CLOCK_MONOTONIC nanoseconds.
    """

    def __init__(
        self,
        name: str,
        source: SupervisedSource,
        policy: Policy | None,
        outputs: Sequence[AbstractContextManager[object]],
        arrived: threading.Event,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.name = name
        self.record = source.record
        self.failure: Exception | None = None
        """What ended it, or kept its outputs from being completed."""
        self._source = source
        self._policy = policy
        self._outputs = tuple(outputs)
        self._arrived = arrived
        self._clock = clock
        self._slot = Slot()
        self._stopped = threading.Event()
        self._quiet = threading.Event()
        self._finished = threading.Event()
        self._cause: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)

    @property
    def info(self) -> SourceInfo:
        """What it is; complete after the first frame was read."""
        return self._source.info

    @property
    def counters(self) -> SourceCounters:
        """Frames by fate, so far; those replaced while they waited count as dropped in a queue."""
        dropped = self._slot.dropped
        counters = self._source.counters
        counters.dropped_queue += dropped
        return counters

    @property
    def ended(self) -> bool:
        """Whether the end of the stream was reached and every frame was read."""
        return self._quiet.is_set() and self._slot.is_empty and self.failure is None

    @property
    def outage(self) -> Outage | None:
        """The outage that is going on, if any."""
        return self._source.outage

    @property
    def state(self) -> SignalState:
        """How it is doing."""
        return "failed" if self.failure is not None else self._source.state

    def start(self) -> None:
        """Begin to open outputs and camera."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more frames."""
        self._stopped.set()
        self._slot.close()

    def await_quiet(self, timeout_s: float) -> bool:
        """Whether reading has ended, within so many seconds."""
        return self._quiet.wait(timeout_s)

    def finish(self, cause: BaseException | None = None) -> None:
        """Every frame that is to be published was: close what is open, in the camera's thread.

        Args:
            cause: what ended the run or this camera, if it was no end of a stream; its outputs
                are told.
        """
        self._cause = self._cause or cause
        self.stop()
        self._finished.set()

    def join(self, timeout_s: float) -> bool:
        """Whether all is closed, within so many seconds."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def __enter__(self) -> Camera:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish(error)

    def read(self, timeout_s: float) -> Frame | None:
        """The newest frame, or the next one of a source of which none may be lost.

        Raises:
            HypersegError: the camera or one of its outputs failed, and every frame before was read.
        """
        quiet = self._quiet.is_set()
        frame = self._slot.take(timeout_s)
        if frame is not None:
            frame.dequeue_ns = self._clock()
        elif quiet and self.failure is not None:
            raise self.failure
        return frame

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                for output in self._outputs:
                    stack.enter_context(output)
                self._watch()
                self._finished.wait()
                why = self._cause or self.failure
                if why is not None:  # completed as well, but a black box asks why
                    stack.pop_all().__exit__(type(why), why, why.__traceback__)
        except Exception as error:  # noqa: BLE001  (the reader raises it)
            self._fail(error)

    def _watch(self) -> None:
        """Open, read and close the camera; its end is told before it is closed, which may last."""
        try:
            with self._source:
                try:
                    self._read_on()
                except Exception as error:  # noqa: BLE001  (the reader raises it)
                    self._fail(error)
                self._be_quiet()
        except Exception as error:  # noqa: BLE001  (the reader raises it)
            self._fail(error)

    def _read_on(self) -> None:
        lossless: bool | None = None
        while not self._stopped.is_set() and not self._source.ended:
            frame = self._source.read(READ_S)
            if frame is None:
                continue
            if lossless is None:
                policy = self._policy
                lossless = policy.lossless if policy else not self._source.info.live
            self._slot.put(frame, lossless=lossless)
            self._arrived.set()

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self._be_quiet()

    def _be_quiet(self) -> None:
        self._quiet.set()
        self._arrived.set()
