"""Running ``hyperseg`` as its user does, in a process of its own, within the time that is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.account import OutOfTimeError
from edge_runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.gpu.account import Account

MOST_LINES = 12
PROGRAM = (sys.executable, "-m", "edge_runtime.cli")
_GRACE_S = 20.0
"""For a state to be saved after SIGTERM."""


def call(
    account: Account, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> str:
    """Run a program to its end; what it prints.

    Raises:
        OutOfTimeError: the item's time was over first; the program was asked to end.
        BackendError: it failed, with its last lines.
    """
    process = subprocess.Popen(
        list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **(environment or {})}, start_new_session=True,
    )  # fmt: skip
    try:
        told, _ = process.communicate(timeout=max(account.seconds_left, 1))
    except subprocess.TimeoutExpired:
        raise OutOfTimeError from None
    finally:
        _end(process)
    if process.returncode:
        lines = told.strip().splitlines()
        own = [line for line in lines if line.lower().startswith("error")]
        last = "; ".join(own or lines[-MOST_LINES:])
        raise BackendError(f"{' '.join(command[:6])} ... exit {process.returncode}: {last}")
    return told


def hyperseg(account: Account, *arguments: str) -> str:
    """Run one verb; see `call`."""
    return call(account, [*PROGRAM, *arguments])


def _end(process: subprocess.Popen[str]) -> None:
    """No process of it is left; a training saves its state first."""
    for number, patience in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    """The log records of one kind of a training run, oldest first."""
    path = run / "log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = []
    for line in lines:
        with suppress(ValueError):  # a line that a kill cut short
            record = json.loads(line)
            if record.get("kind") == kind:
                found.append(record)
    return found


def small_street(folder: Path) -> str:
    """A data set of a few drawn streets, for dry runs."""
    from edge_runtime.street import write_dataset

    write_dataset(folder, seeds=range(4), frames_per_seed=2, size=(64, 128))
    return f"folder:{folder}"


DRY_TRAINING = ("--preset", "street-n", "--batch", "2", "--crop", "64x64", "--log-every", "1",
                "--threads", "1", "--device", "cpu")  # fmt: skip
"""Training options of dry runs."""
