"""How fast the machine may run: power mode, clocks, governors, and throttling at this moment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_runtime.doctor.finding import absent, ok, warning
from edge_runtime.telemetry.power_mode import TABLE, jetson_clocks, power_mode
from edge_runtime.telemetry.sysfs import SysfsSensors, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.doctor.finding import Finding
    from edge_runtime.doctor.machine import Machine

SELF_RAISING = ("intel_pstate", "intel_cpufreq", "amd-pstate-epp", "amd-pstate")
"""Drivers that raise clocks by themselves under ``powersave``."""
HOT_C = 90.0
_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)")


def check_power(machine: Machine) -> Iterator[Finding]:
    """Nothing here stops a run; all of it decides about its figures."""
    yield from _power_mode(machine)
    locked = jetson_clocks(machine.root)
    if locked is None:
        yield absent("power.jetson-clocks", "not a Jetson")
    elif locked:
        yield ok("power.jetson-clocks", "clocks are fixed")
    else:
        yield warning(
            "power.jetson-clocks", "clocks go up and down with the load",
            "fixed while you measure", "sudo jetson_clocks",
        )  # fmt: skip
    yield from _governor(machine)
    yield from _heat(machine)


def _power_mode(machine: Machine) -> Iterator[Finding]:
    name = power_mode(machine.root)
    if name is None:
        yield absent("power.mode", "not a Jetson")
        return
    modes = _MODE.findall(read_text(machine.path(TABLE)) or "")
    number, best = max(modes, key=lambda mode: _rank(mode[1]), default=("0", name))
    if name == best:
        yield ok("power.mode", name)
    else:
        yield warning(
            "power.mode", f"{name}; every figure is one of this mode", f"{best}, the fastest",
            f"sudo nvpmodel -m {number}",
        )  # fmt: skip


def _rank(mode: str) -> tuple[int, int]:
    watts = re.search(r"(\d+)W", mode)
    return 2 * mode.startswith("MAXN") + mode.endswith("SUPER"), int(watts[1]) if watts else 0


def _governor(machine: Machine) -> Iterator[Finding]:
    cores = sorted(machine.path("sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    governors = {text for core in cores if (text := read_text(core / "scaling_governor"))}
    drivers = {text for core in cores if (text := read_text(core / "scaling_driver"))}
    if not governors:
        yield absent("power.governor", "the machine does not tell or choose its clocks")
        return
    seen = f"{', '.join(sorted(governors))} ({', '.join(sorted(drivers)) or 'driver unknown'})"
    if "powersave" in governors and not drivers & set(SELF_RAISING):
        yield warning(
            "power.governor", f"{seen}: the lowest clock", "schedutil or performance",
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )  # fmt: skip
    else:
        yield ok("power.governor", seen)


def _heat(machine: Machine) -> Iterator[Finding]:
    sensors = SysfsSensors(machine.root)
    if not sensors.present:
        yield absent("power.heat", "the machine has no sensors")
        return
    readings = sensors.read()
    hottest = max(readings.temperatures_c.items(), key=lambda item: item[1], default=None)
    seen = "no temperatures" if hottest is None else f"{hottest[0]} {hottest[1]:.0f} °C"
    kinds = sorted(readings.throttling | ({"clock-below-lock"} if readings.below_lock else set()))
    if kinds:
        yield warning(
            "power.heat", f"throttled now: {', '.join(kinds)}; {seen}", "no throttling",
            "# cool it, or choose a lower power mode: sudo nvpmodel -q",
        )  # fmt: skip
    elif hottest is not None and hottest[1] >= HOT_C:
        yield warning("power.heat", seen, f"below {HOT_C:.0f} °C", "# cool it: fan, heat sink")
    else:
        yield ok("power.heat", f"not throttled; {seen}")
