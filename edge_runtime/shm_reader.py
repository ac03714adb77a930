"""Read masks from shared memory: ``MaskReader("front")`` beside ``hyperseg run --sink shm:front``.

This one file needs numpy alone and may be copied to where nothing else of the project is. It also
says what lies in the memory. All numbers are little-endian, all times CLOCK_MONOTONIC nanoseconds.

    header  HEADER, then at 64 two u64 words: `published` (results so far), `closed` (see CLOSED_*);
            from LABELS_AT on JSON of `labels_bytes`: {"name", "names", "palette" (RGB)}
    slots   from `header_bytes` on, each `slot_bytes`: u64 `begin`, u64 `end`, SLOT, text, and from
            MASK_AT on height * width bytes of train ids, row by row, at the size of the frame

Result n, counted from 1, lies in slot (n - 1) % slots. Its writer sets `begin` to n, fills the
slot, sets `end` to n, and `published` last. What was read is whole if both are n and the CRC-32
fits; it is wrong only for a reader that a few frames have overtaken, which then takes the newest.
The writer holds an exclusive flock on the file as long as it lives; readers delay nobody.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Self

SHARED_MEMORY = Path("/dev/shm")
"""Where a name without a folder lies."""
MAGIC = b"HYPERSEG"
VERSION = 1
HEADER = struct.Struct("<8sIIIIIIQQ")
"""magic, version, slots, header_bytes, slot_bytes, ignore_index, labels_bytes, run, its pid."""
WORDS_AT, LABELS_AT = 64, 128
CLOSED_ENDED, CLOSED_MOVED = 1, 2
"""The run has ended; or a larger memory under the same name took the place of this one."""
SLOT = struct.Struct("<qqqqIIIBBH16s")
"""index, pts_ns (NO_TIME: none), capture_ns, publish_ns (0: not known), height, width (0: no mask),
CRC-32 of the mask, state (of STATES), late, bytes of text, clock. The text says why there is no
signal."""
SLOT_AT, TEXT_AT, MASK_AT = 16, 96, 256
State = Literal["ok", "stale", "no-signal"]
STATES: tuple[State, ...] = ("ok", "stale", "no-signal")
NO_TIME = -(2**63)
POLL_S = 0.001
"""Between two looks while nothing is new: that much later a mask is seen."""
ASK_S = 0.02
"""Between two questions whether the writer lives."""


@dataclass(frozen=True)
class SharedMask:
    """What a reader gets. There is a mask in state ``ok`` alone, and never the same one twice."""

    state: State
    """``stale``: too old to be used. ``no-signal``: the camera or the run is silent."""
    reason: str | None = None
    """Why there is no signal."""
    mask: NDArray[np.uint8] | None = None
    """(height, width) uint8 train ids at the size of the frame; yours to keep."""
    index: int = -1
    """Number of the frame at its source."""
    pts_ns: int | None = None
    capture_ns: int = 0
    publish_ns: int | None = None
    timestamp_source: str = ""
    """Which clock `capture_ns` comes from: sensor, driver, ntp, arrival or file."""
    late: bool = False
    """Complete only after the deadline."""
    skipped: int = 0
    """Results that were published since the one before and not read."""

    def age_ms(self) -> float:
        """Milliseconds since the frame was captured."""
        return (time.monotonic_ns() - self.capture_ns) * 1e-6


class MaskReader:
    """Takes the newest mask of a run on this machine. A context manager; for one thread.

    It may start before the run, outlive it and meet the next one.

    Args:
        name: as in ``--sink shm:NAME``; one without a slash lies in ``/dev/shm``.
        max_age_ms: a mask of an older frame is not given, but reported as ``stale``.
    """

    def __init__(self, name: str | Path, max_age_ms: float | None = None) -> None:
        self.path = shared_path(str(name))
        self._max_age_ms = max_age_ms
        self._memory: _Memory | None = None
        self._run = 0
        self._last = 0
        self._ask_again = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def read(self, timeout_s: float = 1.0) -> SharedMask:
        """The newest result that was not read yet.

        Waits for one. A result from before the first `read` of a run is not given: nobody knows
        how long it has been lying there.

        Args:
            timeout_s: after so long without any the answer is ``no-signal``.

        Raises:
            ValueError: the file is of another kind or version.
        """
        give_up = time.monotonic() + timeout_s
        while True:
            found = self._look()
            if found is not None:
                return found
            if time.monotonic() >= give_up:
                return SharedMask("no-signal", self._why_silent(timeout_s))
            time.sleep(POLL_S)

    @property
    def labels(self) -> dict[str, Any] | None:
        """Name, names and palette (RGB) of the classes; None before a run was met."""
        return None if self._memory is None else self._memory.labels()

    def close(self) -> None:
        """Let go of the memory."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def _look(self) -> SharedMask | None:
        memory = self._memory or self._attach()
        if memory is None:
            return None
        newest = memory.published
        found = memory.take(newest) if newest != self._last else None
        if memory.closed == CLOSED_MOVED:
            self.close()
            if found is None:
                return self._look()
        elif memory.closed or not self._is_alive(memory, always=found is not None):
            # Asked after the copy: what a dead writer left behind is old, however new it is to
            # this reader.
            reason = "the run has ended" if memory.closed else "the run was killed"
            self.close()
            return SharedMask("no-signal", reason)
        if found is None:
            return None
        found = self._judged(found, skipped=newest - self._last - 1)
        self._last = newest
        return found

    def _attach(self) -> _Memory | None:
        memory = _Memory.open(self.path)
        if memory is None:
            return None
        if memory.closed or not memory.is_written():
            memory.close()
            return None
        if memory.run != self._run:
            self._run, self._last = memory.run, memory.published
        self._memory = memory
        return memory

    def _is_alive(self, memory: _Memory, *, always: bool) -> bool:
        """Whether the writer lives; not asked each time that there is nothing new."""
        now = time.monotonic()
        if not always and now < self._ask_again:
            return True
        self._ask_again = now + ASK_S
        return memory.is_written()

    def _judged(self, found: SharedMask, skipped: int) -> SharedMask:
        too_old = self._max_age_ms is not None and found.age_ms() > self._max_age_ms
        if found.mask is not None and too_old:
            found = replace(found, state="stale", mask=None)
        return replace(found, skipped=skipped)

    def _why_silent(self, timeout_s: float) -> str:
        if self._memory is None:
            return f"no run writes to {self.path}"
        return f"the run has published nothing for {timeout_s:g} s"


class _Memory:
    """One mapped file."""

    def __init__(self, descriptor: int, data: mmap.mmap) -> None:
        fields = HEADER.unpack_from(data)
        magic, version, self._slots, self._header_bytes, self._slot_bytes = fields[:5]
        if magic != MAGIC or version != VERSION:
            raise ValueError(f"expected {MAGIC!r} version {VERSION}, got {magic!r} {version}")
        self._labels_bytes, self.run = fields[6:8]
        self._descriptor = descriptor
        self._data = data
        self._words = np.frombuffer(data, np.uint64, count=2, offset=WORDS_AT)

    @staticmethod
    def open(path: Path) -> _Memory | None:
        """The file at `path`; None without one.

        Raises:
            ValueError: it is of another kind or version.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            size = os.fstat(descriptor).st_size
            if size == 0:  # a run is about to begin
                os.close(descriptor)
                return None
            if size < LABELS_AT:
                raise ValueError("it is too short")
            return _Memory(descriptor, mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))
        except ValueError as error:
            os.close(descriptor)
            raise ValueError(f"{path} is not a mask memory of this version: {error}") from None

    @property
    def published(self) -> int:
        return int(self._words[0])

    @property
    def closed(self) -> int:
        return int(self._words[1])

    def is_written(self) -> bool:
        """Whether its writer lives, killed ones included: the kernel drops their locks."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    def labels(self) -> dict[str, Any]:
        labels: dict[str, Any] = json.loads(self._data[LABELS_AT : LABELS_AT + self._labels_bytes])
        return labels

    def take(self, number: int) -> SharedMask | None:
        """A copy of result `number`; None if it was overwritten meanwhile."""
        start = self._header_bytes + (number - 1) % self._slots * self._slot_bytes
        head = self._data[start : start + MASK_AT]
        index, pts, capture, publish, height, width, crc, state, late, text, clock = (
            SLOT.unpack_from(head, SLOT_AT)
        )
        if height * width > self._slot_bytes - MASK_AT or state >= len(STATES):
            return None
        pixels = self._data[start + MASK_AT : start + MASK_AT + height * width]
        marks = struct.unpack_from("<QQ", head), struct.unpack_from("<QQ", self._data, start)
        if marks != ((number, number),) * 2 or zlib.crc32(pixels) != crc:
            return None
        mask = np.frombuffer(bytearray(pixels), np.uint8).reshape(height, width)
        return SharedMask(
            state=STATES[state],
            reason=head[TEXT_AT : TEXT_AT + text].decode(errors="replace") if text else None,
            mask=mask if height else None,
            index=index,
            pts_ns=None if pts == NO_TIME else pts,
            capture_ns=capture,
            publish_ns=publish or None,
            timestamp_source=clock.rstrip(b"\0").decode(),
            late=bool(late),
        )

    def close(self) -> None:
        del self._words
        with suppress(BufferError):
            self._data.close()
        os.close(self._descriptor)


def shared_path(name: str) -> Path:
    """Where the memory `name` lies; one without a slash is a file of ``/dev/shm``."""
    return Path(name) if "/" in name else SHARED_MEMORY / name
