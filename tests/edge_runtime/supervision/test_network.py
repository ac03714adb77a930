"""Real peers that go away and come back: a GStreamer RTSP server, and ffmpeg."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time

import pytest

from edge_runtime.sources import SourceOpener
from edge_runtime.supervision.options import SupervisionOptions
from edge_runtime.supervision.source import SupervisedSource
from edge_runtime.video import SourceRequest

pytestmark = pytest.mark.gst

REQUEST = SourceRequest((48, 80))


def supervise(uri, **options):
    opener = SourceOpener(uri, REQUEST)
    return SupervisedSource(opener.first(), opener, SupervisionOptions(**options), seed=3)


def read_until(source, condition, limit_s=15.0):
    """Read until `condition` holds; gives the seconds it took."""
    begin = time.monotonic()
    while not condition(source.read(0.05)):
        assert time.monotonic() - begin < limit_s, f"still {source.state} after {limit_s} s"
    return time.monotonic() - begin


def is_frame(frame):
    return frame is not None


@pytest.mark.slow
def test_a_killed_server_is_back_5_s_after_it_was_started_again_20_of_20(serve):
    host, server = serve()
    port = host.partition(":")[2]
    took = []

    with supervise(f"rtsp://{host}/cam") as source:
        for _ in range(20):
            read_until(source, is_frame)
            server.kill()
            server.wait()
            noticed_s = read_until(source, lambda _: source.outage is not None)
            _, server = serve(port=port)
            took.append(read_until(source, is_frame))
            assert noticed_s <= 2.2
            assert source.outage is None
        summary = source.record.summary(time.monotonic_ns())

    assert max(took) <= 5.0, took
    assert (summary.count, summary.reconnects) == (20, 20)


def test_a_server_that_freezes_is_noticed_by_its_silence(serve):
    host, server = serve()

    with supervise(f"rtsp://{host}/cam", stall_timeout_s=1.0) as source:
        read_until(source, is_frame)
        server.send_signal(signal.SIGSTOP)
        noticed_s = read_until(source, lambda _: source.outage is not None)
        assert source.outage.cause == "stall"
        assert noticed_s < 2.0
        time.sleep(1.5)
        server.send_signal(signal.SIGCONT)
        assert read_until(source, is_frame) <= 5.0


def test_a_server_that_ends_its_stream_is_opened_again(serve):
    host, _ = serve(frames=40)

    with supervise(f"rtsp://{host}/cam") as source:
        read_until(source, lambda _: source.record.summary(time.monotonic_ns()).reconnects >= 2)

    assert not source.ended


def test_credentials_stay_secret_through_an_outage(serve):
    host, server = serve(user="admin", password="s3cret")

    with supervise(f"rtsp://admin:s3cret@{host}/cam") as source:
        read_until(source, is_frame)
        server.kill()
        read_until(source, lambda _: source.outage is not None and source.outage.failed_attempts)
        told = [source.outage.reason, source.info.uri, source._job.reason]
        told += [fault.reason for fault in source.record.faults]

    assert not [text for text in told if "s3cret" in text or "admin" in text]


@pytest.fixture
def ffmpeg():
    """Starts ffmpeg; gives the process."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no ffmpeg: apt-get install ffmpeg")
    running = []

    def start(*arguments):
        command = [program, "-hide_banner", "-loglevel", "error", "-nostdin", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_another_client_sees_what_the_server_serves(serve, ffmpeg):
    # the peer of these tests is a server that others understand as well
    host, _ = serve()

    grab = ffmpeg("-rtsp_transport", "tcp", "-i", f"rtsp://{host}/cam", "-frames:v", "3",
                  "-f", "rawvideo", "-pix_fmt", "rgb24", "-")  # fmt: skip
    picture, complaint = grab.communicate(timeout=20)

    assert len(picture) == 3 * 96 * 160 * 3, complaint.decode()


def test_another_encoder_that_is_killed_and_started_again(ffmpeg):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def send():
        return ffmpeg("-re", "-f", "lavfi", "-i", "testsrc=size=160x96:rate=25", "-c:v",
                      "mpeg2video", "-g", "10", "-f", "mpegts",
                      f"udp://127.0.0.1:{port}?pkt_size=1316")  # fmt: skip

    sender = send()
    with supervise(f"udp://127.0.0.1:{port}", stall_timeout_s=1.0) as source:
        read_until(source, is_frame)
        assert source.info.live
        sender.kill()
        read_until(source, lambda _: source.outage is not None)
        assert source.outage.cause == "stall"
        send()
        assert read_until(source, is_frame) <= 5.0
        assert source.info.size == (96, 160)
