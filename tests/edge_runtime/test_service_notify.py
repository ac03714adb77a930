"""What a run tells a service manager, over a real socket."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import cv2
import pytest

from edge_runtime import RunOptions, run
from edge_runtime.cli import main
from edge_runtime.loop import LoopOptions
from edge_runtime.policy import EVERY
from edge_runtime.rig.engine import Engine
from edge_runtime.rig.lane import Lane, LaneOptions
from edge_runtime.runner import execute
from edge_runtime.service.notify import Notifier, is_managed
from edge_runtime.service.warden import Warden
from edge_runtime.stop import Stop
from edge_runtime.supervision.options import SupervisionOptions
from edge_runtime.supervision.source import SupervisedSource
from tests.edge_runtime.reload_models import place
from tests.scripted import FakeClock, ScriptedBackend, ScriptedSource

PATIENCE_S = 60.0


class Manager:
    """A service manager's ear: notes each message and when it came."""

    def __init__(self, address):
        self.address = address
        self.heard = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(0.05)
        self._leaving = threading.Event()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self):
        while not self._leaving.is_set():
            try:
                message = self._socket.recv(4096).decode().splitlines()
            except TimeoutError:
                continue
            with self._news:
                self.heard.append((time.monotonic(), message))
                self._news.notify_all()

    def wait_for(self, line, count=1):
        def came():
            return sum(line in message for _, message in self.heard) >= count

        with self._news:
            assert self._news.wait_for(came, PATIENCE_S), (line, self.heard)

    def times(self, line):
        return [when for when, message in self.heard if line in message]

    def close(self):
        self._leaving.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def any_manager(request, tmp_path):
    abstract = f"@hyperseg-test-{os.getpid()}"
    manager = Manager(abstract if request.param == "abstract" else str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.fixture
def manager(tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.fixture
def model(tmp_path):
    pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
    path = tmp_path / "model.onnx"
    place(path, 1)
    return path


def test_lines_are_one_message(any_manager):
    assert Notifier(any_manager.address).tell("READY=1", "STATUS=30 fps")
    any_manager.wait_for("STATUS=30 fps")
    assert any_manager.heard[0][1] == ["READY=1", "STATUS=30 fps"]


def test_a_manager_that_is_gone_harms_nothing(tmp_path):
    assert not Notifier(str(tmp_path / "nobody")).tell("READY=1")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": ""}, None),
        ({"NOTIFY_SOCKET": "/n"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "3000000"}, Notifier("@n", 3.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "3", "WATCHDOG_PID": "1"}, Notifier("/n")),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "often"}, Notifier("/n")),
    ],
)
def test_the_manager_is_found_in_the_environment(environ, expected):
    assert Notifier.from_environment(environ) == expected
    assert is_managed(environ) == (expected is not None)


class Ear:
    """A manager whose queue holds few messages, and which reads them when it is told to."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def read(self):
        heard = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(self._socket.recv(4096).decode().splitlines()[0])
        return heard

    def close(self):
        self._socket.close()


@pytest.fixture
def deaf(tmp_path):
    """A manager's ear whose queue is full, and a notifier."""
    ear, notifier = Ear(str(tmp_path / "notify")), Notifier(str(tmp_path / "notify"))
    while notifier.tell("OTHER=1"):
        pass
    yield ear, notifier
    ear.close()


@pytest.fixture
def lanes():
    """A camera with one published mask."""
    with ScriptedBackend(FakeClock()) as backend:
        source = SupervisedSource(ScriptedSource(FakeClock()))
        lane = Lane(Engine(backend, backend.manifest), source, LaneOptions(), "one")
        lane.recorder.tally.published = 1
        yield [lane]


def test_ready_is_told_again_until_the_manager_has_taken_it(deaf, lanes, tmp_path):
    ear, notifier = deaf
    status = tmp_path / "status.json"
    warden = Warden(Stop(), status, notifier)

    # when there are masks while the manager's queue is full
    warden._look(lanes)
    assert "READY=1" not in ear.read()
    assert json.loads(status.read_text())["state"] == "running"

    # then it is told as soon as there is room, and once
    for _ in range(3):
        warden._look(lanes)
    assert ear.read() == ["READY=1"]


def test_the_end_of_a_reload_is_told_again_until_the_manager_has_taken_it(deaf, lanes):
    ear, notifier = deaf
    ear.read()
    warden = Warden(Stop(), None, notifier)
    warden._look(lanes)
    warden.reloading(True)
    assert ear.read() == ["READY=1", "RELOADING=1"]

    while notifier.tell("OTHER=1"):
        pass
    warden.reloading(False)
    assert "READY=1" not in ear.read()
    for _ in range(3):
        warden._look(lanes)
    assert ear.read() == ["READY=1"]


class HangingBackend(ScriptedBackend):
    """Does not return from one inference before it is told to."""

    hang_at = 20

    def infer(self, stamps):
        if self.calls == self.hang_at:
            self.hung_s = time.monotonic()
            time.sleep(1.5)
            self.resumed_s = time.monotonic()
        time.sleep(0.01)
        super().infer(stamps)


def test_an_engine_that_hangs_stops_the_watchdog_and_nothing_else_does(manager):
    # given a watchdog that is told every 0.1 s, and an engine that hangs for 1.5 s
    stop, clock = Stop(), FakeClock()
    warden = Warden(stop, None, Notifier(manager.address, watchdog_s=0.3))
    options = LoopOptions(policy=EVERY, clock=clock, stop=stop)
    with HangingBackend(clock, infer_ms=1.0) as backend:
        source = ScriptedSource(clock, count=60, live=False)
        execute(
            backend,
            source,
            backend.manifest,
            options,
            attend=lambda lanes, sampler: warden.attend(lanes),
        )

    manager.wait_for("STOPPING=1")
    pings = manager.times("WATCHDOG=1")
    # the last tick before may still see a round of before
    assert not [when for when in pings if backend.hung_s + 0.4 < when < backend.resumed_s]
    assert [when for when in pings if when >= backend.resumed_s]
    assert len(manager.times("READY=1")) == 1


@pytest.mark.gst
def test_a_camera_that_is_away_does_not_stop_the_watchdog(manager, model, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    options = RunOptions(
        duration_s=3.5, quiet=True, supervision=SupervisionOptions(stall_timeout_s=0.5)
    )

    report = run(model, "fault:stall@0.5+2:test:bars?size=32x64", options)

    assert report.outages.count == 1
    words = [" ".join(message) for _, message in manager.heard if "WATCHDOG=1" in message]
    assert sum(" up " not in line for line in words) >= 2, words


@pytest.mark.gst
def test_a_real_run_from_ready_to_stopped(manager, model, tmp_path):
    # given a run under a manager, with an output and a status file
    video, status = tmp_path / "overlay.mkv", tmp_path / "status.json"
    environ = os.environ | {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "3000000"}
    command = [sys.executable, "-m", "edge_runtime.cli", "run", str(model), "test:bars?size=64x96",
               "--sink", str(video), "--status", str(status), "--quiet"]  # fmt: skip
    process = subprocess.Popen(
        command, env={**environ, "HYPERSEG_STATUS": ""}, stderr=subprocess.PIPE, text=True
    )
    try:
        # when it has begun, it is ready, told to the watchdog, and healthy
        manager.wait_for("READY=1")
        manager.wait_for("WATCHDOG=1", count=2)
        assert main(["service", "health", "--status", str(status), "--max-age", "30"]) == 0

        # when its model is replaced and it is told to reload, the new one serves
        new = place(model, 2)
        process.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1", count=2)
        deadline_s = time.monotonic() + PATIENCE_S
        while json.loads(status.read_text())["model"] != new:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)

        # when it is told to end, it says so and completes its output
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert "takes over" in said
    manager.wait_for("STOPPING=1")
    assert json.loads(status.read_text())["state"] == "stopping"
    film = cv2.VideoCapture(str(video))
    assert film.read()[0]
    film.release()
    assert main(["service", "health", "--status", str(status), "--max-age", "0.0001"]) == 1


@pytest.mark.gst
def test_under_a_manager_a_fault_outside_is_worth_a_restart(manager, model, tmp_path, monkeypatch):
    words = ["run", str(model), "rtsp://127.0.0.1:9/none", "--quiet"]
    assert main(words) == 2
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    assert main(words) == 75
    # a mistake is none
    assert main(["run", str(tmp_path / "none.onnx"), "test:", "--quiet"]) == 2
