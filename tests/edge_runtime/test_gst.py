"""GStreamer building blocks."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.gst


@pytest.fixture
def gst() -> Any:
    pytest.importorskip("gi")
    from edge_runtime import gst

    return gst


def _buffer(gst: Any, size: tuple[int, int]) -> tuple[Any, np.ndarray]:
    height, width = size
    stride = (width * 3 + 3) // 4 * 4
    rows = np.arange(height * stride, dtype=np.uint32).astype(np.uint8).reshape(height, stride)
    pixels = rows[:, : width * 3].reshape(height, width, 3).copy()
    return gst.Gst.Buffer.new_wrapped(rows.tobytes()), pixels


@pytest.mark.parametrize("size", [(5, 8), (5, 7), (1, 1), (3, 333)])
def test_padded_rows_are_read_without_their_padding(gst: Any, size: tuple[int, int]) -> None:
    buffer, pixels = _buffer(gst, size)

    np.testing.assert_array_equal(gst.view_pixels(buffer, size), pixels)


def test_a_view_keeps_its_buffer_alive(gst: Any) -> None:
    buffer, pixels = _buffer(gst, (50, 70))
    part = gst.view_pixels(buffer, (50, 70))[10:20]

    del buffer
    gc.collect()

    np.testing.assert_array_equal(part, pixels[10:20])


def test_a_buffer_that_is_too_small_is_refused(gst: Any) -> None:
    buffer, _ = _buffer(gst, (5, 7))

    with pytest.raises(ValueError, match="size of buffer"):
        gst.view_pixels(buffer, (6, 7))


def test_caps_are_read(gst: Any) -> None:
    caps = gst.Gst.Caps.from_string(
        "video/x-raw,format=NV12,width=720,height=576,framerate=25/2,pixel-aspect-ratio=16/15"
    )

    found = gst.raw_format(caps)

    assert (found.size, found.fps, found.pixel_aspect_ratio) == ((576, 720), 12.5, (16, 15))


def test_caps_without_a_rate_have_none(gst: Any) -> None:
    caps = gst.Gst.Caps.from_string("video/x-raw,format=RGB,width=3,height=2,framerate=0/1")

    assert gst.raw_format(caps).fps is None


def test_properties_are_set_where_they_exist(gst: Any) -> None:
    element = gst.Gst.ElementFactory.make("videotestsrc", None)

    assert gst.set_if_present(element, "pattern", "ball")
    assert gst.set_if_present(element, "num-buffers", 3)
    assert not gst.set_if_present(element, "enable-max-performance", True)
    assert element.get_property("pattern").value_nick == "ball"
    assert element.get_property("num-buffers") == 3


@pytest.mark.parametrize("newest", [True, False])
def test_an_appsink_keeps_the_newest_or_waits(gst: Any, newest: bool) -> None:
    pipeline = gst.Gst.parse_launch("videotestsrc num-buffers=9 ! appsink name=sink sync=false")
    sink = pipeline.get_by_name("sink")
    gst.bound_appsink(sink, 2, newest=newest)
    pipeline.set_state(gst.Gst.State.PLAYING)
    times = []
    try:
        if newest:
            message = pipeline.get_bus().timed_pop_filtered(gst.Gst.SECOND, gst.Gst.MessageType.EOS)
            assert message is None, "EOS came before the queue was read"
        while (sample := sink.try_pull_sample(gst.Gst.SECOND)) is not None:
            times.append(sample.get_buffer().pts)
    finally:
        pipeline.set_state(gst.Gst.State.NULL)

    assert len(times) == (2 if newest else 9)


def test_without_the_bindings_the_remedy_is_said() -> None:
    script = (
        "import sys; sys.modules['gi'] = None\n"
        "from edge_runtime.sources import open_source\n"
        "from edge_runtime.errors import DependencyError\n"
        "from edge_runtime.video import SourceRequest\n"
        "try: open_source('test:bars', SourceRequest((8, 8)))\n"
        "except DependencyError as error: sys.stdout.write(str(error))"
    )

    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert "apt-get install python3-gi" in said.stdout
    assert "--system-site-packages" in said.stdout


def test_the_pipeline_clock_is_pythons_monotonic_clock(gst: Any) -> None:
    before = time.monotonic_ns()
    middle = gst.Gst.SystemClock.obtain().get_time()
    after = time.monotonic_ns()

    assert before <= middle <= after


def test_a_cpp_exception_after_gstreamer_does_not_abort(tmp_path):
    """With an encoder's plugin as the first C++ library, exceptions once met the wrong unwinder."""
    model = tmp_path / "zeros.onnx"
    model.write_bytes(bytes(1000))
    code = (
        "import sys\n"
        "from edge_runtime.gst import Gst\n"
        "encode = Gst.parse_launch('videotestsrc num-buffers=1 ! openh264enc ! fakesink')\n"
        "encode.set_state(Gst.State.PLAYING)\n"
        "encode.get_bus().timed_pop_filtered(5 * Gst.SECOND, Gst.MessageType.EOS)\n"
        "encode.set_state(Gst.State.NULL)\n"
        "import onnxruntime\n"
        "try:\n"
        "    onnxruntime.InferenceSession(sys.argv[1])\n"
        "except Exception:\n"
        "    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
