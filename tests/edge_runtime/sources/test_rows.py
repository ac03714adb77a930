"""Frames for models that take YUV: what GStreamer delivers, byte for byte and colour for colour."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from edge_runtime.copies import Copies
from edge_runtime.geometry import FrameGeometry
from edge_runtime.gst import Gst, GstVideo
from edge_runtime.pixels import YuvFormat
from edge_runtime.sources import open_source
from edge_runtime.sources.placement import NetworkPlacement
from edge_runtime.sources.rows import RowsCanvas, views
from edge_runtime.video import SourceRequest
from edge_runtime.yuv import black_frame, planes, to_rgb

SIZE = (96, 128)
NV12, YUY2 = YuvFormat("nv12"), YuvFormat("yuy2")
BARS = "videotestsrc pattern=smpte75 num-buffers=1 ! video/x-raw,height=192,width=256"


@pytest.fixture
def first():
    """The first frame of a source: its image, copied, and its copies."""

    def read(text: str, request: SourceRequest) -> tuple[np.ndarray, Copies]:
        with open_source(text, request) as source:
            frame = source.read(10.0)
            assert frame is not None
            return frame.image.copy(), frame.copies

    return read


@pytest.mark.parametrize("yuv", [NV12, YUY2], ids=str)
def test_a_camera_of_the_models_format_and_size_is_handed_on_untouched(yuv, first, tmp_path):
    # given bytes of which most stand for no colour, as only raw frames can hold them
    rows = np.random.default_rng(0).integers(0, 256, yuv.rows(SIZE), np.uint8)
    path = tmp_path / "frame.raw"
    path.write_bytes(rows.tobytes())
    source = (
        f"filesrc location={path} blocksize={rows.size} ! rawvideoparse format={yuv.pixels} "
        f"height={SIZE[0]} width={SIZE[1]} colorimetry=bt601"
    )
    image, copies = first(source, SourceRequest(SIZE, yuv=yuv))
    assert np.array_equal(image, rows)
    assert copies.host_copies == 0


@pytest.mark.parametrize(
    ("given_format", "colours", "wanted"),
    [
        ("NV12", "2:4:7:1", NV12),
        ("NV12", "1:4:7:1", NV12),  # nothing but the range differs, which GStreamer ignores
        ("I420", "1:4:0:0", YUY2),  # as decoded from JPEG
        ("I420", "2:3:5:1", NV12),
        ("I420", "1:3:5:1", NV12),
        ("NV12", "2:3:5:1", YuvFormat("nv12", "bt709", "full")),
    ],
    ids=str,
)
def test_colours_are_right_whatever_the_camera_calls_them(given_format, colours, wanted, first):
    # given colour bars in a range and matrix that may not be the model's
    source = f"{BARS},format={given_format},colorimetry=(string){colours}"
    expected, _ = first(source, SourceRequest(SIZE))
    rows, _ = first(source, SourceRequest(SIZE, yuv=wanted))
    error = np.abs(np.clip(to_rgb(rows, wanted), 0, 255) - expected)
    # A wrong matrix is off by 7 at the median, a wrong range by 8 and more.
    assert np.median(error) < 3.0


@pytest.mark.parametrize("yuv", [NV12, YuvFormat("nv12", "bt709", "full")], ids=str)
@pytest.mark.parametrize("given_format", ["BGR", "GRAY8", "GRAY16_LE"])
def test_pictures_that_are_not_yuv_are_converted(given_format, yuv, first):
    source = f"{BARS},format={given_format}"
    expected, _ = first(source, SourceRequest(SIZE))
    rows, _ = first(source, SourceRequest(SIZE, yuv=yuv))
    assert np.median(np.abs(to_rgb(rows, yuv) - expected)) <= 2.0


@pytest.mark.parametrize("yuv", [NV12, YUY2], ids=str)
def test_a_mono_cameras_black_and_white_are_the_models(yuv, first, tmp_path):
    # given all bytes that a mono camera can deliver: black is 0 and white is 255
    grey = np.resize(np.arange(256, dtype=np.uint8), SIZE)
    path = tmp_path / "frame.raw"
    path.write_bytes(grey.tobytes())
    source = (
        f"filesrc location={path} blocksize={grey.size} ! rawvideoparse format=gray8 "
        f"height={SIZE[0]} width={SIZE[1]}"
    )
    # when a model of limited range takes it
    rows, _ = first(source, SourceRequest(SIZE, yuv=yuv))
    # then its luma is 16 to 235
    luma, u, v = (plane.astype(float) for plane in planes(rows, yuv))
    assert np.abs(luma - (16.0 + grey * (219.0 / 255.0))).max() <= 1.0
    assert max(np.abs(u - 128.0).max(), np.abs(v - 128.0).max()) <= 1.0


def test_a_yuv_model_keeps_no_rgb_picture():
    size = (1024, 2048)
    pixels = size[0] * size[1]
    tracemalloc.start()
    try:
        placement = NetworkPlacement(SourceRequest(size, "letterbox", yuv=NV12))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert placement.network == size
    assert 1.5 * pixels <= held < 2.0 * pixels  # NV12 takes 1.5 bytes a pixel, RGB would take 3


@pytest.mark.parametrize("yuv", [NV12, YUY2], ids=str)
def test_a_letterboxed_frame_lies_where_the_geometry_says_on_black(yuv, first):
    # given a grey frame of odd shape, whose rows GStreamer pads
    source = "videotestsrc pattern=solid-color foreground-color=0xff808080 num-buffers=1 "
    source += "! video/x-raw,format=I420,height=99,width=77,colorimetry=bt601"
    rows, copies = first(source, SourceRequest(SIZE, "letterbox", yuv=yuv))
    geometry = FrameGeometry((99, 77), SIZE, "letterbox", even=True)
    top, left, height, width = geometry.content
    assert width % 4 != 0
    seen = to_rgb(rows, yuv)
    inside = seen[top : top + height, left : left + width]
    assert np.abs(inside - 128).max() < 3.0
    outside = np.ones(SIZE, bool)
    outside[top : top + height, left : left + width] = False
    assert np.abs(seen[outside]).max() < 1e-9
    assert copies.host_copies > 0


def _padded(yuv: YuvFormat, size: tuple[int, int]) -> tuple[object, np.ndarray]:
    """A buffer with long rows and a gap between its planes, and the bytes that count."""
    height, width = size
    stride, gap = width * 2 + 16, 64
    rows = np.random.default_rng(2).integers(0, 256, yuv.rows(size), np.uint8)
    counts = (height, height // 2) if yuv.pixels == "nv12" else (height,)
    memory, offsets, start = np.zeros(stride * sum(counts) + gap * len(counts), np.uint8), [], 0
    done = 0
    for count in counts:
        start += gap
        offsets.append(start)
        plane = memory[start : start + stride * count].reshape(count, stride)
        plane[:, : rows.shape[1]] = rows[done : done + count]
        start, done = start + stride * count, done + count
    buffer = Gst.Buffer.new_wrapped(memory.tobytes())
    rest = [0] * (4 - len(counts))
    GstVideo.buffer_add_video_meta_full(
        buffer, GstVideo.VideoFrameFlags.NONE, GstVideo.VideoFormat.from_string(yuv.pixels.upper()),
        width, height, len(counts), [*offsets, *rest], [*[stride] * len(counts), *rest],
    )  # fmt: skip
    return buffer, rows


@pytest.mark.parametrize("yuv", [NV12, YUY2], ids=str)
def test_padded_rows_and_gaps_between_planes_are_left_out(yuv):
    buffer, rows = _padded(yuv, (8, 12))
    parts = views(buffer, yuv, (8, 12))
    assert np.array_equal(np.concatenate(parts), rows)
    laid = RowsCanvas(yuv, (8, 12)).lay(buffer, (0, 0, 8, 12), Copies())
    assert np.array_equal(laid, rows)


@pytest.mark.parametrize("yuv", [NV12, YUY2], ids=str)
def test_a_canvas_keeps_nothing_of_a_frame_that_lay_elsewhere(yuv):
    canvas = RowsCanvas(yuv, (16, 16))
    for place in ((0, 4, 16, 8), (4, 0, 8, 16)):
        buffer, rows = _padded(yuv, place[2:])
        laid = canvas.lay(buffer, place, Copies())
        expected = black_frame(yuv, (16, 16))
        for to, of in zip(planes(expected, yuv), planes(rows, yuv), strict=True):
            down, across = 16 // to.shape[0], 16 // to.shape[1]
            top, left = place[0] // down, place[1] // across
            to[top : top + of.shape[0], left : left + of.shape[1]] = of
        assert np.array_equal(laid, expected)
