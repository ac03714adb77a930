"""The files of a black box: written aside, whole when they appear, and never too many.

They are numbered in the order of their writing, by which the oldest are removed. Neither their time
nor that of the file system would do: on a board without a battery the clock begins in the past each
time, and the boxes of the run that is being looked into would be the first to go.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.sinks.recording.entry import Entry
from edge_runtime.sinks.recording.writer import McapFile, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PREFIX = "blackbox-"
MAX_SLUG = 40
NUMBER = re.compile(rf"{PREFIX}(\d+)-")


@dataclass(frozen=True)
class BoxFiles:
    """The folder of boxes and its limits."""

    folder: Path
    part: str
    """Name of the file that is being written; nobody else uses it."""
    keep: int
    """Files."""
    keep_bytes: int
    """Size of all files together."""

    def write(
        self,
        records: Iterable[bytes],
        size: int,
        about: Mapping[str, Mapping[str, str]],
        reasons: Iterable[str],
        time_ns: int,
    ) -> Path | None:
        """Write a box; None if there are no records.

        Args:
            records: msgpack of `Entry`, oldest first.
            size: of all of them, about, bytes; so much is made room for.
            about: facts about the run.
            reasons: the events.
            time_ns: of the first event, since the epoch.

        Raises:
            OSError: it cannot be written; nothing of it is left.
        """
        number = max(map(_number, self._boxes()), default=0) + 1
        while (path := self.folder / _name(number, time_ns, reasons)).exists():
            number += 1  # of another run that saw the same
        part = self.folder / self.part
        self.make_room(size)
        count, first_ns, last_ns = 0, 0, 0
        decoder = msgspec.msgpack.Decoder(Entry)
        try:
            file = McapFile(part, about)
            try:
                for entry in map(decoder.decode, records):
                    file.add(entry)
                    count, last_ns = count + 1, entry.time_ns
                    first_ns = first_ns or entry.time_ns
                file.add_metadata(
                    "event",
                    {
                        "reasons": "; ".join(reasons),
                        "time_ns": str(time_ns),
                        "results": str(count),
                        "seconds": f"{(last_ns - first_ns) * 1e-9:.3f}",
                    },
                )
                file.finish()
            finally:
                file.close()
            if count:
                part.replace(path)
                sync_folder(self.folder)
        finally:
            part.unlink(missing_ok=True)
        return path if count else None

    def make_room(self, size: int) -> None:
        """Remove the oldest boxes until one of `size` bytes may be added."""
        boxes = sorted(self._boxes(), key=lambda box: (_number(box), box.name))
        sizes = [box.stat().st_size for box in boxes]
        while boxes and (len(boxes) >= self.keep or sum(sizes) + size > self.keep_bytes):
            boxes.pop(0).unlink(missing_ok=True)
            sizes.pop(0)

    def _boxes(self) -> list[Path]:
        return list(self.folder.glob(f"{PREFIX}*.mcap"))

    def is_writable(self) -> bool:
        """Whether boxes can be added."""
        return os.access(self.folder, os.W_OK | os.X_OK)


def _number(box: Path) -> int:
    """Its place in the order of writing; 0 for one that was named before boxes had numbers."""
    found = NUMBER.match(box.name)
    return int(found[1]) if found else 0


def _name(number: int, time_ns: int, reasons: Iterable[str]) -> str:
    """Sorts by the order of writing; says when and why."""
    moment = datetime.fromtimestamp(time_ns // 10**9, timezone.utc)
    slug = re.sub(r"[^a-z0-9]+", "-", next(iter(reasons)).lower()).strip("-")[:MAX_SLUG]
    milliseconds = time_ns // 10**6 % 1000
    return f"{PREFIX}{number:06d}-{moment:%Y%m%dT%H%M%S}.{milliseconds:03d}Z-{slug}.mcap"
