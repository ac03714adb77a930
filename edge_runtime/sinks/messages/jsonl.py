"""Messages as lines of a file that is complete up to its last line at any moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.errors import SinkError
from edge_runtime.line_file import LineFile
from edge_runtime.places import why_unwritable
from edge_runtime.sinks.messages.message import Messenger, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.result import Result
    from edge_runtime.sinks.spec import SinkContext, SinkSpec


class JsonLines:
    """Writes one message a line, each with one system call, so that a killed run loses none.

    A full disk ends no run: lines that do not fit are left out as a whole and counted, and
    writing goes on as soon as there is room.

    Args:
        label: as the user named the sink.
        path: the file; an older one is replaced when the first message comes.
        messenger: makes the messages.
        say: takes a line in words when the disk begins to refuse.
    """

    def __init__(
        self, label: str, path: Path, messenger: Messenger, say: Callable[[str], None]
    ) -> None:
        self.label = label
        self.undelivered = 0
        self._path = path
        self._messenger = messenger
        self._say = say
        self._file: LineFile | None = None
        self._refused = False

    def open(self) -> None:
        """Check the place.

        Raises:
            SinkError: the file cannot be written there.
        """
        if (reason := why_unwritable(self._path)) is not None:
            raise SinkError(f"cannot write {self._path}: {reason}")

    def consume(self, result: Result) -> None:
        """Append one line, or none of it."""
        line = encode(self._messenger.message(result)) + b"\n"
        try:
            if self._file is None:
                self._file = LineFile(self._path)
            self._file.append(line)
        except OSError as error:
            self.undelivered += 1
            if not self._refused:
                self._say(
                    f"sink {self.label}: {error.strerror or error}; lines are left out until there "
                    "is room"
                )
            self._refused = True
        else:
            self._refused = False

    def close(self) -> None:
        """Close the file; its lines are already there."""
        if self._file is not None:
            self._file.close()
            self._file = None

    discard = close


def jsonl(spec: SinkSpec, context: SinkContext) -> JsonLines:
    """The sink ``jsonl:FILE``."""
    assert spec.path is not None
    return JsonLines(spec.text, spec.path, Messenger.of(context), context.say)
