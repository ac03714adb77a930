"""Watches a run: counts its results in the run's thread, samples the process in one of its own."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from edge_runtime.soak.latencies import Latencies, bin_of, new_counts, quantile_ms
from edge_runtime.soak.samples import SampleTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.result import Result
    from edge_runtime.soak.process import ProcessReader


class Watch:
    """A context manager: samples are taken between enter and exit, the first with the first result.

    Args:
        reader: of this process.
        interval_s: between samples at first.
        frames: after how many results `enough` is called; None never calls it.
        enough: called once, in the thread of the results.
        clock: seconds.
    """

    def __init__(
        self,
        reader: ProcessReader,
        interval_s: float,
        frames: int | None = None,
        enough: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = SampleTable(interval_s)
        self.cameras: dict[str, Latencies] = {}
        self.reached = False
        """Whether there were as many results as were asked for."""
        self._reader = reader
        self._frames = frames
        self._enough = enough
        self._clock = clock
        self._begin_s: float | None = None
        self._n, self._dropped, self._no_signal = 0, 0, 0
        self._index: dict[str, int] = {}
        self._window, self._next_window = new_counts(), new_counts()
        self._lock = threading.Lock()
        self._begun, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._sample_on, name="soak samples", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish()

    def finish(self) -> None:
        """Take no more samples: what comes now is the end of the run, not the run."""
        self._over.set()
        self._begun.set()
        self._thread.join()

    def note(self, camera: str, result: Result) -> None:
        """Count a result; in the thread of the network."""
        now_s = self._clock()
        if self._begin_s is None:
            self._begin_s = now_s
            self._begun.set()
        if result.state == "no-signal":
            self._no_signal += 1
            return
        # Of every camera the indices rise by one unless frames were dropped on the way.
        self._dropped += max(result.index - self._index.get(camera, -1) - 1, 0)
        self._index[camera] = result.index
        latency_ms = result.latency_ms
        if latency_ms is None:
            self._dropped += 1
            return
        latencies = self.cameras.get(camera)
        if latencies is None:
            latencies = self.cameras[camera] = Latencies()
        latencies.add(latency_ms, now_s - self._begin_s)
        with self._lock:
            self._window[bin_of(latency_ms)] += 1
        self._n += 1
        if self._n == self._frames:
            self.reached = True
            self._over.set()
            self._enough()

    def _sample_on(self) -> None:
        self._begun.wait()
        while not self._over.is_set():
            self.sample()
            self._over.wait(self.table.interval_s)

    def sample(self) -> None:
        """Take one sample."""
        with self._lock:
            window, self._window = self._window, self._next_window
        assert self._begin_s is not None
        reading = self._reader.read()
        self.table.add(
            {
                "t_s": self._clock() - self._begin_s,
                "frames": self._n,
                "rss_mb": reading.rss_mb,
                "pss_mb": reading.pss_mb,
                "descriptors": reading.descriptors,
                "threads": reading.threads,
                "python_blocks": reading.python_blocks,
                "traced_mb": reading.traced_mb,
                "p50_ms": quantile_ms(window, 0.5),
                "p99_ms": quantile_ms(window, 0.99),
                "max_ms": quantile_ms(window, 1.0),
                "dropped": self._dropped,
                "no_signal": self._no_signal,
            }
        )
        window[:] = 0
        self._next_window = window
