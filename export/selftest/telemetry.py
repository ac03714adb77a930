"""Temperatures, power and clocks around a measurement, from whatever this machine offers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path("/")
QUERY = ("temperature.gpu", "power.draw", "clocks.sm", "clocks.mem", "pstate")
"""Of nvidia-smi: degrees C, W, MHz, MHz, performance state."""


def reading(root: Path = ROOT) -> dict[str, dict[str, float | str]]:
    """What can be read now; empty where nothing can.

    Args:
        root: where ``/sys`` lies.

    Returns:
        ``temperature_c`` by thermal zone, ``gpu`` by nvidia-smi's names, ``power_mode``.
    """
    found: dict[str, dict[str, float | str]] = {}
    if zones := _zones(root):
        found["temperature_c"] = zones
    if gpu := _nvidia_smi():
        found["gpu"] = gpu
    if mode := _ask("nvpmodel", "-q"):
        found["power_mode"] = {"nvpmodel": " ".join(mode.split())}
    return found


def _zones(root: Path) -> dict[str, float | str]:
    zones: dict[str, float | str] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        try:
            name = (zone / "type").read_text().strip()
            zones[name] = int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):  # a zone that is switched off gives no reading
            continue
    return zones


def _nvidia_smi() -> dict[str, float | str]:
    text = _ask("nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits")
    if text is None:
        return {}
    values = [part.strip() for part in text.splitlines()[0].split(",")] if text.strip() else []
    return dict(zip(QUERY, values, strict=False))


def _ask(program: str, *arguments: str) -> str | None:
    if shutil.which(program) is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
