"""The overlay on the network, watched by an independent player."""

import shutil
import socket
import subprocess
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.errors import DependencyError, OptionError, SinkError
from edge_runtime.redact import redact
from edge_runtime.sinks.rtsp.address import parse_rtsp
from edge_runtime.sinks.spec import SinkContext, parse_sink
from tests.edge_runtime.test_mcap import result_of
from tests.scripted import LABELS

pytestmark = pytest.mark.gst
SIZE = (96, 160)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def sink_of(text, **context):
    pytest.importorskip("gi")
    spec = parse_sink(text)
    try:
        from edge_runtime.sinks.rtsp.server import rtsp
    except DependencyError as error:
        pytest.skip(str(error))
    return rtsp(spec, SinkContext(LABELS, (48, 80), **context))


class Run:
    """Feeds a sink 30 frames a second, and takes down how long each hand-over took."""

    def __init__(self, sink):
        self.sink = sink
        self.longest_s = 0.0
        self.frames = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self.sink.open()
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._over.set()
        self._thread.join()
        self.sink.close()

    def _work(self):
        while not self._over.wait(1 / 30):
            begin = time.monotonic()
            result = replace(result_of(1), capture_ns=time.monotonic_ns())
            self.sink.consume(result)
            self.longest_s = max(self.longest_s, time.monotonic() - begin)
            self.frames += 1

    def wait(self, condition, timeout_s=10.0):
        give_up = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < give_up:
            time.sleep(0.02)
        return condition()


def player(url, frames):
    """An ffmpeg that watches so many frames and gives them as raw BGR."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg as a player of its own: apt-get install ffmpeg")
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-rtsp_transport", "tcp", "-i", url]
    output = ["-frames:v", str(frames), "-pix_fmt", "bgr24", "-f", "rawvideo", "-"]
    return subprocess.Popen(
        [*command, *output], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )


def watched(url, frames=3):
    with player(url, frames) as process:
        raw, errors = process.communicate(timeout=30)
    return np.frombuffer(raw, np.uint8).reshape(-1, *SIZE, 3), errors.decode()


def test_viewers_come_and_go_and_one_dies_without_delaying_the_run():
    port = free_port()
    url = f"rtsp://127.0.0.1:{port}/cars/front"
    said = []
    with Run(sink_of(f"rtsp:{port}/cars/front", say=said.append)) as run:
        # given nobody who watches, nothing is encoded
        assert run.wait(lambda: run.frames > 5)
        assert not run.sink.has_viewers

        # when one watches, it sees the overlay: class 1 is green over a dark picture
        pictures, _ = watched(url)
        assert len(pictures) == 3
        assert pictures[-1][40, 80].astype(int) == pytest.approx([20, 147, 20], abs=25)

        # and one who is killed is no trouble to another
        with player(url, 10_000) as dying:
            assert dying.stdout.read(SIZE[0] * SIZE[1] * 3)
            dying.kill()
        assert len(watched(url)[0]) == 3

        # and nothing is encoded again when all are gone
        assert run.wait(lambda: not run.sink.has_viewers)
        frames = run.frames
        assert run.wait(lambda: run.frames > frames + 5)
    assert run.longest_s < 5.0
    assert said == [f"overlay at {url}"]
    with socket.socket() as again:
        assert again.connect_ex(("127.0.0.1", port)) != 0


def test_viewer_that_stops_reading_delays_nothing():
    port = free_port()
    with Run(sink_of(f"rtsp:{port}/seg")) as run:
        assert run.wait(lambda: run.frames > 2)
        with player(f"rtsp://127.0.0.1:{port}/seg", 10_000) as stuck:
            # given a player whose output nobody takes
            assert run.wait(lambda: run.sink.has_viewers)
            frames = run.frames
            assert run.wait(lambda: run.frames > frames + 45)
            assert len(watched(f"rtsp://127.0.0.1:{port}/seg")[0]) == 3
            stuck.kill()
    assert run.longest_s < 5.0


def test_only_who_knows_the_password_may_watch():
    port = free_port()
    said = []
    text = f"rtsp:robot:s3cret%40@127.0.0.1:{port}/seg"
    with Run(sink_of(text, say=said.append)) as run:
        assert run.wait(lambda: run.frames > 2)

        assert len(watched(f"rtsp://robot:s3cret%40@127.0.0.1:{port}/seg", 1)[0]) == 1
        for credentials in ("", "robot:wrong@"):
            pictures, errors = watched(f"rtsp://{credentials}127.0.0.1:{port}/seg", 1)
            assert len(pictures) == 0
            assert "401" in errors

    shown = (*said, run.sink.label, repr(parse_rtsp(text.partition(":")[2])), redact(text))
    assert not [line for line in shown if "s3cret" in line]


def test_port_that_is_taken_is_a_sink_error():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        sink = sink_of(f"rtsp:{other.getsockname()[1]}/seg")

        with pytest.raises(SinkError, match="port is taken"):
            sink.open()


def test_open_network_without_a_password_is_told():
    said = []
    sink = sink_of(f"rtsp:0.0.0.0:{free_port()}/seg", say=said.append)
    sink.open()
    sink.close()

    assert "for everybody on the network" in said[0]


@pytest.mark.parametrize(("text", "url", "user"), [
    ("8554/seg", "rtsp://127.0.0.1:8554/seg", None),
    ("0.0.0.0:8554/a/b", "rtsp://0.0.0.0:8554/a/b", None),
    ("//me:pa%3Ass@[::1]:554/seg", "rtsp://[::1]:554/seg", "me"),
])  # fmt: skip
def test_addresses(text, url, user):
    address = parse_rtsp(text)

    assert (address.url, address.user) == (url, user)
    assert address.password == (None if user is None else "pa:ss")


@pytest.mark.parametrize(
    "rest", ["8554", "seg", "8554/", "0/seg", "8554/a b", "me@host:8554/seg", ":pw@h:1/s", "h/s"]
)
def test_other_addresses_are_refused_without_showing_secrets(rest):
    with pytest.raises(OptionError) as caught:
        parse_sink(f"rtsp:{rest}")

    assert "pw" not in str(caught.value)
