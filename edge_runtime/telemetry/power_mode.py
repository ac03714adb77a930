"""A Jetson's power mode, which decides how fast its clocks may run."""

from __future__ import annotations

import re
from pathlib import Path

from edge_runtime.telemetry.sysfs import SysfsSensors, read_text

STATUS, TABLE = "var/lib/nvpmodel/status", "etc/nvpmodel.conf"
_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)")


def power_mode(root: Path = Path("/")) -> str | None:
    """The name of the mode that `nvpmodel` has set, such as ``15W`` or ``MAXN``; None elsewhere."""
    found = re.search(r"pmode:(\d+)", read_text(root / STATUS) or "")
    if found is None:
        return None
    number = int(found[1])
    names: dict[int, str] = {
        int(i): name for i, name in _MODE.findall(read_text(root / TABLE) or "")
    }
    return names.get(number, f"mode {number}")


def jetson_clocks(root: Path = Path("/")) -> bool | None:
    """Whether a Jetson's clocks are fixed, as after ``jetson_clocks``; None on other machines."""
    if read_text(root / "etc/nv_tegra_release") is None and read_text(root / TABLE) is None:
        return None
    return SysfsSensors(root).are_clocks_locked()
