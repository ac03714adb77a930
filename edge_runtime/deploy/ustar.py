"""The tar files that a bundle may be: plain ustar, regular files, flat names, nothing else.

General readers of tar know links, devices, sparse files, folders and headers that rename what
follows. A bundle needs none of them, so this reader refuses them all by not knowing them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from edge_runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_REGULAR = (b"0", b"\0")
_PIECE = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file in a tar file."""

    name: str
    size: int
    offset: int
    """Of its first byte."""


def header(name: str, size: int) -> bytes:
    """The header of a file, without owner, time or anything else that differs between machines."""
    fields = [
        name.encode("ascii"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size,
        b"00000000000\0", b" " * 8, b"0", b"", b"ustar\0", b"00", b"", b"", b"", b"", b"",
    ]  # fmt: skip
    fields[6] = b"%06o\0 " % sum(_HEADER.pack(*fields))
    return _HEADER.pack(*fields)


def padding(size: int) -> bytes:
    """What fills the last block of a file."""
    return bytes(-size % BLOCK)


END = bytes(2 * BLOCK)


def members(stream: IO[bytes], most: int) -> Iterator[Member]:
    """The files, in order; the stream has to be at the beginning of one whole tar file.

    Args:
        stream: that can be seeked.
        most: files before it is refused.

    Raises:
        ArtifactError: cut short, damaged, or with anything that is not a regular file.
    """
    end = stream.seek(0, 2)
    position = 0
    for _ in range(most + 1):
        stream.seek(position)
        block = stream.read(BLOCK)
        if block == bytes(BLOCK):
            _check_end(stream, end)
            return
        member = _member(block, position + BLOCK)
        position = member.offset + member.size + len(padding(member.size))
        if position + len(END) > end:
            raise ArtifactError(f"the tar file ends within {member.name!r}: it was cut short")
        yield member
    raise ArtifactError(f"the tar file has more than {most} files; it is no bundle")


def pieces(stream: IO[bytes], member: Member) -> Iterator[bytes]:
    """The bytes of a file."""
    stream.seek(member.offset)
    left = member.size
    while left:
        piece = stream.read(min(left, _PIECE))
        if not piece:
            raise ArtifactError(f"the tar file ends within {member.name!r}: it was cut short")
        left -= len(piece)
        yield piece


def _member(block: bytes, offset: int) -> Member:
    if len(block) < BLOCK:
        raise ArtifactError("the tar file has no end: it was cut short")
    name, _, _, _, size, _, checksum, kind, link, magic, _, _, _, _, _, prefix = _HEADER.unpack(
        block
    )
    plain = block[:148] + b" " * 8 + block[156:]
    if magic[:5] != b"ustar" or _octal(checksum) != sum(plain):
        raise ArtifactError("the bundle is no plain tar file (ustar), or it is damaged")
    shown = name.rstrip(b"\0").decode("ascii", "replace")
    if kind not in _REGULAR or link.strip(b"\0"):
        raise ArtifactError(f"{shown!r} in the tar file is no regular file; it is no bundle")
    if prefix.strip(b"\0"):
        raise ArtifactError(f"{shown!r} in the tar file lies in a folder; it is no bundle")
    return Member(shown, _octal(size), offset)


def _octal(text: bytes) -> int:
    digits = text.strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        raise ArtifactError("a number in the tar file is not octal; it is no bundle, or damaged")
    return int(digits, 8)


def _check_end(stream: IO[bytes], end: int) -> None:
    # Fillers up to a full record of tar are harmless; data behind the end is hidden from readers.
    if end - stream.tell() > 64 * BLOCK or stream.read().strip(b"\0"):
        raise ArtifactError("the tar file has data behind its end; it is no bundle")
