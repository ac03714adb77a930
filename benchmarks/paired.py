"""What all benchmarks share: interleaved timing, and where the figures were taken."""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.redact import public_command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SETTLE_S = 0.05
"""Between calls, for the threads of the last one to stop waiting for more work."""
PACKAGES = ("torch", "onnx", "onnxruntime", "numpy", "opencv-python-headless", "hyperseg-edge")


def interleaved(
    calls: Sequence[Callable[[], Any]], rounds: int, warmup: int = 2
) -> list[list[float]]:
    """Milliseconds of each call, round by round: [call][round]."""
    times: list[list[float]] = [[] for _ in calls]
    for number in range(warmup + rounds):
        for call, kept in zip(calls, times, strict=True):
            time.sleep(SETTLE_S)
            start = time.perf_counter()
            call()
            if number >= warmup:
                kept.append((time.perf_counter() - start) * 1e3)
    return times


def summary(times: Sequence[float]) -> dict[str, float]:
    """Median and spread."""
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def ratio(times: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    """Median and spread of the paired ratios."""
    return summary([one / other for one, other in zip(times, base, strict=True)])


def provenance() -> dict[str, Any]:
    """When, on what and with what the figures were taken."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "command": public_command(" ".join(["python -m", _module(), *sys.argv[1:]])),
        "cpu": _cpu(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def report(figures: dict[str, Any], target: Path | None) -> None:
    """Print the figures as JSON, and write them with their provenance if asked to."""
    print(json.dumps(figures, indent=2))
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**provenance(), "figures": figures}, indent=2) + "\n"
        target.write_text(text, encoding="utf-8")


def _module() -> str:
    return f"benchmarks.{Path(sys.argv[0]).stem}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.processor()
