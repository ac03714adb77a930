"""A source that is watched, and opened again when it is lost."""

from __future__ import annotations

import threading
import time
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from edge_runtime.errors import SourceEndedError, SourceError
from edge_runtime.supervision.backoff import Backoff
from edge_runtime.supervision.health import RateWatch, SignalRecord
from edge_runtime.supervision.inspect import FrameInspector
from edge_runtime.supervision.options import SupervisionOptions
from edge_runtime.supervision.reconnection import Reconnection
from edge_runtime.video import SourceCounters

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.supervision.health import Cause, Outage, SignalState
    from edge_runtime.supervision.ladder import Ladder
    from edge_runtime.supervision.reconnection import Reopen
    from edge_runtime.video import Frame, Source, SourceInfo

SHORTEST_OPENING_S = 4.0
"""What an attempt to open may take at least, and at most unless the first opening took over half of
it. An attempt that began before the camera was back must not hold up the one that succeeds."""

STUCK_S = 30.0
"""A step of a reconnection that takes so long is held up in a driver and will never end."""

JOIN_S = 5.0
"""How long the end of a run waits for a reconnection that is under way."""


class SupervisedSource:
    """Implements `edge_runtime.video.Source` on top of another one.

    A file passes through untouched. Of a live source, damaged frames and those that repeat the
    presentation time of the one before are kept back. When it fails or falls silent, `outage` says
    so, and it is opened again in another thread while `read` goes on returning None in time.

    Args:
        source: the first opening, entered together with this source.
        reopen: makes the source anew; None never opens it again.
        options: what is done.
        ladder: what is tried besides.
        seed: of the random part of the waits.
        clock: CLOCK_MONOTONIC nanoseconds.
        pause: for a virtual clock: lets so many seconds pass, in the reader's own thread.
    """

    def __init__(
        self,
        source: Source,
        reopen: Reopen | None = None,
        options: SupervisionOptions | None = None,
        *,
        ladder: Ladder | None = None,
        seed: int | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self.options = options or SupervisionOptions()
        self.record = SignalRecord()
        self._source = source
        self._reopen = reopen if self.options.reconnect else None
        self._ladder = ladder
        self._backoff = Backoff(seed)
        self._clock = clock
        self._pause = pause
        self._inspector = FrameInspector(self._note_irregular)
        self._rate = RateWatch()
        self._past = SourceCounters()
        """Frames of earlier openings."""
        self._handover = threading.Lock()
        """Held while one opening becomes a past one: who counts meanwhile would count it twice."""
        self._base = 0
        """Index of this opening's first frame."""
        self._taken = 0
        """Frames read from this opening."""
        self._signal_ns: int | None = None
        """When the last good frame was taken; until there was one, the last of any kind."""
        self._opened_ns = 0
        """When this opening took over."""
        self._began_s = time.monotonic()
        self._opening_s: float | None = None
        """What the first opening took."""
        self._job: Reconnection | None = None
        self._thread: threading.Thread | None = None
        self._failed = False

    @property
    def info(self) -> SourceInfo:
        """What it is; during an outage, what it was."""
        return self._source.info

    @property
    def counters(self) -> SourceCounters:
        """Frames by fate, over all openings; may be asked from another thread."""
        with self._handover:
            counters = _sum(self._past, self._source.counters)
        counters.damaged += self._inspector.damaged
        counters.repeated += self._inspector.repeated
        return counters

    @property
    def ended(self) -> bool:
        """Whether the end of the stream was reached."""
        return self._job is None and self._source.ended

    @property
    def outage(self) -> Outage | None:
        """The outage that is going on, if any."""
        return self.record.outage

    @property
    def state(self) -> SignalState:
        """How the source is doing; may be asked from another thread."""
        now_ns = self._clock()
        if self._failed:
            return "failed"
        if self._job is not None:
            return "reconnecting"
        if self.record.outage is not None:
            return "stalled"
        info = self.info
        is_low = info.live and self._rate.is_low(
            self._source.counters.captured, info.fps_nominal, now_ns
        )
        return "degraded" if is_low or self.record.is_irregular(now_ns) else "up"

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        self._source.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        job = self._job
        if job is not None:
            job.stop()
        if self._thread is not None:
            self._thread.join(JOIN_S)
        elif job is None or not job.closed:
            self._source.__exit__(kind, error, trace)
        if job is not None and job.opened is not None:
            job.opened[0].__exit__(kind, error, trace)

    def read(self, timeout_s: float) -> Frame | None:
        """The next good frame, or None after `timeout_s`, without signal or at the end.

        Raises:
            SourceError: a file failed, or a live source did and is not opened again, or not any
                more.
        """
        if self._job is not None:
            return self._await(self._job, timeout_s)
        try:
            frame = self._source.read(timeout_s)
        except SourceError as error:
            self._lose(error)
            return None
        if frame is not None:
            self._taken += 1
            frame.index += self._base
            if (good := self._judge(frame)) is not None:
                return good
        self._watch_silence()
        return None

    def _judge(self, frame: Frame) -> Frame | None:
        """The frame if it is good; None if it is kept back."""
        if not self._source.info.live or self._inspector.accepts(frame):
            return self._accept(frame)
        if not self.record.has_begun:
            self._signal_ns = frame.dequeue_ns
        return None

    def _accept(self, frame: Frame) -> Frame:
        self._signal_ns = frame.dequeue_ns
        if self._opening_s is None:
            self._opening_s = time.monotonic() - self._began_s
        if self.record.outage is not None:
            self._rate.reset()
        self.record.good(frame.dequeue_ns)
        self._rate.add(self._source.counters.captured, frame.dequeue_ns)
        return frame

    def _note_irregular(self, kind: str, reason: str) -> None:
        self.record.irregular(kind, reason, self._clock())

    def _lose(self, error: SourceError) -> None:
        """The source failed; raises `error` again if nothing is done about it."""
        if not self._source.info.live or self._signal_ns is None or self._reopen is None:
            self._failed = True
            raise error
        if self.record.outage is None:
            cause: Cause = "end" if isinstance(error, SourceEndedError) else "lost"
            self.record.begin(cause, str(error), self._signal_ns, self._clock())
        self._start_reconnection(self._reopen)

    def _watch_silence(self) -> None:
        if self._signal_ns is None or self._source.ended or not self._source.info.live:
            return
        now_ns = self._clock()
        silent_s = (now_ns - self._signal_ns) * 1e-9
        limit_s = self.options.silence_limit_s(self.info.fps_nominal)
        if silent_s < limit_s:
            self._check_outage(now_ns)  # one may last over frames none of which was good yet
            return
        if self.record.outage is None:
            reason = f"{self.info.uri}: no new frame for {silent_s:.1f} s, and no error"
            self.record.begin("stall", reason, self._signal_ns, now_ns)
        self._check_outage(now_ns)
        open_s = (now_ns - self._opened_ns) * 1e-9
        if self._reopen is not None and min(silent_s, open_s) >= 2 * limit_s:
            self._start_reconnection(self._reopen)

    def _check_outage(self, now_ns: int) -> None:
        """Give up when the outage lasts too long."""
        outage, limit_s = self.record.outage, self.options.max_outage_s
        if outage is None or limit_s is None or now_ns - outage.since_ns < limit_s * 1e9:
            return
        self._failed = True
        latest = self._job.reason if self._job is not None else None
        raise SourceError(
            f"{self.info.uri}: no signal for {(now_ns - outage.since_ns) * 1e-9:.0f} s, given up "
            f"(--max-outage {limit_s:g}): {latest or outage.reason}"
        )

    def _start_reconnection(self, reopen: Reopen) -> None:
        self._backoff.outage(self.record.up_s(self._signal_ns or 0))
        self._job = Reconnection(
            self._source,
            reopen,
            self._backoff,
            self._ladder,
            max(SHORTEST_OPENING_S, 2 * (self._opening_s or 0.0)),
            self._pause,
        )
        if self._pause is None:
            self._thread = threading.Thread(
                target=self._job.run, name="camera reconnection", daemon=True
            )
            self._thread.start()

    def _await(self, job: Reconnection, timeout_s: float) -> Frame | None:
        if self._pause is not None:
            job.step()
        if not job.done.wait(0.0 if self._pause is not None else timeout_s):
            self._note_progress(job)
            self._check_outage(self._clock())
            return None
        self._note_progress(job)
        if job.opened is None:
            self._failed = True
            raise job.failure or RuntimeError("a reconnection ended without a result")
        return self._take_over(*job.opened)

    def _note_progress(self, job: Reconnection) -> None:
        self.record.attempted(job.failed_attempts)
        stuck_s = time.monotonic() - job.progress_at_s
        if not job.done.is_set() and stuck_s > STUCK_S + 2 * (self._opening_s or 0.0):
            self._failed = True
            raise SourceError(
                f"{self.info.uri}: {job.doing} has not ended in {stuck_s:.0f} s, its driver is "
                "wedged; end this program and plug the camera in anew"
            )

    def _take_over(self, source: Source, frame: Frame) -> Frame | None:
        """Go on with the new opening."""
        old = self._source.counters
        under_way = old.captured - old.dropped_queue - self._taken
        past = _sum(self._past, old)
        past.outage += under_way
        with self._handover:
            self._past, self._source = past, source
        self._base += old.captured
        self._taken = 1
        self._job = self._thread = None
        self._opened_ns = frame.dequeue_ns
        self._inspector.reopened()
        self.record.reopened()
        frame.index += self._base
        return self._judge(frame)


def _sum(one: SourceCounters, other: SourceCounters) -> SourceCounters:
    names = [field.name for field in fields(SourceCounters)]
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in names})
