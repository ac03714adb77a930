"""Engines by address, ``<key>.engine`` and its manifest; only files their manifest vouches for.

Engines are code: what a store or a manifest does not hold by hash is not loaded.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.artifacts import manifest_path, read_manifest
from edge_runtime.engines.identity import EngineIdentity, differences, identity_of
from edge_runtime.errors import ArtifactError, ManifestError, OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.artifacts import Manifest

SUFFIX = ".engine"


@dataclass(frozen=True)
class StoredEngine:
    """An engine file that matches its manifest."""

    path: Path
    manifest: Manifest
    identity: EngineIdentity


def default_folder() -> Path:
    """Where engines are kept if nothing else is said: ``$XDG_CACHE_HOME/hyperseg/engines``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hyperseg" / "engines"


def this_platform() -> str:
    """Such as ``linux-aarch64``."""
    return f"{sys.platform}-{platform.machine()}"


def engine_files(folder: Path) -> list[Path]:
    """The engine files of a folder in the order of their names; none where there is no folder.

    Raises:
        OptionError: the folder may not be read, which is not the same as an empty one.
    """
    try:
        # Path.glob() passes over what it may not read.
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.name.endswith(SUFFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: OSError) -> OptionError:
    seen = f"the engines in {folder} cannot be read by uid {os.geteuid()}: {error.strerror}"
    if not isinstance(error, PermissionError):
        return OptionError(f"{seen}; choose another --store")
    parents = reversed(folder.absolute().parents)
    shut = next((p for p in parents if not os.access(p, os.X_OK, effective_ids=True)), None)
    if shut is None:
        return OptionError(f"{seen}; sudo chmod 755 {folder}, or choose another --store")
    return OptionError(f"{seen}, because {shut} is closed to it; choose another --store")


def open_engine(path: Path) -> StoredEngine:
    """An engine with its identity, once its bytes are proven to be those of its manifest.

    Raises:
        ArtifactError: missing, empty, or not an engine.
        ManifestError: no manifest, or the file was changed, cut short or replaced since.
    """
    try:
        manifest = read_manifest(path, kind="engine")
    except ManifestError as error:
        raise ManifestError(
            f"{error}; an engine is code, so one that its manifest does not vouch for is not "
            "loaded: build it with `hyperseg build`"
        ) from error
    return StoredEngine(path, manifest, identity_of(path, manifest))


class EngineStore:
    """A folder of engines by address.

    Args:
        folder: made when the first engine is added; None takes this user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        # A folder that was named is there to be shared: a service reads what root has built.
        self._mode = 0o700 if folder is None else 0o755

    def place(self, identity: EngineIdentity) -> Path:
        """Where the engine of that identity lies or would lie."""
        return self.folder / f"{identity.key}{SUFFIX}"

    def find(self, identity: EngineIdentity) -> StoredEngine | None:
        """The engine of exactly that identity, or None if there is none.

        Raises:
            ManifestError: there is one, but damaged.
            OptionError: the folder may not be read.
        """
        path = self.place(identity)
        try:
            if not path.exists() and not manifest_path(path).exists():
                return None
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        try:
            engine = open_engine(path)
        except ManifestError:
            raise
        except ArtifactError as error:
            raise ManifestError(f"{error}; build it with `hyperseg build`") from error
        if found := differences(engine.identity, identity):
            raise ManifestError(f"{path} does not belong to its name: {'; '.join(found)}")
        return engine

    def prepare(self) -> Path:
        """Make the folder, readable by all if it was named, else for this user alone; its path.

        Raises:
            OptionError: it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=self._mode)
        except OSError as error:
            raise OptionError(
                f"cannot make {self.folder}: {error.strerror}; choose another --store"
            ) from error
        return self.folder

    def engines(self) -> Iterator[StoredEngine]:
        """All that are whole, in the order of their names; damaged ones are passed over.

        Raises:
            OptionError: the folder may not be read.
        """
        for path in engine_files(self.folder):
            try:
                yield open_engine(path)
            except ArtifactError:
                continue

    def why_missing(self, identity: EngineIdentity) -> str:
        """In words, why there is no engine of that identity: what the nearest differs in."""
        candidates = [differences(engine.identity, identity) for engine in self.engines()]
        same_model = [found for found in candidates if not any("ONNX" in text for text in found)]
        if not same_model:
            return f"{self.folder} has no engine of this model"
        return "the nearest engine differs: " + "; ".join(sorted(same_model, key=len)[0])


def sweep(folder: Path, name: str) -> None:
    """Remove what killed builds of `name` left in `folder`; call it under `folder_lock`."""
    for leftover in folder.glob(f".{name}.*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        elif leftover.suffix == ".part":
            leftover.unlink(missing_ok=True)
