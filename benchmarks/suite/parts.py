"""The table of all parts: which command each is, and which of its figures the history keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks.suite.places import CLIP, GPU_ACCOUNTS, PICTURES
from edge_runtime.engines.gpu import query_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

ONE = "1"
NETWORK = "street-edge-n"
"""A shipped model, small enough for every machine: what is timed is what lies around it."""


@dataclass(frozen=True)
class Wish:
    """What a run was asked for."""

    quick: bool
    threads: int
    """CPU threads of the parts that are measured as a user runs them."""
    data: str
    """Data set of the training step."""
    models: tuple[str, ...]
    """Models whose latency stands beside their mIoU; none takes the shipped ones."""
    folder: Path
    """Of this run, with what `benchmarks.suite.material` made."""

    def pick(self, quick: Sequence[str], full: Sequence[str]) -> list[str]:
        """Arguments for the length that was asked for."""
        return list(quick if self.quick else full)


@dataclass(frozen=True)
class Part:
    """One benchmark."""

    name: str
    says: str
    module: str
    arguments: Callable[[Wish], list[str]]
    figures: Mapping[str, str] = field(default_factory=dict)
    """Names of figures that are kept, as patterns, and their units (`figures.collect`)."""
    limit_s: float = 900.0
    packages: tuple[str, ...] = ()
    """Needed beside those that every checkout for development has."""
    material: bool = False
    """Works on what `benchmarks.suite.material` makes."""
    gpu: bool = False
    writes_json: bool = True
    """Whether it takes ``--json``; the accounts of the GPU's items lie in a folder of theirs."""

    def why_not(self) -> str | None:
        """Why it cannot be measured here; None if it can."""
        if self.gpu and query_gpu() is None:
            return "no GPU that CUDA can use"
        missing = [name for name in self.packages if find_spec(name) is None]
        return f"not installed: {', '.join(missing)}" if missing else None


def _startup(wish: Wish) -> list[str]:
    return [NETWORK, str(wish.folder / CLIP), "--rounds", *wish.pick("3", "7")]


def _models(wish: Wish) -> list[str]:
    return [*wish.models, "--threads", ONE, "--rounds", *wish.pick("5", ["15"])]


def _forward(wish: Wish) -> list[str]:
    quick, full = ["edge-n@512x1024"], ["edge-n@512x1024", "edge-n", "edge-s", "street-n"]
    return [*wish.pick(quick, full), "--threads", ONE, "--rounds", *wish.pick("5", ["11"])]


def _forms(wish: Wish) -> list[str]:
    rounds = ["--rounds", *wish.pick("3", "7")]
    # Without names it takes all published presets and two of ours.
    return [*wish.pick(["edge-n"], []), *rounds, "--threads", str(wish.threads)]


def _pipeline(wish: Wish) -> list[str]:
    rounds = ["--rounds", *wish.pick("3", "7")]
    return [NETWORK, str(wish.folder / CLIP), *rounds, "--threads", str(wish.threads)]


def _calibration(wish: Wish) -> list[str]:
    frames = ["--frames", str(wish.folder / PICTURES)]
    counts = ["--counts", *wish.pick(["8"], ["8", "64"])]
    return [NETWORK, *frames, *counts, "--threads", str(wish.threads)]


def _training(wish: Wish) -> list[str]:
    length = wish.pick(
        ["--batch", "2", "--steps", "3", "--rounds", "3"],
        ["--batch", "6", "--steps", "5", "--rounds", "5"],
    )
    return [wish.data, *length, "--threads", str(wish.threads)]


def _allocations(wish: Wish) -> list[str]:
    return ["--frames", *wish.pick(["2000"], ["10000"])]


def _scaling(wish: Wish) -> list[str]:
    return ["--threads", ONE, *wish.pick(["--quick", "--rounds", "5"], ["--rounds", "9"])]


def _gpu(wish: Wish) -> list[str]:
    chosen = ["--only", "networks", "rtx"]
    return ["--out", str(wish.folder / GPU_ACCOUNTS), "--minutes", *wish.pick("4", ["18"]), *chosen]


PARTS = (
    Part(
        "startup",
        "import, --help and the first mask of a clip",
        "benchmarks.startup",
        _startup,
        {"*_ms": "ms"},
        material=True,
    ),
    Part(
        "models",
        "one-thread latency of models, and the mIoU of their manifests",
        "benchmarks.models",
        _models,
        {"*/milliseconds": "ms", "*/miou/*": "mIoU", "*/peak_mb": "MB"},
    ),
    Part(
        "forward",
        "one network on one thread: PyTorch eager, ONNX Runtime FP32 and INT8",
        "benchmarks.forward",
        _forward,
        {"*/milliseconds/*": "ms", "*/over_first/*": "", "*/peak_mb/*": "MB"},
        packages=("torch", "onnxscript"),
    ),
    Part(
        "forms",
        "deployment form against reference form",
        "benchmarks.forms",
        _forms,
        {"*/milliseconds/*": "ms", "*_over_*": ""},
        packages=("torch", "onnxscript"),
    ),
    Part(
        "pipeline",
        "share of the bare loop's throughput that the pipeline keeps",
        "benchmarks.pipeline",
        _pipeline,
        {"*_fps": "fps", "pipeline_over_bare": ""},
        packages=("gi",),
        material=True,
    ),
    Part(
        "allocations",
        "Python memory over thousands of frames, and what one frame allocates",
        "benchmarks.allocations",
        _allocations,
        {"growth/*/bytes": "bytes", "peak_bytes_of_a_frame/*": "bytes"},
        packages=("gi", "mcap", "torch", "onnxscript"),
    ),
    Part(
        "calibration",
        "time and memory of the calibrator",
        "benchmarks.calibration",
        _calibration,
        {"images/*/seconds": "s", "images/*/cpu_seconds": "s", "images/*/peak_mb": "MB"},
        packages=("onnx",),
        material=True,
    ),
    Part(
        "training",
        "a training step against a plain PyTorch loop",
        "benchmarks.training_step",
        _training,
        {"*_step_ms": "ms", "ours_over_*": ""},
        packages=("torch",),
    ),
    Part(
        "scaling",
        "cost against resolution, classes, grid and cameras",
        "benchmarks.scaling",
        _scaling,
        {
            "points/*/milliseconds": "ms",
            "fits/*_ms": "ms",
            "fits/*/largest_error": "",
            "estimate/largest_error_*": "",
            "estimate/g*_a_second": "10^9/s",
        },
        packages=("torch", "onnxscript"),
    ),
    Part(
        "gpu",
        "the same networks on a GPU: eager, compiled, CUDA graph and engines",
        "benchmarks.gpu",
        _gpu,
        {"*/median_ms": "ms"},
        limit_s=1800.0,
        gpu=True,
        writes_json=False,
    ),
)
"""In the order they run: the shortest and most telling first."""
