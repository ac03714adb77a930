"""Options of `hyperseg build`: frozen, with each default written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from export.precision import Precision
    from export.tensorrt.capabilities import Runtime

Typing = Literal["strong", "weak"]
TYPINGS: tuple[Typing, ...] = ("strong", "weak")
HARDWARE = ("none", "ampere-plus", "same-compute-capability")
AUTO, NO_CACHE = "auto", "none"
MIN_WORKSPACE_MIB = 16


@dataclass(frozen=True)
class BuildOptions:
    """What engine to make of a model.

    Raises:
        OptionError: a value that cannot work whatever the model and the TensorRT.
    """

    model: Path
    """An exported ONNX model with its manifest."""
    precision: Precision = "fp16"
    runtime: Runtime = "tensorrt"
    output: Path | None = None
    """Where the engine goes; None keeps it in the store."""
    typing: Typing = "strong"
    """``strong``: the types of the graph; ``weak``: the builder chooses, TensorRT 10 only."""
    workspace_mib: int | None = None
    """Scratch memory a layer may use; None leaves it to TensorRT, on small boards to us."""
    timing_cache: str = AUTO
    """``auto`` keeps one per device and version in the store; ``none``; or a file."""
    dla_core: int | None = None
    """Deep-learning accelerator to build for."""
    targets: tuple[str, ...] = ()
    """Compute capabilities to build for ahead of time (TensorRT-RTX only)."""
    hardware: str = "none"
    """Trade speed for engines that other GPUs can load: one of `HARDWARE`."""
    version_compatible: bool = False
    """Let later versions of the same major version of TensorRT load it."""
    calibration_cache: Path | None = None
    """TensorRT 10 calibration cache, for weak typing without Q/DQ nodes."""
    store: Path | None = None
    """Folder of engines and timing caches; None takes the user's cache folder."""
    force: bool = False
    """Build even if an engine of the same identity is there."""

    def __post_init__(self) -> None:
        if self.output is not None and self.output.suffix not in (".engine", ".plan"):
            raise OptionError(f"output {self.output} must end in .engine or .plan")
        if self.output is not None and not self.output.parent.is_dir():
            raise OptionError(f"cannot write {self.output}: no folder {self.output.parent}")
        if self.workspace_mib is not None and self.workspace_mib < MIN_WORKSPACE_MIB:
            raise OptionError(
                f"workspace {self.workspace_mib} MiB: expected at least {MIN_WORKSPACE_MIB}"
            )
        if self.dla_core is not None and self.dla_core not in (0, 1):
            raise OptionError(f"DLA core {self.dla_core}: an Orin has cores 0 and 1")
        if self.calibration_cache is not None and self.typing != "weak":
            raise OptionError(
                "a calibration cache serves --typing weak only; with strong typing the ranges lie "
                "in the graph: `hyperseg calibrate` writes such a graph"
            )
