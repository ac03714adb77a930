"""What the runtime runs on: the device block of a report, and the memory of this process."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.engines.gpu import driver_cuda
from edge_runtime.jetpack import jetpack_of
from edge_runtime.telemetry.power_mode import jetson_clocks, power_mode

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path("/")


@dataclass(frozen=True)
class Device:
    """Hardware and versions; null for what the platform lacks or does not tell."""

    model: str | None = None
    """The board's name, or operating system and architecture."""
    soc: str | None = None
    """The chip, or the processor's name and its number of usable cores."""
    jetpack: str | None = None
    """Told from `l4t`; null where that release is not known to us."""
    l4t: str | None = None
    cuda: str | None = None
    """Highest version that the GPU's driver serves, such as ``12.6``."""
    tensorrt: str | None = None
    """Of its Python package, whether or not it was used; ``RTX`` before that of TensorRT-RTX."""
    onnxruntime: str | None = None
    gstreamer: str | None = None
    power_mode: str | None = None
    jetson_clocks: bool | None = None


def package_version(name: str) -> str | None:
    """Version of an installed distribution; None without it. Nothing of it is imported."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def describe_device(
    root: Path = ROOT,
    package: Callable[[str], str | None] = package_version,
    cuda: Callable[[], str | None] = driver_cuda,
) -> Device:
    """The device this process runs on. No GPU is initialized for it.

    Args:
        root: where ``/proc`` and ``/etc`` lie.
        package: version of an installed distribution by its name.
        cuda: what the GPU's driver serves.
    """
    l4t = _l4t(root)
    jetpack = jetpack_of(l4t)
    return Device(
        model=_device_tree(root, "model") or f"{platform.system()} {platform.machine()}",
        soc=_device_tree(root, "compatible") or _processor(root),
        jetpack=None if jetpack is None else jetpack.name,
        l4t=l4t,
        cuda=cuda(),
        tensorrt=_tensorrt(package),
        onnxruntime=package("onnxruntime"),
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


def _tensorrt(package: Callable[[str], str | None]) -> str | None:
    rtx = package("tensorrt_rtx")
    return package("tensorrt") or (None if rtx is None else f"RTX {rtx}")


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
