"""The status file of a run, and what a health check reads from it."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from edge_runtime.errors import OptionError

State = Literal["starting", "running", "reloading", "stopping"]


class CameraStatus(msgspec.Struct, frozen=True):
    """How one camera is doing."""

    name: str
    signal: str
    """``up``, ``stalled``, ``reconnecting`` and so on."""
    fps: float
    age_s: float | None
    """From the capture of its last published mask to `Status.written_ns`; null before the first."""


class Status(msgspec.Struct, frozen=True):
    """How a run is doing. Written about once a second."""

    state: State
    pid: int
    model: str
    """Start of the sha256 of the model that serves."""
    published: int
    """Masks so far, of all cameras."""
    written_ns: int
    """CLOCK_MONOTONIC."""
    cameras: tuple[CameraStatus, ...]


def write_status(path: Path, status: Status) -> None:
    """Replace the file. What cannot be written is left: the check sees an old file then."""
    part = path.with_name(path.name + ".part")
    with suppress(OSError):
        part.write_bytes(msgspec.json.encode(status) + b"\n")
        part.replace(path)


def read_status(path: Path) -> Status:
    """The newest status.

    Raises:
        OptionError: there is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except OSError as error:
        raise OptionError(
            f"no status at {path}: {error.strerror}; start the run with --status {path}"
        ) from error
    except msgspec.MsgspecError as error:
        raise OptionError(f"{path} is no status file of a run: {error}") from error


def illness(status: Status, max_age_s: float, now_ns: int | None = None) -> str | None:
    """Why a run is not healthy, or None if it is.

    Healthy is a run whose last published mask, of whichever camera, is young enough now. One that
    hangs, was killed or has lost all cameras is not.

    Args:
        status: as last written.
        max_age_s: greatest age of the mask, from the capture of its frame.
        now_ns: CLOCK_MONOTONIC; None asks the clock.
    """
    now_ns = time.monotonic_ns() if now_ns is None else now_ns
    since_s = (now_ns - status.written_ns) * 1e-9
    if since_s < 0:
        return "its status is from before the machine was started"
    ages = [camera.age_s for camera in status.cameras if camera.age_s is not None]
    if not ages:
        return f"no mask yet ({status.state})"
    age_s = min(ages) + since_s
    if age_s > max_age_s:
        return f"the last mask is {age_s:.1f} s old, more than {max_age_s:g} s ({status.state})"
    return None
