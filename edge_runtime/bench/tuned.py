"""Where settings found by `hyperseg bench --tune` are kept, and when they are believed.

One file for each model and machine, in the user's cache. A file that is damaged, or was written on
another machine, for another model or another ONNX Runtime, is told and ignored: wrong settings cost
speed and nothing else, so they are never worth refusing a run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.backends.base import open_backend
from edge_runtime.backends.settings import OrtSettings
from edge_runtime.device import describe_device
from edge_runtime.engines.store import default_folder as engines_folder
from edge_runtime.engines.store import this_platform
from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend

SCHEMA: Literal["hyperseg-edge.tuning/1"] = "hyperseg-edge.tuning/1"
LARGEST_BYTES = 64 * 1024
KEY_DIGITS = 16


@dataclass(frozen=True)
class Machine:
    """What settings depend on besides the model."""

    platform: str
    model: str | None
    soc: str | None
    """With the number of cores that may be used."""
    power_mode: str | None
    onnxruntime: str | None

    @property
    def key(self) -> str:
        """Start of the sha256 of all fields."""
        raw = msgspec.json.encode(self, order="sorted")
        return hashlib.sha256(raw).hexdigest()[:KEY_DIGITS]


@dataclass(frozen=True)
class Tuned:
    """The content of a file."""

    schema: Literal["hyperseg-edge.tuning/1"]
    model_sha256: str
    machine: Machine
    settings: OrtSettings
    ratio: float
    """Time with these settings by that with the defaults, when they were found."""
    found_at: str


def this_machine() -> Machine:
    """The machine this process runs on."""
    device = describe_device()
    return Machine(this_platform(), device.model, device.soc, device.power_mode, device.onnxruntime)


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/hyperseg/tuning``."""
    return engines_folder().parent / "tuning"


class TuningStore:
    """A folder of settings.

    Args:
        folder: made when the first settings are kept; None takes the user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def place(self, model_sha256: str, machine: Machine) -> Path:
        """Where settings of that model on that machine lie or would lie."""
        return self.folder / f"{model_sha256[:KEY_DIGITS]}-{machine.key}.json"

    def keep(self, tuned: Tuned) -> Path:
        """Write settings; where to.

        Raises:
            OptionError: the folder cannot be made or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OptionError(
                f"cannot make {self.folder}: {error.strerror}; set XDG_CACHE_HOME to a folder that "
                "can be written"
            ) from error
        path = self.place(tuned.model_sha256, tuned.machine)
        write_text_atomic(path, msgspec.json.encode(tuned).decode() + "\n")
        return path

    def forget(self, model_sha256: str, machine: Machine) -> None:
        """Remove the settings of a model on a machine, if there are any.

        Raises:
            OptionError: they cannot be removed.
        """
        path = self.place(model_sha256, machine)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OptionError(f"cannot remove {path}: {error.strerror}") from error

    def find(self, model_sha256: str, warn: Callable[[str], None]) -> OrtSettings | None:
        """The settings of a model on this machine, or None.

        Args:
            model_sha256: of its file.
            warn: takes a line about a file that is not believed.
        """
        # Most models were never tuned: a look at names comes before any question to the machine.
        if not self._may_have(model_sha256):
            return None
        machine = this_machine()
        path = self.place(model_sha256, machine)
        if not path.is_file():
            return None
        try:
            tuned = _read(path)
            _check(tuned, model_sha256, machine)
        except (OSError, ValueError, OptionError, RecursionError) as error:
            warn(f"the tuning {path} is ignored: {error}; tune again with `hyperseg bench --tune`")
            return None
        return tuned.settings

    def _may_have(self, model_sha256: str) -> bool:
        try:
            return any(self.folder.glob(f"{model_sha256[:KEY_DIGITS]}-*.json"))
        except OSError:
            return False


def _read(path: Path) -> Tuned:
    """The content of a file.

    Raises:
        ValueError: it is not what a file of settings is; msgspec's errors are of this kind.
        OSError: it cannot be read.
    """
    if path.stat().st_size > LARGEST_BYTES:
        raise ValueError(f"it is longer than {LARGEST_BYTES} bytes")
    return msgspec.json.decode(path.read_bytes(), type=Tuned)


def _check(tuned: Tuned, model_sha256: str, machine: Machine) -> None:
    """Raise `ValueError` for settings of something else: a file that was copied or renamed."""
    if tuned.model_sha256 != model_sha256:
        raise ValueError("it is of another model")
    for item in fields(Machine):
        was, now = getattr(tuned.machine, item.name), getattr(machine, item.name)
        if was != now:
            raise ValueError(f"it is of another machine ({item.name} {was!r}, here {now!r})")


def open_tuned(
    path: Path,
    manifest: Manifest,
    *,
    threads: int | None,
    warn: Callable[[str], None],
    folder: Path | None = None,
) -> Backend:
    """As `edge_runtime.backends.base.open_backend`, with the settings that were found for it here.

    Args:
        path: the model file.
        manifest: its manifest, already checked against the file.
        threads: of one inference; given, they win over what was found.
        warn: takes a line about a file that is not believed, and an engine's warnings.
        folder: of settings; None takes the user's cache.

    Raises:
        BackendError: no backend runs this kind, or it refused the model.
        DependencyError: the engine's package is missing or broken.
    """
    settings = None
    if threads is None and manifest.kind == "onnx":
        settings = TuningStore(folder).find(manifest.sha256, warn)
    return open_backend(path, manifest, threads=threads, settings=settings, warn=warn)
