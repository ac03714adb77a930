"""The loop: newest frame in, network, mask out, every boundary stamped.

One thread reads, infers and publishes; sinks that encode have their own. `Loop` takes its backend,
source and clock as arguments; `edge_runtime.runner.run` opens real ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.backends.base import EngineStamps
from edge_runtime.decode import mask_decoder
from edge_runtime.geometry import FrameGeometry
from edge_runtime.policy import Policy, default_policy
from edge_runtime.recorder import Recorder
from edge_runtime.report import Fault
from edge_runtime.result import Result
from edge_runtime.sinks.outlets import Outlets
from edge_runtime.stop import Stop
from edge_runtime.supervision.source import SupervisedSource
from edge_runtime.timing import FrameStamps

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.recorder import Snapshot
    from edge_runtime.report import Ending, Outages
    from edge_runtime.supervision.health import Outage
    from edge_runtime.video import Frame, Source

POLL_S = 0.1
"""Longest single wait for a frame: the delay of Ctrl-C and of noticing a silent source."""


@dataclass
class LoopOptions:
    """What a loop does with its frames."""

    policy: Policy | None = None
    """None takes what suits the source."""
    duration_s: float | None = None
    """Since the first frame."""
    outlets: Outlets = field(default_factory=Outlets)
    """Already entered."""
    on_result: Callable[[Result], None] | None = None
    """Called in the loop's thread with every result, the stale and the no-signal ones too."""
    log: Callable[[Result], None] | None = None
    """Called after publication, outside all latencies."""
    stop: Stop = field(default_factory=Stop)
    clock: Callable[[], int] = time.monotonic_ns


class Loop:
    """Runs a network on a source.

    Args:
        backend: already entered.
        source: already entered. One that is not supervised yet is watched, but never opened again.
        manifest: of the backend's model.
        options: policy, outlets, clock.
    """

    def __init__(
        self, backend: Backend, source: Source, manifest: Manifest, options: LoopOptions
    ) -> None:
        if not isinstance(source, SupervisedSource):
            source = SupervisedSource(source, clock=options.clock)
        self.source = source
        self.recorder = Recorder()
        self.faults = source.record.faults
        self.policy = options.policy
        self.first_ns: int | None = None
        """When the first frame was taken."""
        self._backend = backend
        self._options = options
        self._clock = options.clock
        self._feed = backend.feeds[manifest.inputs[0].name][0]
        self._decode = mask_decoder(backend, manifest)
        self._network = manifest.input_size
        self._resize = manifest.preprocess.resize
        self._engine_stamps = EngineStamps()
        self._last: Result | None = None
        self._last_seen_ns = 0
        self._told: Outage | None = None

    def run(self) -> Ending:
        """Take frames until the stream, the duration or the patience of the user ends.

        Raises:
            SourceError: the source failed.
            BackendError: the engine failed.
            SinkError: a sink failed.
        """
        options = self._options
        options.stop.awaited = True
        while True:
            if options.stop.reason is not None:
                return options.stop.reason
            if self._is_over():
                return "duration"
            frame = self.source.read(POLL_S)
            if frame is not None:
                self._take(frame)
            elif self.source.ended:
                return "end"
            else:
                self._tell_outage()

    def elapsed_s(self) -> float:
        """Seconds since the first frame; 0 before it."""
        return 0.0 if self.first_ns is None else (self._clock() - self.first_ns) * 1e-9

    def outages(self) -> Outages:
        """The account of times without signal, so far."""
        return self.source.record.summary(self._clock())

    def snapshot(self) -> Snapshot:
        """The figures of the last 10 s; may be called from another thread."""
        return self.recorder.snapshot(self._clock())

    def _is_over(self) -> bool:
        duration_s = self._options.duration_s
        return duration_s is not None and self.elapsed_s() >= duration_s

    def _take(self, frame: Frame) -> None:
        tally = self.recorder.tally
        tally.read += 1
        self._note_arrival(frame)
        copy_start = self._clock()
        np.copyto(self._feed, frame.image)
        if self._exceeds_deadline(frame, self._clock()):
            tally.dropped_stale += 1
            self._publish_without_mask(self._describe(frame))
            return
        engine = self._engine_stamps
        self._backend.infer(engine)
        tally.inferred += 1
        result = self._describe(frame)
        mask = self._decode()
        stamps = FrameStamps(
            capture=frame.capture_ns,
            arrival=frame.arrival_ns,
            ready=frame.ready_ns,
            dequeue=frame.dequeue_ns,
            copy_start=copy_start,
            infer_enter=engine.start_ns,
            h2d_end=engine.h2d_end_ns,
            infer_end=engine.infer_end_ns,
            d2h_end=engine.d2h_end_ns,
            post_end=self._clock(),
        )
        late = self._exceeds_deadline(frame, stamps.post_end)
        self._publish(result.inferred(mask, stamps, late=late), stamps)

    def _publish(self, result: Result, stamps: FrameStamps) -> None:
        options, recorder = self._options, self.recorder
        assert self.policy is not None
        taken = options.outlets.offer(result, wait=self.policy.lossless)
        stamps.publish = self._clock()
        if options.on_result is not None:
            options.on_result(result)
            taken = True
        start = self._clock()
        if taken:
            recorder.tally.late += result.late
            recorder.published(stamps)
        else:
            recorder.tally.dropped_sink += 1
        if options.log is not None:
            options.log(result)
        recorder.cost_ns += self._clock() - start

    def _publish_without_mask(self, result: Result) -> None:
        assert self.policy is not None
        self._options.outlets.offer(result, wait=self.policy.lossless)
        if self._options.on_result is not None:
            self._options.on_result(result)
        if self._options.log is not None:
            self._options.log(result)

    def _describe(self, frame: Frame) -> Result:
        """The result of a frame before it has a mask."""
        clock = self.source.info.timestamp_source
        self.recorder.use(clock)
        if self._last is not None and self._last.timestamp_source != clock:
            kind = f"clock {self._last.timestamp_source} became {clock}"
            self.faults.append(Fault(self.elapsed_s(), kind, recovered_after_s=0.0))
        self._last = Result(
            index=frame.index,
            pts_ns=frame.pts_ns,
            state="stale",
            timestamp_source=clock,
            capture_ns=frame.capture_ns,
            geometry=FrameGeometry(frame.size, self._network, self._resize),
            picture=frame.picture,
            name=frame.name,
        )
        return self._last

    def _exceeds_deadline(self, frame: Frame, now_ns: int) -> bool:
        deadline_ns = self.policy.deadline_ns if self.policy else None
        return deadline_ns is not None and now_ns - frame.capture_ns > deadline_ns

    def _note_arrival(self, frame: Frame) -> None:
        if self.first_ns is None:
            self.first_ns = frame.dequeue_ns
            self.policy = self.policy or default_policy(live=self.source.info.live)
        self._last_seen_ns = frame.dequeue_ns

    def _tell_outage(self) -> None:
        """Publish ``no-signal`` once for each time that a live source stops delivering."""
        outage, last = self.source.outage, self._last
        if outage is None or last is None or outage is self._told:
            return
        self._told = outage
        silent_ns = self._clock() - self._last_seen_ns
        self._publish_without_mask(last.without_signal(silent_ns, outage.reason))
