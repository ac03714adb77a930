"""Network cameras, by an RTSP server on this machine."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from edge_runtime.errors import SourceError
from edge_runtime.sources import open_source
from edge_runtime.video import SourceRequest

pytestmark = pytest.mark.gst

REQUEST = SourceRequest((48, 80), with_picture=True)

Serve = Callable[..., tuple[str, "subprocess.Popen[str]"]]


def test_a_stream_delivers_live_frames_and_the_senders_time(serve: Serve) -> None:
    host, _ = serve()
    clocks = []
    begin = time.monotonic()

    with open_source(f"rtsp://{host}/cam", REQUEST) as source:
        while "ntp" not in clocks and time.monotonic() - begin < 15:
            frame = source.read(5.0)
            clocks.append(frame.timestamp_source)
            assert frame.picture.shape == (96, 160, 3)
            assert frame.capture_ns <= frame.arrival_ns <= frame.ready_ns <= frame.dequeue_ns
            assert frame.arrival_ns - frame.capture_ns < 2 * 10**9

    assert source.info.live
    assert source.info.size == (96, 160)
    # Only the sender's first report, some seconds after the first frame, tells its time.
    assert clocks[0] == "arrival"
    assert clocks[-1] == "ntp"


def test_credentials_open_the_stream_and_stay_secret(serve: Serve) -> None:
    host, _ = serve(user="admin", password="s3cret")

    with open_source(f"rtsp://admin:s3cret@{host}/cam", REQUEST) as source:
        assert source.read(5.0) is not None

    assert source.info.uri == f"rtsp://***@{host}/cam"


@pytest.mark.parametrize("credentials", ["", "admin:wr0ng@"])
def test_a_refused_login_says_so(serve: Serve, credentials: str) -> None:
    host, _ = serve(user="admin", password="s3cret")

    with (
        open_source(f"rtsp://{credentials}{host}/cam", REQUEST) as source,
        pytest.raises(SourceError, match=r"Unauthorized.*check user and password") as caught,
    ):
        source.read(5.0)

    assert "wr0ng" not in str(caught.value)


def test_a_stream_that_does_not_exist(serve: Serve) -> None:
    host, _ = serve()

    with (
        open_source(f"rtsp://{host}/nothing", REQUEST) as source,
        pytest.raises(SourceError, match="Not Found"),
    ):
        source.read(5.0)


def test_a_server_that_dies_is_an_error_and_no_end(serve: Serve) -> None:
    host, process = serve()

    with open_source(f"rtsp://{host}/cam", REQUEST) as source:
        assert source.read(5.0) is not None
        process.kill()
        with pytest.raises(SourceError, match=r"after \d+ frames"):
            list(iter(lambda: source.read(5.0), None))

    assert not source.ended
