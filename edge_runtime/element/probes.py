"""What the bindings do not let a class override, done by pad probes: queries and events.

A Python subclass of `GstBase.BaseTransform` cannot define ``do_query``, and events that are handed
through Python's virtual methods change hands more often than their owner count can bear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_runtime.element.failures import post_error, post_format_error
from edge_runtime.element.pixels import EXPECTED
from edge_runtime.gst import Gst

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.element.session import Session

_DISCONTINUITIES = (Gst.EventType.STREAM_START, Gst.EventType.SEGMENT, Gst.EventType.FLUSH_STOP)


class Probes:
    """Listens at both pads of an element while it has a session.

    Args:
        element: the element; `remove` must be called before it is given up, for they hold each
            other.
        session: of the element.
    """

    def __init__(self, element: Any, session: Session) -> None:
        self._element = element
        self._session = session
        kinds = Gst.PadProbeType
        self._probes: dict[str, tuple[Any, int]] = {}
        self._add(element.srcpad, kinds.QUERY_UPSTREAM | kinds.PULL, self._on_query)
        self._add(element.srcpad, kinds.EVENT_UPSTREAM, self._on_upstream)
        self._add(element.sinkpad, kinds.EVENT_DOWNSTREAM | kinds.EVENT_FLUSH, self._on_downstream)
        self._add(element.sinkpad, kinds.BUFFER, self._on_first_buffer, once=True)

    def remove(self) -> None:
        """Stop listening."""
        for pad, number in self._probes.values():
            pad.remove_probe(number)
        self._probes.clear()

    def _add(self, pad: Any, kind: Any, work: Callable[[Any], bool], *, once: bool = False) -> None:
        """Call `work` with what passes; True keeps it from passing on."""

        def probe(pad: Any, info: Any) -> Any:
            del pad
            stops = False
            try:
                stops = work(info)
            except Exception as error:  # noqa: BLE001  (the bindings would print and forget it)
                post_error(self._element, error)
            if not once:
                return Gst.PadProbeReturn.DROP if stops else Gst.PadProbeReturn.OK
            self._probes.pop(work.__name__, None)
            return Gst.PadProbeReturn.REMOVE

        self._probes[work.__name__] = pad, pad.add_probe(kind, probe)

    def _on_query(self, info: Any) -> bool:
        """Add our latency to what upstream has answered."""
        query = info.get_query()
        if query.type == Gst.QueryType.LATENCY:
            live, least, most = query.parse_latency()
            own = self._session.latency.declared_ns if live else 0
            unbounded = most == Gst.CLOCK_TIME_NONE
            query.set_latency(live, least + own, most if unbounded else most + own)
        return False

    def _on_upstream(self, info: Any) -> bool:
        """Heed the sink's complaint; it goes on upstream unless it is about us alone."""
        event = info.get_event()
        if event.type != Gst.EventType.QOS:
            return False
        _, proportion, diff, timestamp = event.parse_qos()
        known = timestamp != Gst.CLOCK_TIME_NONE
        return self._session.heed(proportion, diff, timestamp if known else None)

    def _on_downstream(self, info: Any) -> bool:
        if info.get_event().type in _DISCONTINUITIES:
            self._session.restart()
        return False

    def _on_first_buffer(self, info: Any) -> bool:
        """A buffer without caps before it: the base class refuses it without a reason."""
        del info
        if self._element.sinkpad.get_current_caps() is None:
            post_format_error(self._element, f"the stream is not raw video; {EXPECTED}")
        return False
