"""The last seconds of a run, in memory that outlives the process.

Records lie in small files on a file system in memory, the oldest of which are removed. When the
process is killed, or a driver takes it down, they stay: the next run finds them and the lock free.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import struct
import tempfile
import threading
import time
import zlib
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARED_MEMORY = Path("/dev/shm")
KEPT_VARIABLE = "HYPERSEG_MEMORY"
"""Names a folder in memory for spools. The unit of a service whose account exists only meanwhile
sets it: systemd empties the shared memory of such an account between two starts."""
FRAME = struct.Struct("<II")
"""Length and CRC-32 of a record."""
SEGMENTS = 16
"""Into how many files the ring is cut: that is how exactly its length is kept."""
PLACES = 16
"""Spools of one name: runs that write their black boxes to the same folder at once."""


@dataclass
class _Segment:
    path: Path
    began_ns: int
    last_ns: int
    size: int = 0


class Spool:
    """A ring of records. `append` from one thread, `records` from another.

    Args:
        folder: empty, of its own, and claimed (`claim`).
        seconds: a record is dropped when it is older, to one part in `SEGMENTS`.
        max_bytes: records are dropped earlier rather than to exceed this, or half of what is free
            where the folder lies when the ring begins.
        clock: CLOCK_MONOTONIC nanoseconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float,
        max_bytes: int,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._folder = folder
        self._length_ns = round(seconds * 1e9)
        disk = os.statvfs(folder)
        self._max_bytes = min(max_bytes, disk.f_bavail * disk.f_frsize // 2)
        self._clock = clock
        self._segments: deque[_Segment] = deque()
        self._descriptor = -1
        self._bytes = 0
        self._made = 0
        self._lock = threading.Lock()

    def append(self, record: bytes) -> None:
        """Add the newest record, and drop the oldest.

        Raises:
            OSError: there is no memory left, not even without older records.
        """
        data = FRAME.pack(len(record), zlib.crc32(record)) + record
        with self._lock:
            now_ns = self._clock()
            self._drop(now_ns, room=len(data))
            while True:
                try:
                    self._write(data, now_ns)
                    return
                except OSError:
                    if len(self._segments) < 2:
                        raise
                    self._drop_oldest()

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self._bytes

    def records(self) -> Iterator[bytes]:
        """All records as of the first `next`, oldest first, while new ones are added."""
        with self._lock:
            files = [(segment.path.open("rb"), segment.size) for segment in self._segments]
        for file, size in files:
            with file:
                yield from read_segment(file.read(size))

    def close(self) -> None:
        """Let go of the files without removing them."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, data: bytes, now_ns: int) -> None:
        current = self._segments[-1] if self._segments else None
        if (
            current is None
            or self._descriptor < 0
            or now_ns - current.began_ns >= self._length_ns / SEGMENTS
            or current.size + len(data) > self._max_bytes / SEGMENTS
        ):
            current = self._begin(now_ns)
        try:
            written = os.write(self._descriptor, data)
            if written < len(data):
                raise OSError("no memory for a record")
        except OSError:
            # Half a record would hide those behind it.
            os.ftruncate(self._descriptor, current.size)
            raise
        current.size += written
        current.last_ns = now_ns
        self._bytes += written

    def _begin(self, now_ns: int) -> _Segment:
        self.close()
        path = self._folder / f"{self._made:08d}.seg"
        self._made += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        segment = _Segment(path, now_ns, now_ns)
        self._segments.append(segment)
        return segment

    def _drop(self, now_ns: int, room: int) -> None:
        while len(self._segments) > 1 and (
            self._bytes + room > self._max_bytes
            or now_ns - self._segments[0].last_ns > self._length_ns
        ):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        segment = self._segments.popleft()
        self._bytes -= segment.size
        segment.path.unlink(missing_ok=True)


def read_segment(data: bytes) -> Iterator[bytes]:
    """The whole records of a segment; a killed writer may have left half a one."""
    start = 0
    while start + FRAME.size <= len(data):
        length, crc = FRAME.unpack_from(data, start)
        record = data[start + FRAME.size : start + FRAME.size + length]
        if len(record) < length or zlib.crc32(record) != crc:
            return
        yield record
        start += FRAME.size + length


def read_left_behind(folder: Path) -> Iterator[bytes]:
    """All records in the spool of a run that was killed, oldest first."""
    for path in sorted(folder.glob("*.seg")):
        yield from read_segment(path.read_bytes())


@dataclass
class Place:
    """A folder for one spool, locked for this process until `leave`."""

    folder: Path
    descriptor: int

    def is_left_behind(self) -> bool:
        """Whether a run that was killed has records here."""
        return any(self.folder.glob("*.seg"))

    def last_ns(self) -> int:
        """When the newest record was written, nanoseconds since the epoch."""
        return max(path.stat().st_mtime_ns for path in self.folder.glob("*.seg"))

    def empty(self) -> None:
        """Remove what lies there."""
        for path in self.folder.iterdir():
            if path.name != "lock":
                path.unlink()

    def leave(self) -> None:
        """Remove the folder and let go of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.descriptor)


def claim(target: Path, root: Path | None = None) -> list[Place]:
    """Lock the places of runs that were killed while they wrote boxes to `target`, and a free one.

    Args:
        target: the folder of the boxes.
        root: where spools lie; None takes the folder that `KEPT_VARIABLE` names, else shared
            memory, or the folder for temporary files.

    Returns:
        Places, of which the last is for the caller once it is empty, and the others to be left.

    Raises:
        OSError: no place can be made.
    """
    if root is None:
        root = _memory()
    name = hashlib.sha256(os.path.realpath(target).encode()).hexdigest()[:12]
    places: list[Place] = []
    for number in range(PLACES):
        place = _lock(root / f"hyperseg-blackbox-{os.getuid()}-{name}-{number}")
        if place is None:
            continue
        places.append(place)
        if not place.is_left_behind():
            break
    if not places:
        raise OSError(errno.EBUSY, f"{PLACES} runs write there already")
    return places


def _memory() -> Path:
    """The folder of spools, in memory where there is one."""
    for folder in filter(None, (os.environ.get(KEPT_VARIABLE), str(SHARED_MEMORY))):
        if os.access(folder, os.W_OK | os.X_OK):
            return Path(folder)
    return Path(tempfile.gettempdir())


def _lock(folder: Path) -> Place | None:
    """The folder, locked; None if another run has it, or another user has made it."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return None
        descriptor = os.open(folder / "lock", flags, 0o600)
    except FileNotFoundError:  # it is being left
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if os.fstat(descriptor).st_nlink == 0:  # it was left in between
        os.close(descriptor)
        return None
    return Place(folder, descriptor)
