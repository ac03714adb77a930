"""Releases on a device: ``releases/KEY`` each, and one symbolic link, ``current``.

A release is complete before the link is renamed onto it, so whoever follows ``current`` sees the
old one or the new one and never a mixture, whenever power fails.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.artifacts import manifest_path, write_text_atomic
from edge_runtime.deploy.bundle import unpack
from edge_runtime.deploy.forms import open_form
from edge_runtime.deploy.index import MODEL
from edge_runtime.errors import DeployError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT = 3
"""The current release, the one before it, and one more."""
ENGINE = "model.engine"
_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Release:
    """A verified bundle that lies on this device."""

    key: str
    folder: Path
    is_new: bool

    @property
    def served(self) -> str:
        """Name of the file that a run is given: the engine where one was built."""
        return served_in(self.folder)

    def drop_engine(self) -> None:
        """Remove an engine that was built of it."""
        for path in (self.folder / ENGINE, manifest_path(self.folder / ENGINE)):
            path.unlink(missing_ok=True)


def served_in(folder: Path) -> str:
    """Name of the file of a release that a run is given: its engine where there is one."""
    return ENGINE if (folder / ENGINE).exists() else MODEL


def default_home() -> Path:
    """Where releases lie if nothing else is said."""
    if os.getuid() == 0:
        return Path("/var/lib/hyperseg")
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local/share") / "hyperseg"


class Releases:
    """The releases below one folder.

    Args:
        home: made when it is needed.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.current_link = home / "current"
        self._folder, self._notes = home / "releases", home / "notes"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            OptionError: they cannot be made.
        """
        for folder in (self._folder, self._notes):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OptionError(
                    f"cannot make {folder}: {error.strerror}; choose another --into"
                ) from error

    def incoming(self, key: str) -> Path:
        """Where parts of a bundle are gathered.

        Raises:
            OptionError: `key` is none.
        """
        if not _KEY.fullmatch(key):
            raise OptionError(f"{key[:40]!r} is no key of a bundle")
        return self.home / "incoming" / key

    @property
    def current(self) -> str | None:
        """Key of the release that is used; None before the first."""
        try:
            name = self.current_link.readlink().name
        except OSError:
            return None
        return name if _KEY.fullmatch(name) else None

    @property
    def previous(self) -> str | None:
        """Key of the release that a rollback would go to; None if there is none."""
        return None if self.current is None else self._before(self.current)

    def add(self, path: Path, keys: Sequence[str]) -> Release:
        """Verify a bundle and keep it as a release; call it under a lock.

        What is used is not touched.

        Raises:
            ArtifactError: the bundle is refused; nothing of it is left.
            OptionError: the place cannot be written.
        """
        with open_form(path) as form:
            key = form.signed.key
        for leftover in self._folder.glob(".*.part"):  # of installations that were killed
            shutil.rmtree(leftover, ignore_errors=True)
        aside = self._folder / f".{key}.part"
        signed, _ = unpack(path, aside, keys)
        target = self._folder / signed.key
        if target.is_dir():
            shutil.rmtree(aside)
            return Release(signed.key, target, is_new=False)
        aside.rename(target)
        return Release(signed.key, target, is_new=True)

    def discard(self, release: Release) -> None:
        """Remove a release that was refused after all, unless it was there before."""
        if release.is_new and release.key != self.current:
            shutil.rmtree(release.folder, ignore_errors=True)

    def switch(self, key: str) -> str | None:
        """Make a release the current one.

        Returns:
            Key of the one before; None if there was none.
        """
        before = self.current
        if before is not None and before != key:
            write_text_atomic(self._notes / f"{key}.previous", before + "\n")
        self._point(key)
        return before

    def rollback(self) -> tuple[str, str]:
        """Make the release before the current one current again.

        Returns:
            Keys of the release that is left and the one that is used now.

        Raises:
            DeployError: there is none.
        """
        current, before = self.current, self.previous
        if current is None or before is None:
            raise DeployError(f"{self.home} keeps no release before the current one")
        self.switch(before)
        return current, before

    def restore(self, key: str | None) -> None:
        """Point ``current`` to what it was, without taking note; None removes it."""
        if key is None:
            self.current_link.unlink(missing_ok=True)
        else:
            self._point(key)

    def prune(self) -> None:
        """Remove all but the newest `KEPT` releases; never the current one or the one before."""
        keep = {self.current, self.previous}
        found = [path for path in self._folder.iterdir() if _KEY.fullmatch(path.name)]
        found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        surplus = [path for path in found if path.name not in keep][max(0, KEPT - len(keep)) :]
        for path in surplus:
            shutil.rmtree(path, ignore_errors=True)
            (self._notes / f"{path.name}.previous").unlink(missing_ok=True)

    def _before(self, key: str) -> str | None:
        try:
            text = (self._notes / f"{key}.previous").read_text(encoding="ascii").strip()
        except OSError:
            return None
        return text if _KEY.fullmatch(text) and (self._folder / text).is_dir() else None

    def _point(self, key: str) -> None:
        aside = self.home / ".current.part"
        aside.unlink(missing_ok=True)
        aside.symlink_to(Path("releases") / key)
        aside.replace(self.current_link)
