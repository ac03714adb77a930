"""Make bundles, and verify every byte of them before anything else happens."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime import __version__
from edge_runtime.artifacts import atomic_file, manifest_path, read_manifest
from edge_runtime.deploy import signing
from edge_runtime.deploy.forms import PARTS, open_form
from edge_runtime.deploy.index import (
    CALIBRATION,
    GOLDEN,
    INDEX,
    MANIFEST,
    MODEL,
    PART_BYTES,
    SIGNATURE,
    Entry,
    Index,
    SignedIndex,
    decode_index,
    encode_index,
    make_entry,
)
from edge_runtime.deploy.ustar import END, header, padding
from edge_runtime.errors import ArtifactError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.artifacts import Manifest
    from edge_runtime.deploy.forms import Form


@dataclass(frozen=True)
class Contents:
    """What goes into a bundle."""

    model: Path
    """ONNX model with its manifest beside it; Q/DQ models carry their ranges."""
    calibration: Path | None = None
    """TensorRT calibration table, for engines whose ranges are not in the graph."""
    key: Path | None = None
    """Ed25519 key that signs the index; None leaves it unsigned."""


@dataclass(frozen=True)
class Made:
    """A new bundle whose files still lie where they were."""

    signed: SignedIndex
    files: dict[str, Path]


def make(contents: Contents, aside: Path) -> Made:
    """Index and sign a bundle.

    Args:
        contents: what it is to hold.
        aside: an empty folder for what is made for it.

    Raises:
        ArtifactError: the model or its manifest cannot be used.
        OptionError: no calibration table, or a key that cannot sign.
    """
    from edge_runtime.deploy.proof import write_golden

    manifest = read_manifest(contents.model, kind="onnx")
    files = {MODEL: contents.model, MANIFEST: manifest_path(contents.model)}
    if contents.calibration is not None:
        if not contents.calibration.is_file():
            raise OptionError(f"no calibration table {contents.calibration}")
        files[CALIBRATION] = contents.calibration
    files[GOLDEN] = aside / GOLDEN
    write_golden(contents.model, manifest, files[GOLDEN])
    entries = tuple(make_entry(path, name) for name, path in files.items())
    raw = encode_index(Index(manifest.name, __version__, entries))
    signature = None if contents.key is None else signing.sign(raw, contents.key)
    # Read as whoever receives it will: what that refuses is not sent.
    return Made(SignedIndex(raw, decode_index(raw), signature), files)


def write_tar(made: Made, target: Path) -> None:
    """Write a bundle as one file; the same bundle gives the same bytes.

    Raises:
        OptionError: `target` cannot be written.
    """
    with atomic_file(target) as part, part.open("wb") as stream:
        for name, content in _small_files(made.signed):
            stream.write(header(name, len(content)) + content + padding(len(content)))
        for entry in made.signed.index.files:
            stream.write(header(entry.name, entry.bytes))
            with made.files[entry.name].open("rb") as source:
                shutil.copyfileobj(source, stream, PART_BYTES)
            stream.write(padding(entry.bytes))
        stream.write(END)


def write_folder(made: Made, target: Path) -> None:
    """Write a bundle as a folder, which must not exist.

    Raises:
        OptionError: it exists, or cannot be written.
    """
    try:
        target.mkdir()
        try:
            for name, content in _small_files(made.signed):
                (target / name).write_bytes(content)
            for name, path in made.files.items():
                shutil.copyfile(path, target / name)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    except OSError as error:
        raise OptionError(f"cannot write {target}: {error.strerror}") from error


def write_parts(made: Made, target: Path) -> None:
    """Write a bundle as parts into an existing folder, to be sent from there."""
    (target / PARTS).mkdir()
    for name, content in _small_files(made.signed):
        (target / name).write_bytes(content)
    for entry in made.signed.index.files:
        with made.files[entry.name].open("rb") as source:
            for part in entry.parts:
                (target / PARTS / part).write_bytes(source.read(PART_BYTES))


def _small_files(signed: SignedIndex) -> list[tuple[str, bytes]]:
    found = [(INDEX, signed.raw)]
    return found if signed.signature is None else [*found, (SIGNATURE, signed.signature)]


def verify(path: Path, keys: Sequence[str] = ()) -> SignedIndex:
    """Verify a bundle; nothing of it is kept.

    Args:
        path: the bundle.
        keys: public keys of which one must have signed it; none demands no signature.

    Raises:
        ArtifactError: it is no bundle, or altered, cut short, or not signed by one of the keys.
    """
    with tempfile.TemporaryDirectory(prefix="hyperseg-bundle-") as folder:
        return unpack(path, Path(folder) / "bundle", keys)[0]


def unpack(path: Path, target: Path, keys: Sequence[str] = ()) -> tuple[SignedIndex, Manifest]:
    """Verify a bundle and copy its files into a new folder.

    The signature is judged before any file is read; each file is measured while it is copied, and
    no more than the index says is ever written.

    Args:
        path: the bundle.
        target: a folder to be made, whose parent exists; after an error it does not exist.
        keys: public keys of which one must have signed it; none demands no signature.

    Returns:
        The index and the model's manifest.

    Raises:
        ArtifactError: it is no bundle, or altered, cut short, or not signed by one of the keys.
        OptionError: the disk is full or not writable.
    """
    with open_form(path) as form:
        signed = form.signed
        if keys:
            signing.verify(signed.raw, signed.signature, keys)
        try:
            target.mkdir()
            for entry in signed.index.files:
                _copy(form, entry, target / entry.name)
            for name, content in _small_files(signed):
                (target / name).write_bytes(content)
            return signed, read_manifest(target / MODEL, kind="onnx")
        except BaseException as error:
            shutil.rmtree(target, ignore_errors=True)
            if isinstance(error, OSError):
                raise OptionError(f"cannot write {target}: {error.strerror}") from error
            raise


def _copy(form: Form, entry: Entry, target: Path) -> None:
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as stream:
        for piece in form.read(entry):
            size += len(piece)
            if size > entry.bytes:
                break
            digest.update(piece)
            stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())
    if size != entry.bytes or digest.hexdigest() != entry.sha256:
        relation = "has other bytes than" if size == entry.bytes else "has another size than"
        raise ArtifactError(f"{entry.name} {relation} its index says: altered, or cut short")
