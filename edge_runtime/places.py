"""Whether a file can be written, found out before the run and not after it."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SPECIAL = "it is a device or pipe; name a file"
"""Why a whole file cannot be put in the place of what `is_special` finds."""


def require_places(
    documents: Sequence[Path], outputs: Sequence[Path] = (), inputs: Sequence[Path] = ()
) -> None:
    """Refuse, before the work, what could not be written or would destroy something.

    Args:
        documents: JSON and pages of one command.
        outputs: what else it writes, perhaps with a manifest beside it, perhaps a folder.
        inputs: files it reads.

    Raises:
        OptionError: a document cannot be written, or a place is that of an input, of a manifest, or
            is written to twice.
    """
    read = {os.path.realpath(place) for place in inputs}
    for place in (*documents, *outputs):
        if os.path.realpath(place) in read:
            raise OptionError(f"{place} is read and written; name another output")
    for place in outputs:
        if os.path.realpath(f"{place}.json") in read:
            raise OptionError(f"{place}.json is read, and is the place of a manifest; name another")
        if (model := _described(place, outputs)) is not None:
            raise OptionError(f"cannot write {place}: {_of_manifest(model)}")
    for place in documents:
        if is_special(place):
            raise OptionError(f"cannot write {place}: {SPECIAL}")
        if (why := why_unwritable(place, outputs)) is not None:
            raise OptionError(f"cannot write {place}: {why}")
    require_distinct((*documents, *outputs))


def files_named(word: str) -> list[Path]:
    """The files that a word of a command line names: ``F``, ``file:F``, a camera's ``NAME=F``."""
    rests = [word[place + 1 :] for place, sign in enumerate(word) if sign in ":="]
    return [Path(text) for text in (word, *rests) if _is_file(text)]


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # some other text, too long or with a zero byte
        return False


def require_distinct(places: Iterable[Path]) -> None:
    """Refuse two outputs of one place.

    Raises:
        OptionError: naming the place.
    """
    targets = [Path(os.path.realpath(place)) for place in places]
    for target in targets:
        if targets.count(target) > 1:
            raise OptionError(f"{target} is written to twice; give each output its own name")


def is_special(path: Path) -> bool:
    """Whether a device, pipe or socket is there, which a file must not take the place of.

    Root may rename one over ``/dev/null``, for everybody.
    """
    in_dev = path.absolute().parent in (Path("/dev"), Path("/dev/fd"))
    return in_dev or (path.exists() and not path.is_file() and not path.is_dir())


def why_unwritable(path: Path, outputs: Iterable[Path] = ()) -> str | None:
    """Why no file can be made at `path`, or None if one can; nothing is left behind.

    Permissions do not tell: file systems may be read-only, full, or take no such name.

    Args:
        path: the file.
        outputs: what is written at the same time, whose manifests are spared as well.
    """
    try:
        str(path).encode()  # GStreamer takes names as UTF-8 only
        if path.is_dir():
            return "it is a folder; name a file"
        if (model := _described(path, outputs)) is not None:
            return _of_manifest(model)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part"):
            return None
    except UnicodeEncodeError:
        return "its name is not valid text"
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR) and not path.parent.is_dir():
            return "its folder is missing; make it, or choose another"
        return f"{os.strerror(error.errno or errno.EIO)}; choose another place"


def _of_manifest(model: Path) -> str:
    return f"it is the place of the manifest of {model.name}; choose another name"


def _described(path: Path, outputs: Iterable[Path]) -> Path | None:
    """The file whose manifest has its place at `path`, which may be a link to one."""
    written = {os.path.realpath(place) for place in outputs}
    for place in (path, Path(os.path.realpath(path))):
        described = place.with_suffix("")
        if place.suffix == ".json" and (
            described.is_file() or os.path.realpath(described) in written
        ):
            return described
    return None
