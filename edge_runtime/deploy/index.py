"""The index of a bundle, ``bundle.json``: every file with its size and SHA-256.

Names are a few fixed ones: nothing in a bundle can name a place outside of it, and no engine,
which would be code, comes with it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA: Literal["hyperseg-edge.bundle/1"] = "hyperseg-edge.bundle/1"
INDEX, SIGNATURE = "bundle.json", "bundle.json.sig"
MODEL, MANIFEST, CALIBRATION, GOLDEN = (
    "model.onnx", "model.onnx.json", "calibration.cache", "golden.png",
)  # fmt: skip
PART_BYTES = 4 << 20
"""What an interrupted transfer loses at most."""
MOST_INDEX_BYTES, MOST_SIGNATURE_BYTES = 1 << 20, 16 << 10
MOST_FILES, MOST_BYTES = 16, 4 << 30
_NAMES = (MODEL, MANIFEST, CALIBRATION, GOLDEN)
"""What a bundle may hold. An engine, above all, may not come from elsewhere: it is code."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a bundle."""

    name: str
    bytes: int
    sha256: str
    parts: tuple[str, ...]
    """SHA-256 of each `PART_BYTES` of it, by which they are sent."""

    def part_bytes(self, number: int) -> int:
        """Size of one part; the last one is what remains."""
        return min(PART_BYTES, self.bytes - number * PART_BYTES)


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle holds."""

    name: str
    """Of the model, for people."""
    version: str
    """Of the program that made it."""
    files: tuple[Entry, ...]
    schema: Literal["hyperseg-edge.bundle/1"] = SCHEMA

    def entry(self, name: str) -> Entry | None:
        """The file of that name; None if the bundle has none."""
        return next((entry for entry in self.files if entry.name == name), None)

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(entry.bytes for entry in self.files)


@dataclass(frozen=True)
class SignedIndex:
    """An index as its bytes, which are what is hashed and signed."""

    raw: bytes
    index: Index
    signature: bytes | None = None

    @property
    def key(self) -> str:
        """The bundle's address: start of the index's SHA-256, which covers all of its files."""
        return hashlib.sha256(self.raw).hexdigest()[:16]


def make_entry(path: Path, name: str) -> Entry:
    """The entry of a file, which is read once."""
    whole, parts, size = hashlib.sha256(), [], 0
    with path.open("rb") as stream:
        while piece := stream.read(PART_BYTES):
            whole.update(piece)
            parts.append(hashlib.sha256(piece).hexdigest())
            size += len(piece)
    return Entry(name, size, whole.hexdigest(), tuple(parts))


def encode_index(index: Index) -> bytes:
    """The same bytes for the same bundle."""
    raw = msgspec.json.encode(index, order="sorted")
    return msgspec.json.format(raw, indent=1) + b"\n"


def decode_index(raw: bytes) -> Index:
    """Read an index from anybody.

    Raises:
        ArtifactError: it is not one, or it could harm whoever unpacks it.
    """
    try:
        index = msgspec.json.decode(raw, type=Index)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{INDEX} is not the index of a bundle: {error}") from error
    if not 1 <= len(index.files) <= MOST_FILES:
        raise ArtifactError(f"{INDEX} lists {len(index.files)} files; expected 1 to {MOST_FILES}")
    for entry in index.files:
        _check(entry)
    _check_unique(entry.name for entry in index.files)
    if index.bytes > MOST_BYTES:
        raise ArtifactError(f"{INDEX} lists {index.bytes} bytes; {MOST_BYTES} are taken at most")
    for name in (MODEL, MANIFEST):
        if index.entry(name) is None:
            raise ArtifactError(f"{INDEX} lists no {name}; make the bundle anew")
    return index


def _check(entry: Entry) -> None:
    if entry.name not in _NAMES:
        raise ArtifactError(
            f"{INDEX} lists {entry.name!r}, which is no name for a file of it; expected "
            f"{', '.join(_NAMES)}"
        )
    if entry.bytes < 1 or len(entry.parts) != -(-entry.bytes // PART_BYTES):
        raise ArtifactError(
            f"{INDEX}: {entry.name} has {entry.bytes} bytes and {len(entry.parts)} parts of "
            f"{PART_BYTES}; it was altered"
        )
    if not all(_SHA256.fullmatch(text) for text in (entry.sha256, *entry.parts)):
        raise ArtifactError(f"{INDEX}: {entry.name} has a sum that is no SHA-256; it was altered")


def _check_unique(names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise ArtifactError(f"{INDEX} lists {name} twice; it was altered")
        seen.add(name)
