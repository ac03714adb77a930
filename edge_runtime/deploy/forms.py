"""What a bundle may look like: a folder, a tar file, or parts that were sent one by one."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from edge_runtime.deploy.index import (
    INDEX,
    MOST_FILES,
    MOST_INDEX_BYTES,
    MOST_SIGNATURE_BYTES,
    SIGNATURE,
    Entry,
    Index,
    SignedIndex,
    decode_index,
)
from edge_runtime.deploy.ustar import Member, members, pieces
from edge_runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = "parts"
"""Folder of parts, each named by its SHA-256."""
_PIECE = 1 << 20


class Form(Protocol):
    """A bundle that is open for reading; nothing of it is trusted."""

    signed: SignedIndex

    def read(self, entry: Entry) -> Iterator[bytes]:
        """The bytes of a file as they lie there, of any number.

        Raises:
            ArtifactError: it is missing or no regular file.
        """
        ...


@contextmanager
def open_form(path: Path) -> Iterator[Form]:
    """Open a bundle.

    Raises:
        ArtifactError: it is none.
    """
    if path.is_dir():
        is_sent = (path / PARTS).is_dir()
        yield PartsForm(path) if is_sent else FolderForm(path)
        return
    try:
        stream = _open_regular(path.resolve())
    except OSError as error:
        raise ArtifactError(f"cannot read the bundle {path}: {error.strerror}") from error
    with stream:
        yield TarForm(stream)


class FolderForm:
    """Files in a folder, beside the index and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.signed = _read_index(folder)
        known = {INDEX, SIGNATURE, *(entry.name for entry in self.signed.index.files)}
        surplus = sorted({path.name for path in folder.iterdir()} - known)
        if surplus:
            raise ArtifactError(f"{folder} holds {surplus[0]!r}, which its index does not list")

    def read(self, entry: Entry) -> Iterator[bytes]:
        """See `Form.read`."""
        yield from _read(self._folder / entry.name)


class PartsForm:
    """Parts in the folder ``parts`` beside the index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / PARTS
        self.signed = _read_index(folder)

    def read(self, entry: Entry) -> Iterator[bytes]:
        """See `Form.read`."""
        for part in entry.parts:
            yield from _read(self._folder / part)


class TarForm:
    """A tar file: the index, its signature if it has one, and the files in the index's order."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._members = list(members(stream, MOST_FILES + 2))
        names = [member.name for member in self._members]
        if not names or names[0] != INDEX:
            raise ArtifactError(f"the tar file does not begin with {INDEX}; it is no bundle")
        raw = self._small(self._members[0], MOST_INDEX_BYTES)
        signature, first = None, 1
        if names[1:2] == [SIGNATURE]:
            signature, first = self._small(self._members[1], MOST_SIGNATURE_BYTES), 2
        index = decode_index(raw)
        self.signed = SignedIndex(raw, index, signature)
        self._check(self._members[first:], index)

    @staticmethod
    def _check(found: list[Member], index: Index) -> None:
        listed = [(entry.name, entry.bytes) for entry in index.files]
        held = [(member.name, member.size) for member in found]
        if listed != held:
            wrong = next((name for name, _ in held if name not in dict(listed)), None)
            what = f"holds {wrong!r}" if wrong is not None else "lacks files, or has other sizes"
            raise ArtifactError(f"the tar file {what}: not what its index lists")

    def _small(self, member: Member, most: int) -> bytes:
        if member.size > most:
            raise ArtifactError(f"{member.name} has {member.size} bytes; {most} are taken at most")
        return b"".join(pieces(self._stream, member))

    def read(self, entry: Entry) -> Iterator[bytes]:
        """See `Form.read`."""
        member = next(member for member in self._members if member.name == entry.name)
        yield from pieces(self._stream, member)


def _read_index(folder: Path) -> SignedIndex:
    raw = _read_small(folder / INDEX, MOST_INDEX_BYTES)
    place = folder / SIGNATURE
    signature = _read_small(place, MOST_SIGNATURE_BYTES) if os.path.lexists(place) else None
    return SignedIndex(raw, decode_index(raw), signature)


def _read_small(path: Path, most: int) -> bytes:
    found = b""
    for piece in _read(path):
        found += piece
        if len(found) > most:
            raise ArtifactError(f"{path.name} has more than {most} bytes; it is no bundle's")
    return found


def _read(path: Path) -> Iterator[bytes]:
    try:
        with _open_regular(path) as stream:
            while piece := stream.read(_PIECE):
                yield piece
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing: the bundle is not complete") from None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error


def _open_regular(path: Path) -> IO[bytes]:
    """Follows no link, and waits for no pipe."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ArtifactError(f"{path} is no regular file; it is no part of a bundle")
    return os.fdopen(handle, "rb")
