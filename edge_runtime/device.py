"""What the runtime runs on: the device block of a report, and the memory of this process."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge_runtime.telemetry.power_mode import jetson_clocks, power_mode

ROOT = Path("/")


@dataclass(frozen=True)
class Device:
    """Hardware and versions; null for what the platform lacks or does not tell."""

    model: str | None = None
    """The board's name, or operating system and architecture."""
    soc: str | None = None
    """The chip, or the processor's name and its number of usable cores."""
    jetpack: str | None = None
    l4t: str | None = None
    cuda: str | None = None
    tensorrt: str | None = None
    onnxruntime: str | None = None
    gstreamer: str | None = None
    power_mode: str | None = None
    jetson_clocks: bool | None = None


def describe_device(root: Path = ROOT) -> Device:
    """The device this process runs on.

    Args:
        root: where ``/proc`` and ``/etc`` lie.
    """
    return Device(
        model=_device_tree(root, "model") or f"{platform.system()} {platform.machine()}",
        soc=_device_tree(root, "compatible") or _processor(root),
        l4t=_l4t(root),
        onnxruntime=_package("onnxruntime"),
        gstreamer=_gstreamer(),
        power_mode=power_mode(root),
        jetson_clocks=jetson_clocks(root),
    )


def rss_mb(root: Path = ROOT) -> float | None:
    """Resident memory of this process in MB (10^6 bytes), or None where /proc is missing."""
    match = re.search(r"^VmRSS:\s+(\d+) kB", _read(root / "proc/self/status"), re.MULTILINE)
    return round(int(match[1]) * 1.024e-3, 1) if match else None


def _device_tree(root: Path, name: str) -> str | None:
    # Strings end with NUL; of several, the last is the most general one: the chip.
    strings = _read(root / "proc/device-tree" / name).rstrip("\0").split("\0")
    return strings[-1] or None


def _processor(root: Path) -> str | None:
    text = _read(root / "proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = match[1].strip() if match else platform.processor()
    return f"{name}, {_cores()} cores" if name else None


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _l4t(root: Path) -> str | None:
    match = re.match(
        r"# R(\d+) \(release\), REVISION: ([\d.]+)", _read(root / "etc/nv_tegra_release")
    )
    return f"{match[1]}.{match[2]}" if match else None


def _package(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gstreamer() -> str | None:
    # Only a run that uses GStreamer has it loaded; a report does not load it for its name.
    repository = sys.modules.get("gi.repository.Gst")
    gst = repository or getattr(sys.modules.get("gi.repository"), "Gst", None)
    if gst is None:
        return None
    major, minor, micro, _ = gst.version()
    return f"{major}.{minor}.{micro}"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
