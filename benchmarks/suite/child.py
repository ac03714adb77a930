"""One command in a process of its own: how it ended, how long it took, how much memory it had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GRACE_S = 2.0
"""From the request to end until it is killed."""


@dataclass(frozen=True)
class Ended:
    """What became of a process."""

    code: int
    """Exit code; negative: the signal that ended it."""
    seconds: float
    peak_mb: float
    """Greatest resident memory in MB (10^6 bytes), its own or that of one of its children,
    whichever had more."""
    output: str
    """Its standard output."""
    last_line: str
    """Of its standard error."""
    timed_out: bool


def run(command: Sequence[str], *, limit_s: float, cwd: Path | None = None) -> Ended:
    """Run a command to its end, or until its time is over; nothing of it is left behind.

    Args:
        command: and its arguments.
        limit_s: greatest length.
        cwd: its folder.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, cwd=cwd, start_new_session=True
        )
        alarm = threading.Timer(limit_s, _end, (process.pid,))
        alarm.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _end(process.pid)
            os.wait4(process.pid, 0)
            raise
        finally:
            alarm.cancel()
            # wait4 has taken the status that Popen would wait for.
            process.returncode = 0
        seconds = time.monotonic() - began
        lines = _text(errors).strip().splitlines()
        return Ended(
            code=os.waitstatus_to_exitcode(status),
            seconds=seconds,
            peak_mb=_bytes(usage.ru_maxrss) * 1e-6,
            output=_text(output),
            last_line=lines[-1].strip() if lines else "",
            timed_out=seconds >= limit_s,
        )


def _end(group: int) -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        time.sleep(GRACE_S)
        os.killpg(group, signal.SIGKILL)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _bytes(maxrss: int) -> int:
    return maxrss if sys.platform == "darwin" else maxrss * 1024
