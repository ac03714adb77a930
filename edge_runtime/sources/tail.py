"""The part all pipelines share: from raw video to the network's input and to the full picture.

    decoded ! upright ! square pixels ! tee ! picture:          convert ! appsink
                                            ! network: scale  ! convert ! appsink

The tee serves the picture first and both branches on one thread. So a frame that reached the
network's appsink has its picture waiting, and nothing can block as long as the picture's appsink
holds more frames than the network's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.gst import has_element, require_element

if TYPE_CHECKING:
    from edge_runtime.video import SourceRequest

DECODED = "edge_decoded"
"""Passes decoded frames; keeps the time of a file that plays as if it were a camera."""
SQUARE_SCALE = "edge_square_scale"
"""Where `edge_runtime.sources.placement` learns the size of the frames."""
SQUARE = "edge_square"
"""Caps filter: frames with square pixels. Not part of every tail."""
FIT = "edge_fit"
"""Caps filter: the frame as it lies in the network's input."""
FRAMES = "edge_frames"
"""The tee."""
NET = "edge_net"
"""Appsink of the network's input."""
PICTURE = "edge_picture"
"""Appsink of the full picture."""

_APPSINK = "appsink sync=false async=false qos=false enable-last-sample=false"


def tail_launch(request: SourceRequest) -> str:
    """Launch text of the shared part, to be linked behind raw video.

    Raises:
        DependencyError: an element of GStreamer's base plug-ins is missing.
    """
    return _jetson_tail(request) if has_element("nvvidconv") else _software_tail(request)


def _software_tail(request: SourceRequest) -> str:
    for name in ("clocksync", "videoconvert", "videoscale"):
        require_element(name)
    # A converter first: videoflip takes fewer formats than decoders give. It costs nothing where
    # it has nothing to do.
    upright = "videoconvert ! videoflip video-direction=auto ! " if has_element("videoflip") else ""
    return _assemble(
        prepare=(
            f"{upright}videoscale name={SQUARE_SCALE} add-borders=false "
            f"! capsfilter name={SQUARE} caps=video/x-raw"
        ),
        to_picture="videoconvert",
        # Scaled before converted: there is less to convert.
        to_network="videoscale add-borders=false ! videoconvert",
        request=request,
    )


def _jetson_tail(request: SourceRequest) -> str:
    """The same with Jetson's video converter, which scales NVMM frames before the one copy.

    Written after NVIDIA's documentation and not run on a device yet. Two limits against the
    software path: frames are not turned by a video's orientation tag, and a pixel aspect ratio is
    left to the converter.
    """
    return _assemble(
        prepare=f"identity name={SQUARE_SCALE}",
        to_picture="nvvidconv ! video/x-raw,format=BGRx ! videoconvert",
        to_network="nvvidconv ! video/x-raw,format=RGBA ! videoconvert",
        request=request,
    )


def _assemble(*, prepare: str, to_picture: str, to_network: str, request: SourceRequest) -> str:
    picture = f"{FRAMES}. ! {to_picture} ! video/x-raw,format=BGR ! {_APPSINK} name={PICTURE} "
    return (
        # The media type comes first, or an audio stream might be linked.
        f"video/x-raw(ANY) ! clocksync name={DECODED} sync=false ! {prepare} ! tee name={FRAMES} "
        f"{picture if request.with_picture else ''}"
        f"{FRAMES}. ! {to_network} "
        f"! capsfilter name={FIT} caps=video/x-raw,format={request.color} "
        f"! {_APPSINK} name={NET}"
    )
