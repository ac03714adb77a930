"""Raw pictures into a GStreamer pipeline, with back-pressure and without waiting blindly."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edge_runtime.errors import SinkError
from edge_runtime.gst import GLib, Gst, set_if_present

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

QUEUED_FRAMES = 2
"""Pictures that wait before the encoder."""
PUSH_TIMEOUT_S = 10.0
END_TIMEOUT_S = 20.0
POLL_NS = 5_000_000
UNFLUSHED = "unflushed"
"""Name, in a launch text, of an encoder that keeps no picture back and must not be flushed."""


@dataclass(frozen=True)
class RawVideo:
    """Uncompressed video."""

    format: Literal["BGR", "GRAY8"]
    size: tuple[int, int]
    """(height, width)."""
    fps: float
    """Nominal; each picture has a time of its own."""

    @property
    def channels(self) -> int:
        """Bytes per pixel."""
        return 3 if self.format == "BGR" else 1

    @property
    def stride(self) -> int:
        """Bytes from row to row: GStreamer's rows begin at multiples of four."""
        return (self.size[1] * self.channels + 3) // 4 * 4

    @property
    def bytes(self) -> int:
        """Of one picture."""
        return self.stride * self.size[0]

    @property
    def caps(self) -> str:
        """GStreamer caps."""
        rate = Fraction(self.fps).limit_denominator(1001)
        height, width = self.size
        return (
            f"video/x-raw,format={self.format},height={height},width={width},"
            f"framerate={rate.numerator}/{rate.denominator}"
        )


class GstWriter:
    """A running pipeline ``appsrc ! ... [! filesink]``.

    Args:
        label: what error messages call it.
        launch: from raw video to what the file gets, or to the display.
        video: what is pushed.
        path: the file to write; None if `launch` ends in a sink of its own.

    Raises:
        SinkError: the pipeline cannot be built or started.
    """

    def __init__(self, label: str, launch: str, video: RawVideo, path: Path | None) -> None:
        self._label = label
        self._video = video
        tail = "" if path is None else " ! filesink name=file"
        try:
            self._pipeline: Any = Gst.parse_launch(
                f"appsrc name=pictures format=time caps={video.caps} ! {launch}{tail}"
            )
        except GLib.Error as error:
            raise SinkError(f"cannot build the pipeline of {label}: {error.message}") from error
        self._appsrc: Any = self._pipeline.get_by_name("pictures")
        self._bus: Any = self._pipeline.get_bus()
        set_if_present(self._appsrc, "max-bytes", 0)
        if (encoder := self._pipeline.get_by_name(UNFLUSHED)) is not None:
            _lead_end_around(encoder)
        if path is not None:
            self._pipeline.get_by_name("file").set_property("location", str(path))
        if self._pipeline.set_state(Gst.State.PLAYING) == Gst.StateChangeReturn.FAILURE:
            self._fail("it cannot be started")

    def push(self, picture: NDArray[np.uint8], time_ns: int) -> None:
        """Hand over one picture, waiting while the encoder is busy.

        Args:
            picture: (height, width[, 3]) uint8; it is copied.
            time_ns: presentation time.

        Raises:
            SinkError: the pipeline failed, or took nothing for 10 s.
        """
        self._wait_for_room()
        buffer = picture_buffer(self._video, picture)
        if buffer is None:
            self._fail("no memory for a picture")
        buffer.pts = time_ns
        self._appsrc.emit("push-buffer", buffer)

    def finish(self) -> None:
        """Encode what is waiting, complete the file and stop.

        Raises:
            SinkError: the pipeline failed, or did not end within 20 s.
        """
        self._appsrc.emit("end-of-stream")
        wanted = Gst.MessageType.EOS | Gst.MessageType.ERROR
        message = self._bus.timed_pop_filtered(int(END_TIMEOUT_S * 1e9), wanted)
        if message is None:
            self._fail(f"it did not end within {END_TIMEOUT_S:g} s")
        if message.type == Gst.MessageType.ERROR:
            self._fail(_text(message))
        self.stop()

    def stop(self) -> None:
        """Stop at once."""
        self._pipeline.set_state(Gst.State.NULL)

    def _wait_for_room(self) -> None:
        give_up = time.monotonic() + PUSH_TIMEOUT_S
        limit = QUEUED_FRAMES * self._video.bytes
        wait_ns = 0
        while True:
            message = self._bus.timed_pop_filtered(wait_ns, Gst.MessageType.ERROR)
            if message is not None:
                self._fail(_text(message))
            if self._appsrc.get_property("current-level-bytes") < limit:
                return
            if time.monotonic() > give_up:
                self._fail(f"it took nothing for {PUSH_TIMEOUT_S:g} s")
            wait_ns = POLL_NS

    def _fail(self, reason: str) -> None:
        message = self._bus.pop_filtered(Gst.MessageType.ERROR)
        self.stop()
        detail = reason if message is None else _text(message)
        raise SinkError(f"cannot write {self._label}: {detail}")


def picture_buffer(video: RawVideo, picture: NDArray[np.uint8]) -> Any:
    """A GStreamer buffer with a copy of a picture, (height, width[, 3]) uint8; None without memory.

    It has no time yet.
    """
    buffer = Gst.Buffer.new_allocate(None, video.bytes, None)
    mapped, memory = buffer.map(Gst.MapFlags.WRITE)
    if not mapped:
        return None
    strides = (video.stride, video.channels, 1)[: picture.ndim]
    np.copyto(np.ndarray(picture.shape, np.uint8, memory.data, strides=strides), picture)
    buffer.unmap(memory)
    return buffer


def _lead_end_around(encoder: Any) -> None:
    # openh264enc hands out each picture at once; flushed at the end of the stream it encodes a
    # picture that is not there, which its library reports on stderr as an error.
    source = encoder.get_static_pad("src")

    def divert(pad: Any, info: Any) -> Any:
        if info.get_event().type != Gst.EventType.EOS:
            return Gst.PadProbeReturn.OK
        source.push_event(Gst.Event.new_eos())
        return Gst.PadProbeReturn.DROP

    encoder.get_static_pad("sink").add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, divert)


def _text(message: Any) -> str:
    error, _ = message.parse_error()
    return str(error.message)
