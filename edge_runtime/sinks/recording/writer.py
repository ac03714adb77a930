"""MCAP files that can be played whenever the writing stops: chunk by chunk, each one synced.

A chunk is handed to the kernel in one piece and synced, so that a killed process leaves all chunks
but the one it was filling, and a power cut too. Where a write fails, as on a full disk, the file is
cut back to its last whole chunk.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, cast

from mcap.writer import CompressionType, Writer

from edge_runtime import __version__
from edge_runtime.sinks.recording.schemas import (
    IMAGE,
    RESULT,
    compressed_image,
    image_schema,
    result_schema,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_runtime.sinks.recording.entry import Entry

IMAGES, MASKS, RESULTS = "/camera/image", "/segmentation/mask", "/segmentation/result"
TELEMETRY = "/machine/telemetry"
"""Topics."""
CHUNK_S = 1.0
CHUNK_BYTES = 2 * 1024 * 1024
"""A chunk is complete after so long, or as soon as it is so large."""
LIBRARY = f"hyperseg-edge {__version__}"


class WholeStream:
    """A new file that grows by whole pieces only.

    Args:
        path: replaced if it exists.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        self._waiting = bytearray()
        self._written = 0

    @property
    def waiting(self) -> int:
        """Bytes that are not in the file yet."""
        return len(self._waiting)

    def write(self, data: bytes) -> int:
        """Add to the piece."""
        self._waiting += data
        return len(data)

    def tell(self) -> int:
        """Length with the piece."""
        return self._written + len(self._waiting)

    def flush(self) -> None:
        """Write and sync the piece.

        Raises:
            OSError: the disk is full or gone; the file then ends before this piece.
        """
        view = memoryview(bytes(self._waiting))
        self._waiting.clear()
        done = 0
        try:
            while done < len(view):
                done += os.write(self._descriptor, view[done:])
            os.fdatasync(self._descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._written)
            raise
        self._written += done

    def close(self) -> None:
        """Forget what was not flushed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class McapFile:
    """A recording of entries, playable up to the last chunk at any moment.

    Args:
        path: the file; replaced if it exists.
        about: facts about the run, by topic of the fact, each a table of texts.
        clock: CLOCK_MONOTONIC nanoseconds.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Mapping[str, str]],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._clock = clock
        self._stream = WholeStream(path)
        try:
            self._writer = start_writer(self._stream)
            for name, facts in about.items():
                self._writer.add_metadata(name, dict(facts))
            self._stream.flush()
            sync_folder(path.parent)
        except OSError:
            self._stream.close()
            path.unlink(missing_ok=True)
            raise
        image = self._writer.register_schema(IMAGE, "protobuf", image_schema())
        result = self._writer.register_schema(RESULT, "jsonschema", result_schema())
        self._images = self._writer.register_channel(IMAGES, "protobuf", image)
        self._masks = self._writer.register_channel(MASKS, "protobuf", image)
        self._results = self._writer.register_channel(RESULTS, "json", result)
        self._telemetry = self._writer.register_channel(TELEMETRY, "json", 0)
        self._chunk_began_ns = clock()

    def add(self, entry: Entry) -> None:
        """Add a result.

        Raises:
            OSError: the disk is full or gone; the file is whole up to there. Only `close` it.
        """
        for channel, data, encoding in (
            (self._images, entry.jpeg, "jpeg"),
            (self._masks, entry.png, "png"),
        ):
            if data is not None:
                self._add(channel, entry, compressed_image(entry.time_ns, data, encoding))
        self._add(self._results, entry, entry.record)
        if entry.telemetry is not None:
            self._add(self._telemetry, entry, entry.telemetry)
        if self._stream.waiting or self._clock() - self._chunk_began_ns >= CHUNK_S * 1e9:
            self._writer.flush()
            self._chunk_began_ns = self._clock()

    def add_metadata(self, name: str, facts: Mapping[str, str]) -> None:
        """Add facts that became known meanwhile; they are in the file with the next chunk."""
        self._writer.add_metadata(name, dict(facts))

    def finish(self) -> None:
        """Complete the file with its index, and close it.

        Raises:
            OSError: the disk is full or gone; the file is whole up to the last chunk.
        """
        try:
            self._writer.flush()
            self._writer.finish()
            self._stream.flush()
        finally:
            self._stream.close()

    def close(self) -> None:
        """Leave the file as it is, without its index."""
        self._stream.close()

    def _add(self, channel: int, entry: Entry, data: bytes) -> None:
        self._writer.add_message(
            channel, entry.time_ns, data, publish_time=entry.time_ns, sequence=entry.index
        )


def start_writer(stream: WholeStream) -> Writer:
    """A writer that has begun its file.

    Pictures are compressed as they come, so chunks are not.
    """
    # The library takes any object that can write, tell and flush, but asks for more in its types.
    writer = Writer(
        cast(IO[bytes], stream), chunk_size=CHUNK_BYTES, compression=CompressionType.NONE
    )
    writer.start(library=LIBRARY)
    return writer


def sync_folder(folder: Path) -> None:
    """Let names that were given in a folder outlast a power cut.

    Raises:
        OSError: it cannot be synced.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
