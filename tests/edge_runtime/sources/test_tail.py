"""Launch texts for machines other than this one, from lists of their elements and properties."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from edge_runtime.errors import DependencyError
from edge_runtime.pixels import YuvFormat
from edge_runtime.sources.elements import (
    InstalledElements,
    decoder_settings,
    hardware_converter,
)
from edge_runtime.sources.tail import DETOUR, FIT, NET, PICTURE, PROOF, SURFACE, tail_launch
from edge_runtime.video import SourceRequest

NETWORK = (512, 1024)
REQUEST = SourceRequest(NETWORK)

PC = {
    "clocksync": ("sync",),
    "valve": ("drop", "drop-mode"),
    "videoconvert": ("n-threads",),
    "videoflip": ("video-direction",),
    "videoscale": ("add-borders", "method"),
}
JETPACK_6 = PC | {
    "nvarguscamerasrc": ("sensor-id", "sensor-mode", "wbmode"),
    "nvv4l2decoder": (
        "disable-dpb",
        "enable-frame-type-reporting",
        "enable-max-performance",
        "mjpeg",
    ),
    "nvvidconv": ("compute-hw", "flip-method", "interpolation-method", "nvbuf-memory-type"),
}
JETPACK_7 = PC | {
    "nvarguscamerasrc": ("sensor-id", "sensor-mode", "wbmode"),
    "nvv4l2decoder": ("disable-dpb", "enable-frame-type-reporting"),
    "nvvidconv": ("compute-hw", "flip-method", "interpolation-method", "nvbuf-memory-type"),
}
DEEPSTREAM_ONLY = PC | {"nvvideoconvert": ("compute-hw", "interpolation-method")}
"""The properties that matter here, written from NVIDIA's documentation of the elements and from
reports about what JetPack 7 dropped. None of these lists was taken from a running Jetson."""


class ListedElements:
    """The elements of a list."""

    def __init__(self, properties: Mapping[str, Collection[str]]) -> None:
        self._properties = properties

    def has(self, element: str) -> bool:
        return element in self._properties

    def has_property(self, element: str, name: str) -> bool:
        return name in self._properties.get(element, ())


JETSONS = {"6": JETPACK_6, "7": JETPACK_7}


@pytest.mark.parametrize("jetpack", JETSONS)
def test_a_jetson_scales_to_the_network_in_hardware_before_system_memory(jetpack: str) -> None:
    text = tail_launch(REQUEST, ListedElements(JETSONS[jetpack]))

    branch = text.partition("edge_frames. ! ")[2]
    steps = [step.strip() for step in branch.split(" ! ")]
    assert steps[:3] == [
        "nvvidconv interpolation-method=1",
        "video/x-raw,format=RGBA",
        "videoconvert",
    ]
    assert steps[3] == f'capsfilter name={FIT} caps="video/x-raw,format=RGB"'
    assert steps[4].endswith(f"name={NET}")
    assert "videoscale" not in text, "no scaling by the CPU"


def test_the_full_picture_is_converted_by_hardware_as_well() -> None:
    request = SourceRequest(NETWORK, with_picture=True)

    text = tail_launch(request, ListedElements(JETPACK_6))

    branch = text.partition("edge_frames. ! ")[2].partition(PICTURE)[0]
    assert branch.startswith("nvvidconv interpolation-method=1 ! video/x-raw,format=BGRx ! video")


def test_a_pc_has_the_same_shape_in_software() -> None:
    text = tail_launch(REQUEST, ListedElements(PC))

    assert "nvv" not in text
    branch = text.partition("edge_frames. ! ")[2]
    assert branch.startswith("videoscale add-borders=false ! videoconvert ! capsfilter")
    assert branch.endswith(f"name={NET}")


@pytest.mark.parametrize("jetpack", JETSONS)
def test_frames_that_we_make_ourselves_take_the_software_way_on_a_jetson_too(jetpack: str) -> None:
    text = tail_launch(REQUEST, ListedElements(JETSONS[jetpack]), hardware=False, surfaces=True)

    assert text == tail_launch(REQUEST, ListedElements(PC))


def test_deepstreams_converter_stands_in_for_jetsons() -> None:
    assert hardware_converter(ListedElements(DEEPSTREAM_ONLY)) == (
        "nvvideoconvert interpolation-method=1"
    )
    assert hardware_converter(ListedElements(PC | {"nvvidconv": ()})) == "nvvidconv"


def test_the_decoder_is_only_given_what_it_has() -> None:
    old, new = ListedElements(JETPACK_6), ListedElements(JETPACK_7)

    assert decoder_settings("nvv4l2decoder", old) == {"enable-max-performance": True}
    assert decoder_settings("nvv4l2decoder", new) == {}
    assert decoder_settings("avdec_h264", old) == {}


def test_the_decoder_of_a_jetson_is_told_of_jpeg() -> None:
    with_jpeg, without = ListedElements(JETPACK_6), ListedElements(JETPACK_7)

    assert decoder_settings("nvv4l2decoder", with_jpeg, jpeg=True) == {
        "enable-max-performance": True, "mjpeg": True,
    }  # fmt: skip
    assert decoder_settings("nvv4l2decoder", without, jpeg=True) == {}
    assert decoder_settings("jpegdec", with_jpeg, jpeg=True) == {}


@pytest.mark.gst
@pytest.mark.parametrize(
    ("encoder", "decoder", "errors"), [("jpegenc", "jpegdec", 7), ("pngenc", "pngdec", 0)]
)
def test_jpeg_is_known_before_the_decoder_is_ready(
    monkeypatch: pytest.MonkeyPatch, encoder: str, decoder: str, errors: int
) -> None:
    # given decoders of a PC, one with a setting for JPEG that shows
    gst = pytest.importorskip("edge_runtime.gst").Gst
    from edge_runtime.sources import elements
    from edge_runtime.sources.opening import _set_up_decoder

    monkeypatch.setattr(elements, "DECODER_SETTINGS", {decoder: {"max-errors": 0}})
    monkeypatch.setattr(elements, "JPEG_SETTINGS", {decoder: {"max-errors": 7}})
    pipeline = gst.parse_launch(
        f"videotestsrc num-buffers=3 ! video/x-raw,width=32,height=32 ! {encoder} ! decodebin "
        "! fakesink"
    )
    states = []

    def note(_pipeline: object, chooser: object, element: Any) -> None:
        _set_up_decoder(_pipeline, chooser, element)
        if element.get_factory().get_name() == decoder:
            states.append((element.get_property("max-errors"), element.get_state(0)[1]))

    pipeline.connect("deep-element-added", note)

    # when one is chosen
    pipeline.set_state(gst.State.PAUSED)
    assert pipeline.get_state(20 * gst.SECOND)[0] == gst.StateChangeReturn.SUCCESS
    pipeline.set_state(gst.State.NULL)

    # then it had its setting before it opened anything
    assert states == [(errors, gst.State.NULL)]


def test_zero_copy_branches_off_behind_the_scaling_and_serves_the_default_way_first() -> None:
    text = tail_launch(REQUEST, ListedElements(JETPACK_6), surfaces=True)

    assert f'name={FIT} caps="video/x-raw(memory:NVMM),format=RGBA" ! tee name=' in text
    default, _, surface = text.partition("edge_surfaces. ! ")[2].partition("edge_surfaces. ! ")
    assert default.startswith(f"valve name={PROOF} drop-mode=forward-sticky-events ! nvvidconv")
    assert default.strip().endswith(f"name={NET} wait-on-eos=false")
    assert surface.endswith(f"name={SURFACE}")
    assert "video/x-raw,format" not in surface, "nothing leaves NVMM memory there"


@pytest.mark.parametrize("elements", [PC, JETPACK_6 | {"valve": ("drop",)}])
def test_where_zero_copy_cannot_work_the_default_text_is_made(
    elements: dict[str, tuple[str, ...]],
) -> None:
    listed = ListedElements(elements)

    assert tail_launch(REQUEST, listed, surfaces=True) == tail_launch(REQUEST, listed)


@pytest.mark.parametrize("name", ["clocksync", "videoconvert", "videoscale"])
def test_a_missing_element_is_named_with_its_package(name: str) -> None:
    pytest.importorskip("gi")
    elements = ListedElements({key: value for key, value in PC.items() if key != name})

    with pytest.raises(DependencyError, match=f"'{name}' is missing: apt-get install"):
        tail_launch(REQUEST, elements)


@pytest.mark.gst
def test_what_is_installed_here_is_looked_up() -> None:
    pytest.importorskip("gi")
    elements = InstalledElements()

    assert elements.has("videoconvert")
    assert elements.has_property("videoscale", "add-borders")
    assert not elements.has_property("videoscale", "enable-max-performance")
    assert not elements.has("no-such-element")
    assert not elements.has_property("no-such-element", "sync")


def test_for_a_model_that_takes_nv12_a_jetson_leaves_no_colours_to_the_cpu() -> None:
    request = SourceRequest(NETWORK, yuv=YuvFormat("nv12"))

    text = tail_launch(request, ListedElements(JETPACK_6))

    assert "RGB" not in text
    fit = f'capsfilter name={FIT} caps="video/x-raw,format=NV12"'
    assert (
        f"nvvidconv interpolation-method=1 ! video/x-raw,format=NV12 ! videoconvert ! {fit}" in text
    )


def test_frames_that_change_their_range_only_can_be_sent_another_way() -> None:
    yuv = SourceRequest(NETWORK, yuv=YuvFormat("yuy2"))

    assert f"videoconvert ! capsfilter name={DETOUR} ! videoconvert ! capsfilter name={FIT}" in (
        tail_launch(yuv, ListedElements(PC))
    )
    assert DETOUR not in tail_launch(REQUEST, ListedElements(PC))
