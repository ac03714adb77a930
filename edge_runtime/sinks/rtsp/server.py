"""The sink ``rtsp:PORT/NAME``: the overlay as a live H.264 stream, for any RTSP player.

All viewers share one encoder, and without a viewer nothing is drawn or encoded. Pictures are handed
over without waiting, so that no viewer, however slow or dead, can delay the run.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import gi

from edge_runtime.errors import DependencyError, SinkError
from edge_runtime.gst import GLib, Gst, GstVideo, set_if_present
from edge_runtime.overlay import Overlay
from edge_runtime.sinks.encoders import h264_launch, require
from edge_runtime.sinks.messages.address import without_credentials
from edge_runtime.sinks.rtsp.address import RtspAddress, parse_rtsp
from edge_runtime.sinks.video import DEFAULT_FPS, LEAST_SIDE, even_size, fit
from edge_runtime.sinks.writer import QUEUED_FRAMES, RawVideo, picture_buffer

try:
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GstRtsp, GstRtspServer
except (ImportError, ValueError) as _error:
    raise DependencyError(
        f"GStreamer's RTSP server does not load ({_error}): "
        "apt-get install gir1.2-gst-rtsp-server-1.0"
    ) from None

if TYPE_CHECKING:
    from edge_runtime.result import Result
    from edge_runtime.sinks.spec import SinkContext, SinkSpec

KEY_FRAME_NS = 1_000_000_000
"""A viewer that joins, or has lost packets, sees a whole picture within that time."""
CLEANUP_S = 5
"""Between two looks for viewers that have left without a word."""
ROLE = "viewer"
JOIN_TIMEOUT_S = 5.0


class OverlayServer:
    """Serves the overlay.

    Args:
        label: what error messages call it, without credentials.
        address: where it listens.
        context: the run.
    """

    def __init__(self, label: str, address: RtspAddress, context: SinkContext) -> None:
        self.label = label
        self.undelivered = 0
        """Results that somebody would have watched, but for which the encoder had no room."""
        self._address = address
        self._context = context
        self._overlay = Overlay(context.labels)
        self._video: RawVideo | None = None
        self._appsrc: Any = None
        self._next_key_ns = 0
        self._server: Any = None
        self._glib = GLib.MainContext.new()
        self._loop = GLib.MainLoop.new(self._glib, False)
        self._attached = 0
        self._thread = threading.Thread(target=self._loop.run, name=label, daemon=True)

    @property
    def has_viewers(self) -> bool:
        """Whether anybody watches, so that pictures are drawn and encoded."""
        return self._appsrc is not None

    def open(self) -> None:
        """Listen. The stream exists from the first frame on.

        Raises:
            SinkError: an element is missing, or the address is taken.
        """
        require("rtph264pay", "gstreamer1.0-plugins-good")
        h264_launch((2, 2))
        address = self._address
        self._server = GstRtspServer.RTSPServer()
        self._server.set_address(address.endpoint.host)
        self._server.set_service(str(address.endpoint.port))
        if address.user is not None:
            self._server.set_auth(_auth(address))
        self._attached = self._server.attach(self._glib)
        if not self._attached:
            raise SinkError(
                f"cannot listen on {address.endpoint}: the port is taken, or the address is not of "
                "this machine; choose another rtsp:HOST:PORT/NAME"
            )
        cleanup = GLib.timeout_source_new_seconds(CLEANUP_S)
        cleanup.set_callback(self._drop_the_dead)
        cleanup.attach(self._glib)
        self._thread.start()
        self._context.say(f"overlay at {address.url}{self._warning()}")

    def consume(self, result: Result) -> None:
        """Show one result, if somebody watches and the encoder has room."""
        if self._video is None:
            self._mount(result.geometry.frame)
        appsrc, video = self._appsrc, self._video
        if appsrc is None or video is None:
            return
        if appsrc.get_property("current-level-bytes") >= QUEUED_FRAMES * video.bytes:
            self.undelivered += 1
            return
        if result.capture_ns >= self._next_key_ns:
            self._next_key_ns = result.capture_ns + KEY_FRAME_NS
            appsrc.send_event(
                GstVideo.video_event_new_downstream_force_key_unit(
                    Gst.CLOCK_TIME_NONE, Gst.CLOCK_TIME_NONE, Gst.CLOCK_TIME_NONE, True, 0
                )
            )
        buffer = picture_buffer(video, fit(self._overlay.draw(result), video.size))
        if buffer is not None:
            appsrc.emit("push-buffer", buffer)

    def close(self) -> None:
        """Send all viewers away and stop listening."""
        if not self._attached:
            return
        self._server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)
        self._glib.find_source_by_id(self._attached).destroy()
        self._attached = 0
        # In the loop: one that has not begun to run yet would not hear of it.
        last = GLib.idle_source_new()
        last.set_callback(lambda *_: self._loop.quit())
        last.attach(self._glib)
        self._thread.join(JOIN_TIMEOUT_S)

    def discard(self) -> None:
        """As `close`."""
        self.close()

    def _mount(self, size: tuple[int, int]) -> None:
        """Offer the stream: its size is known now."""
        size = even_size(size, LEAST_SIDE)
        self._video = RawVideo("BGR", size, self._context.fps() or DEFAULT_FPS)
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(
            f"( appsrc name=pictures is-live=true do-timestamp=true format=time "
            f"caps={self._video.caps} ! {h264_launch(size)} config-interval=-1 ! "
            "rtph264pay name=pay0 pt=96 )"
        )
        factory.set_shared(True)
        if self._address.user is not None:
            allowed = f"{ROLE},media.factory.access=true,media.factory.construct=true"
            factory.add_role_from_structure(Gst.Structure.from_string(allowed)[0])
        factory.connect("media-configure", self._begin)
        self._server.get_mount_points().add_factory(f"/{self._address.name}", factory)

    def _begin(self, factory: Any, media: Any) -> None:
        """The first viewer came. Called by a thread of the server."""
        appsrc = media.get_element().get_by_name("pictures")
        set_if_present(appsrc, "max-bytes", 0)
        media.connect("unprepared", self._end)
        self._next_key_ns = 0
        self._appsrc = appsrc

    def _end(self, media: Any) -> None:
        """The last viewer has left."""
        self._appsrc = None

    def _drop_the_dead(self, *_: object) -> bool:
        self._server.get_session_pool().cleanup()
        return True

    def _warning(self) -> str:
        if self._address.is_local or self._address.user is not None:
            return ""
        return ", for everybody on the network: name who may watch, as in rtsp:USER:PASSWORD@..."


def rtsp(spec: SinkSpec, context: SinkContext) -> OverlayServer:
    """The sink ``rtsp:PORT/NAME``."""
    return OverlayServer(without_credentials(spec.text), parse_rtsp(spec.rest), context)


def _auth(address: RtspAddress) -> Any:
    """Digest: the password itself never goes over the network."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(address.user, address.password, token)
    return auth
