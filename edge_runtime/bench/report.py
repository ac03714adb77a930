"""The report of a bench: one JSON object, schema ``hyperseg-edge.bench/1``; all times in ms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from edge_runtime.artifacts import CreatedBy
from edge_runtime.bench.conditions import Conditions
from edge_runtime.bench.figures import Distribution, Ratio, Summary
from edge_runtime.bench.measure import Warmed, Window
from edge_runtime.device import Device
from edge_runtime.report_file import ReportFile
from edge_runtime.telemetry.summary import Telemetry

SCHEMA: Literal["hyperseg-edge.bench/1"] = "hyperseg-edge.bench/1"

CLOCK = "CLOCK_MONOTONIC of the host; h2d, compute and d2h of an engine: CUDA events on the GPU"
WARMUP_CRITERION = (
    "until-stable: the median wall time of 30 queries lies within 2 % of that of the 30 before, or "
    "30 s are over"
)
DEFINITIONS = {
    "latency": "h2d + compute + d2h of one query, as trtexec defines it",
    "h2d": "transfer of the picture to the device",
    "compute": "the network, from the first kernel to the last; on a CPU the whole run call",
    "d2h": "transfer of the output from the device",
    "enqueue": "host time to launch one query; overlaps compute",
    "wall": "one query as the host sees it, from handing the picture over to having the output",
    "copy_in": "copy of the picture into the network's input, in host memory",
    "decode": "from the output to class ids; nothing where the network makes the mask itself",
    "throughput": "counted queries by the time they took with copy_in and decode; one at a time, "
    "nothing overlaps (trtexec overlaps transfers with compute unless told not to)",
    "percentiles": "element max(n - 1 - int((1 - p/100) n), 0) of n sorted values, as trtexec",
    "ratio": "median over the rounds of wall by that of the first model in the same round, with "
    "the 95 % interval of a moving-block bootstrap",
}
STEADY_AGREEMENT = 0.9
"""Below this agreement with the first model a ratio compares networks that say other things."""


@dataclass(frozen=True)
class Masks:
    """What the model said on the pictures: a figure without it may be that of a broken engine."""

    hash: str
    """Hex sha256 of the masks before the measurement."""
    unchanged: bool
    """Whether they were the same after it."""
    classes: int
    """Different classes in them."""
    agreement: float | None
    """Share of pixels, 0..1, like those of the first model; null for itself, and for a model with
    another size or other classes."""


@dataclass(frozen=True)
class Identity:
    """What was run, and on what."""

    file: str
    sha256: str
    name: str
    kind: str
    precision: str
    """``fp32``, ``fp16`` or ``int8``, as the manifest says."""
    backend: str
    input: tuple[int, ...]
    threads: int | None
    """CPU threads as asked for or tuned; null: one per core, or an engine."""
    tuning: dict[str, str] | None
    """Settings of the backend that `hyperseg bench --tune` has found; null: its defaults."""
    cuda_graph: str | None
    """``used``, or why not; null without a GPU."""


@dataclass(frozen=True)
class ModelFigures:
    """Figures of one model."""

    label: str
    identity: Identity
    load_ms: float
    """To open the file and make its buffers."""
    warmup: Warmed
    queries: int
    throughput_qps: float
    metrics_ms: dict[str, Summary | None]
    """By the names of `DEFINITIONS`; null: not measured."""
    not_measured: dict[str, str]
    """Why, by metric."""
    masks: Masks
    ratio: Ratio | None
    """Over the first model; null for itself."""
    curve: list[Window] = field(default_factory=list)
    """Of a sustained measurement."""
    drift: float | None = None
    """Median of the last quarter of the curve over that of the first; null below 8 windows."""
    distribution: Distribution | None = None
    """Of the latency; null in reports of earlier versions."""
    peak_memory_mb: float | None = None
    """Greatest resident memory of a process of its own that loads the model and runs it, 10^6
    bytes (`edge_runtime.bench.memory`); null: not measured."""


@dataclass(frozen=True, kw_only=True)
class BenchReport(ReportFile):
    """Everything that is known about one bench."""

    schema: Literal["hyperseg-edge.bench/1"] = SCHEMA
    created_by: CreatedBy
    created_at: str
    ended: Literal["complete", "interrupted"]
    device: Device
    conditions: Conditions
    clock: str = CLOCK
    warmup_criterion: str = WARMUP_CRITERION
    definitions: dict[str, str] = field(default_factory=lambda: dict(DEFINITIONS))
    pictures: str
    """Where they came from, without credentials."""
    frames: int
    seed: int
    """Of the order of the models."""
    seconds: float
    models: tuple[ModelFigures, ...]
    telemetry: Telemetry
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The report as JSON text, ending with a newline."""
        return msgspec.json.encode(self).decode() + "\n"
