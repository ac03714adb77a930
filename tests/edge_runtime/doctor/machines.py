"""Machines for the doctor: recorded boards, with everything beside their files given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_runtime.device import package_version
from edge_runtime.doctor.gst_answer import GstAnswer
from edge_runtime.doctor.gst_checks import JETSON_NEEDS, NEEDS
from edge_runtime.doctor.machine import Interpreter, Machine, Space
from edge_runtime.engines.gpu import Gpu, NoGpu
from tests.edge_runtime.telemetry.boards import BOARDS, Writer

if TYPE_CHECKING:
    from pathlib import Path

ORIN = Gpu("Orin", "8.7", 7620, integrated=True, cuda="12.6")
THOR = Gpu("NVIDIA Thor", "11.0", 125_000, integrated=True, cuda="13.0")
NOTHING = NoGpu("libcuda.so.1: cannot open shared object file")
REFUSED = NoGpu("cuInit: 801 (CUDA_ERROR_NOT_SUPPORTED)", 801)
GIB = 1 << 30
DPKG = """\
Package: libnvinfer10
Status: install ok installed
Architecture: arm64
Version: {tensorrt}

Package: libnvinfer-bin
Status: deinstall ok config-files
Version: 1.0

Package: zlib1g
Status: install ok installed
Version: 1.3
"""
CUDA = '{{"cuda": {{"name": "CUDA SDK", "version": "{version}"}}}}'


def answer(**changes: object) -> GstAnswer:
    """A Jetson's GStreamer in which nothing is missing."""
    names = {name for need in (*NEEDS, *JETSON_NEEDS) for name in need.any_of}
    whole = GstAnswer(
        version="1.20.3",
        bindings="/usr/lib/python3/dist-packages/gi/__init__.py",
        elements=frozenset(names),
        plugins=250,
        took_s=0.2,
        registry="/tmp/registry.aarch64.bin",
    )
    return replace(whole, **changes)


def jetson(folder: Path, board: str = "orin-nano", **changes: object) -> Machine:
    """A board as it should be: fastest mode, fixed clocks, matching versions."""
    root, home = folder / "root", folder / "home"
    is_thor = board == "thor"
    BOARDS[board].write(root)
    write = Writer(root)
    write("var/lib/nvpmodel/status", "pmode:0000")
    write("var/lib/dpkg/status", DPKG.format(tensorrt="10.13.3-1" if is_thor else "10.3.0.30-1"))
    cuda = "13.0.48" if is_thor else "12.6.68"
    write("usr/local/cuda/version.json", CUDA.format(version=cuda))
    write("dev/nvmap", "")
    write("tmp/argus_socket", "")
    write("dev/shm/here", "")
    write("proc/meminfo", "MemTotal: 7800000 kB\nMemAvailable: 5000000 kB")
    for core in root.glob("sys/devices/system/cpu/cpu*/cpufreq"):
        (core / "scaling_min_freq").write_text("1510400")
    for clock in root.glob("sys/class/devfreq/*/min_freq"):
        clock.write_text("624750000")
        (clock.parent / "cur_freq").write_text("624750000")
    venv = home / "venv"
    write_venv = Writer(venv)
    write_venv("pyvenv.cfg", "include-system-site-packages = true")
    version = (3, 12, 3) if is_thor else (3, 10, 12)
    core = ("click", "ddsketch", "msgspec", "numpy", "opencv-python-headless", "rich",
            "typing-extensions")  # fmt: skip
    packages = {name: package_version(name) for name in core}
    packages |= {"onnxruntime": "1.23.2", "tensorrt": "10.3.0", "cuda-bindings": "12.6.2"}
    gpu = THOR if is_thor else ORIN
    whole = Machine(
        root=root,
        environ={},
        python=Interpreter(version, str(venv / "bin/python"), str(venv), "/usr"),
        uid=1000,
        groups=frozenset({44}),
        cores=6,
        cwd=home,
        home=home,
        package=packages.get,
        gpu=lambda: gpu,
        gstreamer=lambda machine, names: answer(),
        modes=lambda device: None,
        space=lambda place: Space(10 * GIB, 20 * GIB, 100_000, read_only=False),
    )
    return replace(whole, **changes)


def outcome(findings: object) -> dict[str, str]:
    """Status by check."""
    return {finding.check: finding.status for finding in findings}


def only(findings: object, check: str) -> object:
    """The one finding of a check."""
    (found,) = [finding for finding in findings if finding.check == check]
    return found
