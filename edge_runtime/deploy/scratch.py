"""Temporary folders that do not outlive their processes for long, however those end."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def scratch(purpose: str, parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder named after its purpose and this process.

    Folders of the same purpose whose processes were killed are removed first.

    Args:
        purpose: a short word.
        parent: where to make it; None takes the system's place for temporary files.
    """
    place = parent or Path(tempfile.gettempdir())
    sweep(purpose, place)
    with tempfile.TemporaryDirectory(prefix=f"{purpose}-{os.getpid()}-", dir=place) as name:
        held = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(held)


def sweep(purpose: str, place: Path) -> None:
    """Remove what killed processes of this user have left.

    Args:
        purpose: as for `scratch`.
        place: where the folders lie; others may write there, too.
    """
    form = re.compile(rf"{re.escape(purpose)}-(?P<pid>\d+)-\w+")
    with suppress(OSError):
        for entry in os.scandir(place):
            found = form.fullmatch(entry.name)
            if found and entry.is_dir(follow_symlinks=False) and not _runs(int(found["pid"])):
                _remove(entry.path)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove(path: str) -> None:
    with suppress(OSError):  # somebody else's, or in use
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            # A container has numbers of its own for processes: the lock holds there as well.
            if os.fstat(held).st_uid == os.getuid():
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
        finally:
            os.close(held)
