"""What psutil tells of any machine: load, temperatures and clocks the kernel keeps elsewhere."""

from __future__ import annotations

from typing import Any

from edge_runtime.telemetry.readings import Readings


class HostSensors:
    """The processor as psutil sees it.

    Args:
        psutil: the module.
    """

    name = "psutil"

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil
        psutil.cpu_percent()  # its first answer means nothing

    def read(self) -> Readings:
        """All that psutil tells on this platform."""
        readings = Readings(cpu_percent=float(self._psutil.cpu_percent()))
        frequency = self._frequency()
        if frequency is not None and frequency.current:
            readings.clocks_mhz["cpu"] = float(frequency.current)
        if hasattr(self._psutil, "sensors_temperatures"):
            for chip, sensors in self._psutil.sensors_temperatures().items():
                for number, sensor in enumerate(sensors):
                    name = sensor.label or (chip if len(sensors) == 1 else f"{chip} {number}")
                    readings.temperatures_c[f"{chip}/{name}" if sensor.label else name] = float(
                        sensor.current
                    )
        return readings

    def _frequency(self) -> Any:
        try:
            return self._psutil.cpu_freq() if hasattr(self._psutil, "cpu_freq") else None
        except NotImplementedError:  # the kernel does not tell, or no longer
            return None

    def close(self) -> None:
        """Nothing is held."""


def open_host() -> HostSensors | None:
    """What psutil tells; None without the package."""
    try:
        import psutil
    except ImportError:
        return None
    return HostSensors(psutil)
