"""Sensors of the Linux kernel, as a Jetson and other machines have them. No root, no other program.

Names differ between boards and releases, so everything is found by what it says of itself and
nothing by its number. Written after NVIDIA's and the kernel's documentation; not run on a Jetson
yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from edge_runtime.telemetry.readings import Readings

INPUT_RAILS = (
    ("VDD_IN",),  # Orin Nano, Orin NX
    ("VIN",),  # Thor
    ("POM_5V_IN",),
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin: its three supplies
)
"""Rails that together are what a module takes; the first set that a board has counts."""

LOCK_TOLERANCE = 0.98
"""A locked clock below this share of its lock is throttled."""

_GPU_CLOCK = re.compile(r"gpu-gpc|\.gpu$|ga10b|gv11b|^gpu", re.IGNORECASE)
_HARMLESS = ("hot-surface",)
"""Cooling devices that warn and slow nothing down."""


def read_text(path: Path) -> str | None:
    """A file's text without white space around it, or None: sensors may be absent or asleep."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def read_number(path: Path) -> float | None:
    """The number in a file, or None."""
    text = read_text(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class _Rail:
    """Where a rail is read: millivolts and milliamperes, or microwatts."""

    name: str
    volts: Path | None
    amperes: Path | None
    watts: Path | None = None

    def read_w(self) -> float | None:
        if self.watts is not None:
            value = read_number(self.watts)
            return None if value is None else value * 1e-6
        if self.volts is None or self.amperes is None:
            return None
        volts, amperes = read_number(self.volts), read_number(self.amperes)
        return None if volts is None or amperes is None else volts * amperes * 1e-6


class SysfsSensors:
    """All sensors below ``/sys``.

    Args:
        root: where ``sys`` lies.
    """

    name = "sysfs"

    def __init__(self, root: Path = Path("/")) -> None:
        monitors = sorted((root / "sys/class/hwmon").glob("hwmon*"))
        thermal = root / "sys/class/thermal"
        cpus = root / "sys/devices/system/cpu"
        self._rails = [rail for monitor in monitors for rail in _rails(monitor)]
        self._zones = [
            (read_text(zone / "type") or zone.name, zone / "temp")
            for zone in sorted(thermal.glob("thermal_zone*"))
        ]
        self._gpu = _gpu_clock(root)
        self._cpus = sorted(cpus.glob("cpu[0-9]*/cpufreq"))
        self._counters = [
            *((path.name.removesuffix("_event_cnt"), path) for monitor in monitors
              for path in sorted(monitor.glob("oc*_event_cnt"))),
            *(("cpu-thermal", path) for path in
              sorted(cpus.glob("cpu0/thermal_throttle/package_throttle_count"))),
        ]  # fmt: skip
        self._alerts = [
            (kind.removesuffix("-alert"), device / "cur_state")
            for device in sorted(thermal.glob("cooling_device*"))
            if (kind := read_text(device / "type") or "").endswith("-throttle-alert")
            and not kind.startswith(_HARMLESS)
        ]

    @property
    def present(self) -> bool:
        """Whether there is anything to read."""
        return bool(self._rails or self._zones or self._gpu or self._cpus or self._counters)

    def read(self) -> Readings:
        """All that can be read now."""
        rails = {rail.name: w for rail in self._rails if (w := rail.read_w()) is not None}
        zones = {name: c for name, path in self._zones if (c := read_number(path)) is not None}
        counters = ((name, read_number(path)) for name, path in self._counters)
        return Readings(
            rails_w=rails,
            total_w=_total(rails),
            temperatures_c={name: value * 1e-3 for name, value in zones.items()},
            clocks_mhz=self._clocks(),
            below_lock=self._is_below_lock(),
            events={name: int(count) for name, count in counters if count is not None},
            throttling=frozenset(name for name, path in self._alerts if read_number(path)),
            tells_throttling=bool(self._counters or self._alerts),
        )

    def close(self) -> None:
        """Nothing is held."""

    def are_clocks_locked(self) -> bool | None:
        """Whether the clocks of CPU and GPU are fixed, as `jetson_clocks` does; None: no clocks."""
        ranges = [
            (read_number(cpu / "scaling_min_freq"), read_number(cpu / "scaling_max_freq"))
            for cpu in self._cpus
        ]
        if self._gpu is not None:
            ranges.append(
                (read_number(self._gpu / "min_freq"), read_number(self._gpu / "max_freq"))
            )
        known = [(low, high) for low, high in ranges if low is not None and high is not None]
        return all(low == high for low, high in known) if known else None

    def _clocks(self) -> dict[str, float]:
        clocks = {}
        cores = [read_number(cpu / "scaling_cur_freq") for cpu in self._cpus]
        running = [khz for khz in cores if khz is not None]
        if running:
            clocks["cpu"] = fmean(running) * 1e-3
        hertz = None if self._gpu is None else read_number(self._gpu / "cur_freq")
        if hertz is not None:
            clocks["gpu"] = hertz * 1e-6
        return clocks

    def _is_below_lock(self) -> bool:
        if self._gpu is None:
            return False
        low, high, now = (
            read_number(self._gpu / name) for name in ("min_freq", "max_freq", "cur_freq")
        )
        if low is None or now is None or low != high:
            return False
        return 0 < now < LOCK_TOLERANCE * low  # 0: asleep


def _rails(monitor: Path) -> list[_Rail]:
    """The rails of one power monitor."""
    kind = read_text(monitor / "name") or ""
    if kind == "ina3221":
        return [
            _Rail(label, monitor / f"in{n}_input", monitor / f"curr{n}_input")
            for n in (1, 2, 3)
            if (label := read_text(monitor / f"in{n}_label")) and label != "NC"
        ]
    return [
        _Rail(read_text(monitor / f"{path.name[:-6]}_label") or kind, None, None, path)
        for path in sorted(monitor.glob("power[0-9]*_input"))
    ]


def _total(rails: dict[str, float]) -> float | None:
    for names in INPUT_RAILS:
        if all(name in rails for name in names):
            return sum(rails[name] for name in names)
    return None


def _gpu_clock(root: Path) -> Path | None:
    for device in sorted((root / "sys/class/devfreq").glob("*")):
        if _GPU_CLOCK.search(device.name) and (device / "cur_freq").exists():
            return device
    return None
