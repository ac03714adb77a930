"""The files of a black box: written aside, whole when they appear, and never too many."""

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
        moment_ns = time_ns
        while (path := self.folder / _name(moment_ns, reasons)).exists():
            moment_ns += 1_000_000  # of another run that saw the same
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
        boxes = sorted(self.folder.glob(f"{PREFIX}*.mcap"))
        sizes = [box.stat().st_size for box in boxes]
        while boxes and (len(boxes) >= self.keep or sum(sizes) + size > self.keep_bytes):
            boxes.pop(0).unlink(missing_ok=True)
            sizes.pop(0)

    def is_writable(self) -> bool:
        """Whether boxes can be added."""
        return os.access(self.folder, os.W_OK | os.X_OK)


def _name(time_ns: int, reasons: Iterable[str]) -> str:
    """Sorts by time; says why."""
    moment = datetime.fromtimestamp(time_ns // 10**9, timezone.utc)
    slug = re.sub(r"[^a-z0-9]+", "-", next(iter(reasons)).lower()).strip("-")[:MAX_SLUG]
    milliseconds = time_ns // 10**6 % 1000
    return f"{PREFIX}{moment:%Y%m%dT%H%M%S}.{milliseconds:03d}Z-{slug}.mcap"
