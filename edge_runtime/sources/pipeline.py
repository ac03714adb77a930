"""A source of frames that is a GStreamer pipeline."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import SourceEndedError, SourceError
from edge_runtime.gst import Gst, bound_appsink, raw_format, set_if_present, view_pixels
from edge_runtime.sources.faults import BusWatch, parse_pipeline
from edge_runtime.sources.feed import Feeder
from edge_runtime.sources.ledger import Entry, FrameLedger
from edge_runtime.sources.placement import NetworkPlacement
from edge_runtime.sources.plan import SOURCE_NAME
from edge_runtime.sources.stamping import Stamping, presentation_time
from edge_runtime.sources.tail import DECODED, NET, PICTURE, tail_launch
from edge_runtime.video import Frame, SourceCounters, SourceInfo

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edge_runtime.sources.fault_element import FaultInjector
    from edge_runtime.sources.fault_script import FaultOpening
    from edge_runtime.sources.plan import SourcePlan
    from edge_runtime.video import SourceRequest

POLL_S = 0.1
"""How long a wait lasts at most before Python may act on Ctrl-C."""

END_TIMEOUT_S = 2.0
"""How long a capture service may take to accept the end of its stream."""

EVERY_BUFFERS = 3
"""Frames that wait for a slow consumer when none is dropped."""

PICTURE_SURPLUS = 2
"""Pictures that wait beyond the network's frames: one under way, one to spare."""


class _Pipeline:
    """The parts of an open pipeline."""

    def __init__(self, plan: SourcePlan, request: SourceRequest, ledger: FrameLedger) -> None:
        opening = plan.faults.open(plan.uri) if plan.faults is not None else None
        self.all = parse_pipeline(plan.uri, f"{plan.launch} ! {tail_launch(request)}")
        self.net = self.all.get_by_name(NET)
        self.picture = self.all.get_by_name(PICTURE)
        """None unless pictures were asked for."""
        self.decoded = self.all.get_by_name(DECODED)
        self.bus = BusWatch(self.all.get_bus())
        self.feeder = Feeder(plan.pictures) if plan.pictures is not None else None
        self.injector = _inject(self.all, opening) if opening is not None else None
        # Stamps are compared with time.monotonic_ns(), and an audio clock would not do for that.
        self.all.use_clock(Gst.SystemClock.obtain())
        source = self.all.get_by_name(SOURCE_NAME)
        for name, value in plan.properties.items():
            set_if_present(source, name, value)
        if self.feeder is not None:
            self.feeder.attach(source)
        self.placement = NetworkPlacement(request)
        self.stamping = Stamping(self.all, plan, ledger, self.placement)

    def raise_defect(self) -> None:
        """Raise what a streaming thread ran into, if anything."""
        for part in (self.stamping, self.injector):
            if part is not None and part.failure is not None:
                raise part.failure

    def bound(self, *, newest: bool) -> None:
        """Give both appsinks their queues."""
        buffers = 1 if newest else EVERY_BUFFERS
        bound_appsink(self.net, buffers, newest=newest)
        if self.picture is not None:
            bound_appsink(self.picture, buffers + PICTURE_SURPLUS, newest=newest)

    def end_stream(self) -> None:
        """Send an end of stream through and wait for it, but not for long."""
        self.bound(newest=True)  # a full queue would hold it up
        self.all.send_event(Gst.Event.new_eos())
        deadline = time.monotonic() + END_TIMEOUT_S
        while not self.bus.ended and time.monotonic() < deadline:
            time.sleep(POLL_S / 10)
            self.bus.drain()

    def close(self) -> None:
        """Stop all streaming threads and give everything back."""
        if self.feeder is not None:
            self.feeder.stop()
        if self.injector is not None:
            self.injector.stop()
        self.all.set_state(Gst.State.NULL)
        self.stamping.remove()


def _inject(pipeline: Any, opening: FaultOpening) -> FaultInjector:
    # Imported here: the class is an element of its own and costs every start-up.
    from edge_runtime.sources.fault_element import FaultInjector

    return FaultInjector(pipeline, opening)


class GstSource:
    """Frames of a `SourcePlan`. Implements `edge_runtime.video.Source`."""

    def __init__(self, plan: SourcePlan, request: SourceRequest) -> None:
        self._plan = plan
        self._request = request
        self._ledger = FrameLedger()
        self._info = SourceInfo(plan.uri, False, (0, 0), None, "", "arrival")
        self._open: _Pipeline | None = None
        self._open_until = 0.0
        self._newest = False
        self._delivered = 0
        self._ended = False

    @property
    def info(self) -> SourceInfo:
        """What it is; complete after the first frame was read."""
        return self._info

    @property
    def counters(self) -> SourceCounters:
        """Frames by fate, so far."""
        return self._ledger.counters

    @property
    def ended(self) -> bool:
        """Whether the end of the stream was reached."""
        return self._ended

    def __enter__(self) -> Self:
        self._open_until = time.monotonic() + self._request.open_timeout_s
        self._open = _Pipeline(self._plan, self._request, self._ledger)
        try:
            self._start(self._open)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._open is not None:
            if self._plan.end_before_stop and self._delivered:
                self._open.end_stream()
            self._open.close()
            self._open = None

    def _start(self, pipeline: _Pipeline) -> None:
        change = pipeline.all.set_state(Gst.State.PAUSED)
        while change == Gst.StateChangeReturn.ASYNC:
            self._check(pipeline)
            change, _, _ = pipeline.all.get_state(round(POLL_S * Gst.SECOND))
        if change == Gst.StateChangeReturn.FAILURE:
            raise self._failed(pipeline)
        live = change == Gst.StateChangeReturn.NO_PREROLL
        wanted = self._request.latest
        self._newest = live if wanted is None else wanted
        pipeline.bound(newest=self._newest)
        # A video of which only the newest frame counts is to play at its own speed, as a camera.
        paced = self._newest and not live and not self._plan.timeless
        pipeline.decoded.set_property("sync", paced)
        clock = pipeline.stamping.choose_clock(live=live)
        self._info = replace(self._info, live=live, timestamp_source=clock)
        if pipeline.all.set_state(Gst.State.PLAYING) == Gst.StateChangeReturn.FAILURE:
            raise self._failed(pipeline)

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or None after `timeout_s` or at the end of the stream.

        Raises:
            SourceError: the source failed: device gone, codec missing, file damaged.
        """
        if self._open is None:
            raise RuntimeError("a source is read inside its `with` block only")
        deadline = time.monotonic() + timeout_s
        while not self._ended:
            wait_s = min(max(deadline - time.monotonic(), 0.0), POLL_S)
            sample = self._open.net.try_pull_sample(round(wait_s * Gst.SECOND))
            if sample is not None:
                return self._deliver(self._open, sample)
            if self._open.net.is_eos():
                self._end(self._open)
            else:
                self._check(self._open)
                if time.monotonic() >= deadline:
                    return None
        return None

    def _check(self, pipeline: _Pipeline) -> None:
        """Raise what went wrong, if anything did."""
        pipeline.raise_defect()
        pipeline.bus.drain()
        if pipeline.bus.error is not None:
            raise self._failed(pipeline)
        if self._delivered == 0 and time.monotonic() > self._open_until:
            raise SourceError(
                f"cannot open {self._plan.uri}: no frame within "
                f"{self._request.open_timeout_s:g} s; damaged, not reachable, or slower than that"
            )

    def _failed(self, pipeline: _Pipeline) -> SourceError:
        pipeline.bus.await_error()
        if self._delivered == 0:
            return SourceError(f"cannot open {self._plan.uri}: {pipeline.bus.reason}")
        return SourceError(
            f"{self._plan.uri} failed after {self._delivered} frames: {pipeline.bus.reason}"
        )

    def _end(self, pipeline: _Pipeline) -> None:
        """The stream is over: as it should be, or because something failed before."""
        self._check(pipeline)
        if pipeline.feeder is not None and pipeline.feeder.failure is not None:
            raise pipeline.feeder.failure
        if self._delivered == 0:
            raise SourceError(f"{self._plan.uri} ended without a frame: {pipeline.bus.reason}")
        injected = pipeline.injector is not None and pipeline.injector.ended
        if not self._plan.ends or injected:
            raise SourceEndedError(
                f"{self._plan.uri}: the sender ended the stream after {self._delivered} frames"
            )
        self._ended = True

    def _deliver(self, pipeline: _Pipeline, sample: Any) -> Frame:
        dequeue_ns = time.monotonic_ns()
        pipeline.raise_defect()
        buffer = sample.get_buffer()
        entry = self._ledger.take(presentation_time(buffer), newest=self._newest)
        self._complete_info(pipeline, entry)
        self._delivered += 1
        pipeline.bus.drain()
        return Frame(
            index=entry.index,
            pts_ns=None if self._plan.timeless else entry.pts_ns,
            image=pipeline.placement.lay(buffer, entry.size),
            size=entry.size,
            capture_ns=entry.capture_ns,
            arrival_ns=entry.arrival_ns,
            ready_ns=dequeue_ns if entry.ready_ns is None else entry.ready_ns,
            dequeue_ns=dequeue_ns,
            picture=self._take_picture(pipeline, entry),
            name=self._plan.names[entry.index] if self._plan.names else None,
            damaged=buffer.has_flags(Gst.BufferFlags.CORRUPTED),
        )

    def _complete_info(self, pipeline: _Pipeline, entry: Entry) -> None:
        if self._delivered == 0:
            caps = pipeline.decoded.get_static_pad("src").get_current_caps()
            fps = raw_format(caps).fps
            self._info = replace(
                self._info, size=entry.size, fps_nominal=fps, caps=caps.to_string()
            )
        if self._info.timestamp_source != entry.clock:
            self._info = replace(self._info, timestamp_source=entry.clock)

    def _take_picture(self, pipeline: _Pipeline, entry: Entry) -> NDArray[np.uint8] | None:
        """The full picture of just this frame; those of dropped frames are thrown away."""
        if pipeline.picture is None or (self._newest and entry.pts_ns is None):
            return None
        while (sample := pipeline.picture.try_pull_sample(0)) is not None:
            buffer = sample.get_buffer()
            if presentation_time(buffer) == entry.pts_ns:
                return np.array(view_pixels(buffer, entry.size), order="C")
        return None
