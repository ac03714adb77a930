"""What a self test is asked for, and its account: every step done, failed, or not run and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from edge_runtime.errors import OptionError
from edge_runtime.redact import public_command
from export.selftest.latency import DURATION_S

if TYPE_CHECKING:
    from pathlib import Path

    from export.precision import Precision
    from export.tensorrt.capabilities import Runtime

SCHEMA = "hyperseg-edge.selftest/1"
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
DEFAULT_MODEL = "street-edge-n"
CALIBRATION_FRAMES = 16
Status = Literal["done", "not run", "failed"]


@dataclass(frozen=True)
class SelftestOptions:
    """What is tested.

    Raises:
        OptionError: a value that cannot work.
    """

    folder: Path
    """Where models and engines are made; they stay there."""
    model: str = DEFAULT_MODEL
    """An FP32 model or the name of a shipped one."""
    int8: Path | None = None
    """Its INT8 model; None calibrates one on drawn streets."""
    runtime: Runtime | None = None
    """``tensorrt`` or ``tensorrt_rtx``; None takes the one that is installed."""
    duration_s: float = DURATION_S
    """Of each latency measurement."""
    threads: int | None = None
    """CPU threads of ONNX Runtime."""

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise OptionError(f"no folder {self.folder}; make it, or choose another --folder")
        if not 0 < self.duration_s < float("inf"):
            raise OptionError(f"--duration is {self.duration_s:g}; give seconds above 0")


@dataclass
class Entry:
    """One step for one precision."""

    step: str
    """``calibrate``, ``build``, ``latency`` or ``parity``."""
    what: str
    """Such as ``engine fp16`` or ``onnxruntime int8``."""
    status: Status
    reason: str = ""
    """Why it failed or was not run."""
    result: dict[str, Any] = field(default_factory=dict)


@dataclass
class Selftest:
    """The whole account."""

    entries: list[Entry] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Nothing failed; what was not run has not failed, and proves nothing."""
        return all(entry.status != "failed" for entry in self.entries)

    def as_json(self) -> dict[str, Any]:
        """Plain values, to publish: reasons without the folders and secrets of this machine."""
        entries = [replace(one, reason=public_command(one.reason)) for one in self.entries]
        return {
            "schema": SCHEMA,
            **self.facts,
            "passed": self.passed,
            "not_run": [f"{e.step} {e.what}: {e.reason}" for e in entries if e.status == "not run"],
            "entries": [asdict(entry) for entry in entries],
        }
