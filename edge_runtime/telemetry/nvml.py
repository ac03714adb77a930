"""The sensors of an NVIDIA card, by its driver's library; needs the package nvidia-ml-py."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edge_runtime.telemetry.readings import Readings

if TYPE_CHECKING:
    from collections.abc import Callable

THROTTLES = {
    0x04: "power-cap",
    0x08: "hardware-slowdown",
    0x20: "thermal-software",
    0x40: "thermal-hardware",
    0x80: "power-brake",
}
"""Reasons for lower clocks that count as throttling, by their bit in NVML."""


class NvmlSensors:
    """One NVIDIA card.

    Args:
        nvml: the module `pynvml`, initialised.
        index: which card.
    """

    name = "nvml"

    def __init__(self, nvml: Any, index: int = 0) -> None:
        self._nvml = nvml
        self._card = nvml.nvmlDeviceGetHandleByIndex(index)

    def read(self) -> Readings:
        """All that the card tells; some cards lack some of it."""
        nvml, card, readings = self._nvml, self._card, Readings(tells_throttling=True)
        milliwatts = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(card))
        if milliwatts is not None:
            readings.rails_w["GPU"] = readings.total_w = milliwatts * 1e-3
        celsius = self._ask(lambda: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU))
        if celsius is not None:
            readings.temperatures_c["gpu"] = float(celsius)
        for name, kind in (("gpu", nvml.NVML_CLOCK_SM), ("memory", nvml.NVML_CLOCK_MEM)):
            mhz = self._ask(lambda kind=kind: nvml.nvmlDeviceGetClockInfo(card, kind))  # type: ignore[misc]
            if mhz is not None:
                readings.clocks_mhz[name] = float(mhz)
        reasons = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)) or 0
        readings.throttling = frozenset(n for bit, n in THROTTLES.items() if int(reasons) & bit)
        readings.gpu_memory_mb = self._memory_mb()
        return readings

    def close(self) -> None:
        """Give the library back."""
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _memory_mb(self) -> float | None:
        used = self._ask(lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(self._card)) or ()
        mine = [process.usedGpuMemory for process in used if process.pid == os.getpid()]
        return mine[0] * 1e-6 if mine and mine[0] is not None else None

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except self._nvml.NVMLError:
            return None


def open_nvml() -> NvmlSensors | None:
    """The first NVIDIA card; None without one, its driver or the package."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return NvmlSensors(pynvml)
    except pynvml.NVMLError:
        return None
