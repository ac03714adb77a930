"""The sink ``shm:NAME``: masks and their stamps in shared memory, for any number of local readers.

What lies in the memory and how it is read: `edge_runtime.shm_reader`. Readers only look: none of
them, however slow or dead, can delay the run.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import secrets
import time
import zlib
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import SinkError
from edge_runtime.result import FrameMasks
from edge_runtime.shm_reader import (
    CLOSED_ENDED,
    CLOSED_MOVED,
    HEADER,
    LABELS_AT,
    MAGIC,
    MASK_AT,
    NO_TIME,
    SLOT,
    SLOT_AT,
    STATES,
    TEXT_AT,
    VERSION,
    WORDS_AT,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.labels import LabelSet
    from edge_runtime.result import Result
    from edge_runtime.sinks.spec import SinkContext, SinkSpec

SLOTS = 4
"""How many frames a reader has to copy one."""
PAGE = 4096
BUSY_S = 0.5
"""A reader that looks whether a writer lives holds the lock for a moment."""


class MaskMemory:
    """Writes each mask, at the size of its frame, into a ring in shared memory.

    Args:
        label: as the user named the sink.
        path: the file. What a killed run left there is taken over; it is removed at the end.
        labels: names and palette of the classes.
        mask_size: (height, width) to make room for at first; larger frames get a larger memory.
    """

    def __init__(
        self, label: str, path: Path, labels: LabelSet, mask_size: tuple[int, int]
    ) -> None:
        self.label = label
        self._path = path
        self._labels = labels
        self._mask_bytes = mask_size[0] * mask_size[1]
        self._run = secrets.randbits(63)
        self._published = 0
        self._memory: _Ring | None = None
        self._masks = FrameMasks()

    def open(self) -> None:
        """Make the memory.

        Raises:
            SinkError: another run writes there, there is no room, or the folder is missing.
        """
        try:
            self._replace()
        except BlockingIOError:
            raise SinkError(
                f"{self._path} is written by another run; give this one another shm:NAME"
            ) from None
        except OSError as error:
            raise SinkError(
                f"cannot make the shared memory {self._path}: {error.strerror}; choose another "
                "shm:NAME, or give the machine more shared memory (df /dev/shm)"
            ) from error

    def consume(self, result: Result) -> None:
        """Publish one result."""
        mask = self._masks.of(result)
        if mask is not None and mask.size > self._mask_bytes:
            self._mask_bytes = mask.size
            self._replace()
        assert self._memory is not None
        self._published += 1
        self._memory.write(self._published, result, mask)

    def close(self) -> None:
        """Tell the readers that the run has ended, and remove the memory's name."""
        self.discard()

    def discard(self) -> None:
        """As `close`: nothing is ever half written."""
        if self._memory is not None:
            self._path.unlink(missing_ok=True)
            self._memory.close(CLOSED_ENDED)
            self._memory = None

    def _replace(self) -> None:
        """Put a memory of the right size under the name.

        A new file each time: readers may have mapped the old one, and would crash if it shrank.
        """
        before = self._memory
        claim = _claim(self._path) if before is None else None
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        try:
            self._memory = _Ring(part, self._labels, self._mask_bytes, self._run, self._published)
            part.replace(self._path)
        except OSError:
            part.unlink(missing_ok=True)
            if claim is not None and os.fstat(claim).st_size == 0:
                self._path.unlink()
            raise
        finally:
            if claim is not None:
                os.close(claim)
        if before is not None:
            before.close(CLOSED_MOVED)


class _Ring:
    """A new file with its lock, mapped."""

    def __init__(
        self, path: Path, labels: LabelSet, mask_bytes: int, run: int, published: int
    ) -> None:
        text = json.dumps(
            {"name": labels.name, "names": labels.names, "palette": labels.palette}
        ).encode()
        self._start = _pages(LABELS_AT + len(text))
        self._stride = _pages(MASK_AT + mask_bytes)
        size = self._start + SLOTS * self._stride
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Reserved now: a write into memory that is not there would kill the process.
            os.posix_fallocate(self._descriptor, 0, size)
            self._data = mmap.mmap(self._descriptor, size)
        except OSError:
            os.close(self._descriptor)
            raise
        HEADER.pack_into(
            self._data, 0, MAGIC, VERSION, SLOTS, self._start, self._stride, labels.ignore_index,
            len(text), run, os.getpid(),
        )  # fmt: skip
        self._data[LABELS_AT : LABELS_AT + len(text)] = text
        # Single stores of eight bytes each, which `struct` does not promise.
        self._words = np.frombuffer(self._data, np.uint64, count=2, offset=WORDS_AT)
        self._words[0] = published

    def write(self, number: int, result: Result, mask: NDArray[np.uint8] | None) -> None:
        """Publish a result; `mask` is (height, width) uint8 and fits."""
        start = self._start + (number - 1) % SLOTS * self._stride
        marks = np.frombuffer(self._data, np.uint64, count=2, offset=start)
        marks[0] = number
        height, width = (0, 0) if mask is None else mask.shape
        pixels = np.ndarray((height, width), np.uint8, self._data, start + MASK_AT)
        if mask is not None:
            np.copyto(pixels, mask)
        text = (result.reason or "").encode()[: MASK_AT - TEXT_AT]
        SLOT.pack_into(
            self._data, start + SLOT_AT,
            result.index,
            NO_TIME if result.pts_ns is None else result.pts_ns,
            result.capture_ns,
            result.stamps.publish if result.stamps is not None else 0,
            height, width, zlib.crc32(pixels.data), STATES.index(result.state), result.late,
            len(text),
            result.timestamp_source.encode(),
        )  # fmt: skip
        self._data[start + TEXT_AT : start + TEXT_AT + len(text)] = text
        marks[1] = number
        self._words[0] = number

    def close(self, reason: int) -> None:
        """Tell the readers why, and let go."""
        self._words[1] = reason
        del self._words
        self._data.close()
        os.close(self._descriptor)


def shm(spec: SinkSpec, context: SinkContext) -> MaskMemory:
    """The sink ``shm:NAME``."""
    assert spec.path is not None
    return MaskMemory(spec.text, spec.path, context.labels, context.mask_size)


def _claim(path: Path) -> int:
    """A descriptor that holds the lock of whatever lies at `path`, so that no other run takes it.

    Raises:
        BlockingIOError: a living run holds it.
        OSError: it cannot be opened, or is no memory of ours, which is not replaced.
    """
    give_up = time.monotonic() + BUSY_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                if os.pread(descriptor, len(MAGIC), 0) in (b"", MAGIC):
                    return descriptor
                os.close(descriptor)
                raise FileExistsError(errno.EEXIST, "a file of another kind lies there")
        except FileNotFoundError:
            pass
        except BlockingIOError:
            if time.monotonic() >= give_up:
                os.close(descriptor)
                raise
        os.close(descriptor)
        time.sleep(0.01)


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
