"""A sink's own thread, so that encoding and disks never delay inference.

Results wait in a fixed number of slots, each with its own mask buffer. Under ``every`` the loop
waits for a free slot; otherwise a result that finds none is dropped for this sink and counted.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from edge_runtime.errors import SinkError
from edge_runtime.timing import Series

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edge_runtime.result import Result

SLOTS = 4
"""Results between the loop and one sink: a bound on memory and on what a dropped run loses."""
CLOSE_TIMEOUT_S = 30.0
INTERRUPT_GRACE_S = 1.0
"""How long a lossless run still waits for a sink's slot after it was told to stop."""


class Sink(Protocol):
    """Takes results, all from one thread. `open` runs in the caller's thread, before the first."""

    label: str
    """As the user named it."""

    def open(self) -> None:
        """Check what can be checked before the first frame; raises `SinkError`."""
        ...

    def consume(self, result: Result) -> None:
        """Take one result, which is valid until the call returns; raises `SinkError`, `OSError`."""
        ...

    def close(self) -> None:
        """Complete the output; raises `SinkError`, `OSError`."""
        ...

    def discard(self) -> None:
        """Remove what is half written, after a failure of this sink."""
        ...


@runtime_checkable
class Lossy(Protocol):
    """A sink whose receiver may be away or full: what it could not hand over ends no run."""

    undelivered: int
    """Results that were consumed and lost, so far; they are told as dropped."""


@runtime_checkable
class Witness(Protocol):
    """A sink that wants to know why its run ends."""

    def testify(self, error: BaseException | None, *, told: bool) -> None:
        """Hear it, in the caller's thread, before the last results are consumed.

        Args:
            error: what ends the run, None without a failure.
            told: whether the run was told to stop, by Ctrl-C or SIGTERM.
        """
        ...


class SinkWorker:
    """Runs one sink in a thread. A context manager; leaving it completes the output.

    Args:
        sink: the sink.
        mask_size: (height, width) of the masks.
        clock: CLOCK_MONOTONIC nanoseconds.
        stopping: whether the run was told to stop.
    """

    def __init__(
        self,
        sink: Sink,
        mask_size: tuple[int, int],
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.label = sink.label
        self.render = Series()
        """From hand-over until the sink has drawn and written it; complete after the exit."""
        self.consumed = 0
        self.dropped = 0
        self._sink = sink
        self._clock = clock
        self._stopping = stopping
        self._free: queue.SimpleQueue[NDArray[np.uint8]] = queue.SimpleQueue()
        for _ in range(SLOTS):
            self._free.put(np.zeros(mask_size, np.uint8))
        self._queue: queue.SimpleQueue[tuple[Result, NDArray[np.uint8], int] | None] = (
            queue.SimpleQueue()
        )
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"sink {self.label}", daemon=True)

    def __enter__(self) -> Self:
        self._sink.open()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(self._sink, Witness):
            self._sink.testify(error, told=self._stopping())
        self._queue.put(None)
        cut_short = kind is not None and not issubclass(kind, Exception)
        self._thread.join(INTERRUPT_GRACE_S if cut_short else CLOSE_TIMEOUT_S)
        if error is not None:
            return
        if self._thread.is_alive():
            raise SinkError(
                f"sink {self.label} did not finish within {CLOSE_TIMEOUT_S:g} s; its output is "
                "incomplete"
            )
        self._raise_failure()

    @property
    def pending(self) -> int:
        """Results handed over and not done with yet, `SLOTS` at most."""
        return SLOTS - self._free.qsize()

    @property
    def has_room(self) -> bool:
        """Whether `offer` would return at once and drop nothing, or raise."""
        return self._error is not None or not self._free.empty()

    def offer(self, result: Result, *, wait: bool) -> bool:
        """Hand over a result; False if there was no room for it.

        Args:
            result: its mask is copied before the call returns.
            wait: wait for room instead of dropping.

        Raises:
            SinkError: the sink has failed.
        """
        slot = self._take_slot(wait=wait)
        if slot is None:
            self.dropped += 1
            return False
        self._queue.put((result.detached(slot), slot, self._clock()))
        return True

    def _take_slot(self, *, wait: bool) -> NDArray[np.uint8] | None:
        waited_s = 0.0
        while True:
            self._raise_failure()
            try:
                return self._free.get(timeout=0.1) if wait else self._free.get_nowait()
            except queue.Empty:
                waited_s += 0.1
                if not wait or (self._stopping() and waited_s >= INTERRUPT_GRACE_S):
                    return None

    def _raise_failure(self) -> None:
        if isinstance(self._error, OSError):
            raise SinkError(
                f"cannot write {self.label}: {self._error.strerror or self._error}; choose "
                "another place or free some space"
            ) from self._error
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while (job := self._queue.get()) is not None:
                result, slot, offered_ns = job
                self._sink.consume(result)
                self.render.add_ns(self._clock() - offered_ns)
                self.consumed += 1
                self._free.put(slot)
            self._sink.close()
            if isinstance(self._sink, Lossy):
                self.consumed -= self._sink.undelivered
                self.dropped += self._sink.undelivered
        except BaseException as error:  # noqa: BLE001 - raised again by the loop's thread
            self._error = error
            with suppress(OSError):
                self._sink.discard()
