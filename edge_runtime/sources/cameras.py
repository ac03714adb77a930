"""Plans for live sources: cameras, network streams and test pictures."""

from __future__ import annotations

import os
import stat
from fractions import Fraction
from pathlib import Path

from edge_runtime.errors import SourceError
from edge_runtime.redact import redact
from edge_runtime.sources.options import UriOptions, parse_options
from edge_runtime.sources.plan import SOURCE_NAME, SourcePlan
from edge_runtime.sources.testcard import StreetPictures

TEST_SIZE = (540, 960)
TEST_FPS = 30.0
PATTERNS = {"bars": "smpte75", "smpte": "smpte"}
"""Test pictures of GStreamer by the name they have here."""

JITTER_BUFFER_MS = 200
"""How long a packet of a network stream may be waited for. Packets in order pass at once."""


def _wanted(options: UriOptions) -> str:
    """The caps fields, with a leading comma, that the options ask of a camera."""
    text = ""
    if options.size is not None:
        text += f",height={options.size[0]},width={options.size[1]}"
    if options.fps is not None:
        rate = Fraction(options.fps).limit_denominator(1001)
        text += f",framerate={rate.numerator}/{rate.denominator}"
    return text


def plan_v4l2(uri: str) -> SourcePlan:
    """A USB or platform camera: ``v4l2:///dev/video0``, ``/dev/video0``, ``?size=HxW&fps=N``.

    Raises:
        SourceError: no such device, not a device, or no permission.
    """
    place, _, query = uri.removeprefix("v4l2://").partition("?")
    if not place.startswith("/"):
        raise SourceError(f"{redact(uri)}: which camera? expected v4l2:///dev/video0")
    options = parse_options(uri, query, ("size", "fps"))
    _check_device(Path(place))
    wanted = _wanted(options)
    filters = f" ! video/x-raw{wanted};image/jpeg{wanted};video/x-h264{wanted}" if wanted else ""
    return SourcePlan(
        uri=uri,
        launch=f"v4l2src name={SOURCE_NAME}{filters} ! decodebin",
        properties={"device": place},
        clock="driver",
        arrives_at_source=True,
        numbers_frames=True,  # v4l2src hands the driver's number on in the offset
        ends=False,
    )


def _check_device(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(
            f"no camera {str(path)!r}: {error.strerror}; `ls /dev/v4l/by-id` lists cameras"
        ) from None
    if not stat.S_ISCHR(mode):
        raise SourceError(f"{path} is no camera device; expected one such as /dev/video0")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(
            f"no permission for camera {path}; add the user to its group: "
            "sudo usermod -aG video $USER, then log in again"
        )


def plan_csi(uri: str) -> SourcePlan:
    """A camera on a Jetson's CSI port: ``csi://0``, ``?size=HxW&fps=N``. Not run on a device yet.

    Raises:
        SourceError: the URI does not say which sensor.
    """
    number, _, query = uri.removeprefix("csi://").partition("?")
    if not number.isdecimal():
        raise SourceError(f"{uri}: which sensor? expected csi://0")
    options = parse_options(uri, query, ("size", "fps"))
    wanted = _wanted(options)
    return SourcePlan(
        uri=uri,
        launch=(
            f"nvarguscamerasrc name={SOURCE_NAME} "
            f'! capsfilter caps="video/x-raw(memory:NVMM),format=NV12{wanted}"'
        ),
        properties={"sensor-id": int(number)},
        # Its presentation time is not known to be the sensor's, so it is not taken for it.
        clock="arrival",
        arrives_at_source=True,
        ends=False,
        end_before_stop=True,
    )


def plan_rtsp(uri: str) -> SourcePlan:
    """A network camera: ``rtsp://`` runs over TCP, ``rtspu://`` over UDP, ``rtsps://`` over TLS."""
    properties: dict[str, object] = {
        "location": uri,
        "latency": JITTER_BUFFER_MS,
        "drop-on-latency": True,
        "add-reference-timestamp-meta": True,
    }
    if uri.startswith("rtsp://"):
        properties["protocols"] = "tcp"
    return SourcePlan(
        uri=redact(uri),
        # Without the media type an audio stream may be linked first.
        launch=f"rtspsrc name={SOURCE_NAME} ! application/x-rtp,media=video ! decodebin",
        properties=properties,
        clock="ntp",
        ends=False,
    )


def plan_test(uri: str) -> SourcePlan:
    """``test:`` is a drive along a street, ``test:bars`` and ``test:smpte`` are colour bars.

    Options: ``size=HxW&fps=N&frames=N``, and ``seed=N`` for the street.

    Raises:
        SourceError: an unknown picture or option.
        OptionError: a street that cannot be drawn.
    """
    kind, _, query = uri.removeprefix("test:").partition("?")
    if kind in PATTERNS:
        return _plan_pattern(uri, kind, parse_options(uri, query, ("size", "fps", "frames")))
    if kind:
        raise SourceError(
            f"no test picture {kind!r}; expected test:, {', '.join(f'test:{p}' for p in PATTERNS)}"
        )
    options = parse_options(uri, query, ("size", "fps", "seed", "frames"))
    return SourcePlan(
        uri=uri,
        launch=f"appsrc name={SOURCE_NAME} format=time is-live=true",
        clock="arrival",
        arrives_at_source=True,
        pictures=StreetPictures(
            options.size or TEST_SIZE,
            fps=options.fps or TEST_FPS,
            seed=options.seed or 0,
            frames=options.frames,
        ),
    )


def _plan_pattern(uri: str, kind: str, options: UriOptions) -> SourcePlan:
    size, fps = options.size or TEST_SIZE, options.fps or TEST_FPS
    caps = f"video/x-raw{_wanted(UriOptions(size=size, fps=fps))}"
    return SourcePlan(
        uri=uri,
        launch=f"videotestsrc name={SOURCE_NAME} is-live=true ! capsfilter caps={caps}",
        properties={"pattern": PATTERNS[kind], "num-buffers": options.frames or -1},
        clock="arrival",
        arrives_at_source=True,
    )
