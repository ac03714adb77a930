"""One writer at a time in a folder of engines; a killed process leaves no lock behind."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def folder_lock(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the folder for this process; the kernel releases it however the process ends.

    Args:
        folder: an existing folder; nothing is created in it.
        waiting: called once if another process holds it.

    Raises:
        OptionError: the folder is missing or its file system has no locks.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OptionError(
            f"cannot use {folder}: {error.strerror}; choose another folder"
        ) from error
    try:
        _take(handle, folder, waiting)
        yield
    finally:
        os.close(handle)


def _take(handle: int, folder: Path, waiting: Callable[[], None]) -> None:
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.EBADF):
            raise
        raise OptionError(
            f"the file system of {folder} has no locks ({error.strerror}); choose a local folder"
        ) from error
