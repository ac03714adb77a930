"""Pad probes that number and stamp the frames as they pass."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edge_runtime.gst import Gst
from edge_runtime.sources.clocks import ArrivalClock, CaptureClock, DriverClock, NtpClock
from edge_runtime.sources.plan import SOURCE_NAME
from edge_runtime.sources.tail import DECODED, NET, SURFACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.sources.ledger import FrameLedger
    from edge_runtime.sources.placement import NetworkPlacement
    from edge_runtime.sources.plan import SourcePlan
    from edge_runtime.video import TimestampSource


def presentation_time(buffer: Any) -> int | None:
    """The buffer's presentation time in nanoseconds; 0 is valid, None is none."""
    return None if buffer.pts == Gst.CLOCK_TIME_NONE else int(buffer.pts)


def identity(buffer: Any) -> int:
    """Tells a buffer from all others that exist at this time, however often it is looked up.

    The bindings wrap it anew each time, and hash the wrapper by the address of what it wraps.
    """
    return hash(buffer)


class Stamping:
    """The probes of one pipeline.

    They run on streaming threads, once a frame, and do next to nothing. The bindings print and
    forget an exception raised there, so it is kept for the reader to raise.
    """

    def __init__(
        self, pipeline: Any, plan: SourcePlan, ledger: FrameLedger, placement: NetworkPlacement
    ) -> None:
        self.failure: Exception | None = None
        self._clock: CaptureClock = ArrivalClock("file")
        self._plan = plan
        # Asked before the pipeline runs: a decoder adds elements to it then.
        self._driver = plan.clock == "driver" or (plan.clock is None and _reads_device(pipeline))
        self._ledger = ledger
        self._placement = placement
        self._probes: list[tuple[Any, int]] = []
        place = SOURCE_NAME if plan.arrives_at_source else DECODED
        arrival = pipeline.get_by_name(place).get_static_pad("src")
        self._add(arrival, Gst.PadProbeType.BUFFER, self._on_arrival)
        net = (pipeline.get_by_name(SURFACE) or pipeline.get_by_name(NET)).get_static_pad("sink")
        self._add(net, Gst.PadProbeType.BUFFER, self._on_ready)
        pad, on_caps = placement.follow(pipeline)
        self._add(
            pad, Gst.PadProbeType.EVENT_DOWNSTREAM, lambda _pad, info: on_caps(info.get_event())
        )

    def _add(self, pad: Any, kind: Any, work: Callable[[Any, Any], None]) -> None:
        def probe(pad: Any, info: Any) -> Any:
            try:
                work(pad, info)
            except Exception as error:  # noqa: BLE001  (the reader raises it)
                self.failure = self.failure or error
            return Gst.PadProbeReturn.OK

        self._probes.append((pad, pad.add_probe(kind, probe)))

    def choose_clock(self, *, live: bool) -> TimestampSource:
        """Take the best clock for capture stamps that this source offers, before frames flow."""
        if live and self._driver:
            self._clock = DriverClock()
        elif self._plan.clock == "ntp":
            self._clock = NtpClock(Gst.Caps.from_string("timestamp/x-ntp"))
        else:
            self._clock = ArrivalClock("arrival" if live else "file")
        return self._clock.source

    def remove(self) -> None:
        """Take the probes off; the pipeline and this object no longer hold each other."""
        for pad, number in self._probes:
            pad.remove_probe(number)
        self._probes.clear()

    def _on_arrival(self, pad: Any, info: Any) -> None:
        arrival_ns = time.monotonic_ns()
        buffer = info.get_buffer()
        base_time_ns = pad.get_parent_element().get_base_time()
        capture_ns = self._clock.capture_ns(buffer, base_time_ns, arrival_ns)
        if self._plan.numbers_frames and buffer.offset != Gst.BUFFER_OFFSET_NONE:
            self._ledger.numbered(int(buffer.offset))
        self._ledger.arrived(presentation_time(buffer), capture_ns, arrival_ns, self._clock.source)

    def _on_ready(self, pad: Any, info: Any) -> None:
        del pad
        now = time.monotonic_ns()
        buffer = info.get_buffer()
        self._ledger.ready(
            presentation_time(buffer), now, self._placement.size, buffer=identity(buffer)
        )


def _reads_device(pipeline: Any) -> bool:
    """Whether a launch text reads one video device and leaves its presentation times alone."""
    factories = [element.get_factory() for element in pipeline.iterate_recurse()]
    names = [factory.get_name() for factory in factories if factory is not None]
    return names.count("v4l2src") == 1 and "videorate" not in names
