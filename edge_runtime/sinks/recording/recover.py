"""Recordings whose writer was killed: how to tell, and how to give them the index they lack."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from mcap.exceptions import EndOfFile, InvalidMagic, McapError
from mcap.records import Channel, McapRecord, Message, Metadata, Schema
from mcap.stream_reader import CRCValidationError, StreamReader

from edge_runtime.errors import SinkError
from edge_runtime.sinks.recording.writer import WholeStream, start_writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcap.writer import Writer

MAGIC = b"\x89MCAP0\r\n"


def is_cut_off(path: Path) -> bool:
    """Whether `path` is an MCAP file whose writer never came to its end."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return False
            file.seek(-len(MAGIC), os.SEEK_END)
            return file.tell() < len(MAGIC) or file.read() != MAGIC
    except OSError:
        return False


def recover(source: Path, target: Path) -> int:
    """Write all whole chunks of a recording that was cut off to `target`, with an index.

    Returns:
        Number of messages.

    Raises:
        SinkError: `source` is no MCAP file, or one of the two cannot be read or written.
    """
    try:
        with source.open("rb") as file:
            if (magic := file.read(len(MAGIC))) != MAGIC:
                raise InvalidMagic(magic)
            stream = WholeStream(target)
            copy = _Copy(start_writer(stream))
            try:
                reader = StreamReader(file, skip_magic=True, validate_crcs=True)
                for record in whole_records(reader):
                    copy.add(record)
                    if stream.waiting:
                        stream.flush()
                copy.writer.finish()
                stream.flush()
            except BaseException:
                target.unlink()
                raise
            finally:
                stream.close()
    except (OSError, McapError) as error:
        raise SinkError(f"cannot recover {source}: {error}") from error
    return copy.messages


def whole_records(reader: StreamReader) -> Iterator[McapRecord]:
    """All records up to where the file was cut off, or a chunk was damaged."""
    # The last two are what the library says of a file that ends within its closing mark.
    with suppress(EndOfFile, CRCValidationError, struct.error, InvalidMagic):
        yield from reader.records


class _Copy:
    """Writes records of one file into another, whose schemas and channels get new numbers."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.messages = 0
        self._schemas = {0: 0}
        self._channels: dict[int, int] = {}

    def add(self, record: McapRecord) -> None:
        if isinstance(record, Schema) and record.id not in self._schemas:
            self._schemas[record.id] = self.writer.register_schema(
                record.name, record.encoding, record.data
            )
        elif isinstance(record, Channel) and record.id not in self._channels:
            self._channels[record.id] = self.writer.register_channel(
                record.topic,
                record.message_encoding,
                self._schemas[record.schema_id],
                record.metadata,
            )
        elif isinstance(record, Metadata):
            self.writer.add_metadata(record.name, record.metadata)
        elif isinstance(record, Message):
            self.messages += 1
            self.writer.add_message(
                self._channels[record.channel_id],
                record.log_time,
                record.data,
                record.publish_time,
                record.sequence,
            )
