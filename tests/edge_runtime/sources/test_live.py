"""Live sources without a device: the street camera, test pictures and launch texts."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.sources import open_source
from edge_runtime.sources.clocks import ArrivalClock
from edge_runtime.sources.testcard import StreetPictures
from edge_runtime.video import Frame, SourceRequest

pytestmark = pytest.mark.gst

NETWORK = (48, 80)
STALLED = (
    "appsrc is-live=true format=time caps=video/x-raw,format=RGB,width=8,height=8,framerate=9/1"
)

ReadAll = Callable[[object, SourceRequest], list[Frame]]


def test_the_street_camera_shows_the_same_street_each_time(read_all: ReadAll) -> None:
    pictures = StreetPictures((64, 96), fps=50, seed=3)

    frames = read_all(
        "test:?size=64x96&fps=50&seed=3&frames=6",
        SourceRequest(NETWORK, latest=False, with_picture=True),
    )

    assert [frame.index for frame in frames] == list(range(6))
    for frame in frames:
        np.testing.assert_array_equal(frame.picture, pictures.picture(frame.index))


def test_the_street_camera_is_live(read_all: ReadAll) -> None:
    begin = time.monotonic()
    with open_source("test:?size=64x96&fps=20&frames=9", SourceRequest(NETWORK)) as source:
        while not source.ended:
            source.read(5.0)

    assert time.monotonic() - begin > 8 / 20
    assert source.info.live
    assert source.info.fps_nominal == 20
    assert source.info.timestamp_source == "arrival"


@pytest.mark.parametrize("name", ["bars", "smpte"])
def test_test_pictures_have_the_size_asked_for(read_all: ReadAll, name: str) -> None:
    frames = read_all(
        f"test:{name}?size=37x61&fps=60&frames=4", SourceRequest(NETWORK, with_picture=True)
    )

    assert {frame.picture.shape for frame in frames} == {(37, 61, 3)}


def test_the_age_of_the_newest_frame_is_bounded_however_slow_the_consumer() -> None:
    interval_s, service_s = 1 / 30, 0.1
    ages, seen = [], []
    with open_source("test:bars?size=60x80", SourceRequest(NETWORK, with_picture=True)) as source:
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            frame = source.read(5.0)
            ages.append((frame.dequeue_ns - frame.arrival_ns) / 1e9)
            seen.append(frame.index)
            assert frame.picture is not None
            time.sleep(service_s)
        counters = source.counters

    # By construction one interval; machines that run tests are noisy, growth would be 2 s and more.
    assert sorted(ages)[len(ages) // 2] < interval_s * 1.5
    assert max(ages) < service_s + 2 * interval_s + 0.3
    assert seen == sorted(set(seen))
    under_way = counters.captured - len(seen) - counters.dropped_queue
    assert 0 <= under_way <= 2 + int((service_s + 0.3) / interval_s)
    assert counters.dropped_queue > len(seen)


def test_every_frame_of_a_live_source_is_kept_on_request(read_all: ReadAll) -> None:
    frames = read_all("test:bars?size=60x80&fps=60&frames=20", SourceRequest(NETWORK, latest=False))

    assert [frame.index for frame in frames] == list(range(20))


@pytest.mark.parametrize(
    ("text", "live"),
    [
        ("videotestsrc num-buffers=5 ! video/x-raw,width=64,height=48", False),
        ("launch:videotestsrc num-buffers=5", False),
        ("videotestsrc num-buffers=5 ! video/x-raw,width=64,height=48 ! jpegenc", False),
        ("videotestsrc num-buffers=5 is-live=true ! video/x-raw,width=64,height=48", True),
        ("videotestsrc num-buffers=5 is-live=true ! jpegenc ! queue", True),
        (
            "videotestsrc num-buffers=5 ! m. audiotestsrc num-buffers=5 ! m. matroskamux name=m",
            False,
        ),
    ],
)
def test_a_launch_text_gives_raw_or_encoded_video(text: str, live: bool) -> None:
    count = 0
    with open_source(text, SourceRequest(NETWORK, latest=False)) as source:
        while source.read(5.0) is not None:
            count += 1

    assert count == 5
    assert source.info.live is live
    assert source.info.timestamp_source == ("arrival" if live else "file")


def test_a_stalled_source_lets_read_return_in_time() -> None:
    with open_source(f"{STALLED} ! identity", SourceRequest(NETWORK)) as source:
        begin = time.monotonic()

        assert source.read(0.3) is None
        assert 0.25 < time.monotonic() - begin < 2
        assert source.read(0) is None
        assert not source.ended


def test_no_frame_within_the_opening_time_is_an_error() -> None:
    begin = time.monotonic()
    request = SourceRequest(NETWORK, open_timeout_s=0.4)
    with (
        open_source(f"{STALLED} ! identity", request) as source,
        pytest.raises(SourceError, match=r"no frame within 0\.4 s"),
    ):
        source.read(10.0)

    assert time.monotonic() - begin < 3


def test_ctrl_c_ends_a_blocked_read() -> None:
    begin = time.monotonic()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with open_source(f"{STALLED} ! identity", SourceRequest(NETWORK)) as source:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            source.read(10.0)
    timer.join()

    assert time.monotonic() - begin < 2


def test_an_exception_on_a_streaming_thread_reaches_the_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("in the probe")

    monkeypatch.setattr(ArrivalClock, "capture_ns", broken)

    with (
        open_source("test:bars", SourceRequest(NETWORK)) as source,
        pytest.raises(ZeroDivisionError, match="in the probe"),
    ):
        source.read(5.0)


def test_an_exception_while_making_pictures_reaches_the_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> np.ndarray:
        raise ZeroDivisionError("in the camera")

    monkeypatch.setattr(StreetPictures, "picture", broken)

    with (
        open_source("test:?size=64x96", SourceRequest(NETWORK)) as source,
        pytest.raises(ZeroDivisionError, match="in the camera"),
    ):
        source.read(5.0)


def test_the_jetson_pipeline_holds_together_with_a_desktop_converter_in_place(
    monkeypatch: pytest.MonkeyPatch, read_all: ReadAll
) -> None:
    from edge_runtime.gst import has_element
    from edge_runtime.sources import opening, tail

    if not has_element("videoconvertscale"):
        pytest.skip("no videoconvertscale before GStreamer 1.22")

    def stand_in(request: SourceRequest, *_: object, **__: object) -> str:
        return tail._jetson_tail(request, "videoconvertscale")

    monkeypatch.setattr(opening, "tail_launch", stand_in)

    frames = read_all(
        "test:bars?size=60x80&frames=3&fps=60",
        SourceRequest(NETWORK, resize="letterbox", latest=False, with_picture=True),
    )

    assert [frame.picture.shape for frame in frames] == [(60, 80, 3)] * 3
    assert frames[0].image[:, :8].max() == 0
    assert frames[0].image[:, 8:72].max() > 100


def test_reading_outside_of_the_with_block_is_a_defect() -> None:
    source = open_source("test:bars", SourceRequest(NETWORK))

    with pytest.raises(RuntimeError, match="with"):
        source.read(1.0)
