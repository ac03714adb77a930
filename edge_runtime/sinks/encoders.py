"""Which video encoder this machine has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import SinkError
from edge_runtime.gst import has_element

BITS_PER_PIXEL = 0.15
"""At 30 frames/s: 2.3 Mbit/s for 540x960."""
NVENC = Path("/dev/v4l2-nvenc")


@dataclass(frozen=True)
class Encoder:
    """An H.264 encoder and how to feed it."""

    element: str
    launch: str
    """From raw BGR to H.264; ``{bits}`` and ``{kbits}`` are the bit rate per second. The name
    ``unflushed`` is explained in `edge_runtime.sinks.writer`."""
    device: Path | None = None
    """Must exist: some boards have the element but not the hardware."""

    def is_available(self) -> bool:
        """Whether element and hardware are there."""
        return has_element(self.element) and (self.device is None or self.device.exists())


H264_ENCODERS = (
    Encoder(
        "nvv4l2h264enc",
        "videoconvert ! video/x-raw,format=BGRx ! nvvidconv ! "
        "video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc bitrate={bits}",
        NVENC,
    ),
    Encoder(
        "x264enc",
        "videoconvert ! video/x-raw,format=I420 ! "
        "x264enc tune=zerolatency speed-preset=veryfast bitrate={kbits}",
    ),
    Encoder(
        "openh264enc",
        "videoconvert ! video/x-raw,format=I420 ! "
        "openh264enc name=unflushed complexity=low bitrate={bits}",
    ),
)
"""In order of preference: hardware, then the better compression."""

MUXERS = {".mp4": "mp4mux", ".mkv": "matroskamux"}
"""By file suffix, in lower case."""


def h264_launch(size: tuple[int, int]) -> str:
    """Launch text from raw BGR to H.264 for frames of (height, width).

    Raises:
        SinkError: there is no encoder.
    """
    require("h264parse", "gstreamer1.0-plugins-bad")
    for encoder in H264_ENCODERS:
        if encoder.is_available():
            bits = max(round(size[0] * size[1] * 30 * BITS_PER_PIXEL), 200_000)
            return encoder.launch.format(bits=bits, kbits=bits // 1000) + " ! h264parse"
    names = ", ".join(encoder.element for encoder in H264_ENCODERS)
    raise SinkError(
        f"no H.264 encoder ({names}): apt-get install gstreamer1.0-plugins-ugly, or "
        "gstreamer1.0-plugins-bad"
    )


def ffv1_launch() -> str:
    """Launch text from raw GRAY8 to lossless FFV1.

    Raises:
        SinkError: there is no encoder.
    """
    require("avenc_ffv1", "gstreamer1.0-libav")
    return "avenc_ffv1"


def require(element: str, package: str) -> None:
    """Raise `SinkError` naming the package, unless the element is installed."""
    if not has_element(element):
        raise SinkError(f"GStreamer element {element!r} is missing: apt-get install {package}")
