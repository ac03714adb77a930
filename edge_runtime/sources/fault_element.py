"""Puts a fault script into a GStreamer pipeline: an element that alters, withholds or fails.

    ... ! queue ! FaultElement ! identity [! videoscale ! capsfilter] ! ...

The queue keeps the source running while frames are held back. The element is made and linked by
hand: PyGObject before 3.50 warns on stderr of each element of Python's that a factory makes.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import gi
import numpy as np

from edge_runtime.gst import GLib, Gst, raw_format

gi.require_version("GstBase", "1.0")
from gi.repository import GstBase  # noqa: E402  (its version has to be chosen first)

if TYPE_CHECKING:
    from edge_runtime.sources.fault_script import FaultOpening, Verdict

QUEUE, OUTLET, SIZE = "edge_fault_queue", "edge_fault_outlet", "edge_fault_size"
HELD_FRAMES = 64
"""Frames that may be held back at once: two seconds of a usual camera."""


def fault_launch(*, changes_size: bool) -> str:
    """Launch text that `FaultInjector` needs behind raw video, beginning with its separator.

    Args:
        changes_size: the schedule may change the size of frames, which needs system memory.
    """
    scale = f" ! videoscale add-borders=false ! capsfilter name={SIZE}" if changes_size else ""
    return (
        f" ! video/x-raw(ANY) ! queue name={QUEUE} leaky=downstream max-size-bytes=0 "
        f"max-size-time=0 max-size-buffers={HELD_FRAMES} ! identity name={OUTLET}{scale}"
    )


class FaultElement(GstBase.BaseTransform):  # type: ignore[misc]  # the bindings have no types
    """Does to each buffer what the script says."""

    __gstmetadata__ = ("Fault injector", "Filter/Video", "Fails by a schedule", "hyperseg-edge")
    __gsttemplates__ = (
        Gst.PadTemplate.new(
            "sink", Gst.PadDirection.SINK, Gst.PadPresence.ALWAYS, Gst.Caps.new_any()
        ),
        Gst.PadTemplate.new(
            "src", Gst.PadDirection.SRC, Gst.PadPresence.ALWAYS, Gst.Caps.new_any()
        ),
    )

    def __init__(self, opening: FaultOpening, sizer: Any | None) -> None:
        super().__init__()
        self.stopped = threading.Event()
        self.failure: Exception | None = None
        self.ended = False
        """Whether the script has ended the stream."""
        self._opening = opening
        self._sizer = sizer
        self._size = (0, 0)
        self._scale = 1.0
        self._number = 0
        self._anchor_ns: int | None = None
        self._last_pts = Gst.CLOCK_TIME_NONE
        self._shift_s = 0.0
        self._shift_ns = 0
        self._noise = np.random.default_rng(0)
        self.set_in_place(True)
        self.set_passthrough(False)

    def do_set_caps(self, incaps: Any, outcaps: Any) -> bool:
        """Take note of the frames' size."""
        del outcaps
        if self._sizer is not None:
            self._size = raw_format(incaps).size
        return True

    def do_transform_ip(self, buffer: Any) -> Any:
        """One frame passes, or does not."""
        try:
            return self._act(buffer)
        except Exception as error:  # noqa: BLE001  (bindings swallow it here; the reader raises it)
            self.failure = self.failure or error
            return Gst.FlowReturn.ERROR

    def _act(self, buffer: Any) -> Any:
        verdict = self._opening.judge()
        if self.ended or verdict.fate == "withhold":
            return Gst.FlowReturn.CUSTOM_SUCCESS  # dropped, in the words of the base class
        if verdict.fate == "unplug":
            return self._unplug()
        if verdict.fate == "end":
            self.ended = True
            self.srcpad.push_event(Gst.Event.new_eos())
            return Gst.FlowReturn.CUSTOM_SUCCESS
        number, self._number = self._number, self._number + 1
        if verdict.fate == "lose":
            return Gst.FlowReturn.CUSTOM_SUCCESS
        self._wait(buffer.pts, verdict.delay_s)
        buffer.offset = number
        self._rescale(verdict.scale)
        self._alter(buffer, verdict)
        return Gst.FlowReturn.OK

    def _unplug(self) -> Any:
        """Fail as `v4l2src` does when its device goes."""
        error = GLib.Error.new_literal(
            Gst.ResourceError.quark(),
            "The device was unplugged by its fault schedule",
            Gst.ResourceError.READ,
        )
        self.post_message(Gst.Message.new_error(self, error, ""))
        return Gst.FlowReturn.ERROR

    def _wait(self, pts: int, delay_s: float) -> None:
        """Hold a frame back, counted from when it was due: delays must not add up."""
        if not delay_s:
            return
        now = time.monotonic_ns()
        wait_s = delay_s
        if pts != Gst.CLOCK_TIME_NONE:
            if self._anchor_ns is None:
                self._anchor_ns = now - pts
            wait_s = min((self._anchor_ns + pts - now) * 1e-9 + delay_s, delay_s)
        if wait_s > 0:
            self.stopped.wait(wait_s)

    def _rescale(self, scale: float) -> None:
        if self._sizer is None or scale == self._scale:
            return
        self._scale = scale
        height, width = (max(round(side * scale), 1) for side in self._size)
        # Also the size it had at first is named: the next scaler would take any and ask for none.
        caps = Gst.Caps.from_string(f"video/x-raw,height={height},width={width}")
        self._sizer.set_property("caps", caps)

    def _alter(self, buffer: Any, verdict: Verdict) -> None:
        if verdict.pts == "missing":
            buffer.pts = Gst.CLOCK_TIME_NONE
        elif verdict.pts == "repeated":
            buffer.pts = self._last_pts
        elif buffer.pts != Gst.CLOCK_TIME_NONE:
            buffer.pts = self._last_pts = self._shifted(buffer.pts, verdict.pts_shift_s)
        if verdict.damaged:
            self._damage(buffer)

    def _shifted(self, pts: int, shift_s: float) -> int:
        if shift_s != self._shift_s:
            # A jump back ends at 0 at the latest: times below it do not exist.
            self._shift_s, self._shift_ns = shift_s, max(round(shift_s * Gst.SECOND), -pts)
        return pts + self._shift_ns

    def _damage(self, buffer: Any) -> None:
        buffer.set_flags(Gst.BufferFlags.CORRUPTED)
        mapped, memory = buffer.map(Gst.MapFlags.READ | Gst.MapFlags.WRITE)
        if mapped:  # memory of a GPU is only marked
            pixels = np.frombuffer(memory.data, np.uint8)
            pixels[:] = self._noise.integers(0, 256, pixels.size, np.uint8)
            del pixels
            buffer.unmap(memory)


class FaultInjector:
    """The fault element of one pipeline.

    Args:
        pipeline: holds the elements of `fault_launch`.
        opening: of its camera.
    """

    def __init__(self, pipeline: Any, opening: FaultOpening) -> None:
        self._element = FaultElement(opening, pipeline.get_by_name(SIZE))
        queue, outlet = pipeline.get_by_name(QUEUE), pipeline.get_by_name(OUTLET)
        queue.unlink(outlet)
        pipeline.add(self._element)
        queue.link(self._element)
        self._element.link(outlet)

    @property
    def ended(self) -> bool:
        """Whether the script has ended the stream."""
        return bool(self._element.ended)

    @property
    def failure(self) -> Exception | None:
        """A defect of ours on the streaming thread, for the reader to raise."""
        failure: Exception | None = self._element.failure
        return failure

    def stop(self) -> None:
        """Make a frame that is held back pass at once."""
        self._element.stopped.set()
