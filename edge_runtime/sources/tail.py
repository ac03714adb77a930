"""The part all pipelines share: from raw video to the network's input and to the full picture.

    decoded ! upright ! square pixels ! tee ! picture:          convert ! appsink
                                            ! network: scale  ! convert ! appsink

The tee serves the picture first and both branches on one thread. So a frame that reached the
network's appsink has its picture waiting, and nothing can block as long as the picture's appsink
holds more frames than the network's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.sources.elements import hardware_converter, require

if TYPE_CHECKING:
    from edge_runtime.sources.elements import Elements
    from edge_runtime.video import SourceRequest

DECODED = "edge_decoded"
"""Passes decoded frames; keeps the time of a file that plays as if it were a camera."""
SQUARE_SCALE = "edge_square_scale"
"""Where `edge_runtime.sources.placement` learns the size of the frames."""
SQUARE = "edge_square"
"""Caps filter: frames with square pixels. Not part of every tail."""
FIT = "edge_fit"
"""Caps filter: the frame as it lies in the network's input."""
DETOUR = "edge_detour"
"""Caps filter: what frames for a YUV model become before they become that; anything by default."""
FRAMES = "edge_frames"
"""The tee."""
NET = "edge_net"
"""Appsink of the network's input."""
PICTURE = "edge_picture"
"""Appsink of the full picture."""

SURFACE = "edge_surface"
"""Appsink of the network's input in NVMM memory. Only part of the tail of a zero-copy run."""
PROOF = "edge_proof"
"""Valve in front of `NET` in such a tail: open while the default way is wanted as well."""

_APPSINK = "appsink sync=false async=false qos=false enable-last-sample=false"


def tail_launch(
    request: SourceRequest, elements: Elements, *, hardware: bool = True, surfaces: bool = False
) -> str:
    """Launch text of the shared part, to be linked behind raw video.

    Args:
        request: how frames are wanted.
        elements: what the machine has; decides between a Jetson's converter and software.
        hardware: False where frames are made by us, as BGR, which no hardware converter takes.
        surfaces: also deliver the network's input in NVMM memory, where there is a converter.

    Raises:
        DependencyError: an element of GStreamer's base plug-ins is missing.
    """
    for name in ("clocksync", "videoconvert"):
        require(elements, name)
    converter = hardware_converter(elements) if hardware else None
    if converter is None:
        return _software_tail(request, elements)
    if surfaces and elements.has_property("valve", "drop-mode"):
        return _surface_tail(request, converter)
    return _jetson_tail(request, converter)


def fit_caps(request: SourceRequest, *, surfaces: bool) -> str:
    """Caps of `FIT` without the size.

    Args:
        request: how frames are wanted.
        surfaces: whether the tail has a `SURFACE`.
    """
    if surfaces:
        return "video/x-raw(memory:NVMM),format=RGBA"
    if request.yuv is not None:
        return f"video/x-raw,format={request.yuv.pixels.upper()}"
    return f"video/x-raw,format={request.color}"


def _software_tail(request: SourceRequest, elements: Elements) -> str:
    require(elements, "videoscale")
    # A converter first: videoflip takes fewer formats than decoders give. It costs nothing where
    # it has nothing to do.
    detour = "" if request.yuv is None else f"capsfilter name={DETOUR} ! videoconvert ! "
    flip = elements.has("videoflip")
    upright = "videoconvert ! videoflip video-direction=auto ! " if flip else ""
    return _assemble(
        prepare=(
            f"{upright}videoscale name={SQUARE_SCALE} add-borders=false "
            f"! capsfilter name={SQUARE} caps=video/x-raw"
        ),
        to_picture="videoconvert",
        # Scaled before converted: there is less to convert.
        to_network=(
            f"videoscale add-borders=false ! videoconvert ! {detour}{_fit(request)} ! {_sink(NET)}"
        ),
        request=request,
    )


def _jetson_tail(request: SourceRequest, converter: str) -> str:
    """The same with Jetson's video converter, which scales NVMM frames before the one copy.

    Written after NVIDIA's documentation and not run on a device yet. Two limits against the
    software path: frames are not turned by a video's orientation tag, and a pixel aspect ratio is
    left to the converter. For a model that takes NV12 nothing is left to do behind it.
    """
    host = "RGBA" if request.yuv is None else "NV12"
    return _assemble(
        prepare=f"identity name={SQUARE_SCALE}",
        to_picture=f"{converter} ! video/x-raw,format=BGRx ! videoconvert",
        to_network=(
            f"{converter} ! video/x-raw,format={host} ! videoconvert ! {_fit(request)} "
            f"! {_sink(NET)}"
        ),
        request=request,
    )


def _surface_tail(request: SourceRequest, converter: str) -> str:
    """`_jetson_tail` whose scaled frames can also be had as they lie in NVMM memory.

    The default way is served first, so that a frame that reached `SURFACE` has its picture
    waiting, and can be closed at `PROOF`. What was under way then stays in `NET`, so that an end of
    stream must not wait for it. Not run on a device yet.
    """
    return _assemble(
        prepare=f"identity name={SQUARE_SCALE}",
        to_picture=f"{converter} ! video/x-raw,format=BGRx ! videoconvert",
        to_network=(
            f"{converter} ! {_fit(request, surfaces=True)} ! tee name=edge_surfaces "
            f"edge_surfaces. ! valve name={PROOF} drop-mode=forward-sticky-events "
            f"! {converter} ! video/x-raw,format=RGBA ! videoconvert "
            f"! video/x-raw,format={request.color} ! {_sink(NET)} wait-on-eos=false "
            f"edge_surfaces. ! {_sink(SURFACE)}"
        ),
        request=request,
    )


def _fit(request: SourceRequest, *, surfaces: bool = False) -> str:
    return f'capsfilter name={FIT} caps="{fit_caps(request, surfaces=surfaces)}"'


def _sink(name: str) -> str:
    return f"{_APPSINK} name={name}"


def _assemble(*, prepare: str, to_picture: str, to_network: str, request: SourceRequest) -> str:
    picture = f"{FRAMES}. ! {to_picture} ! video/x-raw,format=BGR ! {_sink(PICTURE)} "
    return (
        # The media type comes first, or an audio stream might be linked.
        f"video/x-raw(ANY) ! clocksync name={DECODED} sync=false ! {prepare} ! tee name={FRAMES} "
        f"{picture if request.with_picture else ''}"
        f"{FRAMES}. ! {to_network}"
    )
