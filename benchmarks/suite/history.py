"""The history of all runs: a file of one JSON object a line, none of them ever half there."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from benchmarks.suite.figures import Figure
from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = "hyperseg-edge.benchmarks/1"


class KeptPart(msgspec.Struct, frozen=True):
    """What came of one part."""

    figures: dict[str, Figure] = {}


class Machine(msgspec.Struct, frozen=True):
    """Where figures were taken."""

    cpu: str = "unknown machine"


class Run(msgspec.Struct, frozen=True):
    """What is read of a line; what else stands there, a newer version may have written."""

    schema: Literal["hyperseg-edge.benchmarks/1"]
    date: str
    """As ISO 8601."""
    parts: dict[str, KeptPart]
    machine: Machine = Machine()
    mode: str = ""
    """``quick`` or ``full``."""
    commit: str | None = None
    changed: bool | None = None
    """Whether the code differed from the commit."""


@dataclass(frozen=True)
class History:
    """What a file holds."""

    runs: list[Run] = field(default_factory=list)
    """Oldest first."""
    damaged: list[str] = field(default_factory=list)
    """Lines that were left out: which, and why."""


def append(path: Path, run: dict[str, Any]) -> None:
    """Add one run: on the disk as a whole when this returns, or not at all.

    What a crash may have left at the end of the file stays a line of its own, for `read` to name.

    Args:
        path: the file; it and its folder are made if they do not exist.
        run: plain values.

    Raises:
        OptionError: the place cannot be written, or the disk is full.
    """
    line = json.dumps({"schema": SCHEMA, **run}, allow_nan=False).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            _append(handle, line)
        finally:
            os.close(handle)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror}; choose another --history") from (
            error
        )


def _append(handle: int, line: bytes) -> None:
    end = os.fstat(handle).st_size
    if end and os.pread(handle, 1, end - 1) != b"\n":
        line = b"\n" + line
    try:
        if os.write(handle, line) != len(line):
            raise OSError(0, "the disk took a part of the line only")
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, end)
        raise


def read(path: Path) -> History:
    """All whole lines of a history.

    Raises:
        OptionError: the file cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise OptionError(
            f"cannot read {path}: {error.strerror}; run `python -m benchmarks` first"
        ) from error
    history = History()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            history.runs.append(msgspec.json.decode(line, type=Run))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            history.damaged.append(f"{path}, line {number}: no run of {SCHEMA}, left out: {error}")
    return history
