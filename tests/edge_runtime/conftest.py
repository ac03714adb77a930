"""Peers on the network, and full disks, that tests of several parts of the runtime need."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Serve = Callable[..., tuple[str, "subprocess.Popen[str]"]]


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Sets how long a file may become, which the system enforces like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers; gives host:port and the process."""
    gi = pytest.importorskip("gi")
    try:
        gi.require_version("GstRtspServer", "1.0")
    except ValueError:
        pytest.skip("no RTSP server: apt-get install gir1.2-gst-rtsp-server-1.0")
    running: list[subprocess.Popen[str]] = []

    def start(
        *, port: str = "0", frames: int = -1, user: str = "", password: str = ""
    ) -> tuple[str, subprocess.Popen[str]]:
        script = Path(__file__).parent / "sources/rtsp_server.py"
        process = subprocess.Popen(
            [sys.executable, str(script), port, str(frames), user, password],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        return f"127.0.0.1:{process.stdout.readline().strip()}", process

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
