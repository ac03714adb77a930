"""Artefacts: a file and its sibling manifest, ``model.onnx`` and ``model.onnx.json``.

The manifest says what the file is, by whom it was made and from what, and how to feed it; the
runtime learns size, normalisation and palette from it and so cannot disagree with training. It is
JSON with sorted keys, validated by type on reading. A file whose hash differs from its manifest is
refused. Files are written aside, synced and renamed: a killed writer leaves the previous version.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edge_runtime.errors import ArtifactError, ManifestError, OptionError
from edge_runtime.labels import LabelSet
from edge_runtime.pixels import YuvFormat
from edge_runtime.places import SPECIAL, is_special

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMAT_VERSION = 1
Kind = Literal["checkpoint", "onnx", "calibration-table", "engine"]
Head = Literal["mask", "logits"]
ResizeMode = Literal["stretch", "letterbox"]


@dataclass(frozen=True)
class TensorSpec:
    """One network input or output (what TensorRT once called a binding)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """numpy's name, such as ``uint8`` or ``float32``."""


@dataclass(frozen=True)
class Preprocess:
    """From a camera frame to the network's arithmetic.

    Geometry (`resize`) happens before the network input; normalisation happens inside the graph of
    an exported model, on ``frame / 255`` in `color` order: ``(x - mean) / std``.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    color: Literal["RGB", "BGR"] = "RGB"
    resize: ResizeMode = "stretch"
    """``stretch`` fills the input; ``letterbox`` keeps the aspect ratio and pads with black."""
    yuv: YuvFormat | None = None
    """What the input's bytes are if the graph converts them to RGB itself; None takes RGB."""


@dataclass(frozen=True)
class Parent:
    """The artefact this one was made from."""

    kind: Kind
    name: str
    """File name, without its folder."""
    sha256: str


@dataclass(frozen=True)
class CreatedBy:
    """Who wrote the artefact."""

    command: str
    version: str


@dataclass(frozen=True)
class Parity:
    """Verdict of comparing this artefact with its parent on the same frames."""

    reference: str
    """What it was compared with, such as ``torch float64``."""
    frames: int
    rewrite_error: float
    """Largest difference of the logits that the rewriting alone makes, in float64."""
    max_abs_error: float
    """Largest difference of the logits as the runtime computes them."""
    max_abs_reference: float
    """Largest magnitude of the reference logits, to judge the error by."""
    agreement: float
    """Share of pixels, 0..1, whose class is the same (near-ties excluded, see `export.parity`)."""
    noise_floor: float
    """Largest difference between float32 and float64 of the reference network itself."""
    chaotic: bool
    """The noise floor is so large a share of the logits that `max_abs_error` decides nothing."""
    passed: bool


@dataclass(frozen=True)
class Metric:
    """A measured figure and what it was measured on."""

    name: str
    value: float
    data: str


@dataclass(frozen=True)
class Manifest:
    """What an artefact is. Written beside it as ``<file>.json``."""

    kind: Kind
    name: str
    """Model name, such as ``street-edge-n``."""
    sha256: str
    """Of the file's bytes; set by `write_artifact`."""
    created_by: CreatedBy
    labels: LabelSet
    preprocess: Preprocess
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    head: Head | None = None
    """``mask``: uint8 class ids; ``logits``: float scores; null for a checkpoint."""
    preset: str | None = None
    """Name of the network's preset in `training.presets`."""
    options: dict[str, Any] = field(default_factory=dict)
    """What is needed to rebuild it: network configuration, training or export options."""
    parents: tuple[Parent, ...] = ()
    parameters: int | None = None
    macs: int | None = None
    """Multiply-accumulates for one input."""
    parity: Parity | None = None
    metrics: tuple[Metric, ...] = ()
    license: str = ""
    """Licence of the weights, including what the training data imposes."""
    notes: str = ""
    format_version: int = FORMAT_VERSION

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the frame input; raises `ManifestError` without one."""
        yuv = self.preprocess.yuv
        if yuv is not None and len(self.inputs) == 1 and len(self.inputs[0].shape) == 3:
            _, rows, length = self.inputs[0].shape
            return yuv.size((rows, length))
        if len(self.inputs) != 1 or len(self.inputs[0].shape) != 4:
            raise ManifestError(
                f"model {self.name!r} has inputs {[spec.shape for spec in self.inputs]}; expected "
                "one (1, H, W, 3) uint8 frame: export it with `hyperseg export`"
            )
        _, height, width, _ = self.inputs[0].shape
        return height, width


def manifest_path(path: Path) -> Path:
    """Where the manifest of `path` lies."""
    return path.with_name(path.name + ".json")


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def created_by_this_command() -> CreatedBy:
    """The running command line, as others may read it, and our version.

    Manifests and reports are handed to others: no credentials, and of paths their last part only.
    """
    from edge_runtime import __version__
    from edge_runtime.redact import public_command

    program = Path(sys.argv[0]).name if sys.argv else "python"
    command = public_command(" ".join([program, *sys.argv[1:]]))
    return CreatedBy(command=command, version=__version__)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path to write to; on success it is synced and renamed to `path`, else removed.

    Raises:
        OptionError: the folder is missing or not writable, a device is there, or the disk is full.
    """
    if is_special(path):
        raise OptionError(f"cannot write {path}: {SPECIAL}")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror}; choose another -o") from error
    part = Path(name)
    try:
        yield part
        _sync(part)
        part.chmod(0o644)
        part.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text_atomic(path: Path, text: str) -> None:
    """Write a text file so that it is either the old one or the complete new one."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def encode_manifest(manifest: Manifest) -> str:
    """The manifest as JSON text: sorted keys, two spaces, a final newline."""
    raw = msgspec.json.encode(manifest, order="sorted")
    return msgspec.json.format(raw, indent=2).decode() + "\n"


def write_artifact(part: Path, path: Path, manifest: Manifest) -> Manifest:
    """Move the complete file `part` to `path` and write its manifest beside it.

    A reader that comes between the two renames sees a hash that differs and refuses; it never
    runs a model under another model's description.

    Args:
        part: the finished file, in the same file system as `path`.
        path: its final place.
        manifest: its description; `sha256` is filled in here.

    Returns:
        The manifest as written.

    Raises:
        OptionError: the place cannot be written.
    """
    final = replace(manifest, sha256=sha256_of(part))
    with atomic_file(path) as aside:
        part.replace(aside)
    write_text_atomic(manifest_path(path), encode_manifest(final))
    return final


def create_artifact(path: Path, manifest: Manifest, write: Callable[[Path], object]) -> Manifest:
    """Let `write` fill a file aside, then move it to `path` with its manifest.

    Args:
        path: the artefact's place.
        manifest: its description; `sha256` is filled in.
        write: called with the path to write to, in the same file system.

    Returns:
        The manifest as written.

    Raises:
        OptionError: the place cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            part = Path(folder) / "part"
            write(part)
            return write_artifact(part, path, manifest)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from error


def read_manifest(path: Path, *, kind: Kind | None = None, verify: bool = True) -> Manifest:
    """The manifest of the artefact at `path`.

    Args:
        path: the artefact itself, not its manifest.
        kind: what it must be; None accepts any.
        verify: also compare the file's hash (about 1 ms a megabyte).

    Raises:
        ArtifactError: the file is missing, empty, a folder, or of another kind.
        ManifestError: there is no manifest, it is malformed, or its hash is of another file.
    """
    check_readable(path)
    place = manifest_path(path)
    if not place.is_file():
        raise ManifestError(
            f"{path} has no manifest {place.name} beside it: copy it along with the model; for "
            "another tool's model `hyperseg import` makes one, for a checkpoint `hyperseg export`"
        )
    try:
        manifest = msgspec.json.decode(place.read_bytes(), type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise ManifestError(f"{place} is not a hyperseg manifest: {error}") from error
    except OptionError as error:
        raise ManifestError(f"{place}: {error}") from error
    if manifest.format_version != FORMAT_VERSION:
        raise ManifestError(
            f"{place} has format version {manifest.format_version}; this version reads "
            f"{FORMAT_VERSION}: make the artefact again, or install the version that wrote it"
        )
    if kind is not None and manifest.kind != kind:
        raise ArtifactError(f"{path} is of kind {manifest.kind!r}; expected {kind!r}")
    if verify and (found := sha256_of(path)) != manifest.sha256:
        raise ManifestError(
            f"{place.name} does not belong to {path}: the file's sha256 is {found[:12]}..., the "
            f"manifest says {manifest.sha256[:12]}...; copy both again or export anew"
        )
    return manifest


def check_readable(path: Path) -> None:
    """Raise `ArtifactError` unless `path` is a non-empty, readable file."""
    try:
        if path.is_dir():
            raise ArtifactError(f"{path} is a folder; expected a model file")
        if path.stat().st_size == 0:
            raise ArtifactError(f"{path} is empty (0 bytes); it was cut short: make it again")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise ArtifactError(
            f"no model {str(path)!r}: neither a file nor a shipped model; "
            "`hyperseg models` lists the shipped ones"
        ) from None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from error
