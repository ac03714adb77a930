"""One camera's part in a run: what becomes of its frames, and the account of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from edge_runtime.compose import End
from edge_runtime.copies import Copies
from edge_runtime.geometry import FrameGeometry
from edge_runtime.policy import Policy, default_policy
from edge_runtime.recorder import Recorder
from edge_runtime.redact import redact
from edge_runtime.report import Fault
from edge_runtime.result import Result
from edge_runtime.sinks.outlets import Outlets
from edge_runtime.timing import FrameStamps
from edge_runtime.video import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.errors import HypersegError
    from edge_runtime.recorder import Snapshot
    from edge_runtime.report import Ending, Outages
    from edge_runtime.rig.engine import Engine
    from edge_runtime.supervision.health import Outage, SignalRecord, SignalState
    from edge_runtime.video import Frame


class Watched(Source, Protocol):
    """A source that knows how it is doing, as `SupervisedSource` does."""

    record: SignalRecord
    """What was wrong with it over the run."""

    @property
    def outage(self) -> Outage | None:
        """The outage that is going on, if any."""
        ...

    @property
    def state(self) -> SignalState:
        """How it is doing; may be asked from another thread."""
        ...


@dataclass
class LaneOptions:
    """What is done with one camera's frames."""

    policy: Policy | None = None
    """None takes what suits the source."""
    outlets: Outlets = field(default_factory=Outlets)
    """Already entered when the first frame is taken."""
    on_result: Callable[[Result], None] | None = None
    """Called in the loop's thread with every result, the stale and the no-signal ones too."""
    log: Callable[[Result], None] | None = None
    """Called after publication, outside all latencies."""
    clock: Callable[[], int] = time.monotonic_ns


class Lane:
    """Takes one camera's frames through the network and publishes what comes out.

    Args:
        engine: shared with the other lanes.
        source: already entered, or in the care of a thread that enters it.
        options: policy, outlets, clock.
        name: of the camera, where there are several.
    """

    def __init__(
        self, engine: Engine, source: Watched, options: LaneOptions, name: str = ""
    ) -> None:
        self.name = name
        self.source = source
        self.recorder = Recorder()
        self.copies = Copies()
        """What the pixels of its frames went through."""
        self.faults = source.record.faults
        self.policy = options.policy
        self.first_ns: int | None = None
        """When the first frame was taken."""
        self.end: End | None = None
        """How things stood when the lane ended."""
        self.failure: HypersegError | None = None
        self.engine = engine
        self.outlets = options.outlets
        self.observers: list[Callable[[Result], None]] = []
        """Called in the loop's thread with every result that was published, after it was and
        outside all latencies. What they take counts as instrumentation."""
        self._lane = options
        self._clock = options.clock
        self._last: Result | None = None
        self._last_seen_ns = 0
        self._told: Outage | None = None

    @property
    def has_room(self) -> bool:
        """Whether the next result can be published without waiting for a sink."""
        return self.policy is None or not self.policy.lossless or self._lane.outlets.has_room

    def elapsed_s(self) -> float:
        """Seconds since the first frame; 0 before it."""
        return 0.0 if self.first_ns is None else (self._clock() - self.first_ns) * 1e-9

    def outages(self) -> Outages:
        """The account of times without signal, so far."""
        return self.source.record.summary(self._clock())

    def snapshot(self) -> Snapshot:
        """The figures of the last 10 s; may be called from another thread."""
        return self.recorder.snapshot(self._clock())

    def finish(self, ended: Ending, failure: HypersegError | None = None) -> None:
        """Note how things stand now that no further frame is taken.

        Raises:
            RuntimeError: the frames of a lane that did not fail do not add up, which is a defect.
        """
        self.end = End.of(self, ended)
        self.failure = failure

    def blame(self, error: HypersegError, t_s: float) -> None:
        """Note what ended the lane, so many seconds after its first frame."""
        self.faults.append(Fault(t_s=t_s, kind=type(error).__name__, reason=redact(str(error))))

    def take(self, frame: Frame) -> bool:
        """Infer a frame and publish its mask; False if it was too old to be inferred.

        Raises:
            BackendError: the engine failed.
            SinkError: a sink of this lane failed.
        """
        tally, engine = self.recorder.tally, self.engine
        tally.read += 1
        self._note_arrival(frame)
        copy_start = self._clock()
        engine.load(frame)
        self.copies.add(frame.copies)
        if self._exceeds_deadline(frame, self._clock()):
            tally.dropped_stale += 1
            self._publish_without_mask(self._describe(frame))
            return False
        mask = engine.infer()
        tally.inferred += 1
        self.copies.host_to_device_copies += engine.stamps.host_to_device_copies
        self.copies.device_to_host_copies += engine.stamps.device_to_host_copies
        stamps = FrameStamps(
            capture=frame.capture_ns,
            arrival=frame.arrival_ns,
            ready=frame.ready_ns,
            dequeue=frame.dequeue_ns,
            copy_start=copy_start,
            infer_enter=engine.stamps.start_ns,
            h2d_end=engine.stamps.h2d_end_ns,
            infer_end=engine.stamps.infer_end_ns,
            d2h_end=engine.stamps.d2h_end_ns,
            post_end=self._clock(),
        )
        late = self._exceeds_deadline(frame, stamps.post_end)
        result = self._describe(frame).inferred(mask, stamps, late=late, model=engine.network.key)
        self._publish(result, stamps)
        return True

    def tell_outage(self) -> None:
        """Publish ``no-signal`` once for each time that a live source stops delivering.

        One that began and ended while the network served other cameras is in the report only.

        Raises:
            SinkError: a sink of this lane failed.
        """
        outage, last = self.source.outage, self._last
        if outage is None or last is None or outage is self._told:
            return
        self._told = outage
        silent_ns = self._clock() - self._last_seen_ns
        self._publish_without_mask(last.without_signal(silent_ns, outage.reason))

    def _publish(self, result: Result, stamps: FrameStamps) -> None:
        options, recorder = self._lane, self.recorder
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
        if taken:
            for observe in self.observers:
                observe(result)
        recorder.cost_ns += self._clock() - start

    def _publish_without_mask(self, result: Result) -> None:
        assert self.policy is not None
        self._lane.outlets.offer(result, wait=self.policy.lossless)
        if self._lane.on_result is not None:
            self._lane.on_result(result)
        if self._lane.log is not None:
            self._lane.log(result)

    def _describe(self, frame: Frame) -> Result:
        """The result of a frame before it has a mask."""
        clock = frame.timestamp_source or self.source.info.timestamp_source
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
            geometry=FrameGeometry(
                frame.size, self.engine.size, self.engine.resize, even=self.engine.takes_yuv
            ),
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
