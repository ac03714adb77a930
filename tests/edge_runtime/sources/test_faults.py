"""What goes wrong with sources: one line that says what to do, no hang, nothing left behind."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_runtime.errors import SourceError
from edge_runtime.sources import open_source
from edge_runtime.video import SourceRequest

pytestmark = pytest.mark.gst

REQUEST = SourceRequest((48, 80), open_timeout_s=1.0)
Record = Callable[..., Path]


def read_all(text: object, request: SourceRequest) -> None:
    with open_source(str(text), request) as source:
        while not source.ended:
            source.read(5.0)


def failure(text: object, request: SourceRequest = REQUEST) -> str:
    """The message of the SourceError that opening and reading `text` must end in."""
    begin = time.monotonic()
    with pytest.raises(SourceError) as caught:
        read_all(text, request)
    assert time.monotonic() - begin < 5
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()

    assert "empty (0 bytes)" in failure(path)


def test_a_text_that_calls_itself_a_video(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("this is no video\n" * 100)

    message = failure(path)

    assert "text file" in message
    assert "expected a video" in message


def test_bytes_without_meaning(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(bytes(number * number * 31 % 251 for number in range(4000)))

    assert "damaged, or no video" in failure(path)


def test_an_mp4_without_its_index(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip.read_bytes()[:2000])

    assert str(path) in failure(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(b"x")
    path.chmod(0)

    assert "permission denied" in failure(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(
        b"RIFF\x24\x10\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0"
        b"data\0\x10\0\0" + b"\0" * 4096
    )

    assert "no video" in failure(path)
    assert "no video" in failure("audiotestsrc num-buffers=20 ! identity")


@contextmanager
def without(*elements: str) -> Iterator[None]:
    """GStreamer as if these elements were not installed for automatic use."""
    from edge_runtime.gst import Gst

    features = [Gst.Registry.get().lookup_feature(name) for name in elements]
    ranks = [(feature, feature.get_rank()) for feature in features if feature is not None]
    for feature, _ in ranks:
        feature.set_rank(Gst.Rank.NONE)
    try:
        yield
    finally:
        for feature, rank in ranks:
            feature.set_rank(rank)


def test_a_missing_decoder_is_named_with_its_package(record: Record, tmp_path: Path) -> None:
    path = record(tmp_path / "sound.mkv", mux="matroskamux", audio=True)

    with without("avdec_h264", "openh264dec", "avdec_aac", "faad", "fdkaacdec"):
        message = failure(path)

    assert "H.264" in message
    assert "apt-get install gstreamer1.0-libav" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nosuchelement ! identity", "no element 'nosuchelement'; check its spelling"),
        ("nvv4l2decoder99 ! identity", "Jetson"),
        ("videotestsrc ! ! identity", "syntax error"),
        ("videotestsrc pattern=purple ! identity", 'could not set property "pattern"'),
        ("videotestsrc ! fakesink", "could not link"),
        ("videotestsrc num-buffers=0 ! identity", "ended without a frame"),
        ("filesrc location=/nowhere/x.mp4 ! qtdemux", "No such file"),
    ],
)
def test_a_faulty_launch_text(text: str, said: str) -> None:
    assert said in failure(text)


def test_a_device_that_is_no_camera() -> None:
    assert "cannot open v4l2:///dev/null" in failure("v4l2:///dev/null")


def test_a_csi_camera_where_there_is_no_jetson() -> None:
    from edge_runtime.gst import has_element

    if has_element("nvarguscamerasrc"):
        pytest.skip("this machine has CSI cameras")

    message = failure("csi://0")

    assert "nvarguscamerasrc" in message
    assert "Jetson" in message


def test_a_scheme_nobody_reads() -> None:
    assert "no source 'gopher://a/b'" in failure("gopher://a/b")


def test_a_refused_stream_keeps_its_credentials_secret() -> None:
    message = failure("rtsp://admin:s3cret@127.0.0.1:1/live")

    assert "rtsp://***@127.0.0.1:1/live" in message
    assert "Failed to connect" in message
    assert "s3cret" not in message


def test_a_server_that_accepts_and_then_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        assert "no frame within 1 s" in failure(f"rtsp://127.0.0.1:{port}/live")


def test_a_fault_after_some_frames_says_how_many() -> None:
    message = failure("videotestsrc num-buffers=20 ! identity error-after=8 ! identity")

    assert "failed after 7 frames" in message


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts by /proc")
@pytest.mark.parametrize("kind", ["video", "images", "live", "street", "broken"])
def test_closed_sources_leave_nothing_behind(clip: Path, tmp_path: Path, kind: str) -> None:
    import cv2
    import numpy as np

    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes())
    text = {
        "video": str(clip),
        "images": str(tmp_path),
        "live": "test:bars?size=32x32",
        "street": "test:?size=32x32&fps=1",
        "broken": str(tmp_path / "a.mp4"),
    }[kind]
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)

    def cycle() -> None:
        try:
            with open_source(text, SourceRequest((48, 80), with_picture=True)) as source:
                source.read(5.0)
        except SourceError:
            assert kind == "broken"

    for _ in range(5):  # pools of GLib and GStreamer fill up once
        cycle()
    gc.collect()
    threads, descriptors = _threads(), _descriptors()

    for _ in range(10 if kind == "street" else 50):  # a street takes a while to build
        cycle()
    gc.collect()

    assert _threads() <= threads + 2
    assert _descriptors() <= descriptors + 2
