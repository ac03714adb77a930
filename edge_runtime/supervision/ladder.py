"""What is tried, step by step, before a source is given up."""

from __future__ import annotations

import shutil
import subprocess
from typing import Protocol

from edge_runtime.errors import SourceError

SERVICE = "nvargus-daemon"
ARGUS_ATTEMPTS = 4
"""Openings in vain before the capture service is restarted, and again before it is given up."""
ARGUS_RESTARTS = 2
RESTART_TIMEOUT_S = 20.0


class Ladder(Protocol):
    """Called before each attempt to open a source again."""

    def climb(self, failed: int, reason: str) -> None:
        """Do what helps after `failed` attempts in vain.

        Raises:
            SourceError: nothing helps; the source is given up.
        """
        ...

    def unblock(self) -> bool:
        """The source cannot even be closed; True if something was done about it."""
        ...


class PatientLadder:
    """Opens again and again: cameras and networks come back by themselves."""

    def climb(self, failed: int, reason: str) -> None:
        """Nothing helps but waiting."""

    def unblock(self) -> bool:
        """Nothing helps."""
        return False


class ArgusLadder:
    """For a Jetson's CSI cameras, which do not come and go: their capture service wedges.

    End of stream with a time limit and NULL come first, when the source is closed; then it is made
    anew a few times; then the service is restarted, if that is allowed; then it is given up.

    Args:
        may_restart: the service may be restarted.
    """

    def __init__(self, *, may_restart: bool) -> None:
        self._may_restart = may_restart
        self._restarts = 0

    def climb(self, failed: int, reason: str) -> None:
        """Restart the service or give up, after every few attempts in vain.

        Raises:
            SourceError: the capture service does not recover.
        """
        if failed == 0 or failed % ARGUS_ATTEMPTS:
            return
        if not self._may_restart:
            raise SourceError(
                f"the camera does not come back after {failed} attempts ({reason}); restart its "
                f"service: sudo systemctl restart {SERVICE}, or allow it with "
                "--restart-capture-service"
            )
        if self._restarts == ARGUS_RESTARTS:
            raise SourceError(
                f"the camera does not come back after {failed} attempts and {self._restarts} "
                f"restarts of {SERVICE} ({reason}); check the cable, or reboot"
            )
        self._restart()

    def unblock(self) -> bool:
        """Restart the service that holds the camera, if that is allowed."""
        if not self._may_restart or self._restarts == ARGUS_RESTARTS:
            return False
        self._restart()
        return True

    def _restart(self) -> None:
        self._restarts += 1
        command = [shutil.which("systemctl") or "systemctl", "restart", SERVICE]
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=RESTART_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SourceError(f"cannot restart {SERVICE}: {error}") from None
        if done.returncode:
            raise SourceError(
                f"cannot restart {SERVICE}: {done.stderr.strip() or 'systemctl failed'}; allow "
                "this user to, or run as a service that may"
            )
