"""The sink ``FILE.mcap``: frames, masks and stamps of a run, for Foxglove and for Python.

The file has its own name from its first byte, so that what a crashed robot has recorded is found
where it was asked for. A full disk ends the recording, not the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime import __version__
from edge_runtime.errors import SinkError
from edge_runtime.places import why_unwritable
from edge_runtime.sinks.recording.entry import EntryEncoder, WallClock
from edge_runtime.sinks.recording.recover import is_cut_off
from edge_runtime.sinks.recording.writer import McapFile

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.result import Result
    from edge_runtime.sinks.spec import SinkContext, SinkSpec


class McapSink:
    """Records every result.

    Args:
        label: as the user named the sink.
        path: the file. One that exists is replaced, unless it was cut off by a crash: that one is
            kept beside it as ``NAME.cut-off-N.mcap``.
        context: the run.
    """

    def __init__(self, label: str, path: Path, context: SinkContext) -> None:
        self.label = label
        self._path = path
        self._context = context
        self._wall = WallClock.now()
        self._encoder = EntryEncoder(context.labels, self._wall)
        self._file: McapFile | None = None
        self._last_index = -1
        self._failure: OSError | None = None

    def open(self) -> None:
        """Check that the place can be written.

        Raises:
            SinkError: it cannot.
        """
        if (reason := why_unwritable(self._path)) is not None:
            raise SinkError(f"cannot write {self._path}: {reason}")

    def consume(self, result: Result) -> None:
        """Record one result; does nothing once the disk was full."""
        if self._failure is not None:
            return
        entry = self._encoder.encode(result)
        try:
            if self._file is None:
                set_aside(self._path)
                self._file = McapFile(self._path, describe_run(self._context, self._wall))
            self._file.add(entry)
            self._last_index = entry.index
        except OSError as error:
            self._end(error)

    def close(self) -> None:
        """Complete the file.

        Raises:
            SinkError: the recording ended before the run did.
        """
        if self._file is not None and self._failure is None:
            try:
                self._file.finish()
            except OSError as error:
                self._end(error)
        if self._failure is not None:
            raise SinkError(self._story(self._failure)) from self._failure

    def discard(self) -> None:
        """Keep the file: it can be played."""
        if self._file is not None:
            self._file.close()

    def _end(self, error: OSError) -> None:
        self._failure = error
        self.discard()
        self._context.say(f"{self._story(error)}; the run goes on")

    def _story(self, error: OSError) -> str:
        return (
            f"recording {self._path} ended early, near frame {self._last_index + 1}: "
            f"{error.strerror or error}; it can be played up to there; free some space or choose "
            "another place"
        )


def set_aside(path: Path) -> None:
    """Give a recording that was cut off another name, so that a restarted run does not replace it.

    Raises:
        OSError: it cannot be renamed.
    """
    if not is_cut_off(path):
        return
    number = 1
    while (other := path.with_name(f"{path.stem}.cut-off-{number}{path.suffix}")).exists():
        number += 1
    path.rename(other)


def describe_run(context: SinkContext, wall: WallClock) -> dict[str, dict[str, str]]:
    """What a recording says about its run: ``run``, and ``labels`` with name and colour by id."""
    labels = context.labels
    names = {
        str(index): f"{name} #{colour[0]:02x}{colour[1]:02x}{colour[2]:02x}"
        for index, (name, colour) in enumerate(zip(labels.names, labels.palette, strict=True))
    }
    return {
        "run": {
            "model": context.model,
            "source": context.source,
            "software": f"hyperseg-edge {__version__}",
            "clock_offset_ns": str(wall.offset_ns),
        },
        "labels": {"name": labels.name, "ignore_index": str(labels.ignore_index), **names},
    }


def mcap(spec: SinkSpec, context: SinkContext) -> McapSink:
    """The sink ``FILE.mcap``."""
    assert spec.path is not None
    return McapSink(spec.text, spec.path, context)
