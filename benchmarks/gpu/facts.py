"""On what GPU, with what driver and packages, and in what power state figures were taken."""

from __future__ import annotations

import contextlib
import platform
import shlex
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from edge_runtime import __version__
from edge_runtime.device import describe_device
from edge_runtime.redact import public_command

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = (
    "hyperseg-edge", "torch", "triton", "numpy", "onnx", "onnxruntime", "opencv-python-headless",
    "safetensors", "cuda-bindings", "pycuda", "nvidia-ml-py", "tensorrt", "tensorrt-rtx-cu13",
)  # fmt: skip


def gpu_facts(dry: bool) -> dict[str, Any]:
    """When, by what command and with what; the GPU's part is None in a dry run.

    Args:
        dry: no GPU may be touched.
    """
    module = sys.modules["__main__"].__spec__
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(
            public_command(word)
            for word in ("python", "-m", module.name if module else sys.argv[0], *sys.argv[1:])
        ),
        "version": __version__,
        "host": asdict(describe_device()),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "gpu": None if dry else _gpu(),
    }


def power_state(dry: bool) -> dict[str, Any] | None:
    """Power, clocks, temperature and throttling as NVML tells them now; None if it does not."""
    if dry:
        return None
    found: dict[str, Any] | None = _ask_nvml(_power)
    return found


def _gpu() -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(0)
    told = _ask_nvml(_driver)
    return {
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": properties.total_memory,
        "multiprocessors": properties.multi_processor_count,
        "cuda_of_torch": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": told,
    }


def _driver(nvml: Any, card: Any) -> dict[str, Any]:
    served = int(nvml.nvmlSystemGetCudaDriverVersion())
    return {
        "version": _text(nvml.nvmlSystemGetDriverVersion()),
        "cuda": f"{served // 1000}.{served % 1000 // 10}",
        "name": _text(nvml.nvmlDeviceGetName(card)),
    }


def _power(nvml: Any, card: Any) -> dict[str, Any]:
    kinds = {"sm": nvml.NVML_CLOCK_SM, "memory": nvml.NVML_CLOCK_MEM}
    questions: dict[str, Callable[[], Any]] = {
        "draw_w": lambda: nvml.nvmlDeviceGetPowerUsage(card) / 1000,
        "limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1000,
        "performance_state": lambda: f"P{nvml.nvmlDeviceGetPerformanceState(card)}",
        "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU),
        "throttle_bits": lambda: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)),
        "clocks_mhz": lambda: {k: nvml.nvmlDeviceGetClockInfo(card, v) for k, v in kinds.items()},
        "clocks_max_mhz": lambda: {
            k: nvml.nvmlDeviceGetMaxClockInfo(card, v) for k, v in kinds.items()
        },
    }
    found = {}
    for name, question in questions.items():
        with contextlib.suppress(nvml.NVMLError):  # some cards lack some of it
            found[name] = question()
    return found


def _ask_nvml(question: Callable[[Any, Any], Any]) -> Any:
    """The answer about the first card; None without the package nvidia-ml-py or a driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return question(pynvml, pynvml.nvmlDeviceGetHandleByIndex(0))
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
