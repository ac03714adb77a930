"""Whether a file can be written, found out before the run and not after it."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def why_unwritable(path: Path) -> str | None:
    """Why no file can be made at `path`, or None if one can; nothing is left behind.

    Permissions do not tell: file systems may be read-only, full, or take no such name.
    """
    try:
        str(path).encode()  # GStreamer takes names as UTF-8 only
        if path.is_dir():
            return "it is a folder; name a file"
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part"):
            return None
    except UnicodeEncodeError:
        return "its name is not valid text"
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and not path.parent.is_dir():
            return "its folder is missing; make it, or choose another"
        return f"{os.strerror(error.errno or errno.EIO)}; choose another place"
