"""File trees in the style of real boards, after NVIDIA's documentation and published listings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NVPMODEL = """\
< PARAM TYPE=FILE NAME=CPU_ONLINE >
< POWER_MODEL ID=0 NAME={first} >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME={second} >
CPU_ONLINE CORE_0 1
< PM_CONFIG DEFAULT=1 >
"""


@dataclass
class Board:
    """What distinguishes a board."""

    rails: dict[str, tuple[tuple[str, int, int], ...]]
    """Monitor to (label, millivolts, milliamperes)."""
    gpu: str
    zones: tuple[str, ...]
    modes: tuple[str, str]
    cores: int = 6
    unread: tuple[str, ...] = ()
    """Zones whose sensor cannot be read now."""
    release: str = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic"
    alerts: tuple[str, ...] = ("cpu-throttle-alert", "gpu-throttle-alert", "hot-surface-alert")
    files: dict[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> Path:
        """Write the tree below `root`."""
        write = Writer(root)
        for number, (monitor, rails) in enumerate(self.rails.items()):
            place = f"sys/class/hwmon/hwmon{number + 1}"
            write(f"{place}/name", "ina3221")
            write(f"{place}/device_name", monitor)
            for channel, (label, volts, amperes) in enumerate(rails, start=1):
                write(f"{place}/in{channel}_label", label)
                write(f"{place}/in{channel}_input", volts)
                write(f"{place}/curr{channel}_input", amperes)
            write(f"{place}/in7_label", "sum of shunt voltages")
        events = f"sys/class/hwmon/hwmon{len(self.rails) + 1}"
        write(f"{events}/name", "soctherm_oc")
        for number in (1, 2, 3):
            write(f"{events}/oc{number}_event_cnt", 5 * number)
            write(f"{events}/oc{number}_throt_en", 1)
        write("sys/class/hwmon/hwmon0/name", "pwmfan")
        write("sys/class/hwmon/hwmon0/pwm1", 90)
        self._write_heat(write)
        self._write_clocks(write)
        first, second = self.modes
        write("etc/nvpmodel.conf", NVPMODEL.format(first=first, second=second))
        write("var/lib/nvpmodel/status", "pmode:0001 fmode:cool")
        write("etc/nv_tegra_release", self.release)
        for name, text in self.files.items():
            write(name, text)
        return root

    def _write_heat(self, write: Writer) -> None:
        for number, zone in enumerate(self.zones):
            place = f"sys/class/thermal/thermal_zone{number}"
            write(f"{place}/type", zone)
            if zone not in self.unread:
                write(f"{place}/temp", 50_000 + 500 * number)
        for number, alert in enumerate(self.alerts):
            write(f"sys/class/thermal/cooling_device{number}/type", alert)
            write(f"sys/class/thermal/cooling_device{number}/cur_state", 0)

    def _write_clocks(self, write: Writer) -> None:
        for core in range(self.cores):
            place = f"sys/devices/system/cpu/cpu{core}/cpufreq"
            write(f"{place}/scaling_cur_freq", 1_190_400)
            write(f"{place}/scaling_min_freq", 729_600)
            write(f"{place}/scaling_max_freq", 1_510_400)
        for name, hertz in (("cur", 510_000_000), ("min", 306_000_000), ("max", 624_750_000)):
            write(f"sys/class/devfreq/{self.gpu}/{name}_freq", hertz)
        write("sys/class/devfreq/15340000.vic/cur_freq", 115_200_000)


class Writer:
    """Writes values to files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, name: str, value: object) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")


BOARDS = {
    "orin-nano": Board(
        rails={
            "1-0040": (
                ("VDD_IN", 5000, 1480),
                ("VDD_CPU_GPU_CV", 5000, 400),
                ("VDD_SOC", 5000, 300),
            )
        },
        gpu="17000000.gpu",
        zones=("cpu-thermal", "gpu-thermal", "cv0-thermal", "soc0-thermal", "tj-thermal"),
        unread=("cv0-thermal",),
        modes=("15W", "7W"),
    ),
    "agx-orin": Board(
        rails={
            "1-0040": (
                ("VDD_GPU_SOC", 19_000, 200),
                ("VDD_CPU_CV", 19_000, 100),
                ("VIN_SYS_5V0", 5_000, 800),
            ),
            "1-0041": (("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5_000, 100), ("NC", 0, 0)),
        },
        gpu="17000000.ga10b",
        zones=("CPU-therm", "GPU-therm", "Tboard", "Tdiode", "tj-therm"),
        modes=("MAXN", "MODE_15W"),
        cores=12,
    ),
    "thor": Board(
        rails={
            "2-0040": (
                ("VDD_GPU", 20_000, 500),
                ("VDD_CPU_SOC_MSS", 20_000, 300),
                ("VIN_SYS_5V0", 5_000, 1_000),
            ),
            "2-0041": (("VIN", 20_000, 1_500),),
        },
        gpu="gpu-gpc-0",
        zones=("cpu-thermal", "gpu-thermal", "soc012-thermal", "soc345-thermal", "tj-thermal"),
        modes=("MAXN", "120W"),
        cores=14,
        release="# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic",
        files={"sys/class/devfreq/gpu-nvd-0/cur_freq": "400000000"},
    ),
}
"""The boards by name."""
