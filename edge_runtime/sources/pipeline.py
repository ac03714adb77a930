"""A source of frames that is a GStreamer pipeline."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.copies import Copies
from edge_runtime.errors import SourceEndedError, SourceError
from edge_runtime.gst import Gst, raw_format, view_pixels
from edge_runtime.sources.ledger import Entry, FrameLedger
from edge_runtime.sources.opening import POLL_S, OpenPipeline, pull_matching
from edge_runtime.sources.pictures import PicturePool
from edge_runtime.sources.stamping import identity
from edge_runtime.video import Frame, SourceCounters, SourceInfo

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edge_runtime.sources.plan import SourcePlan
    from edge_runtime.video import SourceRequest


class GstSource:
    """Frames of a `SourcePlan`. Implements `edge_runtime.video.Source`."""

    def __init__(self, plan: SourcePlan, request: SourceRequest) -> None:
        self._plan = plan
        self._request = request
        self._ledger = FrameLedger()
        self._info = SourceInfo(plan.uri, False, (0, 0), None, "", "arrival")
        self._open: OpenPipeline | None = None
        self._pictures = PicturePool()
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
        self._open = OpenPipeline(self._plan, self._request, self._ledger)
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

    def _start(self, pipeline: OpenPipeline) -> None:
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
            sample = self._open.lead.try_pull_sample(round(wait_s * Gst.SECOND))
            if sample is not None:
                if (frame := self._deliver(self._open, sample)) is not None:
                    return frame
            elif self._open.lead.is_eos():
                self._end(self._open)
            else:
                self._check(self._open)
                if time.monotonic() >= deadline:
                    return None
        return None

    def _check(self, pipeline: OpenPipeline) -> None:
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

    def _failed(self, pipeline: OpenPipeline) -> SourceError:
        pipeline.bus.await_error()
        if self._delivered == 0:
            return SourceError(f"cannot open {self._plan.uri}: {pipeline.bus.reason}")
        return SourceError(
            f"{self._plan.uri} failed after {self._delivered} frames: {pipeline.bus.reason}"
        )

    def _end(self, pipeline: OpenPipeline) -> None:
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

    def _deliver(self, pipeline: OpenPipeline, sample: Any) -> Frame | None:
        """A frame, or None for one that was given up on the way."""
        dequeue_ns = time.monotonic_ns()
        pipeline.raise_defect()
        buffer = sample.get_buffer()
        entry = self._ledger.take(identity(buffer), newest=self._newest)
        if entry is None:
            return None
        self._complete_info(pipeline, entry)
        self._delivered += 1
        pipeline.bus.drain()
        copies = Copies()
        surfaces, surface = pipeline.surfaces, None
        if surfaces is None:
            image = pipeline.placement.lay(buffer, entry.size, copies)
        else:
            taken = surfaces.take(buffer, entry.pts_ns, entry.size, copies)
            if taken is None:
                self._ledger.counters.dropped_queue += 1
                return None
            image, surface = taken
        return Frame(
            index=entry.index,
            pts_ns=None if self._plan.timeless else entry.pts_ns,
            image=image,
            size=entry.size,
            capture_ns=entry.capture_ns,
            arrival_ns=entry.arrival_ns,
            ready_ns=dequeue_ns if entry.ready_ns is None else entry.ready_ns,
            dequeue_ns=dequeue_ns,
            picture=self._take_picture(pipeline, entry, copies),
            name=self._plan.names[entry.index] if self._plan.names else None,
            damaged=buffer.has_flags(Gst.BufferFlags.CORRUPTED),
            surface=surface,
            copies=copies,
            timestamp_source=entry.clock,
        )

    def _complete_info(self, pipeline: OpenPipeline, entry: Entry) -> None:
        if self._delivered == 0:
            caps = pipeline.decoded.get_static_pad("src").get_current_caps()
            fps = raw_format(caps).fps
            self._info = replace(
                self._info, size=entry.size, fps_nominal=fps, caps=caps.to_string()
            )
        if self._info.timestamp_source != entry.clock:
            self._info = replace(self._info, timestamp_source=entry.clock)

    def _take_picture(
        self, pipeline: OpenPipeline, entry: Entry, copies: Copies
    ) -> NDArray[np.uint8] | None:
        """The full picture of just this frame; those of dropped frames are thrown away."""
        if pipeline.picture is None or (self._newest and entry.pts_ns is None):
            return None
        buffer = pull_matching(pipeline.picture, entry.pts_ns)
        if buffer is None:
            return None
        picture = self._pictures.take((*entry.size, 3))
        np.copyto(picture, view_pixels(buffer, entry.size))
        copies.host_pixel_maps += 1
        copies.copied(picture.nbytes)
        return picture
