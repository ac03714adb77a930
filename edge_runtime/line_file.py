"""A file that holds whole lines at any moment, whatever happens to the disk or to the process."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class LineFile:
    """Writes each line with one system call, so that a killed process loses none.

    Args:
        path: an older file of this name is emptied.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._descriptor: int | None = os.open(path, flags, 0o644)
        self._end = 0

    @property
    def is_empty(self) -> bool:
        """Whether no line was written."""
        return self._end == 0

    def append(self, line: bytes) -> None:
        """Write a line, its end included, or none of it.

        Raises:
            OSError: there is no room for it; there may be for a later one.
        """
        assert self._descriptor is not None, "a line after the file was closed"
        written = 0
        try:
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError:
            # A pipe or a device has no length.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
                os.lseek(self._descriptor, self._end, os.SEEK_SET)
            raise
        self._end += written

    def close(self) -> None:
        """Close the file; its lines are already there.

        Raises:
            OSError: a disk far away tells only now that it lost them.
        """
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)
