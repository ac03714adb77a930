"""What is tried before a CSI camera is given up, with a real `systemctl` that does nothing."""

from __future__ import annotations

import threading

import pytest

from edge_runtime.errors import SourceError
from edge_runtime.supervision.backoff import Backoff
from edge_runtime.supervision.ladder import (
    ARGUS_ATTEMPTS,
    ARGUS_RESTARTS,
    ArgusLadder,
    PatientLadder,
)
from edge_runtime.supervision.reconnection import Reconnection


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """Writes down its arguments; `fail` makes it fail. Gives the place of the notes."""
    notes = tmp_path / "notes"

    def install(fail=""):
        program = tmp_path / "bin/systemctl"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {notes}\n' + (f'echo "{fail}" >&2; exit 4\n' if fail else "")
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        return notes

    return install


class Gone:
    """A camera that is closed without trouble and never opens."""

    def __exit__(self, *exc_info):
        pass

    def __enter__(self):
        raise SourceError("no cameras available")


def reconnect(ladder):
    job = Reconnection(Gone(), lambda _: Gone(), Backoff(0), ladder, pause=lambda _: None)
    job.run()
    return job


def test_without_permission_it_is_given_up_with_the_command_that_helps(systemctl):
    notes = systemctl()

    job = reconnect(ArgusLadder(may_restart=False))

    assert job.failed_attempts == ARGUS_ATTEMPTS
    assert "sudo systemctl restart nvargus-daemon" in str(job.failure)
    assert "no cameras available" in str(job.failure)
    assert not notes.exists()


def test_with_permission_the_service_is_restarted_a_few_times(systemctl):
    notes = systemctl()

    job = reconnect(ArgusLadder(may_restart=True))

    assert notes.read_text() == "restart nvargus-daemon\n" * ARGUS_RESTARTS
    assert job.failed_attempts == ARGUS_ATTEMPTS * (ARGUS_RESTARTS + 1)
    assert "check the cable" in str(job.failure)


def test_a_restart_that_is_refused_says_why(systemctl):
    systemctl(fail="Access denied")

    job = reconnect(ArgusLadder(may_restart=True))

    assert "cannot restart nvargus-daemon: Access denied" in str(job.failure)


def test_a_system_without_systemctl(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    job = reconnect(ArgusLadder(may_restart=True))

    assert "cannot restart nvargus-daemon" in str(job.failure)


def test_a_camera_that_cannot_be_closed_is_unblocked_by_the_restart(systemctl, monkeypatch):
    notes = systemctl()
    monkeypatch.setattr("edge_runtime.supervision.reconnection.CLOSE_LIMIT_S", 2.0)
    closed = threading.Event()

    class Wedged(Gone):
        def __exit__(self, *exc_info):
            while not notes.exists():
                closed.wait(0.01)

    job = Reconnection(Wedged(), lambda _: Gone(), Backoff(0), ArgusLadder(may_restart=True),
                       pause=lambda _: None)  # fmt: skip
    job.step()

    assert job.failure is None
    assert job.closed


def test_other_cameras_are_waited_for():
    ladder = PatientLadder()

    for failed in range(1000):
        ladder.climb(failed, "gone")

    assert not ladder.unblock()
