"""The class behind ``hypersegfilter``: only what GStreamer asks for; the work is done elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gi

from edge_runtime.element.failures import guarded, post_error, post_format_warning, post_info
from edge_runtime.element.painting import fit
from edge_runtime.element.pixels import (
    EXPECTED,
    MASK_CAPS,
    PICTURE_CAPS,
    mapped,
    other_side,
    picture_of,
)
from edge_runtime.element.probes import Probes
from edge_runtime.element.results import attach, metas_supported
from edge_runtime.element.session import Session
from edge_runtime.element.settings import PROPERTIES, Settings
from edge_runtime.errors import HypersegError
from edge_runtime.gst import Gst, GstVideo
from edge_runtime.labels import IGNORE_INDEX

gi.require_version("GstBase", "1.0")
from gi.repository import GObject, GstBase  # noqa: E402  (its version has to be chosen first)

if TYPE_CHECKING:
    from edge_runtime.element.results import FrameResult
    from edge_runtime.element.tally import Tally

STATISTICS = "application/x-hyperseg-statistics"


def _template(name: str, direction: Any, caps: str) -> Any:
    return Gst.PadTemplate.new(name, direction, Gst.PadPresence.ALWAYS, Gst.Caps.from_string(caps))


class HypersegFilter(GstBase.BaseTransform):  # type: ignore[misc]  # the bindings have no types
    """Segments each frame on the streaming thread, before it goes on.

    Python's lock is free while the network and OpenCV compute.
    """

    __gtype_name__ = "HypersegFilter"
    __gstmetadata__ = (
        "HyperSeg semantic segmentation",
        "Filter/Effect/Analyzer/Video",
        "Segments video; draws the mask, gives it in place of the picture, or attaches it",
        "hyperseg-edge",
    )
    __gsttemplates__ = (
        _template("sink", Gst.PadDirection.SINK, PICTURE_CAPS),
        _template("src", Gst.PadDirection.SRC, f"{PICTURE_CAPS};{MASK_CAPS}"),
    )
    __gproperties__ = PROPERTIES
    __gsignals__ = {"result": (GObject.SignalFlags.RUN_LAST, None, (Gst.Structure,))}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._settings = Settings()
        self._session: Session | None = None
        self._probes: Probes | None = None
        self._tally: Tally | None = None
        self._labels: tuple[str, ...] = ()
        self._attaches = False
        self._refused = ""
        self._info_in: Any = None
        self._info_out: Any = None
        self._signal = GObject.signal_lookup("result", HypersegFilter)
        self.set_gap_aware(True)  # flags of buffers stay as they are
        self.set_qos_enabled(False)  # the base class would drop late frames; here they pass on

    def do_get_property(self, spec: Any) -> Any:
        """The value of a property."""
        if spec.name == "labels":
            return list(self._labels)
        if spec.name == "statistics":
            return self._statistics()
        return self._settings.get(spec.name)

    def do_set_property(self, spec: Any, value: Any) -> None:
        """Take a property's value; it is judged on the way from NULL to READY."""
        self._settings.set(spec.name, value)

    def do_change_state(self, transition: Any) -> Any:
        """Load the model on the way from NULL to READY; give it back on the way down."""
        opening = transition == Gst.StateChange.NULL_TO_READY
        if opening and not self._open():
            return Gst.StateChangeReturn.FAILURE
        outcome = GstBase.BaseTransform.do_change_state(self, transition)
        failed = outcome == Gst.StateChangeReturn.FAILURE
        if transition == Gst.StateChange.READY_TO_NULL or (opening and failed):
            self._close()
        return outcome

    @guarded(failed=False)
    def do_accept_caps(self, direction: Any, caps: Any) -> bool:
        """As the base class decides, but with the reason, which GStreamer would not name."""
        accepted = bool(GstBase.BaseTransform.do_accept_caps(self, direction, caps))
        if not accepted and direction == Gst.PadDirection.SINK:
            came = caps.to_string()
            if came != self._refused:
                self._refused = came
                post_format_warning(self, f"the stream is {came}; {EXPECTED}")
        return accepted

    @guarded(failed=None)
    def do_transform_caps(self, direction: Any, caps: Any, wanted: Any) -> Any:
        """The same caps on both sides, but greyscale behind the element for ``output=mask``."""
        gives_masks = self._session is not None and self._session.output == "mask"
        found = other_side(direction, caps) if gives_masks else caps
        return (
            found if wanted is None else wanted.intersect_full(found, Gst.CapsIntersectMode.FIRST)
        )

    @guarded(failed=(False, 0))
    def do_get_unit_size(self, caps: Any) -> tuple[bool, int]:
        """Bytes of one frame."""
        return True, GstVideo.VideoInfo.new_from_caps(caps).size

    @guarded(failed=False)
    def do_set_caps(self, incaps: Any, outcaps: Any) -> bool:
        """Prepare for the format of the stream, at its beginning and wherever it changes."""
        self._info_in = GstVideo.VideoInfo.new_from_caps(incaps)
        self._info_out = GstVideo.VideoInfo.new_from_caps(outcaps)
        self._running.expect(picture_of(incaps))
        return True

    @guarded(failed=Gst.FlowReturn.ERROR)
    def do_transform_ip(self, buffer: Any) -> Any:
        """One frame of ``output=overlay`` or ``passthrough``, in its own memory."""
        session = self._running
        result = self._process(buffer)
        if session.output == "overlay" and result.mask is not None:
            with mapped(buffer, self._info_in, write=True) as pixels:
                session.painter.paint(pixels, result.mask, self._settings.opacity)
        self._tell(result, buffer)
        return Gst.FlowReturn.OK

    @guarded(failed=Gst.FlowReturn.ERROR)
    def do_transform(self, inbuf: Any, outbuf: Any) -> Any:
        """One frame of ``output=mask``; one without a mask is all void."""
        result = self._process(inbuf)
        with mapped(outbuf, self._info_out, write=True) as target:
            target[:] = IGNORE_INDEX if result.mask is None else fit(result.mask, target.shape)
        self._tell(result, outbuf)
        return Gst.FlowReturn.OK

    @property
    def _running(self) -> Session:
        assert self._session is not None, "frames flow between READY and NULL only"
        return self._session

    def _open(self) -> bool:
        """Load the model; False after an error message."""
        try:
            session = Session(self._settings, lambda line: post_info(self, line))
        except Exception as error:  # noqa: BLE001  (the message is how it is passed on)
            post_error(self, error)
            return False
        self._session, self._tally = session, session.tally
        self._labels = session.labels.names
        self._attaches = self._settings.attach_mask and metas_supported()
        self._probes = Probes(self, session)
        self.set_in_place(session.output != "mask")
        # Nothing is written then, and a buffer that others hold too need not be copied.
        self.set_passthrough(session.output == "passthrough" and not self._attaches)
        return True

    def _close(self) -> None:
        if self._probes is not None:
            self._probes.remove()
        session = self._session
        self._probes = self._session = None
        if session is not None:
            try:
                session.close()
            except HypersegError as error:  # the element is through all the same
                post_info(self, f"the model was not given back in full: {error}")

    def _process(self, buffer: Any) -> FrameResult:
        """Infer the frame, or let it pass."""
        session = self._running
        pts = buffer.pts
        running = self._running_time(pts)
        fate = session.fate(running)
        if fate == "infer":
            with mapped(buffer, self._info_in, write=False) as pixels:
                return session.infer(pixels, pts)
        if fate == "late" and running is not None:
            self._post_qos(session, buffer, running)
        return session.skip(fate, pts)

    def _running_time(self, pts: int) -> int | None:
        """When a frame is due; None for one without a time, outside its segment, or untimed."""
        if self.segment.format != Gst.Format.TIME:
            return None
        found: int = self.segment.to_running_time(Gst.Format.TIME, pts)
        return None if found == Gst.CLOCK_TIME_NONE else found

    def _tell(self, result: FrameResult, buffer: Any) -> None:
        """Give the result to whoever asked for it; `buffer` is the one that goes on."""
        if self._running.latency_changed:
            self.post_message(Gst.Message.new_latency(self))
        listened = GObject.signal_has_handler_pending(self, self._signal, 0, True)
        posting = self._settings.post_messages
        if not (listened or posting or self._attaches):
            return
        structure = result.structure()
        if self._attaches:
            attach(buffer, result, structure)
        if posting:
            self.post_message(Gst.Message.new_element(self, structure))
        if listened:
            self.emit("result", structure)

    def _post_qos(self, session: Session, buffer: Any, running: int) -> None:
        """Tell the application of a late frame, as GStreamer's base classes do."""
        qos = session.schedule.qos
        if qos is None:
            return
        stream = self.segment.to_stream_time(Gst.Format.TIME, buffer.pts)
        message = Gst.Message.new_qos(self, False, running, stream, buffer.pts, buffer.duration)
        message.set_qos_values(running - qos.earliest_ns, qos.proportion, 1_000_000)
        message.set_qos_stats(
            Gst.Format.BUFFERS, session.tally.fate("infer"), session.tally.fate("late") + 1
        )
        self.post_message(message)

    def _statistics(self) -> Any:
        """The figures since the last start, as a `Gst.Structure`."""
        found = Gst.Structure.new_empty(STATISTICS)
        figures = {} if self._tally is None else self._tally.figures()
        for name, value in figures.items():
            kind = GObject.TYPE_UINT64 if isinstance(value, int) else GObject.TYPE_DOUBLE
            found.set_value(name, GObject.Value(kind, value))
        return found
