"""Where a service and those who look after it meet."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from edge_runtime.errors import OptionError

STATUS_VARIABLE = "HYPERSEG_STATUS"
"""Environment variable that names the status file for the run and for the check alike."""
Manager = Literal["system", "user"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FOLDERS: dict[Manager, str] = {"system": "/etc/systemd/system", "user": "~/.config/systemd/user"}


def unit_name(name: str) -> str:
    """The unit of a service, without its suffix.

    Raises:
        OptionError: it cannot be a name.
    """
    if not _NAME.fullmatch(name):
        raise OptionError(f"service name {name!r}: expected letters, digits, '_' and '-'")
    return f"hyperseg-{name}"


def unit_path(name: str, manager: Manager, folder: Path | None = None) -> Path:
    """The unit file of a service; `folder` is where it lies if not at its manager's place."""
    home = Path(_FOLDERS[manager]).expanduser() if folder is None else folder
    return home / f"{unit_name(name)}.service"


def installed_names() -> list[str]:
    """The services that have a unit file at their manager's place."""
    found = (Path(place).expanduser().glob("hyperseg-*.service") for place in _FOLDERS.values())
    return sorted({unit.stem.removeprefix("hyperseg-") for units in found for unit in units})


def status_path(name: str, manager: Manager) -> Path:
    """The status file of a running service."""
    fallback = f"/run/user/{os.getuid()}"
    root = "/run" if manager == "system" else os.environ.get("XDG_RUNTIME_DIR", fallback)
    return Path(root) / unit_name(name) / "status.json"
